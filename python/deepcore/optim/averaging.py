"""ASGD: the mean of the weights that SGD passes through, from a given step or from the first setback on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.errors import ArgumentError, CheckpointError
from deepcore.nn.module import Parameter
from deepcore.ops import inplace
from deepcore.optim.optimizer import Closure, Groups
from deepcore.optim.rules import SGD
from deepcore.tensor import Tensor, tensor

_AVERAGE = "average"


class ASGD(SGD):
    """SGD that keeps the mean of its weights beside them: a += (w - a) / n (Polyak and Juditsky, 1992).

    n counts the steps since averaging began. The steps themselves are those of SGD; `averaged()` puts the means into
    the parameters for a while. `Trainer` evaluates with them, calls `observe`, and leaves them in the net.

    Args:
        start: number of the first step whose weights are averaged (1: all of them), or 'nonmonotone': the step after
            the first validation loss given to `observe` that is no better than the best of those older than the last
            `window` (NT-ASGD, Merity et al., 2018).
        window: validations whose losses are too young to be compared with.

    Other arguments as in `SGD`.

    Attributes:
        started: number of the first averaged step, None until it is known.
        count: steps averaged so far.
    """

    recordable = False

    def __init__(
        self, params: Groups, lr: float = 0.01, *, start: int | str = 1, window: int = 5, **options: Any
    ) -> None:
        super().__init__(params, lr, **options)
        whole = isinstance(start, int) and not isinstance(start, bool) and start >= 1
        if not whole and start != "nonmonotone":
            raise ArgumentError(f"ASGD: expected start >= 1 or 'nonmonotone', got {start!r}")
        if window < 0:
            raise ArgumentError(f"ASGD: expected window >= 0, got {window}")
        self.start, self.window = start, window
        self.started: int | None = start if isinstance(start, int) else None
        self.count = 0
        self._means: list[Tensor] = []
        self._losses: list[float] = []

    def observe(self, loss: float) -> None:
        """Take a validation loss, once per validation; without effect unless start is 'nonmonotone'."""
        if self.start != "nonmonotone" or self.started is not None:
            return
        loss = float(loss)
        if math.isnan(loss):
            raise ArgumentError("ASGD: expected a number as validation loss, got nan")
        older = self._losses[: max(len(self._losses) - self.window, 0)]
        if older and loss >= min(older):
            self.started = self.steps + 1
        self._losses.append(loss)

    def step(self, closure: Closure | None = None) -> Tensor | None:
        """As for every optimizer, and the weights reached enter the means."""
        loss = super().step(closure)
        if closure is None:  # a step with one comes here twice
            self._average()
        return loss

    def averages(self) -> list[Tensor] | None:
        """The means in the order of `params`; None before averaging begins."""
        return self._means or None

    def _average(self) -> None:
        if self.started is None or self.steps < self.started:
            return
        self.count += 1
        params: list[Parameter] = self.params
        if self.count == 1:
            self._means = [inplace.duplicate(p) for p in params]
        else:
            inplace.moving_average(params, self._means, 1 - 1 / self.count)

    def state_dict(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """As for every optimizer, with the means and what decides when they begin."""
        arrays, facts = super().state_dict()
        arrays.update({f"{i}.{_AVERAGE}": np.array(a.numpy()) for i, a in enumerate(self._means)})
        return arrays, {**facts, "started": self.started, "count": self.count, "losses": list(self._losses)}

    def load_state_dict(self, arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken. CheckpointError when it belongs to another optimizer or net."""
        params = self.params
        keys = [f"{i}.{_AVERAGE}" for i in range(len(params))]
        found = [k for k in arrays if k.endswith(f".{_AVERAGE}")]
        count = int(facts.get("count", 0))
        if sorted(found) != (sorted(keys) if count else []):
            raise CheckpointError(f"optimizer state: expected the means of {len(params)} parameters, got {len(found)}")
        for key, p in zip(keys, params, strict=True):
            if count and tuple(arrays[key].shape) != p.shape:
                raise CheckpointError(f"optimizer state: {key}: expected shape {p.shape}, got {arrays[key].shape}")
        super().load_state_dict({k: a for k, a in arrays.items() if k not in found}, facts)
        self._means = [
            tensor(np.array(arrays[k]), dtype=p.dtype, device=p.device)
            for k, p in zip(keys, params, strict=True)
            if count
        ]
        self.count, self.started = count, None if facts["started"] is None else int(facts["started"])
        self._losses = [float(v) for v in facts["losses"]]


__all__ = ["ASGD"]
