"""Images (n, h, w, c): resizing, sampling at a grid, augmentation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepcore import _C
from deepcore.autograd import defvjp, fused, nondifferentiable, primitive
from deepcore.errors import ArgumentError, ShapeError
from deepcore.ops.conv import pair
from deepcore.ops.elementwise import add, clamp, floor, multiply, subtract
from deepcore.ops.index import take
from deepcore.ops.matmul import matmul
from deepcore.ops.movement import astype, reshape, swap_axes
from deepcore.ops.pool import spread2d
from deepcore.random import Key
from deepcore.tensor import Tensor, arange, full, tensor

RESIZE_MODES = {"nearest": 0, "bilinear": 1, "bilinear_corners": 2}


@primitive
def _resize(x: _C.Array, *, size: tuple[int, int], mode: int) -> _C.Array:
    return _C.resize(x, size, mode)


@primitive
def _resize_grad(g: _C.Array, *, shape: tuple[int, ...], mode: int) -> _C.Array:
    return _C.resize_grad(g, shape, mode)


defvjp(_resize, lambda g, y, x, size, mode: _resize_grad(g, shape=x.shape, mode=mode))
defvjp(_resize_grad, lambda c, y, g, shape, mode: _resize(c, size=(g.shape[1], g.shape[2]), mode=mode))


def resize(x: Tensor, size: int | Sequence[int], mode: str = "bilinear") -> Tensor:
    """x (n, h, w, c) -> (n, *size, c).

    Row p of P reads source row floor(p h / P) ('nearest'), (p + 1/2) h / P - 1/2, clamped ('bilinear'), or
    p (h - 1) / (P - 1), so that corners meet corners ('bilinear_corners'). ArgumentError for another mode.
    """
    if mode not in RESIZE_MODES:
        raise ArgumentError(f"resize: expected mode in {list(RESIZE_MODES)}, got {mode!r}")
    result: Tensor = _resize(x, size=pair("resize", "size", size), mode=RESIZE_MODES[mode])
    return result


def upsample(x: Tensor, factor: int | Sequence[int], mode: str = "nearest") -> Tensor:
    """`resize` to whole multiples of the size; 'nearest' repeats pixels (the adjoint of summing windows)."""
    rows, columns = pair("upsample", "factor", factor)
    if x.ndim != 4:
        raise ShapeError(f"upsample: expected x (n, h, w, c), got {x.shape}")
    if min(rows, columns) < 1:
        raise ArgumentError(f"upsample: expected factors >= 1, got {factor!r}")
    h, w = x.shape[1:3]
    return spread2d(x, (rows, columns)) if mode == "nearest" else resize(x, (h * rows, w * columns), mode)


# ---- sampling at a grid (Jaderberg et al., 2015) ----
def _grid_sample(x: _C.Array, grid: _C.Array, *, border: bool, align_corners: bool) -> tuple[_C.Array, None]:
    return _C.grid_sample(x, grid, border, align_corners), None


def _grid_sample_grad(
    g: _C.Array, cache: None, needed: Sequence[bool], x: _C.Array, grid: _C.Array, *, border: bool, align_corners: bool
) -> Sequence[_C.Array | None]:
    return _C.grid_sample_grad(x, grid, g, border, align_corners, needed[0], needed[1])


def _grid_sample_reference(x: Tensor, grid: Tensor, *, border: bool, align_corners: bool) -> Tensor:
    n, h, w, c = x.shape
    p, q = grid.shape[1:3]
    flat = reshape(x, n * h * w, c)
    total: Tensor | None = None
    taps: list[list[tuple[Tensor, Tensor]]] = []  # per axis (rows, columns): index of the tap, its weight
    for axis, size in ((1, h), (0, w)):
        coordinate = grid[:, :, :, axis]
        span = 0.5 * (size - 1 if align_corners else size)
        z = subtract(multiply(add(coordinate, 1.0), span), 0.0 if align_corners else 0.5)
        if border:
            z = clamp(z, 0.0, float(size - 1))
        low = floor(z.detach())
        part = subtract(z, low)
        taps.append([(low, subtract(1.0, part)), (add(low, 1.0), part)])
    images = reshape(arange(n, device=x.device), n, 1, 1)
    for rows, row_weight in taps[0]:
        row_inside = multiply(astype(rows >= 0.0, x.dtype), astype(rows < h, x.dtype))
        # In range even where the tap is not inside: integers saturate, and NaN gives 0.
        lines = add(multiply(images, h), astype(clamp(rows, 0.0, h - 1.0), "int64"))
        for columns, column_weight in taps[1]:
            inside = multiply(row_inside, multiply(astype(columns >= 0.0, x.dtype), astype(columns < w, x.dtype)))
            place = add(multiply(lines, w), astype(clamp(columns, 0.0, w - 1.0), "int64"))
            weight = multiply(multiply(row_weight, column_weight), inside)
            term = multiply(take(flat, reshape(place, -1)), reshape(weight, -1, 1))
            total = term if total is None else add(total, term)
    assert total is not None
    return reshape(total, n, p, q, c)


_grid_sample_op = fused(_grid_sample, _grid_sample_grad, _grid_sample_reference)


def grid_sample(x: Tensor, grid: Tensor, *, padding: str = "zeros", align_corners: bool = False) -> Tensor:
    """x (n, h, w, c) read bilinearly at grid (n, p, q, 2) -> (n, p, q, c) (Jaderberg et al., 2015).

    grid holds (column, row) in [-1, 1]: -1 and 1 are the outer edges of the image, or with align_corners the centres
    of its corner pixels. padding: outside are 'zeros', or the nearest pixel of the 'border'.
    """
    if padding not in ("zeros", "border"):
        raise ArgumentError(f"grid_sample: expected padding 'zeros' or 'border', got {padding!r}")
    result: Tensor = _grid_sample_op(x, grid, border=padding == "border", align_corners=align_corners)
    return result


def affine_grid(theta: Tensor, size: int | Sequence[int], *, align_corners: bool = False) -> Tensor:
    """theta (n, 2, 3) times (column, row, 1) of every pixel of a p x q image: a grid (n, p, q, 2) for `grid_sample`."""
    if theta.ndim != 3 or theta.shape[1:] != (2, 3):
        raise ShapeError(f"affine_grid: expected theta (n, 2, 3), got {theta.shape}")
    p, q = pair("affine_grid", "size", size)

    def line(n: int) -> np.ndarray:
        if align_corners:
            return np.linspace(-1.0, 1.0, n) if n > 1 else np.zeros(1)
        return (2.0 * np.arange(n) + 1.0) / n - 1.0

    base = full((p * q, 3), 1.0, theta.dtype).numpy()
    base[:, 0], base[:, 1] = np.tile(line(q), p), np.repeat(line(p), q)
    points = tensor(base, device=theta.device, copy=False)
    return reshape(matmul(points, swap_axes(theta, 1, 2)), theta.shape[0], p, q, 2)


# ---- augmentation ----
@nondifferentiable
def _augment(
    x: _C.Array, rows: _C.Array, ids: _C.Array | None, gain: _C.Array, bias: _C.Array, *, size: tuple[int, int],
    shift: tuple[int, int], flip: float, rotate: float, scale: float, shear: float, cut: int, fill: float,
    key: Key,
) -> _C.Array:  # fmt: skip
    return _C.augment(x, rows, ids, gain, bias, size, shift, flip, rotate, scale, shear, cut, fill, key[0], key[1])


def augment(
    images: Tensor,
    rows: Tensor | None = None,
    *,
    key: Key,
    ids: Tensor | None = None,
    size: int | Sequence[int] | None = None,
    shift: int | Sequence[int] = 0,
    flip: float = 0.0,
    rotate: float = 0.0,
    scale: float = 0.0,
    shear: float = 0.0,
    cut: int = 0,
    fill: float = 0.0,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
) -> Tensor:
    """Images `rows` of (any, h, w, c), randomly changed and normalised: (n, *size, c) float32 (float64 stays).

    Per image: rotation by up to `rotate` radians, size factor in [1 - scale, 1 + scale] and shear about the centre
    (bilinear); a shift by up to `shift` (rows, columns) of the central crop of `size` (default: the image; larger
    pads); a mirror image with probability `flip`; a cut x cut square set to `fill` (DeVries and Taylor, 2017).
    Pixels from outside are `fill`. Then (value - mean) / std per channel. The random numbers of an image are a
    function of `key` (seed, stream, ...) and its id (default: its row), so workers and order do not matter.
    ArgumentError for options out of range or rows outside the images.
    """
    if images.ndim != 4:
        raise ShapeError(f"augment: expected images (any, h, w, c), got {images.shape}")
    dtype = "float64" if images.dtype == "float64" else "float32"
    c = images.shape[3]
    centre, spread = np.broadcast_to(np.asarray(mean, dtype), (c,)), np.broadcast_to(np.asarray(std, dtype), (c,))
    if not (np.isfinite(centre).all() and (spread > 0).all()):
        raise ArgumentError(f"augment: expected finite mean and std > 0, got {mean!r} and {std!r}")
    chosen = arange(images.shape[0], device=images.device) if rows is None else rows
    normalise = np.asarray(1 / spread, dtype), np.asarray(-centre / spread, dtype)
    gain, bias = (tensor(v, device=images.device, copy=False) for v in normalise)
    result: Tensor = _augment(
        images, chosen, ids, gain, bias,
        size=(images.shape[1], images.shape[2]) if size is None else pair("augment", "size", size),
        shift=pair("augment", "shift", shift), flip=float(flip), rotate=float(rotate), scale=float(scale),
        shear=float(shear), cut=int(cut), fill=float(fill), key=key,
    )  # fmt: skip
    return result


@nondifferentiable
def _mixup(x: _C.Array, weight: _C.Array, partner: _C.Array) -> _C.Array:
    return _C.mixup(x, weight, partner)


def mixup(x: Tensor, weight: Tensor, partner: Tensor) -> Tensor:
    """weight_i x_i + (1 - weight_i) x_partner(i) for images or target distributions (n, ...) (Zhang et al., 2017)."""
    result: Tensor = _mixup(x, weight, partner)
    return result
