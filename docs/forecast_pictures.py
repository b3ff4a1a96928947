"""Draw the pictures of docs/recurrent/forecasting.md from a made series: python docs/forecast_pictures.py [FOLDER]."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from deepcore import Forecaster, data, viz
from deepcore.models import naive_forecast


def main(folder: Path) -> None:
    """Train the net and write the files; some seconds."""
    hours = np.arange(24 * 7 * 10)
    times = np.datetime64("2024-01-01T00", "h") + hours
    level = 50 + 0.01 * hours + 8 * np.sin(2 * np.pi * hours / 24) - 6 * (hours // 24 % 7 >= 5)
    series = level + np.random.default_rng(0).normal(0, 1.5, len(hours))
    cut = len(series) - 24 * 14
    model = Forecaster(
        24 * 7, 48, strategy="segment", segment=24, calendar=("hour", "weekday"), loss="quantile", hidden=64,
        dropout=0.2, learning_rate=3e-3, epochs=30, random_state=0,
    ).fit(series[:cut], times[:cut])  # fmt: skip

    end = cut + 24 * 4  # Friday and Saturday follow: the level falls with the weekend
    known, coming = slice(end - 24 * 7, end), slice(end, end + 48)
    low, high = model.predict_interval(series[:end], times[:end])
    figure = viz.forecast_band(
        series[known], model.predict(series[:end], times[:end]), series[coming], (low, high),
        times=times[known.start : coming.stop], coverage=0.8,
    )  # fmt: skip
    viz.save_figure(figure, folder / "forecast-band.png")

    rows, stamps = series[cut - 168 :], times[cut - 168 :]
    x, truth = data.windows(rows, 168, 48)
    forecasts = {
        "forecast": model.predict_windows(rows, stamps),
        "naive": naive_forecast(x[..., None], 48)[..., 0],
        "seasonal naive (day)": naive_forecast(x[..., None], 48, 24)[..., 0],
        "seasonal naive (week)": naive_forecast(x[..., None], 48, 168)[..., 0],
    }
    errors = {name: np.abs(f - truth).mean(0) for name, f in forecasts.items()}
    viz.save_figure(viz.horizon_errors(errors), folder / "forecast-errors.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures")
