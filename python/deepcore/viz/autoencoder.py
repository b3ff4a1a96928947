"""Figures and the report of an autoencoder: reconstructions, the map of codes, traversals of single entries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import deepcore
from deepcore.errors import DataError, ShapeError
from deepcore.viz.classifier import training_facts
from deepcore.viz.curves import histogram
from deepcore.viz.images import _grid, _rgba
from deepcore.viz.report import Report
from deepcore.viz.style import PALETTE, SMALL, new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from deepcore.estimators.autoencoder import Autoencoder

Array = NDArray[Any]

_SHOWN = 12  # pictures in a row
_POINTS = 4000  # of a code map; more make large files and hide each other


def picture_rows(rows: Mapping[str, ArrayLike], title: str = "") -> Figure:
    """Named rows of pictures below each other, each (n, h, w), (n, h, w, 1) or (n, h, w, 3), on one grey scale.

    For inputs, their noisy copies and reconstructions. ShapeError unless all rows have one shape.
    """
    arrays = {name: np.asarray(row, np.float64) for name, row in rows.items()}
    shapes = {a.shape for a in arrays.values()}
    if len(shapes) != 1:
        raise ShapeError(f"picture_rows: expected rows of one shape, got {sorted(shapes)}")
    columns = next(iter(shapes))[0]
    titles = [name if i == 0 else "" for name in arrays for i in range(columns)]
    return _grid(_rgba("picture_rows", np.concatenate(list(arrays.values()))), titles, columns, title)


def code_map(codes: ArrayLike, labels: ArrayLike | None = None, title: str = "") -> Figure:
    """Codes (n, k) as points: both entries, or the first two principal components of more; colours by labels (n,).

    At most 4,000 points are drawn, evenly picked. ShapeError for other shapes, DataError for values not finite.
    """
    points = np.asarray(codes, np.float64)
    if points.ndim != 2 or len(points) < 2:
        raise ShapeError(f"code_map: expected codes (n, k) with n >= 2, got {points.shape}")
    if not np.isfinite(points).all():
        raise DataError("code_map: expected finite codes")
    classes = None if labels is None else np.asarray(labels).reshape(-1)
    if classes is not None and len(classes) != len(points):
        raise ShapeError(f"code_map: expected {len(points)} labels, got {len(classes)}")
    names = ("code 1", "code 2") if points.shape[1] == 2 else ("component 1", "component 2")
    if points.shape[1] == 1:
        points = np.concatenate([points, np.zeros_like(points)], 1)
    elif points.shape[1] > 2:
        centred = points - points.mean(0)
        points = centred @ np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :2]
    step = -(-len(points) // _POINTS)
    figure = new_figure(6.0, 5.0)
    axes = figure.add_subplot()
    style_axes(axes, title, *names)
    if classes is None:
        axes.scatter(points[::step, 0], points[::step, 1], s=5, color=PALETTE[0], linewidths=0)
        return figure
    from matplotlib import colormaps

    kinds = np.unique(classes)
    colours = colormaps["tab10"] if len(kinds) <= 10 else colormaps["tab20"]
    for i, kind in enumerate(kinds):
        own = points[::step][classes[::step] == kind]
        axes.scatter(own[:, 0], own[:, 1], s=5, color=colours(i % colours.N), linewidths=0, label=str(kind))
    if len(kinds) <= 20:
        axes.legend(frameon=False, fontsize=SMALL, markerscale=2.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def traversals(model: Autoencoder, X: Any, *, entries: int = 6, steps: int = 9, reach: float = 2.5) -> Figure:
    """One row per code entry of largest effect: the mean code of X, decoded with that entry moved by up to `reach` of
    its deviations down (left) and up (right). ShapeError unless samples are images."""
    if len(model.sample_shape_) < 2:
        raise ShapeError(f"traversals: expected an autoencoder of images, its samples are {model.sample_shape_}")
    codes = model.transform(X)
    mean, deviation = codes.mean(0), codes.std(0)
    ends = [model.inverse_transform(mean + sign * np.diag(deviation)) for sign in (-1, 1)]
    effect = np.abs(ends[1] - ends[0]).reshape(len(mean), -1).sum(1)
    rows = {}
    for j in np.argsort(-effect, kind="stable")[:entries].tolist():
        moved = np.repeat(mean[None], steps, 0)
        moved[:, j] += np.linspace(-reach, reach, steps) * deviation[j]
        rows[f"code {j}"] = _in_unit(model, model.inverse_transform(moved))
    return picture_rows(rows)


def autoencoder_report(
    model: Autoencoder, path: str | os.PathLike[str], x: Any, y: Any = None, *, title: str | None = None
) -> None:
    """Write the HTML page behind `Autoencoder.report`."""
    samples = np.asarray(x)
    codes = model.transform(samples)
    scores = model.anomaly_score(samples)
    size = codes.shape[1]
    report = Report(
        title or "Autoencoder",
        f"samples of {' x '.join(map(str, model.sample_shape_))}, codes of {size}; deepcore {deepcore.__version__} on "
        f"{deepcore.isa()}",
    )
    report.cards(
        {
            "Bound per sample" if model.variational else "Squared error": float(scores.mean()), "Code size": size,
            "Values per code entry": model.n_features_in_ / size,
            **training_facts(model), "Test samples": len(samples),
        }
    )  # fmt: skip
    hidden = ("samples_per_second", "clipped", "evaluations")
    records = [{k: v for k, v in r.items() if k not in hidden} for r in model.history_]
    if records:
        names = set.intersection(*(set(r) for r in records))  # fine-tuning knows no learning rate
        report.learning_curves([{k: v for k, v in r.items() if k in names} for r in records])
    if len(model.sample_shape_) > 1:
        _pictures(report, model, samples, scores)
    report.figure("Map of codes", code_map(codes, y), "Each point is a sample; codes of more than two entries are "
                  "shown by their first two principal components.")  # fmt: skip
    report.figure("Values of the codes", histogram(codes.ravel(), x="value"),
                  "An entry that never changes carries nothing.")  # fmt: skip
    report.figure("Anomaly scores", histogram(scores, x="score"), "Samples on the right are unlike those it learnt.")
    first = model.model_.parameters()[0].numpy()
    if len(model.sample_shape_) == 2 and not model.channels:
        strongest = np.argsort(-np.linalg.norm(first, axis=1), kind="stable")[:64]
        report.filters(first[strongest].reshape(-1, *model.sample_shape_, 1), "Strongest filters of the first layer")
    report.save(path)


def _pictures(report: Report, model: Autoencoder, samples: Array, scores: Array) -> None:
    shown = samples[:_SHOWN]
    noise = model._corruption(0)
    rows = {"input": _in_unit(model, shown)}
    if noise is not None:
        scaled = noise.apply(model._inputs(shown))
        noisy = model._shaped(scaled.reshape(len(scaled), -1))
        rows["noisy"] = np.clip(_in_unit(model, noisy), 0, 1)
        rows["output"] = _in_unit(model, model.reconstruct(noisy))
    else:
        rows["output"] = _in_unit(model, model.reconstruct(shown))
    report.figure("Reconstructions", picture_rows(rows))
    worst = np.argsort(-scores, kind="stable")[:_SHOWN]
    report.figure("Worst reconstructions", picture_rows({"input": _in_unit(model, samples[worst]),
                  "output": _in_unit(model, model.reconstruct(samples[worst]))}),
                  "Samples unlike all others, and details that the code has no room for.")  # fmt: skip
    report.figure("Traversals", traversals(model, samples),
                  "The mean code with one entry moved by -2.5 to 2.5 of its deviations.")  # fmt: skip
    if model.variational:
        report.figure("Samples", picture_rows({"": _in_unit(model, model.sample(_SHOWN))}),
                      "Decoded from codes drawn from N(0, I).")  # fmt: skip


def _in_unit(model: Autoencoder, pictures: Array) -> Array:
    """Pictures in 0..1, as colours need."""
    values = np.asarray(pictures, np.float64)
    if model.output_ == "sigmoid":
        low, high = float(model.shift_[0]), float(model.shift_[0] + model.scale_[0])
    else:
        low, high = float(values.min()), float(values.max())
    unit: Array = np.clip((values - low) / (high - low if high > low else 1.0), 0, 1)
    return unit


__all__ = ["autoencoder_report", "code_map", "picture_rows", "traversals"]
