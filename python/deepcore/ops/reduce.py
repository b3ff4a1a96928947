"""Reductions over axes with their derivative rules."""

from __future__ import annotations

from collections.abc import Sequence

from deepcore import _C
from deepcore.autograd import Primitive, Shadow, defvjp, primitive
from deepcore.errors import ArgumentError
from deepcore.ops.elementwise import divide, equal, exp, greater, isfinite, log, multiply, sqrt, square, subtract, where
from deepcore.ops.movement import astype, broadcast_to, reshape
from deepcore.tensor import Tensor

Axes = int | Sequence[int] | None


def _axes(axis: Axes) -> tuple[int, ...] | None:
    return None if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)


def _kept(shape: tuple[int, ...], axes: tuple[int, ...] | None) -> tuple[int, ...]:
    """`shape` with the reduced axes of size 1. ArgumentError for an axis that is not there."""
    rank = len(shape)
    for a in axes or ():
        if not -rank <= a < rank:
            raise ArgumentError(f"reduction: expected axes in [{-rank}, {rank}), got {axes} for shape {shape}")
    reduced = range(rank) if axes is None else [a % rank for a in axes]
    return tuple(1 if i in reduced else n for i, n in enumerate(shape))


@primitive
def _sum(x: _C.Array, *, axes: tuple[int, ...] | None, keepdims: bool) -> _C.Array:
    return _C.sum(x, axes, keepdims)


def _spread(g: Tensor, x: Tensor | Shadow, axes: tuple[int, ...] | None) -> Tensor:
    return broadcast_to(reshape(g, _kept(x.shape, axes)), x.shape)


defvjp(_sum, lambda g, y, x, axes, keepdims: _spread(g, x, axes))


@primitive
def _max(x: _C.Array, *, axes: tuple[int, ...] | None, keepdims: bool) -> _C.Array:
    return _C.max(x, axes, keepdims)


@primitive
def _min(x: _C.Array, *, axes: tuple[int, ...] | None, keepdims: bool) -> _C.Array:
    return _C.min(x, axes, keepdims)


def _extreme_rule(g: Tensor, y: Tensor, x: Tensor, axes: tuple[int, ...] | None, keepdims: bool) -> Tensor:
    # Ties share the cotangent equally.
    hit = astype(equal(x, _spread(y.detach(), x, axes)), x.dtype)
    share = divide(hit, Tensor(_C.sum(hit.array, axes, True)))
    return multiply(_spread(g, x, axes), share)


defvjp(_max, _extreme_rule, saves="x y")
defvjp(_min, _extreme_rule, saves="x y")


@primitive
def _prod(x: _C.Array, *, axes: tuple[int, ...] | None, keepdims: bool) -> _C.Array:
    return _C.prod(x, axes, keepdims)


defvjp(_prod, lambda g, y, x, axes, keepdims: divide(_spread(multiply(g, y), x, axes), x), saves="x y")


def _reduction(op: Primitive, x: Tensor, axis: Axes, keepdims: bool) -> Tensor:
    result: Tensor = op(x, axes=_axes(axis), keepdims=keepdims)
    return result


def sum(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Sum over `axis` (an int, several, or None for all). Integers and bool are summed in int64."""
    return _reduction(_sum, x, axis, keepdims)


def mean(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Arithmetic mean over `axis`."""
    if x.dtype not in ("float32", "float64"):
        x = astype(x, "float32")
    kept = _kept(x.shape, _axes(axis))
    n = 1
    for size, k in zip(x.shape, kept, strict=True):
        n *= size if k == 1 else 1
    return multiply(_reduction(_sum, x, axis, keepdims), 1.0 / n if n else float("nan"))


def var(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Variance over `axis` (mean of the squared distance from the mean)."""
    return mean(square(subtract(x, mean(x, axis, keepdims=True))), axis, keepdims)


def max(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Largest value over `axis`; NaN wins. Equal maxima share the gradient. ArgumentError for no elements."""
    return _extreme(_max, x, axis, keepdims)


def min(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Smallest value over `axis`; NaN wins. Equal minima share the gradient. ArgumentError for no elements."""
    return _extreme(_min, x, axis, keepdims)


def _extreme(op: Primitive, x: Tensor, axis: Axes, keepdims: bool) -> Tensor:
    kept = _kept(x.shape, _axes(axis))
    if any(n == 0 for n, k in zip(x.shape, kept, strict=True) if k == 1):
        raise ArgumentError(f"{op.name}: no elements along axis {axis} of shape {x.shape}")
    return _reduction(op, x, axis, keepdims)


def prod(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Product over `axis`. The gradient is prod / x: infinite or NaN where x holds zeros."""
    return _reduction(_prod, x, axis, keepdims)


def norm(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Euclidean norm over `axis`."""
    return sqrt(sum(square(x), axis, keepdims))


def logsumexp(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """log sum e^x over `axis`, without overflow."""
    top = _extreme(_max, x.detach(), axis, True)
    top = where(greater(astype_finite(top), 0), top, 0.0)
    total = log(_reduction(_sum, exp(subtract(x, top)), axis, True)) + top
    return total if keepdims else reshape(total, _reduction(_sum, x.detach(), axis, False).shape)


def astype_finite(x: Tensor) -> Tensor:
    """1 where x is finite, else 0, in the type of x."""
    return astype(isfinite(x), x.dtype)


def maxout(x: Tensor, pieces: int) -> Tensor:
    """The largest of each run of `pieces` channels: (..., k pieces) -> (..., k) (Goodfellow et al., 2013)."""
    if pieces < 1 or x.ndim == 0 or x.shape[-1] % pieces:
        raise ArgumentError(f"maxout: pieces {pieces} do not divide the last axis of {x.shape}")
    return max(reshape(x, *x.shape[:-1], x.shape[-1] // pieces, pieces), axis=-1)
