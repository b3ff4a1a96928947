"""Figures about clips: film strips with labels, accuracy over time; the report of a video classifier."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import deepcore
from deepcore import metrics
from deepcore.errors import DataError, ShapeError
from deepcore.viz.classifier import add_curves, class_scores, training_facts
from deepcore.viz.images import _rgba
from deepcore.viz.report import Report
from deepcore.viz.style import (
    INK,
    MUTED,
    NORMAL,
    PALETTE,
    SMALL,
    bare_axes,
    new_figure,
    style_axes,
    style_legend,
)  # fmt: skip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from deepcore.estimators.video import VideoClassifier

_COLUMNS = 12  # frames of a strip
_STRIPS = 6  # clips of a kind
_WRONG = PALETTE[1]
_NO_LABEL = -1
_LETTER, _LINE, _GAP, _TILE = 0.062, 0.15, 0.06, 0.7  # inches


def film_strips(
    clips: Sequence[ArrayLike], titles: Sequence[str], labels: Sequence[Sequence[tuple[str, str]]] | None = None,
    weights: Sequence[ArrayLike] | None = None, columns: int = _COLUMNS,
) -> Figure:  # fmt: skip
    """Clips (t, h, w[, c]), one below the other, at most `columns` frames of each at equal distances.

    Args:
        clips: grey ones are drawn from their lowest value (black) to their highest, colours are uint8 or in 0..1.
        titles: a line above each clip.
        labels: for each frame (said, true): what was said stands below it, in orange, with the true label, where they
            differ; '' for none.
        weights: a bar for each frame, (t,) for each clip.
        columns: see above.

    Raises:
        ShapeError: titles, labels or weights do not fit the clips.
        DataError: there is no clip.
    """
    n = len(clips)
    if n == 0:
        raise DataError("film_strips: expected at least one clip, got none")
    arrays = [np.asarray(clip) for clip in clips]
    for name, given in (("titles", titles), ("labels", labels), ("weights", weights)):
        if given is not None and len(given) != n:
            raise ShapeError(f"film_strips: expected {n} {name}, got {len(given)}")
        if given is not None and name != "titles" and any(len(g) != len(a) for g, a in zip(given, arrays)):  # type: ignore[arg-type]
            raise ShapeError(f"film_strips: expected {name} for each frame of each clip")
    texts = [] if labels is None else [text for row in labels for pair in row for text in pair]
    width = max(_TILE, max(map(len, texts), default=0) * _LETTER + 0.04)
    shown = min(columns, max(map(len, arrays)))
    aspect = max(a.shape[1] / a.shape[2] for a in arrays)
    tile = min(_TILE, _TILE / aspect)  # wide
    pitch, high = width + _GAP, tile * aspect
    lines = 0 if labels is None else 2 if any(_wrong(pair) for row in labels for pair in row) else 1
    below = lines * _LINE + 0.05 * bool(lines)
    bars = 0.0 if weights is None else 0.32
    row = _LINE + 0.12 + high + below + bars + 0.12
    size = (shown * pitch + 0.1, n * row + 0.05)
    figure = new_figure(*size)
    figure.set_layout_engine("none")
    for i, clip in enumerate(arrays):
        chosen = _spread(len(clip), shown)
        top = size[1] - i * row - _LINE - 0.1
        figure.text(0.05 / size[0], (top + 0.07) / size[1], titles[i], fontsize=NORMAL, color=INK, fontweight="bold")
        pictures = _rgba("film_strips", clip[chosen])
        heights = None if weights is None else np.asarray(weights[i], np.float64)
        for j, t in enumerate(chosen):
            left = 0.05 + j * pitch + (width - tile) / 2
            axes = figure.add_axes((left / size[0], (top - high) / size[1], tile / size[0], high / size[1]))
            bare_axes(axes)
            axes.imshow(pictures[j], interpolation="nearest", aspect="auto")
            if labels is not None:
                _captions(axes, labels[i][t], high)
            if heights is not None:
                bar = figure.add_axes(
                    (left / size[0], (top - high - below - bars) / size[1], tile / size[0], (bars - 0.04) / size[1])
                )
                bare_axes(bar)
                bar.set_ylim(0.0, max(float(heights.max()), 1e-9))
                bar.bar([0], [heights[t]], width=1.0, color=PALETTE[0])
    return figure


def _wrong(pair: tuple[str, str]) -> bool:
    said, true = pair
    return bool(true) and said != true


def _captions(axes: Axes, pair: tuple[str, str], high: float) -> None:
    said, true = pair
    wrong = _wrong(pair)
    at: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": SMALL, "transform": axes.transAxes}
    axes.text(0.5, -0.04 / high, said, color=_WRONG if wrong else INK if true else MUTED, **at)
    if wrong:
        axes.text(0.5, -(0.04 + _LINE) / high, true, color=MUTED, **at)


def accuracy_over_time(shares: Mapping[str, ArrayLike], title: str = "") -> Figure:
    """The share of right decisions after each frame, name -> (t,); NaN leaves a gap."""
    figure = _over_frames("accuracy_over_time", shares, title, "accuracy")
    figure.axes[0].set_ylim(0.0, 1.03)
    return figure


def _over_frames(owner: str, curves: Mapping[str, ArrayLike], title: str, y: str) -> Figure:
    values = {name: np.asarray(curve, np.float64) for name, curve in curves.items()}
    if not values or any(v.ndim != 1 or len(v) == 0 for v in values.values()):
        raise DataError(f"{owner}: expected at least one curve (t,) of numbers")
    figure = new_figure(6.2, 3.2)
    axes = figure.add_subplot()
    style_axes(axes, title, "frame", y)
    for i, (name, curve) in enumerate(values.items()):
        marker = "o" if len(curve) <= 40 else None
        colour = PALETTE[i % len(PALETTE)]
        axes.plot(
            np.arange(1, len(curve) + 1), curve, color=colour, linewidth=1.8, marker=marker, markersize=3.5, label=name
        )
    axes.set_ylim(bottom=0.0)
    axes.locator_params(axis="x", integer=True)
    if len(values) > 1:
        style_legend(axes)
    return figure


def video_report(
    model: VideoClassifier, path: str | os.PathLike[str], x: Any, y: Any, *, title: str | None = None
) -> None:
    """Write the HTML page behind `VideoClassifier.report`."""
    found, truth, scores = model._measured(x, y)
    names = [str(c) for c in model.classes_]
    per_frame, k = model.output == "frame", int(model.anticipate)
    rows = list(scores) if per_frame else [row[None] for row in scores]
    marks = [truth[i][: len(row)] for i, row in enumerate(rows)] if per_frame else [truth[i : i + 1] for i in
                                                                                   range(len(rows))]  # fmt: skip
    logits, labels = np.concatenate(rows), np.concatenate(marks)
    kept = labels != _NO_LABEL
    if not kept.any():
        raise DataError("report: expected at least one label")
    p, labels = model._probabilities(logits[kept]), labels[kept]
    said = p.argmax(1)
    ahead = f", {k} frames ahead" if k else ""
    report = Report(
        title or "Video classifier",
        f"{len(names)} classes{ahead}; {model.cell}, output {model.output}, frames of "
        f"{' x '.join(map(str, model.frame_shape_))}; deepcore {deepcore.__version__} on {deepcore.isa()}",
    )
    report.cards(
        {
            "Frames right" if per_frame else "Test accuracy": f"{100 * metrics.accuracy(labels, said):.2f} %",
            "Log loss": float(metrics.log_loss(labels, p)),
            "Calibration error": f"{100 * metrics.expected_calibration_error(labels, p):.1f} %",
            **training_facts(model), "Test clips": len(rows), "Test frames": sum(map(len, found.clips)),
        }
    )  # fmt: skip
    add_curves(report, model.history_)
    report.confusion(metrics.confusion_matrix(labels, said, len(names)), names)
    report.table(
        "Scores by class", class_scores(labels, said, names),
        ("class", "precision", "recall", "F1", "frames" if per_frame else "clips"),
    )  # fmt: skip
    over_time = _shares(rows, marks) if per_frame else _shares_while_watching(model, found.clips, truth)
    if over_time is not None:
        note = "Share of clips whose label at a frame is right" if per_frame else "Accuracy if clips ended at a frame"
        report.figure("Accuracy over time", accuracy_over_time({"accuracy": over_time}), f"{note}{ahead}.")
    weights = model.attention(x) if model.output == "attention" else None
    if weights is not None:
        width = max(map(len, weights))
        mean = [float(np.mean([w[t] for w in weights if t < len(w)])) for t in range(width)]
        figure = _over_frames("report", {"attention": mean}, "", "mean weight")
        report.figure("Attention over time", figure, "The mean weight of each frame over the test clips.")
    wrong = np.array([np.mean((r.argmax(1) != m)[m != _NO_LABEL]) if (m != _NO_LABEL).any() else 0.0 for r, m in
                      zip(rows, marks)])  # fmt: skip
    doubt = np.array([_doubt(model, r, m) for r, m in zip(rows, marks)])
    order = np.lexsort((-doubt, -wrong))
    worst = [int(i) for i in order if wrong[i] > 0][:_STRIPS]
    others = [int(i) for i in range(len(rows)) if i not in worst][:_STRIPS]
    note = "Below each frame what was said; orange: wrong, and below it the true label." if per_frame else ""
    note += " Bars are the attention on frames." if weights is not None else ""
    note += f" Labels are those {k} frames later." if k and per_frame else ""
    for heading, chosen in (("Most mistakes", worst), ("Some clips", others)):
        if chosen:
            figure = _strips(model, found.clips, rows, marks, names, weights, chosen)
            report.figure(heading, figure, note.strip())
    if not worst:
        report.text("Most mistakes", "None.")
    report.save(path)


def _doubt(model: VideoClassifier, scores: Any, marks: Any) -> float:
    """Mean -log p of the true labels."""
    kept = marks != _NO_LABEL
    p = model._probabilities(scores)[kept, marks[kept]]
    return float(-np.log(np.maximum(p, 1e-300)).mean()) if kept.any() else 0.0


def _shares(rows: Sequence[Any], marks: Sequence[Any]) -> NDArray[np.float64]:
    """Share of right frames by their place in the clip; NaN where there is no label."""
    width = max(map(len, rows))
    right, count = np.zeros(width), np.zeros(width)
    for row, mark in zip(rows, marks):
        kept = mark != _NO_LABEL
        right[: len(row)] += (row.argmax(1) == mark) & kept
        count[: len(row)] += kept
    return np.where(count > 0, right / np.maximum(count, 1), np.nan)


def _shares_while_watching(model: VideoClassifier, clips: Sequence[Any], truth: Any) -> NDArray[np.float64] | None:
    """Accuracy if the clips ended after each frame; None for nets that read from the end."""
    if model.bidirectional:
        return None
    width = max(map(len, clips))
    right, count = np.zeros(width), np.zeros(width)
    lengths = np.array(list(map(len, clips)))
    for length in np.unique(lengths).tolist():
        places = np.flatnonzero(lengths == length)
        state = None
        for t in range(length):
            p, state = model.step(np.stack([clips[i][t] for i in places.tolist()]), state)
            right[t] += (p.argmax(1) == truth[places]).sum()
            count[t] += len(places)
    return right / count


def _strips(
    model: VideoClassifier, clips: Sequence[Any], rows: Sequence[Any], marks: Sequence[Any], names: Sequence[str],
    weights: Sequence[Any] | None, chosen: Sequence[int],
) -> Figure:  # fmt: skip
    per_frame = model.output == "frame"
    titles, captions, bars = [], [], []
    for i in chosen:
        said, mark = rows[i].argmax(1), marks[i]
        kept = mark != _NO_LABEL
        if per_frame:
            titles.append(f"clip {i}: {int((said == mark)[kept].sum())} of {int(kept.sum())} labelled frames right")
            captions.append([(names[s], names[m] if m != _NO_LABEL else "") for s, m in zip(said, mark)])
            continue
        p = model._probabilities(rows[i])[0]
        verdict = f"clip {i}: {names[int(said[0])]} ({100 * p[said[0]]:.0f} %)"
        titles.append(verdict if said[0] == mark[0] else f"{verdict}, labelled {names[int(mark[0])]}")
        if weights is not None:
            hidden = np.zeros(len(clips[i]) - len(weights[i]))
            bars.append(np.concatenate([weights[i], hidden]))
    shown = [_drawable(clips[i]) for i in chosen]
    return film_strips(shown, titles, captions if per_frame else None, bars if bars else None)


def _drawable(clip: Any) -> Any:
    """A clip as pictures: colours in 0..1, the first channel of those with other numbers of them."""
    if clip.shape[3] not in (1, 3):
        return clip[..., 0]
    if clip.dtype != np.uint8 and clip.shape[3] == 3:
        low, high = float(clip.min()), float(clip.max())
        return (clip - low) / (high - low if high > low else 1.0)
    return clip


def _spread(count: int, shown: int) -> list[int]:
    """Places of at most `shown` frames at equal distances, the first and the last among them."""
    if count <= shown:
        return list(range(count))
    return [round(i * (count - 1) / max(shown - 1, 1)) for i in range(shown)]


__all__ = ["accuracy_over_time", "film_strips", "video_report"]
