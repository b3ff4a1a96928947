from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from deepcore import metrics
from deepcore.errors import ArgumentError, DataError, DtypeError, ShapeError

rng = np.random.default_rng(0)


def problem(n: int, c: int, coarse: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Labels that hold every class, probabilities (n, c) that are related to them; coarse ones have ties."""
    y = np.concatenate([np.arange(c), rng.integers(0, c, n - c)])
    logits = rng.normal(size=(n, c)) + 1.5 * np.eye(c)[y]
    if coarse:
        logits = np.round(logits)
    p = np.exp(logits)
    return y, p / p.sum(axis=1, keepdims=True)


SIZES = [(7, 3), (50, 4), (400, 10)]


def test_by_hand() -> None:
    y, predicted = [0, 0, 1, 2], [0, 1, 1, 1]
    assert metrics.accuracy(y, predicted) == 0.5
    np.testing.assert_array_equal(metrics.confusion_matrix(y, predicted), [[1, 1, 0], [0, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(metrics.confusion_matrix(y, predicted, classes=4)[3], [0, 0, 0, 0])
    scores = metrics.precision_recall_f1(y, predicted, average="none")
    np.testing.assert_allclose(scores.precision, [1, 1 / 3, 0])
    np.testing.assert_allclose(scores.recall, [0.5, 1, 0])
    np.testing.assert_allclose(scores.f1, [2 / 3, 0.5, 0])
    assert metrics.roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 0.75
    assert metrics.roc_auc([0, 1], [0.5, 0.5]) == 0.5
    assert metrics.top_k_accuracy([0, 1, 2], np.eye(3), k=1) == 1.0
    assert metrics.top_k_accuracy([0, 1, 2], np.zeros((3, 3)), k=2) == 0.0
    assert metrics.psnr(np.zeros(4), np.full(4, 0.1), peak=1.0) == pytest.approx(20.0)
    assert metrics.psnr(np.zeros(4, np.uint8), np.zeros(4, np.uint8)) == np.inf
    assert metrics.psnr(np.zeros(2, np.uint8), np.full(2, 255, np.uint8)) == pytest.approx(0.0)
    assert metrics.r2([1.0, 1.0], [1.0, 1.0]) == 1.0
    assert metrics.r2([1.0, 1.0], [1.0, 2.0]) == 0.0


def test_calibration_by_hand() -> None:
    # Two bins: (0, 0.5] holds one sample (confidence 0.5, right), (0.5, 1] two (0.9 right, 0.7 wrong).
    p = [[0.5, 0.5], [0.9, 0.1], [0.3, 0.7]]
    assert metrics.expected_calibration_error([0, 0, 0], p, bins=2) == pytest.approx((0.5 + abs(1 - 1.6)) / 3)
    always_right = metrics.expected_calibration_error([1, 1], [1.0, 1.0])
    assert always_right == 0.0


@pytest.mark.parametrize(("n", "c"), SIZES)
@pytest.mark.parametrize("coarse", [False, True])
def test_classification_against_sklearn(n: int, c: int, coarse: bool) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    y, p = problem(n, c, coarse)
    predicted = p.argmax(axis=1)
    assert metrics.accuracy(y, p) == metrics.accuracy(y, predicted) == sk.accuracy_score(y, predicted)
    np.testing.assert_array_equal(metrics.confusion_matrix(y, p), sk.confusion_matrix(y, predicted))
    for average, theirs in (("macro", "macro"), ("micro", "micro"), ("none", None)):
        mine = metrics.precision_recall_f1(y, predicted, average=average)  # type: ignore[arg-type]
        other = sk.precision_recall_fscore_support(y, predicted, average=theirs, zero_division=0)[:3]
        for a, b in zip(mine, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    assert metrics.roc_auc(y, p) == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr"))
    assert metrics.average_precision(y, p) == pytest.approx(sk.average_precision_score(np.eye(c)[y], p))
    assert metrics.log_loss(y, p) == pytest.approx(sk.log_loss(y, p))
    if not coarse:
        for k in range(1, c):
            assert metrics.top_k_accuracy(y, p, k) == sk.top_k_accuracy_score(y, p, k=k, labels=range(c))


@pytest.mark.parametrize("coarse", [False, True])
def test_binary_against_sklearn(coarse: bool) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    y, p = problem(200, 2, coarse)
    for given in (p, p[:, 1]):
        assert metrics.roc_auc(y, given) == pytest.approx(sk.roc_auc_score(y, p[:, 1]))
        assert metrics.average_precision(y, given) == pytest.approx(sk.average_precision_score(y, p[:, 1]))
        assert metrics.log_loss(y, given) == pytest.approx(sk.log_loss(y, p))


def test_certain_but_wrong_log_loss_is_finite() -> None:
    sk = pytest.importorskip("sklearn.metrics")
    for dtype in (np.float32, np.float64):
        p = np.eye(2, dtype=dtype)
        assert metrics.log_loss([1, 1], p) == pytest.approx(sk.log_loss([1, 1], p, labels=[0, 1]))


@pytest.mark.parametrize("shape", [(2,), (30,), (30, 4)])
def test_regression_against_sklearn(shape: tuple[int, ...]) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    y, p = rng.normal(size=shape), rng.normal(size=shape)
    assert metrics.mse(y, p) == pytest.approx(sk.mean_squared_error(y, p))
    assert metrics.mae(y, p) == pytest.approx(sk.mean_absolute_error(y, p))
    assert metrics.r2(y, p) == pytest.approx(sk.r2_score(y, p))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: metrics.accuracy([], []), DataError, "at least one sample"),
        (lambda: metrics.accuracy([0, 1], [0]), ShapeError, "as many predictions"),
        (lambda: metrics.accuracy([[0]], [0]), ShapeError, r"shape \(n,\), got \(1, 1\)"),
        (lambda: metrics.accuracy([0.5], [0]), DtypeError, "whole numbers as y_true"),
        (lambda: metrics.accuracy([-1], [0]), DataError, "got -1"),
        (lambda: metrics.accuracy([0], [[np.nan, 1.0]]), DataError, r"got nan at \(0, 0\)"),
        (lambda: metrics.top_k_accuracy([0], [[1.0, 2.0]], k=3), ArgumentError, "got 3"),
        (lambda: metrics.top_k_accuracy([0, 5], np.eye(2), k=1), DataError, r"0\.\.1, got 5 at sample 1"),
        (lambda: metrics.confusion_matrix([0, 3], [0, 1], classes=3), DataError, "got 3 at sample 1"),
        (lambda: metrics.precision_recall_f1([0], [0], average="all"), ArgumentError, "got 'all'"),  # type: ignore[arg-type]
        (lambda: metrics.roc_auc([1, 1], [0.1, 0.2]), DataError, "got 2 and 0"),
        (lambda: metrics.roc_auc([0, 1, 1], np.ones((3, 3))), DataError, "class 2"),
        (lambda: metrics.roc_auc([0, 2], [0.1, 0.2]), DataError, r"0\.\.1, got 2"),
        (lambda: metrics.average_precision([0, 0], [0.1, 0.2]), DataError, "at least one positive"),
        (lambda: metrics.log_loss([0], [[0.6, 0.6]]), DataError, "in row 0"),
        (lambda: metrics.log_loss([0], np.ones((1, 1, 1))), ShapeError, r"\(1, 1, 1\)"),
        (lambda: metrics.expected_calibration_error([0], [[1.0, 0.0]], bins=0), ArgumentError, "got 0"),
        (lambda: metrics.mse([1.0], [1.0, 2.0]), ShapeError, r"\(1,\) and \(2,\)"),
        (lambda: metrics.mse(["a"], ["b"]), DtypeError, "numbers as y_true"),
        (lambda: metrics.r2([1.0], [1.0]), DataError, "at least 2"),
        (lambda: metrics.psnr([1.0], [1.0]), ArgumentError, "peak"),
    ],
)
def test_errors(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
