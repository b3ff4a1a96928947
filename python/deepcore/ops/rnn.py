"""Recurrent layers over whole sequences, time first: one product for all inputs, then a fused cell step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from deepcore import _C
from deepcore.autograd import fused, is_recording
from deepcore.errors import ArgumentError, ShapeError
from deepcore.ops.elementwise import greater
from deepcore.ops.movement import narrow
from deepcore.ops.rnn_loop import CELLS, GATES, Cell, Norms, StepOptions, recurrent_loop
from deepcore.tensor import Tensor, tensor

# cell, kind of gate, slopes, reverse, share of the old h and c in zoneout without draws
Options = tuple[int, int, tuple[float, float, float], bool, tuple[float, float]]
Given = tuple[_C.Array | None, _C.Array | None, _C.Array | None, _C.Array | None]  # lengths, h_mask, draws of zoneout
Packed = tuple[_C.Array, _C.Array] | None


def _recurrent(
    *tensors: _C.Array | None, options: Options, given: Given, keep: bool, packed: Packed
) -> tuple[tuple[_C.Array, ...], Any]:
    y, h, c, saved = _C.rnn(options, tensors, given, keep, *(packed or ()))
    return ((y, h) if c is None else (y, h, c)), saved


def _recurrent_grad(
    g: Any, saved: Any, needed: Sequence[bool], *tensors: _C.Array | None, options: Options, given: Given, keep: bool,
    packed: Packed,
) -> Sequence[_C.Array | None]:  # fmt: skip
    gy, gh, gc = (*g, None)[:3]
    return _C.rnn_grad(options, gy, gh, gc, saved, needed, tensors, given)


def _recurrent_reference(
    x: Tensor, w: Tensor, u: Tensor, bias: Tensor | None, bias_h: Tensor | None, peephole: Tensor | None,
    projection: Tensor | None, *rest: Any, options: Options, given: Given, keep: bool = False, packed: Packed = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    *gains, h0, c0 = rest
    number, kind, slopes, reverse, mix = options
    name = next(n for n, c in CELLS.items() if c.number == number)
    gate = next(n for n, k in GATES.items() if k == kind)
    lengths, h_mask, *draws = given
    mask = None if h_mask is None else Tensor(h_mask)
    zoneout = [m if d is None else Tensor(d) for m, d in zip(mix, draws, strict=True)]
    norms = None
    if gains[0] is not None:
        norms = Norms((gains[0], gains[1]), (gains[2], gains[3]), None if gains[4] is None else (gains[4], gains[5]))
    zones = (zoneout[0], zoneout[1])
    how = StepOptions(name, gate, slopes, bias_h, peephole, reverse, lengths, projection, mask, zones, norms)
    return recurrent_loop(x, w, u, bias, h0, c0, how)


_recurrent_op = fused(_recurrent, _recurrent_grad, _recurrent_reference)


def recurrent(
    x: Tensor, w: Tensor, u: Tensor, bias: Tensor | None = None, *, cell: str = "lstm", bias_h: Tensor | None = None,
    peephole: Tensor | None = None, projection: Tensor | None = None, norms: Norms | None = None,
    h0: Tensor | None = None, c0: Tensor | None = None, lengths: Sequence[int] | Tensor | None = None,
    h_mask: Tensor | None = None, zoneout: tuple[float | Tensor, float | Tensor] = (0.0, 0.0),
    gate: str = "sigmoid", slope: float | Sequence[float] = 1.0, reverse: bool = False,
    packed: PackedRecurrent | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """A recurrent layer: x (steps, batch, inputs) -> y (steps, batch, size), last h (batch, size), last c if any.

    Gates stand behind each other in the rows of w (gates hidden, inputs), u (gates hidden, size) and bias
    (gates hidden); ' is the state before, z_g = (w x + bias)_g + u_g h', s a gate:

    | cell | gates | step |
    |---|---|---|
    | 'tanh', 'relu' | h | h = f(z) (Elman, 1990; Le et al., 2015) |
    | 'lstm' | i, f, g, o | c = s(z_f) c' + s(z_i) tanh(z_g), h = s(z_o) tanh(c) (Gers et al., 2000) |
    | 'coupled' | f, g, o | lstm with i = 1 - f (Greff et al., 2017) |
    | 'refined' | f, g, o, r | coupled with f^2 + r (2 f - 2 f^2) for f, r = 1 / (1 + e^-z_r) (Gu et al., 2020) |
    | 'gru' | r, z, n | n = tanh((w x + bias)_n + r (u_n h' + bias_h)), h = (1 - z) n + z h' |
    | 'gru_before' | r, z, n | n = tanh((w x + bias)_n + u_n (r h')) (Cho et al., 2014) |
    | 'mgu' | f, n | n = tanh((w x + bias)_n + u_n (f h')), h = (1 - f) h' + f n (Zhou et al., 2016) |

    bias_h: (hidden), of 'gru'. peephole: (3, hidden) for i, f, o of 'lstm', (2, hidden) for f, o of 'coupled' and
    'refined'; i and f see c', o sees c. projection: (size, hidden), of cells with c: h is projection times what the
    cell gives (Sak et al., 2014); without it size is hidden. norms: gains and shifts of layer norms of w x and u h',
    each over all gates, and of the c that h is made of (Ba et al., 2016); for cells of one product, without peepholes.
    h0: (batch, size), c0: (batch, hidden), 0 where not given. lengths: how many steps each sequence has; beyond them y
    is 0, and the last state is that of the last valid step (reverse: the first). What x holds there must be finite.
    h_mask: (batch, size), times which u sees h' at all steps (dropout: Gal and Ghahramani, 2016). zoneout: for h and c
    the share of the old value in the new, in [0, 1), or draws (steps, batch, size), 0 where the old value stays
    (Krueger et al., 2017); like h_mask they have no gradient.
    gate: 'sigmoid' 1 / (1 + e^(-k z)), 'hard' clip(k z / 4 + 1 / 2, 0, 1), 'binary' (z > 0, with the derivative of
    'hard': straight through, Bengio et al., 2013). slope: k, one number or one for each of these gates. reverse: from
    the last step to the first; y stays in the order of x. packed: weights kept from call to call where nothing is
    recorded: the same bits.

    ArgumentError for unknown names, lengths out of range and parameters that the cell doesn't have, ShapeError for
    sizes that differ.
    """  # fmt: skip
    tensors, how = _arguments(
        x, w, u, bias, cell=cell, bias_h=bias_h, peephole=peephole, projection=projection, norms=norms, h0=h0, c0=c0,
        lengths=lengths, h_mask=h_mask, zoneout=zoneout, gate=gate, slope=slope, reverse=reverse, packed=packed,
    )  # fmt: skip
    result: tuple[Tensor, ...] = _recurrent_op(*tensors, **how)
    return result


def _arguments(
    x: Tensor, w: Tensor, u: Tensor, bias: Tensor | None, *, cell: str, bias_h: Tensor | None,
    peephole: Tensor | None, projection: Tensor | None, norms: Norms | None, h0: Tensor | None, c0: Tensor | None,
    lengths: Sequence[int] | Tensor | None, h_mask: Tensor | None, zoneout: tuple[float | Tensor, float | Tensor],
    gate: str, slope: float | Sequence[float], reverse: bool, packed: PackedRecurrent | None,
) -> tuple[tuple[Tensor | None, ...], dict[str, Any]]:  # fmt: skip
    """What the kernel takes: tensors that have gradients, and everything else."""
    if cell not in CELLS:
        raise ArgumentError(f"recurrent: expected cell in {list(CELLS)}, got {cell!r}")
    if gate not in GATES:
        raise ArgumentError(f"recurrent: expected gate in {list(GATES)}, got {gate!r}")
    kind = CELLS[cell]
    gains = _NO_NORMS if norms is None else (*norms.x, *norms.h, *(norms.c or (None, None)))
    tensors = (x, w, u, bias, bias_h, peephole, projection, *gains, h0, c0)
    keep = is_recording() and any(t is not None and t.requires_grad for t in tensors)
    mix = tuple(0.0 if isinstance(z, Tensor) else float(z) for z in zoneout)
    draws = tuple(z.array if isinstance(z, Tensor) else None for z in zoneout)
    how = {
        "options": (kind.number, GATES[gate], slopes_of("recurrent", kind, slope), bool(reverse), mix),
        "given": (lengths_array("recurrent", x, lengths), None if h_mask is None else h_mask.array, *draws),
        "keep": keep, "packed": None if packed is None or keep else packed.of(w, u, projection, kind),
    }  # fmt: skip
    return tensors, how


def recurrent_gates(
    x: Tensor, w: Tensor, u: Tensor, bias: Tensor | None, **options: Any
) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    """The gates that have a slope, by name, each (steps, batch, hidden) in 0..1, and what `recurrent` gives.

    f of 'refined' is what opens: as r leaves it. Outside the tape. Arguments: all of `recurrent`.
    """
    tensors, how = _arguments(x, w, u, bias, **options)
    result, saved = _recurrent(*map(_array, tensors), **how | {"keep": True, "packed": None})
    kind, kept = CELLS[options["cell"]], Tensor(saved[0])
    hidden = w.shape[0] // len(kind.gates)
    by_gate = {g: narrow(kept, 2, i * hidden, hidden) for i, g in enumerate(kind.gates)}
    found = {g: by_gate[g] for g in kind.sloped}
    if options["gate"] == "binary":  # kept as the hard ones
        found = {g: greater(v, 0.5).astype(v.dtype) for g, v in found.items()}
    if options["cell"] == "refined":
        f, r = found["f"], by_gate["r"]
        found["f"] = f * f + r * (2.0 * f - 2.0 * f * f)
    return found, tuple(map(Tensor, result))


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

    `of(w, u, projection, cell)` packs again whenever a weight has changed (its values, its memory or the instruction
    set).
    """

    __slots__ = ("_arrays", "_mark")

    def __init__(self) -> None:
        self._arrays: tuple[_C.Array, _C.Array] | None = None
        self._mark: tuple[Any, ...] | None = None

    def __reduce__(self) -> tuple[type[PackedRecurrent], tuple[()]]:
        return PackedRecurrent, ()  # copies and pickles pack anew

    def of(self, w: Tensor, u: Tensor, projection: Tensor | None, cell: Cell) -> tuple[_C.Array, _C.Array]:
        """The packed forms of w, and of u and the projection."""
        a, b, p = w.array, u.array, _array(projection)
        mark = (a.pointer, a.version, b.pointer, b.version, p and p.pointer, p and p.version, cell.number, _C.isa())
        if self._arrays is None or mark != self._mark:
            self._arrays, self._mark = (_C.pack_linear(a), _C.pack_rnn(cell.number, b, p)), mark
        return self._arrays


class StepWeights(NamedTuple):
    """The weights of one layer for `recurrent_step`, as `recurrent` takes them."""

    w: Tensor
    u: Tensor
    bias: Tensor | None
    bias_h: Tensor | None
    peephole: Tensor | None
    projection: Tensor | None
    packed: PackedRecurrent


def recurrent_step(
    x: Tensor, layers: Sequence[StepWeights], cell: str, gate: str, slopes: tuple[float, float, float],
    h: Tensor | None, c: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor | None]:  # fmt: skip
    """One step of stacked layers outside the tape, with little around the kernels: the bits of `recurrent`.

    x (batch, inputs), h (layers, batch, size) and c (layers, batch, hidden) or None for 0 -> y (batch, size), h and c.
    Sizes are those of a layer that has checked them.
    """
    kind, batch = CELLS[cell], x.shape[0]
    options = (kind.number, GATES[gate], slopes, False, (0.0, 0.0))
    y = _C.reshape(x.array, (1, *x.shape))
    h_ends: list[_C.Array] = []
    c_ends: list[_C.Array] = []

    def start(state: Tensor | None, i: int) -> _C.Array | None:
        if state is None:
            return None
        units = state.shape[2]
        return _C.reshape(_C.slice(state.array, (i, 0, 0), (1, batch, units), (1, 1, 1)), (batch, units))

    for i, layer in enumerate(layers):
        weights = (layer.w, layer.u, layer.bias, layer.bias_h, layer.peephole, layer.projection)
        tensors = (y, *map(_array, weights), *_NO_NORMS, start(h, i), start(c, i))
        packed = layer.packed.of(layer.w, layer.u, layer.projection, kind)
        y, h1, c1, _ = _C.rnn(options, tensors, _NOTHING_GIVEN, False, *packed)
        h_ends.append(_C.reshape(h1, (1, *h1.shape)))
        if c1 is not None:
            c_ends.append(_C.reshape(c1, (1, *c1.shape)))
    c_last = Tensor(_C.concatenate(c_ends, 0)) if c_ends else None
    return Tensor(_C.reshape(y, y.shape[1:])), Tensor(_C.concatenate(h_ends, 0)), c_last


_NO_NORMS: tuple[None, ...] = (None,) * 6
_NOTHING_GIVEN: Given = (None, None, None, None)


def _array(x: Tensor | None) -> _C.Array | None:
    return None if x is None else x.array


__all__ = [
    "CELLS", "GATES", "Cell", "Norms", "PackedRecurrent", "StepWeights", "lengths_array", "recurrent",
    "recurrent_gates", "recurrent_step", "slopes_of",
]  # fmt: skip
