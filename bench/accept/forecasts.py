"""Forecasts of ETTh1 and airline passengers: options chosen on the validation part of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bench.accept import Context, Result, figure
from bench.accept.corpora import load_airline, load_etth1
from deepcore import Forecaster, data
from deepcore.models import naive_forecast
from deepcore.sequence_metrics import interval_coverage, mape

_LOOKBACK = 336
_LONG = 720  # the second horizon
_DAY, _YEAR = 24, 12
_MONTHS_OUT = 24


def _scores(truth: npt.NDArray[Any], forecast: npt.NDArray[Any]) -> tuple[float, float]:
    """Mean squared and mean absolute error."""
    error = forecast - truth
    return float(np.mean(error * error)), float(np.mean(np.abs(error)))


def _etth1(context: Context, horizon: int, **options: Any) -> tuple[Forecaster, dict[str, float]]:
    """A net trained on 12 months, stopped by the next 4, and its errors on all windows of the last 4."""
    series, (train, validation, _) = load_etth1(context.folder("timeseries"))
    model = Forecaster(
        _LOOKBACK, horizon, strategy="segment", segment=48, loss="mae", batch_size=64, learning_rate=1e-3,
        validation_fraction=0.25, random_state=context.seed, verbose=True, device=context.device, **options,
    )  # fmt: skip
    with context.timer:
        model.fit(series.values[: validation.stop])
    scale = data.Standardizer(series.values[train])
    test = data.ett_split(len(series.values), _LOOKBACK)[2]
    rows = scale.transform(series.values[test])
    x, truth = data.windows(rows, _LOOKBACK, horizon)
    forecast = scale.transform(model.predict_windows(series.values[test]))
    found = {"windows": float(len(x))}
    for name, values in (
        ("", forecast), ("naive_", naive_forecast(x, horizon)), ("seasonal_naive_", naive_forecast(x, horizon, _DAY)),
    ):  # fmt: skip
        found[f"{name}mse"], found[f"{name}mae"] = _scores(truth, values)
    return model, found


@figure("forecast-etth1", metric="MSE at horizon 96, standardised", target=0.39, better="low", seconds=300)
def forecast_etth1(context: Context) -> Result:
    """SegRNN (Lin et al., 2023) with shared weights for the seven series, at horizon 96 and a second net at 720.

    12, 4 and 4 months to train, validate and test on; values standardised by the first; every window of the test part.
    """
    short, near = _etth1(context, 96, hidden=128, dropout=0.3, epochs=8, patience=3)
    long, far = _etth1(
        context, _LONG, hidden=64, dropout=0.5, normalisation="reversible", ema=0.99, epochs=7, patience=2
    )
    return near["mse"], {
        **near, **{f"{name}_{_LONG}": value for name, value in far.items()},
        "epochs": len(short.history_), f"epochs_{_LONG}": len(long.history_), "lookback": _LOOKBACK,
        "validation_mse": min(r["val_mse"] for r in short.history_),
        "demands": {"mae": near["mae"] <= 0.41, f"mse_{_LONG}": far["mse"] <= 0.48},
    }  # fmt: skip


@figure("forecast-airline", metric="MAPE of the last 24 months", target=0.10, better="low", seconds=120)
def forecast_airline(context: Context) -> Result:
    """Quantile regression by a SegRNN on logarithms of the first 120 months.

    Coverage is the share of the 24 months within the 80 % interval: the quantiles 0.1 and 0.9 learnt, and the margin of
    conformalized quantile regression from stretches of 24 months that end with months 114, 117 and 120.
    """
    series = load_airline(context.folder("timeseries"))
    values, cut = series.values[:, 0], len(series.values) - _MONTHS_OUT
    logs, times = np.log(values[:cut]), series.times[:cut]
    model = Forecaster(
        36, _MONTHS_OUT, strategy="segment", segment=_YEAR, hidden=32, loss="quantile", quantiles=(0.1, 0.5, 0.9),
        learning_rate=1e-2, schedule="one-cycle", batch_size=16, epochs=60, validation_fraction=0.0,
        early_stopping=False, random_state=context.seed, verbose=True, device=context.device,
    )  # fmt: skip
    with context.timer:
        model.fit(logs, times).calibrate(logs, times, folds=3, stride=3)
    truth, forecast = values[cut:], np.exp(model.predict())
    low, high = (np.exp(bound) for bound in model.predict_interval(coverage=0.8))
    error, covered = mape(truth, forecast), interval_coverage(truth, low, high)
    seasonal = mape(truth, naive_forecast(values[:cut, None], _MONTHS_OUT, _YEAR)[:, 0])
    naive = mape(truth, naive_forecast(values[:cut, None], _MONTHS_OUT)[:, 0])
    return error, {
        "naive_mape": naive, "seasonal_naive_mape": seasonal, "coverage": covered,
        "mean_width": float(np.mean(high - low)), "margin": float(np.asarray(model.margins_)[0, 0]),
        "demands": {"below_seasonal_naive": error < seasonal, "coverage": 0.7 <= covered <= 0.9},
    }  # fmt: skip
