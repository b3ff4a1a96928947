"""Recurrent layers over whole sequences, time first: one product for all inputs, then a fused cell step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from deepcore import _C
from deepcore.autograd import fused, is_recording
from deepcore.errors import ArgumentError, ShapeError
from deepcore.ops.rnn_loop import CELLS, GATES, Cell, StepOptions, recurrent_loop
from deepcore.tensor import Tensor, tensor

Options = tuple[int, int, tuple[float, float, float], bool]  # cell, kind of gate, slopes, reverse


def _recurrent(
    x: _C.Array, w: _C.Array, u: _C.Array, bias: _C.Array | None, bias_h: _C.Array | None, peephole: _C.Array | None,
    h0: _C.Array | None, c0: _C.Array | None, *, options: Options, lengths: _C.Array | None, keep: bool,
    packed: tuple[_C.Array, _C.Array] | None,
) -> tuple[tuple[_C.Array, ...], Any]:  # fmt: skip
    packed_w, packed_u = packed or (None, None)
    y, h, c, saved = _C.rnn(options, x, w, u, bias, bias_h, peephole, h0, c0, lengths, keep, packed_w, packed_u)
    return ((y, h) if c is None else (y, h, c)), saved


def _recurrent_grad(
    g: Any, saved: Any, needed: Sequence[bool], x: _C.Array, w: _C.Array, u: _C.Array, bias: _C.Array | None,
    bias_h: _C.Array | None, peephole: _C.Array | None, h0: _C.Array | None, c0: _C.Array | None, *, options: Options,
    lengths: _C.Array | None, keep: bool, packed: tuple[_C.Array, _C.Array] | None,
) -> Sequence[_C.Array | None]:  # fmt: skip
    gy, gh, gc = (*g, None)[:3]
    wanted: Any = tuple(needed)
    return _C.rnn_grad(options, gy, gh, gc, saved, wanted, x, w, u, bias, bias_h, peephole, lengths)


def _recurrent_reference(
    x: Tensor, w: Tensor, u: Tensor, bias: Tensor | None, bias_h: Tensor | None, peephole: Tensor | None,
    h0: Tensor | None, c0: Tensor | None, *, options: Options, lengths: _C.Array | None, keep: bool = False,
    packed: Any = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    number, kind, slopes, reverse = options
    name = next(n for n, c in CELLS.items() if c.number == number)
    gate = next(n for n, k in GATES.items() if k == kind)
    weights = StepOptions(name, gate, slopes, bias_h, peephole, reverse, lengths)
    return recurrent_loop(x, w, u, bias, h0, c0, weights)


_recurrent_op = fused(_recurrent, _recurrent_grad, _recurrent_reference)


def recurrent(
    x: Tensor, w: Tensor, u: Tensor, bias: Tensor | None = None, *, cell: str = "lstm", bias_h: Tensor | None = None,
    peephole: Tensor | None = None, h0: Tensor | None = None, c0: Tensor | None = None,
    lengths: Sequence[int] | Tensor | None = None, gate: str = "sigmoid", slope: float | Sequence[float] = 1.0,
    reverse: bool = False, packed: PackedRecurrent | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """A recurrent layer: x (steps, batch, inputs) -> y (steps, batch, hidden), last h (batch, hidden), last c if any.

    Gates stand behind each other in the rows of w (gates hidden, inputs), u (gates hidden, hidden) and bias
    (gates hidden); ' is the state before, z_g = (w x + bias)_g + u_g h', s a gate:

    | cell | gates | step |
    |---|---|---|
    | 'tanh', 'relu' | h | h = f(z) (Elman, 1990; Le et al., 2015) |
    | 'lstm' | i, f, g, o | c = s(z_f) c' + s(z_i) tanh(z_g), h = s(z_o) tanh(c) (Gers et al., 2000) |
    | 'coupled' | f, g, o | lstm with i = 1 - f (Greff et al., 2017) |
    | 'gru' | r, z, n | n = tanh((w x + bias)_n + r (u_n h' + bias_h)), h = (1 - z) n + z h' |
    | 'gru_before' | r, z, n | n = tanh((w x + bias)_n + u_n (r h')) (Cho et al., 2014) |
    | 'mgu' | f, n | n = tanh((w x + bias)_n + u_n (f h')), h = (1 - f) h' + f n (Zhou et al., 2016) |

    bias_h: (hidden), of 'gru'. peephole: (3, hidden) for i, f, o of 'lstm', (2, hidden) for f, o of 'coupled'; i and f
    see c', o sees c. h0, c0: (batch, hidden), 0 where not given. lengths: how many steps each sequence has; beyond
    them y is 0, and the last state is that of the last valid step (reverse: the first). What x holds there must be
    finite. gate: 'sigmoid' 1 / (1 + e^(-k z)), 'hard' clip(k z / 4 + 1 / 2, 0, 1), 'binary' (z > 0, with the
    derivative of 'hard': straight through, Bengio et al., 2013). slope: k, one number or one for each of these gates.
    reverse: from the last step to the first; y stays in the order of x. packed: weights kept from call to call where
    nothing is recorded: the same bits.

    ArgumentError for unknown names, lengths out of range and parameters that the cell doesn't have, ShapeError for
    sizes that differ.
    """  # fmt: skip
    if cell not in CELLS:
        raise ArgumentError(f"recurrent: expected cell in {list(CELLS)}, got {cell!r}")
    if gate not in GATES:
        raise ArgumentError(f"recurrent: expected gate in {list(GATES)}, got {gate!r}")
    kind = CELLS[cell]
    keep = is_recording() and any(
        t is not None and t.requires_grad for t in (x, w, u, bias, bias_h, peephole, h0, c0)
    )  # fmt: skip
    result: tuple[Tensor, ...] = _recurrent_op(
        x, w, u, bias, bias_h, peephole, h0, c0,
        options=(kind.number, GATES[gate], slopes_of("recurrent", kind, slope), bool(reverse)),
        lengths=lengths_array("recurrent", x, lengths), keep=keep,
        packed=None if packed is None or keep else packed.of(w, u, kind),
    )  # fmt: skip
    return result


def slopes_of(op: str, cell: Cell, slope: float | Sequence[float]) -> tuple[float, float, float]:
    """Three slopes for the kernel from one number or one for each gate that has a slope."""
    many = [float(slope)] * 3 if isinstance(slope, (int, float)) else [float(k) for k in slope]
    if not isinstance(slope, (int, float)) and len(many) != len(cell.sloped):
        raise ArgumentError(f"{op}: expected a slope for each of the gates {cell.sloped}, got {len(many)}")
    if not all(np.isfinite(k) and k > 0 for k in many):
        raise ArgumentError(f"{op}: expected slopes > 0, got {slope}")
    a, b, c = (*many, 1.0, 1.0, 1.0)[:3]
    return a, b, c


def lengths_array(op: str, x: Tensor, lengths: Sequence[int] | Tensor | None) -> _C.Array | None:
    """Lengths as int64 beside x; ArgumentError where one is not in [0, steps]."""
    if lengths is None:
        return None
    if isinstance(lengths, Tensor):
        return lengths.array
    values = np.asarray(lengths)
    if values.dtype.kind not in "iu" and values.size:
        raise ArgumentError(f"{op}: expected whole numbers as lengths, got {values.dtype}")
    if x.ndim < 3 or values.shape != (x.shape[1],):
        raise ShapeError(f"{op}: expected one length for each sequence of x {x.shape}, got {values.shape}")
    bad = np.flatnonzero((values < 0) | (values > x.shape[0]))
    if bad.size:
        raise ArgumentError(
            f"{op}: expected lengths from 0 to {x.shape[0]}, got {values[bad[0]]} for sequence {bad[0]}"
        )
    return tensor(values.astype(np.int64)).to(x.device).array


class PackedRecurrent:
    """Weights of a recurrent layer in the order the kernels read them, kept over calls of few steps.

    `of(w, u, cell)` packs again whenever a weight has changed (its values, its memory or the instruction set).
    """

    __slots__ = ("_arrays", "_mark")

    def __init__(self) -> None:
        self._arrays: tuple[_C.Array, _C.Array] | None = None
        self._mark: tuple[Any, ...] | None = None

    def __reduce__(self) -> tuple[type[PackedRecurrent], tuple[()]]:
        return PackedRecurrent, ()  # copies and pickles pack anew

    def of(self, w: Tensor, u: Tensor, cell: Cell) -> tuple[_C.Array, _C.Array]:
        """The packed forms of w and u."""
        a, b = w.array, u.array
        mark = (a.pointer, a.version, b.pointer, b.version, cell.number, _C.isa())
        if self._arrays is None or mark != self._mark:
            self._arrays, self._mark = (_C.pack_linear(a), _C.pack_rnn(cell.number, b)), mark
        return self._arrays


class StepWeights(NamedTuple):
    """The weights of one layer for `recurrent_step`, as `recurrent` takes them."""

    w: Tensor
    u: Tensor
    bias: Tensor | None
    bias_h: Tensor | None
    peephole: Tensor | None
    packed: PackedRecurrent


def recurrent_step(
    x: Tensor, layers: Sequence[StepWeights], cell: str, gate: str, slopes: tuple[float, float, float],
    h: Tensor | None, c: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor | None]:  # fmt: skip
    """One step of stacked layers outside the tape, with little around the kernels: the bits of `recurrent`.

    x (batch, inputs), h and c (layers, batch, hidden) or None for 0 -> y (batch, hidden), h and c. Sizes are those of a
    layer that has checked them.
    """
    kind, batch, hidden = CELLS[cell], x.shape[0], layers[0].u.shape[1]
    options = (kind.number, GATES[gate], slopes, False)
    y = _C.reshape(x.array, (1, *x.shape))
    h_ends: list[_C.Array] = []
    c_ends: list[_C.Array] = []
    for i, layer in enumerate(layers):
        h0, c0 = (None if s is None else _C.slice(s.array, (i, 0, 0), (1, batch, hidden), (1, 1, 1)) for s in (h, c))
        w, u = layer.packed.of(layer.w, layer.u, kind)
        y, h1, c1, _ = _C.rnn(
            options, y, layer.w.array, layer.u.array, _array(layer.bias), _array(layer.bias_h), _array(layer.peephole),
            None if h0 is None else _C.reshape(h0, (batch, hidden)),
            None if c0 is None else _C.reshape(c0, (batch, hidden)), None, False, w, u,
        )  # fmt: skip
        h_ends.append(_C.reshape(h1, (1, batch, hidden)))
        if c1 is not None:
            c_ends.append(_C.reshape(c1, (1, batch, hidden)))
    c_last = Tensor(_C.concatenate(c_ends, 0)) if c_ends else None
    return Tensor(_C.reshape(y, (batch, hidden))), Tensor(_C.concatenate(h_ends, 0)), c_last


def _array(x: Tensor | None) -> _C.Array | None:
    return None if x is None else x.array


__all__ = [
    "CELLS", "GATES", "Cell", "PackedRecurrent", "StepWeights", "lengths_array", "recurrent", "recurrent_step",
    "slopes_of",
]  # fmt: skip
