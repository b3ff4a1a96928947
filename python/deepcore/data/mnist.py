"""MNIST and Fashion-MNIST from their four IDX files, in the official split."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepcore.data.idx import read_idx
from deepcore.errors import DataError

Split = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def load_mnist(folder: str | os.PathLike[str] | None = None) -> Split:
    """Handwritten digits: x_train (60000, 28, 28), y_train (60000,), x_test (10000, 28, 28), y_test (10000,); uint8.

    Args:
        folder: holds train-images-idx3-ubyte and its three companions, plain or .gz; default `data_home()`/mnist.

    Raises:
        DataError: a file is missing, damaged, or does not fit the others.

    """
    return _load("mnist", folder)


def load_fashion_mnist(folder: str | os.PathLike[str] | None = None) -> Split:
    """Pictures of clothes, as `load_mnist`; default folder `data_home()`/fashion_mnist; names in `FASHION_CLASSES`."""
    return _load("fashion_mnist", folder)


def data_home() -> Path:
    """Where data sets lie: $DEEPCORE_DATA, otherwise ~/.cache/deepcore/data."""
    home = os.environ.get("DEEPCORE_DATA")
    return Path(home) if home else Path.home() / ".cache" / "deepcore" / "data"


def _load(name: str, folder: str | os.PathLike[str] | None) -> Split:
    where = data_home() / name if folder is None else Path(folder)
    x_train, y_train = _pair(name, where, "train")
    x_test, y_test = _pair(name, where, "t10k")
    return x_train, y_train, x_test, y_test


def _pair(name: str, folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images = read_idx(_find(name, folder, f"{part}-images-idx3-ubyte"))
    labels = read_idx(_find(name, folder, f"{part}-labels-idx1-ubyte"))
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
        raise DataError(f"{name}: expected uint8 images (n, 28, 28), got {images.dtype} {images.shape} in {folder}")
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise DataError(f"{name}: expected {len(images)} uint8 labels, got {labels.dtype} {labels.shape} in {folder}")
    if labels.max(initial=0) > 9:
        raise DataError(f"{name}: expected labels 0..9, got {labels.max()} at {int(labels.argmax())} in {folder}")
    return images, labels


def _find(name: str, folder: Path, file: str) -> Path:
    for candidate in (folder / file, folder / f"{file}.gz"):
        if candidate.is_file():
            return candidate
    raise DataError(
        f"{name}: expected {file} or {file}.gz in {folder}, got neither; "
        f"`deepcore data fetch {name.replace('_', '-')}` downloads them"
    )


__all__ = ["FASHION_CLASSES", "data_home", "load_fashion_mnist", "load_mnist"]
