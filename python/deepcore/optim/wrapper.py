"""Optimizers around another one: Lookahead and sharpness-aware minimization."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import _C
from deepcore.errors import ArgumentError, CheckpointError, NumericalError
from deepcore.nn.module import Parameter
from deepcore.ops import inplace
from deepcore.optim.optimizer import Closure, Optimizer
from deepcore.tensor import Tensor, tensor


def _of_inner(name: str) -> Any:
    def read(self: Wrapper) -> Any:
        return getattr(self.inner, name)

    def write(self: Wrapper, value: Any) -> None:
        setattr(self.inner, name, value)

    return property(read, write, doc=f"`{name}` of the inner optimizer.")


class Wrapper(Optimizer):
    """Base of optimizers around another one, `inner`, whose groups, rate, limits and counts are also theirs."""

    recordable = False
    groups, defaults, decoupled = _of_inner("groups"), _of_inner("defaults"), _of_inner("decoupled")
    steps, lr_factor = _of_inner("steps"), _of_inner("lr_factor")
    clip_norm, clip_each_norm = _of_inner("clip_norm"), _of_inner("clip_each_norm")
    clip_value, clip_percentile = _of_inner("clip_value"), _of_inner("clip_percentile")
    log_norm, grad_norm = _of_inner("log_norm"), _of_inner("grad_norm")

    def __init__(self, inner: Optimizer) -> None:
        if not isinstance(inner, Optimizer):
            raise ArgumentError(f"{type(self).__name__}: expected an optimizer, got {type(inner).__name__}")
        self.inner = inner
        self.needs_closure = inner.needs_closure

    @property
    def clipped(self) -> int:
        """Number of steps whose gradients a limit has changed."""
        return self.inner.clipped

    def step(self, closure: Closure | None = None) -> Tensor | None:
        """A step of the inner optimizer."""
        return self.inner.step(closure)

    def backward(self, loss: Tensor, gradient: Tensor | None = None) -> None:
        """Gradients of `loss` and the step they make; no gradient is left behind."""
        self.inner.backward(loss, gradient)

    def averages(self) -> list[Tensor] | None:
        """Those of the inner optimizer."""
        return self.inner.averages()

    def observe(self, loss: float) -> None:
        """Pass a validation loss on to the inner optimizer."""
        self.inner.observe(loss)

    def state_dict(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """(arrays, facts) of the inner optimizer, as inner.NAME and under 'inner'."""
        arrays, facts = self.inner.state_dict()
        return {f"inner.{n}": a for n, a in arrays.items()}, {"type": type(self).__name__, "inner": facts}

    def load_state_dict(self, arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken. CheckpointError when it belongs to another optimizer or net."""
        if facts["type"] != type(self).__name__:
            raise CheckpointError(f"optimizer state: expected {type(self).__name__}, got {facts['type']}")
        inner = {n.removeprefix("inner."): a for n, a in arrays.items() if n.startswith("inner.")}
        self.inner.load_state_dict(inner, facts["inner"])


class Lookahead(Wrapper):
    """Slow weights that follow another optimizer's: every k steps s += alpha (w - s) and w = s (Zhang et al., 2019).

    The inner optimizer keeps its moments. `averages()`, with which `Trainer` evaluates, are the slow weights.

    Args:
        inner: makes the steps.
        k: steps between two meetings.
        alpha: share of the way that the slow weights go.
    """

    def __init__(self, inner: Optimizer, k: int = 5, alpha: float = 0.5) -> None:
        super().__init__(inner)
        if k < 1 or not 0 < alpha <= 1:
            raise ArgumentError(f"Lookahead: expected k >= 1 and alpha in (0, 1], got {k} and {alpha}")
        self.k, self.alpha = k, alpha
        self._slow = [inplace.duplicate(p) for p in self.params]

    def step(self, closure: Closure | None = None) -> Tensor | None:
        """A step of the inner optimizer; every k-th one ends at the slow weights."""
        loss = super().step(closure)
        self._meet()
        return loss

    def backward(self, loss: Tensor, gradient: Tensor | None = None) -> None:
        """Gradients of `loss` and the step they make; no gradient is left behind."""
        super().backward(loss, gradient)
        self._meet()

    def averages(self) -> list[Tensor]:
        """The slow weights."""
        return self._slow

    def _meet(self) -> None:
        if self.steps % self.k == 0:
            inplace.moving_average(self.params, self._slow, 1 - self.alpha)
            for p, s in zip(self.params, self._slow, strict=True):
                inplace.copy_into(s, p)

    def state_dict(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """As for every wrapper, with the slow weights."""
        arrays, facts = super().state_dict()
        return {**arrays, **{f"slow.{i}": np.array(s.numpy()) for i, s in enumerate(self._slow)}}, facts

    def load_state_dict(self, arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken. CheckpointError when it belongs to another optimizer or net."""
        slow = [arrays.get(f"slow.{i}") for i in range(len(self._slow))]
        fresh = [
            tensor(np.array(a), dtype=s.dtype, device=s.device)
            for a, s in zip(slow, self._slow, strict=True)
            if a is not None and tuple(a.shape) == s.shape
        ]
        if facts["type"] == type(self).__name__ and len(fresh) < len(slow):
            raise CheckpointError(f"optimizer state: expected {len(slow)} slow weights of the net's shapes")
        super().load_state_dict(arrays, facts)
        self._slow = fresh


class SAM(Wrapper):
    """Sharpness-aware minimization: the step is made with the gradient at the worst place nearby.

    With g the gradient at w, the inner optimizer takes the gradient at w + rho g / ||g|| (Foret et al., 2021), or, when
    adaptive, at w + rho w^2 g / ||w g||, so that the place does not depend on the scale of a layer (Kwon et al., 2021).
    The loss is computed and differentiated twice a step: use `step(closure)`, as `Trainer` does. Weight decay and
    clipping of the inner optimizer act on the second gradient.

    Args:
        inner: makes the step.
        rho: distance of the place.
        adaptive: measure distances in units of each weight.
    """

    def __init__(self, inner: Optimizer, rho: float = 0.05, adaptive: bool = False) -> None:
        super().__init__(inner)
        if not (rho > 0 and math.isfinite(rho)):
            raise ArgumentError(f"SAM: expected a finite rho > 0, got {rho}")
        if inner.needs_closure:
            raise ArgumentError(f"SAM: expected an optimizer of gradients, got {type(inner).__name__}")
        self.rho, self.adaptive = rho, adaptive
        self.needs_closure = True

    def step(self, closure: Closure | None = None) -> Tensor | None:
        """One step on the loss that `closure` computes: the same function of the parameters at both calls.

        Returns:
            The loss before the step.

        Raises:
            NumericalError: the first gradient is not finite, or the inner optimizer refuses the second; nothing has
                changed.
        """
        if closure is None:
            raise ArgumentError("SAM: expected a closure that computes the loss, got none")
        self.zero_grad()
        loss = closure()
        loss.backward()
        moved = self._climb()
        try:
            if moved:
                self.zero_grad()
                closure().backward()
        finally:
            for p, w in moved:
                inplace.copy_into(w, p)
        self.inner.step()
        self.zero_grad()
        return loss

    def backward(self, loss: Tensor, gradient: Tensor | None = None) -> None:
        """Refused: one loss is not enough."""
        raise ArgumentError("SAM: expected step(closure), got backward(loss): the loss is computed twice a step")

    def _climb(self) -> list[tuple[Parameter, Tensor]]:
        """Go to the worst place nearby; returns the parameters that moved and their values before."""
        found = [(p, p.grad) for p in self.params if p.grad is not None and p.requires_grad]
        ways = [_C.multiply(p.array, g.array) if self.adaptive else g.array for p, g in found]
        squares = _C.squared_norms([_C.contiguous(a) for a in ways])
        norm = math.sqrt(math.fsum(squares)) if all(map(math.isfinite, squares)) else math.nan
        if not math.isfinite(norm):
            self.zero_grad()
            raise NumericalError(f"SAM: the norm of the gradients is not finite at step {self.steps}")
        if norm == 0:
            return []
        kept = [(p, inplace.duplicate(p)) for p, _ in found]
        for (p, _), way in zip(found, ways, strict=True):
            change = _C.multiply(way, _C.scalar(self.rho / norm, way))
            if self.adaptive:
                change = _C.multiply(p.array, change)
            _C.copy_into(_C.add(p.array, change), p.array)
        return kept


__all__ = ["SAM", "Lookahead", "Wrapper"]
