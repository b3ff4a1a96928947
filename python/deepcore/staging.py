"""Batches sent to a device ahead of the step that uses them, beside the work of the step before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import _C
from deepcore.errors import OutOfMemoryError
from deepcore.tensor import DTYPES, Tensor, as_tensor

Batch = tuple[npt.NDArray[Any], ...]


class DeviceBatch(tuple[npt.NDArray[Any], ...]):
    """A batch of numpy arrays that is on a device as well.

    Attributes:
        device: its full name.
        tensors: the arrays on the device; None for those of types that tensors do not have.

    """

    device: str
    tensors: tuple[Tensor | None, ...]


def tensor_of(batch: Sequence[Any], place: int, device: str) -> Tensor:
    """One array of a batch as a tensor on a device: the one that was sent ahead, if there is one."""
    if isinstance(batch, DeviceBatch) and batch.device == device:
        sent = batch.tensors[place]
        if sent is not None:
            return sent
    return as_tensor(batch[place]).to(device)


def sent_ahead(batches: Iterator[Batch], device: str, ahead: bool) -> Iterator[DeviceBatch]:
    """The batches, on the device by the time that work on them runs there.

    With `ahead` the next batch is made and sent before one is handed out, so that it travels during the step. An error
    in making it is raised after the batches before it were handed out.
    """
    waiting: _Sent | None = None
    failure: Exception | None = None
    while failure is None:
        try:
            batch = next(batches)
        except StopIteration:
            break
        except Exception as error:
            failure = error
            break
        try:
            sent = _Sent(batch, device)
        except OutOfMemoryError:
            if waiting is None:
                raise
            yield waiting.arrive()
            waiting = None  # with its memory given back there may be room
            sent = _Sent(batch, device)
        if waiting is not None:
            yield waiting.arrive()
        waiting = sent
        if not ahead:
            yield waiting.arrive()
            waiting = None
    if waiting is not None:
        yield waiting.arrive()
    if failure is not None:
        raise failure


class _Sent:
    """A batch on its way."""

    def __init__(self, batch: Batch, device: str) -> None:
        self.batch, self.device = batch, device
        self._places = [i for i, a in enumerate(batch) if a.dtype.name in DTYPES]
        self._arrays = _C.SentArrays([_C.from_numpy(np.asarray(batch[i])) for i in self._places], device)

    def arrive(self) -> DeviceBatch:
        tensors: list[Tensor | None] = [None] * len(self.batch)
        for place, array in zip(self._places, self._arrays.arrive(), strict=True):
            tensors[place] = Tensor(array)
        made = DeviceBatch(self.batch)
        made.device, made.tensors = self.device, tuple(tensors)
        return made


__all__ = ["DeviceBatch", "sent_ahead", "tensor_of"]
