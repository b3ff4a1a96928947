"""Forecaster: recurrent nets that foretell time series, with scikit-learn's conventions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.autograd import no_grad
from deepcore.data import Standardizer, calendar_features, windows
from deepcore.device import resolve_device
from deepcore.errors import ArgumentError
from deepcore.estimators.backtest import backtest, conformal_margins
from deepcore.estimators.forecast_checks import check_history, check_options, check_rows
from deepcore.estimators.frames import Form, SeriesInput, following, read_series, write_series
from deepcore.estimators.intervals import bounds, error_levels
from deepcore.estimators.supervised import SupervisedEstimator
from deepcore.models import ForecastNet
from deepcore.tensor import as_tensor
from deepcore.train.forecast import Forecasting

Array = npt.NDArray[Any]

_ROWS = 4096  # sequences of a batch in inference


class Forecaster(SupervisedEstimator):
    """A recurrent net that foretells the next `horizon` steps of a series from its last `lookback` steps.

    Args:
        lookback, horizon: steps seen and steps foretold.
        strategy: 'direct' foretells all steps from the last state; 'recursive' one step, which is the next input;
            'segment' takes segments of the series as steps of the recurrent net and of its output (SegRNN, Lin et al.,
            "SegRNN: segment recurrent neural network for long-term time series forecasting", 2023).
        cell, hidden, layers: of the recurrent layers; a name in `models.forecast.FORECAST_CELLS`.
        segment: steps of a segment.
        channels: 'independent' runs each channel alone through weights that all share, 'joint' all at once.
        normalisation: 'last' takes each window's last value off and adds it to the forecast; 'reversible' brings each
            window to mean 0 and deviation 1 and back, with learned gains (RevIN, Kim et al., "Reversible instance
            normalization for accurate time-series forecasting against distribution shift", 2022); both, and
            'standard', on values standardised by the rows that are trained on; None takes values as they are.
        calendar: periods of `data.calendar_features` that the net sees, of the window and of the steps to come.
        loss: 'mse', 'mae', 'huber' or 'quantile', of standardised values.
        quantiles: those that loss='quantile' learns, rising, an odd number with 0.5 in the middle.
        dropout: on states before the last map and between layers.
        optimizer, learning_rate, weight_decay, clip_norm, schedule, batch_size, epochs, max_seconds, ema: as in
            `MLPClassifier`; a sample is a window with all its channels.
        validation_fraction: the last share of the series is not trained on; its windows tell when to stop and how wide
            intervals are. It has at least `horizon` rows.
        early_stopping, patience: stop when val_loss does not improve and restore the best weights.
        random_state: seed; None differs from run to run.
        verbose: show progress.
        device: 'auto', 'cpu' or 'cuda'.

    Attributes:
        history_: one dict per epoch, errors of standardised values. model_: the net. n_channels_: channels.
        step_: distance of the timestamps, or None. rows_: the end of the series, what `predict` continues.
    """

    _kind = "forecaster"

    def __init__(
        self, lookback: int = 96, horizon: int = 24, *, strategy: str = "direct", cell: str = "gru", hidden: int = 64,
        layers: int = 1, segment: int = 24, channels: str = "independent", normalisation: str | None = "last",
        calendar: Sequence[str] | None = None, loss: str = "mse", quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        dropout: float = 0.0, optimizer: str = "adam", learning_rate: float = 1e-3, weight_decay: float = 0.0,
        clip_norm: float | None = 1.0, schedule: Any = None, batch_size: int = 64, epochs: int = 50,
        validation_fraction: float = 0.2, early_stopping: bool = True, patience: int = 5,
        max_seconds: float | None = None, ema: float | None = None, random_state: int | None = None,
        verbose: bool = False, device: str = "auto",
    ) -> None:  # fmt: skip
        self.lookback = lookback
        self.horizon = horizon
        self.strategy = strategy
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.segment = segment
        self.channels = channels
        self.normalisation = normalisation
        self.calendar = calendar
        self.loss = loss
        self.quantiles = quantiles
        self.dropout = dropout
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.schedule = schedule
        self.batch_size = batch_size
        self.epochs = epochs
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.patience = patience
        self.max_seconds = max_seconds
        self.ema = ema
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    model_: ForecastNet
    n_channels_: int
    step_: np.timedelta64 | None
    rows_: Array
    times_: Array | None
    form_: Form
    mean_: Array
    deviation_: Array
    residuals_: Array | None  # see `error_levels`; standardised
    margins_: Array | None  # see `calibrate`; (pairs of quantiles, channels)
    held_: int  # rows at the end that were not trained on

    def __sklearn_tags__(self) -> Any:
        """Facts for scikit-learn (only called by it)."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags

    # ---- training ----
    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_options(self)

    def _task(self) -> Forecasting:
        return Forecasting(self.loss, self._levels())

    def _levels(self) -> tuple[float, ...]:
        return tuple(float(q) for q in self.quantiles) if self.loss == "quantile" else (0.5,)

    def _build(self, seed: int) -> None:
        level = None if self.normalisation == "standard" else self.normalisation
        self.model_ = ForecastNet(
            self.lookback, self.horizon, self.n_channels_, strategy=self.strategy, cell=self.cell, hidden=self.hidden,
            layers=self.layers, segment=self.segment, sharing=self.channels, level=level,
            features=2 * len(self.calendar or ()), outputs=len(self._levels()), dropout=self.dropout, seed=seed,
        )  # fmt: skip
        self.model_.to(resolve_device(self.device))

    def fit(
        self, series: Any, times: Any = None, *, checkpoint: str | os.PathLike[str] | None = None, resume: bool = False
    ) -> Forecaster:  # fmt: skip
        """Train on a series (n,) or (n, channels) at equal steps; returns self.

        times: timestamps datetime64 (n,); those of the index for a Series or DataFrame of pandas.

        Raises:
            DataError: too few rows, a value that is not finite, a channel that never changes, timestamps that have
                gaps, repeat or do not rise. Messages name row and remedy.
            ArgumentError: an option is out of range, or `calendar` is given without times.
        """
        self._check_parameters()
        owner = type(self).__name__
        given = read_series(owner, series, times)
        n = len(given.values)
        held = max(round(self.validation_fraction * n), self.horizon) if self.validation_fraction > 0 else 0
        needed = self.lookback + self.horizon
        trained = check_rows(owner, given.values, self.lookback, self.horizon, held)
        self.n_channels_, self.step_, self.form_, self.held_ = given.values.shape[1], given.step, given.form, held
        self.mean_, self.deviation_ = np.zeros(self.n_channels_), np.ones(self.n_channels_)
        if self.normalisation is not None:
            scale = Standardizer(trained)
            self.mean_, self.deviation_ = scale.mean, scale.deviation
        seed = self._seed()
        self.__dict__.pop("trainer_", None)
        self._build(seed)
        arrays = self._arrays(given)
        cut = n - held - needed + 1
        train = tuple(a[:cut] for a in arrays)
        validation = tuple(a[n - held - self.lookback :] for a in arrays) if held else None
        self._train(train, None, seed, validation=validation, checkpoint=checkpoint, resume=resume)
        start = max(0, n - held - self.lookback) if held else n - self.lookback
        self.rows_ = given.values[start:].copy()
        self.times_ = None if given.times is None else given.times[start:].copy()
        self.n_rows_ = n
        self.residuals_ = self.margins_ = None
        if validation is not None:
            error = validation[1] - self._middle(self._standardised(validation))
            self.residuals_ = error_levels(error)
        return self

    def _arrays(self, given: SeriesInput) -> tuple[Array, ...]:
        """Windows x, y and, with a calendar, its features of both: views."""
        values = ((given.values - self.mean_) / self.deviation_).astype(np.float32)
        arrays = windows(values, self.lookback, self.horizon)
        if not self.calendar:
            return arrays
        return (*arrays, *windows(self._features(given.times), self.lookback, self.horizon))

    def _features(self, times: Array | None) -> Array:
        assert self.calendar is not None
        if times is None:
            raise ArgumentError(f"{type(self).__name__}: expected times for calendar={self.calendar!r}, got none")
        return calendar_features(times, self.calendar)

    # ---- forecasts ----
    def _standardised(self, arrays: Sequence[Array]) -> npt.NDArray[np.float64]:
        """Windows x, _, past, future -> outputs (m, horizon, channels, q) in inference mode, quantiles in order."""
        x, calendar = arrays[0], arrays[2:]
        size = max(1, _ROWS // self.n_channels_)
        device = self.model_.device
        self.model_.eval()
        parts = []
        with no_grad():
            for i in range(0, len(x), size):
                batch = [np.ascontiguousarray(a[i : i + size]) for a in (x, *calendar)]
                outputs = self.model_(*(as_tensor(a).to(device) for a in batch))
                parts.append(np.asarray(outputs.numpy()).astype(np.float64))
        # Quantiles that cross are put in order (Chernozhukov et al., 2010).
        return np.sort(np.concatenate(parts), axis=-1)

    def _middle(self, outputs: Array) -> Array:
        """The forecast among the outputs (..., q): the median of quantiles."""
        middle: Array = outputs[..., len(self._levels()) // 2]
        return middle

    def _history(self, history: Any, times: Any) -> SeriesInput:
        self._check_fitted()
        owner = type(self).__name__
        if history is None:
            if times is not None:
                raise ArgumentError(f"{owner}: expected times together with a history, got times alone")
            return SeriesInput(self.rows_, self.times_, self.step_, self.form_)
        given = read_series(owner, history, times, step=self.step_)
        check_history(self, given)
        return given

    def _steps(self, horizon: int | None) -> int:
        steps = self.horizon if horizon is None else horizon
        if not isinstance(steps, (int, np.integer)) or steps < 1:
            raise ArgumentError(f"{type(self).__name__}: expected horizon >= 1, got {horizon!r}")
        return int(steps)

    def _continued(self, given: SeriesInput, steps: int) -> Array:
        """Standardised outputs (steps, channels, q) that follow the history; beyond the horizon of the net forecasts
        are history."""
        values = ((given.values[-self.lookback :] - self.mean_) / self.deviation_).astype(np.float32)
        times = None if given.times is None else given.times[-self.lookback :]
        found: list[Array] = []
        while sum(map(len, found)) < steps:
            arrays = [values[None, -self.lookback :], values]
            if self.calendar:
                assert times is not None and self.step_ is not None
                coming = following(times, self.step_, self.horizon)
                arrays += [self._features(times[-self.lookback :])[None], self._features(coming)[None]]
                times = np.concatenate([times, coming])
            found.append(self._standardised(arrays)[0])
            values = np.concatenate([values, self._middle(found[-1]).astype(np.float32)])
        return np.concatenate(found)[:steps]

    def _written(self, values: Array, given: SeriesInput, own: bool) -> Any:
        times = None
        if given.times is not None and given.step is not None:
            times = following(given.times, given.step, len(values))
        return write_series(values, given.form, times, self.n_rows_ if own else len(given.values))

    def predict(self, history: Any = None, times: Any = None, horizon: int | None = None) -> Any:
        """What follows: (horizon,) or (horizon, channels), as the series came; pandas for pandas.

        Args:
            history: at least `lookback` rows, with their times where the net sees a calendar; None: what was fitted.
            times: timestamps of the history.
            horizon: steps; beyond those of the net its forecasts are taken as history. Quantile nets give the median.
        """
        given = self._history(history, times)
        middle = self._middle(self._continued(given, self._steps(horizon)))
        return self._written(middle * self.deviation_ + self.mean_, given, history is None)

    def predict_interval(
        self, history: Any = None, times: Any = None, horizon: int | None = None, *, coverage: float = 0.8
    ) -> tuple[Any, Any]:
        """Bounds (lower, upper) between which a value lies with probability `coverage`, each as `predict` gives them.

        From the quantiles of a net with loss='quantile', which must have been learnt; else from the errors of the
        windows held out, step by step and channel by channel.

        Raises:
            ArgumentError: the quantiles were not learnt, nothing was held out, or the horizon is beyond the net's.
        """
        owner = type(self).__name__
        given = self._history(history, times)
        steps = self._steps(horizon)
        if steps > self.horizon:
            raise ArgumentError(f"{owner}: expected horizon <= {self.horizon} for intervals, got {steps}")
        outputs = self._continued(given, steps) * self.deviation_[:, None] + self.mean_[:, None]
        errors = None if self.residuals_ is None else self.residuals_ * self.deviation_
        low, high = bounds(owner, outputs, coverage, self._levels(), errors, self.margins_)
        own = history is None
        return self._written(low, given, own), self._written(high, given, own)

    def predict_quantiles(
        self, history: Any = None, times: Any = None, horizon: int | None = None
    ) -> npt.NDArray[np.float64]:
        """What a net with loss='quantile' learnt: (horizon, q) or (horizon, channels, q), in rising order."""
        given = self._history(history, times)
        values = self._continued(given, self._steps(horizon)) * self.deviation_[:, None] + self.mean_[:, None]
        quantiles: npt.NDArray[np.float64] = values[:, 0] if given.form.flat else values
        return quantiles

    def calibrate(self, series: Any, times: Any = None, *, folds: int = 4, stride: int | None = None) -> Forecaster:
        """Widen or narrow the intervals of quantiles by what they missed on earlier stretches; returns self.

        Fresh nets with the same parameters are trained on the rows before each stretch of `horizon` rows. The margin of
        a pair of quantiles is that quantile of the distances of truths outside of it (inside: below 0), over all steps,
        which makes them cover what they should.
        Source: Romano, Patterson and Candes, "Conformalized quantile regression", 2019.

        Args:
            series: (n,) or (n, channels), as in `fit`.
            times: timestamps (n,).
            folds: how many stretches; the last ends with the series.
            stride: rows from one stretch to the next; default `horizon`.
        """
        self._check_fitted()
        self.margins_ = conformal_margins(self, series, folds, times=times, stride=stride)
        return self

    def predict_windows(self, series: Any, times: Any = None) -> npt.NDArray[np.float64]:
        """Forecasts (m, horizon) or (m, horizon, channels) of every window of a series, the last one included.

        Their truth is `data.windows(series, lookback, horizon)[1]`.
        """
        given = self._history(series, times)
        middle = self._middle(self._standardised(self._arrays(given)))
        values: npt.NDArray[np.float64] = middle * self.deviation_ + self.mean_
        return values[..., 0] if given.form.flat else values

    def score(self, series: Any, times: Any = None) -> float:
        """Minus the mean squared error of standardised values over all windows of a series."""
        given = self._history(series, times)
        arrays = self._arrays(given)
        middle = self._middle(self._standardised(arrays))
        return -float(np.mean((middle - arrays[1]) ** 2))

    def backtest(
        self, series: Any, folds: int = 3, *, times: Any = None, season: int | None = None, refit: bool = True,
        coverage: float = 0.8,
    ) -> list[dict[str, float]]:  # fmt: skip
        """Foretell the last `folds` stretches of `horizon` rows, each from what comes before it; self stays as it is.

        Each dict has fold, start (the first row foretold), mse, mae, mape, coverage of the intervals (where there are
        any), naive_mse, naive_mae of the last value repeated and, with the steps of a season, those of seasonal_naive
        and mase. refit trains anew before each stretch; False trains once, before the first.
        """
        return backtest(self, series, folds, times=times, season=season, refit=refit, coverage=coverage)

    def report(
        self, path: str | os.PathLike[str], series: Any = None, times: Any = None, *, title: str | None = None,
        season: int | None = None,
    ) -> None:  # fmt: skip
        """Write one self-contained HTML file: learning curves, forecasts against truth with intervals, errors by step.

        Args:
            path: the file.
            series: rows to judge by, lookback + horizon at least; None: the held-out rows of `fit`.
            times: their timestamps.
            title: of the page.
            season: steps of a season, to set the seasonal naive forecast beside.
        """
        from deepcore.viz.forecast import forecast_report

        given = self._history(series, times)
        forecast_report(self, path, given.values, given.times, title=title, season=season)

    # ---- files ----
    def _fitted_meta(self) -> tuple[dict[str, Any], dict[str, Array]]:
        extra: dict[str, Any] = {
            "n_channels": self.n_channels_, "form": [*self.form_], "held": self.held_, "n_rows": self.n_rows_,
        }  # fmt: skip
        arrays = {"mean": self.mean_, "deviation": self.deviation_, "rows": self.rows_}
        if self.residuals_ is not None:
            arrays["residuals"] = self.residuals_
        if self.margins_ is not None:
            arrays["margins"] = self.margins_
        if self.times_ is not None and self.step_ is not None:
            arrays["times"], arrays["step"] = self.times_.astype(np.int64), np.array([self.step_.astype(np.int64)])
            extra["units"] = [str(self.times_.dtype), str(self.step_.dtype)]
        return extra, arrays

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.n_channels_, self.held_, self.n_rows_ = int(meta["n_channels"]), int(meta["held"]), int(meta["n_rows"])
        self.form_ = Form(*meta["form"])
        self.mean_, self.deviation_, self.rows_ = arrays["mean"], arrays["deviation"], arrays["rows"]
        self.residuals_, self.margins_ = arrays.get("residuals"), arrays.get("margins")
        self.times_, self.step_ = None, None
        if "times" in arrays:
            self.times_ = arrays["times"].astype(meta["units"][0])
            self.step_ = arrays["step"].astype(meta["units"][1])[0]
        self._build(0)
        self.n_iter_ = len(self.history_)


__all__ = ["Forecaster"]
