"""Streams of tokens in windows, for truncated backpropagation through time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepcore.data.text import Ints, whole_numbers
from deepcore.device import check_device
from deepcore.errors import ArgumentError, CheckpointError, DataError, ShapeError
from deepcore.staging import sent_ahead


def batchify(tokens: ArrayLike, batch: int) -> Ints:
    """A long sequence of tokens (n,) cut into contiguous streams (batch, n // batch); the rest is left out.

    Raises:
        DataError: there are fewer than two tokens for a stream.
    """
    ids = whole_numbers("batchify", tokens)
    if ids.ndim != 1:
        raise ShapeError(f"batchify: expected tokens of shape (n,), got {ids.shape}")
    if batch < 1:
        raise ArgumentError(f"batchify: expected batch >= 1, got {batch}")
    steps = len(ids) // batch
    if steps < 2:
        raise DataError(f"batchify: expected at least {2 * batch} tokens for {batch} streams, got {len(ids)}")
    return ids[: batch * steps].reshape(batch, steps)


class StreamLoader:
    """Iterate over windows (inputs (b, t), targets (b, t)) of streams (b, n); targets are the tokens one step later.

    Windows follow one another without a gap, so that the state of a recurrent net goes on from each to the next; it
    begins anew with an epoch, when `batch` was 0. The last window of an epoch may be shorter. An iteration that is left
    early starts its epoch anew next time, except after `load_state_dict`, which goes on exactly where the state was
    taken.

    Args:
        streams: tokens, as `batchify` gives them.
        steps: t, the length of a window.
        batch_first: False puts time first, (t, b).

    Raises:
        ShapeError: the streams have another rank.
        DataError: they have fewer than two steps.
        ArgumentError: steps < 1.
    """

    def __init__(self, streams: ArrayLike, steps: int, *, batch_first: bool = True) -> None:
        self.streams = whole_numbers("StreamLoader", streams)
        if self.streams.ndim != 2:
            raise ShapeError(f"StreamLoader: expected streams of shape (b, n), got {self.streams.shape}")
        if self.streams.shape[0] < 1 or self.streams.shape[1] < 2:
            raise DataError(f"StreamLoader: expected streams of at least two steps, got shape {self.streams.shape}")
        if steps < 1:
            raise ArgumentError(f"StreamLoader: expected steps >= 1, got {steps}")
        self.steps = steps
        self.batch_first = batch_first
        self._epoch = 0
        self._batch = 0  # windows of this epoch that were handed out
        self._resume = 0  # where the next iteration begins

    def __len__(self) -> int:
        """Number of windows in an epoch."""
        positions: int = self.streams.shape[1] - 1
        return -(-positions // self.steps)

    @property
    def epoch(self) -> int:
        """The epoch of the next window: it goes up when the last window of an epoch is handed out."""
        return self._epoch

    @property
    def batch(self) -> int:
        """How many windows of this epoch were handed out."""
        return self._batch

    @property
    def samples(self) -> int:
        """How many tokens an epoch asks for."""
        b, n = self.streams.shape
        return int(b * (n - 1))

    def count(self, batch: Sequence[NDArray[Any]]) -> int:
        """How many tokens a window asks for."""
        return int(batch[0].size)

    def __iter__(self) -> Iterator[tuple[Ints, Ints]]:
        """Yield the windows of the current epoch."""
        for batch in self.batches():
            yield batch[0], batch[1]

    def batches(self, device: str = "cpu") -> Iterator[tuple[NDArray[Any], ...]]:
        """As `iter`, with the values on `device` as well, for `deepcore.staging.tensor_of`, and with a third array.

        It is bool (1,): whether the window is the first of its epoch, where the state of a net begins anew.

        Raises:
            DeviceError: there is no such device.
        """
        device = check_device(device)
        epoch, start = self._epoch, self._resume
        self._resume = self._batch = 0
        windows = self._windows(start)
        for number, batch in enumerate(windows if device == "cpu" else sent_ahead(windows, device, True), start + 1):
            # Before the window is handed out, so that a state taken while it is used counts it as used.
            self._epoch, self._batch = (epoch, number) if number < len(self) else (epoch + 1, 0)
            yield batch

    def _windows(self, start: int) -> Iterator[tuple[NDArray[Any], ...]]:
        for number in range(start, len(self)):
            first = number * self.steps
            last = min(first + self.steps, self.streams.shape[1] - 1)
            inputs, targets = self.streams[:, first:last], self.streams[:, first + 1 : last + 1]
            if not self.batch_first:
                inputs, targets = inputs.T, targets.T
            yield np.ascontiguousarray(inputs), np.ascontiguousarray(targets), np.array([number == 0])

    def state_dict(self) -> dict[str, Any]:
        """Epoch, windows handed out, and what their places depend on; JSON values."""
        return {"epoch": self._epoch, "batch": self._batch, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the window that was the last one when the state was taken.

        Raises:
            CheckpointError: the state comes from streams or windows of other sizes.
        """
        own = self._identity()
        other = {key: state.get(key) for key in own}
        if own != other:
            raise CheckpointError(f"StreamLoader: expected a state of a loader with {own}, got {other}")
        epoch, batch = state.get("epoch"), state.get("batch")
        if not isinstance(epoch, int) or not isinstance(batch, int) or epoch < 0 or not 0 <= batch < len(self):
            raise CheckpointError(
                f"StreamLoader: expected epoch >= 0 and batch in 0..{len(self) - 1}, got {epoch!r} and {batch!r}"
            )
        self._epoch, self._batch, self._resume = epoch, batch, batch

    def _identity(self) -> dict[str, Any]:
        return {"streams": self.streams.shape[0], "length": self.streams.shape[1], "steps": self.steps}


__all__ = ["StreamLoader", "batchify"]
