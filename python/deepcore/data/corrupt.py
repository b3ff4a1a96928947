"""Corruption as a loader transform: the noisy inputs of denoising autoencoders, by counter-based random numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepcore import random
from deepcore.data.dataset import Batch
from deepcore.data.loader import Place
from deepcore.errors import ArgumentError, ShapeError

Array = NDArray[Any]

KINDS = ("masking", "salt-and-pepper", "gaussian", "block")


class Corruption:
    """Destroys part of every sample of a batch (x, ...), giving (noisy x, x, ...), as `transform` of a `DataLoader`.

    The noise of a sample is a function of (seed, epoch, sample) alone: the same in any batch and for any thread count.

    Args:
        kind: 'masking' (each value becomes `low`, with probability `amount`; Vincent et al., 2008), 'salt-and-pepper'
            (each value becomes `low` or `high`, with probability `amount`, both alike), 'gaussian' (a normal number of
            deviation `amount` is added), or 'block' (a rectangle of an image, a run of values of a vector, whose sides
            are `amount` of the whole, becomes `low`).
        amount: a probability or share in [0, 1]; for 'gaussian' a deviation >= 0.
        low, high: the values of black and white.
        clip: limit the result to low .. high.
        seed: of the random numbers.

    Raises:
        ArgumentError: an unknown kind, or a number out of range.
    """

    def __init__(
        self, kind: str = "gaussian", amount: float = 0.3, *, low: float = 0.0, high: float = 1.0, clip: bool = False,
        seed: int = 0,
    ) -> None:  # fmt: skip
        if kind not in KINDS:
            raise ArgumentError(f"Corruption: expected kind in {KINDS}, got {kind!r}")
        if not (0 <= amount <= 1 or (kind == "gaussian" and 0 <= amount < math.inf)):
            raise ArgumentError(f"Corruption: expected amount in [0, 1] ({kind}), got {amount!r}")
        if not low < high:
            raise ArgumentError(f"Corruption: expected low < high, got {low!r} and {high!r}")
        self.kind, self.amount, self.low, self.high, self.clip, self.seed = kind, amount, low, high, clip, seed

    def __call__(self, batch: Batch, place: Place) -> Batch:
        """(noisy, clean, ...) for a batch (clean, ...)."""
        return (self.apply(batch[0], np.asarray(place.indices), place.epoch), *batch)

    def apply(self, x: Array, ids: Array | None = None, epoch: int = 0) -> NDArray[np.float32]:
        """Noisy copies of samples x (n, ...).

        ids (n,): the number of each sample, default 0 .. n - 1. epoch: another epoch draws other numbers.

        Raises:
            ShapeError: x has no axis of samples, or ids do not fit.
        """
        if x.ndim < 2 or (ids is not None and ids.shape != (len(x),)):
            given = None if ids is None else ids.shape
            raise ShapeError(f"Corruption: expected samples (n, ...) and ids (n,), got {x.shape} and {given}")
        noisy = np.array(x, np.float32)
        for row, i in zip(noisy, range(len(x)) if ids is None else ids.tolist(), strict=True):
            self._one(row, (epoch << 32) + i)
        if self.clip:
            np.clip(noisy, self.low, self.high, out=noisy)
        return noisy

    def _one(self, row: Array, stream: int) -> None:
        if self.kind == "gaussian":
            row += random.normal(row.shape, 0.0, self.amount, seed=self.seed, stream=stream).numpy()
        elif self.kind == "block":
            axes = row.shape[:2] if row.ndim > 1 else row.shape
            where = random.uniform(len(axes), seed=self.seed, stream=stream).numpy()
            sides = [round(self.amount * n) for n in axes]
            starts = [int(u * (n - side + 1)) for u, n, side in zip(where.tolist(), axes, sides, strict=True)]
            row[tuple(slice(s, s + side) for s, side in zip(starts, sides, strict=True))] = self.low
        else:
            u = random.uniform(row.shape, seed=self.seed, stream=stream).numpy()
            row[u < self.amount] = self.low
            if self.kind == "salt-and-pepper":
                row[u < self.amount / 2] = self.high


def make_corruption(options: str | Mapping[str, Any], seed: int) -> Corruption:
    """A corruption by its kind, or by a dict of options of `Corruption`; `seed` counts where the dict has none."""
    if isinstance(options, str):
        return Corruption(options, seed=seed)
    if not isinstance(options, Mapping):
        raise ArgumentError(f"Corruption: expected a kind or a dict of options, got {options!r}")
    try:
        return Corruption(**{"seed": seed, **options})
    except TypeError as error:
        raise ArgumentError(f"Corruption: expected options of it, got {dict(options)}: {error}") from None


__all__ = ["KINDS", "Corruption", "make_corruption"]
