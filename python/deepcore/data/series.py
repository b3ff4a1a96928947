"""Time series for nets: windows as views, standardization, checks of timestamps, regular steps, calendar features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepcore.errors import ArgumentError, CheckpointError, DataError, DtypeError, ShapeError

Array = NDArray[Any]
Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

AGGREGATES = ("mean", "sum", "min", "max", "first", "last")
FILLS = ("linear", "previous", "nan")
PERIODS = ("hour", "weekday", "month")

_ETT_MONTH = 30 * 24  # hours
_MAX_STEPS = 1 << 27
_UNITS_OF_A_DAY = {  # 1: a step counts from the first timestamp on
    "Y": 1, "M": 1, "D": 1, "h": 24, "m": 1440, "s": 86400, "ms": 86400 * 10**3, "us": 86400 * 10**6,
    "ns": 86400 * 10**9,
}  # fmt: skip
_MEND = "regularise(times, values, step) mends it"


def windows(values: ArrayLike, lookback: int, horizon: int = 1, stride: int = 1) -> tuple[Array, Array]:
    """What came before and what came then: x (m, lookback, ...), y (m, horizon, ...) of a series (n, ...).

    Window i begins at row i * stride; y follows x at once; m = (n - lookback - horizon) // stride + 1. Both are views
    that cannot be written to; nothing is copied.

    Raises:
        DataError: the series is shorter than lookback + horizon.
        ArgumentError: a number is below 1.
    """
    series = np.asarray(values)
    if min(lookback, horizon, stride) < 1:
        raise ArgumentError(
            f"windows: expected lookback, horizon and stride >= 1, got {lookback}, {horizon} and {stride}"
        )
    if series.ndim == 0:
        raise ShapeError("windows: expected a series of shape (n, ...), got a number")
    if len(series) < lookback + horizon:
        raise DataError(
            f"windows: expected at least {lookback + horizon} rows (lookback {lookback} + horizon {horizon}), "
            f"got {len(series)}"
        )
    view = np.lib.stride_tricks.sliding_window_view(series, lookback + horizon, axis=0)[::stride]
    view = np.moveaxis(view, -1, 1)
    return view[:, :lookback], view[:, lookback:]


class Standardizer:
    """Shifts and scales each column of a series to mean 0 and deviation 1, judged by the rows to train on alone.

    Args:
        values: (n,) or (n, d), the rows to train on and no others.

    Raises:
        DataError: a column is constant, or a value is not finite; the message names column or row.
        ShapeError: another rank.
        DtypeError: no numbers.
    """

    def __init__(self, values: ArrayLike) -> None:
        series = _series("Standardizer", values)
        columns = series.reshape(len(series), -1)
        constant = (columns.min(0) == columns.max(0)) | (columns.std(0) == 0)
        if constant.any():
            where = int(constant.argmax())
            raise DataError(
                f"Standardizer: expected columns that vary, got {columns[0, where]} in all {len(series)} rows of "
                f"column {where}; leave it out"
            )
        self.mean: Floats = np.asarray(series.mean(0))
        self.deviation: Floats = np.asarray(series.std(0))

    def transform(self, values: ArrayLike) -> Floats:
        """(values - mean) / deviation, (..., d) as the rows to train on, or any shape for a series (n,)."""
        scaled: Floats = (self._fitting(values) - self.mean) / self.deviation
        return scaled

    def inverse(self, values: ArrayLike) -> Floats:
        """Values in their own units again: the inverse of `transform`."""
        own: Floats = self._fitting(values) * self.deviation + self.mean
        return own

    def state_dict(self) -> dict[str, Any]:
        """Mean and deviation of each column; JSON values."""
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Mean and deviation of another one.

        Raises:
            CheckpointError: the state has other columns, or numbers that cannot be used.
        """
        try:
            mean, deviation = (np.array(state[key], np.float64) for key in ("mean", "deviation"))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"Standardizer: expected mean and deviation, got {error!r}") from error
        if not mean.shape == deviation.shape == self.mean.shape:
            raise CheckpointError(
                f"Standardizer: expected mean and deviation of shape {self.mean.shape}, got {mean.shape} and "
                f"{deviation.shape}"
            )
        if not (np.isfinite(mean).all() and np.isfinite(deviation).all() and (deviation > 0).all()):
            raise CheckpointError(
                f"Standardizer: expected finite means, deviations > 0, got {mean.tolist()} and {deviation.tolist()}"
            )
        self.mean, self.deviation = mean, deviation

    def _fitting(self, values: ArrayLike) -> Array:
        array = np.asarray(values)
        if array.dtype.kind not in "iuf":
            raise DtypeError(f"Standardizer: expected numbers, got {array.dtype}")
        if self.mean.ndim == 1 and array.shape[-1:] != self.mean.shape:
            raise ShapeError(f"Standardizer: expected values of shape (..., {len(self.mean)}), got {array.shape}")
        return array


def check_times(times: ArrayLike, step: np.timedelta64 | None = None) -> np.timedelta64:
    """The step between timestamps (n,) in datetime64 that stand at equal distances; anything else is an error.

    step: what the distance must be; default the most frequent one.

    Raises:
        DataError: a timestamp is missing (NaT), earlier than the one before or the same, or there is a gap, or a
            distance that is no multiple of the step; the message names the row.
        DtypeError: the array has another type.
        ArgumentError: a step in months or years for other timestamps, or the reverse; `times.astype` converts.
    """
    name = "check_times"
    own = _times(name, times)
    if len(own) < 2:
        raise DataError(f"{name}: expected at least 2 timestamps, got {len(own)}")
    if step is not None and _of_calendar(step) != _of_calendar(own):
        raise ArgumentError(
            f"{name}: expected times and step both in months or years, or neither, got {own.dtype} and {step!r}"
        )
    distances = np.diff(own)
    zero = np.timedelta64(0)
    back, same = distances < zero, distances == zero
    for bad, expected, got in ((back, "rising timestamps", "after the later"), (same, "each timestamp once", "after")):
        if bad.any():
            row = int(bad.argmax()) + 1
            raise DataError(f"{name}: expected {expected}, got {own[row]} in row {row} {got} {own[row - 1]}; {_MEND}")
    if step is None:
        kinds, counts = np.unique(distances, return_counts=True)
        step = kinds[counts.argmax()]
    assert step is not None
    other = distances != step
    if other.any():
        row = int(other.argmax()) + 1
        raise DataError(
            f"{name}: expected a step of {step}, got {distances[row - 1]} from {own[row - 1]} to {own[row]} in row "
            f"{row}, one of {int(other.sum())} such places; {_MEND}"
        )
    return step


def regularise(
    times: ArrayLike, values: ArrayLike, step: np.timedelta64, *, aggregate: str = "mean", fill: str = "linear"
) -> tuple[Times, Floats]:
    """A series at equal steps: (times (m,), values (m, ...)) from timestamps (n,) in any order and values (n, ...).

    Row i holds what was seen from times[i] until times[i + 1]. Steps that divide a day begin at their multiples from
    midnight on, others where the first timestamp's own unit begins.

    Args:
        times: datetime64.
        values: numbers; NaN counts as not seen.
        step: for example np.timedelta64(1, "h"), or np.timedelta64(1, "M") for months of the calendar.
        aggregate: of several rows in a step: 'mean', 'sum', 'min', 'max', or in order of time 'first', 'last'.
        fill: for steps without any: 'linear' between its neighbours, 'previous' value, or 'nan'. Before the first
            number of a column and after its last, the first two repeat it.

    Raises:
        DataError: a timestamp is missing (NaT), or a column holds no number.
        ArgumentError: an unknown option, or a step that is not positive or too short: m <= 2^27.
        ShapeError: numbers of times and values differ.
    """
    name = "regularise"
    if aggregate not in AGGREGATES or fill not in FILLS:
        raise ArgumentError(
            f"{name}: expected aggregate in {AGGREGATES} and fill in {FILLS}, got {aggregate!r} and {fill!r}"
        )
    own = _times(name, times)
    series = np.asarray(values)
    if series.dtype.kind not in "iuf":
        raise DtypeError(f"{name}: expected numbers, got {series.dtype}")
    if series.ndim == 0 or len(series) != len(own) or len(own) == 0:
        raise ShapeError(f"{name}: expected values of shape ({max(len(own), 1)}, ...), got {series.shape}")
    grid, at = _grid(name, own, step)
    order = np.lexsort((np.arange(len(own)), own))
    columns = series.astype(np.float64).reshape(len(series), -1)[order]
    filled = np.empty((len(grid), columns.shape[1]))
    for k, column in enumerate(columns.T):
        seen = np.flatnonzero(np.isfinite(column))
        if len(seen) == 0:
            raise DataError(f"{name}: expected at least one number in column {k}, got none in {len(own)} rows")
        bins, starts = np.unique(at[order][seen], return_index=True)
        filled[:, k] = _filled(len(grid), bins, _aggregated(column[seen], starts, aggregate), fill)
    return grid, filled.reshape(len(grid), *series.shape[1:])


def _grid(name: str, times: Times, step: np.timedelta64) -> tuple[Times, NDArray[np.int64]]:
    """Beginnings of the steps from the first timestamp to the last, and the step of each timestamp."""
    unit, multiple = np.datetime_data(step.dtype) if isinstance(step, np.timedelta64) else ("none", 1)
    if unit == "W":
        unit, multiple = "D", 7 * multiple
    size = 0 if unit not in _UNITS_OF_A_DAY or np.isnat(step) else int(step.astype(np.int64)) * multiple
    if size < 1:
        raise ArgumentError(f"{name}: expected a positive step such as np.timedelta64(1, 'h'), got {step!r}")
    number = times.astype(f"datetime64[{unit}]").astype(np.int64)
    first = int(number.min())
    if _UNITS_OF_A_DAY[unit] % size == 0:
        first -= first % size
    at = (number - first) // size
    if int(at.max()) >= _MAX_STEPS:
        raise ArgumentError(f"{name}: expected at most {_MAX_STEPS} steps, got {int(at.max()) + 1} of {step}")
    grid = (first + size * np.arange(int(at.max()) + 1)).astype(f"datetime64[{unit}]")
    return grid, at


def _aggregated(values: Floats, starts: NDArray[np.intp], aggregate: str) -> Floats:
    """One number of each run of values that begins at `starts`."""
    if aggregate in ("first", "last"):
        return values[starts if aggregate == "first" else np.append(starts[1:], len(values)) - 1]
    if aggregate in ("min", "max"):
        return np.asarray((np.minimum if aggregate == "min" else np.maximum).reduceat(values, starts))
    sums: Floats = np.add.reduceat(values, starts)
    return sums if aggregate == "sum" else sums / np.diff(starts, append=len(values))


def _filled(n: int, bins: NDArray[np.int64], values: Floats, fill: str) -> Floats:
    """`values` at places `bins` of n; between them as `fill` says, before the first its value, after the last its."""
    if fill == "linear":
        return np.asarray(np.interp(np.arange(n), bins, values))
    if fill == "previous":
        return values[np.maximum(np.searchsorted(bins, np.arange(n), side="right") - 1, 0)]
    row = np.full(n, np.nan)
    row[bins] = values
    return row


def calendar_features(times: ArrayLike, periods: Sequence[str] = PERIODS) -> NDArray[np.float32]:
    """Sine and cosine (n, 2 p) of where timestamps (n,) in datetime64 stand in p periods, as neighbours on a circle.

    'hour': of the day, with its minutes; 'weekday': from Monday on; 'month': of the year.

    Raises:
        ArgumentError: another period, or none.
        DataError: a timestamp is missing (NaT).
    """
    name = "calendar_features"
    if isinstance(periods, str) or not periods or not set(periods) <= set(PERIODS):
        raise ArgumentError(f"{name}: expected periods among {PERIODS}, got {periods!r}")
    own = _times(name, times)
    days, months = own.astype("datetime64[D]"), own.astype("datetime64[M]")
    shares = {
        "hour": (own.astype("datetime64[s]") - days.astype("datetime64[s]")) / np.timedelta64(1, "D"),
        "weekday": (days.astype(np.int64) + 3) % 7 / 7,  # day 0 was a Thursday
        "month": months.astype(np.int64) % 12 / 12,
    }
    angles = [2 * np.pi * shares[period] for period in periods]
    return np.stack([f(angle) for angle in angles for f in (np.sin, np.cos)], axis=1).astype(np.float32)


def ett_split(n: int, lookback: int = 0, *, per_hour: int = 1) -> tuple[slice, slice, slice]:
    """Rows to train, validate and test on of the ETT data: 12, 4 and 4 months of 30 days; the rest is not used.

    Validation and test parts begin `lookback` rows early, so that their first target is their own first row.
    Source: Zhou et al., "Informer: beyond efficient transformer for long sequence time-series forecasting", 2021.

    Args:
        n: number of rows.
        lookback: rows that a prediction sees.
        per_hour: rows of an hour: 1 for ETTh, 4 for ETTm.

    Raises:
        DataError: there are fewer rows than 20 months.
    """
    month = _ETT_MONTH * per_hour
    if per_hour < 1 or not 0 <= lookback <= 12 * month:
        raise ArgumentError(
            f"ett_split: expected per_hour >= 1 and lookback in 0..{12 * month}, got {per_hour} and {lookback}"
        )
    if n < 20 * month:
        raise DataError(f"ett_split: expected at least {20 * month} rows, got {n}")
    return (
        slice(0, 12 * month),
        slice(12 * month - lookback, 16 * month),
        slice(16 * month - lookback, 20 * month),
    )


def _of_calendar(value: Any) -> bool:
    """Whether times or steps are counted in months or years, whose lengths differ."""
    return np.datetime_data(value.dtype)[0] in ("Y", "M")


def _series(name: str, values: ArrayLike) -> Floats:
    """(n,) or (n, d) as float64, n >= 1, finite."""
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise DtypeError(f"{name}: expected numbers, got {array.dtype}")
    if array.ndim not in (1, 2):
        raise ShapeError(f"{name}: expected a series of shape (n,) or (n, d), got {array.shape}")
    if array.size == 0:
        raise DataError(f"{name}: expected at least one row, got shape {array.shape}")
    series = array.astype(np.float64)
    bad = ~np.isfinite(series)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(f"{name}: expected finite numbers, got {series[where]} in row {where[0]}")
    return series


def _times(name: str, times: ArrayLike) -> Times:
    array = np.asarray(times)
    if array.dtype.kind != "M":
        raise DtypeError(f"{name}: expected timestamps in datetime64, got {array.dtype}")
    if array.ndim != 1:
        raise ShapeError(f"{name}: expected timestamps of shape (n,), got {array.shape}")
    missing = np.isnat(array)
    if missing.any():
        raise DataError(f"{name}: expected timestamps, got NaT in row {int(missing.argmax())}")
    return array


__all__ = [
    "AGGREGATES", "FILLS", "PERIODS", "Standardizer", "calendar_features", "check_times", "ett_split", "regularise",
    "windows",
]  # fmt: skip
