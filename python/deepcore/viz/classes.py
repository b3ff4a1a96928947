"""Figures about classification: the confusion matrix and the worst mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepcore.errors import ArgumentError, DataError, ShapeError
from deepcore.viz.images import image_grid
from deepcore.viz.style import INK, LARGE, MUTED, NORMAL, SMALL, bare_axes, new_figure, sequential

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_NUMBERS = 20  # with more classes the cells are too small for text


def confusion(cm: ArrayLike, names: Sequence[str] | None = None, title: str = "") -> Figure:
    """A confusion matrix of counts (c, c), rows true, columns predicted; the colour is the share of the row."""
    counts = np.asarray(cm)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.size == 0:
        raise ShapeError(f"confusion: expected (c, c), got {counts.shape}")
    if counts.dtype.kind not in "iu" or counts.min() < 0:
        raise DataError(f"confusion: expected counts >= 0, got {counts.dtype} from {counts.min()}")
    c = len(counts)
    labels = _names("confusion", names, c)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(0.46 * c, 2.4), 7.0)
    figure = new_figure(side + 1.3, side + 0.9)
    axes = figure.add_subplot()
    axes.pcolormesh(share, cmap=sequential(), vmin=0.0, vmax=1.0, edgecolors="white", linewidth=1.0 if c <= 40 else 0.0)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    if title:
        axes.set_title(title, loc="left", fontsize=LARGE, fontweight="bold", color=INK, pad=8)
    axes.set_xlabel("predicted", fontsize=NORMAL, color=MUTED)
    axes.set_ylabel("true", fontsize=NORMAL, color=MUTED)
    if c <= 40:
        slant = 45 if max(map(len, labels)) > 3 else 0
        axes.set_xticks(np.arange(c) + 0.5, labels, rotation=slant, ha="right" if slant else "center")
        axes.set_yticks(np.arange(c) + 0.5, labels)
    axes.tick_params(colors=INK, labelsize=SMALL, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if c <= _MAX_NUMBERS:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if share[row, column] > 0.45 else "#374151" if count else "#a3abb8"
            axes.text(column + 0.5, row + 0.5, f"{count}", ha="center", va="center", fontsize=SMALL, color=colour)
    return figure


def worst_indices(y: ArrayLike, p: ArrayLike, count: int = 12) -> NDArray[np.int64]:
    """The wrongly classified samples with the lowest probability of their true class, worst first, at most `count`.

    y (n,) classes, p (n, c) probabilities.
    """
    truth, probabilities = np.asarray(y), np.asarray(p, np.float64)
    if probabilities.ndim != 2 or truth.shape != (len(probabilities),):
        raise ShapeError(f"worst_indices: expected y (n,) and p (n, c), got {truth.shape} and {probabilities.shape}")
    if truth.dtype.kind not in "iu" or (truth.size and not 0 <= truth.min() <= truth.max() < probabilities.shape[1]):
        raise DataError(f"worst_indices: expected classes 0..{probabilities.shape[1] - 1}, got {truth.dtype} labels")
    if count < 1:
        raise ArgumentError(f"worst_indices: expected count >= 1, got {count}")
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != truth)
    order = np.argsort(probabilities[wrong, truth[wrong]], kind="stable")
    return wrong[order[:count]].astype(np.int64)


def worst_mistakes(
    images: ArrayLike, y: ArrayLike, p: ArrayLike, names: Sequence[str] | None = None, count: int = 12, title: str = ""
) -> Figure:
    """The pictures (n, h, w[, c]) that the classifier got wrong with the most confidence, with what it said.

    y (n,) true classes, p (n, c) probabilities.
    """
    pictures, truth, probabilities = np.asarray(images), np.asarray(y), np.asarray(p)
    worst = worst_indices(truth, probabilities, count)
    if len(pictures) != len(truth):
        raise ShapeError(f"worst_mistakes: expected {len(truth)} images, got {pictures.shape}")
    labels = _names("worst_mistakes", names, probabilities.shape[1])
    if len(worst) == 0:
        figure = new_figure(4.0, 0.8)
        axes = figure.add_subplot()
        bare_axes(axes, title)
        axes.text(0.0, 0.5, "No mistakes.", fontsize=NORMAL, color=INK, va="center")
        return figure
    said = probabilities[worst].argmax(axis=1)
    titles = [
        f"{labels[truth[i]]}\nnot {labels[k]} ({100 * probabilities[i, k]:.0f} %)"
        for i, k in zip(worst, said, strict=True)
    ]
    return image_grid(pictures[worst], titles, columns=4, title=title)


def _names(name: str, names: Sequence[str] | None, classes: int) -> list[str]:
    if names is None:
        return [str(k) for k in range(classes)]
    if len(names) != classes:
        raise ShapeError(f"{name}: expected {classes} names, got {len(names)}")
    return [str(label) for label in names]


__all__ = ["confusion", "worst_indices", "worst_mistakes"]
