"""Captions of pictures: a convolutional encoder and a recurrent decoder of words."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deepcore import nn, ops
from deepcore.errors import ArgumentError, ShapeError
from deepcore.models.adaptive import Softmax, padded_rows
from deepcore.models.cnn import cnn
from deepcore.models.language import FORGET_BIAS
from deepcore.nn.rnn import RecurrentState
from deepcore.ops.rnn import CELLS
from deepcore.tensor import Tensor, tensor

INJECTS = ("every", "first", "init")


class GridPool2d(nn.Module):
    """Largest values or means over the cells of a grid, side by side: they tell where something is.

    Cell i of `size` goes from row floor(i h / size) up to row ceil((i + 1) h / size), and so do columns.

    Args:
        size: rows and columns of the grid.
        kind: 'max' or 'average'.
    """

    def __init__(self, size: int, kind: str = "max") -> None:
        super().__init__()
        self.size, self.kind = size, kind

    def forward(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> (n, size * size * c). ShapeError for fewer pixels than cells."""
        n, h, w, c = x.shape
        if min(h, w) < self.size:
            raise ShapeError(f"GridPool2d: expected at least {self.size} x {self.size} pixels, got {h} x {w}")
        if self.kind == "average":
            return ops.reshape(ops.adaptive_avg_pool2d(x, self.size), n, self.size * self.size * c)
        if h % self.size == 0 and w % self.size == 0:
            return ops.reshape(ops.max_pool2d(x, (h // self.size, w // self.size)), n, self.size * self.size * c)
        (rows, columns) = (
            [(i * k // self.size, -(-(i + 1) * k // self.size)) for i in range(self.size)] for k in (h, w)
        )
        return ops.concatenate([ops.max(x[:, a:b, c0:c1], (1, 2)) for a, b in rows for c0, c1 in columns], 1)

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        return f"{self.size}, kind={self.kind!r}"


def cnn_encoder(
    preset: str, shape: tuple[int, int, int], *, grid: int | None = None, **options: Any
) -> tuple[nn.Sequential, int]:
    """A preset of `deepcore.models.cnn` without its last layer, and the number of its features.

    Args:
        preset: a name, as for `cnn`.
        shape: (height, width, channels).
        grid: global pooling (VGG, ResNets) becomes pooling over grid x grid cells, so that features tell places.
        options: of the preset.

    Raises:
        ArgumentError: the preset is unknown, or there is no global pooling for a grid.
    """
    net = cnn(preset, shape, 1, **options)
    return without_head(net, grid=grid)


def without_head(net: nn.Sequential, *, grid: int | None = None) -> tuple[nn.Sequential, int]:
    """The layers of a classifier before its last dense layer, shared with it, and the number of their outputs.

    ArgumentError unless the net ends in a dense layer, and, for a grid, pools globally.
    """
    *layers, head = list(net)
    if not isinstance(head, nn.Linear):
        raise ArgumentError(f"without_head: expected a net that ends in a dense layer, got {type(head).__name__}")
    features = head.weight.shape[1]
    if grid is None:
        return nn.Sequential(*layers), features
    pools = [i for i, m in enumerate(layers) if isinstance(m, (nn.GlobalAvgPool2d, nn.GlobalMaxPool2d))]
    if not pools or grid < 1:
        raise ArgumentError(f"without_head: expected grid >= 1 and a net with global pooling, got grid {grid!r}")
    layers[pools[-1]] = GridPool2d(grid, "max" if isinstance(layers[pools[-1]], nn.GlobalMaxPool2d) else "average")
    return nn.Sequential(*layers), features * grid * grid


class CaptionState(NamedTuple):
    """What a caption that grows needs: the state of the recurrent layers, and with `inject="every"` the picture's share
    of each input (n, embedding)."""

    recurrent: RecurrentState | None
    given: Tensor | None

    def select(self, index: npt.NDArray[np.int64]) -> CaptionState:
        """The rows `index`; they may come twice or not at all."""
        recurrent = None if self.recurrent is None else self.recurrent.select(index)
        if self.given is None:
            return CaptionState(recurrent, None)
        return CaptionState(recurrent, ops.take(self.given, tensor(index).to(self.given.device), 0))


class CaptionNet(nn.Module):
    """Features of a picture, and p(next word | picture, words so far) by recurrent layers.

    Where the picture enters the decoder (the names are those of Tanti et al., 2018):

    | inject | |
    |---|---|
    | 'every' | a projection of the features is added to each word's embedding (par-inject; Mao et al., 2015) |
    | 'first' | the projection is the first input, before the first word (pre-inject; Vinyals et al., 2015) |
    | 'init' | projections are the state before the first word (init-inject; cf. Karpathy and Fei-Fei, 2015) |

    The projection is computed once for a picture, however long its captions are.

    Args:
        encoder: images (n, h, w, c) -> features (n, features).
        features: their number.
        vocabulary: number of tokens.
        inject: see above.
        embedding: size of the vectors of tokens. hidden, layers, cell: of the recurrent layers.
        tied: the embedding's table is the output's weights too, after a projection where sizes differ (Press and Wolf,
            2017).
        dropout: on embeddings, on the outputs of recurrent layers and on the features.
        frozen: the encoder stays as it is: no gradients, no statistics of batch norm, no dropout.
        seed: of initial weights and masks.

    Raises:
        ArgumentError: an unknown inject or cell, or a number out of range.
    """

    def __init__(
        self, encoder: nn.Module, features: int, vocabulary: int, *, inject: str = "init", embedding: int = 128,
        hidden: int = 256, layers: int = 1, cell: str = "lstm", tied: bool = False, dropout: float = 0.0,
        frozen: bool = False, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        if inject not in INJECTS:
            raise ArgumentError(f"CaptionNet: expected inject in {INJECTS}, got {inject!r}")
        if min(features, vocabulary, embedding) < 1:
            raise ArgumentError(
                f"CaptionNet: expected features, vocabulary, embedding >= 1, got {features}, {vocabulary}, {embedding}"
            )
        seeds = [(seed << 16) + 4000 + 16 * i for i in range(8)]
        self.inject, self.frozen, self.features, self.vocabulary = inject, frozen, features, vocabulary
        self.encoder = encoder.freeze() if frozen else encoder
        self.norm = nn.LayerNorm(features)
        self.feature_dropout = nn.Dropout(dropout, seed=seeds[0])
        self.embedding = nn.Embedding(vocabulary, embedding, seed=seeds[1])
        self.input_dropout = nn.Dropout(dropout, seed=seeds[2])
        self.recurrent = nn.Recurrent(
            embedding, hidden, cell=cell, layers=layers, dropout=dropout, gate_init=FORGET_BIAS.get(cell),
            time_major=True, seed=seeds[3],
        )  # fmt: skip
        self.dropout = nn.Dropout(dropout, seed=seeds[4])
        states = 2 if CELLS[cell].has_c else 1
        width = embedding if inject != "init" else layers * hidden * states
        self.inlet = nn.Linear(features, width, init="glorot_uniform", seed=seeds[5])
        narrowed = tied and hidden != embedding
        self.projection = nn.Linear(hidden, embedding, init="glorot_uniform", seed=seeds[6]) if narrowed else None
        self.output = Softmax(
            embedding if tied else hidden, vocabulary, table=self.embedding if tied else None, seed=seeds[7]
        )

    def train(self, mode: bool = True) -> nn.Module:
        """Training mode, but for a frozen encoder; returns self."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    # ---- picture ----
    def encode(self, images: Tensor) -> Tensor:
        """(n, h, w, c) -> features (n, features)."""
        found: Tensor = self.encoder(images)
        if found.ndim != 2 or found.shape[1] != self.features:
            raise ShapeError(f"CaptionNet: expected features (n, {self.features}) of the encoder, got {found.shape}")
        return found.detach() if self.frozen else found

    def _given(self, features: Tensor) -> Tensor:
        """What goes into the decoder (n, width of the inlet): the same bits in any company."""
        rows = self.inlet(padded_rows(self.feature_dropout(self.norm(features))))
        return ops.narrow(rows, 0, 0, features.shape[0])

    def _initial(self, given: Tensor) -> RecurrentState:
        """The state (layers, n, hidden) that a picture gives with inject='init': h within -1 .. 1."""
        n, layers, hidden = given.shape[0], self.recurrent.layers, self.recurrent.hidden
        parts = ops.contiguous(ops.swap_axes(ops.reshape(given, n, -1, hidden), 0, 1))
        h = ops.tanh(ops.narrow(parts, 0, 0, layers))
        return RecurrentState(h, ops.narrow(parts, 0, layers, layers) if parts.shape[0] > layers else None)

    # ---- whole captions ----
    def forward(self, features: Tensor, ids: Tensor, owner: Tensor | None = None) -> Tensor:
        """Features (n, f) and the words so far (steps, m) -> what the next words are read of (steps, m, k).

        owner: the picture (m,) of each caption, where they are not one each.
        """
        if ids.ndim != 2 or (owner is None and ids.shape[1] != features.shape[0]):
            raise ShapeError(f"CaptionNet: expected tokens (steps, {features.shape[0]}), got {ids.shape}")
        given = self._given(features)
        if owner is not None:
            given = ops.take(given, owner, 0)
        x, state = self.embedding(ids), None
        if self.inject == "every":
            x = x + ops.expand_dims(given, 0)
        elif self.inject == "init":
            state = self._initial(given)
        x = self.input_dropout(x)
        if self.inject == "first":
            x = ops.concatenate([ops.expand_dims(given, 0), x], 0)
        y, _ = self.recurrent(x, state=state)
        if self.inject == "first":
            y = ops.narrow(y, 0, 1, ids.shape[0])
        dropped: Tensor = self.dropout(y)
        return dropped

    def logits(self, rows: Tensor) -> Tensor:
        """What `forward` gave, as rows (m, k) -> scores before the softmax (m, vocabulary)."""
        found: Tensor = self.output(rows if self.projection is None else self.projection(rows))
        return found

    # ---- word by word ----
    def start(self, features: Tensor) -> CaptionState:
        """The state before the first word, of features (n, f)."""
        given = self._given(features)
        if self.inject == "every":
            return CaptionState(None, given)
        if self.inject == "init":
            return CaptionState(self._initial(given), None)
        return CaptionState(self.recurrent.step(given)[1], None)

    def step(self, ids: Tensor, state: CaptionState) -> tuple[Tensor, CaptionState]:
        """Words (n,) -> log p of the next ones (n, vocabulary) and the state. ArgumentError in training with dropout.

        A row has the same bits in any company.
        """
        if self.training and self.dropout.p > 0:
            raise ArgumentError("CaptionNet: expected eval mode for step() with dropout")
        x = self.embedding(ids)
        if state.given is not None:
            x = x + state.given
        h, recurrent = self.recurrent.step(x, state.recurrent)
        rows = ops.log_softmax(self.logits(padded_rows(h)))
        return ops.narrow(rows, 0, 0, ids.shape[0]), CaptionState(recurrent, state.given)


__all__ = ["INJECTS", "CaptionNet", "CaptionState", "GridPool2d", "cnn_encoder", "without_head"]
