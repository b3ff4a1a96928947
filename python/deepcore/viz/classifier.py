"""The report of an image classifier."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import deepcore
from deepcore import explain, metrics, nn
from deepcore.viz.images import _MAX_TILES
from deepcore.viz.report import Report

if TYPE_CHECKING:
    from deepcore.estimators.cnn import ImageClassifier

_HIDDEN = ("samples_per_second", "clipped")  # of the history


def classifier_report(
    classifier: ImageClassifier, path: str | os.PathLike[str], x: Any, y: Any, *, title: str | None = None
) -> None:
    """Write the HTML page behind `ImageClassifier.report`."""
    images = classifier._images(x, fitting=False)
    truth = np.searchsorted(classifier.classes_, np.asarray(y).reshape(-1))
    p = classifier.predict_proba(images)
    names = [str(c) for c in classifier.classes_]
    top = {"Test accuracy": f"{100 * metrics.accuracy(truth, p.argmax(1)):.2f} %"}
    if len(names) > 5:
        top["Top-3 accuracy"] = f"{100 * metrics.top_k_accuracy(truth, p, 3):.1f} %"
    report = Report(
        title or f"Image classifier {classifier.preset}",
        f"{len(names)} classes, images of {' x '.join(map(str, classifier.image_shape_))}; deepcore "
        f"{deepcore.__version__} on {deepcore.isa()}",
    )
    report.cards(
        {
            **top, "Log loss": float(metrics.log_loss(truth, p)),
            "Calibration error": f"{100 * metrics.expected_calibration_error(truth, p):.1f} %",
            **training_facts(classifier), "Test images": len(images),
        }
    )  # fmt: skip
    add_curves(report, classifier.history_)
    report.confusion(metrics.confusion_matrix(truth, p.argmax(1), len(names)), names)
    report.worst_mistakes(images, truth, p, names)
    _inside(report, classifier, images, truth, names)
    report.table(
        "Scores by class", class_scores(truth, p.argmax(1), names), ("class", "precision", "recall", "F1", "images")
    )
    report.table("Layers", _layers(classifier), ("layer", "kind", "parameters"), "From the image to the output.")
    report.save(path)


def _inside(report: Report, classifier: ImageClassifier, images: Any, truth: Any, names: list[str]) -> None:
    """Filters, feature maps and the heat maps of one image per class."""
    model, first = classifier.model_, classifier.first_convolution()
    report.filters(first.weight.numpy()[:_MAX_TILES], "Filters of the first layer")
    shown = [int(np.flatnonzero(truth == k)[0]) for k in range(len(names)) if (truth == k).any()][:10]
    inputs = classifier._scaled(images[shown])
    report.feature_maps(explain.feature_maps(model, inputs[:1], first)[0], "Feature maps of the first layer")
    labels = [names[truth[i]] for i in shown]
    pictures = images[shown]
    report.heatmaps(pictures, explain.grad_cam(model, inputs), labels, "Grad-CAM",
                    "Bright regions of the last convolution speak most for the predicted class.")  # fmt: skip
    report.heatmaps(pictures, explain.saliency(model, inputs), labels, "Saliency",
                    "Bright pixels change the score of the predicted class most.")  # fmt: skip
    size = max(2, min(classifier.image_shape_[:2]) // 4)
    covered = explain.occlusion(model, inputs, size=size, stride=max(1, size // 3))
    report.heatmaps(pictures, covered, labels, "Occlusion",
                    f"Bright regions lower the probability of the predicted class when a {size} x {size} square covers "
                    "them.")  # fmt: skip


def training_facts(estimator: Any, before: Sequence[dict[str, Any]] = ()) -> dict[str, str | int]:
    """Parameters, epochs and training time of a fitted estimator, for the cards of its report.

    before: the history of a training that came first; its time counts.
    """
    seconds = sum(r.get("seconds", 0.0) for r in (*before, *estimator.history_))
    return {"Parameters": sum(q.size for q in estimator.model_.parameters()), "Epochs": len(estimator.history_),
            "Training time": f"{seconds:.1f} s"}  # fmt: skip


def add_curves(report: Report, history: list[dict[str, Any]]) -> None:
    """Learning curves, if there is a history."""
    if history:
        report.learning_curves([{k: v for k, v in r.items() if k not in _HIDDEN} for r in history])


def class_scores(truth: Any, guess: Any, names: list[str]) -> list[list[Any]]:
    """Rows of class, precision, recall, F1 and samples of the class, from positions of classes (n,)."""
    rows: list[list[Any]] = []
    for k, name in enumerate(names):
        hit = int(((truth == k) & (guess == k)).sum())
        said, there = int((guess == k).sum()), int((truth == k).sum())
        precision, recall = hit / said if said else 0.0, hit / there if there else 0.0
        f1 = 2 * precision * recall / (precision + recall) if hit else 0.0
        rows.append([name, f"{precision:.3f}", f"{recall:.3f}", f"{f1:.3f}", there])
    return rows


def _layers(classifier: ImageClassifier) -> list[list[Any]]:
    return [
        [name, repr(m).replace("\n", " "), sum(p.size for p in m._parameters.values())]
        for name, m in classifier.model_.named_modules()
        if not m._modules and isinstance(m, nn.Module)
    ]
