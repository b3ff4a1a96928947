"""Batches of a data set in an order that is a function of seed and epoch, loaded ahead by a thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from deepcore.data.dataset import Batch, Dataset, Indices
from deepcore.data.prefetch import Prefetch
from deepcore.device import check_device
from deepcore.errors import ArgumentError, CheckpointError, DataError, ShapeError
from deepcore.staging import sent_ahead

_BUCKET_BATCHES = 50  # lengths are sorted within this many batches: little padding, yet well mixed
_BATCH_ORDER_STREAM = 1 << 32  # streams from here on order the batches of an epoch, those below its samples


class Place(NamedTuple):
    """Where a batch stands: all that a random transform may depend on, so that a resumed run repeats it."""

    epoch: int
    batch: int
    indices: Indices


Transform = Callable[[Batch, Place], Batch]


class Loader(Protocol):
    """What training asks of a loader: `DataLoader` and `StreamLoader` have it."""

    @property
    def epoch(self) -> int:
        """The epoch of the next batch."""
        ...

    @property
    def samples(self) -> int:
        """How many samples an epoch hands out."""
        ...

    def count(self, batch: Batch) -> int:
        """How many samples a batch holds."""
        ...

    def batches(self, device: str = "cpu") -> Iterator[Batch]:
        """Yield the batches of the current epoch."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, as JSON values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken."""
        ...


class DataLoader:
    """Iterate over the batches of the current epoch; the next iteration gives the next epoch.

    The order of epoch e is `permutation(n, seed=seed, stream=e)`, whatever ran before. An iteration that is left early
    starts its epoch anew next time, except after `load_state_dict`, which goes on exactly where the state was taken.

    Args:
        dataset: n samples.
        batch_size: b; the last batch of an epoch holds the rest and may be smaller.
        shuffle: a new order each epoch; otherwise the order of the data set.
        seed: of the order.
        drop_last: leave out the rest, n mod b samples.
        prefetch: how many batches a thread loads ahead; 0 loads in the caller's thread.
        transform: called as transform(batch, place) on each batch, in the thread.
        bucket_by: lengths (n,); samples of similar length meet in a batch, in an order that is still a function of seed
            and epoch.

    Batches are tuples of contiguous arrays.

    Raises:
        DataError: the data set is empty.
        ArgumentError: a number is out of range, or every sample would be dropped.

    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        *,
        drop_last: bool = False,
        prefetch: int = 2,
        transform: Transform | None = None,
        bucket_by: ArrayLike | None = None,
    ) -> None:
        if len(dataset) == 0:
            raise DataError("DataLoader: expected at least one sample, got an empty data set")
        if batch_size < 1 or prefetch < 0:
            raise ArgumentError(f"DataLoader: expected batch_size >= 1 and prefetch >= 0, got {batch_size}, {prefetch}")
        if drop_last and batch_size > len(dataset):
            raise ArgumentError(
                f"DataLoader: expected batch_size <= {len(dataset)} samples with drop_last, got {batch_size}"
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.prefetch = prefetch
        self.transform = transform
        self.lengths = None if bucket_by is None else np.asarray(bucket_by)
        if self.lengths is not None and self.lengths.shape != (len(dataset),):
            raise ShapeError(f"DataLoader: expected bucket_by of shape ({len(dataset)},), got {self.lengths.shape}")
        self._epoch = 0
        self._batch = 0  # batches of this epoch that were handed out
        self._resume = 0  # where the next iteration begins

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    @property
    def epoch(self) -> int:
        """The epoch of the next batch: it goes up when the last batch of an epoch is handed out."""
        return self._epoch

    @property
    def batch(self) -> int:
        """How many batches of this epoch were handed out."""
        return self._batch

    @property
    def samples(self) -> int:
        """How many samples an epoch hands out."""
        n = len(self.dataset)
        return n - n % self.batch_size if self.drop_last else n

    def count(self, batch: Batch) -> int:
        """How many samples a batch holds."""
        return len(batch[0])

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the current epoch."""
        return self.batches()

    def batches(self, device: str = "cpu") -> Iterator[Batch]:
        """As `iter`, with the values on `device` as well, for `deepcore.staging.tensor_of`.

        For a GPU the next batch is copied through pinned memory while the step on this one runs, and the step waits for
        its own batch only. A loader with prefetch=0 and a transform makes no batch ahead: the transform may depend on
        the step before.

        Raises:
            DeviceError: there is no such device.
            OutOfMemoryError: it has no room for a batch, or the host none for a pinned one.

        """
        device = check_device(device)
        epoch, start = self._epoch, self._resume
        self._resume = self._batch = 0
        plan = self._plan(epoch)
        load = _Load(self.dataset, self.transform, epoch, plan, start)
        batches: Iterator[Batch] = Prefetch(load, self.prefetch) if self.prefetch else load()
        with contextlib.closing(batches):  # type: ignore[type-var]
            ready = batches
            if device != "cpu":
                ready = sent_ahead(batches, device, ahead=self.prefetch > 0 or self.transform is None)
            for number, batch in enumerate(ready, start + 1):
                # Before the batch is handed out, so that a state taken while it is used counts it as used.
                self._epoch, self._batch = (epoch, number) if number < len(plan) else (epoch + 1, 0)
                yield batch

    def indices(self, epoch: int) -> Indices:
        """The order of an epoch, (n,), or less with `drop_last`."""
        return np.concatenate(self._plan(epoch))

    def state_dict(self) -> dict[str, Any]:
        """Epoch, batches handed out, and what the order depends on; JSON values."""
        return {"epoch": self._epoch, "batch": self._batch, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the batch that was the last one when the state was taken.

        Raises:
            CheckpointError: the state comes from a loader with another order or size of batches.

        """
        own = self._identity()
        other = {key: state.get(key) for key in own}
        if own != other:
            raise CheckpointError(f"DataLoader: expected a state of a loader with {own}, got {other}")
        epoch, batch = state.get("epoch"), state.get("batch")
        if not isinstance(epoch, int) or not isinstance(batch, int) or epoch < 0 or not 0 <= batch < len(self):
            raise CheckpointError(
                f"DataLoader: expected epoch >= 0 and batch in 0..{len(self) - 1}, got {epoch!r} and {batch!r}"
            )
        self._epoch, self._batch, self._resume = epoch, batch, batch

    def _identity(self) -> dict[str, Any]:
        return {
            "samples": len(self.dataset),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "drop_last": self.drop_last,
            "bucketed": self.lengths is not None,
        }

    def _plan(self, epoch: int) -> list[Indices]:
        """The indices of each batch of an epoch."""
        from deepcore.random import permutation

        n, b = len(self.dataset), self.batch_size
        order = permutation(n, seed=self.seed, stream=epoch) if self.shuffle else np.arange(n, dtype=np.int64)
        if self.lengths is not None:
            window = b * _BUCKET_BATCHES
            pieces = [order[i : i + window] for i in range(0, n, window)]
            order = np.concatenate([piece[np.argsort(self.lengths[piece], kind="stable")] for piece in pieces])
        plan = [order[i : i + b] for i in range(0, n, b)]
        if self.drop_last and len(plan[-1]) < b:
            plan.pop()
        if self.lengths is not None and self.shuffle:
            batches = permutation(len(plan), seed=self.seed, stream=_BATCH_ORDER_STREAM + epoch)
            plan = [plan[i] for i in batches]
        return plan


class _Load:
    """Makes the batches of a plan; it does not know the loader, whose state belongs to the consumer's thread."""

    def __init__(
        self, dataset: Dataset, transform: Transform | None, epoch: int, plan: list[Indices], start: int
    ) -> None:
        self.dataset, self.transform, self.epoch, self.plan, self.start = dataset, transform, epoch, plan, start

    def __call__(self) -> Iterator[Batch]:
        for number in range(self.start, len(self.plan)):
            indices = self.plan[number]
            batch = self.dataset[indices]
            if self.transform is not None:
                batch = self.transform(batch, Place(self.epoch, number, indices))
            if not isinstance(batch, tuple):
                raise DataError(f"DataLoader: expected a tuple of arrays as batch, got {type(batch).__name__}")
            yield tuple(np.ascontiguousarray(array) for array in batch)


__all__ = ["DataLoader", "Loader", "Place", "Transform"]
