"""A case is data: an operation, its inputs, its numpy reference. Value and gradient tests read the same list."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deepcore.tensor import Tensor, as_tensor
from deepcore.testing.tolerance import assert_close

Arrays = tuple[np.ndarray[Any, Any], ...]


@dataclass(frozen=True)
class Case:
    """One operation on one set of inputs.

    name: unique, 'op/what is special'. function: takes tensors in the order of `make`. reference: the same on numpy
    arrays, float64, plain loops or formulas, never deepcore. make(rng): the inputs; floats in float64, away from kinks
    when `gradient`. gradient: indices of inputs to differentiate (default: all float inputs; () for none).
    factor: tolerance in units of eps. magnitude: the reference on absolute values, for linear operations.
    order: highest derivative checked. reason: why `factor` is wider than usual.
    """

    name: str
    function: Callable[..., Any]
    reference: Callable[..., Any]
    make: Callable[[np.random.Generator], Arrays]
    gradient: tuple[int, ...] | None = None
    factor: float = 8.0
    magnitude: Callable[..., Any] | None = None
    order: int = 2
    views: bool = True
    reason: str = ""
    tags: tuple[str, ...] = field(default=())

    def inputs(self, dtype: str = "float64") -> Arrays:
        """The inputs of this case with floats in `dtype`; the same on every call."""
        rng = np.random.default_rng(abs(hash_name(self.name)))
        return tuple(
            np.asarray(a).astype(dtype) if np.asarray(a).dtype.kind == "f" else np.asarray(a) for a in self.make(rng)
        )

    def differentiable(self) -> tuple[int, ...]:
        """Indices of the inputs to differentiate."""
        if self.gradient is not None:
            return self.gradient
        return tuple(i for i, a in enumerate(self.inputs()) if a.dtype.kind == "f")

    def run(self, arrays: Arrays) -> tuple[np.ndarray[Any, Any], ...]:
        """The operation on numpy arrays; all outputs as numpy arrays."""
        return outputs(self.function(*[as_tensor(a) for a in arrays]))


def outputs(result: Any) -> tuple[np.ndarray[Any, Any], ...]:
    """A result (tensor or tuple of tensors) as a tuple of numpy arrays."""
    results = result if isinstance(result, (tuple, list)) else (result,)
    return tuple(np.array(r.numpy() if isinstance(r, Tensor) else r) for r in results)


def check_values(case: Case, arrays: Arrays, actual: Arrays, dtype: str) -> None:
    """AssertionError unless `actual`, results for `arrays` in `dtype`, agrees with the case's reference in float64."""
    wide = tuple(a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays)
    expected = case.reference(*wide)
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert len(actual) == len(expected)
    for a, e in zip(actual, map(np.asarray, expected), strict=True):
        magnitude = case.magnitude(*wide) if case.magnitude else None
        assert_close(a, e, dtype=dtype if e.dtype.kind == "f" else str(e.dtype), factor=case.factor,
                     magnitude=magnitude)  # fmt: skip


def hash_name(name: str) -> int:
    """A small stable number from a name (Python's own hash changes from run to run)."""
    value = 0
    for character in name.encode():
        value = (value * 131 + character) % (1 << 31)
    return value


def all_cases() -> list[Case]:
    """Every case of every family: the lists `CASES` of the modules in deepcore.testing.cases."""
    package = importlib.import_module("deepcore.testing.cases")
    found: list[Case] = []
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda i: i.name):
        found.extend(importlib.import_module(f"deepcore.testing.cases.{info.name}").CASES)
    names = [c.name for c in found]
    assert len(names) == len(set(names)), "case names must be unique"
    return found
