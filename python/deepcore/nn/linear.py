"""Dense layers."""

from __future__ import annotations

from deepcore import ops
from deepcore.autograd import is_recording
from deepcore.errors import ArgumentError
from deepcore.nn.init import Initializer, generator_for, initial
from deepcore.nn.module import Module, Parameter
from deepcore.ops.matmul import PackedWeight, linear_packed
from deepcore.tensor import Tensor, full

PACKED_ROWS = 256  # with more rows, packing costs less than a tenth of the product


class Linear(Module):
    """activation(x w^T + bias): x (..., inputs) -> (..., outputs).

    Args:
        inputs, outputs: sizes of the last axis.
        bias: whether to add one.
        activation: None, 'relu', 'sigmoid' or 'tanh', computed in the same pass.
        init: name of an initializer of `deepcore.nn.init`, or a function of (shape, key).
        max_norm: limit on the Euclidean norm of each unit's incoming weights, applied by the optimizer.
        seed: of the initial weights; None draws from the default generator.
    """

    def __init__(
        self, inputs: int, outputs: int, *, bias: bool = True, activation: str | None = None,
        init: str | Initializer = "he_uniform", max_norm: float | None = None, seed: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if inputs < 0 or outputs < 0:
            raise ArgumentError(f"Linear: expected sizes >= 0, got {inputs} and {outputs}")
        self.activation = activation
        self.weight = Parameter(initial(init, (outputs, inputs), generator_for(seed)), max_norm)
        self.bias = Parameter(full((outputs,), 0.0)) if bias else None
        self._packed = PackedWeight()

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs). In inference the packed weights are kept from call to call."""
        if not self.training and not is_recording() and x.ndim > 1 and x.size <= PACKED_ROWS * x.shape[-1]:
            return linear_packed(x, self.weight, self._packed, self.bias, self.activation)
        return ops.linear(x, self.weight, self.bias, self.activation)

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        outputs, inputs = self.weight.shape
        return f"{inputs}, {outputs}" + (f", activation={self.activation!r}" if self.activation else "")


class Maxout(Module):
    """max over `pieces` linear maps: (..., inputs) -> (..., outputs) (Goodfellow et al., 2013)."""

    def __init__(self, inputs: int, outputs: int, pieces: int = 2, *, seed: int | None = None) -> None:
        super().__init__()
        if pieces < 1:
            raise ArgumentError(f"Maxout: expected pieces >= 1, got {pieces}")
        self.outputs, self.pieces = outputs, pieces
        self.linear = Linear(inputs, outputs * pieces, seed=seed)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return ops.maxout(self.linear(x), self.pieces)


class Flatten(Module):
    """(n, ...) -> (n, product of the rest)."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, ...) -> (n, product of the rest)."""
        n = x.shape[0]
        size = 1
        for s in x.shape[1:]:
            size *= s
        return ops.reshape(x, n, size)


class Reshape(Module):
    """(n, ...) -> (n, *shape)."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """(n, ...) -> (n, *shape)."""
        return ops.reshape(x, x.shape[0], *self.shape)


class Embedding(Module):
    """Rows of a table: integer indices (...) -> (..., size)."""

    def __init__(self, count: int, size: int, *, seed: int | None = None) -> None:
        super().__init__()
        self.weight = Parameter(initial("lecun_normal", (count, size), generator_for(seed)))

    def forward(self, index: Tensor) -> Tensor:
        """Indices (...) -> (..., size)."""
        return ops.embedding(self.weight, index)

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"
