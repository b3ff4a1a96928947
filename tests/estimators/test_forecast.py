"""Forecasters: what they learn, forms of series, files, intervals, backtests, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore import tensor
from deepcore.data import windows
from deepcore.errors import ArgumentError, CheckpointError, DataError, DtypeError, NotFittedError, ShapeError
from deepcore.estimators import Forecaster
from deepcore.models import ForecastNet, naive_forecast
from deepcore.sequence_metrics import interval_coverage
from deepcore.train import pinball_loss

Array = Any


def sine(n: int = 500, seed: int = 0) -> Array:
    """A noisy sine of period 24 on a trend."""
    t = np.arange(n)
    return 10 + 0.02 * t + np.sin(2 * np.pi * t / 24) + 0.1 * np.random.default_rng(seed).normal(size=n)


def hours(n: int, start: str = "2020-01-01T00") -> Array:
    return np.datetime64(start, "h") + np.arange(n)


def quick(**options: Any) -> Forecaster:
    return Forecaster(
        **{"lookback": 48, "horizon": 24, "hidden": 24, "segment": 12, "epochs": 2, "random_state": 0, **options}
    )


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return quick(epochs=12, learning_rate=5e-3).fit(sine(), hours(500))


# ---- what they learn ----
@pytest.mark.parametrize("strategy", ["direct", "recursive", "segment"])
def test_learns_a_noisy_sine_with_a_trend(strategy: str) -> None:
    series = sine(624)
    epochs, rate = (8, 5e-3) if strategy == "recursive" else (20, 5e-3)
    model = quick(strategy=strategy, epochs=epochs, learning_rate=rate).fit(series[:500])
    x, truth = windows(series[500 - 48 :], 48, 24)
    error = np.mean((model.predict_windows(series[500 - 48 :]) - truth) ** 2)
    seasonal = np.mean((naive_forecast(x[..., None], 24, 24)[..., 0] - truth) ** 2)
    assert error < 0.6 * seasonal
    assert -model.score(series[500 - 48 :]) * model.deviation_[0] ** 2 == pytest.approx(error, rel=1e-4)
    assert model.history_[-1]["val_mse"] < model.history_[0]["val_mse"]


@pytest.mark.parametrize("options", [{}, {"calendar": ("hour",)}, {"loss": "quantile"}, {"channels": "joint"}])
def test_recursive_is_direct_for_one_step(options: dict[str, Any]) -> None:
    series = np.stack([sine(150), sine(150, 1) * 2], 1)
    direct, recursive = (
        quick(horizon=1, strategy=s, **options).fit(series, hours(150)) for s in ("direct", "recursive")
    )
    assert np.array_equal(direct.predict(), recursive.predict())
    assert np.array_equal(direct.predict(horizon=5), recursive.predict(horizon=5))


def test_recursive_feeds_its_forecast_back() -> None:
    longer, shorter = (ForecastNet(8, h, 2, strategy="recursive", hidden=5, level=None, seed=3) for h in (4, 1))
    shorter.load_state_dict(longer.state_dict())
    x = np.random.default_rng(0).normal(size=(3, 8, 2)).astype(np.float32)
    for net in (longer, shorter):
        net.eval()
    y = longer(tensor(x)).numpy()
    assert np.array_equal(y[:, :1], shorter(tensor(x)).numpy())
    rows = tensor(np.ascontiguousarray(x.transpose(0, 2, 1)).reshape(6, 8, 1))
    out, state = longer.recurrent(rows)
    step = longer.head(out[:, -1])
    for i in range(4):
        np.testing.assert_allclose(y[:, i, :, 0].reshape(6, 1), step.numpy(), rtol=1e-6)
        out, state = longer.recurrent.step(step, state)
        step = longer.head(out)


@pytest.mark.parametrize("strategy", ["direct", "recursive", "segment"])
@pytest.mark.parametrize("level", ["last", "reversible"])
def test_levels_of_windows_do_not_matter(strategy: str, level: str) -> None:
    net = ForecastNet(20, 7, 3, strategy=strategy, segment=6, hidden=8, level=level, seed=1)
    net.eval()
    x = np.random.default_rng(0).normal(size=(2, 20, 3)).astype(np.float32)
    shift = np.array([3.0, -5.0, 0.0], np.float32)
    y = net(tensor(x)).numpy()
    assert y.shape == (2, 7, 3, 1)
    np.testing.assert_allclose(net(tensor(x + shift)).numpy()[..., 0], y[..., 0] + shift, atol=2e-4)


def test_independent_channels_do_not_see_each_other() -> None:
    x = np.random.default_rng(0).normal(size=(1, 20, 2)).astype(np.float32)
    other = x.copy()
    other[..., 1] += np.random.default_rng(1).normal(size=20)
    for sharing, same in (("independent", True), ("joint", False)):
        net = ForecastNet(20, 5, 2, strategy="segment", segment=5, hidden=8, sharing=sharing)
        net.eval()
        y, z = net(tensor(x)).numpy(), net(tensor(other)).numpy()
        assert np.array_equal(y[:, :, 0], z[:, :, 0]) == same
        assert not np.array_equal(y[:, :, 1], z[:, :, 1])


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "lstm", "layers": 2, "dropout": 0.2, "strategy": "segment"},
        {"cell": "lstm", "layers": 2, "dropout": 0.2, "strategy": "recursive", "horizon": 4},
        {"normalisation": "standard", "loss": "mae"}, {"normalisation": None, "loss": "huber"},
        {"normalisation": "reversible", "loss": "quantile", "channels": "joint", "calendar": ("hour", "weekday")},
        {"strategy": "segment", "segment": 11, "calendar": ("month",), "ema": 0.9, "optimizer": "adamw"},
        {"validation_fraction": 0.0, "early_stopping": False},
    ],
)  # fmt: skip
def test_options_and_files(options: dict[str, Any], tmp_path: Path) -> None:
    series = np.stack([sine(180), sine(180, 1) * 3 - 5], 1)
    model = quick(**options).fit(series, hours(180))
    forecast = model.predict()
    assert forecast.shape == (model.horizon, 2) and np.isfinite(forecast).all()
    model.save(tmp_path / "m.safetensors")
    again = Forecaster.load(tmp_path / "m.safetensors")
    assert np.array_equal(again.predict(), forecast) and again.get_params() == model.get_params()
    assert again.step_ == model.step_ and np.array_equal(again.times_, model.times_)
    assert np.array_equal(model.predict(series, hours(180)), forecast)
    assert model.predict(horizon=60).shape == (60, 2) and model.predict(horizon=3).shape == (3, 2)
    np.testing.assert_allclose(model.predict(horizon=60)[: model.horizon], forecast)


def test_same_seed_same_forecast_and_arguments_stay() -> None:
    periods = ["hour"]
    model = quick(calendar=periods)
    assert model.calendar is periods and model.get_params()["lookback"] == 48
    one, two, other = (quick(random_state=s, dropout=0.3).fit(sine(150)).predict() for s in (0, 0, 1))
    assert np.array_equal(one, two) and not np.array_equal(one, other)
    assert "history_" not in vars(model) and repr(quick()).startswith("Forecaster(lookback=48, ")
    sklearn = pytest.importorskip("sklearn.base")
    assert sklearn.clone(quick(hidden=7)).hidden == 7


def test_no_window_is_dropped() -> None:
    model = quick(batch_size=50, epochs=1).fit(sine(200))  # 40 rows held out: 160 - 72 + 1 windows to train on
    assert model.trainer_.samples == 89 and model.held_ == 40
    assert model.predict_windows(sine(150)).shape == (150 - 72 + 1, 24)


# ---- intervals and backtests ----
def test_intervals_cover(fitted: Forecaster) -> None:
    series = sine(900)[500 - 48 :]
    quantile = quick(loss="quantile", epochs=15, learning_rate=5e-3).fit(sine())
    for model in (fitted, quantile):
        shares = []
        for i in range(0, len(series) - 72, 24):
            low, high = model.predict_interval(series[i : i + 48])
            shares.append(interval_coverage(series[i + 48 : i + 72], low, high))
            assert (low <= high).all()
        assert 0.6 < np.mean(shares) < 0.95
    narrow, wide = (np.subtract(*fitted.predict_interval(coverage=c)) for c in (0.5, 0.9))
    assert (narrow > wide).all()
    with pytest.raises(ArgumentError, match=r"quantiles 0.05 and 0.95 of coverage 0.9"):
        quantile.predict_interval(coverage=0.9)
    with pytest.raises(ArgumentError, match="horizon <= 24 for intervals, got 30"):
        fitted.predict_interval(horizon=30)
    with pytest.raises(ArgumentError, match="0 < coverage < 1"):
        fitted.predict_interval(coverage=1.0)
    bare = quick(validation_fraction=0.0, early_stopping=False).fit(sine(150))
    with pytest.raises(ArgumentError, match="held-out rows"):
        bare.predict_interval()


@pytest.mark.parametrize("refit", [True, False])
def test_backtest(refit: bool) -> None:
    series = sine(300)
    model = quick()
    folds = model.backtest(series, 2, season=24, refit=refit)
    assert [f["start"] for f in folds] == [252, 276] and not hasattr(model, "model_")
    last = folds[-1]
    assert last["naive_mae"] == pytest.approx(np.abs(series[275] - series[276:]).mean())
    assert last["seasonal_naive_mse"] == pytest.approx(np.mean((series[252:276] - series[276:]) ** 2))
    assert {"mse", "mae", "mape", "mase", "coverage"} <= set(last)
    once = quick().fit(series[:276] if refit else series[:252])
    assert last["mse"] == pytest.approx(np.mean((once.predict(series[:276]) - series[276:]) ** 2))
    with pytest.raises(DataError, match="take fewer folds"):
        model.backtest(series, 20)


def test_calibrated_intervals(tmp_path: Path) -> None:
    series = sine(250)
    model = quick(loss="quantile", validation_fraction=0.0, early_stopping=False).fit(series[:226])
    low, high = model.predict_interval()
    model.calibrate(series[:226], folds=2, stride=30)
    assert model.margins_ is not None and model.margins_.shape == (1, 1)
    scores = []
    for cut in (172, 202):
        fresh = quick(loss="quantile", validation_fraction=0.0, early_stopping=False).fit(series[:cut])
        q, truth = fresh.predict_quantiles(), series[cut : cut + 24]
        assert np.array_equal(q[:, 1], fresh.predict())
        scores.append(np.maximum(q[:, 0] - truth, truth - q[:, 2]))
    margin = np.quantile(np.concatenate(scores), np.ceil(49 * 0.8) / 48)
    assert model.margins_[0, 0] == pytest.approx(margin)
    wide = model.predict_interval()
    np.testing.assert_allclose(wide[0], np.minimum(low - margin, model.predict()))
    np.testing.assert_allclose(wide[1], np.maximum(high + margin, model.predict()))
    model.save(tmp_path / "m")
    assert np.array_equal(Forecaster.load(tmp_path / "m").predict_interval()[1], wide[1])
    with pytest.raises(ArgumentError, match="loss='quantile', got 'mse'"):
        quick().fit(series).calibrate(series)
    with pytest.raises(DataError, match="take fewer folds"):
        model.calibrate(series, folds=9)


def test_naive_forecast() -> None:
    rows = np.arange(6.0).reshape(6, 1)
    assert naive_forecast(rows, 2)[:, 0].tolist() == [5, 5]
    assert naive_forecast(rows, 5, 3)[:, 0].tolist() == [3, 4, 5, 3, 4]
    with pytest.raises(ArgumentError, match=r"season in 1\.\.n"):
        naive_forecast(rows, 2, 7)


def test_pinball_loss() -> None:
    y, x = np.array([1.0, 2.0], np.float32), np.array([[0.0, 2.0], [1.0, 4.0]], np.float32)
    expected = np.mean([0.1 * 1, 0.1 * 1, 0.1 * 1, 0.1 * 2])
    assert pinball_loss(tensor(x), tensor(y), (0.1, 0.9)).item() == pytest.approx(expected)
    with pytest.raises(ShapeError, match="pinball_loss"):
        pinball_loss(tensor(x), tensor(y), (0.5,))


# ---- pandas ----
def test_pandas_in_pandas_out(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    index = pandas.date_range("2001-01-01", periods=180, freq="MS", name="month")
    frame = pandas.DataFrame({"a": sine(180), "b": sine(180, 1)}, index=index)
    model = quick(calendar=("month",)).fit(frame)
    forecast = model.predict()
    assert list(forecast.columns) == ["a", "b"] and forecast.index.name == "month"
    assert forecast.index[0] == pandas.Timestamp("2016-01-01") and forecast.index[-1] == pandas.Timestamp("2017-12-01")
    assert np.array_equal(forecast.to_numpy(), quick(calendar=("month",)).fit(sine_pair(), months(180)).predict())
    model.save(tmp_path / "m")
    pandas.testing.assert_frame_equal(Forecaster.load(tmp_path / "m").predict(), forecast)
    low, high = model.predict_interval(frame[:100])
    assert low.index.equals(high.index) and low.index[0] == index[100]
    plain = quick().fit(pandas.Series(sine(180), name="level"))
    assert plain.predict().name == "level" and plain.predict().index[0] == 180
    with pytest.raises(DataError, match="row 100"):
        quick().fit(frame.drop(index[100]))


def sine_pair() -> Array:
    return np.stack([sine(180), sine(180, 1)], 1)


def months(n: int) -> Array:
    return np.datetime64("2001-01", "M") + np.arange(n)


# ---- refusals ----
def test_series_that_cannot_be_used() -> None:
    n, series, times = 150, sine(150), hours(150)
    for rows, needed in ((71, 96), (95, 96)):
        with pytest.raises(DataError, match=f"at least {needed} rows .*got {rows}; shorten"):
            quick().fit(series[:rows])
    quick(epochs=1).fit(series[:96])
    holes = series.copy()
    holes[[40, 41]] = np.nan
    with pytest.raises(DataError, match=r"nan in row 40 of channel 0, one of 2 .*regularise"):
        quick().fit(holes)
    cases: list[tuple[Array, str]] = [
        (np.delete(hours(n + 1), 60), "row 60.*regularise"), (times[::-1], "rising timestamps.*row 1.*regularise"),
        (np.r_[times[:60], times[59:-1]], "each timestamp once.*row 60"),
        (np.r_[times[:5], np.datetime64("NaT"), times[6:]], "NaT in row 5"),
    ]  # fmt: skip
    for bad, message in cases:
        with pytest.raises(DataError, match=message):
            quick().fit(series, bad)
    constant = np.stack([series, np.full(n, 4.0)], 1)
    with pytest.raises(DataError, match=r"channels that vary, got 4.0 in all .*channel 1.*its forecast is that value"):
        quick().fit(constant)
    with pytest.raises(DtypeError, match="numbers"):
        quick().fit(np.array(["a"] * 200))
    with pytest.raises(DtypeError, match="datetime64"):
        quick().fit(series, np.arange(n))
    with pytest.raises(ShapeError, match="150 timestamps"):
        quick().fit(series, times[:-1])
    with pytest.raises(ShapeError, match=r"\(n, channels\)"):
        quick().fit(series.reshape(10, 5, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "both"}, "strategy in"), ({"lookback": 0}, "lookback >= 1"), ({"horizon": 2.5}, "horizon >= 1"),
        ({"normalisation": "max"}, "normalisation in"), ({"loss": "mape"}, "loss in"), ({"cell": "x"}, "cell in"),
        ({"loss": "quantile", "quantiles": (0.1, 0.9)}, "0.5 in the middle"), ({"channels": 3}, "channels in"),
        ({"loss": "quantile", "quantiles": (0.9, 0.5, 0.1)}, "rising quantiles"),
        ({"calendar": "hour"}, "calendar None"), ({"calendar": ("hour",)}, "expected times for calendar"),
        ({"validation_fraction": 0.0}, "early_stopping needs"),
    ],
)  # fmt: skip
def test_options_that_do_not_exist(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        quick(**options).fit(sine(150))


def test_histories_that_do_not_fit(fitted: Forecaster, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        quick().predict()
    with pytest.raises(DataError, match="at least 48 rows, got 20"):
        fitted.predict(sine(20))
    with pytest.raises(ShapeError, match="1 channels as in fit, got 2"):
        fitted.predict(sine_pair())
    with pytest.raises(ArgumentError, match="times alone"):
        fitted.predict(times=hours(3))
    with pytest.raises(DataError, match="expected a step of 1 hours"):
        fitted.predict(sine(60), np.datetime64("2020-01-01", "D") + np.arange(60))
    with pytest.raises(ArgumentError, match="horizon >= 1, got 0"):
        fitted.predict(horizon=0)
    (tmp_path / "m").write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        Forecaster.load(tmp_path / "m")


# ---- pages ----
def test_report(fitted: Forecaster, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    fitted.report(tmp_path / "own.html", season=24, title="Sine & trend")
    page = (tmp_path / "own.html").read_text()
    assert "<h1>Sine &amp; trend</h1>" in page
    for title in ("Learning curves", "Forecast of the last window", "Errors by step", "Errors by channel"):
        assert title in page
    wide = quick(loss="quantile").fit(np.stack([sine(150, i) for i in range(7)], 1))
    wide.report(tmp_path / "wide.html", np.stack([sine(80, i) for i in range(7)], 1))
    assert "The first 6 of 7 channels" in (tmp_path / "wide.html").read_text()
    with pytest.raises(DataError, match=r"at least 72 rows .*, got 60; give a series"):
        fitted.report(tmp_path / "no.html", sine(60))


def test_figures_refuse_shapes_that_differ() -> None:
    pytest.importorskip("matplotlib")
    from deepcore import viz

    with pytest.raises(ShapeError, match="forecast_band: expected truth and bounds"):
        viz.forecast_band(np.ones(5), np.ones(3), np.ones(4))
    with pytest.raises(ShapeError, match="8 times"):
        viz.forecast_band(np.ones(5), np.ones(3), times=np.arange(5))
    with pytest.raises(DataError, match="horizon_errors"):
        viz.horizon_errors({"a": [np.nan]})
    assert len(viz.horizon_errors({"a": [1.0, 2.0], "b": [2.0, 2.0]}).axes[0].lines) == 2
