from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deepcore import sequence_metrics as metrics
from deepcore.errors import ArgumentError, DataError, DtypeError, ShapeError


def words(*texts: str) -> list[list[str]]:
    return [text.split() for text in texts]


# Sentences


def test_bleu_by_hand() -> None:
    """The examples of Papineni et al.: clipped unigrams 2/7; then a corpus of two with a penalty."""
    references = [words("the cat is on the mat", "there is a cat on the mat")]
    assert metrics.bleu(references, words("the the the the the the the")).precisions == (2 / 7, 0, 0, 0)
    scores = metrics.bleu(references, words("the cat on the mat"))
    assert scores.precisions == (1, 1, 2 / 3, 1 / 2)  # of neither reference: 'the cat on', 'the cat on the'
    assert scores.brevity_penalty == pytest.approx(math.exp(1 - 6 / 5))
    assert scores.bleu1 == pytest.approx(math.exp(-1 / 5))
    assert scores.bleu3 == pytest.approx(math.exp(-1 / 5) * (2 / 3) ** (1 / 3))
    corpus = metrics.bleu([*references, words("a b c d e")], words("the cat on the mat", "a b c d x y"))
    assert corpus.precisions == (9 / 11, 7 / 9, 4 / 7, 2 / 5) and corpus.brevity_penalty == 1  # 11 against 6 + 5
    assert corpus.bleu4 == pytest.approx((9 / 11 * 7 / 9 * 4 / 7 * 2 / 5) ** 0.25)


def test_bleu_lengths() -> None:
    same = metrics.bleu([words("a b c d e")], words("a b c d e"))
    assert same[:4] == pytest.approx((1, 1, 1, 1)) and same.brevity_penalty == 1
    # Of references one shorter and one longer the shorter counts.
    assert metrics.bleu([words("a b c", "a b c d e")], words("a b c d")).brevity_penalty == 1
    assert metrics.bleu([words("a b c d e", "a b c")], words("a b c d")).brevity_penalty == 1
    assert metrics.bleu([words("a b")], [[]])[:4] == (0, 0, 0, 0)
    assert metrics.bleu([[[1, 2, 3, 4]]], [np.array([1, 2, 3, 4])]).bleu4 == 1  # type: ignore[list-item]


def test_cider_by_hand() -> None:
    """Three samples; 'a' is in the references of all and has no weight, 'dog' in one, 'cat' in two."""
    references = [words("a dog"), words("a cat"), words("a cat", "a red cat")]
    rare, half = math.log(3), math.log(3 / 2)
    assert metrics.cider(references, words("a dog", "a a", "a")) == pytest.approx(10 * (1 + 1) / (4 * 3))
    # 'dog dog': the count is clipped to 1, the bigram is of no reference, the lengths are equal.
    assert metrics.cider(references, words("dog dog", "a", "a")) == pytest.approx(
        10 * (2 * rare**2 / 2 / rare**2 / 2) / 12
    )
    # 'red cat' and the two references of the third sample.
    first = half / math.hypot(rare, half)  # cosine with 'cat' alone
    second_unigrams = 1.0
    second_bigrams = rare / math.hypot(rare, rare)  # 'red cat' of 'a red', 'red cat'
    near = math.exp(-1 / 72)
    expected = 10 * (first + near * (second_unigrams + second_bigrams)) / 2 / 12
    assert metrics.cider(references, words("a", "a", "red cat")) == pytest.approx(expected)


def test_cider_extremes() -> None:
    references = [words("a man rides a brown horse"), words("two dogs play in green grass")]
    assert metrics.cider(references, [r[0] for r in references]) == pytest.approx(10)
    assert metrics.cider(references, [r[0] for r in reversed(references)]) == 0
    assert metrics.cider(references, [[], []]) == 0


@pytest.mark.parametrize("score", [metrics.bleu, metrics.cider])
def test_sentences_that_cannot_be_compared(score: Callable[..., Any]) -> None:
    two = words("a b", "c d")
    for references, candidates, error, message in (
        ([[two[0]]], two, ShapeError, "got 1 and 2 candidates"),
        ([], [], DataError, "at least one candidate"),
        ([[two[0]], []], two, DataError, "got none at 1"),
        ([[two[0]], ["c d"]], two, DtypeError, "got a text at 1; split it"),
        ([[two[0]], [two[1]]], ["a b", two[1]], DtypeError, "got a text at 0"),
    ):
        with pytest.raises(error, match=message):
            score(references, candidates)
    with pytest.raises(DataError, match="at least 2 samples"):
        metrics.cider([[two[0]]], two[:1])


def test_perplexity() -> None:
    logs = np.log([[0.5, 0.25], [0.125, 0.9]])
    assert metrics.perplexity(logs[:1]) == pytest.approx(2**1.5)
    assert metrics.perplexity(logs, [[True, True], [True, False]]) == pytest.approx(4)
    assert metrics.perplexity(np.full(1000, -np.log(50), np.float32)) == pytest.approx(50, rel=1e-6)
    assert metrics.perplexity([0, 0]) == 1
    assert metrics.perplexity([-1e9]) == metrics.perplexity([-np.inf, -1]) == math.inf
    for call, error, message in (
        (lambda: metrics.perplexity([0.5, -1]), DataError, "<= 0, got 0.5"),
        (lambda: metrics.perplexity([math.nan]), DataError, "got nan"),
        (lambda: metrics.perplexity([]), DataError, "at least one token"),
        (lambda: metrics.perplexity([-1.0], [False]), DataError, "at least one token"),
        (lambda: metrics.perplexity([-1.0], [1]), ShapeError, "got int64"),
        (lambda: metrics.perplexity(["a"]), DtypeError, "expected numbers"),
    ):
        with pytest.raises(error, match=message):
            call()


# Forecasts


def test_percentage_error() -> None:
    assert metrics.mape([10, -20], [9, -25]) == pytest.approx((0.1 + 0.25) / 2)
    with pytest.raises(DataError, match=r"got 0 at \(1,\)"):
        metrics.mape([1, 0], [1, 1])


def test_scaled_error() -> None:
    train = [1, 3, 2, 6]  # steps of 2, 1, 4; over two rows 1, 3
    assert metrics.mase([7, 8], [6, 5], train) == pytest.approx(2 / (7 / 3))
    assert metrics.mase([7, 8], [6, 5], train, season=2) == pytest.approx(2 / 2)
    table = np.array([[0, 0], [1, 10], [2, 20]])
    truth = np.array([[[3, 30], [4, 40]]])
    assert metrics.mase(truth, truth + [1, 5], table) == pytest.approx((1 + 0.5) / 2)
    for call, error, message in (
        (lambda: metrics.mase([1], [1], [1, 2], 2), DataError, "more than 2 rows"),
        (lambda: metrics.mase([1], [1], [1, 2], 0), ArgumentError, "season >= 1"),
        (lambda: metrics.mase([1], [1], [2, 2]), DataError, "never does"),
        (lambda: metrics.mase([1], [1], table), ShapeError, r"got \(3, 2\) and \(1,\)"),
    ):
        with pytest.raises(error, match=message):
            call()


def test_coverage() -> None:
    assert metrics.interval_coverage([1, 2, 3, 4], [1, 2.5, 0, 0], [2, 3, 3, 3]) == 0.5
    with pytest.raises(DataError, match=r"expected lower <= upper, got 2.0 and 1.0 at \(1,\)"):
        metrics.interval_coverage([1, 1], [0, 2], [1, 1])


def test_pinball() -> None:
    assert metrics.pinball([10, 10], [8, 13], 0.9) == pytest.approx((0.9 * 2 + 0.1 * 3) / 2)
    assert metrics.pinball([1, 5], [2, 2]) == pytest.approx((1 + 3) / 2 / 2)
    several = metrics.pinball([10, 10], [[8, 13], [10, 9]], [0.1, 0.5])
    assert several == pytest.approx((0.1 * 2 + 0.5 * 3 + 0 + 0.5) / 4)
    y = np.arange(101.0)
    losses = [metrics.pinball(y, np.full(101, level), 0.2) for level in (10.0, 20.0, 30.0)]
    assert losses[1] == min(losses)
    for quantile in (0, 1.0, math.nan, [], [0.5, 2], "a"):
        with pytest.raises(ArgumentError, match="0 < quantile < 1"):
            metrics.pinball([1], [1], quantile)  # type: ignore[arg-type]


@pytest.mark.parametrize("score", [metrics.mape, metrics.pinball, lambda a, b: metrics.mase(a, b, [1, 2]),
                                   lambda a, b: metrics.interval_coverage(a, a, b)])  # fmt: skip
def test_forecasts_that_cannot_be_compared(score: Callable[..., Any]) -> None:
    for truth, predicted, error, message in (
        ([1, 2], [1, 2, 3], ShapeError, r"got \(2,\).* and \(3,\)"),
        ([1, math.nan], [1, 2], DataError, r"expected finite y_true, got nan at \(1,\)"),
        ([], [], DataError, "at least one sample"),
        (["a"], [1], DtypeError, "expected numbers as y_true"),
    ):
        with pytest.raises(error, match=message):
            score(truth, predicted)
