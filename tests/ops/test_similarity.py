from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import ops
from deepcore.errors import ArgumentError, ShapeError


def pictures(seed: int, shape: tuple[int, ...] = (3, 16, 20, 3)) -> Any:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def test_equal_pictures_score_one_and_worse_copies_less() -> None:
    x = pictures(0)
    np.testing.assert_allclose(ops.ssim(dc.tensor(x), dc.tensor(x), reduction="none").numpy(), 1, atol=1e-5)
    scores = [
        ops.ssim(dc.tensor(x), dc.tensor(x + noise * pictures(1))).item() for noise in (0.05, 0.2, 0.8)
    ]  # fmt: skip
    assert 1 > scores[0] > scores[1] > scores[2]
    assert ops.ssim(dc.tensor(x), dc.tensor(1 - x)).item() < 0


def test_it_is_symmetric_and_scales_with_the_range() -> None:
    x, y = pictures(0), pictures(1)
    forward = ops.ssim(dc.tensor(x), dc.tensor(y)).item()
    assert ops.ssim(dc.tensor(y), dc.tensor(x)).item() == pytest.approx(forward, abs=1e-6)
    wide = ops.ssim(dc.tensor(255 * x), dc.tensor(255 * y), value_range=255.0).item()
    assert wide == pytest.approx(forward, abs=1e-4)


def test_climbing_it_restores_a_picture() -> None:
    target = dc.tensor(pictures(0, (1, 12, 12, 1)))
    x = dc.tensor(pictures(1, (1, 12, 12, 1)), requires_grad=True)
    before = ops.ssim(x, target, window=7).item()
    for _ in range(60):
        (slope,) = dc.grad(ops.ssim(x, target, window=7), [x])
        x = dc.tensor(x.numpy() + 2.0 * slope.numpy(), requires_grad=True)
    assert ops.ssim(x, target, window=7).item() > before + 0.5


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "text"),
    [
        ((2, 12, 12, 1), (2, 12, 12, 3), {}, ShapeError, "of one shape"),
        ((12, 12, 1), (12, 12, 1), {}, ShapeError, r"\(n, h, w, c\)"),
        ((2, 10, 12, 1), (2, 10, 12, 1), {}, ShapeError, "at least 11 x 11"),
        ((2, 12, 12, 1), (2, 12, 12, 1), {"sigma": 0.0}, ArgumentError, "sigma"),
        ((2, 12, 12, 1), (2, 12, 12, 1), {"window": 0}, ArgumentError, "window"),
        ((2, 12, 12, 1), (2, 12, 12, 1), {"value_range": -1.0}, ArgumentError, "value_range"),
        ((2, 12, 12, 1), (2, 12, 12, 1), {"reduction": "best"}, ArgumentError, "reduction"),
    ],
)  # fmt: skip
def test_refusals(x: Any, y: Any, options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ops.ssim(dc.tensor(pictures(0, x)), dc.tensor(pictures(1, y)), **options)
