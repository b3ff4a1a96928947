"""Changes in place, outside the tape: copies into buffers, scaling, moving averages, checks for finite values.

For parameters, gradients and buffers whose memory must keep its address. A backward pass that saved the old values
notices the change and raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from deepcore import _C
from deepcore.tensor import Tensor


def duplicate(x: Tensor) -> Tensor:
    """A copy with memory of its own, outside the tape."""
    return Tensor(_C.copy(x.array))


def copy_into(source: Tensor | np.ndarray[Any, Any], target: Tensor) -> None:
    """Write the values of `source` (same shape; cast to the type of `target`) over those of `target`."""
    if isinstance(source, Tensor):
        _C.copy_into(_C.cast(source.array, target.dtype), target.array)
    else:
        _C.copy_into(_C.from_numpy(np.asarray(source, dtype=target.dtype, order="C")), target.array)


@contextmanager
def holding(targets: Sequence[Tensor], values: Sequence[Tensor]) -> Iterator[None]:
    """Within the block the targets hold copies of `values`, one each of the same shape; after it what they held."""
    kept = [duplicate(t) for t in targets]
    try:
        for t, v in zip(targets, values, strict=True):
            copy_into(v, t)
        yield
    finally:
        for t, v in zip(targets, kept, strict=True):
            copy_into(v, t)


def convert(x: Tensor, dtype: str) -> None:
    """Give the tensor object the element type `dtype`; views of the old memory stay as they are."""
    x.array = _C.cast(x.array, dtype)


def move(x: Tensor, device: str) -> None:
    """Give the tensor object its values on another device, and its gradient with them."""
    x.array = _C.to_device(x.array, device)
    if x.grad is not None:
        move(x.grad, device)


def scale(tensors: Sequence[Tensor], factor: float) -> None:
    """Multiply every tensor by a number."""
    _C.scale([t.array for t in tensors], factor)


def moving_average(values: Sequence[Tensor], averages: Sequence[Tensor], decay: float) -> None:
    """averages += (1 - decay) (values - averages)."""
    _C.moving_average([v.array for v in values], [a.array for a in averages], decay)


def first_not_finite(tensors: Sequence[Tensor]) -> int:
    """Position of the first tensor that holds NaN or infinity; -1 when all are finite."""
    return _C.first_not_finite([t.array for t in tensors])


__all__ = ["convert", "copy_into", "duplicate", "first_not_finite", "holding", "move", "moving_average", "scale"]
