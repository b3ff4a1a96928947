"""Augmentation and sampling on a CUDA device against the CPU, where no numpy reference exists or sizes are larger."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import Tensor, ops
from deepcore.testing import assert_close

CHANGES: list[dict[str, Any]] = [
    {},
    {"shift": (2, 3), "flip": 0.5, "size": (9, 7)},
    {"shift": 1, "size": (14, 15), "fill": 3.0, "cut": 5, "mean": (1.0, 2.0, 3.0), "std": (1.0, 2.0, 0.5)},
    {"rotate": 0.7, "scale": 0.3, "shear": 0.2, "shift": 2, "flip": 0.5, "cut": 4},
    {"rotate": 2.5, "fill": 9.0, "size": (5, 20)},
]


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_augment(changes: dict[str, Any], dtype: str) -> None:
    rng = np.random.default_rng(7)
    images = dc.tensor((rng.uniform(0, 255, (6, 11, 12, 3))).astype(dtype))
    rows, ids = dc.tensor(rng.integers(0, 6, 40)), dc.tensor(rng.integers(0, 10**12, 40))
    choices: list[dict[str, Any]] = [{}, {"rows": rows}, {"rows": rows, "ids": ids}]
    for chosen in choices:
        key = (3, 4, 0)
        here = ops.augment(images, key=key, **chosen, **changes)
        there = ops.augment(images.cuda(), key=key, **{k: v.cuda() for k, v in chosen.items()}, **changes)
        assert there.device == "cuda:0"
        assert_close(there.numpy(), here.numpy(), dtype=here.dtype, factor=4096.0)


def sampled(padding: str, x: Tensor, grid: Tensor, g: Tensor) -> list[Any]:
    x.requires_grad_()
    grid.requires_grad_()
    y = ops.grid_sample(x, grid, padding=padding)
    y.backward(g)
    assert x.grad is not None and grid.grad is not None
    return [t.numpy() for t in (y, x.grad, grid.grad)]


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize(("points", "spread"), [((80, 70), 0.01), ((80, 70), 1.5), ((3, 4), 1e9), ((0, 5), 1.0)])
def test_grid_sample_with_many_points(points: tuple[int, int], spread: float, padding: str) -> None:
    """Thousands of points in one cell, points far outside, and none at all; some are not numbers."""
    rng = np.random.default_rng(8)
    x, g = rng.standard_normal((2, 5, 6, 3)), rng.standard_normal((2, *points, 3))
    grid = rng.uniform(-spread, spread, (2, *points, 2)) + 0.1
    grid.reshape(-1)[7::50] = np.nan
    arrays = [dc.tensor(a) for a in (x, grid, g)]
    here = sampled(padding, *arrays)
    there = sampled(padding, *[t.detach().cuda() for t in arrays])
    for a, e in zip(there, here, strict=True):
        assert_close(a, e, dtype="float64", factor=1e5)  # sums of up to 10^4 terms in another order


def test_slices_of_integers() -> None:
    """`take` and `take_along` move elements of every type."""
    rng = np.random.default_rng(9)
    for dtype in ("int32", "int64", "uint8", "bool"):
        x, index = rng.integers(0, 2, (7, 4)).astype(dtype), rng.integers(-7, 7, (5, 4))
        taken = ops.take(dc.tensor(x).cuda(), dc.tensor(index).cuda())
        np.testing.assert_array_equal(taken.numpy(), x[index])
        taken = ops.take_along(dc.tensor(x).cuda(), dc.tensor(index).cuda(), 0)
        np.testing.assert_array_equal(taken.numpy(), np.take_along_axis(x, index, 0))
        assert taken.dtype == dtype and taken.device == "cuda:0"
