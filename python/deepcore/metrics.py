"""Scores of predictions, in numpy. Truth comes first, as in scikit-learn; arrays may be lists.

Letters: n samples, c classes. Class labels are whole numbers 0 .. c-1. Scores and probabilities are (n, c), or (n,) for
the positive class of a binary problem.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepcore.errors import ArgumentError, DataError, DtypeError, ShapeError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Average = Literal["macro", "micro", "none"]
_Binary = Callable[[str, NDArray[np.bool_], Floats], float]


class PrecisionRecallF1(NamedTuple):
    """Three scores: numbers if averaged, arrays (c,) if per class."""

    precision: float | Floats
    recall: float | Floats
    f1: float | Floats


def accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Share of samples whose class is right. y_true (n,), y_pred (n,) classes or (n, c) scores."""
    truth = _labels("accuracy", "y_true", y_true)
    predicted = _classes("accuracy", y_pred)
    _same_length("accuracy", truth, predicted)
    return float(np.mean(truth == predicted))


def top_k_accuracy(y_true: ArrayLike, scores: ArrayLike, k: int = 5) -> float:
    """Share of samples with fewer than k other classes scored at least as high as the true class (ties count against).

    y_true (n,), scores (n, c), 1 <= k <= c.
    """
    name = "top_k_accuracy"
    s, truth = _score_matrix(name, scores), _labels(name, "y_true", y_true)
    _same_length(name, truth, s)
    _check_range(name, truth, s.shape[1])
    if not 1 <= k <= s.shape[1]:
        raise ArgumentError(f"{name}: expected 1 <= k <= {s.shape[1]}, got {k}")
    own = np.take_along_axis(s, truth[:, None], axis=1)
    return float(np.mean((s >= own).sum(axis=1) <= k))


def confusion_matrix(y_true: ArrayLike, y_pred: ArrayLike, classes: int | None = None) -> Ints:
    """Counts (c, c): row = true class, column = predicted class. y_pred (n,) classes or (n, c) scores."""
    name = "confusion_matrix"
    truth, predicted = _labels(name, "y_true", y_true), _classes(name, y_pred)
    _same_length(name, truth, predicted)
    c = int(max(truth.max(), predicted.max())) + 1 if classes is None else classes
    _check_range(name, truth, c)
    _check_range(name, predicted, c)
    return np.bincount(truth * c + predicted, minlength=c * c).reshape(c, c).astype(np.int64)


def precision_recall_f1(
    y_true: ArrayLike, y_pred: ArrayLike, average: Average = "macro", classes: int | None = None
) -> PrecisionRecallF1:
    """Per class: precision = tp / (tp + fp), recall = tp / (tp + fn), f1 = 2 tp / (2 tp + fp + fn); 0 where undefined.

    average: "macro" = plain mean over the classes that occur in truth or prediction, "micro" = from the summed counts,
    "none" = one value per class, (c,).
    """
    if average not in ("macro", "micro", "none"):
        raise ArgumentError(f"precision_recall_f1: expected average 'macro', 'micro' or 'none', got {average!r}")
    cm = confusion_matrix(y_true, y_pred, classes)
    hits, predicted, actual = np.diag(cm), cm.sum(axis=0), cm.sum(axis=1)
    if average == "micro":
        hits, predicted, actual = (np.atleast_1d(v.sum()) for v in (hits, predicted, actual))
    scores = _ratio(hits, predicted), _ratio(hits, actual), _ratio(2 * hits, predicted + actual)
    if average == "none":
        return PrecisionRecallF1(*scores)
    present = predicted + actual > 0
    return PrecisionRecallF1(*(float(score[present].mean()) for score in scores))


def roc_auc(y_true: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive is scored above a negative, ties counting one half.

    scores (n,) for binary truth 0/1; (n, c) with c >= 3 gives the plain mean over the classes, each against the rest.

    Raises:
        DataError: a class has no sample, or no other class has one; the area is not defined.

    """
    return _one_against_rest("roc_auc", y_true, scores, _binary_auc)


def average_precision(y_true: ArrayLike, scores: ArrayLike) -> float:
    """Sum over thresholds of (recall step) * precision, no interpolation; (n, c) scores give the mean over classes."""
    return _one_against_rest("average_precision", y_true, scores, _binary_average_precision)


def log_loss(y_true: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean of -log p(true class), p kept within [eps, 1 - eps] of its type.

    probabilities (n, c) with rows that sum to 1, or (n,) of class 1.
    """
    name = "log_loss"
    given = np.asarray(probabilities)
    p, truth = _probabilities(name, probabilities), _labels(name, "y_true", y_true)
    _same_length(name, truth, p)
    _check_range(name, truth, p.shape[1])
    eps = float(np.finfo(given.dtype).eps) if given.dtype.kind == "f" else float(np.finfo(np.float64).eps)
    own = np.clip(p[np.arange(len(truth)), truth], eps, 1.0 - eps)
    return float(-np.mean(np.log(own)))


def expected_calibration_error(y_true: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> float:
    """Mean over equal bins of confidence, weighted by their samples, of |accuracy - mean confidence|.

    The confidence is the highest probability. Bin b holds (b / bins, (b + 1) / bins]; 0 goes to the first.
    Source: Guo et al., "On calibration of modern neural networks", 2017.
    """
    name = "expected_calibration_error"
    if bins < 1:
        raise ArgumentError(f"{name}: expected bins >= 1, got {bins}")
    p, truth = _probabilities(name, probabilities), _labels(name, "y_true", y_true)
    _same_length(name, truth, p)
    confidence = p.max(axis=1)
    right = (p.argmax(axis=1) == truth).astype(np.float64)
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(truth))


def mse(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Mean of (y_true - y_pred)^2 over all elements; equal shapes."""
    truth, predicted = _number_pair("mse", y_true, y_pred)
    return float(np.mean((truth - predicted) ** 2))


def mae(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Mean of |y_true - y_pred| over all elements; equal shapes."""
    truth, predicted = _number_pair("mae", y_true, y_pred)
    return float(np.mean(np.abs(truth - predicted)))


def r2(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """1 - sum (y - y_pred)^2 / sum (y - mean y)^2, averaged over columns for (n, d).

    A constant column counts 1 if it is hit exactly and 0 otherwise.
    """
    truth, predicted = _number_pair("r2", y_true, y_pred)
    if len(truth) < 2:
        raise DataError(f"r2: expected at least 2 samples, got {len(truth)}")
    truth, predicted = truth.reshape(len(truth), -1), predicted.reshape(len(truth), -1)
    left = ((truth - predicted) ** 2).sum(axis=0)
    total = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    scores = np.where(left == 0.0, 1.0, 0.0)
    varies = (total > 0.0) & (left > 0.0)
    scores[varies] = 1.0 - left[varies] / total[varies]
    return float(scores.mean())


def psnr(y_true: ArrayLike, y_pred: ArrayLike, peak: float | None = None) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(peak^2 / mse); infinite for equal images.

    peak: the highest possible value; default 255 if both are uint8, otherwise it must be given.
    """
    if peak is None:
        if np.asarray(y_true).dtype != np.uint8 or np.asarray(y_pred).dtype != np.uint8:
            raise ArgumentError("psnr: expected peak for images that are not both uint8, got None")
        peak = 255.0
    if not 0.0 < peak < np.inf:
        raise ArgumentError(f"psnr: expected a finite peak > 0, got {peak}")
    error = mse(y_true, y_pred)
    return float("inf") if error == 0.0 else float(10.0 * np.log10(peak * peak / error))


def _labels(name: str, argument: str, value: ArrayLike) -> Ints:
    """Class labels (n,) as int64; whole numbers >= 0."""
    array = np.asarray(value)
    if array.ndim != 1:
        raise ShapeError(f"{name}: expected {argument} of shape (n,), got {array.shape}")
    if array.size == 0:
        raise DataError(f"{name}: expected at least one sample, got none")
    if array.dtype.kind not in "iub":
        raise DtypeError(f"{name}: expected whole numbers as {argument}, got {array.dtype}")
    labels = array.astype(np.int64)
    if labels.min() < 0:
        raise DataError(f"{name}: expected labels >= 0 in {argument}, got {labels.min()}")
    return labels


def _classes(name: str, value: ArrayLike) -> Ints:
    """Predicted classes (n,), or the argmax of scores (n, c)."""
    array = np.asarray(value)
    if array.ndim == 2:
        return np.asarray(_score_matrix(name, array).argmax(axis=1), dtype=np.int64)
    return _labels(name, "y_pred", array)


def _numbers(name: str, argument: str, value: ArrayLike) -> Floats:
    array = np.asarray(value)
    if array.dtype.kind not in "iubf":
        raise DtypeError(f"{name}: expected numbers as {argument}, got {array.dtype}")
    if array.size == 0:
        raise DataError(f"{name}: expected at least one sample, got {argument} of shape {array.shape}")
    numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(numbers))[0])
        raise DataError(f"{name}: expected finite {argument}, got {numbers[where]} at {where}")
    return numbers


def _score_matrix(name: str, value: ArrayLike) -> Floats:
    scores = _numbers(name, "scores", value)
    if scores.ndim != 2:
        raise ShapeError(f"{name}: expected scores of shape (n, c), got {scores.shape}")
    return scores


def _probabilities(name: str, value: ArrayLike) -> Floats:
    """(n, c) rows that sum to 1; (n,) is the probability of class 1 of two."""
    p = _numbers(name, "probabilities", value)
    if p.ndim == 1:
        p = np.stack([1.0 - p, p], axis=1)
    if p.ndim != 2:
        raise ShapeError(f"{name}: expected probabilities of shape (n, c) or (n,), got {p.shape}")
    sums = p.sum(axis=1)
    bad = (p.min(axis=1) < 0.0) | (np.abs(sums - 1.0) > 1e-3)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"{name}: expected probabilities >= 0 with sum 1 in each row, got {p[row]} in row {row}")
    return np.asarray(p, dtype=np.float64)


def _number_pair(name: str, y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Floats, Floats]:
    truth, predicted = _numbers(name, "y_true", y_true), _numbers(name, "y_pred", y_pred)
    if truth.shape != predicted.shape or truth.ndim == 0:
        raise ShapeError(f"{name}: expected two arrays of one shape, got {truth.shape} and {predicted.shape}")
    return truth, predicted


def _same_length(name: str, truth: NDArray[Any], predicted: NDArray[Any]) -> None:
    if len(truth) != len(predicted):
        raise ShapeError(f"{name}: expected as many predictions as labels, got {predicted.shape} and {truth.shape}")


def _check_range(name: str, labels: Ints, classes: int) -> None:
    if labels.max() >= classes:
        where = int(np.argmax(labels >= classes))
        raise DataError(f"{name}: expected labels in 0..{classes - 1}, got {labels[where]} at sample {where}")


def _ratio(top: NDArray[Any], bottom: NDArray[Any]) -> Floats:
    out: Floats = np.zeros(len(top))
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out


def _one_against_rest(name: str, y_true: ArrayLike, scores: ArrayLike, binary: _Binary) -> float:
    truth, s = _labels(name, "y_true", y_true), _numbers(name, "scores", scores)
    _same_length(name, truth, s)
    if s.ndim == 2 and s.shape[1] == 2:
        s = s[:, 1]
    if s.ndim == 1:
        _check_range(name, truth, 2)
        return binary(name, truth == 1, s)
    s = _score_matrix(name, s)
    _check_range(name, truth, s.shape[1])
    return float(np.mean([binary(f"{name}, class {k}", truth == k, s[:, k]) for k in range(s.shape[1])]))


def _binary_auc(name: str, positive: NDArray[np.bool_], scores: Floats) -> float:
    """Mann-Whitney: from the mean ranks of the positives."""
    p, n = int(positive.sum()), int((~positive).sum())
    if p == 0 or n == 0:
        raise DataError(f"{name}: expected positives and negatives, got {p} and {n}")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2.0
    return float((mean_rank[inverse.reshape(-1)][positive].sum() - p * (p + 1) / 2.0) / (p * n))


def _binary_average_precision(name: str, positive: NDArray[np.bool_], scores: Floats) -> float:
    p = int(positive.sum())
    if p == 0:
        raise DataError(f"{name}: expected at least one positive, got none")
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # last sample of each tie
    hits = np.cumsum(positive[order])[ends]
    return float(np.sum(np.diff(hits, prepend=0) / p * (hits / (ends + 1))))


__all__ = [
    "PrecisionRecallF1",
    "accuracy",
    "average_precision",
    "confusion_matrix",
    "expected_calibration_error",
    "log_loss",
    "mae",
    "mse",
    "precision_recall_f1",
    "psnr",
    "r2",
    "roc_auc",
    "top_k_accuracy",
]
