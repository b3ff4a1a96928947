"""Scores of sentences, language models and forecasts, in numpy. Truth comes first, as in `deepcore.metrics`.

A sentence is a sequence of tokens. Each of n candidate sentences has one or more reference sentences.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepcore.errors import ArgumentError, DataError, DtypeError, ShapeError
from deepcore.metrics import _number_pair, _numbers

Floats = NDArray[np.float64]
Sentence = Sequence[Any]
Grams = Counter[tuple[Any, ...]]

_ORDERS = 4  # n-grams of 1 .. 4 tokens
_CIDER_DEVIATION = 6.0  # of lengths, in tokens
_CIDER_SCALE = 10.0


class Bleu(NamedTuple):
    """BLEU-1 .. BLEU-4 and what they are made of."""

    bleu1: float
    bleu2: float
    bleu3: float
    bleu4: float
    precisions: tuple[float, float, float, float]  # of n-grams, clipped
    brevity_penalty: float


def bleu(references: Sequence[Sequence[Sentence]], candidates: Sequence[Sentence]) -> Bleu:
    """BLEU of a corpus: brevity penalty times the geometric mean of clipped precisions of n-grams, n up to 1 .. 4.

    Counts are summed over the corpus before they are divided; nothing is smoothed, so that a precision of 0 makes a
    score 0. A candidate is compared in length with the reference nearest in length, the shorter of two.
    Source: Papineni et al., "BLEU: a method for automatic evaluation of machine translation", 2002.

    Args:
        references: for each of n candidates one or more sentences.
        candidates: n sentences.

    Raises:
        ShapeError: the numbers differ.
        DataError: there is no candidate, or one has no reference.
        DtypeError: a sentence is a text instead of a sequence of tokens.
    """
    _check_sentences("bleu", references, candidates)
    hits, total = [0] * _ORDERS, [0] * _ORDERS
    own_length = near_length = 0
    for truths, candidate in zip(references, candidates):
        own_length += len(candidate)
        near_length += min((abs(len(truth) - len(candidate)), len(truth)) for truth in truths)[1]
        for n in range(1, _ORDERS + 1):
            own, most = _grams(candidate, n), Counter[tuple[Any, ...]]()
            for truth in truths:
                most |= _grams(truth, n)
            hits[n - 1] += (own & most).total()
            total[n - 1] += own.total()
    penalty = 1.0 if own_length > near_length else math.exp(1 - near_length / own_length) if own_length else 0.0
    p1, p2, p3, p4 = (h / t if t else 0.0 for h, t in zip(hits, total))
    b1, b2, b3, b4 = (penalty * _geometric_mean(p) for p in ((p1,), (p1, p2), (p1, p2, p3), (p1, p2, p3, p4)))
    return Bleu(b1, b2, b3, b4, (p1, p2, p3, p4), penalty)


def cider(references: Sequence[Sequence[Sentence]], candidates: Sequence[Sentence]) -> float:
    """CIDEr-D of a corpus: ten times the mean similarity of candidates and references, in 0 .. 10.

    Sentences are vectors of n-grams, counts times log(corpus / samples with the n-gram in a reference). The similarity
    is the cosine of the vectors with the candidate's entries clipped to the reference's, times
    exp(-(difference of lengths)^2 / 72), averaged over references and over n = 1 .. 4. Words are taken as they are,
    without stemming, as in the evaluation of COCO captions.
    Source: Vedantam, Zitnick and Parikh, "CIDEr: consensus-based image description evaluation", 2015.

    Args:
        references: for each of n candidates one or more sentences.
        candidates: n >= 2 sentences, of all samples whose references tell common n-grams from rare ones.

    Raises:
        ShapeError: the numbers differ.
        DataError: there are fewer than 2 candidates, or one has no reference.
        DtypeError: a sentence is a text instead of a sequence of tokens.
    """
    name = "cider"
    _check_sentences(name, references, candidates)
    if len(candidates) < 2:
        raise DataError(f"{name}: expected at least 2 samples, to tell common from rare, got {len(candidates)}")
    score = 0.0
    for n in range(1, _ORDERS + 1):
        grams = [[_grams(truth, n) for truth in truths] for truths in references]
        samples = Counter(gram for own in grams for gram in set().union(*own))
        weight = {gram: math.log(len(candidates) / count) for gram, count in samples.items()}
        unseen = math.log(len(candidates))
        for truths, own, candidate in zip(references, grams, candidates):
            x = {g: count * weight.get(g, unseen) for g, count in _grams(candidate, n).items()}
            for truth, counts in zip(truths, own):
                y = {g: count * weight[g] for g, count in counts.items()}
                both = sum(min(x[g], y[g]) * y[g] for g in x.keys() & y.keys())
                lengths = math.hypot(*x.values()) * math.hypot(*y.values())
                apart = len(candidate) - len(truth)
                if lengths > 0:
                    score += both / lengths * math.exp(-(apart**2) / (2 * _CIDER_DEVIATION**2)) / len(truths)
    return _CIDER_SCALE * score / (_ORDERS * len(candidates))


def perplexity(log_probabilities: ArrayLike, mask: ArrayLike | None = None) -> float:
    """exp(-mean log p) of the tokens that came; natural logarithms in any shape.

    mask: bool of the same shape, False where there is padding. Infinite if a token had probability 0.
    """
    name = "perplexity"
    logs = np.asarray(log_probabilities)
    if logs.dtype.kind not in "iuf":
        raise DtypeError(f"{name}: expected numbers, got {logs.dtype}")
    if mask is not None:
        counts = np.asarray(mask)
        if counts.dtype != np.bool_ or counts.shape != logs.shape:
            raise ShapeError(f"{name}: expected a mask bool {logs.shape}, got {counts.dtype} {counts.shape}")
        logs = logs[counts]
    if logs.size == 0:
        raise DataError(f"{name}: expected at least one token, got none")
    if not (logs <= 1e-6).all():
        raise DataError(f"{name}: expected logarithms of probabilities, <= 0, got {logs[~(logs <= 1e-6)][0]}")
    try:
        return math.exp(-float(np.mean(logs, dtype=np.float64)))
    except OverflowError:
        return math.inf


def mape(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Mean of |(y_true - y_pred) / y_true| over all elements, as a share: 0.1 is ten per cent. Equal shapes.

    Raises:
        DataError: a true value is 0.
    """
    truth, predicted = _number_pair("mape", y_true, y_pred)
    if (truth == 0).any():
        where = tuple(int(i) for i in np.argwhere(truth == 0)[0])
        raise DataError(f"mape: expected true values other than 0, got 0 at {where}; mase has no such limit")
    return float(np.mean(np.abs((truth - predicted) / truth)))


def mase(y_true: ArrayLike, y_pred: ArrayLike, y_train: ArrayLike, season: int = 1) -> float:
    """Mean absolute error, in units of that of the forecast "as one season before" on the series trained on.

    Below 1 a forecast beats the naive one. y_true and y_pred have equal shapes; for y_train (n, d) their last dimension
    is d and each column has a unit of its own.
    Source: Hyndman and Koehler, "Another look at measures of forecast accuracy", 2006.

    Raises:
        DataError: y_train has no more rows than a season, or repeats itself exactly.
    """
    name = "mase"
    truth, predicted = _number_pair(name, y_true, y_pred)
    train = _numbers(name, "y_train", y_train)
    if train.ndim not in (1, 2) or (train.ndim == 2 and truth.shape[-1] != train.shape[1]):
        raise ShapeError(
            f"{name}: expected y_train (n,), or (n, d) beside y_true (..., d), got {train.shape} and {truth.shape}"
        )
    if season < 1:
        raise ArgumentError(f"{name}: expected season >= 1, got {season}")
    if len(train) <= season:
        raise DataError(f"{name}: expected more than {season} rows of y_train (one season), got {len(train)}")
    unit = np.abs(train[season:] - train[:-season]).mean(0)
    if (unit == 0).any():
        raise DataError(f"{name}: expected y_train to change from season to season, got a column that never does")
    return float(np.mean(np.abs(truth - predicted) / unit))


def interval_coverage(y_true: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> float:
    """Share of true values within [lower, upper]; equal shapes. A good 90 % interval has about 0.9.

    Raises:
        DataError: a lower bound is above its upper bound.
    """
    name = "interval_coverage"
    truth, low, high = _numbers(name, "y_true", y_true), _numbers(name, "lower", lower), _numbers(name, "upper", upper)
    if not truth.shape == low.shape == high.shape:
        raise ShapeError(f"{name}: expected three arrays of one shape, got {truth.shape}, {low.shape} and {high.shape}")
    if (low > high).any():
        where = tuple(int(i) for i in np.argwhere(low > high)[0])
        raise DataError(f"{name}: expected lower <= upper, got {low[where]} and {high[where]} at {where}")
    return float(np.mean((low <= truth) & (truth <= high)))


def pinball(y_true: ArrayLike, y_pred: ArrayLike, quantile: float | Sequence[float] = 0.5) -> float:
    """Mean of q (y - y_pred) where y is above and (1 - q) (y_pred - y) where it is below: least for the q-quantile.

    Several quantiles: y_pred has one dimension more than y_true, the last, with a prediction for each; the mean is over
    all. Source: Koenker and Bassett, "Regression quantiles", 1978.

    Raises:
        ArgumentError: a quantile is not within 0 < q < 1.
    """
    name = "pinball"
    q = np.asarray(quantile)
    if q.dtype.kind not in "iuf" or q.ndim > 1 or q.size == 0 or not ((q > 0) & (q < 1)).all():
        raise ArgumentError(f"{name}: expected 0 < quantile < 1, or several, got {quantile!r}")
    truth = _numbers(name, "y_true", y_true)
    truth, predicted = _number_pair(name, np.repeat(truth[..., None], len(q), axis=-1) if q.ndim else truth, y_pred)
    above = truth - predicted
    return float(np.mean(np.maximum(q * above, (q - 1) * above)))


def _grams(sentence: Sentence, n: int) -> Grams:
    return Counter(tuple(sentence[i : i + n]) for i in range(len(sentence) - n + 1))


def _geometric_mean(shares: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, shares)) / len(shares)) if min(shares) > 0 else 0.0


def _check_sentences(name: str, references: Sequence[Sequence[Sentence]], candidates: Sequence[Sentence]) -> None:
    if len(references) != len(candidates):
        raise ShapeError(
            f"{name}: expected references for each candidate, got {len(references)} and {len(candidates)} candidates"
        )
    if len(candidates) == 0:
        raise DataError(f"{name}: expected at least one candidate, got none")
    for i, (truths, candidate) in enumerate(zip(references, candidates)):
        if len(truths) == 0:
            raise DataError(f"{name}: expected at least one reference of each candidate, got none at {i}")
        if any(isinstance(sentence, str) for sentence in (truths, candidate, *truths)):
            raise DtypeError(f"{name}: expected sentences as sequences of tokens, got a text at {i}; split it first")


__all__ = ["Bleu", "bleu", "cider", "interval_coverage", "mape", "mase", "perplexity", "pinball"]
