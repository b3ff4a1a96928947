"""One look for all figures: palette, colour maps, axes; figures without pyplot and without global state."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepcore.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2937", "#6b7280", "#d7dce3"
PALETTE = ("#3b6fe0", "#e07b39", "#2a9d8f", "#b84a9c", "#8a6d3b", "#5f6caf")
SMALL, NORMAL, LARGE = 8.0, 9.0, 11.0
DPI = 144


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches on a transparent ground, laid out without overlaps."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("drawing figures needs matplotlib: pip install 'deepcore[viz]'") from error
    return Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")


def style_axes(axes: Axes, title: str = "", x: str = "", y: str = "") -> None:
    """Light axes for curves: no box, a faint grid, labels in the palette of the house."""
    axes.set_facecolor("none")
    axes.set_title(title, loc="left", fontsize=LARGE, fontweight="bold", color=INK, pad=8)
    axes.set_xlabel(x, fontsize=NORMAL, color=MUTED)
    axes.set_ylabel(y, fontsize=NORMAL, color=MUTED)
    axes.grid(True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=SMALL, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def bare_axes(axes: Axes, title: str = "") -> None:
    """Axes for pictures: nothing but an optional title."""
    axes.set_axis_off()
    if title:
        axes.set_title(title, loc="left", fontsize=LARGE, fontweight="bold", color=INK, pad=8)


def style_legend(axes: Axes) -> None:
    """A legend without a frame."""
    axes.legend(frameon=False, fontsize=SMALL, labelcolor=INK, loc="best")


def sequential() -> Colormap:
    """From near white to deep blue: counts and shares."""
    return _map("deepcore-sequential", ["#f1f5fd", "#c3d4f7", "#7ea2ee", "#3b6fe0", "#1f3f91"])


def diverging() -> Colormap:
    """Blue below zero, near white at zero, orange above: weights."""
    return _map("deepcore-diverging", ["#1f3f91", "#3b6fe0", "#a9c1f4", "#f6f6f6", "#f3c19d", "#e07b39", "#8f4312"])


def heat() -> Colormap:
    """From dark violet to bright yellow: activations and importance."""
    return _map("deepcore-heat", ["#140b34", "#4b1d78", "#a8327d", "#e95f5d", "#fbad52", "#fcf6b0"])


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure atomically; the suffix of the name chooses the format: .png, .svg or .pdf."""
    suffix = os.path.splitext(os.fspath(path))[1].lstrip(".").lower() or "png"
    with atomic_write(path) as file:
        file.write(_rendered(figure, suffix))


def to_png(figure: Figure) -> bytes:
    """The figure as PNG."""
    return _rendered(figure, "png")


def to_svg(figure: Figure) -> str:
    """The figure as SVG on a transparent ground."""
    return _rendered(figure, "svg", facecolor="none").decode()


def _rendered(figure: Figure, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    figure.savefig(out, format=kind, dpi=DPI, metadata=metadata, **options)
    return out.getvalue()


def _map(name: str, colours: list[str]) -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list(name, colours)


def coloured(values: NDArray[Any], colours: Colormap, low: float, high: float) -> NDArray[np.float64]:
    """Values as RGBA in 0..1; `low` and `high` are the ends of the colour map."""
    span = high - low
    scaled = np.zeros(np.shape(values)) if span == 0 else (np.asarray(values, np.float64) - low) / span
    return np.asarray(colours(np.clip(scaled, 0.0, 1.0)), dtype=np.float64)


__all__ = [
    "DPI",
    "GRID",
    "INK",
    "LARGE",
    "MUTED",
    "NORMAL",
    "PALETTE",
    "SMALL",
    "bare_axes",
    "coloured",
    "diverging",
    "heat",
    "new_figure",
    "save_figure",
    "sequential",
    "style_axes",
    "style_legend",
    "to_png",
    "to_svg",
]
