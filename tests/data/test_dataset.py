from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from deepcore.data.dataset import ArrayDataset, Dataset, PairDataset, SequenceDataset, Subset, k_fold, train_val_split
from deepcore.errors import ArgumentError, DataError, ShapeError


def labels(counts: list[int]) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))


def test_array_dataset() -> None:
    x, y = np.arange(12).reshape(6, 2), np.arange(6)
    dataset = ArrayDataset(x, y)
    assert isinstance(dataset, Dataset) and len(dataset) == 6
    got = dataset[np.array([4, 0, 4])]
    np.testing.assert_array_equal(got[0], x[[4, 0, 4]])
    np.testing.assert_array_equal(got[1], [4, 0, 4])
    assert dataset.arrays[0] is x


def test_sequence_dataset() -> None:
    dataset = SequenceDataset([[1, 2, 3], [4], [5, 6]], [10, 11, 12], padding=-1)
    padded, lengths, targets = dataset[np.array([1, 2])]
    np.testing.assert_array_equal(padded, [[4, -1], [5, 6]])
    np.testing.assert_array_equal(lengths, [1, 2])
    np.testing.assert_array_equal(targets, [11, 12])
    vectors = SequenceDataset([np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)])
    assert vectors[np.array([0, 1])][0].shape == (2, 4, 3)
    assert vectors[np.array([0, 1])][0].sum() == 18


def test_pair_dataset() -> None:
    dataset = PairDataset([[1, 2, 3], [4], [5, 6]], [[7], [8, 9], [1, 1, 1, 1]])
    assert isinstance(dataset, Dataset) and len(dataset) == 3 and dataset.lengths.tolist() == [4, 3, 6]
    source, lengths, target, ends = dataset[np.array([1, 2])]
    np.testing.assert_array_equal(source, [[4, 0], [5, 6]])
    np.testing.assert_array_equal(target, [[8, 9, 0, 0], [1, 1, 1, 1]])
    assert lengths.tolist() == [1, 2] and ends.tolist() == [2, 4]


def test_subset_of_subset() -> None:
    subset = Subset(Subset(ArrayDataset(np.arange(10)), [5, 6, 7]), [2, 0])
    np.testing.assert_array_equal(subset[np.array([0, 1])][0], [7, 5])


@pytest.mark.parametrize("n", [2, 3, 10, 101])
@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 0.99])
def test_split(n: int, fraction: float) -> None:
    train, validation = train_val_split(n, fraction, seed=3)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(n))
    assert len(validation) == min(max(round(n * fraction), 1), n - 1)
    again = train_val_split(n, fraction, seed=3)
    np.testing.assert_array_equal(again[1], validation)


def test_split_is_random_and_works_on_data_sets() -> None:
    a, b = (train_val_split(1000, 0.2, seed=seed)[1] for seed in (0, 1))
    assert not np.array_equal(a, b) and not np.array_equal(a, np.arange(200))
    train, validation = train_val_split(ArrayDataset(np.arange(1000)), 0.2, seed=0)
    assert len(train) == 800
    np.testing.assert_array_equal(validation[np.arange(200)][0], a)


@pytest.mark.parametrize("counts", [[50, 50], [97, 3], [5, 5, 5, 5], [60, 20, 13, 7], [1, 99], [1, 1, 1, 3]])
@pytest.mark.parametrize("fraction", [0.1, 0.33, 0.5])
def test_stratified_split(counts: list[int], fraction: float) -> None:
    y = labels(counts)
    train, validation = train_val_split(len(y), fraction, stratify=y)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(len(y)))
    got = np.bincount(y[validation], minlength=len(counts))
    assert (np.bincount(y[train], minlength=len(counts)) >= 1).all()
    assert abs(len(validation) - len(y) * fraction) <= max(1.0, sum(c == 1 for c in counts))
    assert all(abs(g - c * fraction) < 1.0 for g, c in zip(got, counts, strict=True) if c > 3)


@pytest.mark.parametrize("stratify", [False, True])
@pytest.mark.parametrize(("n", "k"), [(10, 2), (11, 3), (100, 7), (5, 5)])
def test_k_fold(n: int, k: int, stratify: bool) -> None:
    y = labels([n - n // 3, n // 3])
    folds = list(k_fold(n, k, seed=1, stratify=y if stratify else None))
    assert len(folds) == k
    np.testing.assert_array_equal(np.sort(np.concatenate([v for _, v in folds])), np.arange(n))
    sizes = [len(v) for _, v in folds]
    assert max(sizes) - min(sizes) <= 1
    for train, validation in folds:
        np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(n))
    if stratify:
        ones = [int(y[v].sum()) for _, v in folds]
        assert max(ones) - min(ones) <= 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ArrayDataset(), DataError, "at least one array"),
        (lambda: ArrayDataset(np.zeros((3, 2)), np.zeros(4)), ShapeError, r"\(3, 2\), \(4,\)"),
        (lambda: ArrayDataset(np.float32(1)), ShapeError, r"got \(\)"),
        (lambda: ArrayDataset(np.zeros((0, 2))), DataError, "at least one sample"),
        (lambda: SequenceDataset([]), DataError, "at least one sequence"),
        (lambda: SequenceDataset([[1], []]), DataError, "got none at 1"),
        (lambda: SequenceDataset([np.ones((2, 3)), np.ones((2, 4))]), ShapeError, r"got \(2, 4\) at 1"),
        (lambda: SequenceDataset([[1]], [1, 2]), ShapeError, "expected 1 targets"),
        (lambda: PairDataset([[1]], []), ShapeError, "a target for each of 1 sources, got 0"),
        (lambda: PairDataset([], []), DataError, "at least one sequence"),
        (lambda: PairDataset([[1]], [[]]), DataError, "got none at 0"),
        (lambda: PairDataset([[1]], [[[1]]]), ShapeError, r"targets of shape \(t,\), got \(1, 1\)"),
        (lambda: Subset(ArrayDataset([1, 2]), [2]), DataError, r"0\.\.1, got 2\.\.2"),
        (lambda: Subset(ArrayDataset([1, 2]), []), DataError, "b >= 1"),
        (lambda: train_val_split(1, 0.5), DataError, "at least 2"),
        (lambda: train_val_split(5, 1.0), ArgumentError, "got 1.0"),
        (lambda: train_val_split(5, 0.5, stratify=[0, 1]), ShapeError, r"got \(2,\)"),
        (lambda: k_fold(5, 6), ArgumentError, "got 6"),
        (lambda: k_fold(5, 1), ArgumentError, "got 1"),
    ],
)
def test_errors(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
