"""A face put back into its picture: feathered masks, colours matched, blending."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from deepcore import ops
from deepcore.data.faces import Placement, check_picture
from deepcore.errors import ArgumentError, ShapeError
from deepcore.tensor import as_tensor

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

MASKS = ("ellipse", "box")
COLOURS = (None, "reinhard", "histogram")

# RGB to the cone responses L, M, S, and their logarithms to decorrelated l, alpha, beta (Reinhard et al., 2001).
_LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
_LAB = np.diag([1 / math.sqrt(3), 1 / math.sqrt(6), 1 / math.sqrt(2)]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
_DARKEST = 1.0 / 255
_STRETCH = 1.25


def face_mask(size: int, shape: str = "ellipse", *, cover: float = 0.9, feather: float = 0.25) -> Floats:
    """Opacity (size, size) in [0, 1]: 1 within, 0 at the border of an ellipse or box that covers `cover` of the square.

    feather: the share of the way from the border to the middle over which it rises; 0 is a hard edge.
    """
    if shape not in MASKS:
        raise ArgumentError(f"face_mask: expected shape in {list(MASKS)}, got {shape!r}")
    if size < 1 or not 0 < cover <= 1 or not 0 <= feather <= 1:
        raise ArgumentError(
            f"face_mask: expected size >= 1, cover in (0, 1], feather in [0, 1], got {size}, {cover}, {feather}"
        )
    axis = np.abs((2 * np.arange(size) + 1.0) / size - 1)
    x, y = np.meshgrid(axis, axis)
    away = (np.hypot(x, y) if shape == "ellipse" else np.maximum(x, y)) / cover
    depth = (1 - away) / feather if feather > 0 else np.where(away <= 1, 1.0, 0.0)
    rise = np.clip(depth, 0, 1)
    smooth: Floats = (rise * rise * (3 - 2 * rise)).astype(np.float32)  # at both ends
    return smooth


def match_colours(face: Floats, like: Floats, mask: Floats, method: str | None = "reinhard") -> Floats:
    """`face` (h, w, c) in [0, 1] with the colours of `like` (h, w, c), judged where `mask` (h, w) is above one half.

    'reinhard' gives each channel of the colour space l alpha beta the mean and deviation of `like` (Reinhard et al.,
    2001), but stretches none by more than a quarter; for one channel the grey values. 'histogram' maps the values of
    each channel so that they are distributed as those of `like`. None changes nothing.
    """
    if method not in COLOURS:
        raise ArgumentError(f"match_colours: expected method in {list(COLOURS)}, got {method!r}")
    if face.shape != like.shape or face.shape[:2] != mask.shape:
        raise ShapeError(
            f"match_colours: expected face and like (h, w, c) and mask (h, w), got {face.shape}, {like.shape}, "
            f"{mask.shape}"
        )
    inside = mask > 0.5
    if method is None or not inside.any():
        return face
    matched = _reinhard(face, like, inside) if method == "reinhard" else _histogram(face, like, inside)
    return np.clip(matched, 0, 1).astype(np.float32)


def _reinhard(face: Floats, like: Floats, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    colour = face.shape[2] == 3

    def there(rgb: Floats) -> npt.NDArray[np.float64]:
        values = rgb.astype(np.float64)
        return np.log10(np.maximum(values @ _LMS.T, _DARKEST)) @ _LAB.T if colour else values

    own, wanted = there(face), there(like)
    mean, spread = own[inside].mean(0), own[inside].std(0)
    # A drawn face has less colour noise than a photograph: stretched to the full deviation, it would be garish.
    ratio = np.minimum(wanted[inside].std(0) / np.maximum(spread, 1e-6), _STRETCH)
    moved: npt.NDArray[np.float64] = (own - mean) * ratio + wanted[inside].mean(0)
    if colour:
        moved = 10 ** (moved @ np.linalg.inv(_LAB).T) @ np.linalg.inv(_LMS).T
    return moved


def _histogram(face: Floats, like: Floats, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    matched = np.empty(face.shape)
    for channel in range(face.shape[2]):
        own, wanted = np.sort(face[..., channel][inside]), np.sort(like[..., channel][inside])
        values, first = np.unique(own, return_index=True)
        last = np.append(first[1:], len(own)) - 1
        rank = (first + last) / 2  # equal values stay equal
        matched[..., channel] = np.interp(
            face[..., channel], values, np.interp(rank, np.arange(len(wanted)), wanted)
        )  # fmt: skip
    return matched


def paste_face(
    image: Pixels, face: Floats, mask: Floats, placement: Placement, strength: float = 1.0
) -> Pixels:  # fmt: skip
    """A copy of picture uint8 (h, w, c) with `face` (s, s, c) in [0, 1] laid over the square `placement`.

    mask: opacity (s, s). strength: a factor of it, in [0, 1]; 0 gives the picture unchanged, bit for bit.
    """
    check_picture("paste_face", image)
    if face.ndim != 3 or face.shape[2] != image.shape[2] or mask.shape != face.shape[:2]:
        raise ShapeError(
            f"paste_face: expected a face (s, s, {image.shape[2]}) and mask (s, s), got {face.shape}, {mask.shape}"
        )
    if not 0 <= strength <= 1:
        raise ArgumentError(f"paste_face: expected strength in [0, 1], got {strength}")
    result: Pixels = image.copy()
    h, w = image.shape[:2]
    turn = math.radians(placement.angle)
    reach = placement.side / 2 * (abs(math.cos(turn)) + abs(math.sin(turn)))
    left, right = max(0, math.floor(placement.x - reach)), min(w, math.ceil(placement.x + reach))
    top, bottom = max(0, math.floor(placement.y - reach)), min(h, math.ceil(placement.y + reach))
    if left >= right or top >= bottom or strength == 0:
        return result
    p, q = bottom - top, right - left
    dense = max(1, math.ceil(len(face) / placement.side))  # samples per side of a pixel, when the face is made smaller
    # Pixel (column, row) of the region in [-1, 1] to the face's own coordinates in [-1, 1].
    cos, sin = math.cos(turn) * 2 / placement.side, math.sin(turn) * 2 / placement.side
    x, y = (left + right) / 2 - placement.x, (top + bottom) / 2 - placement.y
    theta = np.array(
        [[[cos * q / 2, sin * p / 2, cos * x + sin * y], [-sin * q / 2, cos * p / 2, cos * y - sin * x]]], np.float32
    )
    grid = ops.affine_grid(as_tensor(theta), (p * dense, q * dense))

    def laid(values: Floats, padding: str) -> Floats:
        samples = ops.grid_sample(as_tensor(values[None].astype(np.float32)), grid, padding=padding)
        return np.asarray((ops.avg_pool2d(samples, dense) if dense > 1 else samples).numpy()[0])

    opacity = strength * laid(mask[..., None], "zeros")
    under = result[top:bottom, left:right].astype(np.float32)
    over = 255 * laid(face, "border")
    blended = under + opacity * (over - under)
    result[top:bottom, left:right] = np.clip(np.round(blended), 0, 255).astype(np.uint8)
    return result


__all__ = ["COLOURS", "MASKS", "face_mask", "match_colours", "paste_face"]
