"""Cases of the image family."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepcore import ops
from deepcore.testing.case import Case


def resize_matrix(size: int, outputs: int, mode: str) -> Any:
    """The linear map of one axis: (outputs, size)."""
    m = np.zeros((outputs, size))
    for o in range(outputs):
        if mode == "nearest":
            z = float(o * size // outputs)
        elif mode == "bilinear":
            z = min(max((o + 0.5) * size / outputs - 0.5, 0.0), size - 1.0)
        else:
            z = o * (size - 1) / (outputs - 1) if outputs > 1 else 0.0
        low = int(z)
        m[o, low] += 1 - (z - low)
        if z > low:
            m[o, low + 1] += z - low
    return m


def reference_resize(x: Any, size: tuple[int, int], mode: str) -> Any:
    """Rows, then columns."""
    rows, columns = resize_matrix(x.shape[1], size[0], mode), resize_matrix(x.shape[2], size[1], mode)
    return np.einsum("ph,qw,nhwc->npqc", rows, columns, x)


def reference_sample(x: Any, grid: Any, border: bool, corners: bool) -> Any:
    """Bilinear samples, pixel by pixel."""
    n, h, w, c = x.shape
    y = np.zeros((n, *grid.shape[1:3], c))
    for i, p, q in np.ndindex(*grid.shape[:3]):
        u, v = grid[i, p, q]
        column = (u + 1) * (w - 1) / 2 if corners else ((u + 1) * w - 1) / 2
        row = (v + 1) * (h - 1) / 2 if corners else ((v + 1) * h - 1) / 2
        if border:
            column, row = min(max(column, 0.0), w - 1.0), min(max(row, 0.0), h - 1.0)
        left, top = int(np.floor(column)), int(np.floor(row))
        for a in (top, top + 1):
            for b in (left, left + 1):
                if 0 <= a < h and 0 <= b < w:
                    y[i, p, q] += x[i, a, b] * (1 - abs(row - a)) * (1 - abs(column - b))
    return y


RESIZES = [
    ((2, 3, 4, 2), (6, 8)), ((1, 5, 6, 3), (2, 4)), ((2, 4, 4, 1), (4, 4)), ((1, 3, 3, 2), (1, 1)),
    ((1, 1, 1, 3), (3, 2)), ((0, 2, 2, 3), (4, 4)), ((2, 9, 11, 33), (20, 13)),
    ((1, 5, 6, 8), (7, 3)), ((1, 6, 3, 4), (3, 9)),
]  # fmt: skip


def _one(shape: tuple[int, ...]) -> Any:
    return lambda rng: (rng.standard_normal(shape),)


def _cases() -> list[Case]:
    cases = []
    for mode in ("nearest", "bilinear", "bilinear_corners"):
        for shape, size in RESIZES:
            name, small = f"{mode} {shape} {size}", None if int(np.prod(shape)) < 200 else ()
            cases.append(
                Case(f"resize/{name}", lambda x, s=size, m=mode: ops.resize(x, s, m),
                     lambda x, s=size, m=mode: reference_resize(x, s, m),
                     _one(shape), gradient=small)
            )  # fmt: skip
            cases.append(
                Case(f"resize_grad/squared {name}", lambda x, s=size, m=mode: ops.square(ops.resize(x, s, m)),
                     lambda x, s=size, m=mode: reference_resize(x, s, m) ** 2,
                     _one(shape), gradient=small, factor=32.0)
            )  # fmt: skip
    cases.append(Case("upsample/2x3", lambda x: ops.upsample(x, (2, 3)), lambda x: x.repeat(2, 1).repeat(3, 2),
                      lambda rng: (rng.standard_normal((2, 3, 2, 4)),), factor=0.0))  # fmt: skip
    for padding in ("zeros", "border"):
        for corners in (False, True):
            for shape, size in (
                ((2, 4, 5, 3), (3, 4)),
                ((1, 6, 3, 1), (5, 2)),
                ((2, 12, 13, 17), (20, 21)),
                ((1, 3, 2, 8), (9, 7)),
            ):

                def make(rng: np.random.Generator, s: Any = shape, o: Any = size, corners: bool = corners) -> Any:
                    # Between the pixels: 0.1 to 0.9 of the way, where the kinks are not.
                    cells = [
                        rng.integers(-1, n + 1, (s[0], *o)) + rng.uniform(0.1, 0.9, (s[0], *o)) for n in (s[2], s[1])
                    ]
                    spans = [max(n - 1, 1) if corners else n for n in (s[2], s[1])]
                    grid = [(2 * z + (0 if corners else 1)) / n - 1 for z, n in zip(cells, spans, strict=True)]
                    return rng.standard_normal(s), np.stack(grid, -1)

                cases.append(
                    Case(f"grid_sample/{padding} {corners} {shape} {size}",
                         lambda x, g, p=padding, a=corners: ops.grid_sample(x, g, padding=p, align_corners=a),
                         lambda x, g, p=padding, a=corners: reference_sample(x, g, p == "border", a), make,
                         factor=256.0, gradient=None if int(np.prod(shape)) < 200 else (),
                         reason="coordinates of float32 move by eps times the size of the image")
                )  # fmt: skip
    for corners in (False, True):

        def grid_reference(theta: Any, corners: bool = corners) -> Any:
            y = np.zeros((2, 3, 4, 2))
            for n, p, q in np.ndindex(2, 3, 4):
                v = 2 * p / 2 - 1 if corners else (2 * p + 1) / 3 - 1
                u = 2 * q / 3 - 1 if corners else (2 * q + 1) / 4 - 1
                y[n, p, q] = theta[n] @ np.array([u, v, 1.0])
            return y

        cases.append(Case(f"affine_grid/{corners}", lambda t, a=corners: ops.affine_grid(t, (3, 4), align_corners=a),
                          grid_reference, lambda rng: (rng.standard_normal((2, 2, 3)),), factor=16.0))  # fmt: skip
    cases.append(Case("mixup/4", lambda x, w: ops.mixup(x, w, ops.argsort(w)),
                      lambda x, w: w[:, None] * x + (1 - w)[:, None] * x[np.argsort(w)],
                      lambda rng: (rng.standard_normal((5, 8)), rng.uniform(0, 1, 5)), gradient=()))  # fmt: skip
    cases.append(Case("mixup/3", lambda x, w: ops.mixup(x, w, ops.argsort(w)),
                      lambda x, w: w[:, None] * x + (1 - w)[:, None] * x[np.argsort(w)],
                      lambda rng: (rng.standard_normal((3, 5)), rng.uniform(0, 1, 3)), gradient=()))  # fmt: skip
    return cases


CASES = _cases()
