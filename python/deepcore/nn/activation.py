"""Activations and dropout as layers."""

from __future__ import annotations

from collections.abc import Callable

from deepcore import ops, random
from deepcore.errors import ArgumentError
from deepcore.nn.init import generator_for
from deepcore.nn.module import Module, buffer
from deepcore.tensor import Tensor


def _identity(x: Tensor) -> Tensor:
    return x


class Activation(Module):
    """A function by name ('relu', 'leaky_relu', 'elu', 'gelu', 'silu', 'sigmoid', 'tanh', 'softplus', 'softsign',
    'hard_sigmoid', 'softmax', 'log_softmax', 'identity') or any function of one tensor."""

    NAMES = ("relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", "softplus", "softsign", "hard_sigmoid",
             "softmax", "log_softmax")  # fmt: skip

    def __init__(self, function: str | Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.name = function if isinstance(function, str) else getattr(function, "__name__", "function")
        if isinstance(function, str):
            if function != "identity" and function not in self.NAMES:
                raise ArgumentError(f"Activation: expected one of {('identity', *self.NAMES)}, got {function!r}")
            self.function: Callable[[Tensor], Tensor] = _identity if function == "identity" else getattr(ops, function)
        else:
            self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """The function of x."""
        return self.function(x)

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        return repr(self.name)


class ReLU(Activation):
    """max(x, 0)."""

    def __init__(self) -> None:
        super().__init__("relu")

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        return ""


class LeakyReLU(Module):
    """x for x > 0, else slope * x."""

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return ops.leaky_relu(x, self.slope)

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        return f"{self.slope}"


class Dropout(Module):
    """In training, each value is 0 with probability p and scaled by 1 / (1 - p) else (Srivastava et al., 2014).

    The mask of call i is a function of (seed, stream, i); the count of calls is a buffer, so saved nets go on with the
    same masks.
    """

    def __init__(self, p: float = 0.5, *, seed: int | None = None) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ArgumentError(f"Dropout: expected p in [0, 1], got {p}")
        self.p = p
        self._key: random.Key = generator_for(seed).key()
        self.register_buffer("calls", buffer(0, "int64"), host=True)

    @property
    def key(self) -> tuple[int, int]:
        """(seed, stream) of the masks."""
        return self._key[0], self._key[1]

    def forward(self, x: Tensor) -> Tensor:
        """Same shape; x itself in inference."""
        if not self.training or self.p == 0:
            return x
        calls = self._buffers["calls"].numpy()
        call = int(calls)
        calls[...] = call + 1
        return ops.dropout(x, self.p, (self._key[0], self._key[1], call << 40))

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        return f"{self.p}"
