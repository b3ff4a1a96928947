"""Recurrent layers as a loop over steps in differentiable operations.

What the fused kernel of `recurrent` is checked against, and differentiated by where the backward pass is recorded.
"""

from __future__ import annotations

from typing import NamedTuple

from deepcore import _C
from deepcore.ops.elementwise import equal, hard_sigmoid, relu, sigmoid, step, tanh, where
from deepcore.ops.matmul import linear, matmul
from deepcore.ops.movement import narrow, stack, swap_axes
from deepcore.ops.norm import layer_norm
from deepcore.tensor import Tensor


class Cell(NamedTuple):
    """What a kind of cell has.

    gates: their names in the order of rows of w and u. sloped: those with a slope. peepholes: those that see c.
    """

    number: int
    gates: tuple[str, ...]
    sloped: tuple[str, ...] = ()
    peepholes: tuple[str, ...] = ()
    has_c: bool = False


CELLS: dict[str, Cell] = {
    "tanh": Cell(0, ("h",)),
    "relu": Cell(1, ("h",)),
    "lstm": Cell(2, ("i", "f", "g", "o"), ("i", "f", "o"), ("i", "f", "o"), True),
    "coupled": Cell(3, ("f", "g", "o"), ("f", "o"), ("f", "o"), True),
    "gru": Cell(4, ("r", "z", "n"), ("r", "z")),
    "gru_before": Cell(5, ("r", "z", "n"), ("r", "z")),
    "mgu": Cell(6, ("f", "n"), ("f",)),
    "refined": Cell(7, ("f", "g", "o", "r"), ("f", "o"), ("f", "o"), True),
}
GATES = {"sigmoid": 0, "hard": 1, "binary": 2}


class Norms(NamedTuple):
    """Gains and shifts of layer norm: of w x and of u h (gates hidden,), of c (hidden,) for cells with one."""

    x: tuple[Tensor, Tensor]
    h: tuple[Tensor, Tensor]
    c: tuple[Tensor, Tensor] | None


class StepOptions(NamedTuple):
    """A cell with all its options; tensors as in `recurrent`.

    projection: (projected, hidden): h is projection times the cell's output, and u is (gates hidden, projected).
    h_mask: (batch, projected), multiplied into h' where it meets u. zoneout: for h and c the share of the old value, a
    number, or draws (steps, batch, size), 0 where it stays.
    """

    cell: str
    gate: str = "sigmoid"
    slopes: tuple[float, ...] = (1.0, 1.0, 1.0)
    bias_h: Tensor | None = None
    peephole: Tensor | None = None
    reverse: bool = False
    lengths: _C.Array | None = None
    projection: Tensor | None = None
    h_mask: Tensor | None = None
    zoneout: tuple[float | Tensor, float | Tensor] = (0.0, 0.0)
    norms: Norms | None = None


def _gate(kind: str, slope: float, z: Tensor) -> Tensor:
    if kind == "sigmoid":
        return sigmoid(z if slope == 1.0 else z * slope)
    hard = hard_sigmoid(z, slope / 4.0, 0.5)
    # Straight through: the value of the step, the derivative of the hard gate.
    return hard if kind == "hard" else hard + (step(z.detach()) - hard.detach())


def _kept(old: Tensor, new: Tensor, zoneout: float | Tensor, t: int) -> Tensor:
    if isinstance(zoneout, Tensor):
        return where(equal(zoneout[t], 0.0), old, new)
    return new if zoneout == 0.0 else zoneout * old + (1.0 - zoneout) * new


def recurrent_loop(
    x: Tensor, w: Tensor, u: Tensor, bias: Tensor | None, h0: Tensor | None, c0: Tensor | None, o: StepOptions
) -> tuple[Tensor, ...]:
    """x (steps, batch, inputs) -> y (steps, batch, size), last h (batch, size) and, for cells with one, last c.

    size is that of the projection, or hidden. Formulas: `recurrent`.
    """
    cell = CELLS[o.cell]
    gates = len(cell.gates)
    steps, batch, hidden, size = x.shape[0], x.shape[1], w.shape[0] // gates, u.shape[1]

    def zeros(width: int) -> Tensor:
        return Tensor(_C.full((batch, width), 0.0, x.dtype, x.device))

    h = zeros(size) if h0 is None else h0
    c = zeros(hidden) if c0 is None else c0
    if o.norms is None:
        all_sums = linear(x, w, bias)
    else:
        all_sums = layer_norm(linear(x, w), *o.norms.x)
        all_sums = all_sums if bias is None else all_sums + bias
    transposed = swap_axes(u, 0, 1)
    by_gate = {g: narrow(transposed, 1, i * hidden, hidden) for i, g in enumerate(cell.gates)}

    def opened(z: Tensor, which: str) -> Tensor:
        return _gate(o.gate, o.slopes[cell.sloped.index(which)], z)

    def seen(which: str, state: Tensor, z: Tensor) -> Tensor:
        if o.peephole is None:
            return z
        return z + state * narrow(o.peephole, 0, cell.peepholes.index(which), 1)

    outputs: list[Tensor] = [h] * steps
    for s in range(steps):
        t = steps - 1 - s if o.reverse else s
        sums = all_sums[t]
        z = {g: narrow(sums, 1, i * hidden, hidden) for i, g in enumerate(cell.gates)}
        before = h if o.h_mask is None else h * o.h_mask
        if o.norms is None:
            inner = {g: matmul(before, by_gate[g]) for g in cell.gates if g != "n" or o.cell == "gru"}
        else:
            normal = layer_norm(matmul(before, transposed), *o.norms.h)
            inner = {g: narrow(normal, 1, i * hidden, hidden) for i, g in enumerate(cell.gates)}
        new_c = c
        if o.cell in ("tanh", "relu"):
            new_h = (tanh if o.cell == "tanh" else relu)(z["h"] + inner["h"])
        elif cell.has_c:
            f = opened(seen("f", c, z["f"] + inner["f"]), "f")
            if o.cell == "refined":
                r = sigmoid(z["r"] + inner["r"])
                f = f * f + r * (2.0 * f - 2.0 * f * f)
            i = 1.0 - f if "i" not in cell.gates else opened(seen("i", c, z["i"] + inner["i"]), "i")
            new_c = f * c + i * tanh(z["g"] + inner["g"])
            shown = new_c if o.norms is None or o.norms.c is None else layer_norm(new_c, *o.norms.c)
            new_h = opened(seen("o", new_c, z["o"] + inner["o"]), "o") * tanh(shown)
        elif o.cell == "mgu":
            f = opened(z["f"] + inner["f"], "f")
            new_h = (1.0 - f) * h + f * tanh(z["n"] + matmul(f * before, by_gate["n"]))
        else:
            r, update = opened(z["r"] + inner["r"], "r"), opened(z["z"] + inner["z"], "z")
            if o.cell == "gru":
                n = inner["n"] if o.bias_h is None else inner["n"] + o.bias_h
                n = tanh(z["n"] + r * n)
            else:
                n = tanh(z["n"] + matmul(r * before, by_gate["n"]))
            new_h = (1.0 - update) * n + update * h
        if o.projection is not None:
            new_h = matmul(new_h, swap_axes(o.projection, 0, 1))
        new_h, new_c = _kept(h, new_h, o.zoneout[0], t), _kept(c, new_c, o.zoneout[1], t) if cell.has_c else c
        if o.lengths is not None:
            inside = Tensor(_C.reshape(_C.less(_C.full((1,), t, "int64", x.device), o.lengths), (batch, 1)))
            outputs[t] = where(inside, new_h, 0.0)
            new_h, new_c = where(inside, new_h, h), where(inside, new_c, c)
        else:
            outputs[t] = new_h
        h, c = new_h, new_c
    y = stack(outputs) if steps else Tensor(_C.full((0, batch, size), 0.0, x.dtype, x.device))
    return (y, h, c) if cell.has_c else (y, h)
