"""What a benchmark is: arrays, a numpy reference, one function per library, the work it has to do."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Array = Any  # numpy array
LIBRARIES = ("deepcore", "numpy", "torch", "jax", "onnxruntime", "sklearn")


class Built(NamedTuple):
    """A case made ready for one library."""

    step: Callable[[], Any]  # one call of what is measured, finished when it returns
    numpy: Callable[[Any], tuple[Array, ...]]  # its result as numpy arrays in deepcore's layout


class Target(NamedTuple):
    """What a case must reach: a kind of 'peer' (ratio to the best peer), 'peak' (share of the ceiling), 'seconds'."""

    kind: str
    value: float

    def text(self) -> str:
        """As shown in the table."""
        if self.kind == "peer":
            return f">= {self.value:g}x"
        return f">= {self.value:.0%} peak" if self.kind == "peak" else f"<= {self.value * 1e6:g} us"


Builder = Callable[[Sequence[Array]], Built]


@dataclass(frozen=True)
class Case:
    """One row of the table.

    arrays(rng) gives the operands as float32 (or integer) numpy arrays; reference(*operands) the expected results, in
    the precision of its operands. `builders` has one entry per library that can do it. flops and bytes are what the
    work needs at least: their times at this machine's ceilings bound it from below. `calls` calls are compared with
    the reference (more than one for steps that change state; the reference then returns the results of all).
    """

    family: str
    name: str
    arrays: Callable[[np.random.Generator], Sequence[Array]]
    reference: Callable[..., tuple[Array, ...]]
    builders: Mapping[str, Builder]
    flops: float = 0.0
    bytes: float = 0.0
    tolerance: float = 2e-5
    calls: int = 1
    target: Target | None = None
    numpy_counts: bool = False  # numpy is a peer: products are its work, too
    random: bool = False  # results are random: `reference` gets the results and raises AssertionError instead

    @property
    def key(self) -> str:
        """Unique name."""
        return f"{self.family}/{self.name}"


def families() -> dict[str, list[Case]]:
    """Every family with its cases, in the order of the table."""
    package = importlib.import_module("deepcore.bench.families")
    names: Sequence[str] = package.ORDER
    present = {info.name for info in pkgutil.iter_modules(package.__path__)}
    assert present == set(names), f"families.ORDER must name each module once: {present ^ set(names)}"
    return {name: list(importlib.import_module(f"deepcore.bench.families.{name}").CASES) for name in names}


def difference(case: Case, actual: Sequence[Array], expected: Sequence[Array]) -> str | None:
    """None when `actual` agrees with `expected`, else what differs. Scale: the largest value of each array."""
    if len(actual) != len(expected):
        return f"expected {len(expected)} arrays, got {len(actual)}"
    for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        if a.shape != e.shape:
            return f"array {i}: expected shape {e.shape}, got {a.shape}"
        if a.size == 0:
            continue
        scale = max(float(np.abs(e).max()), 1e-6)
        error = float(np.abs(a - e).max()) / scale
        if not error <= case.tolerance:
            return f"array {i} of shape {e.shape}: error {error:.2g} of the largest value, allowed {case.tolerance:.2g}"
    return None
