"""Random numbers on a device: the CPU's bit for bit, normal ones up to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import _C, ops, random

SIZES = [1, 2, 3, 7, 8, 130, 5001]
KEYS = [(0, 0, 0), (7, 3, 0), (2**64 - 1, 1 << 48, 2**64 - 3), (5, 2**63, 1 << 33)]


def same(make: Any) -> None:
    here, there = make("cpu"), make("cuda")
    assert there.device == "cuda:0" and there.dtype == here.dtype
    assert here.numpy().tobytes() == there.numpy().tobytes()


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("n", SIZES)
def test_same_bits(n: int, key: tuple[int, int, int]) -> None:
    same(lambda d: _C.random_bits(key, (n,), d))
    for dtype in ("float32", "float64"):
        same(lambda d, t=dtype: _C.random_uniform(key, (n,), -0.3, 1.7, t, d))
        same(lambda d, t=dtype: _C.random_bernoulli(key, (n,), 0.3, t, d))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", SIZES)
def test_same_choices(n: int, dtype: str) -> None:
    rng = np.random.default_rng(n)
    p, x = rng.uniform(size=n + 1).astype(dtype), rng.standard_normal(n + 1).astype(dtype)
    x[0] = np.nan
    for shift in (0, 1):  # aligned and not
        same(lambda d, s=shift: random.bernoulli(dc.tensor(p, device=d)[s:], seed=3))
        for rate in (0.25, 0.99999, 1.0):
            same(lambda d, s=shift, r=rate: ops.dropout(dc.tensor(x, device=d)[s:], r, (4, 5, 6)))


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("n", SIZES)
def test_normal(n: int, key: tuple[int, int, int]) -> None:
    for dtype, close in (("float32", 4e-6), ("float64", 1e-14)):
        here, there = (_C.random_normal(key, (n,), 1.0, 2.0, dtype, d).numpy() for d in ("cpu", "cuda"))
        np.testing.assert_allclose(there, here, rtol=close, atol=close)


def test_uniform_stays_below_its_end() -> None:
    """Rounding may reach `high` in a narrow range; it must not come out."""
    high = np.nextafter(np.float32(1), np.float32(2))
    same(lambda d: random.uniform(1000, 1.0, float(high), seed=1, device=d))
    assert (random.uniform(1000, 1.0, float(high), seed=1, device="cuda").numpy() < high).all()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 10, 257, 1000, 30011])
def test_permutation(n: int) -> None:
    for key in KEYS:
        same(lambda d, k=key: _C.random_permutation(k, n, d))


def test_many_small_permutations() -> None:
    """Every shape of the lists behind it."""
    for seed in range(60):
        same(lambda d, s=seed: _C.random_permutation((s, 1, 0), 6, d))
