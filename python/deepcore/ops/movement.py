"""Views, copies and joins: reshape, transpose, broadcast, slicing, concatenation, padding, casts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from deepcore import _C
from deepcore.autograd import Shadow, defvjp, primitive
from deepcore.errors import ArgumentError, ShapeError
from deepcore.tensor import DTypeLike, Tensor, as_tensor

Shape = tuple[int, ...]


@primitive
def _reshape(x: _C.Array, *, shape: Shape) -> _C.Array:
    return _C.reshape(x, shape)


defvjp(_reshape, lambda g, y, x, shape: _reshape(g, shape=x.shape))


@primitive
def _transpose(x: _C.Array, *, axes: Shape) -> _C.Array:
    return _C.transpose(x, axes)


defvjp(_transpose, lambda g, y, x, axes: _transpose(g, axes=tuple(int(i) for i in np.argsort(axes))))


@primitive
def _broadcast_to(x: _C.Array, *, shape: Shape) -> _C.Array:
    return _C.broadcast_to(x, shape)


defvjp(_broadcast_to, lambda g, y, x, shape: sum_to(g, x.shape))


@primitive
def _cast(x: _C.Array, *, dtype: DTypeLike) -> _C.Array:
    return _C.cast(x, dtype)


defvjp(_cast, lambda g, y, x, dtype: _cast(g, dtype=x.dtype))


@primitive
def _slice(x: _C.Array, *, starts: Shape, sizes: Shape, steps: Shape) -> _C.Array:
    return _C.slice(x, starts, sizes, steps)


@primitive
def _slice_embed(g: _C.Array, *, shape: Shape, starts: Shape, steps: Shape) -> _C.Array:
    return _C.slice_embed(g, shape, starts, steps)


defvjp(
    _slice,
    lambda g, y, x, starts, sizes, steps: _slice_embed(g, shape=x.shape, starts=starts, steps=steps),
)
defvjp(
    _slice_embed,
    lambda c, y, g, shape, starts, steps: _slice(c, starts=starts, sizes=g.shape, steps=steps),
)


@primitive
def _flip(x: _C.Array, *, axes: Shape) -> _C.Array:
    return _C.flip(x, axes)


defvjp(_flip, lambda g, y, x, axes: _flip(g, axes=axes))


@primitive
def _contiguous(x: _C.Array) -> _C.Array:
    return _C.contiguous(x)


defvjp(_contiguous, lambda g, y, x: g)


@primitive
def _concatenate2(a: _C.Array, b: _C.Array, *, axis: int) -> _C.Array:
    return _C.concatenate([a, b], axis)


defvjp(
    _concatenate2,
    lambda g, y, a, b, axis: narrow(g, axis, 0, a.shape[axis]),
    lambda g, y, a, b, axis: narrow(g, axis, a.shape[axis], b.shape[axis]),
)


def sum_to(g: Tensor, shape: Shape, dtype: str | None = None) -> Tensor:
    """Sum `g` over the axes along which `shape` was broadcast to get g.shape; the adjoint of broadcasting."""
    from deepcore.ops.reduce import sum as sum_

    if g.shape != shape:
        extra = g.ndim - len(shape)
        axes = tuple(range(extra)) + tuple(extra + i for i, n in enumerate(shape) if n == 1 and g.shape[extra + i] != 1)
        g = reshape(sum_(g, axis=axes), shape) if axes else g
    return g if dtype is None or g.dtype == dtype else _cast_to(g, dtype)


def match(g: Tensor, like: Tensor | Shadow) -> Tensor:
    """`g` brought to the shape and dtype of `like`, for the rules of broadcasting operations."""
    return sum_to(g, like.shape, like.dtype)


def _cast_to(x: Tensor, dtype: DTypeLike) -> Tensor:
    result: Tensor = _cast(x, dtype=dtype)
    return result


def astype(x: Tensor, dtype: DTypeLike) -> Tensor:
    """`x` with another element type. To integers: truncation, saturating; to bool: x != 0."""
    if np.dtype(dtype) == np.dtype(x.dtype):
        return x
    if np.dtype(dtype).kind != "f":
        return Tensor(_C.cast(x.array, dtype))
    return _cast_to(x, dtype)


@primitive
def _to(x: _C.Array, *, device: str) -> _C.Array:
    return _C.to_device(x, device)


defvjp(_to, lambda g, y, x, device: to(g, x.device))


def to(x: Tensor, device: str) -> Tensor:
    """`x` on 'cpu', 'cuda' or 'cuda:index'; itself if it is there. DeviceError when the device is missing."""
    device = _C.check_device(device)
    if device == x.device:
        return x
    moved: Tensor = _to(x, device=device)
    return moved


def _shape_arguments(shape: tuple[Any, ...]) -> Shape:
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = tuple(shape[0])
    return tuple(int(n) for n in shape)


def reshape(x: Tensor, *shape: Any) -> Tensor:
    """The same elements in row-major order under a new shape; one size may be -1. A view where possible."""
    result: Tensor = _reshape(x, shape=_shape_arguments(shape))
    return result


def transpose(x: Tensor, *axes: Any) -> Tensor:
    """Axes in the given order, reversed when none is given. A view."""
    order = _shape_arguments(axes) if axes else tuple(range(x.ndim))[::-1]
    if not all(-x.ndim <= a < x.ndim for a in order):
        raise ArgumentError(f"transpose: expected axes in [{-x.ndim}, {x.ndim}), got {order} for shape {x.shape}")
    order = tuple(a + x.ndim if a < 0 else a for a in order)
    result: Tensor = _transpose(x, axes=order)
    return result


def swap_axes(x: Tensor, a: int, b: int) -> Tensor:
    """Two axes exchanged. A view."""
    order = list(range(x.ndim))
    order[a], order[b] = order[b], order[a]
    return transpose(x, order)


def broadcast_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    """`x` stretched to `shape` by numpy's rules. A view with steps of 0."""
    if x.shape == tuple(shape):
        return x
    result: Tensor = _broadcast_to(x, shape=tuple(shape))
    return result


def expand_dims(x: Tensor, axis: int) -> Tensor:
    """A new axis of size 1 at position `axis`."""
    axis = axis + x.ndim + 1 if axis < 0 else axis
    if not 0 <= axis <= x.ndim:
        raise ArgumentError(f"expand_dims: expected an axis in [{-x.ndim - 1}, {x.ndim}], got {axis}")
    return reshape(x, x.shape[:axis] + (1,) + x.shape[axis:])


def squeeze(x: Tensor, axis: int) -> Tensor:
    """Without axis `axis`, which must have size 1."""
    if x.shape[axis] != 1:
        raise ShapeError(f"squeeze: expected size 1 along axis {axis}, got shape {x.shape}")
    axis %= x.ndim
    return reshape(x, x.shape[:axis] + x.shape[axis + 1 :])


def contiguous(x: Tensor) -> Tensor:
    """`x` in plain row-major layout: itself if it is so already."""
    if x.array.is_contiguous:
        return x
    result: Tensor = _contiguous(x)
    return result


def narrow(x: Tensor, axis: int, start: int, size: int) -> Tensor:
    """x[..., start:start + size, ...] along one axis. A view."""
    if not -x.ndim <= axis < x.ndim:
        raise ArgumentError(f"narrow: expected an axis in [{-x.ndim}, {x.ndim}), got {axis}")
    axis %= x.ndim
    starts, sizes = [0] * x.ndim, list(x.shape)
    starts[axis], sizes[axis] = start, size
    result: Tensor = _slice(x, starts=tuple(starts), sizes=tuple(sizes), steps=(1,) * x.ndim)
    return result


def flip(x: Tensor, axis: int | Sequence[int]) -> Tensor:
    """Reversed along the given axes. A view."""
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    result: Tensor = _flip(x, axes=axes)
    return result


def concatenate(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors joined along an existing axis."""
    if not tensors:
        raise ArgumentError("concatenate: expected at least one tensor")
    parts = list(tensors)
    axis = axis + parts[0].ndim if axis < 0 else axis
    if not any(t.requires_grad for t in parts):
        return Tensor(_C.concatenate([t.array for t in parts], axis))
    while len(parts) > 1:  # pairwise, so that each element is copied log2(n) times at most
        joined = [_concatenate2(a, b, axis=axis) for a, b in zip(parts[::2], parts[1::2], strict=False)]
        parts = joined + ([parts[-1]] if len(parts) % 2 else [])
    return parts[0]


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis."""
    return concatenate([expand_dims(t, axis) for t in tensors], axis)


def split(x: Tensor, sizes: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Pieces of the given sizes (or `sizes` equal pieces) along an axis. Views."""
    n = x.shape[axis]
    if isinstance(sizes, int):
        if sizes < 1 or n % sizes or sizes > max(n, 1):
            raise ShapeError(f"split: cannot cut axis {axis} of {x.shape} into {sizes} equal pieces")
        sizes = [n // sizes] * sizes
    if builtin_sum(sizes) != n:
        raise ShapeError(f"split: expected sizes that add up to {n}, got {list(sizes)}")
    out, start = [], 0
    for size in sizes:
        out.append(narrow(x, axis, start, size))
        start += size
    return out


builtin_sum = sum


def pad(x: Tensor, widths: Sequence[tuple[int, int]]) -> Tensor:
    """Zeros around `x`: one (before, after) pair per axis; negative widths crop."""
    if len(widths) != x.ndim:
        raise ShapeError(f"pad: expected {x.ndim} pairs of widths for shape {x.shape}, got {len(widths)}")
    for axis, (before, after) in enumerate(widths):
        if before < 0 or after < 0:
            size = x.shape[axis] + min(before, 0) + min(after, 0)
            if size < 0:
                raise ShapeError(f"pad: widths {(before, after)} crop more than axis {axis} of {x.shape} has")
            x = narrow(x, axis, max(-before, 0), size)
    grown = [(max(b, 0), max(a, 0)) for b, a in widths]
    if not any(b or a for b, a in grown):
        return x
    shape = tuple(n + b + a for n, (b, a) in zip(x.shape, grown, strict=True))
    result: Tensor = _slice_embed(x, shape=shape, starts=tuple(b for b, _ in grown), steps=(1,) * x.ndim)
    return result


def getitem(x: Tensor, key: Any) -> Tensor:
    """Basic indexing by integers, slices, Ellipsis and None (views), or by one integer or bool array on axis 0."""
    keys = key if isinstance(key, tuple) else (key,)
    if any(isinstance(k, (Tensor, np.ndarray, list)) for k in keys):
        return _advanced(x, keys)
    consumed = builtin_sum(k is not None and k is not Ellipsis for k in keys)
    if consumed > x.ndim:
        raise ShapeError(f"index: {consumed} indices for shape {x.shape}")
    if builtin_sum(k is Ellipsis for k in keys) == 0:
        keys = (*keys, Ellipsis)
    starts: list[int] = []
    sizes: list[int] = []
    steps: list[int] = []
    shape: list[int] = []
    axis = 0
    for k in keys:
        if k is None:
            shape.append(1)
        elif k is Ellipsis:
            for _ in range(x.ndim - consumed):
                n = x.shape[axis]
                starts.append(0)
                sizes.append(n)
                steps.append(1)
                shape.append(n)
                axis += 1
        elif isinstance(k, slice):
            start, stop, step = k.indices(x.shape[axis])
            n = len(range(start, stop, step))
            starts.append(start)
            sizes.append(n)
            steps.append(step)
            shape.append(n)
            axis += 1
        elif isinstance(k, (bool, np.bool_)) or not hasattr(k, "__index__"):
            raise TypeError(f"index: expected integers, slices, None, Ellipsis or arrays, got {type(k).__name__}")
        else:
            i, n = k.__index__(), x.shape[axis]
            if not -n <= i < n:
                raise IndexError(f"index: {i} is out of range for axis {axis} of shape {x.shape}")
            starts.append(i % n)
            sizes.append(1)
            steps.append(1)
            axis += 1
    y: Tensor = _slice(x, starts=tuple(starts), sizes=tuple(sizes), steps=tuple(steps))
    return reshape(y, tuple(shape)) if y.shape != tuple(shape) else y


def _advanced(x: Tensor, keys: tuple[Any, ...]) -> Tensor:
    from deepcore.ops.index import take

    if len(keys) != 1:
        raise TypeError("index: an array index is supported alone, on the first axis; use ops.take for other axes")
    if isinstance(keys[0], Tensor) and keys[0].dtype != "bool":
        return take(x, keys[0], axis=0)
    index = np.asarray(keys[0].numpy() if isinstance(keys[0], Tensor) else keys[0])
    if index.dtype == bool:
        if index.shape != x.shape[:1]:
            raise ShapeError(f"index: expected a bool mask of shape {x.shape[:1]}, got {index.shape}")
        index = np.flatnonzero(index)
    return take(x, as_tensor(index.astype(np.int64)).to(x.device), axis=0)


def iterate(x: Tensor) -> Iterator[Tensor]:
    """The slices along axis 0."""
    for i in range(len(x)):
        yield getitem(x, i)
