"""Indexing by integer tensors, order statistics and running sums."""

from __future__ import annotations

from deepcore import _C
from deepcore.autograd import defvjp, nondifferentiable, primitive
from deepcore.errors import ArgumentError
from deepcore.ops.movement import astype, reshape, swap_axes
from deepcore.tensor import DTypeLike, Tensor


@primitive
def _take(x: _C.Array, index: _C.Array, *, axis: int) -> _C.Array:
    return _C.take(x, index, axis)


@primitive
def _take_grad(g: _C.Array, index: _C.Array, *, size: int, axis: int) -> _C.Array:
    return _C.take_grad(g, index, size, axis)


defvjp(
    _take,
    lambda g, y, x, index, axis: _take_grad(g, index, size=x.shape[axis], axis=axis),
    None,
    saves="index",
)
defvjp(_take_grad, lambda c, y, g, index, size, axis: _take(c, index, axis=axis), None, saves="index")


@primitive
def _take_along(x: _C.Array, index: _C.Array, *, axis: int) -> _C.Array:
    return _C.take_along(x, index, axis)


@primitive
def _take_along_grad(g: _C.Array, index: _C.Array, *, size: int, axis: int) -> _C.Array:
    return _C.take_along_grad(g, index, size, axis)


defvjp(
    _take_along,
    lambda g, y, x, index, axis: _take_along_grad(g, index, size=x.shape[axis], axis=axis),
    None,
    saves="index",
)
defvjp(_take_along_grad, lambda c, y, g, index, size, axis: _take_along(c, index, axis=axis), None, saves="index")


def _axis(op: str, x: Tensor, axis: int) -> int:
    if not -x.ndim <= axis < x.ndim:
        raise ArgumentError(f"{op}: expected an axis in [{-x.ndim}, {x.ndim}), got {axis}")
    return axis % x.ndim


def take(x: Tensor, index: Tensor, axis: int = 0) -> Tensor:
    """The slices of x along `axis` that an integer tensor of any shape names; that shape replaces the axis.

    Negative indices count from the end; ArgumentError when one is out of range. Gradients of slices taken more than
    once are added in the order of the index.
    """
    result: Tensor = _take(x, index, axis=_axis("take", x, axis))
    return result


def take_along(x: Tensor, index: Tensor, axis: int = -1) -> Tensor:
    """y[..., j, ...] = x[..., index[..., j, ...], ...]; index has the shape of x but for `axis`."""
    result: Tensor = _take_along(x, index, axis=_axis("take_along", x, axis))
    return result


def scatter_add(g: Tensor, index: Tensor, size: int, axis: int = 0) -> Tensor:
    """Zeros with `size` slices along `axis` and the slices of g added where `index` names them, in order.

    The adjoint of `take`: g has the axes of index in place of `axis`.
    """
    rank = g.ndim - index.ndim + 1
    if rank < 1 or not -rank <= axis < rank:
        raise ArgumentError(f"scatter_add: axis {axis} does not fit g {g.shape} and index {index.shape}")
    result: Tensor = _take_grad(g, index, size=int(size), axis=axis % rank)
    return result


def embedding(weight: Tensor, index: Tensor) -> Tensor:
    """Rows of weight (n, d) named by index (...): (..., d)."""
    return take(weight, index, 0)


@nondifferentiable
def _one_hot(index: _C.Array, *, classes: int, on: float, off: float, dtype: DTypeLike) -> _C.Array:
    return _C.one_hot(index, classes, on, off, dtype)


def one_hot(index: Tensor, classes: int, *, on: float = 1.0, off: float = 0.0, dtype: DTypeLike = "float32") -> Tensor:
    """(...) of integers in [0, classes) -> (..., classes): `on` at the index, `off` elsewhere."""
    result: Tensor = _one_hot(index, classes=int(classes), on=float(on), off=float(off), dtype=dtype)
    return result


# ---- order ----
@nondifferentiable
def _argmax(x: _C.Array, *, axis: int, keepdims: bool) -> _C.Array:
    return _C.argmax(x, axis, keepdims)


@nondifferentiable
def _argmin(x: _C.Array, *, axis: int, keepdims: bool) -> _C.Array:
    return _C.argmin(x, axis, keepdims)


def _arg_extreme(name: str, x: Tensor, axis: int | None, keepdims: bool) -> Tensor:
    if axis is None:
        flat = _arg_extreme(name, reshape(x, -1), 0, False)
        return reshape(flat, (1,) * x.ndim) if keepdims else flat
    axis = _axis(name, x, axis)
    op = _argmax if name == "argmax" else _argmin
    result: Tensor = op(x, axis=axis, keepdims=keepdims)
    return result


def argmax(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index (int64) of the first maximum along `axis`, or in the flattened tensor; NaN counts as the maximum."""
    return _arg_extreme("argmax", x, axis, keepdims)


def argmin(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index (int64) of the first minimum along `axis`, or in the flattened tensor; NaN counts as the minimum."""
    return _arg_extreme("argmin", x, axis, keepdims)


@primitive
def _top_k(x: _C.Array, *, k: int, descending: bool) -> tuple[_C.Array, _C.Array]:
    return _C.top_k(x, k, descending)


def _top_k_rule(g: tuple[Tensor, None], y: tuple[Tensor, Tensor], x: Tensor, k: int, descending: bool) -> Tensor:
    result: Tensor = _take_along_grad(g[0], y[1].detach(), size=x.shape[-1], axis=x.ndim - 1)
    return result


defvjp(_top_k, _top_k_rule, saves="y")


def top_k(x: Tensor, k: int, axis: int = -1, *, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest (or smallest) values along `axis`, sorted, and their indices (int64); equal values in order.

    NaN counts as larger than every number. ArgumentError unless 0 <= k <= size of the axis.
    """
    a = _axis("top_k", x, axis)
    if a == x.ndim - 1:
        values, index = _top_k(x, k=int(k), descending=largest)
        return values, index
    values, index = _top_k(swap_axes(x, a, -1), k=int(k), descending=largest)
    return swap_axes(values, a, -1), swap_axes(index, a, -1)


def sort(x: Tensor, axis: int = -1, *, descending: bool = False) -> tuple[Tensor, Tensor]:
    """The values along `axis` in order and their indices (int64); stable, NaN larger than every number."""
    return top_k(x, x.shape[_axis("sort", x, axis)], axis, largest=descending)


def argsort(x: Tensor, axis: int = -1, *, descending: bool = False) -> Tensor:
    """Indices (int64) that sort along `axis`, stable."""
    return sort(x.detach(), axis, descending=descending)[1]


# ---- running sums ----
@primitive
def _cumsum(x: _C.Array, *, axis: int, reverse: bool) -> _C.Array:
    return _C.cumsum(x, axis, reverse)


defvjp(_cumsum, lambda g, y, x, axis, reverse: _cumsum(g, axis=axis, reverse=not reverse))


def cumsum(x: Tensor, axis: int = -1, *, reverse: bool = False) -> Tensor:
    """Running sums along `axis`, from its start or (reverse) from its end."""
    if x.dtype not in ("float32", "float64"):
        x = astype(x, "float32")
    result: Tensor = _cumsum(x, axis=_axis("cumsum", x, axis), reverse=reverse)
    return result
