"""Figures (matplotlib, without pyplot) and the HTML report. Needs the `viz` extra when something is drawn."""

from __future__ import annotations

from deepcore.viz.autoencoder import code_map, picture_rows, traversals
from deepcore.viz.boltzmann import (
    activity_map,
    daydreams,
    dreams_of_labels,
    hidden_filters,
    parameter_histograms,
    reconstructions,
)
from deepcore.viz.classes import confusion, worst_indices, worst_mistakes
from deepcore.viz.curves import gradient_flow, histogram, histograms, learning_curves
from deepcore.viz.forecast import forecast_band, horizon_errors
from deepcore.viz.images import feature_maps, filters, heatmaps, image_grid
from deepcore.viz.recurrent import gate_histograms, memory, memory_lengths, saturation
from deepcore.viz.report import Report
from deepcore.viz.seq2seq import attention_maps, matches_by_length
from deepcore.viz.style import save_figure
from deepcore.viz.video import accuracy_over_time, film_strips

__all__ = [
    "Report",
    "accuracy_over_time",
    "activity_map",
    "attention_maps",
    "code_map",
    "confusion",
    "daydreams",
    "dreams_of_labels",
    "feature_maps",
    "film_strips",
    "filters",
    "forecast_band",
    "gate_histograms",
    "gradient_flow",
    "heatmaps",
    "hidden_filters",
    "histogram",
    "histograms",
    "horizon_errors",
    "image_grid",
    "learning_curves",
    "matches_by_length",
    "memory",
    "memory_lengths",
    "parameter_histograms",
    "picture_rows",
    "reconstructions",
    "saturation",
    "save_figure",
    "traversals",
    "worst_indices",
    "worst_mistakes",
]
