"""Softmax and the losses on a device where the cases do not reach: rows longer than registers, masks, NaN, weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import _C, ops
from deepcore.errors import ArgumentError
from deepcore.testing import assert_close

Values = np.ndarray[Any, Any]


def both(function: Any, *arrays: Values) -> tuple[list[Values], list[Values]]:
    """Results of `function` of kernel arrays on the CPU and on the device."""
    results = []
    for device in ("cpu", "cuda"):
        found = function(*[dc.tensor(a, device=device).array for a in arrays])
        found = found if isinstance(found, tuple) else (found,)
        results.append([np.array(r.numpy()) for r in found])
    return results[0], results[1]


def compare(function: Any, *arrays: Values, factor: float = 32.0) -> None:
    for expected, actual in zip(*both(function, *arrays), strict=True):
        assert_close(actual, expected, dtype=str(expected.dtype), factor=factor)


# A warp's registers hold 1024 elements, a block's 8192 or 16384.
WIDTHS = [1, 10, 64, 129, 1000, 1024, 1025, 4097, 20000]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("c", WIDTHS)
def test_softmax(c: int, dtype: str) -> None:
    rng = np.random.default_rng(c)
    x, g = (3 * rng.standard_normal((3, c)).astype(dtype) for _ in range(2))
    compare(_C.softmax, x)
    compare(_C.log_softmax, x)
    y = np.exp(x - x.max(-1, keepdims=True))
    y = (y / y.sum(-1, keepdims=True)).astype(dtype)
    compare(_C.softmax_grad, y, g)
    compare(_C.log_softmax_grad, np.log(y + 1e-30).astype(dtype), g, factor=32.0 * np.sqrt(c))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("c", WIDTHS)
def test_cross_entropy(c: int, weighted: bool, dtype: str) -> None:
    rng = np.random.default_rng(c)
    x = 3 * rng.standard_normal((5, c)).astype(dtype)
    labels = rng.integers(0, c, 5)
    labels[1] = -7
    g = rng.standard_normal(5).astype(dtype)
    w = rng.uniform(0.5, 2, c).astype(dtype)
    factor = 64.0 + np.sqrt(c)
    for smoothing in (0.0, 0.125):

        def forward(x: Any, labels: Any, w: Any, e: float = smoothing) -> Any:
            return _C.cross_entropy(x, labels, w if weighted else None, e, -7, None)

        def backward(x: Any, labels: Any, w: Any, g: Any, e: float = smoothing) -> Any:
            w = w if weighted else None
            _, lse = _C.cross_entropy(x, labels, w, e, -7, None)
            return _C.cross_entropy_grad(x, labels, w, lse, g, 0.5, e, -7)

        compare(forward, x, labels, w, factor=factor)
        compare(backward, x, labels, w, g, factor=factor)
        compare(backward, x, labels, w, g[:1], factor=factor)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("c", WIDTHS)
def test_soft_cross_entropy(c: int, weighted: bool, dtype: str) -> None:
    rng = np.random.default_rng(c)
    x = 3 * rng.standard_normal((3, c)).astype(dtype)
    t = rng.dirichlet(np.ones(c), 3).astype(dtype)
    w = rng.uniform(0.5, 2, c).astype(dtype)
    g = rng.standard_normal(3).astype(dtype)

    def both_ways(x: Any, t: Any, w: Any, g: Any) -> Any:
        w = w if weighted else None
        loss, lse = _C.soft_cross_entropy(x, t, w)
        return loss, lse, *_C.soft_cross_entropy_grad(x, t, w, lse, g)

    compare(both_ways, x, t, w, g, factor=64.0 + np.sqrt(c))


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 8), (2, 3, 129), (1000,)])
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy(shape: tuple[int, ...], weighted: bool) -> None:
    rng = np.random.default_rng(1)
    x = (5 * rng.standard_normal(shape)).astype("float32")
    t, g = rng.uniform(size=shape).astype("float32"), rng.standard_normal(shape).astype("float32")
    w = rng.uniform(0.5, 2, shape[-1]).astype("float32")
    compare(lambda x, t, w: _C.bce_with_logits(x, t, w if weighted else None), x, t, w)
    compare(lambda x, t, w, g: _C.bce_with_logits_grad(x, t, w if weighted else None, g), x, t, w, g)


@pytest.mark.parametrize("c", [7, 1000, 20000])
def test_masked_logits(c: int) -> None:
    """-inf takes no part, wherever it stands; a NaN spoils its row and no other."""
    rng = np.random.default_rng(c)
    x = rng.standard_normal((4, c)).astype("float32")
    x[0, : c - 2] = -np.inf  # all but the last elements
    x[1, 1:] = -np.inf
    x[2, c // 2] = np.nan
    compare(_C.softmax, x)
    compare(_C.log_softmax, x)
    labels = np.array([c - 1, 0, 0, 1])
    compare(lambda x, y: _C.cross_entropy(x, y, None, 0.0, None, None), x, labels)


@pytest.mark.parametrize("rows", [1, 31, 20000, 40000])
def test_mean_of_many_rows(rows: int) -> None:
    rng = np.random.default_rng(rows)
    x, labels = rng.standard_normal((rows, 3)).astype("float32"), rng.integers(0, 3, rows)
    losses = [ops.softmax_cross_entropy(dc.tensor(x, device=d), dc.tensor(labels, device=d)) for d in ("cpu", "cuda")]
    assert losses[1].device == "cuda:0"
    assert_close(losses[1].numpy(), losses[0].numpy(), dtype="float32", factor=4.0)


def test_labels_out_of_range() -> None:
    x, labels = dc.tensor(np.zeros((2, 3)), device="cuda"), dc.tensor([0, 5], device="cuda")
    ops.softmax_cross_entropy(x, labels)
    with pytest.raises(ArgumentError, match=r"labels in \[0, 3\), got 5 at row 1"):
        dc.cuda.synchronize()


def test_no_classes() -> None:
    x, labels = dc.tensor(np.zeros((2, 0), "float32"), device="cuda"), dc.tensor([9, 9], device="cuda")
    loss = ops.softmax_cross_entropy(x, labels, ignore_label=9, reduction="none")
    assert loss.numpy().tolist() == [0.0, 0.0]
