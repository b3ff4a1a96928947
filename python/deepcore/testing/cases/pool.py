"""Cases of the pooling family, against loops over windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepcore import ops
from deepcore.testing.case import Case


def windows(size: int, window: int, stride: int, before: int, after: int, dilation: int) -> list[Any]:
    """The positions of each window along one axis, also those outside the image."""
    outputs = (size + before + after - (window - 1) * dilation - 1) // stride + 1
    return [np.arange(window) * dilation + o * stride - before for o in range(outputs)]


def adaptive_windows(size: int, outputs: int) -> list[Any]:
    """The positions of each adaptive window along one axis."""
    return [np.arange(o * size // outputs, -(-(o + 1) * size // outputs)) for o in range(outputs)]


def reference_pool(x: Any, rows: list[Any], columns: list[Any], f: Any) -> Any:
    """f(values (n, pixels, c), all positions, padded positions) for each window."""
    n, h, w, c = x.shape
    y = np.zeros((n, len(rows), len(columns), c))
    for p, r in enumerate(rows):
        for q, s in enumerate(columns):
            inside_r, inside_s = r[(r >= 0) & (r < h)], s[(s >= 0) & (s < w)]
            y[:, p, q] = f(x[:, inside_r][:, :, inside_s].reshape(n, len(inside_r) * len(inside_s), c), len(r) * len(s))
    return y


def _largest(values: Any, taps: int) -> Any:
    return values.max(1)


def _mean_inside(values: Any, taps: int) -> Any:
    return values.mean(1)


def _mean_padded(values: Any, taps: int) -> Any:
    return values.sum(1) / taps


def _total(values: Any, taps: int) -> Any:
    return values.sum(1)


# x, window, stride, padding (top, bottom, left, right), dilation
SHAPES: list[tuple[Any, Any, Any, Any, Any]] = [
    ((2, 4, 6, 3), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1)),
    ((2, 5, 5, 2), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1)),
    ((1, 7, 6, 4), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    ((2, 5, 6, 1), (3, 2), (1, 2), (1, 0, 0, 1), (1, 1)),
    ((1, 8, 9, 2), (2, 3), (2, 1), (1, 1, 2, 1), (3, 2)),
    ((1, 6, 6, 2), (2, 2), (3, 3), (0, 0, 0, 0), (1, 1)),
    ((2, 3, 3, 2), (3, 3), (3, 3), (0, 0, 0, 0), (1, 1)),
    ((3, 3, 2, 5), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
    ((0, 4, 4, 3), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1)),
    ((2, 4, 4, 0), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1)),
    # around the vector width, and long enough to be cut into chunks; values only
    ((1, 4, 4, 15), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1)),
    ((1, 4, 4, 17), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    ((4, 40, 41, 33), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1)),
    ((4, 40, 41, 33), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    ((1, 30, 30, 2), (17, 16), (3, 5), (0, 0, 0, 0), (1, 1)),
    # four channels together: windows that touch, with gaps, and many of them in one window
    ((2, 5, 6, 8), (2, 2), (2, 2), (1, 0, 0, 1), (1, 1)),
    ((1, 8, 9, 4), (2, 3), (3, 4), (1, 1, 1, 2), (1, 1)),
    ((1, 20, 21, 36), (18, 17), (2, 3), (1, 0, 2, 0), (1, 1)),
]


def _normal(shape: Any) -> Any:
    return lambda rng: (rng.standard_normal(shape),)


def _cases() -> list[Case]:
    cases = []
    for shape, window, stride, padding, dilation in SHAPES:
        name = f"{shape} {window} stride {stride} pad {padding} dilation {dilation}"
        gradient = None if int(np.prod(shape)) < 250 else ()
        rows = windows(shape[1], window[0], stride[0], padding[0], padding[1], dilation[0])
        columns = windows(shape[2], window[1], stride[1], padding[2], padding[3], dilation[1])
        options: dict[str, Any] = {"stride": stride, "padding": padding}

        def pool_max(x: Any, w: Any = window, o: Any = options, d: Any = dilation) -> Any:
            return ops.max_pool2d(x, w, dilation=d, **o)

        def reference(x: Any, f: Any, r: Any = rows, c: Any = columns) -> Any:
            return reference_pool(x, r, c, f)

        cases.append(Case(f"max_pool2d/{name}", pool_max, lambda x, r=reference: r(x, _largest), _normal(shape),
                          gradient=gradient, factor=0.0))  # fmt: skip
        if dilation != (1, 1):
            continue
        for label, f, function in (
            ("avg_pool2d/padded", _mean_padded, lambda x, w=window, o=options: ops.avg_pool2d(x, w, **o)),
            ("avg_pool2d/inside", _mean_inside,
             lambda x, w=window, o=options: ops.avg_pool2d(x, w, count_include_pad=False, **o)),
            ("sum_pool2d/", _total, lambda x, w=window, o=options: ops.sum_pool2d(x, w, **o)),
        ):  # fmt: skip
            cases.append(
                Case(f"{label} {name}", function, lambda x, r=reference, f=f: r(x, f), _normal(shape),
                     magnitude=lambda x, r=reference, f=f: r(np.abs(x), f), gradient=gradient)
            )  # fmt: skip
    for size in ((1, 1), (2, 3), (5, 7), (7, 6), (9, 4)):
        x_shape = (2, 6, 7, 3)
        rows, columns = adaptive_windows(6, size[0]), adaptive_windows(7, size[1])

        def reference(x: Any, f: Any, r: Any = rows, c: Any = columns) -> Any:
            return reference_pool(x, r, c, f)

        cases.append(Case(f"adaptive_avg_pool2d/{size}", lambda x, s=size: ops.adaptive_avg_pool2d(x, s),
                          lambda x, r=reference: r(x, _mean_inside), _normal(x_shape)))  # fmt: skip
        cases.append(Case(f"adaptive_max_pool2d/{size}", lambda x, s=size: ops.adaptive_max_pool2d(x, s),
                          lambda x, r=reference: r(x, _largest), _normal(x_shape), factor=0.0))  # fmt: skip
    for shape in ((2, 3, 4, 5), (1, 28, 28, 3)):
        small = None if shape[1] == 3 else ()
        cases.append(Case(f"global_avg_pool2d/{shape}", ops.global_avg_pool2d, lambda x: x.mean((1, 2)),
                          _normal(shape), gradient=small))  # fmt: skip
        cases.append(Case(f"global_max_pool2d/{shape}", ops.global_max_pool2d, lambda x: x.max((1, 2)),
                          _normal(shape), gradient=small, factor=0.0))  # fmt: skip
    for p in (1.0, 2.0, 3.5):

        def lp(x: Any, p: float = p) -> Any:
            return ops.lp_pool2d(x, p, 2, padding=(1, 0, 0, 1))

        def reference_lp(x: Any, p: float = p) -> Any:
            return reference_pool(np.abs(x) ** p, windows(5, 2, 2, 1, 0, 1), windows(5, 2, 2, 0, 1, 1), _total) ** (
                1 / p
            )

        cases.append(Case(f"lp_pool2d/{p}", lp, reference_lp,
                          lambda rng: (rng.uniform(0.5, 1.5, (2, 5, 5, 3)) * rng.choice([-1, 1], (2, 5, 5, 3)),),
                          factor=32.0))  # fmt: skip

    def there_and_back(x: Any) -> Any:
        y, index = ops.max_pool2d_with_index(x, 2)
        return ops.max_unpool2d(y * y, index, x.shape, 2)

    def reference_back(x: Any) -> Any:
        top = np.repeat(
            np.repeat(reference_pool(x, windows(4, 2, 2, 0, 0, 1), windows(6, 2, 2, 0, 0, 1), _largest), 2, 1), 2, 2
        )
        return np.where(x == top, x * x, 0.0)

    cases.append(Case("max_unpool2d/there and back", there_and_back, reference_back, _normal((2, 4, 6, 3))))
    # Linear in y: squared, so that the second derivative passes through every member of the family.
    index = np.random.default_rng(5).integers(0, 9, (2, 3, 2, 4)).astype(np.uint8)
    unpooled: dict[str, Any] = {"stride": 2, "padding": (0, 1, 1, 0)}

    def unpool(y: Any, i: Any) -> Any:
        return ops.square(ops.max_unpool2d(y, i, (2, 6, 4, 4), 3, **unpooled))

    def reference_unpool(y: Any, i: Any) -> Any:
        x = np.zeros((2, 9, 7, 4))
        for n, p, q, c in np.ndindex(*y.shape):
            x[n, 2 * p + i[n, p, q, c] // 3, 2 * q + i[n, p, q, c] % 3, c] += y[n, p, q, c]
        return x[:, :6, 1:5] ** 2

    cases.append(Case("pool_gather/unpool squared", unpool, reference_unpool,
                      lambda rng: (rng.standard_normal((2, 3, 2, 4)), index)))  # fmt: skip
    five = windows(5, 3, 2, 1, 1, 1)
    cases.append(Case("average_pool_grad/squared", lambda x: ops.square(ops.avg_pool2d(x, 3, stride=2, padding=1)),
                      lambda x: reference_pool(x, five, five, _mean_padded) ** 2,
                      _normal((2, 5, 5, 3))))  # fmt: skip
    return cases


CASES = _cases()
