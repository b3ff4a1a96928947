"""Labelled data for the commands: by name, or from a file or folder."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.errors import DataError

Array = npt.NDArray[Any]
NAMES = ("digits", "mnist", "fashion-mnist")
HELP = (
    "digits (packaged), mnist, fashion-mnist (see: deepcore data fetch), a folder of IDX files, a folder with one "
    "folder of pictures per class, an .npz with x_train, y_train, x_test, y_test (or x, y), or a .csv of numbers (of "
    "texts with --text-column)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that say where labelled data lie."""
    parser.add_argument("data", help=HELP)
    parser.add_argument(
        "--data-dir", metavar="DIR", help="where mnist/ and fashion_mnist/ lie (default: DEEPCORE_DATA)"
    )
    parser.add_argument(
        "--target", "--label-column", metavar="COLUMN", default="-1", help="label column of a .csv (default: the last)"
    )
    parser.add_argument("--text-column", metavar="COLUMN", help="column of a .csv that holds texts (documents)")
    parser.add_argument(
        "--size", type=int, metavar="PIXELS", help="side to which pictures of a folder are scaled (default: 32)"
    )


def flat(x: Array) -> Array:
    """Images as rows of a table of float32, in [0, 1] if they are uint8."""
    scale = 255.0 if x.dtype == np.uint8 else 1.0
    result: Array = x.reshape(len(x), -1).astype(np.float32) / scale
    return result


def _labels(text: Array) -> Array:
    """Labels read as text as whole numbers where all of them are."""
    try:
        numbers = text.astype(np.float64)
    except ValueError:
        return text
    whole = np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all()
    return numbers.astype(np.int64) if whole else text


def _column(text: str) -> str | int:
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def _texts(options: argparse.Namespace) -> tuple[Array, Array]:
    from deepcore import data

    path = Path(options.data)
    if path.is_dir() or path.suffix != ".csv":
        raise DataError(f"{path}: expected a .csv with --text-column")
    texts, labels = data.read_texts(path, _column(options.text_column), _column(options.target))
    assert labels is not None  # a target was asked for
    return np.array(texts, dtype=object), _labels(labels)


def load(options: argparse.Namespace, split: str) -> tuple[Array, Array]:
    """(x, y) of the 'train' or 'test' split, y (n,); sources without a split give all for both. Texts are x (n,)."""
    if options.text_column is not None:
        return _texts(options)
    x, y = _read(options, split)
    if x.ndim < 2 or len(x) == 0:
        raise DataError(f"{options.data}: expected samples (n, ...), got shape {x.shape}")
    if y.size != len(x):
        raise DataError(f"{options.data}: expected {len(x)} labels, got shape {y.shape}")
    return x, y.reshape(-1)


def _read(options: argparse.Namespace, split: str) -> tuple[Array, Array]:
    from deepcore import data

    name = options.data
    if name == "digits":
        parts = data.load_digits()
        return (parts[0], parts[1]) if split == "train" else (parts[2], parts[3])
    if name in ("mnist", "fashion-mnist"):
        folder = Path(options.data_dir) / name.replace("-", "_") if options.data_dir else None
        loader = data.load_mnist if name == "mnist" else data.load_fashion_mnist
        parts = loader(folder)
        return (parts[0], parts[1]) if split == "train" else (parts[2], parts[3])
    path = Path(name)
    if path.is_dir():
        if any(path.glob("*idx3-ubyte*")):
            parts = data.load_mnist(path)
            return (parts[0], parts[1]) if split == "train" else (parts[2], parts[3])
        inner = path / split
        images = data.ImageFolder(inner if inner.is_dir() else path, options.size or 32)
        batch = images[np.arange(len(images))]
        return batch[0], np.asarray(images.classes)[batch[1]]
    if path.suffix == ".npz":
        arrays = data.read_npz(path)
        for x, y in ((f"x_{split}", f"y_{split}"), ("x", "y")):
            if x in arrays and y in arrays:
                return arrays[x], arrays[y]
        raise DataError(f"{path}: expected x_{split} and y_{split}, or x and y; it holds {sorted(arrays)}")
    if path.suffix == ".csv":
        table = data.read_csv(path, target=_column(options.target), text_target=True)
        assert table.y is not None  # a target was asked for
        return table.x, _labels(table.y)
    if not path.exists():
        raise FileNotFoundError(f"{name}: no such file or folder, and not one of {', '.join(NAMES)}")
    raise DataError(f"{name}: expected a folder, .npz or .csv")
