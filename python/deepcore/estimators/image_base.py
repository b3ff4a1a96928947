"""What estimators of images share: checks, scaling, augmentation, views of an image to average over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.data.augment import Augment
from deepcore.errors import ArgumentError, ShapeError
from deepcore.estimators.supervised import SupervisedEstimator

Array = npt.NDArray[Any]

AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "light": {"shift": 2, "rotate": 10.0, "scale": 0.1},
    "flip": {"shift": 2, "flip": 0.5},
    "strong": {"shift": 4, "flip": 0.5, "cut": 8},
}


TEST_AUGMENTATIONS = (None, "mirror", "shift", "mirror+shift")


def views(images: Array, kind: str | None) -> Iterator[Array]:
    """The images (n, h, w, c) and the further views of them to average over, one after the other."""
    bases = [images, images[:, :, ::-1]] if kind in ("mirror", "mirror+shift") else [images]
    yield from bases
    if kind in ("shift", "mirror+shift"):
        h, w = images.shape[1:3]
        for base in bases:
            padded = np.pad(base, ((0, 0), (1, 1), (1, 1), (0, 0)))
            for i, j in ((0, 1), (2, 1), (1, 0), (1, 2)):
                yield padded[:, i : i + h, j : j + w]


def augment_options(owner: str, augment: Any) -> dict[str, Any]:
    """The options of `data.Augment` that a name, a dict or None stands for. ArgumentError for an unknown name."""
    if isinstance(augment, str):
        if augment not in AUGMENTATIONS:
            raise ArgumentError(f"{owner}: expected augment in {sorted(AUGMENTATIONS)}, got {augment!r}")
        augment = AUGMENTATIONS[augment]
    return dict(augment or {})


class ImageEstimator(SupervisedEstimator):
    """Subclasses provide the parameters named here and take images (n, h, w, c) or (n, h, w), uint8 or float."""

    augment: Any
    test_augment: str | None

    image_shape_: tuple[int, int, int]
    mean_: Array
    scale_: Array

    def _check_test_augment(self) -> None:
        if self.test_augment not in TEST_AUGMENTATIONS:
            raise ArgumentError(
                f"{type(self).__name__}: expected test_augment in {TEST_AUGMENTATIONS}, got {self.test_augment!r}"
            )

    def _images(self, x: Any, *, fitting: bool) -> Array:
        owner = type(self).__name__
        values = np.asarray(x)
        if values.dtype.kind == "c" or values.dtype.kind not in "fiub":
            raise ArgumentError(f"{owner}: expected numeric images, got {values.dtype}")
        if values.ndim == 3:
            values = values[..., None]
        if values.ndim != 4:
            raise ShapeError(f"{owner}: expected images (n, h, w, c) or (n, h, w), got shape {np.asarray(x).shape}")
        if len(values) == 0 or 0 in values.shape:
            raise ArgumentError(f"{owner}: expected at least one image with pixels, got shape {values.shape}")
        if not fitting and values.shape[1:] != self.image_shape_:
            raise ShapeError(f"{owner}: expected images of {self.image_shape_}, got {values.shape[1:]}")
        if values.dtype != np.uint8:
            values = np.ascontiguousarray(values, dtype=np.float32)
            finite = np.isfinite(values).reshape(len(values), -1).all(1)
            if not finite.all():
                raise ArgumentError(f"{owner}: image {int(np.argmin(finite))} holds NaN or infinity")
        return np.ascontiguousarray(values)

    def _set_scale(self, images: Array) -> None:
        flat = images.reshape(-1, images.shape[-1])
        total = np.zeros(flat.shape[1])
        squares = np.zeros(flat.shape[1])
        for i in range(0, len(flat), 1 << 20):  # in pieces: float64 copies of a whole set would be large
            part = flat[i : i + (1 << 20)].astype(np.float64)
            total += part.sum(0)
            squares += (part * part).sum(0)
        mean = total / len(flat)
        deviation = np.sqrt(np.maximum(squares / len(flat) - mean**2, 0))
        self.mean_ = mean.astype(np.float32)
        self.scale_ = np.where(deviation > 0, deviation, 1).astype(np.float32)

    def _scaled(self, images: Array) -> Array:
        result: Array = (images.astype(np.float32) - self.mean_) / self.scale_
        return result

    def _augmentation(self, seed: int, *, classes: int | None = None) -> Augment:
        """What `augment` says, with the scaling of the pixels."""
        options = augment_options(type(self).__name__, self.augment)
        return Augment(**{"classes": classes, **options}, mean=self.mean_.tolist(),
                       std=self.scale_.tolist(), seed=seed)  # fmt: skip


__all__ = ["AUGMENTATIONS", "TEST_AUGMENTATIONS", "ImageEstimator", "augment_options", "views"]
