"""Learning-rate schedules: the factor by which the optimizer's learning rate is multiplied at a global step.

A schedule is a pure function of the step, except `Plateau`, which listens to a metric. Steps count from 0; beyond the
end of a schedule its last value holds.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from deepcore.errors import ArgumentError, CheckpointError


class Schedule(ABC):
    """Base class: `schedule(step)` and `schedule.factor(step)` give the factor for a global step."""

    @abstractmethod
    def factor(self, step: int) -> float:
        """The factor at `step` >= 0."""

    def __call__(self, step: int) -> float:
        """The factor at `step`, checked."""
        if step < 0:
            raise ArgumentError(f"{type(self).__name__}: expected a step >= 0, got {step}")
        return self.factor(step)

    def state_dict(self) -> dict[str, Any]:
        """What changes while training, as JSON values; for a pure function only the name of its class."""
        return {"type": type(self).__name__}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state of the same kind of schedule.

        Raises:
            CheckpointError: the state belongs to another class or lacks a value.

        """
        if state.get("type") != type(self).__name__:
            raise CheckpointError(f"schedule: expected a state of {type(self).__name__}, got {state.get('type')!r}")


class Constant(Schedule):
    """factor = 1."""

    def factor(self, step: int) -> float:
        """The factor at `step`."""
        return 1.0


class Step(Schedule):
    """Multiply by `gamma` every `every` steps: gamma ** (step // every)."""

    def __init__(self, every: int, gamma: float = 0.1) -> None:
        self.every = _at_least("Step", "every", every, 1)
        self.gamma = _positive("Step", "gamma", gamma)

    def factor(self, step: int) -> float:
        """The factor at `step`."""
        return float(self.gamma ** (step // self.every))


class MultiStep(Schedule):
    """Multiply by `gamma` at each milestone: gamma ** (number of milestones <= step)."""

    def __init__(self, milestones: Sequence[int], gamma: float = 0.1) -> None:
        self.milestones = [_at_least("MultiStep", "milestones", m, 1) for m in milestones]
        if any(a >= b for a, b in pairwise(self.milestones)):
            raise ArgumentError(f"MultiStep: expected rising milestones, got {list(milestones)}")
        self.gamma = _positive("MultiStep", "gamma", gamma)

    def factor(self, step: int) -> float:
        """The factor at `step`."""
        return float(self.gamma ** bisect_right(self.milestones, step))


class Cosine(Schedule):
    """Half a cosine from 1 down to `minimum`: minimum + (1 - minimum) (1 + cos(pi step / steps)) / 2.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017 (without restarts).
    """

    def __init__(self, steps: int, minimum: float = 0.0) -> None:
        self.steps = _at_least("Cosine", "steps", steps, 1)
        self.minimum = _fraction("Cosine", "minimum", minimum)

    def factor(self, step: int) -> float:
        """The factor at `step`."""
        return _cosine(1.0, self.minimum, min(step / self.steps, 1.0))


class LinearDecay(Schedule):
    """A straight line from 1 down to `minimum`: 1 - (1 - minimum) step / steps, then constant."""

    def __init__(self, steps: int, minimum: float = 0.0) -> None:
        self.steps = _at_least("LinearDecay", "steps", steps, 1)
        self.minimum = _fraction("LinearDecay", "minimum", minimum)

    def factor(self, step: int) -> float:
        """The factor at `step`."""
        return 1.0 - (1.0 - self.minimum) * min(step / self.steps, 1.0)


class OneCycle(Schedule):
    """Rise from `start` to 1 over the first part of training, fall to `end` over the rest, both along half a cosine.

    With t = step / (steps - 1) and w = `warmup`, the fraction of training that rises: start -> 1 for t <= w at t / w,
    then 1 -> end at (t - w) / (1 - w). The last step, steps - 1, has the factor `end`.

    Source: Smith and Topin, "Super-convergence: very fast training of neural networks", 2018.
    """

    def __init__(self, steps: int, warmup: float = 0.3, start: float = 0.04, end: float = 1e-4) -> None:
        self.steps = _at_least("OneCycle", "steps", steps, 2)
        self.warmup = _fraction("OneCycle", "warmup", warmup)
        if not 0.0 < self.warmup < 1.0:
            raise ArgumentError(f"OneCycle: expected 0 < warmup < 1, got {warmup}")
        self.start = _fraction("OneCycle", "start", start)
        self.end = _fraction("OneCycle", "end", end)

    def factor(self, step: int) -> float:
        """The factor at `step`."""
        t = min(step / (self.steps - 1), 1.0)
        if t <= self.warmup:
            return _cosine(self.start, 1.0, t / self.warmup)
        return _cosine(1.0, self.end, (t - self.warmup) / (1.0 - self.warmup))


class WarmUp(Schedule):
    """Rise in a straight line over `steps` steps, then follow another schedule from its step 0.

    For step < steps: (start + (1 - start) (step + 1) / steps) * after(0); then after(step - steps).
    """

    def __init__(self, steps: int, after: Schedule | None = None, start: float = 0.0) -> None:
        self.steps = _at_least("WarmUp", "steps", steps, 1)
        self.after = Constant() if after is None else after
        self.start = _fraction("WarmUp", "start", start)

    def factor(self, step: int) -> float:
        """The factor at `step`."""
        if step < self.steps:
            return (self.start + (1.0 - self.start) * (step + 1) / self.steps) * self.after.factor(0)
        return self.after.factor(step - self.steps)

    def state_dict(self) -> dict[str, Any]:
        """The state of the schedule that follows."""
        return {**super().state_dict(), "after": self.after.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state of the schedule that follows."""
        super().load_state_dict(state)
        if not isinstance(state.get("after"), Mapping):
            raise CheckpointError(
                f"schedule: expected the state of the schedule after WarmUp, got {state.get('after')!r}"
            )
        self.after.load_state_dict(state["after"])


class Plateau(Schedule):
    """Multiply by `gamma` when a metric has not improved for more than `patience` updates in a row.

    An improvement is a change by more than `threshold` relative to the best value so far:
    metric < best - threshold |best| for mode "min", metric > best + threshold |best| for mode "max".
    After a reduction `cooldown` updates pass before failures are counted again. The factor never falls below `minimum`.
    """

    def __init__(
        self,
        gamma: float = 0.1,
        patience: int = 10,
        *,
        mode: Literal["min", "max"] = "min",
        threshold: float = 1e-4,
        cooldown: int = 0,
        minimum: float = 0.0,
    ) -> None:
        self.gamma = _positive("Plateau", "gamma", gamma)
        if gamma >= 1.0:
            raise ArgumentError(f"Plateau: expected gamma < 1, got {gamma}")
        self.patience = _at_least("Plateau", "patience", patience, 0)
        if mode not in ("min", "max"):
            raise ArgumentError(f"Plateau: expected mode 'min' or 'max', got {mode!r}")
        self.mode = mode
        if not 0.0 <= threshold < math.inf:
            raise ArgumentError(f"Plateau: expected a finite threshold >= 0, got {threshold}")
        self.threshold = threshold
        self.cooldown = _at_least("Plateau", "cooldown", cooldown, 0)
        self.minimum = _fraction("Plateau", "minimum", minimum)
        self._factor = 1.0
        self._best: float | None = None
        self._failures = 0
        self._waiting = 0

    def factor(self, step: int) -> float:
        """The present factor; it depends on the updates only."""
        return self._factor

    def update(self, metric: float) -> None:
        """Take a new value of the metric, once per validation."""
        metric = float(metric)
        if math.isnan(metric):
            raise ArgumentError("Plateau: expected a number as metric, got nan")
        if self._improves(metric):
            self._best = metric
            self._failures = 0
        elif not self._waiting:
            self._failures += 1
        if self._waiting:
            self._waiting -= 1
        if self._failures > self.patience:
            self._factor = max(self._factor * self.gamma, self.minimum)
            self._failures = 0
            self._waiting = self.cooldown

    def _improves(self, metric: float) -> bool:
        if self._best is None:
            return True
        if math.isinf(self._best):
            return metric < self._best if self.mode == "min" else metric > self._best
        margin = self.threshold * abs(self._best)
        return metric < self._best - margin if self.mode == "min" else metric > self._best + margin

    def state_dict(self) -> dict[str, Any]:
        """Factor, best value and counters."""
        return {
            **super().state_dict(),
            "factor": self._factor,
            "best": self._best,
            "failures": self._failures,
            "waiting": self._waiting,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over factor, best value and counters."""
        super().load_state_dict(state)
        try:
            best = state["best"]
            loaded = float(state["factor"]), None if best is None else float(best)
            counters = int(state["failures"]), int(state["waiting"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"schedule: expected factor, best, failures, waiting, got {dict(state)}") from error
        self._factor, self._best = loaded
        self._failures, self._waiting = counters


def _cosine(a: float, b: float, t: float) -> float:
    """Half a cosine from a at t = 0 to b at t = 1."""
    return b + (a - b) * (1.0 + math.cos(math.pi * t)) / 2.0


def _at_least(name: str, argument: str, value: int, least: int) -> int:
    if isinstance(value, bool) or int(value) != value or value < least:
        raise ArgumentError(f"{name}: expected a whole number >= {least} as {argument}, got {value!r}")
    return int(value)


def _positive(name: str, argument: str, value: float) -> float:
    if not 0.0 < value < math.inf:
        raise ArgumentError(f"{name}: expected a finite {argument} > 0, got {value!r}")
    return float(value)


def _fraction(name: str, argument: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise ArgumentError(f"{name}: expected 0 <= {argument} <= 1, got {value!r}")
    return float(value)


__all__ = ["Constant", "Cosine", "LinearDecay", "MultiStep", "OneCycle", "Plateau", "Schedule", "Step", "WarmUp"]
