"""Products of which an operand has many zeros: what zeros may not hide, and when they are left out."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import _C, nn, ops

M, K, N = 130, 301, 450  # the smallest products that are looked at have 2^24 multiply-adds


def operands(filled: float) -> Any:
    rng = np.random.default_rng(3)
    a = rng.standard_normal((M, K)) * (rng.random((M, K)) < filled)
    return a.astype("float32"), rng.standard_normal((K, N)).astype("float32")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("transposed", [False, True])
def test_zero_times_a_number_that_is_not_finite_is_nan(isa: str, bad: float, transposed: bool) -> None:
    a, b = operands(0.3)
    a[:, 47] = 0
    b[47, 5] = b[100, N - 1] = bad
    with np.errstate(invalid="ignore"):
        expected = a @ b
    y = ops.matmul(dc.tensor(a), ops.transpose(dc.tensor(np.ascontiguousarray(b.T))) if transposed else dc.tensor(b))
    assert np.isnan(expected[:, 5]).all()
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_nan_on_the_left_counts(isa: str) -> None:
    a, b = operands(0.3)
    a[7, 50] = np.nan
    y = ops.matmul(dc.tensor(a), dc.tensor(b)).numpy()
    assert np.isnan(y[7]).all()
    assert np.isfinite(np.delete(y, 7, 0)).all()


@pytest.mark.parametrize("filled", [0.0, 0.1, 0.4, 0.6, 0.65, 0.8, 1.0])
def test_any_share_of_zeros(isa: str, filled: float) -> None:
    a, b = operands(filled)
    y = ops.matmul(dc.tensor(a), dc.tensor(b)).numpy()
    np.testing.assert_allclose(y, a.astype("f8") @ b.astype("f8"), atol=5e-5)


def test_one_corner_full_and_the_rest_empty(isa: str) -> None:
    a, b = operands(1.0)
    a[:, 48:] = 0
    np.testing.assert_allclose(ops.matmul(dc.tensor(a), dc.tensor(b)).numpy(), a @ b, atol=5e-5)
    a, b = operands(1.0)
    a[30:] = 0
    y = ops.matmul(dc.tensor(a), dc.tensor(b)).numpy()
    np.testing.assert_allclose(y, a @ b, atol=5e-5)
    assert (y[30:] == 0).all()


def test_packed_weights_give_the_same(isa: str) -> None:
    a, b = operands(0.3)
    layer = nn.Linear(K, N, activation="relu", seed=1)
    layer.load_state_dict({"weight": b.T.copy(), "bias": b[0].copy()})
    x = dc.tensor(a)
    before = layer(x).numpy()
    layer.eval()
    with dc.no_grad():
        after = layer(x).numpy()
    np.testing.assert_array_equal(after, before)
    np.testing.assert_allclose(after, np.maximum(a @ b + b[0], 0), atol=5e-5)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("m", "n", "k"), [(256, 500, 340), (192, 260, 340), (333, 129, 520), (512, 35, 1000), (1024, 32, 520)]
)
def test_zeros_on_the_right(isa: str, transposed: bool, m: int, n: int, k: int) -> None:
    rng = np.random.default_rng(m)
    a = rng.standard_normal((m, k)).astype("float32")
    b = (rng.standard_normal((k, n)) * (rng.random((k, n)) < 0.3)).astype("float32")
    right = ops.transpose(dc.tensor(np.ascontiguousarray(b.T))) if transposed else dc.tensor(b)
    expected = a.astype("f8") @ b.astype("f8")
    np.testing.assert_allclose(ops.matmul(dc.tensor(a), right).numpy(), expected, atol=1e-4)
    left = ops.transpose(dc.tensor(np.ascontiguousarray(a.T)))
    np.testing.assert_allclose(ops.matmul(left, right).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_zeros_on_the_right_hide_nothing(isa: str, bad: float) -> None:
    b, a = operands(0.3)
    a, b = a.T.copy(), b.T.copy()
    b[47] = 0
    a[5, 47] = a[N - 1, 100] = bad
    with np.errstate(invalid="ignore"):
        expected = a @ b
    assert np.isnan(expected[5]).all()
    np.testing.assert_allclose(ops.matmul(dc.tensor(a), dc.tensor(b)).numpy(), expected, rtol=1e-4, atol=1e-4)
    b[50, 7] = np.nan
    y = ops.matmul(dc.tensor(np.nan_to_num(a, posinf=1, neginf=1)), dc.tensor(b)).numpy()
    assert np.isnan(y[:, 7]).all()
    assert np.isfinite(np.delete(y, 7, 1)).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_zeros_are_left_out(side: str) -> None:
    """Their product takes less than two thirds of the time, wherever the machine is busy enough to tell."""
    if "avx" not in _C.isa():
        pytest.skip("the plain build gains too little to measure")
    rng = np.random.default_rng(0)
    full = rng.standard_normal((256, 1024)).astype("float32")
    few = full * (rng.random(full.shape) < 0.2)
    b = dc.tensor(rng.standard_normal((1024, 512)).astype("float32"))
    if side == "right":
        full, few, b = full.T.copy(), few.T.copy(), dc.tensor(b.numpy().T.copy())
    times = {}
    for _ in range(9):
        for name, a in (("full", dc.tensor(full)), ("few", dc.tensor(few.astype("float32")))):
            start = time.perf_counter()
            for _ in range(3):
                if side == "left":
                    ops.matmul(a, b)
                else:
                    ops.matmul(b, a)
            times[name] = min(times.get(name, 1e9), time.perf_counter() - start)
    assert times["few"] < 0.75 * times["full"]
