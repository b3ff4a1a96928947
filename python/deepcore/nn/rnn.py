"""Recurrent layers: stacked, in both directions, with gates that can be changed, whole sequences or step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deepcore import ops, random
from deepcore.autograd import is_recording
from deepcore.errors import ArgumentError, ShapeError
from deepcore.nn.activation import Dropout
from deepcore.nn.init import Initializer, generator_for
from deepcore.nn.module import Module
from deepcore.nn.rnn_direction import Direction, Draws
from deepcore.ops import inplace
from deepcore.ops.rnn import CELLS, GATES, recurrent_step, slopes_of
from deepcore.tensor import Tensor, full, tensor

STEEP = 3.75  # the preset slope of steep gates


class RecurrentState(NamedTuple):
    """What a recurrent layer carries: h and, for cells with one, c: (layers * directions, batch, hidden) each.

    With a projection h is (layers * directions, batch, projection).
    """

    h: Tensor
    c: Tensor | None = None

    def detach(self) -> RecurrentState:
        """The same values outside the tape: where truncated back propagation through time is cut."""
        return RecurrentState(self.h.detach(), None if self.c is None else self.c.detach())

    def select(self, index: npt.NDArray[np.int64]) -> RecurrentState:
        """The states of the sequences `index` (rows,) of the batch; one may come twice or not at all."""
        at = tensor(np.asarray(index, np.int64)).to(self.h.device)
        return RecurrentState(ops.take(self.h, at, 1), None if self.c is None else ops.take(self.c, at, 1))


class Recurrent(Module):
    """Layers of one kind of cell, stacked, in one direction or both: x (n, steps, inputs) -> (n, steps, hidden).

    Calling gives (y, state): y the outputs of the last layer, (n, steps, hidden), twice as wide where bidirectional,
    state a `RecurrentState` of the last valid step of each sequence. `output` makes that one tensor, for `Sequential`:
    'sequence' is y, 'last' the last layer's state h (n, hidden), of both directions side by side.

    Args:
        inputs, hidden: sizes of inputs and state.
        cell: a name in `deepcore.ops.rnn.CELLS`; SimpleRNN, LSTM, GRU and MGU choose it.
        layers: how many are stacked.
        bidirectional: a second set of weights reads each sequence from its end (Schuster and Paliwal, 1997).
        bias, peephole: whether the cells have them; peepholes start at 0.
        dropout: on the outputs of every layer but the last.
        weight_drop: probability with which a recurrent weight is 0, drawn once per call (Merity et al., 2018).
        recurrent_dropout: probability with which an entry of the state is 0 where it meets the recurrent weights, the
            same entries at all steps of a call (Gal and Ghahramani, 2016).
        zoneout: probability with which a unit keeps its old value at a step, one number or one for h and one for c; in
            inference old and new values are mixed in that proportion (Krueger et al., 2017).
        layer_norm: of what comes from inputs, from the state, and of c (Ba et al., 2016).
        projection: size to which the outputs of LSTM cells are projected before they are fed back (Sak et al., 2014).
        refine: a second gate makes the forget gate of coupled cells reach 0 and 1 (Gu et al., 2020).
        gate: 'sigmoid', 'hard' or 'binary'. slope: of the gates' inputs, one number or one per gate with a slope;
            'steep' is 3.75; 'learned' makes it a parameter that starts at 1. May be changed at any time.
        gate_init: biases at the start of gates that keep (LSTM's and MGU's f, GRU's z): a number, which is the bias of
            the one that keeps; 'chrono' for memories of up to `longest` steps (Tallec and Ollivier, 2018); 'uniform'
            (Gu et al., 2020).
        init, recurrent_init: initializers of each gate's weights.
        time_major: x is (steps, n, inputs), and y too.
        seed: of the initial weights and of dropout.

    ArgumentError for options that the cell doesn't have.
    """

    layer0: Direction

    def __init__(
        self, inputs: int, hidden: int, *, cell: str = "lstm", layers: int = 1, bidirectional: bool = False,
        bias: bool = True, peephole: bool = False, dropout: float = 0.0, weight_drop: float = 0.0,
        recurrent_dropout: float = 0.0, zoneout: float | tuple[float, float] = 0.0, layer_norm: bool = False,
        projection: int | None = None, refine: bool = False,
        gate: str = "sigmoid", slope: float | Sequence[float] | str = 1.0, gate_init: float | str | None = None,
        longest: int | None = None, init: str | Initializer = "glorot_uniform",
        recurrent_init: str | Initializer = "orthogonal", output: str = "both", time_major: bool = False,
        seed: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        owner = type(self).__name__
        if refine and cell != "coupled":
            raise ArgumentError(f"{owner}: expected cell 'coupled' for refined gates, got {cell!r}")
        cell = "refined" if refine else cell
        if cell not in CELLS:
            raise ArgumentError(f"{owner}: expected cell in {list(CELLS)}, got {cell!r}")
        kind = CELLS[cell]
        if inputs < 0 or hidden < 1 or layers < 1:
            raise ArgumentError(
                f"{owner}: expected inputs >= 0, hidden >= 1, layers >= 1, got {inputs}, {hidden}, {layers}"
            )
        if gate not in GATES:
            raise ArgumentError(f"{owner}: expected gate in {list(GATES)}, got {gate!r}")
        if output not in ("both", "sequence", "last"):
            raise ArgumentError(f"{owner}: expected output 'both', 'sequence' or 'last', got {output!r}")
        if peephole and not kind.peepholes:
            raise ArgumentError(f"{owner}: expected no peepholes for cells {cell!r}")
        if projection is not None and (not kind.has_c or not 1 <= projection <= hidden):
            raise ArgumentError(
                f"{owner}: expected a projection from 1 to {hidden} with LSTM cells, got {projection} with {cell!r}"
            )
        if layer_norm and (cell in ("gru_before", "mgu") or peephole):
            raise ArgumentError(
                f"{owner}: expected layer norm without peepholes and for cells of one product, got {cell!r}"
            )
        if isinstance(zoneout, (int, float)):
            zoneout = (zoneout, zoneout if kind.has_c else 0.0)
        self.zoneout = tuple(map(float, zoneout))
        if len(self.zoneout) != 2 or not all(0 <= p < 1 for p in self.zoneout):
            raise ArgumentError(f"{owner}: expected zoneout in [0, 1), one number or two, got {zoneout}")
        if self.zoneout[1] and not kind.has_c:
            raise ArgumentError(f"{owner}: expected no zoneout of c with {cell!r}, got {zoneout}")
        if slope == "learned" and not kind.sloped:
            raise ArgumentError(f"{owner}: expected a cell with gates for learned slopes, got {cell!r}")
        self.inputs, self.hidden, self.layers, self.cell = inputs, hidden, layers, cell
        self.size = projection or hidden  # of h and of the outputs in one direction
        self.directions = 2 if bidirectional else 1
        self.gate, self.output, self.time_major = gate, output, time_major
        self._slopes = (1.0, 1.0, 1.0)
        if slope != "learned":
            self.slope = slope
        generator = generator_for(seed)
        learned = (1.0,) * len(kind.sloped) if slope == "learned" else None
        self._parts: list[list[Direction]] = []
        for i in range(layers):
            width = inputs if i == 0 else self.size * self.directions
            row = []
            for d in range(self.directions):
                part = Direction(
                    cell, width, hidden, bias=bias, peephole=peephole, projection=projection, layer_norm=layer_norm,
                    init=init, recurrent_init=recurrent_init, slopes=learned, generator=generator,
                )  # fmt: skip
                setattr(self, f"layer{i}" + ("_reverse" if d else ""), part)
                row.append(part)
            self._parts.append(row)
        chances = (dropout, weight_drop, recurrent_dropout, *self.zoneout)
        drops = [Dropout(p, seed=None if seed is None else seed + i) if p else None for i, p in enumerate(chances)]
        self.dropout, self.weight_drop, self.recurrent_dropout, self.h_zoneout, self.c_zoneout = drops
        if gate_init is not None:
            self._set_gates(gate_init, longest, generator)

    # ---- gates ----
    @property
    def slope(self) -> tuple[float, ...]:
        """The slope of each gate that has one; assign one number, one per gate, or 'steep'."""
        learned = self._parts[0][0].slope if getattr(self, "_parts", None) else None
        values = self._slopes if learned is None else tuple(float(k) for k in learned.numpy())
        return values[: len(CELLS[self.cell].sloped)]

    @slope.setter
    def slope(self, value: float | Sequence[float] | str) -> None:
        owner = type(self).__name__
        if isinstance(value, str):
            if value != "steep":
                raise ArgumentError(f"{owner}: expected slope a number, 'steep' or 'learned', got {value!r}")
            value = STEEP
        if getattr(self, "_parts", None) and self._parts[0][0].slope is not None:
            raise ArgumentError(f"{owner}: the slopes of this layer are learned")
        self._slopes = slopes_of(owner, CELLS[self.cell], value)

    def _set_gates(self, how: float | str, longest: int | None, generator: random.Generator) -> None:
        owner, kind, hidden = type(self).__name__, CELLS[self.cell], self.hidden
        if not kind.sloped:
            raise ArgumentError(f"{owner}: expected a cell with gates for gate_init, got {self.cell!r}")
        keeping = "f" if "f" in kind.gates else "z"
        if isinstance(how, str) and how not in ("chrono", "uniform"):
            raise ArgumentError(f"{owner}: expected gate_init a number, 'chrono' or 'uniform', got {how!r}")
        if (how == "chrono") != (longest is not None) or (longest is not None and longest < 3):
            raise ArgumentError(f"{owner}: expected longest >= 3 with gate_init='chrono', got {longest}")
        for part in (p for row in self._parts for p in row):
            if part.bias is None:
                raise ArgumentError(f"{owner}: expected biases for gate_init")
            if isinstance(how, str):
                seed, stream, _ = generator.key()
                u = random.uniform(hidden, seed=seed, stream=stream).numpy().astype(np.float64)
            if how == "chrono":
                assert longest is not None
                values = np.log(1.0 + u * (longest - 2.0))
            elif how == "uniform":
                middle = (u * hidden + 0.5) / (hidden + 1.0)  # in (0, 1)
                values = np.log(middle / (1.0 - middle))
            else:
                values = np.full(hidden, float(how))
            # MGU's f opens to the new value, where the others' gates keep the old one.
            biases = {keeping: -values if self.cell == "mgu" else values}
            if self.cell == "lstm" and isinstance(how, str):
                biases["i"] = -values
            start = np.array(part.bias.numpy())
            for gate, b in biases.items():
                at = kind.gates.index(gate) * hidden
                start[at : at + hidden] = b
            inplace.copy_into(start, part.bias)

    def fold_gates(self) -> Recurrent:
        """Multiply fixed and learned slopes into the weights, in place: equal outputs with slopes of 1; returns self.

        Not for 'binary' gates, whose values do not depend on slopes.
        """
        for part in (p for row in self._parts for p in row):
            slopes = part.slope.numpy() if part.slope is not None else np.asarray(self.slope, np.float32)
            rows = np.repeat(np.asarray(part.of_gates(list(slopes), 1.0), np.float32), self.hidden)
            for p in (part.weight, part.recurrent_weight, part.bias):
                if p is not None:
                    inplace.copy_into(p.numpy() * rows.reshape(-1, *[1] * (p.ndim - 1)), p)
            if part.peephole is not None:
                inplace.copy_into(part.peephole.numpy() * slopes.reshape(-1, 1), part.peephole)
            if part.slope is not None:
                part.slope = None
                del part._parameters["slope"]
        self._slopes = (1.0, 1.0, 1.0)
        return self

    # ---- running ----
    def forward(
        self, x: Tensor, *, state: RecurrentState | None = None, lengths: Sequence[int] | Tensor | None = None
    ) -> Any:
        """x (n, steps, inputs) -> (y, state), or what `output` says.

        state: where to start, 0 if None. lengths: how many steps of each sequence count; outputs beyond are 0, the
        reverse direction starts at each sequence's own end. ShapeError where sizes differ.
        """
        owner = type(self).__name__
        if x.ndim != 3 or x.shape[2] != self.inputs:
            raise ShapeError(f"{owner}: expected x (n, steps, {self.inputs}), got {x.shape}")
        y = x if self.time_major else ops.swap_axes(x, 0, 1)
        self._check_state(state, y.shape[1])
        draws, zoneout = Draws(), self.zoneout
        if self.training:
            draws = Draws(self.weight_drop, self.recurrent_dropout, (self.h_zoneout, self.c_zoneout))
            zoneout = (0.0, 0.0)
        h_last: list[Tensor] = []
        c_last: list[Tensor] = []
        for i, row in enumerate(self._parts):
            sides = []
            for d, part in enumerate(row):
                at = i * self.directions + d
                h0 = None if state is None else state.h[at]
                c0 = None if state is None or state.c is None else state.c[at]
                given = part.arguments(
                    y, h0, c0, draws, (zoneout[0], zoneout[1]), lengths=lengths, gate=self.gate,
                    slope=self._slopes[: len(part.cell.sloped)], reverse=d == 1,
                )  # fmt: skip
                out = ops.recurrent(**given)
                sides.append(out[0])
                h_last.append(out[1])
                c_last.extend(out[2:])
            y = sides[0] if len(sides) == 1 else ops.concatenate(sides, -1)
            if i + 1 < self.layers and self.dropout is not None:
                y = self.dropout(y)
        if self.output == "last":
            return h_last[-1] if self.directions == 1 else ops.concatenate(h_last[-2:], -1)
        y = y if self.time_major else ops.swap_axes(y, 0, 1)
        if self.output == "sequence":
            return y
        return y, RecurrentState(ops.stack(h_last), ops.stack(c_last) if c_last else None)

    def step(self, x: Tensor, state: RecurrentState | None = None) -> tuple[Tensor, RecurrentState]:
        """One step: x (n, inputs) -> (y (n, hidden), state), the bits that a call with the whole sequence gives.

        ArgumentError for layers that read from the end, and in training with dropout, whose masks differ from call to
        call.
        """
        owner = type(self).__name__
        if self.directions == 2:
            raise ArgumentError(f"{owner}: a bidirectional layer needs whole sequences")
        inner = (self.weight_drop, self.recurrent_dropout, self.h_zoneout, self.c_zoneout)
        if self.training and (any(inner) or (self.dropout is not None and self.layers > 1)):
            raise ArgumentError(f"{owner}: expected eval mode for step() with dropout")
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise ShapeError(f"{owner}: expected x (n, {self.inputs}) in step(), got {x.shape}")
        plain = all(row[0].slope is None and not row[0].layer_norm for row in self._parts) and not any(self.zoneout)
        if plain and not is_recording():
            self._check_state(state, x.shape[0])
            h, c = (None, None) if state is None else state
            layers = [row[0].step_weights() for row in self._parts]
            y, h_last, c_last = recurrent_step(x, layers, self.cell, self.gate, self._slopes, h, c)
            return y, RecurrentState(h_last, c_last)
        at = 0 if self.time_major else 1
        output, self.output = self.output, "both"
        try:
            y, new = self(ops.expand_dims(x, at), state=state)
        finally:
            self.output = output
        return ops.squeeze(y, at), new

    def initial_state(self, n: int) -> RecurrentState:
        """Zeros for n sequences."""
        like = self._parts[0][0].weight
        zeros = [
            full((self.layers * self.directions, n, width), 0.0, like.dtype, device=like.device)
            for width in (self.size, self.hidden)
        ]
        return RecurrentState(zeros[0], zeros[1] if CELLS[self.cell].has_c else None)

    def _check_state(self, state: RecurrentState | None, n: int) -> None:
        if state is None:
            return
        owner, has_c = type(self).__name__, CELLS[self.cell].has_c
        if not isinstance(state, RecurrentState) or (state.c is not None) != has_c:
            raise ArgumentError(f"{owner}: expected a RecurrentState with h{' and c' if has_c else ' alone'}")
        for name, part, width in zip(("h", "c"), state, (self.size, self.hidden)):
            expected = (self.layers * self.directions, n, width)
            if part is not None and part.shape != expected:
                raise ShapeError(f"{owner}: expected state {name} {expected}, got {part.shape}")

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        text = f"{self.inputs}, {self.hidden}, cell={self.cell!r}"
        text += f", layers={self.layers}" if self.layers > 1 else ""
        return text + (", bidirectional=True" if self.directions == 2 else "")


class SimpleRNN(Recurrent):
    """h = f(w x + u h' + b) (Elman, 1990). activation: 'tanh' or 'relu'.

    identity: u starts as the identity and b as 0, so that ReLU units can sum over long times (IRNN, Le et al., 2015).
    Other arguments: `Recurrent`.
    """

    def __init__(
        self, inputs: int, hidden: int, *, activation: str = "tanh", identity: bool = False, **options: Any
    ) -> None:  # fmt: skip
        if activation not in ("tanh", "relu"):
            raise ArgumentError(f"SimpleRNN: expected activation 'tanh' or 'relu', got {activation!r}")
        if identity:
            options["recurrent_init"] = lambda shape, key: tensor(np.eye(*shape, dtype=np.float32))
        super().__init__(inputs, hidden, cell=activation, **options)


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; forget gate Gers et al., 2000).

    coupled: the input gate is 1 - f. The forget gate's bias starts at 1 (Jozefowicz et al., 2015) unless gate_init says
    else. Other arguments: `Recurrent`.
    """

    def __init__(self, inputs: int, hidden: int, *, coupled: bool = False, **options: Any) -> None:
        if options.get("bias", True):
            options.setdefault("gate_init", 1.0)
        super().__init__(inputs, hidden, cell="coupled" if coupled else "lstm", **options)


class GRU(Recurrent):
    """Gated recurrent unit (Cho et al., 2014).

    reset: 'after' applies the reset gate to the product with the state, as fast libraries do, 'before' to the state
    itself, as in the paper. Other arguments: `Recurrent`.
    """

    def __init__(self, inputs: int, hidden: int, *, reset: str = "after", **options: Any) -> None:
        if reset not in ("after", "before"):
            raise ArgumentError(f"GRU: expected reset 'after' or 'before', got {reset!r}")
        super().__init__(inputs, hidden, cell="gru" if reset == "after" else "gru_before", **options)


class MGU(Recurrent):
    """Minimal gated unit: one gate forgets and resets (Zhou et al., 2016). Other arguments: `Recurrent`."""

    def __init__(self, inputs: int, hidden: int, **options: Any) -> None:
        super().__init__(inputs, hidden, cell="mgu", **options)
