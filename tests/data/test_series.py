from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deepcore.data.dataset import ArrayDataset
from deepcore.data.series import Standardizer, calendar_features, check_times, ett_split, regularise, windows
from deepcore.errors import ArgumentError, CheckpointError, DataError, DtypeError, ShapeError

HOUR = np.timedelta64(1, "h")


def times(*texts: str, unit: str = "m") -> np.ndarray:
    return np.array(texts, f"datetime64[{unit}]")


# Windows


def test_windows_are_views_in_order() -> None:
    series = np.arange(10.0)
    x, y = windows(series, 3, 2)
    assert x.shape == (6, 3) and y.shape == (6, 2)
    assert x[0].tolist() == [0, 1, 2] and y[0].tolist() == [3, 4] and y[-1].tolist() == [8, 9]
    assert np.shares_memory(x, series) and np.shares_memory(y, series) and not x.flags.writeable
    x, y = windows(series, 3, 2, stride=2)
    assert x[:, 0].tolist() == [0, 2, 4] and y[:, 0].tolist() == [3, 5, 7]
    table = np.arange(24).reshape(8, 3)
    x, y = windows(table, 4, stride=3)
    assert x.shape == (2, 4, 3) and y.shape == (2, 1, 3) and np.shares_memory(x, table)
    np.testing.assert_array_equal(x[1], table[3:7])
    np.testing.assert_array_equal(y[1], table[7:8])
    assert windows(series, 8, 2)[0].shape == (1, 8)
    dataset = ArrayDataset(x, y)
    assert np.shares_memory(dataset.arrays[0], table) and dataset[np.array([1])][1].tolist() == [[[21, 22, 23]]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: windows(np.arange(4), 3, 2), DataError, r"at least 5 rows \(lookback 3 \+ horizon 2\), got 4"),
        (lambda: windows(np.arange(4), 0), ArgumentError, "got 0, 1 and 1"),
        (lambda: windows(np.arange(4), 1, 1, -1), ArgumentError, "stride >= 1"),
        (lambda: windows(3.0, 1), ShapeError, "got a number"),
    ],
)
def test_windows_refuse(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# Standardization


def test_standardizer_knows_the_training_part_only() -> None:
    table = np.array([[1.0, 10], [3, 30], [100, 7]])
    scaler = Standardizer(table[:2])
    np.testing.assert_array_equal(scaler.mean, [2, 20])
    np.testing.assert_array_equal(scaler.deviation, [1, 10])
    np.testing.assert_array_equal(scaler.transform(table), [[-1, -1], [1, 1], [98, -1.3]])
    np.testing.assert_array_equal(scaler.inverse(scaler.transform(table[None])), table[None])
    other = Standardizer([[0.0, 1], [2, 5]])
    other.load_state_dict(json.loads(json.dumps(scaler.state_dict())))
    np.testing.assert_array_equal(other.transform(table), scaler.transform(table))
    single = Standardizer([1, 3])
    assert single.transform([[5]]).tolist() == [[3.0]] and single.inverse(3) == 5
    for state in ({}, {"mean": [0, 1], "deviation": [1, 0]}, {"mean": 0, "deviation": 1}, {"mean": "x", "deviation": 1},
                  {"mean": [0, np.nan], "deviation": [1, 1]}):  # fmt: skip
        with pytest.raises(CheckpointError, match="expected"):
            scaler.load_state_dict(state)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Standardizer([[1.0, 4], [2, 4]]), DataError, "got 4.0 in all 2 rows of column 1"),
        (lambda: Standardizer([0.1, 0.1, 0.1]), DataError, "column 0"),
        (lambda: Standardizer([1.0, np.nan]), DataError, "got nan in row 1"),
        (lambda: Standardizer([]), DataError, "at least one row"),
        (lambda: Standardizer(["a"]), DtypeError, "expected numbers"),
        (lambda: Standardizer(np.zeros((2, 2, 2))), ShapeError, r"got \(2, 2, 2\)"),
        (
            lambda: Standardizer([[1.0, 4], [2, 5]]).transform([1.0]),
            ShapeError,
            r"expected values of shape \(\.\.\., 2\)",
        ),
    ],
)
def test_standardizer_refuses(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# Timestamps


def test_regular_times_pass() -> None:
    assert check_times(np.arange("2020-01-01", "2020-01-05", 15, "datetime64[m]")) == np.timedelta64(15, "m")
    assert check_times(np.arange("2019-11", "2020-05", dtype="datetime64[M]")) == np.timedelta64(1, "M")
    assert check_times(times("2020-01-01T00", "2020-01-01T01"), HOUR) == HOUR


DAY = "2020-01-01T"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["00", "01", "01", "02"], r"expected each timestamp once, got 2020-01-01T01:00 in row 2 .*regularise"),
        (["00", "02", "01"], r"expected rising timestamps, got 2020-01-01T01:00 in row 2 after the later .*regularise"),
        (["00", "01", "02", "05", "06", "09"], r"step of 60 minutes, got 180 minutes from 2020-01-01T02:00 to "
         r"2020-01-01T05:00 in row 3, one of 2 such places; regularise"),
        (["00", "NaT", "02"], "got NaT in row 1"),
        (["00"], "at least 2 timestamps"),
    ],
)  # fmt: skip
def test_irregular_times_name_the_row(texts: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_times(times(*(t if t == "NaT" else DAY + t for t in texts)))


def test_times_of_another_step_or_type() -> None:
    with pytest.raises(DataError, match=r"expected a step of 1 hours, got 120 minutes .*in row 1"):
        check_times(times(DAY + "00", DAY + "02"), HOUR)
    with pytest.raises(ArgumentError, match="both in months or years"):
        check_times(times(DAY + "00", DAY + "02"), np.timedelta64(1, "M"))
    with pytest.raises(DtypeError, match="got int64"):
        check_times([1, 2])
    with pytest.raises(ShapeError, match=r"got \(1, 1\)"):
        check_times(times(DAY + "00")[None])


def test_regularise_mends() -> None:
    own = times(DAY + "03:10", DAY + "00:50", DAY + "00:20", DAY + "05:00")
    values = np.array([[4.0, 1], [2, np.nan], [6, 9], [8, 5]])
    grid, mean = regularise(own, values, HOUR)
    assert grid.tolist() == np.arange("2020-01-01T00", "2020-01-01T06", dtype="datetime64[h]").tolist()
    assert check_times(grid) == HOUR
    np.testing.assert_allclose(mean[:, 0], [4, 4, 4, 4, 6, 8])
    np.testing.assert_allclose(mean[:, 1], [9, 19 / 3, 11 / 3, 1, 3, 5])
    for aggregate, first in {"sum": 8, "min": 2, "max": 6, "first": 6, "last": 2}.items():
        assert regularise(own, values[:, 0], HOUR, aggregate=aggregate)[1][0] == first
    assert regularise(own, values[:, 0], HOUR, fill="previous")[1].tolist() == [4, 4, 4, 4, 4, 8]
    assert str(regularise(own, values[:, 0], HOUR, fill="nan")[1].tolist()) == "[4.0, nan, nan, 4.0, nan, 8.0]"
    edge = np.array([np.nan, 1, 2, np.nan])
    assert regularise(times(*(f"{DAY}0{i}" for i in range(4))), edge, HOUR)[1].tolist() == [1, 1, 2, 2]
    assert regularise(times(*(f"{DAY}0{i}" for i in range(4))), edge, HOUR, fill="previous")[1].tolist() == [1, 1, 2, 2]


def test_regularise_places_steps() -> None:
    grid, values = regularise(times(DAY + "00:07", DAY + "00:31"), [1, 2], np.timedelta64(15, "m"))
    assert grid.astype(str).tolist() == [DAY + "00:00", DAY + "00:15", DAY + "00:30"] and values.tolist() == [1, 1.5, 2]
    grid, _ = regularise(times("1969-12-31T23:50", "1970-01-01T00:10"), [1, 2], HOUR)
    assert grid.astype(str).tolist() == ["1969-12-31T23", "1970-01-01T00"]
    grid, values = regularise(times("2020-01-31", "2020-03-01", unit="D"), [1, 3], np.timedelta64(1, "M"))
    assert grid.astype(str).tolist() == ["2020-01", "2020-02", "2020-03"] and values.tolist() == [1, 2, 3]
    grid, values = regularise(
        times("2020-01-06", "2020-01-12", "2020-01-13", unit="D"), [1, 3, 5], np.timedelta64(1, "W")
    )
    assert grid.astype(str).tolist() == ["2020-01-06", "2020-01-13"] and values.tolist() == [2, 5]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: regularise(times(DAY + "00"), [1], HOUR, aggregate="median"), ArgumentError, "got 'median'"),
        (lambda: regularise(times(DAY + "00"), [1], HOUR, fill="zero"), ArgumentError, "'zero'"),
        (lambda: regularise(times(DAY + "00"), [1], -HOUR), ArgumentError, "positive step"),
        (lambda: regularise(times(DAY + "00"), [1], np.timedelta64("NaT", "h")), ArgumentError, "positive step"),
        (lambda: regularise(times(DAY + "00"), [1], np.timedelta64(1)), ArgumentError, "positive step"),
        (lambda: regularise(times(DAY + "00"), [1], 3600), ArgumentError, "got 3600"),  # type: ignore[arg-type]
        (lambda: regularise(times("1970", "2020"), [1, 2], np.timedelta64(1, "s")), ArgumentError, "at most 134217728"),
        (lambda: regularise(times(DAY + "00"), [1, 2], HOUR), ShapeError, r"shape \(1, \.\.\.\), got \(2,\)"),
        (lambda: regularise(times(DAY + "00"), ["a"], HOUR), DtypeError, "expected numbers"),
        (lambda: regularise(times(DAY + "00"), [[1, np.nan]], HOUR), DataError, "column 1, got none in 1 rows"),
        (lambda: regularise(times("NaT"), [1], HOUR), DataError, "NaT in row 0"),
    ],
)
def test_regularise_refuses(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_calendar_features() -> None:
    f = calendar_features(times("2024-01-01T00:00", "2024-04-04T06:00", "2024-07-07T18:30"))  # Monday, Thursday, Sunday
    assert f.shape == (3, 6) and f.dtype == np.float32

    def circle(share: float) -> list[float]:
        return [np.sin(2 * np.pi * share), np.cos(2 * np.pi * share)]

    expected = [
        circle(0) + circle(0) + circle(0),
        circle(0.25) + circle(3 / 7) + circle(3 / 12),
        circle(18.5 / 24) + circle(6 / 7) + circle(6 / 12),
    ]
    np.testing.assert_allclose(f, expected, atol=1e-6)
    np.testing.assert_array_equal(calendar_features(times(DAY + "05"), ("month",)), [[0, 1]])
    before = times("1969-12-29T12:00")  # a Monday
    np.testing.assert_allclose(calendar_features(before, ("hour", "weekday")), [[0, -1, 0, 1]], atol=1e-6)
    for periods in ((), ("year",), "hour"):
        with pytest.raises(ArgumentError, match="expected periods among"):
            calendar_features(before, periods)


def test_ett_split() -> None:
    train, validation, test = ett_split(17420, 96)
    assert (train, validation, test) == (slice(0, 8640), slice(8544, 11520), slice(11424, 14400))
    assert ett_split(69680, per_hour=4)[2] == slice(46080, 57600)
    x, y = windows(np.arange(17420)[validation], 96, 24)
    assert y[0, 0] == 8640 and len(x) == 2880 - 24 + 1
    with pytest.raises(DataError, match="at least 14400 rows, got 14399"):
        ett_split(14399)
    with pytest.raises(ArgumentError, match="got 0 and -1"):
        ett_split(20000, -1, per_hour=0)
