"""Random arguments for the fuzzer: values of each kind, good and odd, as functions of a generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from deepcore import _C
from deepcore.errors import Error
from deepcore.ops.rbm import KINDS, Hold, Units
from deepcore.ops.rnn import Norms, PackedRecurrent
from deepcore.tensor import DTYPES, Tensor

LARGEST = 9  # sizes of axes are drawn from 0..LARGEST

Rng = np.random.Generator


def draw_int(rng: Rng) -> int:
    """Mostly -3 to 9, now and then an extreme."""
    # Sizes near 2^31 would ask for gigabytes; those near 2^62 cannot be had and must be refused.
    extremes = (2**62, 2**63 - 1, -(2**63), 2**63, 2**64, 2**40, -(2**31), 1000)
    return int(rng.integers(-3, LARGEST + 1)) if rng.random() < 0.9 else extremes[rng.integers(len(extremes))]


def draw_float(rng: Rng) -> float:
    """A normal number, or a special one."""
    special = (0.0, -0.0, 1.0, 0.5, -1.0, 2.0, 1e-30, 1e30, np.inf, -np.inf, np.nan)
    return float(rng.normal()) if rng.random() < 0.4 else special[rng.integers(len(special))]


def _ints(rng: Rng) -> tuple[int, ...]:
    return tuple(draw_int(rng) for _ in range(rng.integers(0, 6)))


def draw_shape(rng: Rng) -> tuple[int, ...]:
    """Up to nine axes, of size 0 to 9 where there are few."""
    rank = rng.choice([0, 1, 2, 3, 4, 5, 8, 9], p=_RANKS)
    return tuple(int(n) for n in rng.integers(0, (LARGEST if rank < 5 else 3) + 1, rank))


_RANKS = (0.08, 0.2, 0.25, 0.17, 0.22, 0.06, 0.01, 0.01)


def _values(rng: Rng, shape: Sequence[int], dtype: str) -> np.ndarray[Any, Any]:
    a: np.ndarray[Any, Any]
    if dtype == "bool":
        a = np.asarray(rng.random(shape) < 0.5)
        return a
    if dtype.startswith("float"):
        a = np.asarray(rng.normal(0, 2, shape), dtype)
        if a.size and rng.random() < 0.15:
            a.reshape(-1)[rng.integers(a.size)] = (np.nan, np.inf, -np.inf, 3e38, 0.0)[rng.integers(5)]
        return a
    low, high = (0, LARGEST) if dtype == "uint8" or rng.random() < 0.6 else (-LARGEST, LARGEST)
    a = np.asarray(rng.integers(low, high + 1, shape), dtype)
    if a.size and rng.random() < 0.1:
        a.reshape(-1)[rng.integers(a.size)] = np.iinfo(dtype).max if rng.random() < 0.5 else np.iinfo(dtype).min
    return a


def draw_ndarray(rng: Rng, shape: Sequence[int] | None = None, dtype: str | None = None) -> np.ndarray[Any, Any]:
    """A numpy array in one of many layouts: spaced, reversed, transposed, stretched, unaligned, read-only."""
    dtype = dtype or DTYPES[rng.choice(6, p=(0.55, 0.15, 0.08, 0.12, 0.05, 0.05))]
    shape = draw_shape(rng) if shape is None else tuple(shape)
    layout = rng.integers(10) if rng.random() < 0.5 else 9
    if not shape or layout == 9:
        return _values(rng, shape, dtype)
    axis = int(rng.integers(len(shape)))
    if layout == 0:
        return np.transpose(_values(rng, shape[::-1], dtype))
    if layout in (1, 2):
        wide = _values(rng, (*shape[:axis], shape[axis] * 2 + 1, *shape[axis + 1 :]), dtype)
        spaced: np.ndarray[Any, Any] = wide[(slice(None),) * axis + (slice(1, None, 2),)]
        return spaced
    if layout in (3, 4):
        return np.flip(_values(rng, shape, dtype), axis)
    if layout == 5:
        return np.broadcast_to(_values(rng, (*shape[:axis], 1, *shape[axis + 1 :]), dtype), shape)
    if layout == 6:
        a = _values(rng, shape, dtype)
        a.flags.writeable = False
        return a
    if layout == 7:
        raw = np.zeros(int(np.prod(shape)) * np.dtype(dtype).itemsize + 1, np.uint8)
        a = raw[1:].view(dtype).reshape(shape)
        a[...] = _values(rng, shape, dtype)
        return a
    return np.moveaxis(_values(rng, (*shape[:axis], *shape[axis + 1 :], shape[axis]), dtype), -1, axis)


def _foreign(rng: Rng) -> np.ndarray[Any, Any]:
    """A numpy array, also of types that deepcore does not have."""
    if rng.random() < 0.6:
        return draw_ndarray(rng)
    types = ("float16", "complex64", "object", "S3", "U2", ">f4", ">i8", "int8", "uint32", "datetime64[s]", "i4,f8")
    return np.zeros(draw_shape(rng), types[rng.integers(len(types))])


def _key(rng: Rng) -> Any:
    """An index as in x[...]."""

    def part() -> Any:
        kind = rng.integers(8)
        if kind < 3:
            return draw_int(rng)
        if kind < 6:
            return slice(*(None if rng.random() < 0.4 else draw_int(rng) for _ in range(3)))
        return (None, Ellipsis, draw_ndarray(rng, dtype="int64"), draw_ndarray(rng, dtype="bool"), 1.5)[rng.integers(5)]

    return part() if rng.random() < 0.4 else tuple(part() for _ in range(rng.integers(0, 5)))


_TEXTS = ("mean", "sum", "none", "relu", "tanh", "same", "valid", "nearest", "bilinear", "zeros", "border", "cpu",
          "cuda", "", "x" * 300)  # fmt: skip


def draw(rng: Rng, kind: str, shape: Sequence[int]) -> Any:
    """A random value of a kind; arrays mostly have `shape`, or one that broadcasts with it."""
    if kind == "tensor":
        return Tensor(draw(rng, "array", shape))
    if kind == "array":
        own = shape
        if rng.random() < 0.35:
            own = draw_shape(rng) if rng.random() < 0.3 else tuple(1 if rng.random() < 0.3 else n for n in shape)
        try:
            return _C.from_numpy(draw_ndarray(rng, own))
        except Error:  # more axes than deepcore has
            return _C.from_numpy(draw_ndarray(rng, own[:2]))
    if kind.endswith("?"):
        return None if rng.random() < 0.4 else draw(rng, kind[:-1], shape)
    if kind.startswith("list "):
        return [draw(rng, kind[5:], shape) for _ in range(rng.integers(0, 4))]
    if kind == "options":
        window, stride, padding, spread = (
            tuple(int(n) for n in rng.integers(low, 4, k)) if rng.random() < 0.9 else _ints(rng)
            for low, k in ((1, 2), (1, 2), (0, 4), (1, 2))
        )
        return _C.PoolOptions(window, stride, padding, spread, ())
    if kind == "hold":
        return Hold(*(draw(rng, "tensor?", shape) for _ in range(3)))
    if kind == "three tensors":
        return tuple(draw(rng, "tensor", shape) for _ in range(3))
    if kind == "norms":
        return Norms(*(tuple(draw(rng, "tensor", shape[-1:]) for _ in range(2)) for _ in range(3)))
    if kind == "zoneout":
        return tuple(draw(rng, "tensor", shape) if rng.random() < 0.5 else draw_float(rng) for _ in range(2))
    if kind[0].isdigit():
        count, each = kind.split(maxsplit=1)
        return tuple(draw(rng, each, shape) for _ in range(int(count)))
    if kind == "lengths":
        return draw(rng, "tensor", shape[1:2]) if rng.random() < 0.3 else _ints(rng)
    if kind == "step":
        return _C.StepOptions(draw_float(rng), draw_float(rng), draw_float(rng), draw_float(rng))
    return _SIMPLE[kind](rng)


def _units(rng: Rng) -> Units:
    kinds = (*KINDS, "cosine", "")
    visible, hidden = (kinds[rng.integers(4 if rng.random() < 0.95 else 6)] for _ in range(2))
    return Units(visible, hidden, draw_int(rng), draw_int(rng), bool(rng.random() < 0.2),
                 draw_int(rng) if rng.random() < 0.3 else 0)  # fmt: skip


def _unit_codes(rng: Rng) -> tuple[int, int, int, int, int, bool]:
    visible, hidden = (int(rng.integers(0, 4)) if rng.random() < 0.95 else draw_int(rng) for _ in range(2))
    choice = draw_int(rng) if rng.random() < 0.3 else 0
    return visible, draw_int(rng), hidden, draw_int(rng), choice, bool(rng.random() < 0.2)


def _cell_codes(rng: Rng) -> tuple[int, int, tuple[float, float, float], bool, tuple[float, float]]:
    cell, gate = (int(rng.integers(n)) if rng.random() < 0.95 else draw_int(rng) for n in (8, 3))
    slopes, shares = (draw_float(rng), draw_float(rng), draw_float(rng)), (draw_float(rng), draw_float(rng))
    return cell, gate, slopes, bool(rng.integers(2)), shares


def _dtype(rng: Rng) -> Any:
    unusual = ("float16", "complex64", "U3", "nothing", None, 7)
    return DTYPES[rng.integers(6)] if rng.random() < 0.85 else unusual[rng.integers(len(unusual))]


_SIMPLE: dict[str, Callable[[Rng], Any]] = {
    "int": draw_int,
    "float": draw_float,
    "bool": lambda rng: bool(rng.integers(2)),
    "device": lambda rng: "cpu" if rng.random() < 0.9 else ("cuda", "cuda:1", "tpu", "")[rng.integers(4)],
    "str": lambda rng: _TEXTS[rng.integers(len(_TEXTS))],
    "ints": _ints,
    "int or ints": lambda rng: draw_int(rng) if rng.random() < 0.5 else _ints(rng),
    "pairs": lambda rng: [(draw_int(rng), draw_int(rng)) for _ in range(rng.integers(0, 5))],
    "dtype": _dtype,
    "seed": lambda rng: (int(rng.integers(9)), int(rng.integers(9)), 0),
    "ndarray": _foreign,
    "index": _key,
    "units": _units,
    "unit codes": _unit_codes,
    "cell codes": _cell_codes,
    "packed": lambda rng: PackedRecurrent(),
    "floats": lambda rng: (
        sorted(rng.random(rng.integers(0, 5)).tolist())
        if rng.random() < 0.7
        else [draw_float(rng) for _ in range(rng.integers(0, 5))]
    ),
    "object": lambda rng: (None, 3, "text", _foreign(rng), Tensor(_C.from_numpy(draw_ndarray(rng, (2, 3)))))[
        rng.integers(5)
    ],
}
