"""Reads what tests/cuda/conformance.cu writes, and compares the files of two devices.

    python tools/conformance_arrays.py GPU EMULATED

All arrays must have the same bits, but for those of fast mathematics: they are held against float64 within the errors
that cuda/device/nvcc/math.cuh states.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
UNWRITTEN = 0xEE  # each byte of an element that no thread wrote


def read(path: str | Path) -> dict[str, Array]:
    """The arrays of a file by name."""
    data = Path(path).read_bytes()
    arrays: dict[str, Array] = {}
    at = 0
    while at < len(data):
        end = data.index(b"\n", at)
        name, kind, count = data[at:end].decode().rsplit(" ", 2)
        dtype = np.dtype("<" + kind)
        arrays[name] = np.frombuffer(data, dtype, int(count), end + 1)
        at = end + 1 + int(count) * dtype.itemsize
    return arrays


def _within(limit: Array, unit: str, actual: Array, exact: Array) -> str:
    """An empty text, or where `actual` is further than `limit` of float32 units in the last place from `exact`."""
    ulp = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    error = np.abs(actual.astype(np.float64) - exact) / ulp
    # half a unit for the rounding of the exact value
    wrong = ~(error <= limit + 0.5)
    if not wrong.any():
        return ""
    i = int(np.argmax(np.where(wrong, error, 0)))
    return f"{unit}: {wrong.sum()} beyond the stated error, worst {error[i]:.3g} ulp at element {i}"


def _exp_limit(x: Array) -> Array:
    return 2 + np.floor(np.abs(1.173 * x))


def check_mathematics(x32: Array, results: Array) -> list[str]:
    """What is further from float64 than stated."""
    x = x32.astype(np.float64)
    p = (np.abs(x32) + np.float32(0.125)).astype(np.float64)
    units = np.ones_like(x)
    exp, log, tanh, sigmoid, divide, rsqrt = results.reshape(6, -1)
    log_ulp = np.spacing(np.abs(np.log(p)).astype(np.float32)).astype(np.float64)
    near = (p >= 0.5) & (p <= 2)
    relative = 2.0**-11 * np.abs(np.tanh(x)) / np.spacing(np.abs(np.tanh(x)).astype(np.float32)).astype(np.float64)
    found = [
        _within(_exp_limit(x), "fast_exp", exp, np.exp(x)),
        _within(np.where(near, np.maximum(2**-21.41 / log_ulp, 3), 3), "fast_log", log, np.log(p)),
        _within(relative, "fast_tanh", tanh, np.tanh(x)),
        _within(np.where(x < 0, _exp_limit(x) + 4, 4), "fast_sigmoid", sigmoid, 1 / (1 + np.exp(-x))),
        _within(2 * units, "fast_divide", divide, x / p),
        _within(2 * units, "fast_rsqrt", rsqrt, 1 / np.sqrt(p)),
    ]
    return [text for text in found if text]


def _bits(a: Array) -> Array:
    return a.view(f"<u{a.dtype.itemsize}")


def problems_of(arrays: dict[str, Array]) -> list[str]:
    """What is wrong with one file on its own: elements that nobody wrote, mathematics beyond its errors."""
    problems = []
    for name, a in arrays.items():
        missing = _bits(a) == int.from_bytes(bytes([UNWRITTEN]) * a.dtype.itemsize, "little")
        if missing.any():
            problems.append(f"{name}: {missing.sum()} of {a.size} elements were never written")
    return problems + check_mathematics(arrays["math/x"], arrays["math/results"])


def compare(a: dict[str, Array], b: dict[str, Array], text: Callable[[Any], str] = repr) -> list[str]:
    """Arrays that are not the same, bit for bit."""
    problems = [f"{name}: in one file only" for name in sorted(a.keys() ^ b.keys())]
    for name in a.keys() & b.keys():
        if name == "math/results":
            continue
        x, y = a[name], b[name]
        if x.dtype != y.dtype or x.size != y.size:
            problems.append(f"{name}: {x.size} of {x.dtype}, {y.size} of {y.dtype}")
            continue
        different = np.flatnonzero(_bits(x) != _bits(y))
        if different.size:
            i = int(different[0])
            problems.append(f"{name}: {different.size} of {x.size} differ, first [{i}]: {text(x[i])}, {text(y[i])}")
    return sorted(problems)


def main() -> int:
    """Print what differs; 1 if anything does."""
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    a, b = read(sys.argv[1]), read(sys.argv[2])
    problems = problems_of(a) + problems_of(b) + compare(a, b)
    print("\n".join(problems) or f"{len(a)} arrays agree")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
