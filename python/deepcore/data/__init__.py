"""Data: sets, splits, the loader, readers of files, packaged digits, made sequences, text, time series, downloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepcore.data.augment import Augment
from deepcore.data.cartoons import cartoon_faces
from deepcore.data.clips import read_clip, video_folder
from deepcore.data.corrupt import Corruption
from deepcore.data.csv import Table, read_csv, read_texts
from deepcore.data.dataset import (
    ArrayDataset,
    Batch,
    Dataset,
    PairDataset,
    SequenceDataset,
    Subset,
    k_fold,
    train_val_split,
)
from deepcore.data.digits import load_digits
from deepcore.data.idx import read_idx, write_idx
from deepcore.data.images import ImageFolder, read_image, write_image
from deepcore.data.loader import DataLoader, Place
from deepcore.data.mnist import FASHION_CLASSES, data_home, load_fashion_mnist, load_mnist
from deepcore.data.npz import read_npz
from deepcore.data.sequences import (
    DIRECTIONS,
    ORDER_SYMBOLS,
    MovingDigits,
    adding,
    copy_memory,
    dates,
    digit_scenes,
    moving_digits,
    temporal_order,
)
from deepcore.data.series import Standardizer, calendar_features, check_times, ett_split, regularise, windows
from deepcore.data.streams import StreamLoader, batchify
from deepcore.data.text import SPECIALS, Tokenizer, Vocabulary, pad_sequences

if TYPE_CHECKING:
    from deepcore.data.download import fetch


def __getattr__(name: str) -> Any:
    if name == "fetch":  # the network modules of Python are slow to import
        from deepcore.data.download import fetch

        return fetch
    raise AttributeError(f"module 'deepcore.data' has no attribute {name!r}")


__all__ = [
    "DIRECTIONS",
    "FASHION_CLASSES",
    "ORDER_SYMBOLS",
    "SPECIALS",
    "ArrayDataset",
    "Augment",
    "Batch",
    "Corruption",
    "DataLoader",
    "Dataset",
    "ImageFolder",
    "MovingDigits",
    "PairDataset",
    "Place",
    "SequenceDataset",
    "Standardizer",
    "StreamLoader",
    "Subset",
    "Table",
    "Tokenizer",
    "Vocabulary",
    "adding",
    "batchify",
    "calendar_features",
    "cartoon_faces",
    "check_times",
    "copy_memory",
    "data_home",
    "dates",
    "digit_scenes",
    "ett_split",
    "fetch",
    "k_fold",
    "load_digits",
    "load_fashion_mnist",
    "load_mnist",
    "moving_digits",
    "pad_sequences",
    "read_clip",
    "read_csv",
    "read_idx",
    "read_image",
    "read_npz",
    "read_texts",
    "regularise",
    "temporal_order",
    "train_val_split",
    "video_folder",
    "windows",
    "write_idx",
    "write_image",
]
