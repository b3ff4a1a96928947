"""Supervised: what one training step and one evaluation of a net with targets are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import ops
from deepcore.nn.module import Module
from deepcore.staging import tensor_of
from deepcore.tensor import Tensor

LossFunction = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Metric = Callable[[npt.NDArray[Any], npt.NDArray[Any]], float]


def cross_entropy(outputs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Mean softmax cross-entropy, weighted by sample."""
    return ops.softmax_cross_entropy(outputs, target, sample_weight=weight)


def mean_squared_error(outputs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Mean squared error, weighted by sample."""
    return ops.mse_loss(outputs, target, sample_weight=weight)


def accuracy(outputs: npt.NDArray[Any], target: npt.NDArray[Any]) -> float:
    """Share of rows whose largest output is at the label (or at the largest entry of a target distribution)."""
    labels = target if target.ndim == outputs.ndim - 1 else target.argmax(-1)
    return float((outputs.argmax(-1) == labels).mean()) if len(outputs) else float("nan")


class Supervised:
    """Batches (x, y) or (x, y, sample weight) -> loss and metrics of a net.

    Args:
        loss: function of (outputs, targets, sample weights or None) giving the mean loss of a batch.
        metrics: name -> function of (outputs, targets) as numpy arrays, averaged over samples.
    """

    def __init__(self, loss: LossFunction = cross_entropy, metrics: Mapping[str, Metric] | None = None) -> None:
        self.loss = loss
        self.metrics: dict[str, Metric] = dict(
            metrics if metrics is not None else ({"accuracy": accuracy} if loss is cross_entropy else {})
        )

    def step(self, model: Module, batch: tuple[npt.NDArray[Any], ...]) -> tuple[Tensor, dict[str, float]]:
        """The loss (differentiable while recording) and the metrics of one batch."""
        device = model.device
        x, y = tensor_of(batch, 0, device), tensor_of(batch, 1, device)
        weight = tensor_of(batch, 2, device) if len(batch) > 2 else None
        outputs = model(x)
        loss = self.loss(outputs, y, weight)
        values = np.asarray(outputs.numpy())
        return loss, {name: metric(values, batch[1]) for name, metric in self.metrics.items()}
