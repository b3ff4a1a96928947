"""A case is data: an operation, its inputs, its numpy reference. Value and gradient tests read the same list."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deepcore.autograd import grad
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


def check_gradients_in_float32(case: Case, function: Callable[..., Any] | None = None) -> None:
    """AssertionError unless first derivatives in float32 agree with those in float64, which plain kernels compute.

    function: stands for the case's own in float32, as one that computes on a device. Errors are taken relative to the
    largest gradient of an input.
    """
    arrays = case.inputs("float32")
    found: list[list[np.ndarray[Any, Any]]] = []
    for dtype in ("float64", "float32"):
        call = case.function if function is None or dtype == "float64" else function
        inputs = [as_tensor(a.astype(dtype) if a.dtype.kind == "f" else a) for a in arrays]
        wanted = [inputs[i] for i in case.differentiable()]
        for x in wanted:
            x.requires_grad_()
        result = call(*inputs)
        results = [r for r in (result if isinstance(result, (tuple, list)) else (result,)) if r.requires_grad]
        rng = np.random.default_rng(hash_name(case.name))
        seeds = [as_tensor(rng.standard_normal(r.shape).astype(dtype)) for r in results]
        found.append([np.array(g.numpy()) for g in grad(results, wanted, seeds)])
    factor = max(case.factor, 64.0)
    for expected, actual in zip(*found, strict=True):
        largest = max(1.0, float(np.abs(expected).max(initial=0.0)))
        assert_close(actual, expected, dtype="float32", factor=factor, magnitude=np.full(expected.shape, largest))


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
