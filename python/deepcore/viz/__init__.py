"""Figures (matplotlib, without pyplot) and the HTML report. Needs the `viz` extra when something is drawn."""

from __future__ import annotations

from deepcore.viz.autoencoder import code_map, picture_rows, traversals
from deepcore.viz.classes import confusion, worst_indices, worst_mistakes
from deepcore.viz.curves import histogram, learning_curves
from deepcore.viz.images import feature_maps, filters, heatmaps, image_grid
from deepcore.viz.report import Report
from deepcore.viz.style import save_figure

__all__ = [
    "Report",
    "code_map",
    "confusion",
    "feature_maps",
    "filters",
    "heatmaps",
    "histogram",
    "image_grid",
    "learning_curves",
    "picture_rows",
    "save_figure",
    "traversals",
    "worst_indices",
    "worst_mistakes",
]
