"""Gates of recurrent layers: how open they stand, how often they are shut or wide open, how long they remember."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepcore.errors import DataError
from deepcore.viz.style import INK, MUTED, PALETTE, SMALL, new_figure, style_axes, style_legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[Any]
Gates = Sequence[Mapping[str, Array]]

SHUT, OPEN = 0.1, 0.9  # beyond these a gate counts as saturated, as Karpathy et al. (2015) have it
NAMES = {"i": "input gate", "f": "forget gate", "o": "output gate", "r": "reset gate", "z": "update gate"}
LONGEST = 1e4  # a gate that never moves would remember for ever


def gate_histograms(gates: Gates, bins: int = 30) -> Figure:
    """How often the gates of each layer stand how far open: a row for each layer, a column for each gate.

    gates: as `deepcore.explain.gate_values` gives them. Each panel tells the share of values that are saturated, shut
    (< 0.1) and open (> 0.9).
    """
    layers = _checked("gate_histograms", gates)
    columns = list(layers[0])
    figure = new_figure(3.0 * len(columns), 2.3 * len(layers))
    edges = np.linspace(0, 1, bins + 1)
    for row, layer in enumerate(layers):
        for column, name in enumerate(columns):
            axes = figure.add_subplot(len(layers), len(columns), row * len(columns) + column + 1)
            label = f"layer {row + 1}" if column == 0 else ""
            style_axes(axes, NAMES.get(name, name) if row == 0 else "", "", label)
            values = layer[name].reshape(-1)
            shares, _ = np.histogram(values, edges)
            heights = shares / shares.sum()
            axes.stairs(heights, edges, fill=True, color=PALETTE[column], alpha=0.25)
            axes.stairs(heights, edges, color=PALETTE[column], linewidth=1.4)
            axes.set_xlim(0, 1)
            axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
            axes.set_ylim(0, heights.max() * 1.28)
            axes.set_yticks([])
            axes.grid(False)
            for share, at, side in ((values < SHUT).mean(), 0.02, "left"), ((values > OPEN).mean(), 0.98, "right"):
                word = "shut" if side == "left" else "open"
                axes.text(at, 0.97, f"{100 * share:.0f} % {word}", transform=axes.transAxes, ha=side, va="top",
                          fontsize=SMALL, color=INK)  # fmt: skip
    return figure


def saturation(gates: Gates) -> Figure:
    """How often each unit's gate is shut and how often it is open: a point for each unit, a panel for each gate.

    A unit at the lower right is open almost always, one at the upper left shut; near the origin a gate is never
    saturated (Karpathy et al., "Visualizing and understanding recurrent networks", 2015).
    """
    layers = _checked("saturation", gates)
    columns = list(layers[0])
    figure = new_figure(3.0 * len(columns), 3.6)
    for column, name in enumerate(columns):
        axes = figure.add_subplot(1, len(columns), column + 1)
        style_axes(axes, NAMES.get(name, name), "share of tokens: open", "shut" if column == 0 else "")
        for row, layer in enumerate(layers):
            values = layer[name].reshape(-1, layer[name].shape[-1])
            axes.scatter((values > OPEN).mean(0), (values < SHUT).mean(0), s=9, alpha=0.6, linewidths=0,
                         color=PALETTE[row % len(PALETTE)], label=f"layer {row + 1}")  # fmt: skip
        axes.plot([0, 1], [1, 0], color=MUTED, linewidth=0.8, linestyle=":")
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.set_aspect("equal")
        if len(layers) > 1 and column == len(columns) - 1:
            style_legend(axes)
    return figure


def memory_lengths(gates: Gates, cell: str = "lstm") -> Array:
    """How many steps each unit remembers, (layers, hidden): the mean of 1 / (1 - f) over tokens, f what a step keeps.

    f is the forget gate of LSTM, z of GRU, 1 - f of MGU. A value counts 10,000 steps at most.
    """
    layers = _checked("memory_lengths", gates)
    kept = []
    for layer in layers:
        name = "z" if "z" in layer else "f"
        if name not in layer:
            raise DataError(f"memory_lengths: expected a forget or update gate, got {list(layer)}")
        keeps = 1 - layer[name] if cell == "mgu" else layer[name]
        lengths = 1 / np.maximum(1 - keeps, 1 / LONGEST)
        kept.append(lengths.reshape(-1, lengths.shape[-1]).mean(0))
    return np.stack(kept)


def memory(gates: Gates, cell: str = "lstm") -> Figure:
    """How many steps the units remember (`memory_lengths`), sorted, on a logarithmic axis: a line for each layer."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    lengths = memory_lengths(gates, cell)
    figure = new_figure(5.4, 3.4)
    axes = figure.add_subplot()
    style_axes(axes, "", "units, sorted", "steps remembered")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_minor_locator(NullLocator())
    for row, values in enumerate(lengths):
        at = (np.arange(len(values)) + 0.5) / len(values)
        axes.plot(100 * at, np.sort(values), color=PALETTE[row % len(PALETTE)], linewidth=1.8,
                  label=f"layer {row + 1}: median {np.median(values):,.0f}, longest {values.max():,.0f}")  # fmt: skip
    axes.xaxis.set_major_formatter("{x:.0f} %")
    style_legend(axes)
    return figure


def _checked(owner: str, gates: Gates) -> list[dict[str, Array]]:
    layers = [{name: np.asarray(values, np.float64) for name, values in layer.items()} for layer in gates]
    if not layers or not layers[0]:
        raise DataError(f"{owner}: expected the gates of at least one layer, got none")
    for layer in layers:
        for name, values in layer.items():
            if values.size == 0 or values.ndim < 2 or not ((values >= 0) & (values <= 1)).all():
                raise DataError(
                    f"{owner}: expected gates in 0..1 of shape (..., hidden), got {values.shape} for {name!r}"
                )
    return layers


__all__ = ["gate_histograms", "memory", "memory_lengths", "saturation"]
