"""What is special about elementwise operations: ends of the number line, sizes that are shared out among threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import ops
from deepcore.testing.cases.elementwise import BINARY, COMPARE, STEPWISE, UNARY

SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42, -1e-42, 1e-30, -1e-30, 1e30, -1e30, 50.0, -50.0, 120.0,
                    -120.0, 3.4e38, -3.4e38])  # fmt: skip
# Functions of the inputs at which numpy's formula in the cases is inf / inf or inf * 0, though there is a limit.
LIMITS: dict[str, dict[float, float]] = {"gelu": {-np.inf: 0.0}, "silu": {-np.inf: 0.0}}
FUNCTIONS: dict[str, tuple[Any, Any]] = {k: v[:2] for k, v in UNARY.items()} | STEPWISE


@pytest.mark.parametrize("name", FUNCTIONS)
def test_ends_of_the_number_line(name: str, isa: str) -> None:
    function, reference = FUNCTIONS[name]
    x = SPECIAL.astype("float32")
    with np.errstate(all="ignore"):
        expected = np.asarray(reference(x.astype("float64")), dtype="float64")
        narrow = expected.astype("float32")
    y = function(dc.tensor(np.tile(x, 5))).numpy().reshape(5, -1)
    for row in y:
        for at, want, got in zip(x, narrow, row, strict=True):
            limit = LIMITS.get(name, {}).get(float(at))
            if limit is not None:
                assert got == limit or np.isnan(got), f"{name}({at}): expected {limit} or NaN, got {got}"
            elif not np.isfinite(want):
                np.testing.assert_array_equal(got, want, err_msg=f"{name}({at})")
            else:
                assert abs(got - want) <= 4e-7 * max(abs(want), 1.0), f"{name}({at}): expected {want}, got {got}"


@pytest.mark.parametrize("name", [*FUNCTIONS, *BINARY, *COMPARE])
def test_large_arrays(name: str, isa: str) -> None:
    """Shared out among threads, with a tail: the values of the reference, and the same bits for any threads."""
    rng = np.random.default_rng(0)
    shape = (3, 41_003)
    function, reference = {**FUNCTIONS, **BINARY, **COMPARE}[name]
    arrays = [rng.uniform(0.1, 3.0, shape).astype("float32") for _ in range(2 if name in {**BINARY, **COMPARE} else 1)]
    before, found = dc.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            dc.set_num_threads(threads)
            found.append(function(*map(dc.tensor, arrays)).numpy())
    finally:
        dc.set_num_threads(before)
    expected = reference(*(a.astype("float64") for a in arrays))
    np.testing.assert_allclose(found[0], expected, rtol=2e-6, atol=2e-6)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_large_gradients_have_the_same_bits_for_any_threads(isa: str) -> None:
    x = np.random.default_rng(1).uniform(-3, 3, 130_001).astype("float32")
    before = dc.get_num_threads()
    try:
        for name in ("relu", "tanh", "gelu", "silu", "elu", "leaky_relu", "softsign", "sigmoid"):
            found = []
            for threads in (1, 2, 3):
                dc.set_num_threads(threads)
                t = dc.tensor(x, requires_grad=True)
                found.append(dc.grad(ops.sum(UNARY[name][0](t)), t).numpy())
            np.testing.assert_array_equal(found[0], found[1])
            np.testing.assert_array_equal(found[0], found[2])
    finally:
        dc.set_num_threads(before)
