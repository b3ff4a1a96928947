"""Time series as they come and go: arrays, or Series and DataFrames of pandas, which need not be installed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deepcore.data import check_times
from deepcore.errors import DataError, DtypeError, ShapeError

Array = npt.NDArray[Any]


class Form(NamedTuple):
    """How a series came: 'array', 'Series' or 'DataFrame', whether flat (n,), and the names of columns and index."""

    kind: str
    flat: bool
    columns: list[Any]
    index_name: Any = None


class SeriesInput(NamedTuple):
    """values float64 (n, channels), timestamps (n,) or None, the step between them, and the form they came in."""

    values: Array
    times: Array | None
    step: np.timedelta64 | None
    form: Form


def read_series(owner: str, series: Any, times: Any = None, *, step: np.timedelta64 | None = None) -> SeriesInput:
    """A series (n,) or (n, channels) of finite numbers with its timestamps, those of the index where times is None.

    step: the distance of timestamps that is expected.

    Raises:
        DataError: a value is not finite, or timestamps are not at equal distances; row and remedy are named.
        ShapeError: another rank, or numbers of rows and timestamps differ.
        DtypeError: no numbers, or no datetime64.
    """
    pandas = hasattr(series, "to_numpy") and hasattr(series, "index")
    raw = series.to_numpy() if pandas else np.asarray(series)
    if raw.dtype.kind not in "iuf":
        raise DtypeError(f"{owner}: expected a series of numbers, got {raw.dtype}")
    if raw.ndim not in (1, 2) or raw.size == 0:
        raise ShapeError(f"{owner}: expected a series of shape (n,) or (n, channels), got {raw.shape}")
    values = raw.astype(np.float64, order="C").reshape(len(raw), -1)
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{owner}: expected finite numbers, got {values[row, column]} in row {row} of channel {column}, one of "
            f"{int(bad.sum())} such places; data.regularise(times, values, step) fills them"
        )
    form = Form("array", raw.ndim == 1, [])
    if pandas:
        flat = raw.ndim == 1
        columns = [getattr(series, "name", None)] if flat else list(series.columns)
        form = Form("Series" if flat else "DataFrame", flat, columns, series.index.name)
        if times is None:
            times = _times_of(series.index)
    if times is None:
        return SeriesInput(values, None, None, form)
    stamps = _times_of(times)
    if stamps is None:
        raise DtypeError(f"{owner}: expected timestamps in datetime64, got {np.asarray(times).dtype}")
    if len(stamps) != len(values):
        raise ShapeError(f"{owner}: expected {len(values)} timestamps, one for each row, got {len(stamps)}")
    if step is not None and np.datetime_data(step.dtype)[0] == "M":
        stamps = stamps.astype("datetime64[M]")
    try:
        step = check_times(stamps, step)
    except DataError as error:
        raise DataError(f"{owner}: {error}") from error
    return SeriesInput(values, stamps, step, form)


def following(times: Array, step: np.timedelta64, count: int) -> Array:
    """The `count` timestamps that come after the last one."""
    after: Array = times[-1] + step * np.arange(1, count + 1)
    return after


def write_series(values: Array, form: Form, times: Array | None, start: int) -> Any:
    """Forecasts (h, channels) in the form of the series that they follow; `start` numbers them without timestamps."""
    if form.kind == "array":
        return values[:, 0] if form.flat else values
    import pandas  # type: ignore[import-not-found,import-untyped,unused-ignore]

    if times is None:
        index = pandas.RangeIndex(start, start + len(values), name=form.index_name)
    else:
        index = pandas.DatetimeIndex(times.astype("datetime64[ns]"), name=form.index_name)
    if form.flat:
        return pandas.Series(values[:, 0], index=index, name=form.columns[0])
    return pandas.DataFrame(values, index=index, columns=form.columns)


def _times_of(index: Any) -> Array | None:
    """datetime64 (n,), in months where all stand at the beginning of one; None for an index without timestamps."""
    if hasattr(index, "to_timestamp"):  # periods
        index = index.to_timestamp()
    stamps = index.to_numpy() if hasattr(index, "to_numpy") else np.asarray(index)
    if stamps.dtype.kind != "M":
        return None
    months: Array = stamps.astype("datetime64[M]")
    unit = np.datetime_data(stamps.dtype)[0]
    calendar = unit in ("Y", "M") or (len(stamps) > 1 and not np.isnat(stamps).any() and (months == stamps).all())
    return months if calendar else stamps


__all__ = ["Form", "SeriesInput", "following", "read_series", "write_series"]
