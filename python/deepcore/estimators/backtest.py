"""Forecasters on the last stretches of a series: backtests beside naive forecasts, and margins of intervals."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deepcore.errors import ArgumentError, DataError
from deepcore.estimators.frames import read_series
from deepcore.models.forecast import naive_forecast
from deepcore.sequence_metrics import interval_coverage, mape, mase

if TYPE_CHECKING:
    from deepcore.estimators.forecast import Forecaster

Floats = npt.NDArray[np.float64]


def backtest(
    model: Forecaster, series: Any, folds: int, *, times: Any, season: int | None, refit: bool, coverage: float
) -> list[dict[str, float]]:  # fmt: skip
    """What `Forecaster.backtest` gives."""
    owner = f"{type(model).__name__}.backtest"
    given = read_series(owner, series, times)
    n, horizon = len(given.values), model.horizon
    if folds < 1 or (season is not None and season < 1):
        raise ArgumentError(f"{owner}: expected folds >= 1 and season None or >= 1, got {folds} and {season}")
    first = n - folds * horizon
    if first < model.lookback + horizon or (season is not None and first <= season):
        raise DataError(
            f"{owner}: expected {folds} folds of {horizon} rows after {model.lookback + horizon} rows (lookback + "
            f"horizon) or a season, got {n} rows; take fewer folds"
        )
    found: list[dict[str, float]] = []
    fitted: Forecaster | None = None
    for fold in range(folds):
        start = first + fold * horizon
        history, truth = given.values[:start], given.values[start : start + horizon]
        stamps = None if given.times is None else given.times[:start]
        if fitted is None or refit:
            fitted = type(model)(**copy.deepcopy(model.get_params())).fit(history, stamps)
        forecast = np.asarray(fitted.predict(history, stamps)).reshape(truth.shape)
        row: dict[str, float] = {"fold": fold, "start": start, **_errors(truth, forecast)}
        if (truth != 0).all():
            row["mape"] = mape(truth, forecast)
        if fitted.loss == "quantile" or fitted.residuals_ is not None:
            low, high = fitted.predict_interval(history, stamps, coverage=coverage)
            row["coverage"] = interval_coverage(truth, np.reshape(low, truth.shape), np.reshape(high, truth.shape))
        row.update(_errors(truth, naive_forecast(history, horizon), "naive_"))
        if season is not None:
            row.update(_errors(truth, naive_forecast(history, horizon, season), "seasonal_naive_"))
            row["mase"] = mase(truth, forecast, history, season)
        found.append(row)
    return found


def conformal_margins(model: Forecaster, series: Any, folds: int, *, times: Any, stride: int | None) -> Floats:
    """What `Forecaster.calibrate` adds to its intervals: (pairs of quantiles, channels), the widest pair first."""
    owner = f"{type(model).__name__}.calibrate"
    given = read_series(owner, series, times)
    n, horizon = len(given.values), model.horizon
    step = horizon if stride is None else stride
    if model.loss != "quantile":
        raise ArgumentError(f"{owner}: expected loss='quantile', got {model.loss!r}")
    if folds < 1 or step < 1:
        raise ArgumentError(f"{owner}: expected folds >= 1 and stride None or >= 1, got {folds} and {stride}")
    first = n - horizon - (folds - 1) * step
    if first < model.lookback + horizon:
        raise DataError(
            f"{owner}: expected {folds} folds, {step} rows apart, after {model.lookback + horizon} rows (lookback + "
            f"horizon), got {n} rows; take fewer folds"
        )
    levels = [float(q) for q in model.quantiles]
    pairs = len(levels) // 2
    scores: list[list[Floats]] = [[] for _ in range(pairs)]
    for cut in range(first, n - horizon + 1, step):
        history, truth = given.values[:cut], given.values[cut : cut + horizon]
        stamps = None if given.times is None else given.times[:cut]
        fitted = type(model)(**copy.deepcopy(model.get_params())).fit(history, stamps)
        quantiles = fitted.predict_quantiles(history, stamps).reshape(*truth.shape, -1)
        for k in range(pairs):
            scores[k].append(np.maximum(quantiles[..., k] - truth, truth - quantiles[..., -1 - k]))
    m = folds * horizon
    shares = [min(1.0, np.ceil((m + 1) * (levels[-1 - k] - levels[k]) - 1e-9) / m) for k in range(pairs)]
    return np.stack([np.quantile(np.concatenate(s), q, axis=0) for s, q in zip(scores, shares)])


def _errors(truth: Floats, forecast: Floats, prefix: str = "") -> dict[str, float]:
    error = forecast - truth
    return {f"{prefix}mse": float(np.mean(error**2)), f"{prefix}mae": float(np.mean(np.abs(error)))}


__all__ = ["backtest", "conformal_margins"]
