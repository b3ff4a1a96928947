"""BatchLoss: the loss of one batch as a closure, for optimizers that compute it several times a step."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deepcore import random as random_
from deepcore.nn.module import Module
from deepcore.ops import inplace
from deepcore.tensor import Tensor

Batch = tuple[npt.NDArray[Any], ...]
Metrics = dict[str, float]
Buffers = dict[str, npt.NDArray[Any]]


class Evaluate(Protocol):
    """Loss (one element), its value, and metrics of a batch."""

    def __call__(self, batch: Batch) -> tuple[Tensor, float, Metrics]:
        """Evaluate at the present parameters."""
        ...


class BatchLoss:
    """The loss of one batch: the same function of the parameters at every call.

    Calls after the first one find the module's buffers and the default generator as the first one did: dropout masks
    and drawn noise are the same. `settle` then leaves both as the first call left them: running statistics are those of
    the net at its own weights, moved once.

    Attributes:
        value, metrics: of the first call.
    """

    def __init__(self, model: Module, batch: Batch, evaluate: Evaluate) -> None:
        self.model, self.batch, self.evaluate = model, batch, evaluate
        self.value = 0.0
        self.metrics: Metrics = {}
        self._before = self._after = ({}, {})  # type: tuple[Buffers, dict[str, int]]
        self._calls = 0

    def __call__(self) -> Tensor:
        """The loss, differentiable."""
        self._calls += 1
        if self._calls > 1:
            self._restore(self._before)
            return self.evaluate(self.batch)[0]
        self._before = self._state()
        loss, self.value, self.metrics = self.evaluate(self.batch)
        self._after = self._state()
        return loss

    def settle(self) -> None:
        """After the step."""
        if self._calls > 1:
            self._restore(self._after)

    def _state(self) -> tuple[Buffers, dict[str, int]]:
        buffers = {n: np.array(b.numpy()) for n, b in self.model.named_buffers()}
        return buffers, random_.default_generator().state_dict()

    def _restore(self, state: tuple[Buffers, dict[str, int]]) -> None:
        buffers, generator = state
        for name, b in self.model.named_buffers():
            inplace.copy_into(buffers[name], b)
        random_.default_generator().load_state_dict(generator)


__all__ = ["BatchLoss"]
