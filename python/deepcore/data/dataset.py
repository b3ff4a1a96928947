"""Data sets: anything with a length that gives the arrays of a batch for an array of indices; splits of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, overload, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepcore.errors import ArgumentError, DataError, ShapeError

Array = NDArray[Any]
Batch = tuple[Array, ...]
Indices = NDArray[np.int64]


@runtime_checkable
class Dataset(Protocol):
    """n samples; `dataset[indices]` gives a tuple of arrays whose first dimension is len(indices)."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def __getitem__(self, indices: Indices, /) -> Batch:
        """The samples at `indices`, an int64 array (b,), in that order."""
        ...


class ArrayDataset:
    """Arrays in memory, one row per sample: images (n, h, w, c) and labels (n,), for example. Nothing is copied.

    Raises:
        DataError: no array, or no sample.
        ShapeError: the first dimensions differ.

    """

    def __init__(self, *arrays: ArrayLike) -> None:
        self.arrays: Batch = tuple(np.asarray(array) for array in arrays)
        shapes = [array.shape for array in self.arrays]
        if not shapes:
            raise DataError("ArrayDataset: expected at least one array, got none")
        if any(not shape for shape in shapes) or len({shape[0] for shape in shapes}) != 1:
            raise ShapeError(f"ArrayDataset: expected arrays with one first dimension, got {_listed(shapes)}")
        if shapes[0][0] == 0:
            raise DataError(f"ArrayDataset: expected at least one sample, got {_listed(shapes)}")

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.arrays[0])

    def __getitem__(self, indices: Indices | slice) -> Batch:
        """Rows of every array."""
        return tuple(array[indices] for array in self.arrays)


class SequenceDataset:
    """Sequences of different lengths: a batch is (padded (b, t, ...), lengths (b,), *targets), t the longest in it.

    Use `lengths` as `bucket_by` of the loader so that little is padded.

    Raises:
        DataError: no sequence, or an empty one.
        ShapeError: sequences differ in more than their length, or targets in their number.

    """

    def __init__(self, sequences: Sequence[ArrayLike], *targets: ArrayLike, padding: float = 0) -> None:
        self.sequences = [np.asarray(sequence) for sequence in sequences]
        self.targets: Batch = tuple(np.asarray(target) for target in targets)
        self.padding = padding
        if not self.sequences:
            raise DataError("SequenceDataset: expected at least one sequence, got none")
        for i, sequence in enumerate(self.sequences):
            if sequence.ndim == 0 or sequence.shape[1:] != self.sequences[0].shape[1:]:
                raise ShapeError(
                    f"SequenceDataset: expected sequences of shape (t, *{self.sequences[0].shape[1:]}), "
                    f"got {sequence.shape} at {i}"
                )
            if len(sequence) == 0:
                raise DataError(f"SequenceDataset: expected at least one step, got none at {i}")
        for target in self.targets:
            if target.ndim == 0 or len(target) != len(self.sequences):
                raise ShapeError(f"SequenceDataset: expected {len(self.sequences)} targets, got shape {target.shape}")
        self.dtype = np.result_type(*{sequence.dtype for sequence in self.sequences})
        self.lengths: Indices = np.array([len(sequence) for sequence in self.sequences], dtype=np.int64)

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.sequences)

    def __getitem__(self, indices: Indices) -> Batch:
        """The padded sequences, their lengths, their targets."""
        lengths = self.lengths[indices]
        shape = (len(indices), int(lengths.max(initial=0)), *self.sequences[0].shape[1:])
        padded = np.full(shape, self.padding, dtype=self.dtype)
        for row, index in enumerate(indices):
            padded[row, : lengths[row]] = self.sequences[index]
        return (padded, lengths, *(target[indices] for target in self.targets))


class PairDataset:
    """Pairs of sequences of whole numbers: padded batches (source (b, s), lengths (b,), target (b, t), lengths (b,)).

    `lengths` (n,) are those of source and target together; use them as `bucket_by` of the loader.

    Raises:
        DataError: no pair, or an empty sequence.
        ShapeError: the numbers of sources and targets differ, or one has another rank than 1.

    """

    def __init__(self, sources: Sequence[ArrayLike], targets: Sequence[ArrayLike], *, padding: int = 0) -> None:
        if len(sources) != len(targets):
            raise ShapeError(f"PairDataset: expected a target for each of {len(sources)} sources, got {len(targets)}")
        self.sources = SequenceDataset(sources, padding=padding)
        self.targets = SequenceDataset(targets, padding=padding)
        for name, part in (("source", self.sources), ("target", self.targets)):
            if part.sequences[0].ndim != 1:
                raise ShapeError(f"PairDataset: expected {name}s of shape (t,), got {part.sequences[0].shape}")
        self.lengths: Indices = self.sources.lengths + self.targets.lengths

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.sources)

    def __getitem__(self, indices: Indices) -> Batch:
        """Padded sources and their lengths, padded targets and theirs."""
        return (*self.sources[indices], *self.targets[indices])


class Subset:
    """Some samples of another data set, by their indices."""

    def __init__(self, dataset: Dataset, indices: ArrayLike) -> None:
        self.dataset = dataset
        self.indices = np.asarray(indices, dtype=np.int64)
        if self.indices.ndim != 1 or len(self.indices) == 0:
            raise DataError(f"Subset: expected indices (b,) with b >= 1, got shape {self.indices.shape}")
        if self.indices.min() < 0 or self.indices.max() >= len(dataset):
            raise DataError(
                f"Subset: expected indices in 0..{len(dataset) - 1}, got {self.indices.min()}..{self.indices.max()}"
            )

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.indices)

    def __getitem__(self, indices: Indices) -> Batch:
        """The samples of the underlying set."""
        return self.dataset[self.indices[indices]]


@overload
def train_val_split(
    data: int, fraction: float = ..., *, seed: int = ..., stratify: ArrayLike | None = ...
) -> tuple[Indices, Indices]: ...
@overload
def train_val_split(
    data: Dataset, fraction: float = ..., *, seed: int = ..., stratify: ArrayLike | None = ...
) -> tuple[Subset, Subset]: ...
def train_val_split(
    data: int | Dataset, fraction: float = 0.1, *, seed: int = 0, stratify: ArrayLike | None = None
) -> tuple[Indices, Indices] | tuple[Subset, Subset]:
    """Split at random into a part to train on and a part to validate on.

    Args:
        data: a number of samples (index arrays come back, sorted) or a data set (two `Subset`s).
        fraction: share of the validation part, 0 < fraction < 1; round(n * fraction) samples, within 1 .. n - 1.
        seed: the split is a function of it.
        stratify: labels (n,); each class is split in this proportion (largest remainders), and keeps at least one
            sample in the training part.

    """
    n = data if isinstance(data, int) else len(data)
    if not 0.0 < fraction < 1.0:
        raise ArgumentError(f"train_val_split: expected 0 < fraction < 1, got {fraction}")
    if n < 2:
        raise DataError(f"train_val_split: expected at least 2 samples, got {n}")
    wanted = min(max(round(n * fraction), 1), n - 1)
    order = _permutation(n, seed)
    chosen = np.zeros(n, dtype=np.bool_)
    if stratify is None:
        chosen[order[:wanted]] = True
    else:
        groups = _grouped("train_val_split", order, n, stratify)
        for group, quota in zip(groups, _quotas([len(g) for g in groups], fraction, wanted), strict=True):
            chosen[group[:quota]] = True
    train, validation = np.flatnonzero(~chosen), np.flatnonzero(chosen)
    if isinstance(data, int):
        return train, validation
    return Subset(data, train), Subset(data, validation)


def k_fold(
    n: int, folds: int = 5, *, seed: int = 0, stratify: ArrayLike | None = None
) -> Iterator[tuple[Indices, Indices]]:
    """Index arrays (train, validation) of each of k folds; every sample is in one validation part.

    The sizes of the folds differ by at most 1, and so do, with `stratify` (labels (n,)), the counts of each class.
    """
    if not 2 <= folds <= n:
        raise ArgumentError(f"k_fold: expected 2 <= folds <= {n} samples, got {folds}")
    order = _permutation(n, seed)
    if stratify is not None:
        order = np.concatenate(_grouped("k_fold", order, n, stratify))
    fold_of = np.empty(n, dtype=np.int64)
    fold_of[order] = np.arange(n) % folds
    return ((np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(folds))


def _permutation(n: int, seed: int) -> Indices:
    from deepcore.random import permutation

    return permutation(n, seed=seed, stream=0)


def _grouped(name: str, order: Indices, n: int, labels: ArrayLike) -> list[Indices]:
    """`order` cut into one piece per class."""
    classes = np.asarray(labels)
    if classes.shape != (n,):
        raise ShapeError(f"{name}: expected labels of shape ({n},) to stratify by, got {classes.shape}")
    _, inverse = np.unique(classes, return_inverse=True)
    own = inverse.reshape(-1)[order]
    return [order[own == k] for k in range(int(own.max()) + 1)]


def _quotas(sizes: Sequence[int], fraction: float, wanted: int) -> list[int]:
    """Whole numbers near size * fraction that sum to `wanted` where the classes allow it; at most size - 1 each."""
    ideal = [size * fraction for size in sizes]
    quotas = [min(int(share), size - 1) for share, size in zip(ideal, sizes, strict=True)]
    by_remainder = sorted(range(len(sizes)), key=lambda k: quotas[k] - ideal[k])
    left = wanted - sum(quotas)
    while left > 0 and any(quotas[k] < sizes[k] - 1 for k in by_remainder):
        for k in by_remainder:
            if left > 0 and quotas[k] < sizes[k] - 1:
                quotas[k] += 1
                left -= 1
    return quotas


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes))


__all__ = [
    "ArrayDataset", "Batch", "Dataset", "Indices", "PairDataset", "SequenceDataset", "Subset", "k_fold",
    "train_val_split",
]  # fmt: skip
