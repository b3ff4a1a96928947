"""Learning curves, histograms, gradients over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepcore.errors import ArgumentError, DataError
from deepcore.viz.style import INK, PALETTE, SMALL, new_figure, style_axes, style_legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History = Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]
Curve = NDArray[np.float64]

VALIDATION = "val_"
_RATES = ("lr", "learning_rate")
_HIDDEN = ("epoch", "step", "time", "seconds")


def learning_curves(history: History) -> Figure:
    """Curves over epochs: "loss" and "val_loss" share axes, and so does every other pair NAME, val_NAME.

    history: name -> values per epoch, or one mapping per epoch. None and NaN leave gaps. "epoch" gives the numbers of
    the horizontal axis if it is there; "step", "time" and "seconds" are not drawn. The best validation value is marked.
    """
    groups, epochs = _groups(history)
    columns = min(len(groups), 3)
    rows = math.ceil(len(groups) / columns)
    figure = new_figure(4.0 * columns, 2.9 * rows)
    for i, (name, curves) in enumerate(groups.items()):
        _draw_group(figure.add_subplot(rows, columns, i + 1), name, curves, epochs)
    return figure


def learning_curve_panels(history: History) -> list[Figure]:
    """The same as one figure per group, for pages that arrange them by the width of the screen."""
    groups, epochs = _groups(history)
    figures = []
    for name, curves in groups.items():
        figures.append(new_figure(4.0, 2.9))
        _draw_group(figures[-1].add_subplot(), name, curves, epochs)
    return figures


def histogram(values: ArrayLike | Mapping[str, ArrayLike], bins: int = 40, title: str = "", x: str = "") -> Figure:
    """How often values occur; several named arrays lie over each other in common bins."""
    named = dict(values) if isinstance(values, Mapping) else {"": values}
    arrays = _counted("histogram", named, bins)
    edges = np.histogram_bin_edges(np.concatenate(list(arrays.values())), bins)
    figure = new_figure(6.0, 3.2)
    axes = figure.add_subplot()
    style_axes(axes, title, x, "count")
    for i, (name, array) in enumerate(arrays.items()):
        _draw_counts(axes, array, edges, PALETTE[i % len(PALETTE)], name)
    if len(arrays) > 1:
        style_legend(axes)
    return figure


def histograms(values: Mapping[str, ArrayLike], bins: int = 40, columns: int = 3) -> Figure:
    """How often the values of each named array occur: one panel each, with bins of its own."""
    from matplotlib.ticker import MaxNLocator

    arrays = _counted("histograms", values, bins)
    if not arrays or columns < 1:
        raise ArgumentError(f"histograms: expected arrays and columns >= 1, got {len(arrays)} arrays, {columns}")
    columns = min(columns, len(arrays))
    rows = math.ceil(len(arrays) / columns)
    figure = new_figure(3.1 * columns, 2.3 * rows)
    for i, (name, array) in enumerate(arrays.items()):
        axes = figure.add_subplot(rows, columns, i + 1)
        style_axes(axes, name, "", "count" if i % columns == 0 else "")
        axes.ticklabel_format(scilimits=(-3, 5))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        _draw_counts(axes, array, np.histogram_bin_edges(array, bins), PALETTE[0])
    return figure


def gradient_flow(norms: ArrayLike | Mapping[str, ArrayLike]) -> Figure:
    """Norms of gradients with respect to states over time steps, on a logarithmic axis: one line per named layer.

    norms: those of `deepcore.explain.gradient_flow`, (steps,), or layer -> such. A line that falls towards the first
    step is a gradient that vanishes on its way back, one that rises a gradient that explodes; the legend tells its mean
    factor per step. A norm of 0 leaves a gap.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    named = dict(norms) if isinstance(norms, Mapping) else {"": norms}
    lines = {name: np.asarray(values, np.float64) for name, values in named.items()}
    for name, values in lines.items():
        if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any() or not values.any():
            raise DataError(
                f"gradient_flow: expected finite norms (steps,) >= 0, not all 0, got shape {values.shape} in {name!r}"
            )
    if not lines:
        raise DataError("gradient_flow: expected at least one layer, got none")
    figure = new_figure(6.4, 3.6)
    axes = figure.add_subplot()
    style_axes(axes, "Gradient over time", "time step", "norm of d loss / d state")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=8))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True, min_n_ticks=1))
    for i, (name, values) in enumerate(lines.items()):
        at = np.arange(1, len(values) + 1)
        colour = PALETTE[i % len(PALETTE)]
        label = f"{name}: {_factor(at, values)}" if name else _factor(at, values)
        axes.plot(at, np.where(values > 0, values, math.nan), color=colour, linewidth=1.8, label=label,
                  marker="o" if len(values) <= 40 else None, markersize=3.5, markeredgewidth=0)  # fmt: skip
    _whole_decades(axes, np.concatenate([v[v > 0] for v in lines.values()]))
    style_legend(axes)
    return figure


def _factor(at: NDArray[np.int64], values: Curve) -> str:
    """What a step back in time multiplies the norm by: from a line through the logarithms."""
    positive = values > 0
    if positive.sum() < 2:
        return "one step"
    slope = float(np.polyfit(at[positive], np.log(values[positive]), 1)[0])
    return f"× {math.exp(-slope):.3g} per step back"


def _whole_decades(axes: Axes, values: Curve) -> None:
    """Let a logarithmic axis begin and end at powers of ten: noise alone then does not look like a trend."""
    low, high = math.floor(math.log10(values.min())), math.ceil(math.log10(values.max()))
    axes.set_ylim(10.0 ** (low - 0.05), 10.0 ** (max(high, low + 1) + 0.05))


def _counted(owner: str, values: Mapping[str, ArrayLike], bins: int) -> dict[str, Curve]:
    arrays = {name: np.asarray(array, np.float64).reshape(-1) for name, array in values.items()}
    if bins < 1:
        raise ArgumentError(f"{owner}: expected bins >= 1, got {bins}")
    for name, array in arrays.items():
        if array.size == 0 or not np.isfinite(array).all():
            raise DataError(f"{owner}: expected finite values, got {array.size} values in {name!r}, some not finite")
    return arrays


def _draw_counts(axes: Axes, array: Curve, edges: Curve, colour: str, label: str = "") -> None:
    counts, _ = np.histogram(array, edges)
    axes.stairs(counts, edges, fill=True, color=colour, alpha=0.25)
    axes.stairs(counts, edges, color=colour, linewidth=1.4, label=label)


def _draw_group(axes: Axes, name: str, curves: Mapping[str, Curve], epochs: Curve | None) -> None:
    from matplotlib.ticker import MaxNLocator

    style_axes(axes, name.replace("_", " "), "epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True, min_n_ticks=1))
    if max(map(len, curves.values())) == 1:
        axes.margins(x=10.0)  # one epoch: keep the axis from showing parts of epochs
    for label, values in sorted(curves.items()):
        validation = label.startswith(VALIDATION)
        at = epochs if epochs is not None and len(epochs) == len(values) else np.arange(1.0, len(values) + 1)
        axes.plot(
            at,
            values,
            color=PALETTE[1] if validation else PALETTE[0],
            linewidth=1.8,
            marker="o" if len(values) < 2 else None,
            label="validation" if validation else "training",
        )
        if validation and np.isfinite(values).any():
            _mark_best(axes, name, at, values)
    if len(curves) > 1:
        style_legend(axes)


def _mark_best(axes: Axes, name: str, at: Curve, values: Curve) -> None:
    lower = "loss" in name or "error" in name or name in ("mse", "mae")
    best = int(np.nanargmin(values) if lower else np.nanargmax(values))
    axes.plot(at[best], values[best], "o", color=PALETTE[1], markersize=6, markeredgecolor="white", markeredgewidth=1.2)
    above = not lower
    axes.annotate(
        f"{values[best]:.4g}",
        (at[best], values[best]),
        xytext=(0, -7 if above else 7),
        textcoords="offset points",
        ha="center",
        va="top" if above else "bottom",
        fontsize=SMALL,
        color=INK,
    )


def _groups(history: History) -> tuple[dict[str, dict[str, Curve]], Curve | None]:
    """Curves that share axes, by the name without "val_": loss first, learning rate last; and the epochs if given."""
    curves = _columns(history)
    groups: dict[str, dict[str, Curve]] = {}
    for name, values in curves.items():
        if name not in _HIDDEN:
            groups.setdefault(name.removeprefix(VALIDATION), {})[name] = values
    if not groups:
        raise DataError(f"learning_curves: expected at least one curve, got {sorted(curves)}")
    names = sorted(groups, key=lambda name: (name in _RATES, name != "loss"))
    return {name: groups[name] for name in names}, curves.get("epoch")


def _columns(history: History) -> dict[str, Curve]:
    """Name -> values, whichever way the history came."""
    if isinstance(history, Mapping):
        columns: dict[str, list[Any]] = {name: list(values) for name, values in history.items()}
    else:
        names = dict.fromkeys(name for row in history for name in row)
        columns = {name: [row.get(name) for row in history] for name in names}
    curves: dict[str, Curve] = {}
    for name, values in columns.items():
        try:
            curves[name] = np.array([math.nan if value is None else float(value) for value in values])
        except (TypeError, ValueError):
            continue  # texts and nested values have no curve
    if not any(len(values) for values in curves.values()):
        raise DataError("learning_curves: expected at least one epoch, got an empty history")
    return curves


__all__ = ["gradient_flow", "histogram", "histograms", "learning_curve_panels", "learning_curves"]
