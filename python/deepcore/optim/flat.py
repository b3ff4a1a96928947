"""What methods that see all parameters as one vector share: the vector, a step on a closure, counts, state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from deepcore import ops
from deepcore.autograd import backward, no_grad
from deepcore.errors import ArgumentError, CheckpointError, NumericalError
from deepcore.nn.module import Parameter
from deepcore.ops import inplace
from deepcore.tensor import Tensor, as_tensor, zeros

Closure = Callable[[], "Tensor | float"]
C = TypeVar("C")


class FlatParameters:
    """Parameters seen as one vector (size,), in the order given.

    Raises:
        ArgumentError: no parameter, or parameters of two types or devices.
    """

    def __init__(self, params: Iterable[Parameter]) -> None:
        self.params = list(params)
        if not self.params:
            raise ArgumentError("FlatParameters: expected at least one parameter")
        if len({(p.dtype, p.device) for p in self.params}) != 1:
            raise ArgumentError("FlatParameters: expected parameters of one type on one device")
        self.size = sum(p.size for p in self.params)

    def values(self) -> Tensor:
        """A copy of all parameters."""
        return self.join([Tensor(p.array) for p in self.params])

    def gradient(self) -> Tensor:
        """All gradients; zeros for a parameter without one."""
        return self.join([zeros(p.shape, dtype=p.dtype, device=p.device) if p.grad is None else p.grad
                          for p in self.params])  # fmt: skip

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """One vector of its own memory from tensors of the parameters' shapes."""
        with no_grad():
            return inplace.duplicate(ops.concatenate([ops.reshape(t, t.size) for t in parts]))

    def split(self, flat: Tensor) -> list[Tensor]:
        """Views of a vector in the shapes of the parameters."""
        parts, at = [], 0
        with no_grad():
            for p in self.params:
                parts.append(ops.reshape(ops.narrow(flat, 0, at, p.size), *p.shape))
                at += p.size
        return parts

    def assign(self, flat: Tensor) -> None:
        """Copy a vector into the parameters."""
        for part, p in zip(self.split(flat), self.params, strict=True):
            inplace.copy_into(part, p)


def dot(a: Tensor, b: Tensor) -> float:
    """The inner product of two vectors, summed in a fixed order."""
    return float(ops.sum(a * b).item())


class FlatMethod(Generic[C]):
    """Base of methods that change all parameters at once, each step on the loss that a closure of kind C computes.

    Args:
        params: parameters to change.
        tolerance: `step` has converged when the largest entry of the gradient is no larger.

    Attributes:
        steps, evaluations: counts so far.
        converged: the gradient vanished, or no step lowers the loss any more.
    """

    def __init__(self, params: Iterable[Parameter], *, tolerance: float = 1e-7) -> None:
        if not tolerance >= 0:
            raise ArgumentError(f"{type(self).__name__}: expected tolerance >= 0, got {tolerance}")
        self.flat = FlatParameters(params)
        self.tolerance = tolerance
        self.steps = self.evaluations = 0
        self.converged = False

    def step(self, closure: C) -> float:
        """One step; returns the loss reached."""
        raise ArgumentError(f"{type(self).__name__}: a method needs a step")

    def forget(self) -> None:
        """Drop what earlier steps taught: for another batch, or after a change of the parameters."""
        self.converged = False

    def minimize(
        self, closure: C, iterations: int, callback: Callable[[int, float], None] | None = None
    ) -> list[float]:
        """Up to `iterations` steps, fewer when converged; the losses after each. callback(i, loss) follows each."""
        losses = []
        for i in range(iterations):
            losses.append(self.step(closure))
            if callback is not None:
                callback(i, losses[-1])
            if self.converged:
                break
        return losses

    def _begin(self, closure: Closure) -> tuple[float, Tensor]:
        """The loss and its gradient where a step starts; `converged` tells whether the gradient has vanished.

        Raises:
            NumericalError: one of them is not finite.
        """
        loss, gradient = self._evaluate(closure)
        if not (math.isfinite(loss) and inplace.first_not_finite([gradient]) < 0):
            raise NumericalError(
                f"{type(self).__name__}: loss {loss} or its gradient is not finite at step {self.steps}"
            )
        with no_grad():
            self.converged = float(ops.max(ops.absolute(gradient)).item()) <= self.tolerance
        return loss, gradient

    def _evaluate(self, closure: Closure) -> tuple[float, Tensor]:
        for p in self.flat.params:
            p.grad = None
        loss = closure()
        if isinstance(loss, Tensor):
            backward(loss)
            loss = float(loss.item())
        self.evaluations += 1
        gradient = self.flat.gradient()
        for p in self.flat.params:
            p.grad = None
        return float(loss), gradient

    # ---- state ----
    def state_dict(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """(arrays, facts) from which `load_state_dict` goes on."""
        return self._arrays(), {"type": type(self).__name__, "steps": self.steps, "evaluations": self.evaluations,
                                "converged": self.converged, **self._facts()}  # fmt: skip

    def load_state_dict(self, arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken. CheckpointError when it belongs to another method or net."""
        if facts.get("type") != type(self).__name__:
            raise CheckpointError(f"optimizer state: expected {type(self).__name__}, got {facts.get('type')!r}")
        if any(a.shape != (self.flat.size,) for a in arrays.values()):
            raise CheckpointError(f"optimizer state: expected vectors of {self.flat.size} entries")
        first = self.flat.params[0]
        self._restore({k: as_tensor(np.array(a, first.dtype)).to(first.device) for k, a in arrays.items()}, facts)
        self.steps, self.evaluations = int(facts["steps"]), int(facts["evaluations"])
        self.converged = bool(facts["converged"])

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {}

    def _facts(self) -> dict[str, Any]:
        return {}

    def _restore(self, vectors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        raise ArgumentError(f"{type(self).__name__}: a method needs a _restore")


__all__ = ["Closure", "FlatMethod", "FlatParameters", "dot"]
