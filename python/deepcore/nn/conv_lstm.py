"""Recurrent layers whose states are pictures: the products of LSTM and GRU are convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepcore import ops
from deepcore.errors import ArgumentError, ShapeError
from deepcore.nn.activation import Dropout
from deepcore.nn.init import Initializer, generator_for, initial
from deepcore.nn.module import Module, Parameter
from deepcore.nn.rnn import RecurrentState
from deepcore.ops.conv import pair
from deepcore.ops.rnn import lengths_array
from deepcore.random import Generator
from deepcore.tensor import Tensor, arange, full

CONV_CELLS = {"lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n")}  # gates in the order of the filters
_SEEING = ("i", "f", "o")  # gates of an LSTM that see c through peepholes


class ConvCell(Module):
    """The weights of one layer and its step."""

    def __init__(
        self, cell: str, inputs: int, hidden: int, size: tuple[int, int], stride: tuple[int, int], *, bias: bool,
        peephole: tuple[int, int] | None, init: str | Initializer, recurrent_init: str | Initializer,
        generator: Generator,
    ) -> None:  # fmt: skip
        super().__init__()
        self.cell, self.hidden, self.stride, gates = cell, hidden, stride, CONV_CELLS[cell]
        first = [initial(init, (hidden, *size, inputs), generator) for _ in gates]
        self.weight = Parameter(ops.concatenate(first))
        inner = [initial(recurrent_init, (hidden, *size, hidden), generator) for _ in gates]
        self.recurrent_weight = Parameter(ops.concatenate(inner))
        start = [full((hidden,), 1.0 if cell == "lstm" and gate == "f" else 0.0) for gate in gates]
        self.bias = Parameter(ops.concatenate(start)) if bias else None
        self.peephole = None if peephole is None else Parameter(full((len(_SEEING), *peephole, hidden), 0.0))

    def extra_repr(self) -> str:
        """The sizes in the text of the module."""
        return f"{self.weight.shape[3]}, {self.hidden}, {tuple(self.weight.shape[1:3])}"

    def inputs(self, x: Tensor) -> Tensor:
        """The share of frames x (n, h, w, inputs) in all gates, (n, p, q, gates hidden)."""
        return ops.conv2d(x, self.weight, self.bias, stride=self.stride, padding="same")

    def step(self, sums: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """One step: sums of `inputs`, the state before -> the state after."""
        hidden = self.hidden

        def part(values: Tensor, gate: str) -> Tensor:
            return ops.narrow(values, 3, CONV_CELLS[self.cell].index(gate) * hidden, hidden)

        if c is None:
            filters = self.recurrent_weight
            both = ops.conv2d(h, ops.narrow(filters, 0, 0, 2 * hidden), padding="same")
            r = ops.sigmoid(part(sums, "r") + ops.narrow(both, 3, 0, hidden))
            z = ops.sigmoid(part(sums, "z") + ops.narrow(both, 3, hidden, hidden))
            inner = ops.conv2d(r * h, ops.narrow(filters, 0, 2 * hidden, hidden), padding="same")
            n = ops.tanh(part(sums, "n") + inner)
            return (1.0 - z) * n + z * h, None
        total = sums + ops.conv2d(h, self.recurrent_weight, padding="same")

        def gate(name: str, seen: Tensor) -> Tensor:
            value = part(total, name)
            return ops.sigmoid(value if self.peephole is None else value + seen * self.peephole[_SEEING.index(name)])

        new_c = gate("f", c) * c + gate("i", c) * ops.tanh(part(total, "g"))
        return gate("o", new_c) * ops.tanh(new_c), new_c


class ConvRecurrent(Module):
    """Stacked layers with convolutions for products: x (n, steps, h, w, inputs) -> (n, steps, p, q, hidden).

    Calling gives (y, state): y the outputs of the last layer, state a `RecurrentState` of the last valid step of each
    sequence, whose h and, for LSTM, c are (layers, n, p, q, hidden). `output` makes that one tensor: 'sequence' is y,
    'last' the last layer's state h (n, p, q, hidden).

    Convolutions keep the size of a frame; only the input convolution of the first layer may have a stride, which makes
    p = ceil(h / stride) and q = ceil(w / stride).

    Args:
        inputs, hidden: channels of frames and of states.
        size: filter height and width, of inputs and of states.
        cell: 'lstm' or 'gru'; ConvLSTM and ConvGRU choose it.
        layers: how many are stacked.
        stride: of the input convolution of the first layer.
        bias: whether the gates have one; the forget gate's starts at 1.
        dropout: on the outputs of every layer but the last.
        peephole: (p, q), the size of states, for an LSTM whose gates see c through a weight for each place, as in the
            paper; they start at 0. None: without.
        init, recurrent_init: initializers of each gate's filters.
        output: see above.
        time_major: x is (steps, n, h, w, inputs), and y too.
        seed: of the initial weights and of dropout.

    In training the input convolution of all steps is one call; in inference each step has its own, so that `step` gives
    the bits of whole sequences. All is made of differentiable operations: derivatives of any order.

    Raises:
        ArgumentError: an option is out of range, or a length.
        ShapeError: x, lengths or a state have other sizes.
    """

    def __init__(
        self, inputs: int, hidden: int, size: int | Sequence[int] = 3, *, cell: str = "lstm", layers: int = 1,
        stride: int | Sequence[int] = 1, bias: bool = True, dropout: float = 0.0, peephole: Sequence[int] | None = None,
        init: str | Initializer = "glorot_uniform", recurrent_init: str | Initializer = "glorot_uniform",
        output: str = "both", time_major: bool = False, seed: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        owner = type(self).__name__
        if cell not in CONV_CELLS:
            raise ArgumentError(f"{owner}: expected cell in {list(CONV_CELLS)}, got {cell!r}")
        window, steps = pair(owner, "size", size), pair(owner, "stride", stride)
        if min(inputs, hidden, layers, *window, *steps) < 1:
            raise ArgumentError(
                f"{owner}: expected inputs, hidden, layers, size and stride >= 1, got {inputs}, {hidden}, {layers}, "
                f"{size}, {stride}"
            )
        if output not in ("both", "sequence", "last"):
            raise ArgumentError(f"{owner}: expected output 'both', 'sequence' or 'last', got {output!r}")
        place = None if peephole is None else pair(owner, "peephole", peephole)
        if place is not None and cell != "lstm":
            raise ArgumentError(f"{owner}: expected no peepholes for cell {cell!r}")
        self.channels, self.hidden, self.layers, self.cell = inputs, hidden, layers, cell
        self.stride, self.peephole, self.output, self.time_major = steps, place, output, time_major
        generator = generator_for(seed)
        self._parts: list[ConvCell] = []
        for i in range(layers):
            part = ConvCell(
                cell, inputs if i == 0 else hidden, hidden, window, steps if i == 0 else (1, 1), bias=bias,
                peephole=place, init=init, recurrent_init=recurrent_init, generator=generator,
            )  # fmt: skip
            setattr(self, f"layer{i}", part)
            self._parts.append(part)
        self.dropout = Dropout(dropout, seed=seed) if dropout else None

    def forward(
        self, x: Tensor, *, state: RecurrentState | None = None, lengths: Sequence[int] | Tensor | None = None
    ) -> Any:
        """x (n, steps, h, w, inputs) -> (y, state), or what `output` says.

        state: where to start, 0 if None. lengths: how many steps of each sequence count; outputs beyond are 0. What x
        holds there must be finite.
        """
        owner = type(self).__name__
        if x.ndim != 5 or x.shape[4] != self.channels:
            raise ShapeError(f"{owner}: expected x (n, steps, h, w, {self.channels}), got {x.shape}")
        y = x if self.time_major else ops.swap_axes(x, 0, 1)
        steps, n = y.shape[:2]
        if steps == 0:
            raise ShapeError(f"{owner}: expected at least one step, got x {x.shape}")
        start = self._start(x, n, state)
        valid = None
        if lengths is not None:
            values = lengths.numpy() if isinstance(lengths, Tensor) else lengths
            found = Tensor(lengths_array(owner, y, values))  # type: ignore[arg-type]
            at = arange(steps, dtype=found.dtype, device=found.device)
            valid = ops.less(ops.reshape(at, -1, 1, 1, 1, 1), ops.reshape(found, 1, -1, 1, 1, 1))
        h_last: list[Tensor] = []
        c_last: list[Tensor] = []
        for i, part in enumerate(self._parts):
            h, c = start.h[i], None if start.c is None else start.c[i]
            y, h, c = self._run(part, y, h, c, valid)
            h_last.append(h)
            if c is not None:
                c_last.append(c)
            if i + 1 < self.layers and self.dropout is not None:
                y = self.dropout(y)
        if self.output == "last":
            return h_last[-1]
        y = y if self.time_major else ops.swap_axes(y, 0, 1)
        if self.output == "sequence":
            return y
        return y, RecurrentState(ops.stack(h_last), ops.stack(c_last) if c_last else None)

    def _run(
        self, part: ConvCell, x: Tensor, h: Tensor, c: Tensor | None, valid: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """One layer over x (steps, n, ...): outputs, last h and c."""
        steps, n = x.shape[:2]
        sums: Tensor | None = None
        if self.training:
            flat = part.inputs(ops.reshape(x, steps * n, *x.shape[2:]))
            sums = ops.reshape(flat, steps, n, *flat.shape[1:])
        outputs = []
        for t in range(steps):
            new_h, new_c = part.step(part.inputs(ops.contiguous(x[t])) if sums is None else sums[t], h, c)
            if valid is None:
                outputs.append(new_h)
                h, c = new_h, new_c
                continue
            inside = valid[t]
            outputs.append(ops.where(inside, new_h, 0.0))
            h = ops.where(inside, new_h, h)
            c = None if c is None or new_c is None else ops.where(inside, new_c, c)
        return ops.stack(outputs), h, c

    def step(self, x: Tensor, state: RecurrentState | None = None) -> tuple[Tensor, RecurrentState]:
        """One step: x (n, h, w, inputs) -> (y (n, p, q, hidden), state); in eval mode with the bits of whole sequences.

        ShapeError where sizes differ, ArgumentError in training with dropout, whose masks differ from call to call.
        """
        if self.training and self.dropout is not None and self.layers > 1:
            raise ArgumentError(f"{type(self).__name__}: expected eval mode for step() with dropout")
        if x.ndim != 4 or x.shape[3] != self.channels:
            raise ShapeError(f"{type(self).__name__}: expected x (n, h, w, {self.channels}) in step(), got {x.shape}")
        start = self._start(x, x.shape[0], state)
        h_last: list[Tensor] = []
        c_last: list[Tensor] = []
        for i, part in enumerate(self._parts):
            x, c = part.step(part.inputs(x), start.h[i], None if start.c is None else start.c[i])
            h_last.append(x)
            if c is not None:
                c_last.append(c)
        return x, RecurrentState(ops.stack(h_last), ops.stack(c_last) if c_last else None)

    def state_size(self, h: int, w: int) -> tuple[int, int]:
        """(p, q), the size of states for frames of h x w."""
        return -(-h // self.stride[0]), -(-w // self.stride[1])

    def initial_state(self, n: int, h: int, w: int) -> RecurrentState:
        """Zeros for n sequences of frames of h x w."""
        like = self._parts[0].weight
        shape = (self.layers, n, *self.state_size(h, w), self.hidden)
        zeros = full(shape, 0.0, like.dtype, device=like.device)
        return RecurrentState(zeros, zeros if self.cell == "lstm" else None)

    def _start(self, x: Tensor, n: int, state: RecurrentState | None) -> RecurrentState:
        owner, (h, w) = type(self).__name__, x.shape[-3:-1]
        size = self.state_size(h, w)
        if self.peephole is not None and size != self.peephole:
            raise ShapeError(f"{owner}: expected frames whose states are {self.peephole}, got {size} for {h} x {w}")
        if state is None:
            return self.initial_state(n, h, w)
        has_c = self.cell == "lstm"
        if not isinstance(state, RecurrentState) or (state.c is not None) != has_c:
            raise ArgumentError(f"{owner}: expected a RecurrentState with h{' and c' if has_c else ' alone'}")
        expected = (self.layers, n, *size, self.hidden)
        for name, part in zip(("h", "c"), state):
            if part is not None and part.shape != expected:
                raise ShapeError(f"{owner}: expected state {name} {expected}, got {part.shape}")
        return state

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        text = f"{self.channels}, {self.hidden}, cell={self.cell!r}"
        text += f", layers={self.layers}" if self.layers > 1 else ""
        return text + (f", stride={self.stride}" if self.stride != (1, 1) else "")


class ConvLSTM(ConvRecurrent):
    """Convolutional LSTM (Shi et al., 2015, eq. 3).

    With * a convolution, o a product place by place and ' the state before:
    i = s(w_i * x + u_i * h' + p_i o c' + b_i), f likewise, c = f o c' + i o tanh(w_g * x + u_g * h' + b_g),
    z = s(w_o * x + u_o * h' + p_o o c + b_o), h = z o tanh(c). Arguments: `ConvRecurrent`.
    """

    def __init__(self, inputs: int, hidden: int, size: int | Sequence[int] = 3, **options: Any) -> None:
        super().__init__(inputs, hidden, size, cell="lstm", **options)


class ConvGRU(ConvRecurrent):
    """Convolutional GRU (Ballas et al., 2016), the reset gate before the convolution.

    With * a convolution, o a product place by place and ' the state before:
    r = s(w_r * x + u_r * h' + b_r), z likewise, n = tanh(w_n * x + u_n * (r o h') + b_n), h = (1 - z) o n + z o h'.
    Arguments: `ConvRecurrent`.
    """

    def __init__(self, inputs: int, hidden: int, size: int | Sequence[int] = 3, **options: Any) -> None:
        super().__init__(inputs, hidden, size, cell="gru", **options)
