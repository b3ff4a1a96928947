"""Readers of the sets of text, trees, series and captioned pictures that tests and figures use, with official splits.

Each takes the folder of its set, as `Context.folder` gives it. DataError names what is missing or damaged.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deepcore.data import ett_split, read_csv
from deepcore.errors import DataError

Array = npt.NDArray[Any]
EOS = "<eos>"

_IMDB_NAME = re.compile(r"aclImdb/(train|test)/(pos|neg)/(\d+)_(\d+)\.txt")
_BRACKETS = re.compile(r"[()]|[^() \t\r\n]+")  # a token may hold a no-break space


class Tree(NamedTuple):
    """A node: its label and either its token or its children."""

    label: str
    children: tuple[Tree, ...] = ()
    token: str | None = None

    def nodes(self) -> Iterator[Tree]:
        """This node and all below, parents first, left before right."""
        left = [self]
        while left:
            node = left.pop()
            yield node
            left.extend(reversed(node.children))

    def tokens(self) -> list[str]:
        """The words of the sentence."""
        return [node.token for node in self.nodes() if node.token is not None]


class Reviews(NamedTuple):
    """Texts and labels int64 (n,): 0 negative, 1 positive."""

    texts: list[str]
    labels: Array


class Captioned(NamedTuple):
    """Pictures uint8 (n, 96, 96, 3), five captions of each, and the names of their files."""

    images: Array
    captions: list[list[str]]
    names: list[str]


class Series(NamedTuple):
    """Timestamps datetime64 (n,), values float64 (n, d), names of the d columns."""

    times: Array
    values: Array
    columns: list[str]


def load_ptb(folder: Path) -> tuple[list[str], list[str], list[str]]:
    """Penn Treebank as prepared by Mikolov: words of train, valid and test, with <eos> after each sentence."""
    train, valid, test = (
        [word for line in _lines(folder / f"ptb.{part}.txt.gz") for word in (*line.split(), EOS)]
        for part in ("train", "valid", "test")
    )
    return train, valid, test


def load_tinyshakespeare(folder: Path) -> tuple[str, str]:
    """Text to train on, the first 90 %, and to validate on."""
    text = _text(folder / "input.txt.gz")
    cut = len(text) * 9 // 10
    return text[:cut], text[cut:]


def load_imdb(folder: Path) -> tuple[Reviews, Reviews]:
    """Reviews of films to train and test on, the subset of each part; `<br />` stands for ends of lines.

    Negative ones come first, each kind by its number. Some eight of the lowest numbers (train/pos/0_9 for example) are
    reviews of apps that the source put in place of the originals.
    """
    path = folder / "aclImdb_subset.tar.gz"
    found: dict[str, list[tuple[int, int, str]]] = {"train": [], "test": []}
    try:
        with tarfile.open(_there(path), "r:gz") as archive:
            for member in archive:
                named = _IMDB_NAME.fullmatch(member.name)
                content = archive.extractfile(member) if named else None
                if named and content:
                    row = (int(named[2] == "pos"), int(named[3]), content.read().decode())
                    found[named[1]].append(row)
    except (tarfile.TarError, OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"load_imdb: expected a whole archive of UTF-8 texts, got {error!r} in {path}") from error
    train, test = (sorted(found[part]) for part in ("train", "test"))
    if not train or not test:
        raise DataError(f"load_imdb: expected reviews to train and test on, got {len(train)} and {len(test)} in {path}")
    return _reviews(train), _reviews(test)


def load_sst(folder: Path) -> tuple[list[Tree], list[Tree], list[Tree]]:
    """Stanford Sentiment Treebank: binary trees of train, dev and test with labels '0' (very negative) .. '4'."""
    train, dev, test = (list(read_trees(_text(folder / f"{p}.txt.gz"), p)) for p in ("train", "dev", "test"))
    return train, dev, test


def load_treebank(folder: Path) -> dict[str, list[Tree]]:
    """Parsed sentences of the Penn Treebank sample, by file ('wsj_0001' ..). There is no official split.

    Traces and other empty elements (label '-NONE-') are in the trees as they are in the files.
    """
    path = folder / "treebank.zip"
    try:
        with zipfile.ZipFile(_there(path)) as archive:
            names = sorted(n for n in archive.namelist() if n.startswith("treebank/combined/") and n.endswith(".mrg"))
            return {Path(n).stem: list(read_trees(archive.read(n).decode(), n)) for n in names}
    except (zipfile.BadZipFile, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"load_treebank: expected a whole archive, got {error!r} in {path}") from error


def load_etth1(folder: Path) -> tuple[Series, tuple[slice, slice, slice]]:
    """Transformer temperatures by the hour, oil temperature 'OT' last, and the rows to train, validate and test on."""
    series = _series(folder / "ETTh1.csv.gz", "date", "h")
    return series, ett_split(len(series.times))


def load_airline(folder: Path) -> Series:
    """Thousands of passengers by the month, 1949 to 1960. There is no official split."""
    return _series(folder / "airline-passengers.csv", "Month", "M")


def load_flickr8k(folder: Path) -> tuple[Captioned, Captioned, Captioned]:
    """Photographs with captions, the subset of train, dev and test. Needs Pillow."""
    captions: dict[str, dict[int, str]] = {}
    for line in _lines(folder / "Flickr8k.token.txt.gz"):
        key, _, caption = line.partition("\t")
        name, _, number = key.rpartition("#")
        captions.setdefault(name, {})[int(number)] = caption
    path = _there(folder / "images_96.zip")
    try:
        with zipfile.ZipFile(path) as archive:
            train, dev, test = (_captioned(folder, archive, captions, part) for part in ("train", "dev", "test"))
    except (zipfile.BadZipFile, zlib.error, KeyError, OSError) as error:
        raise DataError(f"load_flickr8k: expected an archive of all pictures, got {error!r} in {path}") from error
    return train, dev, test


def read_trees(text: str, where: str) -> Iterator[Tree]:
    """Trees in nested brackets, `(label child child)` or `(label token)`; an outer pair without a label is dropped.

    Raises:
        DataError: the brackets do not fit; the message names the number of the tree and `where` it stands.
    """
    open_nodes: list[tuple[str, list[Tree], list[str]]] = []
    number, last = 0, ""
    for piece in _BRACKETS.findall(text):
        if piece == "(":
            open_nodes.append(("", [], []))
        elif not open_nodes:
            raise DataError(f"read_trees: expected '(', got {piece!r} after tree {number} in {where}")
        elif piece != ")":
            label, children, words = open_nodes[-1]
            if last == "(":
                open_nodes[-1] = (piece, children, words)
            else:
                words.append(piece)
        else:
            label, children, words = open_nodes.pop()
            if (len(words) == 1) == bool(children) or len(words) > 1:
                raise DataError(
                    f"read_trees: expected children or one token below {label!r}, got {len(children)} and {words} in "
                    f"tree {number} of {where}"
                )
            node = Tree(label, tuple(children), words[0] if words else None)
            if open_nodes:
                open_nodes[-1][1].append(node)
            else:
                yield children[0] if not label and len(children) == 1 else node
                number += 1
        last = piece
    if open_nodes:
        raise DataError(f"read_trees: expected ')', got the end in tree {number} of {where}")


def _series(path: Path, column: str, unit: str) -> Series:
    """A table whose timestamps stand in `column`."""
    table = read_csv(_there(path), column, True, text_target=True)
    try:
        times = np.asarray(table.y).astype(f"datetime64[{unit}]")
    except ValueError as error:
        raise DataError(f"corpora: expected timestamps in column {column}, got {error} in {path}") from error
    return Series(times, table.x, table.columns)


def _reviews(rows: list[tuple[int, int, str]]) -> Reviews:
    return Reviews([text for _, _, text in rows], np.array([label for label, _, _ in rows], np.int64))


def _captioned(
    folder: Path, archive: zipfile.ZipFile, captions: dict[str, dict[int, str]], part: str
) -> Captioned:  # fmt: skip
    from PIL import Image

    names = _text(folder / f"Flickr_8k.{part}Images.txt").split()
    pictures = []
    for name in names:
        if name not in captions:
            raise DataError(f"load_flickr8k: expected captions of {name}, got none in {folder}")
        with Image.open(io.BytesIO(archive.read(f"images/{name}"))) as picture:
            pictures.append(np.asarray(picture.convert("RGB")))
    return Captioned(np.stack(pictures), [[captions[n][k] for k in sorted(captions[n])] for n in names], names)


def _there(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"corpora: expected the file {path.name} in {path.parent}, there is no such file")
    return path


def _text(path: Path) -> str:
    """A whole file, plain or gzip."""
    data = _there(path).read_bytes()
    try:
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"corpora: expected whole UTF-8 text, got {error!r} in {path}") from error


def _lines(path: Path) -> list[str]:
    return [line for line in _text(path).split("\n") if line]
