"""Checks of what a Forecaster is given: its options, series and histories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deepcore.data.series import PERIODS
from deepcore.errors import ArgumentError, DataError, ShapeError
from deepcore.models.forecast import CHANNELS, FORECAST_CELLS, STRATEGIES
from deepcore.train.forecast import FORECAST_LOSSES

if TYPE_CHECKING:
    from deepcore.estimators.forecast import Forecaster
    from deepcore.estimators.frames import SeriesInput

Array = npt.NDArray[Any]

NORMALISATIONS = ("last", "reversible", "standard", None)


def check_options(model: Forecaster) -> None:
    """ArgumentError for an option that does not exist or is out of range."""
    owner = type(model).__name__
    for name in ("lookback", "horizon", "hidden", "layers", "segment"):
        value = getattr(model, name)
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ArgumentError(f"{owner}: expected {name} >= 1, got {value!r}")
    for name, values in (
        ("strategy", STRATEGIES), ("cell", FORECAST_CELLS), ("channels", CHANNELS),
        ("normalisation", NORMALISATIONS), ("loss", FORECAST_LOSSES),
    ):  # fmt: skip
        if getattr(model, name) not in values:
            raise ArgumentError(f"{owner}: expected {name} in {values}, got {getattr(model, name)!r}")
    if model.calendar is not None and (isinstance(model.calendar, str) or not set(model.calendar) <= set(PERIODS)):
        raise ArgumentError(f"{owner}: expected calendar None or periods among {PERIODS}, got {model.calendar!r}")
    q = np.asarray(model.quantiles, np.float64)
    if model.loss == "quantile" and (
        q.ndim != 1 or len(q) % 2 == 0 or not (np.diff([0, *q, 1]) > 0).all() or q[len(q) // 2] != 0.5
    ):
        raise ArgumentError(
            f"{owner}: expected rising quantiles between 0 and 1 with 0.5 in the middle, got {model.quantiles!r}"
        )
    if model.early_stopping and model.validation_fraction == 0:
        raise ArgumentError(f"{owner}: early_stopping needs held-out rows (validation_fraction > 0)")


def check_rows(owner: str, values: Array, lookback: int, horizon: int, held: int) -> Array:
    """The rows to train on, all but the last `held`. DataError for too few, or for a channel that never changes."""
    n, needed = len(values), lookback + horizon
    if n < needed + held:
        raise DataError(
            f"{owner}: expected at least {needed + held} rows (lookback {lookback} + horizon {horizon} + {held} held "
            f"out), got {n}; shorten lookback, horizon or validation_fraction"
        )
    trained = values[: n - held]
    constant = trained.min(0) == trained.max(0)
    if constant.any():
        where = int(constant.argmax())
        raise DataError(
            f"{owner}: expected channels that vary, got {trained[0, where]} in all {len(trained)} rows of channel "
            f"{where} to train on; leave it out, its forecast is that value"
        )
    return trained


def check_history(model: Forecaster, given: SeriesInput) -> None:
    """ShapeError, ArgumentError or DataError for a history that a fitted net cannot continue."""
    owner = type(model).__name__
    if given.values.shape[1] != model.n_channels_:
        raise ShapeError(f"{owner}: expected {model.n_channels_} channels as in fit, got {given.values.shape[1]}")
    if model.calendar and given.times is None:
        raise ArgumentError(f"{owner}: expected times of the history for calendar={model.calendar!r}, got none")
    if len(given.values) < model.lookback:
        raise DataError(f"{owner}: expected a history of at least {model.lookback} rows, got {len(given.values)}")


__all__ = ["NORMALISATIONS", "check_history", "check_options", "check_rows"]
