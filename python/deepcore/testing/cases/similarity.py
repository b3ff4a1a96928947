"""Cases of the similarity family."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepcore import ops
from deepcore.testing.case import Case


def reference_ssim(x: Any, y: Any, window: int, sigma: float, value_range: float) -> Any:
    """Window by window, (n,)."""
    n, h, w, c = x.shape
    line = np.exp(-((np.arange(window) - (window - 1) / 2) ** 2) / (2 * sigma**2))
    weight = np.outer(line, line) / np.outer(line, line).sum()
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    total = np.zeros(n)
    for i, p, q, k in np.ndindex(n, h - window + 1, w - window + 1, c):
        a, b = x[i, p : p + window, q : q + window, k], y[i, p : p + window, q : q + window, k]
        ma, mb = (weight * a).sum(), (weight * b).sum()
        va, vb = (weight * (a - ma) ** 2).sum(), (weight * (b - mb) ** 2).sum()
        covariance = (weight * (a - ma) * (b - mb)).sum()
        index = (2 * ma * mb + c1) * (2 * covariance + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
        total[i] += index / ((h - window + 1) * (w - window + 1) * c)
    return total


SHAPES: list[tuple[tuple[int, int, int, int], int, float, float]] = [
    ((2, 5, 6, 1), 3, 1.5, 1.0), ((1, 4, 7, 3), 4, 0.8, 1.0), ((3, 3, 3, 2), 3, 1.5, 2.0), ((2, 4, 4, 1), 1, 1.0, 1.0),
    ((2, 13, 17, 3), 11, 1.5, 1.0),
]  # fmt: skip


def _pair(shape: tuple[int, ...], value_range: float) -> Any:
    def make(rng: np.random.Generator) -> Any:
        x = rng.uniform(0, value_range, shape)
        return x, np.clip(0.6 * x + 0.4 * rng.uniform(0, value_range, shape), 0, value_range)

    return make


def _cases() -> list[Case]:
    cases = []
    for shape, window, sigma, value_range in SHAPES:
        options = {"window": window, "sigma": sigma, "value_range": value_range}

        def each(x: Any, y: Any, o: Any = options) -> Any:
            return ops.ssim(x, y, reduction="none", **o)

        cases.append(
            Case(f"ssim/{shape} {window} {sigma} {value_range}", each,
                 lambda x, y, o=options: reference_ssim(x, y, **o), _pair(shape, value_range), factor=2000.0,
                 gradient=None if int(np.prod(shape)) < 200 else (),
                 reason="a variance is a difference of means of squares, and c2 is a thousandth of them")
        )  # fmt: skip
    cases.append(
        Case("ssim/mean", lambda x, y: ops.ssim(x, y, window=3), lambda x, y: reference_ssim(x, y, 3, 1.5, 1.0).mean(),
             _pair((2, 4, 5, 2), 1.0), factor=2000.0, reason="as above")
    )  # fmt: skip
    return cases


CASES = _cases()
