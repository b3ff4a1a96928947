"""Figures that whole systems must reach on real data: `python -m bench accept NAME --data DIR`.

A figure is a function in a module of this folder:

    @figure("mlp-mnist", metric="test error", target=0.013, better="low", seconds=300)
    def mlp_mnist(context: Context) -> Result:
        x, y = ...                       # read from context.data
        with context.timer:              # training, and nothing else
            model.fit(x, y)
        return error, {"epochs": 12}     # the value, and whatever else is worth knowing

What a figure demands beside its value stands in also["demands"], a dict of name -> bool: `ok` needs all of them.

One JSON object is the last line on stdout: name, metric, value, target, ok, seconds (inside the timer), seed, device,
threads, also. Exit code 0 when ok, 1 when the target is missed, 2 when the figure could not be measured.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import pkgutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import deepcore
from deepcore.errors import ArgumentError, DataError, DeviceError, Error

Result = tuple[float, dict[str, Any]]


class Timer:
    """Adds up the seconds spent inside `with` blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.used = False
        self._start: float | None = None

    def __enter__(self) -> Timer:
        if self._start is not None:
            raise RuntimeError("timer: it runs already")
        self.used = True
        self._start = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._start is not None
        self.seconds += time.monotonic() - self._start
        self._start = None


@dataclass
class Context:
    """What a figure gets: where the data lies, seed, device, and the timer of the training."""

    data: Path
    seed: int
    device: str
    timer: Timer = field(default_factory=Timer)

    def progress(self, text: str) -> None:
        """A line for whoever watches, on stderr."""
        print(text, file=sys.stderr, flush=True)

    def folder(self, name: str) -> Path:
        """The folder of a data set. DataError when it is missing."""
        path = self.data / name
        if not path.is_dir():
            raise DataError(f"accept: expected the data set {name} in {self.data}, there is no such folder")
        return path


@dataclass(frozen=True)
class Figure:
    """A name, what is measured, and what it must be."""

    name: str
    metric: str
    target: float
    better: str  # 'low' or 'high'
    measure: Callable[[Context], Result]
    seconds: float = math.inf  # limit on the training time

    def reached(self, value: float, seconds: float) -> bool:
        """Whether the value is at least as good as the target, in time; NaN never is."""
        return seconds <= self.seconds and (value <= self.target if self.better == "low" else value >= self.target)


FIGURES: dict[str, Figure] = {}


def figure(
    name: str, *, metric: str, target: float, better: str, seconds: float = math.inf
) -> Callable[[Callable[[Context], Result]], Callable[[Context], Result]]:
    """Register a function as the figure `name`."""
    if better not in ("low", "high"):
        raise ArgumentError(f"figure {name}: expected better 'low' or 'high', got {better!r}")

    def register(function: Callable[[Context], Result]) -> Callable[[Context], Result]:
        if name in FIGURES:
            raise ArgumentError(f"figure {name}: there is one of that name already")
        FIGURES[name] = Figure(name, metric, target, better, function, seconds)
        return function

    return register


def load() -> dict[str, Figure]:
    """All figures of all modules of this folder."""
    for info in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{info.name}")
    return FIGURES


def check_device(device: str) -> None:
    """DeviceError unless this build and machine have the device."""
    if device == "cuda" and not deepcore.cuda.is_available():
        raise DeviceError(f"accept: --device cuda: {deepcore.cuda.reason()}")


def measure(chosen: Figure, context: Context) -> dict[str, Any]:
    """The figure's JSON object."""
    value, also = chosen.measure(context)
    value = float(value)
    if not context.timer.used:
        raise RuntimeError(f"figure {chosen.name}: the training did not run inside context.timer")
    return {
        "name": chosen.name, "metric": chosen.metric, "value": value if math.isfinite(value) else None,
        "target": chosen.target,
        "ok": chosen.reached(value, context.timer.seconds) and all(also.get("demands", {}).values()),
        "seconds": round(context.timer.seconds, 3),
        "seed": context.seed, "device": context.device, "threads": deepcore.get_num_threads(), "also": also,
    }  # fmt: skip


def main(argv: list[str], program: str = "python -m bench accept") -> int:
    """Measure one figure, or list them."""
    parser = argparse.ArgumentParser(
        prog=program, description="Train on real data and compare what is reached with its target.",
        epilog=f"example: {program} cnn-mnist --data ../shared/data --seed 1",
    )  # fmt: skip
    parser.add_argument("name", nargs="?", help="figure, as in --list")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder that holds mnist/, fashion_mnist/, ...")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--list", action="store_true", help="list the figures with their targets")
    options = parser.parse_args(argv)
    figures = load()
    if options.list:
        for f in figures.values():
            print(f"{f.name:24} {f.metric} {'<=' if f.better == 'low' else '>='} {f.target:g}")
        return 0
    try:
        if options.name not in figures:
            raise ArgumentError(f"accept: expected one of {', '.join(figures) or 'no figures yet'}, got {options.name}")
        if options.data is None or not options.data.is_dir():
            raise ArgumentError(f"accept: expected --data DIR, a folder of data sets, got {options.data}")
        check_device(options.device)
        result = measure(figures[options.name], Context(options.data, options.seed, options.device))
    except (Error, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(result), flush=True)
    return 0 if result["ok"] else 1
