"""Nets that read clips: a convolution for each frame, a recurrent net over frames, one decision or one per frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from deepcore import nn, ops
from deepcore.errors import ArgumentError, ShapeError
from deepcore.models.text import StepAttention, valid_steps
from deepcore.nn.module import buffer
from deepcore.nn.rnn import RecurrentState
from deepcore.ops.rnn import CELLS
from deepcore.tensor import Tensor, tensor

VIDEO_OUTPUTS = ("frame", "last", "mean", "attention")
ENCODERS = ("small", "medium")
CONV_PREFIX = "conv_"
VIDEO_CELLS = (*CELLS, *(CONV_PREFIX + name for name in nn.CONV_CELLS))

_STAGES, _SMALLEST = 4, 8  # halvings of a frame at most, and the side from which on there is another
_BLOCK = 8  # frames that are encoded together in inference
_ROWS = 16  # products of fewer rows sum in another order
_GRID = 4  # side of the means that are read of a convolutional state

Ints = npt.NDArray[np.int64]


class VideoState(NamedTuple):
    """What a `VideoNet` carries from frame to frame.

    recurrent: of the recurrent net. seen: its outputs so far (t, n, width) where the decision needs all of them.
    """

    recurrent: RecurrentState
    seen: Tensor | None = None


class FrameEncoder(nn.Module):
    """Frames (n, h, w, c) -> features (n, features).

    Stages of 3x3 convolutions with ReLU and max pooling, twice as wide from stage to stage (at most four times the
    first), as many as leave sides of 4 or more, at most four; then a dense layer, which keeps places apart.

    Args:
        shape: (h, w, c).
        features: of the dense layer.
        kind: 'small', one convolution a stage, or 'medium', two with batch norm.
        width: channels of the first stage.
        seed: of the initial weights.

    In inference frames are encoded in blocks of one size, so that a frame has the same bits in any company.
    """

    def __init__(
        self, shape: tuple[int, int, int], features: int, *, kind: str = "small", width: int = 16, seed: int = 0
    ) -> None:  # fmt: skip
        super().__init__()
        if kind not in ENCODERS:
            raise ArgumentError(f"FrameEncoder: expected kind in {ENCODERS}, got {kind!r}")
        h, w, channels = shape
        base = seed << 16
        stages: list[nn.Module] = []
        for stage in range(_STAGES):
            if stage and min(h, w) < _SMALLEST:
                break
            out = width << min(stage, 2)
            layers: list[nn.Module] = []
            for i in range(1 if kind == "small" else 2):
                key = base + 2 * stage + i
                if kind == "small":
                    layers.append(nn.Conv2d(channels, out, 3, padding="same", activation="relu", seed=key))
                else:
                    layers.append(nn.Conv2d(channels, out, 3, padding="same", bias=False, init="he_normal", seed=key))
                    layers.append(nn.BatchNorm(out, activation="relu"))
                channels = out
            if min(h, w) >= 2:
                layers.append(nn.MaxPool2d(2))
                h, w = h // 2, w // 2
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.dense = nn.Linear(h * w * channels, features, activation="relu", seed=base + 100)

    def forward(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> (n, features)."""
        if self.training:
            return self._encode(x)
        n = x.shape[0]
        whole = _with_rows(x, -(-n // _BLOCK) * _BLOCK)
        parts = [self._encode(whole[i : i + _BLOCK]) for i in range(0, whole.shape[0], _BLOCK)]
        return (parts[0] if len(parts) == 1 else ops.concatenate(parts))[:n]

    def _encode(self, x: Tensor) -> Tensor:
        y: Tensor = self.dense(ops.reshape(self.stages(x), x.shape[0], -1))
        return y


class VideoNet(nn.Module):
    """Clips (n, t, h, w, c) with lengths (n,) -> scores of classes, (n, k), or (t, n, k) for output 'frame'.

    Args:
        shape: (h, w, c) of a frame.
        classes: k.
        encoder, width, features: of the `FrameEncoder`, which sees all frames of a batch as one batch of pictures.
        cell: of the recurrent net over frames, a name in `deepcore.ops.rnn.CELLS`, or 'conv_lstm' or 'conv_gru', which
            stand in place of encoder and recurrent net: their states have half the size of a frame and `width`
            channels, of which a dense layer of `hidden` units reads the means over a 4 x 4 grid; encoder and features
            have no part then.
        hidden, layers, bidirectional: of the recurrent net; forget gates start open (Jozefowicz et al., 2015).
        output: 'frame', a decision after each frame; 'last', the state after the last valid frame (of both directions);
            'mean' of the outputs at valid frames; 'attention', a weighted mean (`StepAttention`).
        dropout: before the last layer, and between recurrent layers.
        mean, scale: (c,): the net sees (frame - mean) / scale.
        seed: of weights and masks.

    Frames beyond the lengths are not read.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, *, encoder: str = "small", width: int = 16,
        features: int = 64, cell: str = "lstm", hidden: int = 64, layers: int = 1, bidirectional: bool = False,
        output: str = "last", dropout: float = 0.0, mean: Sequence[float] | None = None,
        scale: Sequence[float] | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        if output not in VIDEO_OUTPUTS:
            raise ArgumentError(f"VideoNet: expected output in {VIDEO_OUTPUTS}, got {output!r}")
        if cell not in VIDEO_CELLS:
            raise ArgumentError(f"VideoNet: expected cell in {list(VIDEO_CELLS)}, got {cell!r}")
        if len(shape) != 3 or min(shape) < 1:
            raise ShapeError(f"VideoNet: expected frames (h, w, c) with pixels, got {shape}")
        h, w, c = shape
        self.shape, self.output, base = shape, output, seed << 16
        self.register_buffer("mean", buffer([0.0] * c if mean is None else [float(v) for v in mean]))
        self.register_buffer("scale", buffer([1.0] * c if scale is None else [float(v) for v in scale]))
        self.encoder: FrameEncoder | None = None
        self.recurrent: nn.Recurrent | nn.ConvRecurrent
        if cell.startswith(CONV_PREFIX):
            if bidirectional:
                raise ArgumentError(f"VideoNet: expected bidirectional=False with cell {cell!r}")
            kind = cell.removeprefix(CONV_PREFIX)
            self.recurrent = nn.ConvRecurrent(
                c, width, 3, cell=kind, layers=layers, stride=2, dropout=dropout, seed=base + 1001
            )
            p, q = self.recurrent.state_size(h, w)
            self.grid = (min(_GRID, p), min(_GRID, q))
            self.reader: nn.Linear | None = nn.Linear(
                self.grid[0] * self.grid[1] * width, hidden, activation="relu", seed=base + 1002
            )
            self.width = hidden
        else:
            self.encoder = FrameEncoder(shape, features, kind=encoder, width=width, seed=seed)
            self.recurrent = nn.Recurrent(
                features, hidden, cell=cell, layers=layers, bidirectional=bidirectional, dropout=dropout,
                gate_init=1.0 if cell in ("lstm", "coupled") else None, time_major=True, seed=base + 1001,
            )  # fmt: skip
            self.reader = None
            self.width = hidden * self.recurrent.directions
        self.attention = StepAttention(self.width, seed=seed) if output == "attention" else None
        self.dropout = nn.Dropout(dropout, seed=base + 2002)
        self.head = nn.Linear(self.width, classes, init="glorot_uniform", seed=base + 2003)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(n, t, h, w, c) of any type, (n,) -> (n, k) or (t, n, k).

        ShapeError for frames of another size, ArgumentError for lengths outside 1..t.
        """
        y, last, lengths = self._read(x, lengths)
        return self._decide(y, last, lengths)

    def frame_weights(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The attention on each frame, (t, n), 0 beyond the lengths. ArgumentError for another output."""
        if self.attention is None:
            raise ArgumentError(f"VideoNet: expected output 'attention' for weights of frames, got {self.output!r}")
        y, _, lengths = self._read(x, lengths)
        valid = valid_steps(y.shape[0], lengths)
        return ops.squeeze(ops.where(valid, self.attention.weights(y, valid), 0.0), 2)

    def step(self, x: Tensor, state: VideoState | None = None) -> tuple[Tensor, VideoState]:
        """One more frame of n clips, (n, h, w, c): the scores (n, k) if the clips ended here, and the state.

        In eval mode the scores are the bits that a call with all frames so far gives. ArgumentError for nets that read
        from the end and for the state of another output, ShapeError where sizes differ.
        """
        if isinstance(self.recurrent, nn.Recurrent) and self.recurrent.directions == 2:
            raise ArgumentError("VideoNet: a bidirectional net needs whole clips")
        if x.shape[1:] != self.shape:
            raise ShapeError(f"VideoNet: expected frames (n, *{self.shape}) in step(), got {x.shape}")
        needs_all = self.output in ("mean", "attention")
        if state is not None and (not isinstance(state, VideoState) or (state.seen is not None) != needs_all):
            raise ArgumentError(f"VideoNet: expected a VideoState of output {self.output!r}, got {state!r:.60}")
        before = None if state is None else state.recurrent
        if self.encoder is None:
            outputs, after = self._convolved(ops.expand_dims(self._standardized(x), 1), before)
            y = self._gridded(outputs)
        else:
            out, after = self.recurrent.step(self.encoder(self._standardized(x)), before)
            y = ops.expand_dims(out, 0)
        last = y[0]
        seen = None
        if needs_all:
            seen = y if state is None or state.seen is None else ops.concatenate([state.seen, y])
            y = seen
        lengths = tensor(np.full(x.shape[0], y.shape[0])).to(x.device)
        scores = self._decide(y, last, lengths)
        return scores[0] if self.output == "frame" else scores, VideoState(after, seen)

    # ---- parts ----
    def _standardized(self, x: Tensor) -> Tensor:
        return (ops.astype(x, self.head.weight.dtype) - self._buffers["mean"]) / self._buffers["scale"]

    def _convolved(self, x: Tensor, state: RecurrentState | None = None) -> tuple[Tensor, RecurrentState]:
        """Clips (n, t, h, w, c): convolutional states after each frame (t, n, p, q, width), and the last one.

        In inference clips are read in blocks of one size, so that a clip has the same bits in any company.
        """
        n = x.shape[0]
        if self.training:
            y, last = self.recurrent(x, state=state)
            return ops.swap_axes(y, 0, 1), last
        outputs: list[Tensor] = []
        ends: list[RecurrentState] = []
        for i in range(0, n, _BLOCK):
            count = min(_BLOCK, n - i)
            start = state
            if state is not None:
                start = RecurrentState(*(None if s is None else _at_columns(s, i, count) for s in state))  # type: ignore[arg-type]
            y, last = self.recurrent(_with_rows(x[i : i + count], _BLOCK), state=start)
            outputs.append(y[:count])
            ends.append(RecurrentState(*(None if s is None else s[:, :count] for s in last)))  # type: ignore[arg-type]
        h = ops.concatenate([end.h for end in ends], 1)
        c = None if ends[0].c is None else ops.concatenate([end.c for end in ends if end.c is not None], 1)
        return ops.swap_axes(ops.concatenate(outputs), 0, 1), RecurrentState(h, c)

    def _gridded(self, y: Tensor) -> Tensor:
        """What is read of convolutional states (t, n, p, q, width): (t, n, hidden)."""
        assert self.reader is not None
        t, n = y.shape[:2]
        means = ops.adaptive_avg_pool2d(ops.reshape(y, t * n, *y.shape[2:]), self.grid)
        flat = ops.reshape(means, t * n, -1)
        if not self.training:
            flat = _with_rows(flat, _ROWS)
        return ops.reshape(self.reader(flat)[: t * n], t, n, -1)

    def _read(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs (t, n, width), 0 beyond the lengths, last states (n, width), and the lengths."""
        if x.ndim != 5 or x.shape[2:] != self.shape:
            raise ShapeError(f"VideoNet: expected clips (n, t, *{self.shape}), got {x.shape}")
        n, t = x.shape[:2]
        found = self._checked(lengths, n, t)
        inside = np.arange(t)[:, None] < found  # (t, n)
        if self.encoder is None:
            y = self._gridded(self._convolved(self._standardized(x))[0])
            y = ops.where(tensor(inside[:, :, None]).to(x.device), y, 0.0)
            at = tensor(np.ascontiguousarray((found - 1) * n + np.arange(n))).to(x.device)
            return y, ops.take(ops.reshape(y, t * n, -1), at), lengths
        # Only valid frames are encoded; where there is none, the recurrent net meets another, which it doesn't count.
        frames = ops.reshape(x, n * t, *self.shape)
        rows = np.flatnonzero(inside.T.reshape(-1))
        if len(rows) < n * t:
            frames = ops.take(frames, tensor(rows).to(x.device))
        place = np.zeros(n * t, np.int64)
        place[rows] = np.arange(len(rows))
        by_time = tensor(np.ascontiguousarray(place.reshape(n, t).T).reshape(-1)).to(x.device)
        features = ops.take(self.encoder(self._standardized(frames)), by_time)
        y, state = self.recurrent(ops.reshape(features, t, n, -1), lengths=lengths)
        layers = state.h.shape[0]
        ends = [state.h[layers - d] for d in range(self.recurrent.directions, 0, -1)]  # type: ignore[union-attr]
        return y, ends[0] if len(ends) == 1 else ops.concatenate(ends, -1), lengths

    def _checked(self, lengths: Tensor, n: int, t: int) -> Ints:
        found: Ints = np.asarray(lengths.numpy(), np.int64)
        if found.shape != (n,):
            raise ShapeError(f"VideoNet: expected one length for each of {n} clips, got {found.shape}")
        bad = np.flatnonzero((found < 1) | (found > t))
        if bad.size:
            raise ArgumentError(f"VideoNet: expected lengths from 1 to {t}, got {found[bad[0]]} for clip {bad[0]}")
        return found

    def _decide(self, y: Tensor, last: Tensor, lengths: Tensor) -> Tensor:
        """Scores from outputs (t, n, width) and last states (n, width)."""
        n = last.shape[0]
        if not self.training and n < _ROWS:
            y = ops.swap_axes(_with_rows(ops.swap_axes(y, 0, 1), _ROWS), 0, 1)
            last = _with_rows(last, _ROWS)
            lengths = ops.concatenate([lengths, tensor(np.ones(_ROWS - n, lengths.dtype)).to(lengths.device)])
        if self.output == "frame":
            found = y
        elif self.output == "last":
            found = last
        elif self.output == "mean":  # outputs beyond the lengths are 0
            found = ops.sum(y, 0) / ops.reshape(ops.astype(lengths, y.dtype), -1, 1)
        else:
            assert self.attention is not None
            found = self.attention(y, valid_steps(y.shape[0], lengths))
        scores: Tensor = self.head(self.dropout(found))
        return scores[:, :n] if self.output == "frame" else scores[:n]


def _at_columns(state: Tensor, first: int, count: int) -> Tensor:
    """Some clips of a state (layers, n, ...) as one of a whole block."""
    part = ops.swap_axes(state[:, first : first + count], 0, 1)
    return ops.swap_axes(_with_rows(part, _BLOCK), 0, 1)


def _with_rows(x: Tensor, rows: int) -> Tensor:
    """x (n, ...) with zeros below, so that it has at least so many rows."""
    missing = rows - x.shape[0]
    if missing <= 0:
        return x
    zeros = tensor(np.zeros((missing, *x.shape[1:]), x.dtype)).to(x.device)
    return ops.concatenate([x, zeros])
