"""Forecasting: what one training step and one evaluation of a net of forecasts are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import ops
from deepcore.errors import ArgumentError, ShapeError
from deepcore.nn.module import Module
from deepcore.staging import tensor_of
from deepcore.tensor import Tensor, tensor

FORECAST_LOSSES = ("mse", "mae", "huber", "quantile")


def pinball_loss(x: Tensor, target: Tensor, quantiles: Sequence[float]) -> Tensor:
    """Mean of q d where d = target - x >= 0 and of (q - 1) d elsewhere: x (..., len(quantiles)), target (...).

    Source: Koenker and Bassett, "Regression quantiles", 1978.
    """
    if x.shape != (*target.shape, len(quantiles)):
        raise ShapeError(f"pinball_loss: expected x {(*target.shape, len(quantiles))}, got {x.shape}")
    q = np.asarray(quantiles, np.float32)
    above = ops.expand_dims(target, -1) - x
    high, low = tensor(q).to(x.device), tensor(q - 1).to(x.device)
    return ops.mean(ops.maximum(above * high, above * low))


class Forecasting:
    """Batches (x, y) or (x, y, past, future) -> loss of a `ForecastNet`; mse and mae of its middle output.

    Args:
        loss: 'mse', 'mae', 'huber' or 'quantile'.
        quantiles: one for each output of the net, for 'quantile'.
    """

    def __init__(self, loss: str = "mse", quantiles: Sequence[float] = (0.5,)) -> None:
        if loss not in FORECAST_LOSSES:
            raise ArgumentError(f"Forecasting: expected loss in {FORECAST_LOSSES}, got {loss!r}")
        self.loss, self.quantiles = loss, tuple(quantiles)

    def step(self, model: Module, batch: tuple[npt.NDArray[Any], ...]) -> tuple[Tensor, dict[str, float]]:
        """The loss (differentiable while recording) and the metrics of one batch."""
        x, y, *calendar = (tensor_of(batch, i, model.device) for i in range(len(batch)))
        outputs = model(x, *calendar)
        middle = np.asarray(outputs.numpy())[..., outputs.shape[-1] // 2]
        error = middle.astype(np.float64) - batch[1]
        if self.loss == "quantile":
            loss = pinball_loss(outputs, y, self.quantiles)
        else:
            function = {"mse": ops.mse_loss, "mae": ops.l1_loss, "huber": ops.huber_loss}[self.loss]
            loss = function(ops.squeeze(outputs, -1), y)
        return loss, {"mse": float(np.mean(error * error)), "mae": float(np.mean(np.abs(error)))}


__all__ = ["FORECAST_LOSSES", "Forecasting", "pinball_loss"]
