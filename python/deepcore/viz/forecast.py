"""Figures and the report of a forecaster: forecasts against truth with intervals, errors by step of the horizon."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import deepcore
from deepcore.data import windows
from deepcore.errors import ArgumentError, DataError, ShapeError
from deepcore.models import naive_forecast
from deepcore.viz.classifier import training_facts
from deepcore.viz.report import Report
from deepcore.viz.style import INK, MUTED, PALETTE, SMALL, new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from deepcore.estimators.forecast import Forecaster

Array = NDArray[Any]

_CHANNELS = 6  # panels of a report
_COVERAGE = 0.8


def forecast_band(
    history: ArrayLike, forecast: ArrayLike, truth: ArrayLike | None = None,
    interval: tuple[ArrayLike, ArrayLike] | None = None, *, times: ArrayLike | None = None,
    names: Sequence[str] | None = None, coverage: float | None = None,
) -> Figure:  # fmt: skip
    """One panel per channel: the end of the history, what came then, and the forecast within its interval.

    Args:
        history: (n,) or (n, channels).
        forecast: (horizon,) or (horizon, channels).
        truth: what came then, shape as the forecast's.
        interval: lower and upper bounds, shapes as the forecast's.
        times: timestamps (n + horizon,); None counts steps from the forecast's beginning.
        names: of channels.
        coverage: of the interval, for the legend.

    Raises:
        ShapeError: channels or steps differ.
        DataError: there is no row.
    """
    past, coming = _columns(history), _columns(forecast)
    rest = [_columns(a) for a in (*(() if truth is None else (truth,)), *(interval or ()))]
    if any(a.shape != coming.shape for a in rest) or past.shape[1] != coming.shape[1]:
        raise ShapeError(
            f"forecast_band: expected truth and bounds {coming.shape} and a history of as many channels, got "
            f"{[a.shape for a in rest]} and {past.shape}"
        )
    n, h = len(past), len(coming)
    at: Array = np.arange(-n + 1, h + 1) if times is None else np.asarray(times)
    if at.shape != (n + h,):
        raise ShapeError(f"forecast_band: expected {n + h} times, got {at.shape}")
    if np.issubdtype(at.dtype, np.datetime64):
        at = at.astype("datetime64[s]")
    channels = coming.shape[1]
    if names is not None and len(names) != channels:
        raise ShapeError(f"forecast_band: expected {channels} names, got {len(names)}")
    columns = 1 if channels == 1 else 2
    rows = -(-channels // columns)
    figure = new_figure(8.6 if columns == 1 else 10.4, 3.4 if rows == 1 else 2.5 * rows)
    for k in range(channels):
        axes = figure.add_subplot(rows, columns, k + 1)
        style_axes(axes, "" if names is None else str(names[k]), "step" if times is None else "")
        known = past[:, k] if truth is None else np.concatenate([past[:, k], rest[0][:, k]])
        axes.plot(at[: len(known)], known, color=INK, linewidth=1.3, label="series")
        if interval is not None:
            label = "interval" if coverage is None else f"{100 * coverage:g} % interval"
            axes.fill_between(at[n:], rest[-2][:, k], rest[-1][:, k], color=PALETTE[1], alpha=0.22, linewidth=0,
                              label=label)  # fmt: skip
        axes.plot(at[n:], coming[:, k], color=PALETTE[1], linewidth=1.8, label="forecast")
        axes.axvline(at[n - 1], color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)))
        axes.margins(x=0.01)
        if times is not None:
            _dates(axes)
        if k == 0:
            handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, frameon=False, fontsize=SMALL, labelcolor=INK)
    return figure


def horizon_errors(errors: Mapping[str, ArrayLike], y: str = "mean absolute error") -> Figure:
    """How errors grow with the step of the horizon: one line (horizon,) for each named forecast.

    DataError unless there is at least one forecast and all errors are finite.
    """
    lines = {name: np.asarray(values, np.float64) for name, values in errors.items()}
    if not lines or any(v.ndim != 1 or v.size == 0 or not np.isfinite(v).all() for v in lines.values()):
        raise DataError(
            f"horizon_errors: expected finite errors (horizon,), got { ({k: v.shape for k, v in lines.items()}) }"
        )
    figure = new_figure(6.4, 3.4)
    axes = figure.add_subplot()
    style_axes(axes, "", "step of the horizon", y)
    colours = (PALETTE[1], PALETTE[0], PALETTE[2], *PALETTE[3:])
    for i, (name, values) in enumerate(lines.items()):
        axes.plot(np.arange(1, len(values) + 1), values, color=colours[i % len(colours)], label=name,
                  linewidth=2.0 if i == 0 else 1.4, marker="o" if len(values) == 1 else None)  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    if len(lines) > 1:
        figure.legend(loc="outside upper right", ncols=4, frameon=False, fontsize=SMALL, labelcolor=INK)
    return figure


def forecast_report(
    model: Forecaster, path: str | os.PathLike[str], series: Array, times: Array | None, *, title: str | None = None,
    season: int | None = None,
) -> None:  # fmt: skip
    """Write the HTML page behind `Forecaster.report`: series (n, channels)."""
    if len(series) < model.lookback + model.horizon:
        raise DataError(
            f"Forecaster.report: expected at least {model.lookback + model.horizon} rows (lookback + horizon), got "
            f"{len(series)}; give a series, or hold rows out (validation_fraction > 0)"
        )
    if season is not None and not 1 <= season <= model.lookback:
        raise ArgumentError(f"Forecaster.report: expected season in 1..{model.lookback} (lookback), got {season}")
    lookback, horizon = model.lookback, model.horizon
    x, truth = windows(series, lookback, horizon)
    error = model.predict_windows(series, times) - truth
    scaled = error / model.deviation_
    by_step = {"forecast": error, "naive": naive_forecast(x, horizon) - truth}
    if season is not None:
        by_step["seasonal naive"] = naive_forecast(x, horizon, season) - truth
    step_errors = {name: np.abs(e / model.deviation_).mean((0, 2)) for name, e in by_step.items()}
    report = Report(
        title or "Forecaster",
        f"{model.strategy} {model.cell}, {lookback} steps seen, {horizon} foretold, {series.shape[1]} "
        f"{'channel' if series.shape[1] == 1 else 'channels'}; deepcore {deepcore.__version__} on {deepcore.isa()}",
    )
    report.cards(
        {
            "Squared error": float(np.mean(scaled**2)), "Absolute error": float(np.mean(np.abs(scaled))),
            "Naive, absolute": float(step_errors["naive"].mean()), "Windows": len(x),
            **training_facts(model),
        }
    )  # fmt: skip
    hidden = ("samples_per_second", "clipped", "clipped_share", "grad_norm")
    if model.history_:
        report.learning_curves([{k: v for k, v in r.items() if k not in hidden} for r in model.history_])
    names = [str(c) for c in model.form_.columns if c is not None] or [f"channel {k}" for k in range(series.shape[1])]
    for where, i in (("first", 0), ("last", len(x) - 1)) if len(x) > 1 else (("last", 0),):
        report.figure(f"Forecast of the {where} window", _window(model, series, times, i, names),
                      _note(series.shape[1]))  # fmt: skip
    report.figure("Errors by step", horizon_errors(step_errors, "mean |error|, standardised"),
                  "A forecast earns its keep where its line is below those of the naive ones.")  # fmt: skip
    squares, sizes = (error**2).mean((0, 1)), np.abs(error).mean((0, 1))
    rows = [(name, float(squares[k]), float(sizes[k])) for k, name in enumerate(names)]
    report.table("Errors by channel", rows, ("channel", "squared error", "absolute error"), "In units of the series.")
    report.save(path)


def _window(model: Forecaster, series: Array, times: Array | None, i: int, names: Sequence[str]) -> Figure:
    """Window i of a series: what came before, what came then, the forecast and its interval."""
    lookback, horizon, shown = model.lookback, model.horizon, slice(0, _CHANNELS)
    cut = i + lookback
    history, truth = series[i:cut], series[cut : cut + horizon]
    stamps = None if times is None else times[i:cut]
    forecast = np.reshape(np.asarray(model.predict(history, stamps)), truth.shape)
    interval = None
    try:
        low, high = model.predict_interval(history, stamps, coverage=_COVERAGE)
        interval = (np.reshape(low, truth.shape)[:, shown], np.reshape(high, truth.shape)[:, shown])
    except ArgumentError:
        pass  # quantiles for another coverage, or nothing was held out
    seen = min(lookback, 3 * horizon)
    return forecast_band(
        history[-seen:, shown], forecast[:, shown], truth[:, shown], interval, coverage=_COVERAGE,
        times=None if times is None else times[cut - seen : cut + horizon],
        names=names[shown] if len(names) > 1 else None,
    )  # fmt: skip


def _note(channels: int) -> str:
    return f"The first {_CHANNELS} of {channels} channels." if channels > _CHANNELS else ""


def _dates(axes: Axes) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.xaxis.get_offset_text().set(color=MUTED, fontsize=SMALL)


def _columns(values: ArrayLike) -> NDArray[np.float64]:
    rows = np.asarray(values, np.float64)
    if rows.ndim not in (1, 2):
        raise ShapeError(f"forecast_band: expected (n,) or (n, channels), got {rows.shape}")
    if rows.size == 0:
        raise DataError(f"forecast_band: expected at least one row, got shape {rows.shape}")
    return rows.reshape(len(rows), -1)


__all__ = ["forecast_band", "forecast_report", "horizon_errors"]
