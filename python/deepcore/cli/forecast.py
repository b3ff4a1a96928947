"""deepcore forecast."""

from __future__ import annotations

import argparse
import csv
import io
import json
import time
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deepcore.cli.commands import actions_of, add_run_options, check_files, write_text
from deepcore.errors import ArgumentError, DataError

Array = npt.NDArray[Any]


class Series(NamedTuple):
    """values (n, channels), their names, timestamps (n,) or None, and the name of their column."""

    values: Array
    names: list[str]
    times: Array | None
    clock: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two commands: train, predict."""
    add = actions_of(parser)
    train = add("train", "Learn to continue the columns of a CSV file, its rows at equal distances in time.",
                "deepcore forecast train load.csv --time date --horizon 24 --output load.safetensors")  # fmt: skip
    train.add_argument("file", help="a .csv or .csv.gz with a line of names")
    _columns(train)
    train.add_argument("--lookback", type=int, default=96, metavar="STEPS", help="seen (default: %(default)s)")
    train.add_argument("--horizon", type=int, default=24, metavar="STEPS", help="foretold (default: %(default)s)")
    train.add_argument("--strategy", choices=("direct", "recursive", "segment"), default="direct",
                       help="default: %(default)s")  # fmt: skip
    train.add_argument("--segment", type=int, default=24, metavar="STEPS",
                       help="of a segment, with --strategy segment (default: %(default)s)")  # fmt: skip
    train.add_argument("--channels", choices=("independent", "joint"), default="independent",
                       help="default: %(default)s")  # fmt: skip
    train.add_argument("--normalisation", choices=("last", "reversible", "standard", "none"), default="last",
                       help="default: %(default)s")  # fmt: skip
    train.add_argument("--calendar", nargs="+", metavar="PERIOD", help="hour, weekday, ...: what the net sees of time")
    train.add_argument("--loss", choices=("mse", "mae", "huber", "quantile"), default="mse",
                       help="default: %(default)s")  # fmt: skip
    train.add_argument("--cell", default="gru", help="gru, lstm, ... (default: %(default)s)")
    train.add_argument("--units", type=int, default=64, help="size of each recurrent layer (default: %(default)s)")
    train.add_argument("--layers", type=int, default=1, help="default: %(default)s")
    train.add_argument("--dropout", type=float, default=0.0, help="probability (default: %(default)s)")
    train.add_argument("--epochs", type=int, default=50, help="at most (default: %(default)s)")
    train.add_argument("--patience", type=int, default=5, help="epochs without improvement (default: %(default)s)")
    train.add_argument("--batch-size", type=int, default=64, help="windows (default: %(default)s)")
    train.add_argument("--lr", type=float, default=1e-3, help="learning rate (default: %(default)s)")
    train.add_argument("--validation", type=float, default=0.2, metavar="SHARE",
                       help="of rows at the end, for stopping and intervals (default: %(default)s)")  # fmt: skip
    train.add_argument("--season", type=int, metavar="STEPS", help="for the report: steps of a season")
    add_run_options(train, output="forecast.safetensors", report="the rows held out")
    train.set_defaults(run=run_train)

    predict = add("predict", "Continue the columns of a CSV file; writes CSV.",
                  "deepcore forecast predict load.safetensors load.csv --time date --coverage 0.8")  # fmt: skip
    predict.add_argument("model", help="file written by deepcore forecast train")
    predict.add_argument("file", help="the history: the columns that the model was trained on")
    _columns(predict)
    predict.add_argument("--horizon", type=int, metavar="STEPS", help="default: as trained")
    predict.add_argument("--coverage", type=float, metavar="SHARE",
                         help="add columns with the bounds of intervals that hold this share")  # fmt: skip
    predict.add_argument("--device", help="auto, cpu or cuda (default: as trained)")
    predict.add_argument("--output", metavar="FILE", help="write there, not to standard output")
    predict.set_defaults(run=run_predict)


def _columns(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--time", metavar="COLUMN", help="timestamps, as 2024-01-31 or 2024-01-31 23:00")
    parser.add_argument("--columns", nargs="+", metavar="COLUMN", help="what to foretell (default: all but --time)")


def read_series(path: str, clock: str | None, columns: list[str] | None) -> Series:
    """The numbers and timestamps of a table. DataError for timestamps that are none."""
    from deepcore import data

    table = data.read_csv(path, clock, True, columns=columns, text_target=True)
    times: Array | None = None
    if clock is not None:
        try:
            times = np.asarray(table.y).astype("datetime64")
        except ValueError as error:
            raise DataError(f"{path}: expected timestamps in column {clock!r}, got {error}") from error
    return Series(table.x, table.columns, times, clock or "step")


def run_train(options: argparse.Namespace) -> int:
    """Train, save; prints errors of the rows held out, in standardised values."""
    from deepcore.estimators import Forecaster

    check_files("forecast train", options.resume, options.checkpoint, options.output, options.report)
    if options.report and options.validation == 0:
        raise ArgumentError("forecast train: --report needs --validation > 0")
    if options.season is not None and not options.report:
        raise ArgumentError("forecast train: --season goes with --report")
    series = read_series(options.file, options.time, options.columns)
    estimator = Forecaster(
        options.lookback, options.horizon, strategy=options.strategy, segment=options.segment,
        channels=options.channels, normalisation=None if options.normalisation == "none" else options.normalisation,
        calendar=options.calendar, loss=options.loss, cell=options.cell, hidden=options.units, layers=options.layers,
        dropout=options.dropout, epochs=options.epochs, patience=options.patience, batch_size=options.batch_size,
        learning_rate=options.lr, validation_fraction=options.validation, early_stopping=options.validation > 0,
        max_seconds=options.max_seconds, random_state=options.seed, verbose=not options.quiet, device=options.device,
    )  # fmt: skip
    started = time.perf_counter()
    estimator.fit(series.values, series.times, checkpoint=options.checkpoint, resume=options.resume)
    seconds = time.perf_counter() - started
    estimator.save(options.output)
    last = estimator.history_[-1]
    result = {"rows": len(series.values), "columns": series.names, "seconds": seconds, "output": options.output,
              "last": last}  # fmt: skip
    if options.report:
        estimator.report(options.report, season=options.season)
        result["report"] = options.report
    if options.json:
        print(json.dumps(result))
        return 0
    print(f"{len(series.values):,} rows of {', '.join(series.names)} in {seconds:.1f} s -> {options.output}")
    if "val_loss" in last:
        best = min(r["val_loss"] for r in estimator.history_)
        print(f"best {options.loss} of the rows held out, standardised: {best:.4g}")
    if options.report:
        print(f"report -> {options.report}")
    return 0


def run_predict(options: argparse.Namespace) -> int:
    """A line for each step: its timestamp or number, the columns, and bounds after each with --coverage."""
    from deepcore.estimators import Forecaster
    from deepcore.estimators.frames import following

    estimator = Forecaster.load(options.model, device=options.device)
    series = read_series(options.file, options.time, options.columns)
    values = estimator.predict(series.values, series.times, options.horizon)
    parts, names = [values], [""]
    if options.coverage is not None:
        low, high = estimator.predict_interval(
            series.values, series.times, options.horizon, coverage=options.coverage
        )  # fmt: skip
        parts, names = [values, low, high], ["", "_low", "_high"]
    if series.times is None:
        steps = [str(len(series.values) + i) for i in range(len(values))]
    else:
        from deepcore.data import check_times

        steps = [str(t) for t in following(series.times, check_times(series.times), len(values))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([series.clock, *(f"{column}{end}" for column in series.names for end in names)])
    for i, step in enumerate(steps):
        writer.writerow([step, *(f"{part[i, k]:.8g}" for k in range(len(series.names)) for part in parts)])
    write_text(options.output, out.getvalue())
    return 0
