"""Normalisation on a device against the CPU: gradients of large inputs, running statistics, rows beyond registers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import _C, ops

Values = np.ndarray[Any, Any]
EPSILON = 1e-3


def close(actual: Any, expected: Any, scale: float = 1.0) -> None:
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        assert (a is None) == (e is None)
        if a is None:
            continue
        assert a.device == "cuda:0"
        a, e = a.numpy(), e.numpy()
        eps = 2e-6 if e.dtype == np.float32 else 1e-13
        np.testing.assert_allclose(a, e, rtol=eps * scale, atol=eps * scale * max(1.0, float(np.abs(e).max(initial=0))))


def on(device: str, *arrays: Values | None) -> list[Any]:
    return [None if a is None else dc.tensor(a, device=device).array for a in arrays]


SLABS = [(6, 3), (2, 3, 4, 5), (3, 40, 7, 33), (5000, 16), (700, 130), (300, 9, 260), (2, 1, 1, 1)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", SLABS, ids=str)
def test_batch_norm(shape: tuple[int, ...], affine: bool, relu: bool, dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, g = ((rng.standard_normal(shape) + 3).astype(dtype) for _ in range(2))
    gamma, beta, running_mean = (rng.standard_normal(shape[-1]).astype(dtype) for _ in range(3))
    running_var = rng.uniform(1, 2, shape[-1]).astype(dtype)
    results = []
    for device in ("cpu", "cuda"):
        xs, gs, gammas, betas = on(device, x, g, gamma if affine else None, beta if affine else None)
        running = on(device, running_mean, running_var)
        y, mean, rstd = _C.batch_norm(xs, gammas, betas, running[0], running[1], 0.25, EPSILON, relu)
        gradients: list[Any] = []
        for need_x, need_affine in ((True, True), (True, False), (False, True)):
            gradients += _C.slab_norm_grad(xs, gs, mean, rstd, gammas, betas, False, relu, need_x, need_affine)
        results.append([y, mean, rstd, *running, *gradients])
    if relu and x.size > 10000:  # an element near zero may fall on either side of the gradient's step
        results = [r[:5] for r in results]
    # Gradients cancel: their error is that of sums over all rows.
    close(results[1], results[0], 30 + np.sqrt(x.size))


@pytest.mark.parametrize("groups", [1, 3, 4, 12, 60])
@pytest.mark.parametrize("shape", [(2, 3, 4, 60), (3, 70, 60), (40, 1, 60), (1, 2000, 60)], ids=str)
def test_group_norm(shape: tuple[int, ...], groups: int) -> None:
    rng = np.random.default_rng(0)
    x, g = ((rng.standard_normal(shape) + 1).astype("float32") for _ in range(2))
    gamma, beta = (rng.standard_normal(shape[-1]).astype("float32") for _ in range(2))
    results = []
    for device in ("cpu", "cuda"):
        xs, gs, gammas, betas = on(device, x, g, gamma, beta)
        y, mean, rstd = _C.group_norm(xs, gammas, betas, groups, EPSILON)
        results.append([y, mean, rstd, *_C.slab_norm_grad(xs, gs, mean, rstd, gammas, betas, True, False, True, True)])
    if shape[1] * 60 // groups > 1:
        close(results[1], results[0], 30 + np.sqrt(x.size))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("c", [1, 3, 8, 33, 100, 512, 513, 1024, 1025, 4100, 9000])
@pytest.mark.parametrize("rows", [1, 70])
def test_layer_norm(rows: int, c: int, affine: bool, dtype: str) -> None:
    rng = np.random.default_rng(c)
    x, g = ((rng.standard_normal((rows, c)) + 1).astype(dtype) for _ in range(2))
    gamma, beta = (rng.standard_normal(c).astype(dtype) for _ in range(2))
    results = []
    for device in ("cpu", "cuda"):
        xs, gs, gammas, betas = on(device, x, g, gamma if affine else None, beta if affine else None)
        y, mean, rstd = _C.layer_norm(xs, gammas, betas, 1, EPSILON)
        gradients: list[Any] = []
        for need_x, need_affine in ((True, True), (True, False), (False, True)):
            gradients += _C.layer_norm_grad(xs, gs, mean, rstd, gammas, 1, need_x, need_affine)
        results.append([y, mean, rstd, *gradients])
    close(results[1], results[0], 30 + np.sqrt(x.size))


def test_no_rows() -> None:
    """Gradients of gamma and beta are zero, not what was in memory."""
    x, gamma = dc.tensor(np.zeros((0, 5), "float32"), device="cuda"), dc.tensor(np.ones(5, "float32"), device="cuda")
    mean = dc.tensor(np.zeros(0, "float32"), device="cuda").array
    found = _C.layer_norm_grad(x.array, x.array, mean, mean, gamma.array, 1, True, True)
    assert [a.numpy().tolist() for a in found[1:] if a is not None] == [[0.0] * 5] * 2
    shaped = ops.reshape(x, (0, 3, 5)).array
    moments = dc.tensor(np.zeros((0, 5), "float32"), device="cuda").array
    found = _C.slab_norm_grad(shaped, shaped, moments, moments, gamma.array, None, True, False, True, True)
    assert [a.numpy().tolist() for a in found[1:] if a is not None] == [[0.0] * 5] * 2


@pytest.mark.parametrize("shape", [(64, 8), (4096, 4), (33, 7)], ids=str)
def test_mean_far_from_zero(shape: tuple[int, ...]) -> None:
    """The variance is that of the differences from the mean; sums of squares would lose it."""
    x = np.random.default_rng(0).standard_normal(shape).astype("float32") + np.float32(1000)
    expected = (x.astype("float64") - x.mean(0, dtype="float64")) / np.sqrt(x.astype("float64").var(0) + EPSILON)
    y = ops.batch_norm(dc.tensor(x, device="cuda"), epsilon=EPSILON).numpy()
    np.testing.assert_allclose(y, expected, atol=2e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite_stays_in_its_place(value: float) -> None:
    x = np.random.default_rng(0).standard_normal((50, 6)).astype("float32")
    x[7, 2] = value
    t = dc.tensor(x, device="cuda")
    bad = ~np.isfinite(ops.batch_norm(t, activation="relu").numpy())
    assert bad[:, 2].any() and not np.delete(bad, 2, 1).any()
    bad = ~np.isfinite(ops.layer_norm(t).numpy())
    assert bad[7].any() and not np.delete(bad, 7, 0).any()
