"""L-BFGS and non-linear conjugate gradients: whole-batch methods with a line search, for any module and any loss.

They see all parameters as one flat vector. Steps cost a few evaluations of the loss each, and are worth it near the end
of a training, on the whole data or on large batches (Hinton and Salakhutdinov, 2006; Le et al., 2011).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import ops
from deepcore.autograd import no_grad
from deepcore.errors import ArgumentError, CheckpointError
from deepcore.nn.module import Parameter
from deepcore.optim.flat import Closure, FlatMethod, FlatParameters, dot
from deepcore.tensor import Tensor


@dataclass
class Point:
    """A step length along a direction, the loss and its slope there, and the gradient."""

    step: float
    loss: float
    slope: float
    gradient: Tensor


class SecondOrder(FlatMethod[Closure]):
    """Base of both methods: a direction, and a line search along it under the strong Wolfe conditions.

    Args:
        params, tolerance: as in `FlatMethod`.
        c1, c2: sufficient decrease, and share of the slope that may remain (Nocedal and Wright, 2006, (3.7)).
        max_evaluations: of the loss in one line search.
    """

    def __init__(
        self, params: Iterable[Parameter], *, c1: float = 1e-4, c2: float = 0.9, max_evaluations: int = 20,
        tolerance: float = 1e-7,
    ) -> None:  # fmt: skip
        if not 0 < c1 < c2 < 1:
            raise ArgumentError(f"{type(self).__name__}: expected 0 < c1 < c2 < 1, got {c1} and {c2}")
        if max_evaluations < 1:
            raise ArgumentError(f"{type(self).__name__}: expected max_evaluations >= 1, got {max_evaluations}")
        super().__init__(params, tolerance=tolerance)
        self.c1, self.c2, self.max_evaluations = c1, c2, max_evaluations

    # ---- what the methods differ in ----
    def _direction(self, gradient: Tensor) -> Tensor:
        raise ArgumentError(f"{type(self).__name__}: a method needs a _direction")

    def _first_step(self, gradient: Tensor, slope: float) -> float:
        raise ArgumentError(f"{type(self).__name__}: a method needs a _first_step")

    def _accept(self, step: float, direction: Tensor, old: Tensor, new: Tensor, slope: float) -> None:
        raise ArgumentError(f"{type(self).__name__}: a method needs an _accept")

    # ---- one step ----
    def step(self, closure: Closure) -> float:
        """One direction and its line search; returns the loss reached.

        closure: computes the loss at the present parameters: the same function of them at every call (the same batch,
        no new noise). It returns a tensor of one element, whose gradients are then computed here, or, for data that
        come in pieces, a number after it has called `backward` on all pieces itself.

        Raises:
            NumericalError: the loss or the gradient at the start is not finite.
        """
        start = self.flat.values()
        loss, gradient = self._begin(closure)
        if self.converged:
            return loss
        with no_grad():
            direction = self._direction(gradient)
            slope = dot(gradient, direction)
            if not slope < 0:  # rounding has spoilt it
                self.forget()
                direction = -gradient
                slope = dot(gradient, direction)
        found = self._search(closure, start, direction, Point(0.0, loss, slope, gradient))
        if found is None:
            self.flat.assign(start)
            steepest = dot(direction, direction) == -slope
            self.forget()
            self.converged = steepest
            return loss
        with no_grad():
            self.flat.assign(start + direction * found.step)
            self._accept(found.step, direction, gradient, found.gradient, slope)
        self.steps += 1
        return found.loss

    def _search(self, closure: Closure, start: Tensor, direction: Tensor, at: Point) -> Point | None:
        """A step that meets the strong Wolfe conditions (Nocedal and Wright, 2006, algorithms 3.5 and 3.6).

        When the evaluations run out: the lowest point seen that lowers the loss enough, or None.
        """

        def probe(step: float) -> Point:
            with no_grad():
                self.flat.assign(start + direction * step)
            loss, gradient = self._evaluate(closure)
            with no_grad():
                return Point(step, loss if math.isfinite(loss) else math.inf, dot(gradient, direction), gradient)

        def lowers(p: Point) -> bool:
            return p.loss <= at.loss + self.c1 * p.step * at.slope and p.loss < at.loss

        best: Point | None = None
        low, high = at, None
        step = self._first_step(at.gradient, at.slope)
        for _ in range(self.max_evaluations):
            p = probe(step)
            if lowers(p) and (best is None or p.loss < best.loss):
                best = p
            if not lowers(p) or (p.loss >= low.loss and low is not at):
                high = p
            elif abs(p.slope) <= -self.c2 * at.slope:
                return p
            elif high is None:
                if p.slope >= 0:
                    low, high = p, low
                else:
                    low = p
            else:
                if p.slope * (high.step - low.step) >= 0:
                    high = low
                low = p
            step = 2.5 * low.step if high is None else _between(low, high)
            if high is not None and abs(high.step - low.step) <= 1e-9 * max(high.step, low.step):
                break
        return best


class LBFGS(SecondOrder):
    """Limited-memory BFGS (Liu and Nocedal, 1989): the direction -H g, with H from the last `memory` steps.

    Other arguments as in `SecondOrder`.
    """

    def __init__(self, params: Iterable[Parameter], *, memory: int = 10, **common: Any) -> None:
        super().__init__(params, **common)
        if memory < 1:
            raise ArgumentError(f"LBFGS: expected memory >= 1, got {memory}")
        self.memory = memory
        self._pairs: list[tuple[Tensor, Tensor, float]] = []  # step, change of the gradient, their product

    def forget(self) -> None:
        """Drop the pairs."""
        super().forget()
        self._pairs = []

    def _direction(self, gradient: Tensor) -> Tensor:
        q = gradient
        factors: list[float] = []
        for s, y, sy in reversed(self._pairs):
            factors.append(dot(s, q) / sy)
            q = q - y * factors[-1]
        if self._pairs:
            _, y, sy = self._pairs[-1]
            q = q * (sy / dot(y, y))
        for (s, y, sy), factor in zip(self._pairs, reversed(factors), strict=True):
            q = q + s * (factor - dot(y, q) / sy)
        return -q

    def _first_step(self, gradient: Tensor, slope: float) -> float:
        return 1.0 if self._pairs else min(1.0, 1.0 / float(ops.sum(ops.absolute(gradient)).item()))

    def _accept(self, step: float, direction: Tensor, old: Tensor, new: Tensor, slope: float) -> None:
        s, y = direction * step, new - old
        sy = dot(s, y)
        if sy > 1e-10 * dot(y, y):  # else H would lose its definiteness
            self._pairs = [*self._pairs, (s, y, sy)][-self.memory :]

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {f"{i}.{name}": np.array(t.numpy()) for i, pair in enumerate(self._pairs)
                for name, t in zip(("s", "y"), pair[:2], strict=True)}  # fmt: skip

    def _restore(self, vectors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        count = len(vectors) // 2
        if set(vectors) != {f"{i}.{n}" for i in range(count) for n in "sy"}:
            raise CheckpointError("optimizer state: a pair is missing")
        pairs = [(vectors[f"{i}.s"], vectors[f"{i}.y"]) for i in range(count)]
        self._pairs = [(s, y, dot(s, y)) for s, y in pairs]


class ConjugateGradient(SecondOrder):
    """Non-linear conjugate gradients after Polak and Ribiere, with restarts when their factor would be negative.

    Source: Nocedal and Wright, 2006, (5.44) and (5.45). Other arguments as in `SecondOrder`; c2 is 0.1 by default, as
    the directions want a closer line search.
    """

    def __init__(self, params: Iterable[Parameter], *, c2: float = 0.1, **common: Any) -> None:
        super().__init__(params, c2=c2, **common)
        self._last: tuple[Tensor, Tensor] | None = None  # direction and gradient
        self._scale = 0.0  # last step times its slope: the change that the next step starts from

    def forget(self) -> None:
        """Start again from the steepest descent."""
        super().forget()
        self._last = None
        self._scale = 0.0

    def _direction(self, gradient: Tensor) -> Tensor:
        if self._last is None:
            return -gradient
        direction, old = self._last
        factor = max(0.0, dot(gradient, gradient - old) / dot(old, old))
        return direction * factor - gradient

    def _first_step(self, gradient: Tensor, slope: float) -> float:
        if self._scale:
            return self._scale / slope
        return min(1.0, 1.0 / float(ops.sum(ops.absolute(gradient)).item()))

    def _accept(self, step: float, direction: Tensor, old: Tensor, new: Tensor, slope: float) -> None:
        self._last = (direction, old)
        self._scale = step * slope

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        if self._last is None:
            return {}
        return {"direction": np.array(self._last[0].numpy()), "gradient": np.array(self._last[1].numpy())}

    def _facts(self) -> dict[str, Any]:
        return {"scale": self._scale}

    def _restore(self, vectors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        if set(vectors) not in (set(), {"direction", "gradient"}):
            raise CheckpointError("optimizer state: direction or gradient is missing")
        self._last = (vectors["direction"], vectors["gradient"]) if vectors else None
        self._scale = float(facts["scale"])


def _between(a: Point, b: Point) -> float:
    """The minimum of the cubic through two points (Nocedal and Wright, 2006, (3.59)), kept off both ends."""
    low, high = min(a.step, b.step), max(a.step, b.step)
    middle = (low + high) / 2
    if not (math.isfinite(a.loss) and math.isfinite(b.loss) and math.isfinite(b.slope)):
        return middle
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.step - b.step)
    square = d1 * d1 - a.slope * b.slope
    if square < 0:
        return middle
    d2 = math.copysign(math.sqrt(square), b.step - a.step)
    bottom = b.slope - a.slope + 2 * d2
    if bottom == 0:
        return middle
    step = b.step - (b.step - a.step) * (b.slope + d2 - d1) / bottom
    margin = 0.1 * (high - low)
    return min(max(step, low + margin), high - margin)


__all__ = ["LBFGS", "ConjugateGradient", "FlatParameters", "SecondOrder", "dot"]
