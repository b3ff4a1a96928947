"""Pooling over windows of (n, h, w, c) images. Selections and averages are each closed under derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepcore import _C
from deepcore.autograd import defvjp, is_recording, primitive
from deepcore.errors import ArgumentError, ShapeError
from deepcore.ops.conv import pair, sides
from deepcore.ops.elementwise import absolute, power, sqrt, square
from deepcore.ops.movement import reshape
from deepcore.tensor import Tensor

Window = int | Sequence[int]
Shape = tuple[int, ...]

INSIDE, PADDED, ONE = 0, 1, 2  # what an average divides by: taps inside the image, taps inside its padding too, 1


# ---- selection: the index of the winner says where a value came from ----
@primitive
def _max_pool(x: _C.Array, *, options: _C.PoolOptions) -> tuple[_C.Array, _C.Array]:
    return _C.max_pool(x, options)


@primitive
def _pool_scatter(g: _C.Array, index: _C.Array, *, shape: Shape, options: _C.PoolOptions) -> _C.Array:
    return _C.pool_scatter(g, index, shape, options)


@primitive
def _pool_gather(x: _C.Array, index: _C.Array, *, options: _C.PoolOptions) -> _C.Array:
    return _C.pool_gather(x, index, options)


def _max_pool_rule(g: Any, y: Any, x: Any, options: _C.PoolOptions) -> Tensor:
    result: Tensor = _pool_scatter(g[0], y[1].detach(), shape=x.shape, options=options)
    return result


defvjp(_max_pool, _max_pool_rule, saves="y")
defvjp(
    _pool_scatter,
    lambda c, y, g, index, shape, options: _pool_gather(c, index, options=options),
    None,
    saves="index",
)
defvjp(
    _pool_gather,
    lambda c, y, x, index, options: _pool_scatter(c, index, shape=x.shape, options=options),
    None,
    saves="index",
)


# ---- averages and sums: linear, each the adjoint of the other ----
@primitive
def _average_pool(x: _C.Array, *, options: _C.PoolOptions, divisor: int) -> _C.Array:
    return _C.average_pool(x, options, divisor)


@primitive
def _average_pool_grad(g: _C.Array, *, shape: Shape, options: _C.PoolOptions, divisor: int) -> _C.Array:
    return _C.average_pool_grad(g, shape, options, divisor)


defvjp(_average_pool, lambda g, y, x, **p: _average_pool_grad(g, shape=x.shape, **p))
defvjp(_average_pool_grad, lambda c, y, g, shape, **p: _average_pool(c, **p))


def _windows(
    op: str, x_shape: Shape, window: Window, stride: Window | None, padding: int | str | Sequence[int], dilation: Window
) -> _C.PoolOptions:
    if len(x_shape) != 4:
        raise ShapeError(f"{op}: expected x (n, h, w, c), got {x_shape}")
    size = pair(op, "window", window)
    step = size if stride is None else pair(op, "stride", stride)
    spread = pair(op, "dilation", dilation)
    around = sides(op, padding, (x_shape[1], x_shape[2]), size, step, spread)
    return _C.PoolOptions(size, step, around, spread, ())


def _adaptive(op: str, x: Tensor, size: Window) -> _C.PoolOptions:
    if x.ndim != 4:
        raise ShapeError(f"{op}: expected x (n, h, w, c), got {x.shape}")
    return _C.PoolOptions((), (), (), (), pair(op, "size", size))


def _max(x: Tensor, options: _C.PoolOptions) -> Tensor:
    if not (x.requires_grad and is_recording()):  # no index needed
        return Tensor(_C.max_pool_values(x.array, options))
    y: Tensor = _max_pool(x, options=options)[0]
    return y


def max_pool2d(
    x: Tensor,
    window: Window,
    *,
    stride: Window | None = None,
    padding: int | str | Sequence[int] = 0,
    dilation: Window = 1,
) -> Tensor:
    """Largest value of each window: x (n, h, w, c) -> (n, p, q, c). stride: default the window.

    Padding as in `conv2d`; padded pixels never win. The gradient goes to the first of equal maxima; NaN wins.
    ShapeError when a window does not fit, ArgumentError when padding leaves a window empty.
    """
    return _max(x, _windows("max_pool2d", x.shape, window, stride, padding, dilation))


def max_pool2d_with_index(
    x: Tensor,
    window: Window,
    *,
    stride: Window | None = None,
    padding: int | str | Sequence[int] = 0,
    dilation: Window = 1,
) -> tuple[Tensor, Tensor]:
    """`max_pool2d` and, for `max_unpool2d`, the place i * window_columns + j of each maximum in its window.

    The index is uint8 for windows of up to 256 pixels, else int32.
    """
    y, index = _max_pool(x, options=_windows("max_pool2d", x.shape, window, stride, padding, dilation))
    return y, index


def max_unpool2d(
    y: Tensor,
    index: Tensor,
    shape: Sequence[int],
    window: Window,
    *,
    stride: Window | None = None,
    padding: int | str | Sequence[int] = 0,
    dilation: Window = 1,
) -> Tensor:
    """Values of y (n, p, q, c) back at the places `index` names in zeros of `shape` (n, h, w, c) (Zeiler, 2011).

    Window, stride, padding and dilation are those of the pooling. Values that meet at one pixel are added.
    """
    options = _windows("max_unpool2d", tuple(shape), window, stride, padding, dilation)
    result: Tensor = _pool_scatter(y, index.detach(), shape=tuple(shape), options=options)
    return result


def avg_pool2d(
    x: Tensor,
    window: Window,
    *,
    stride: Window | None = None,
    padding: int | str | Sequence[int] = 0,
    count_include_pad: bool = True,
) -> Tensor:
    """Mean of each window: x (n, h, w, c) -> (n, p, q, c); padded pixels are zeros that count, or do not count."""
    options = _windows("avg_pool2d", x.shape, window, stride, padding, 1)
    result: Tensor = _average_pool(x, options=options, divisor=PADDED if count_include_pad else INSIDE)
    return result


def sum_pool2d(
    x: Tensor, window: Window, *, stride: Window | None = None, padding: int | str | Sequence[int] = 0
) -> Tensor:
    """Sum of each window: x (n, h, w, c) -> (n, p, q, c)."""
    result: Tensor = _average_pool(x, options=_windows("sum_pool2d", x.shape, window, stride, padding, 1), divisor=ONE)
    return result


def lp_pool2d(
    x: Tensor, p: float, window: Window, *, stride: Window | None = None, padding: int | str | Sequence[int] = 0
) -> Tensor:
    """(sum |x|^p)^(1/p) of each window, p >= 1 (Sermanet et al., 2012). Infinite gradient where a window is zero."""
    if not p >= 1:
        raise ArgumentError(f"lp_pool2d: expected p >= 1, got {p}")
    if p == 1:
        return sum_pool2d(absolute(x), window, stride=stride, padding=padding)
    if p == 2:
        return sqrt(sum_pool2d(square(x), window, stride=stride, padding=padding))
    return power(sum_pool2d(power(absolute(x), p), window, stride=stride, padding=padding), 1.0 / p)


def adaptive_avg_pool2d(x: Tensor, size: Window) -> Tensor:
    """Means of a `size` grid of windows that covers the image: rows [p h / P, ceil((p + 1) h / P)) for row p of P."""
    result: Tensor = _average_pool(x, options=_adaptive("adaptive_avg_pool2d", x, size), divisor=INSIDE)
    return result


def adaptive_max_pool2d(x: Tensor, size: Window) -> Tensor:
    """Maxima of a `size` grid of windows that covers the image, as in `adaptive_avg_pool2d`."""
    return _max(x, _adaptive("adaptive_max_pool2d", x, size))


def global_avg_pool2d(x: Tensor) -> Tensor:
    """Mean over the image: x (n, h, w, c) -> (n, c) (Lin et al., 2013)."""
    y = adaptive_avg_pool2d(x, 1)
    return reshape(y, y.shape[0], y.shape[3])


def global_max_pool2d(x: Tensor) -> Tensor:
    """Maximum over the image: x (n, h, w, c) -> (n, c)."""
    y = adaptive_max_pool2d(x, 1)
    return reshape(y, y.shape[0], y.shape[3])
