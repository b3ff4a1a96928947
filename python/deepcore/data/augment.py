"""Augmentation as a loader transform: batched kernels whose random numbers depend on seed, epoch and sample only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deepcore import ops, random
from deepcore.data.dataset import Batch
from deepcore.data.loader import Place
from deepcore.errors import ArgumentError
from deepcore.tensor import as_tensor


class Augment:
    """Random changes of the images of a batch (images, labels, ...), as `transform` of a `DataLoader`.

    Images are (b, h, w, c), or clips of them (b, t, h, w, c), of which all frames are changed alike.

    Args:
        shift: pixels up, down, left and right. flip: probability of a mirror image. rotate: degrees.
        scale, shear: largest relative change of size, and shear. cut: side of an erased square.
        mixup: alpha of Beta(alpha, alpha) for mixing pairs of samples (Zhang et al., 2018); labels become distributions
            over `classes`.
        mean, std: normalisation of the result, per channel or one number.
        seed: of the random numbers; the same sample in the same epoch is always changed alike.
    """

    def __init__(
        self, *, shift: int = 0, flip: float = 0.0, rotate: float = 0.0, scale: float = 0.0, shear: float = 0.0,
        cut: int = 0, mixup: float = 0.0, classes: int | None = None, mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0, seed: int = 0,
    ) -> None:  # fmt: skip
        if mixup < 0 or (mixup > 0 and classes is None):
            raise ArgumentError("Augment: expected mixup >= 0, and the number of classes with it")
        self.shift, self.flip, self.rotate, self.scale, self.shear, self.cut = shift, flip, rotate, scale, shear, cut
        self.mixup, self.classes, self.mean, self.std, self.seed = mixup, classes, mean, std, seed

    def __call__(self, batch: Batch, place: Place) -> Batch:
        """The changed batch; images become float32. ArgumentError for clips with mixup."""
        shape, ids = batch[0].shape, np.asarray(place.indices, np.int64)
        if len(shape) == 5:
            if self.mixup:
                raise ArgumentError("Augment: expected mixup=0 for clips")
            (frames,) = self(
                (batch[0].reshape(-1, *shape[2:]),), Place(place.epoch, place.batch, ids.repeat(shape[1]))
            )  # fmt: skip
            return (frames.reshape(shape), *batch[1:])
        images = ops.augment(
            as_tensor(batch[0]), key=(self.seed, place.epoch, 0), ids=as_tensor(ids),
            shift=self.shift, flip=self.flip, rotate=float(np.deg2rad(self.rotate)), scale=self.scale, shear=self.shear,
            cut=self.cut, mean=self.mean, std=self.std,
        )  # fmt: skip
        if not self.mixup:
            return (images.numpy(), *batch[1:])
        return self._mixed(images.numpy(), batch, place)

    def _mixed(self, images: Any, batch: Batch, place: Place) -> Batch:
        n = len(images)
        stream = (1 << 40) + (place.epoch << 20) + place.batch
        partner = random.permutation(n, seed=self.seed, stream=stream)
        rng = np.random.Generator(np.random.Philox(key=[self.seed & (2**64 - 1), stream]))
        weight = rng.beta(self.mixup, self.mixup, n).astype(np.float32)
        mixed = ops.mixup(as_tensor(images), as_tensor(weight), as_tensor(partner)).numpy()
        assert self.classes is not None
        hot = np.eye(self.classes, dtype=np.float32)[np.asarray(batch[1], np.int64)]
        targets = weight[:, None] * hot + (1 - weight[:, None]) * hot[partner]
        return (mixed, targets, *batch[2:])
