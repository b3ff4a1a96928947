"""Hessian-free training: each step minimises a quadratic model of the loss by linear conjugate gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.autograd import no_grad
from deepcore.errors import ArgumentError, CheckpointError
from deepcore.nn.module import Parameter
from deepcore.optim.flat import FlatMethod, dot
from deepcore.optim.gauss_newton import GaussNewton
from deepcore.tensor import Tensor

OutputsAndLoss = Callable[[], tuple[Tensor, Tensor]]

_APART = 1.3  # ratio of the numbers of two iterates that are kept
_SHORTER = 0.8  # factor of a step that does not lower the loss enough


@dataclass
class Iterate:
    """A point of the conjugate gradients, and the damped model there less its value at 0."""

    x: Tensor
    value: float


class HessianFree(FlatMethod[OutputsAndLoss]):
    """Hessian-free optimization (Martens, 2010) with the Gauss-Newton matrix G, for any module and any loss.

    A step d minimises g^T d + d^T (G + damping I) d / 2 by conjugate gradients that start from `decay` times the last
    step. They end when the last k = max(10, i / 10) of i iterations have brought less than k `progress` of what the
    model has gained. Of iterates kept on the way, the last one with a worse predecessor, by the loss itself, is taken;
    then a line search shortens it until the loss falls by c1 of what the slope promises. The damping grows by
    3/2 where the loss falls by less than 1/4 of what the undamped model promised, and shrinks by 2/3 above 3/4
    (Levenberg and Marquardt).

    Args:
        params: parameters to change.
        damping: at the start.
        max_iterations: of the conjugate gradients in one step.
        progress, decay: see above; decay 0 starts from 0.
        c1: sufficient decrease of the line search.
        max_evaluations: of the loss in one line search.
        tolerance: `step` has converged when the largest entry of the gradient is no larger.

    Attributes:
        iterations: of the conjugate gradients, in all steps so far.
    """

    def __init__(
        self, params: Iterable[Parameter], *, damping: float = 1.0, max_iterations: int = 250, progress: float = 5e-4,
        decay: float = 0.95, c1: float = 1e-2, max_evaluations: int = 60, tolerance: float = 1e-7,
    ) -> None:  # fmt: skip
        super().__init__(params, tolerance=tolerance)
        if not (damping > 0 and math.isfinite(damping)):
            raise ArgumentError(f"HessianFree: expected a finite damping > 0, got {damping}")
        if max_iterations < 1 or max_evaluations < 1:
            raise ArgumentError(
                "HessianFree: expected max_iterations and max_evaluations >= 1, got "
                f"{max_iterations} and {max_evaluations}"
            )
        if not (0 < progress < 1 and 0 <= decay <= 1 and 0 < c1 < 1):
            raise ArgumentError(
                f"HessianFree: expected progress and c1 in (0, 1) and decay in [0, 1], got {progress}, {c1}, {decay}"
            )
        self.damping, self.max_iterations, self.progress = damping, max_iterations, progress
        self.decay, self.c1, self.max_evaluations = decay, c1, max_evaluations
        self.iterations = 0
        self._last: Tensor | None = None

    def forget(self) -> None:
        """Start the next conjugate gradients from 0."""
        super().forget()
        self._last = None

    def step(self, closure: OutputsAndLoss, curvature: OutputsAndLoss | None = None) -> float:
        """One step; returns the loss reached.

        Args:
            closure: computes outputs of the net and the loss from them, at the present parameters: the same function
                of them at every call (the same batch, no new noise).
            curvature: the same for the samples that G is to be taken from, a part of the batch; by default all.

        Raises:
            NumericalError: the loss or the gradient at the start is not finite.
        """
        loss, gradient, matrix = self._model(closure, curvature)
        if matrix is None:
            return loss
        start, from_zero = self.flat.values(), self._last is None or self.decay == 0
        with no_grad():
            iterates = self._iterate(matrix, gradient)
            del matrix  # and its tape, before the loss is computed again
            best, reached = self._backtrack(closure, start, iterates)
            self._adapt(reached - loss, best.value - 0.5 * self.damping * dot(best.x, best.x))
            step, reached = self._shorten(closure, start, best.x, reached, loss, dot(gradient, best.x))
            if step == 0:
                self.flat.assign(start)
                self.forget()
                self.converged = from_zero
                return loss
            self.flat.assign(start + best.x * step)
        self._last = best.x
        self.steps += 1
        return reached

    def _model(
        self, closure: OutputsAndLoss, curvature: OutputsAndLoss | None
    ) -> tuple[float, Tensor, GaussNewton | None]:
        """Loss, gradient and G at the present parameters; None for G where the gradient has vanished."""
        outputs, value = closure()
        loss, gradient = self._begin(lambda: value)
        if self.converged:
            return loss, gradient, None
        outputs, curved = (outputs, value) if curvature is None else curvature()
        return loss, gradient, GaussNewton(outputs, curved, self.flat.params)

    def _iterate(self, matrix: GaussNewton, gradient: Tensor) -> list[Iterate]:
        """Iterates of the conjugate gradients for (G + damping I) x = -gradient, ever further apart, and the last."""

        def product(v: Tensor) -> Tensor:
            return self.flat.join(matrix(self.flat.split(v))) + v * self.damping

        if self._last is None or self.decay == 0:
            x, r = gradient * 0.0, -gradient
        else:
            x = self._last * self.decay
            r = -gradient - product(x)
        p, rr = r, dot(r, r)
        values = [0.5 * dot(x, gradient - r)]
        kept: list[Iterate] = []
        following = 1.0
        for i in range(1, self.max_iterations + 1):
            q = product(p)
            curve = dot(p, q)
            if not curve > 0:  # r is 0, or a loss that is not convex
                break
            x, r = x + p * (rr / curve), r - q * (rr / curve)
            rr, before = dot(r, r), rr
            p = r + p * (rr / before)
            self.iterations += 1
            values.append(0.5 * dot(x, gradient - r))
            back = max(10, math.ceil(0.1 * i))
            ends = i > back and values[i] < 0 and values[i] - values[i - back] > back * self.progress * values[i]
            if i >= following:
                kept.append(Iterate(x, values[i]))
                following = math.ceil(following * _APART)
            if ends or rr == 0:
                break
        if not kept or kept[-1].x is not x:
            kept.append(Iterate(x, values[-1]))
        return kept

    def _backtrack(self, closure: OutputsAndLoss, start: Tensor, iterates: list[Iterate]) -> tuple[Iterate, float]:
        """From the last iterate back as long as the loss gets lower: the iterate and its loss."""
        best, lowest = iterates[-1], self._loss(closure, start + iterates[-1].x)
        for earlier in reversed(iterates[:-1]):
            loss = self._loss(closure, start + earlier.x)
            if loss > lowest:
                break
            best, lowest = earlier, loss
        return best, lowest

    def _adapt(self, change: float, promised: float) -> None:
        """The damping for the next step, by the ratio of the change of the loss to that of the model."""
        ratio = change / promised if promised < 0 and math.isfinite(change) else -math.inf
        if ratio < 0.25:
            self.damping *= 1.5
        elif ratio > 0.75:
            self.damping /= 1.5

    def _shorten(
        self, closure: OutputsAndLoss, start: Tensor, direction: Tensor, reached: float, loss: float, slope: float
    ) -> tuple[float, float]:
        """The step length along `direction` and the loss there; 0 where none lowers the loss enough."""
        step = 1.0
        if not slope < 0:
            return 0.0, loss
        for _ in range(self.max_evaluations):
            if reached <= loss + self.c1 * step * slope and reached < loss:
                return step, reached
            step *= _SHORTER
            reached = self._loss(closure, start + direction * step)
        return 0.0, loss

    def _loss(self, closure: OutputsAndLoss, at: Tensor) -> float:
        """The loss at other parameters, which stay; infinity where it is not finite."""
        self.flat.assign(at)
        loss = float(closure()[1].item())
        self.evaluations += 1
        return loss if math.isfinite(loss) else math.inf

    # ---- state ----
    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {} if self._last is None else {"last": np.array(self._last.numpy())}

    def _facts(self) -> dict[str, Any]:
        return {"damping": self.damping, "iterations": self.iterations}

    def _restore(self, vectors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        if set(vectors) not in (set(), {"last"}):
            raise CheckpointError(f"optimizer state: expected the last step, got {sorted(vectors)}")
        self._last = vectors.get("last")
        self.damping, self.iterations = float(facts["damping"]), int(facts["iterations"])


__all__ = ["HessianFree"]
