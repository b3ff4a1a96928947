"""Grids of pictures: inputs, filters, feature maps, heat maps. Each grid is one raster, so that files stay small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepcore.errors import ArgumentError, DataError, ShapeError
from deepcore.viz.style import INK, SMALL, bare_axes, coloured, diverging, heat, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Tiles = NDArray[np.float64]  # (n, h, w, 4), RGBA in 0..1

_TILE_PIXELS = 72
_LETTER, _LINE = 0.068, 0.15  # size of small text in inches
_MAX_TILES = 400


def image_grid(
    images: ArrayLike, titles: Sequence[str] | None = None, columns: int | None = None, title: str = ""
) -> Figure:
    """Pictures (n, h, w), (n, h, w, 1) or (n, h, w, 3) beside and below each other.

    Grey ones are drawn from the lowest value of all (black) to the highest (white); colour ones are uint8, or floats in
    0..1.
    """
    return _grid(_rgba("image_grid", images), titles, columns, title)


def filters(w: ArrayLike, columns: int | None = None, title: str = "") -> Figure:
    """Filters of a convolution, w (k, r, s, c).

    c = 3: as colours, each filter stretched to its own range. c = 1: blue below zero, orange above. Other c: one row
    per filter, one column per channel, the first 16 of each.
    """
    weights = _numbers("filters", w)
    if weights.ndim != 4:
        raise ShapeError(f"filters: expected (k, r, s, c), got {weights.shape}")
    if weights.shape[3] == 3:
        low, high = weights.min(axis=(1, 2, 3), keepdims=True), weights.max(axis=(1, 2, 3), keepdims=True)
        return _grid(_opaque((weights - low) / np.where(high > low, high - low, 1.0)), None, columns, title)
    if weights.shape[3] > 1:
        weights = weights[:16, :, :, :16]
        columns = weights.shape[3]
    tiles = np.moveaxis(weights, 3, 1).reshape(-1, *weights.shape[1:3])
    reach = float(np.abs(tiles).max())
    return _grid(coloured(tiles, diverging(), -reach, reach), None, columns, title)


def feature_maps(maps: ArrayLike, columns: int | None = None, title: str = "") -> Figure:
    """The channels of one activation, maps (h, w, c), on a common scale: a channel that is dark all over is silent."""
    values = _numbers("feature_maps", maps)
    if values.ndim != 3:
        raise ShapeError(f"feature_maps: expected (h, w, c), got {values.shape}")
    tiles = np.moveaxis(values, 2, 0)
    return _grid(coloured(tiles, heat(), float(tiles.min()), float(tiles.max())), None, columns, title)


def heatmaps(
    images: ArrayLike, heats: ArrayLike, titles: Sequence[str] | None = None, strength: float = 0.55, title: str = ""
) -> Figure:
    """Pictures (n, h, w[, c]) above the same pictures under heat maps (n, p, q) (Grad-CAM, saliency, occlusion).

    Each heat map is stretched to 0..1 by itself and to the size of its picture; `strength` is its opacity.
    """
    pictures = _rgba("heatmaps", images)
    values = _numbers("heatmaps", heats)
    if values.ndim != 3 or len(values) != len(pictures):
        raise ShapeError(f"heatmaps: expected heats ({len(pictures)}, p, q), got {values.shape}")
    if not 0.0 <= strength <= 1.0:
        raise ArgumentError(f"heatmaps: expected 0 <= strength <= 1, got {strength}")
    factor = max(1, _TILE_PIXELS // max(pictures.shape[1:3]))  # enlarged first, so that the heat is smooth
    pictures = pictures.repeat(factor, axis=1).repeat(factor, axis=2)
    h, w = pictures.shape[1:3]
    low, high = values.min(axis=(1, 2), keepdims=True), values.max(axis=(1, 2), keepdims=True)
    smooth = _resized((values - low) / np.where(high > low, high - low, 1.0), h, w)
    over = _opaque((1.0 - strength) * pictures[..., :3] + strength * coloured(smooth, heat(), 0.0, 1.0)[..., :3])
    count = len(pictures)
    names = None if titles is None else [*titles, *[""] * count]
    return _grid(np.concatenate([pictures, over]), names, count, title)


def _grid(tiles: Tiles, titles: Sequence[str] | None, columns: int | None, title: str) -> Figure:
    n, h, w = tiles.shape[:3]
    if n > _MAX_TILES:
        raise ArgumentError(f"image grid: expected at most {_MAX_TILES} pictures, got {n}")
    if columns is not None and columns < 1:
        raise ArgumentError(f"image grid: expected columns >= 1, got {columns}")
    if titles is not None and len(titles) != n:
        raise ShapeError(f"image grid: expected {n} titles, got {len(titles)}")
    words = [""] * n if titles is None else list(titles)
    columns = min(n, columns or _good_columns(n))
    rows = [words[i : i + columns] for i in range(0, n, columns)]
    factor = max(1, _TILE_PIXELS // max(h, w))
    tiles = tiles.repeat(factor, axis=1).repeat(factor, axis=2)
    h, w = tiles.shape[1:3]
    gap = max(3, max(h, w) // 14)
    # A tile is at most an inch wide. Room for the text is made in pixels of the raster, beside and above the tiles.
    inches = min(1.0, 8.8 / columns) / (w + gap)
    longest = max(len(line) for text in words for line in text.split("\n"))
    pitch = max(w + gap, round((longest * _LETTER + 0.1) / inches))
    above = [round(max(text.count("\n") + 1 for text in row) * _LINE / inches) if any(row) else 0 for row in rows]
    tops = [sum(above[: row + 1]) + row * (h + gap) for row in range(len(rows))]
    left = (pitch - gap - w) // 2
    canvas = np.zeros((tops[-1] + h, columns * pitch - gap, 4))
    corners = [(tops[i // columns], (i % columns) * pitch + left) for i in range(n)]
    for tile, (y, x) in zip(tiles, corners, strict=True):
        canvas[y : y + h, x : x + w] = tile
    figure = new_figure(canvas.shape[1] * inches + 0.1, canvas.shape[0] * inches + 0.1 + (0.35 if title else 0.0))
    axes = figure.add_subplot()
    bare_axes(axes, title)
    axes.imshow(canvas, interpolation="nearest", aspect="equal")
    for text, (y, x) in zip(words, corners, strict=True):
        axes.text(x + w / 2, y - gap * 0.5, text, ha="center", va="bottom", fontsize=SMALL, color=INK, linespacing=1.1)
    return figure


def _good_columns(n: int) -> int:
    """A row up to 6; beyond, wider than high with as few empty places in the last row as can be."""
    if n <= 6:
        return n
    ideal = math.sqrt(2.5 * n)
    candidates = range(math.ceil(math.sqrt(n)), min(12, math.ceil(2.0 * math.sqrt(n))) + 1)
    return min(candidates or [12], key=lambda columns: (-n % columns, abs(columns - ideal)))


def _rgba(name: str, images: ArrayLike) -> Tiles:
    given = np.asarray(images)
    values = _numbers(name, given)
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim == 3:
        low, high = float(values.min()), float(values.max())
        grey = (values - low) / (high - low) if high > low else np.zeros_like(values)
        return _opaque(np.repeat(grey[..., None], 3, axis=3))
    if values.ndim != 4 or values.shape[3] != 3:
        raise ShapeError(f"{name}: expected pictures (n, h, w), (n, h, w, 1) or (n, h, w, 3), got {given.shape}")
    if given.dtype == np.uint8:
        values = values / 255.0
    elif values.min() < 0.0 or values.max() > 1.0:
        raise DataError(f"{name}: expected colours in 0..1 or uint8, got {values.min():.4g}..{values.max():.4g}")
    return _opaque(values)


def _opaque(colours: NDArray[Any]) -> Tiles:
    return np.concatenate([colours, np.ones((*colours.shape[:-1], 1))], axis=-1)


def _numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    numbers = np.asarray(values, np.float64)
    if numbers.size == 0 or not np.isfinite(numbers).all():
        raise DataError(f"{name}: expected finite numbers, got shape {numbers.shape} with some that are not, or none")
    return numbers


def _resized(maps: NDArray[np.float64], h: int, w: int) -> NDArray[np.float64]:
    """Bilinear, (n, p, q) -> (n, h, w), the centres of the outermost pixels clamped."""
    for axis, size in ((1, h), (2, w)):
        old = maps.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
        low = np.floor(at).astype(np.int64)
        part = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
        maps = maps.take(low, axis) * (1 - part) + maps.take(np.minimum(low + 1, old - 1), axis) * part
    return maps


__all__ = ["feature_maps", "filters", "heatmaps", "image_grid"]
