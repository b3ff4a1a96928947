"""The weights of one recurrent layer in one direction, and what is drawn for its calls in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from deepcore import ops, random
from deepcore.nn.activation import Dropout
from deepcore.nn.init import Initializer, initial
from deepcore.nn.module import Module, Parameter
from deepcore.ops.rnn import CELLS, Norms, PackedRecurrent, StepWeights
from deepcore.tensor import Tensor, full, tensor


class Draws(NamedTuple):
    """What is drawn anew for each call in training: dropouts of weights and states, zoneout of h and c."""

    weights: Dropout | None = None
    state: Dropout | None = None
    zoneout: tuple[Dropout | None, Dropout | None] = (None, None)


class Direction(Module):
    """The weights of one layer in one direction."""

    def __init__(
        self, cell: str, inputs: int, hidden: int, *, bias: bool, peephole: bool, projection: int | None,
        layer_norm: bool, init: str | Initializer, recurrent_init: str | Initializer,
        slopes: tuple[float, ...] | None, generator: random.Generator,
    ) -> None:  # fmt: skip
        super().__init__()
        self.name, self.cell = cell, CELLS[cell]
        gates, size = len(self.cell.gates), projection or hidden
        parts = [initial(init, (hidden, inputs), generator) for _ in range(gates)]
        self.weight = Parameter(ops.concatenate(parts))
        inner = [initial(recurrent_init, (hidden, size), generator) for _ in range(gates)]
        self.recurrent_weight = Parameter(ops.concatenate(inner))
        self.bias = Parameter(full((gates * hidden,), 0.0)) if bias else None
        self.bias_h = Parameter(full((hidden,), 0.0)) if bias and cell == "gru" else None
        self.peephole = Parameter(full((len(self.cell.peepholes), hidden), 0.0)) if peephole else None
        self.slope = None if slopes is None else Parameter(tensor(np.asarray(slopes, np.float32)))
        self.projection = Parameter(initial(init, (projection, hidden), generator)) if projection else None
        self.layer_norm = layer_norm
        if layer_norm:
            for name in self._normed():
                width = hidden if name == "c" else gates * hidden
                setattr(self, f"gain_{name}", Parameter(full((width,), 1.0)))
                setattr(self, f"shift_{name}", Parameter(full((width,), 0.0)))
        self._packed = PackedRecurrent()

    def extra_repr(self) -> str:
        """The sizes in the text of the module."""
        return f"{self.weight.shape[1]}, {self.recurrent_weight.shape[1]}"

    def _normed(self) -> tuple[str, ...]:
        return ("x", "h", "c") if self.cell.has_c else ("x", "h")

    def step_weights(self) -> StepWeights:
        """For single steps outside the tape."""
        return StepWeights(
            self.weight, self.recurrent_weight, self.bias, self.bias_h, self.peephole, self.projection, self._packed
        )  # fmt: skip

    def of_gates(self, values: Sequence[Any], other: Any) -> list[Any]:
        """values of the gates that have a slope, `other` for the rest, in the order of the weights."""
        given = dict(zip(self.cell.sloped, values, strict=True))
        return [given.get(g, other) for g in self.cell.gates]

    def arguments(
        self, x: Tensor, h0: Tensor | None, c0: Tensor | None, draws: Draws,
        zoneout: tuple[float, float] = (0.0, 0.0), *, lengths: Sequence[int] | Tensor | None = None,
        gate: str = "sigmoid", slope: float | Sequence[float] = 1.0, reverse: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """What `ops.recurrent` takes for x (steps, batch, inputs). zoneout: shares in inference; training draws."""
        w, u, bias, peephole = self._sloped(None if draws.weights is None else draws.weights(self.recurrent_weight))
        steps, batch = x.shape[:2]
        hidden, size = w.shape[0] // len(self.cell.gates), u.shape[1]

        def drawn(draw: Dropout, *shape: int) -> Tensor:
            mask: Tensor = draw(full(shape, 1.0, x.dtype, device=x.device))
            return mask

        kept: list[float | Tensor] = list(zoneout)
        for i, (draw, width) in enumerate(zip(draws.zoneout, (size, hidden), strict=True)):
            if draw is not None:
                kept[i] = drawn(draw, steps, batch, width)
        norms = None
        if self.layer_norm:
            x_norm, h_norm, *c_norm = (
                (self._parameters[f"gain_{n}"], self._parameters[f"shift_{n}"]) for n in self._normed()
            )
            norms = Norms(x_norm, h_norm, c_norm[0] if c_norm else None)
        same = w is self.weight and u is self.recurrent_weight
        return {
            "x": x, "w": w, "u": u, "bias": bias, "cell": self.name, "bias_h": self.bias_h, "peephole": peephole,
            "projection": self.projection, "norms": norms, "h0": h0, "c0": c0, "lengths": lengths,
            "h_mask": None if draws.state is None else drawn(draws.state, batch, size),
            "zoneout": (kept[0], kept[1]), "gate": gate, "slope": slope, "reverse": reverse,
            "packed": self._packed if same else None,
        }  # fmt: skip

    def _sloped(self, dropped: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """w, u, bias and peepholes; learned slopes scale the rows of their gates."""
        w: Tensor = self.weight
        u: Tensor = self.recurrent_weight if dropped is None else dropped
        bias: Tensor | None = self.bias
        peephole: Tensor | None = self.peephole
        if self.slope is None:
            return w, u, bias, peephole
        hidden = w.shape[0] // len(self.cell.gates)
        one = full((1,), 1.0, self.slope.dtype, device=self.slope.device)
        each = [ops.narrow(self.slope, 0, i, 1) for i in range(len(self.cell.sloped))]
        rows = ops.concatenate(self.of_gates(each, one))
        column = ops.reshape(ops.broadcast_to(ops.reshape(rows, -1, 1), (rows.shape[0], hidden)), -1, 1)
        bias = None if bias is None else bias * ops.reshape(column, -1)
        peephole = None if peephole is None else peephole * ops.reshape(self.slope, -1, 1)
        return w * column, u * column, bias, peephole
