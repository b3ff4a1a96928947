"""Tables of numbers or of texts in CSV, plain or gzip; what is not of its kind is an error with its line and column."""

from __future__ import annotations

import csv
import io
import itertools
import math
import os
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepcore.data.source import Source, open_source
from deepcore.errors import ArgumentError, DataError

_MAX_BYTES = 1 << 33
_MAX_LINE = 1 << 24


class Table(NamedTuple):
    """Features x (n, d) float64 with their names, and the target y (n,): float64, or text, or None."""

    x: NDArray[np.float64]
    y: NDArray[Any] | None
    columns: list[str]
    target: str | None


def read_csv(
    path: str | os.PathLike[str],
    target: str | int | None = None,
    header: bool | Literal["auto"] = "auto",
    *,
    columns: Sequence[str | int] | None = None,
    text_target: bool = False,
    delimiter: str = ",",
    quote: str = '"',
) -> Table:
    """Read a table.

    Args:
        path: the file, UTF-8, plain or gzip.
        target: column to predict, by name or position (negative counts from the end); None: there is none.
        header: whether the first line names the columns; "auto": it does if none of its cells is a number.
        columns: the features; default all but the target.
        text_target: the target is text, such as a class name, instead of a number.
        delimiter: between cells.
        quote: around cells that hold a delimiter.

    Raises:
        DataError: a cell is empty, not a number, NaN or infinite; a line is too short or too long; there is no line.
        ArgumentError: a column does not exist.

    """
    where = os.fspath(path)
    with open_source(path, _MAX_BYTES) as source:
        rows = _rows(_reader(source, delimiter, quote), where)
        names, rows = _named(rows, header, where)
        target_at = None if target is None else _position(target, names, where)
        chosen = [_position(c, names, where) for c in columns] if columns is not None else list(range(len(names)))
        if target_at is not None and columns is None:
            chosen.remove(target_at)
        x, y, n = array("d"), _Column(text_target), 0
        for line, cells in rows:
            x.extend(_numbers([cells[i] for i in chosen], chosen, line, names, where))
            if target_at is not None:
                y.append(cells[target_at], line, names[target_at], where)
            n += 1
    if n == 0:
        raise DataError(f"read_csv: expected at least one line of numbers, got only the header in {where}")
    return Table(
        np.frombuffer(x, np.float64).reshape(n, len(chosen)) if len(chosen) else np.empty((n, 0)),
        None if target_at is None else y.values(),
        [names[i] for i in chosen],
        None if target_at is None else names[target_at],
    )


def read_texts(
    path: str | os.PathLike[str],
    text: str | int,
    target: str | int | None = None,
    header: bool | Literal["auto"] = "auto",
    *,
    delimiter: str = ",",
    quote: str = '"',
) -> tuple[list[str], NDArray[Any] | None]:
    """Read a column of n texts, which may be empty, and labels (n,), text as well, or None.

    Args:
        path: the file, UTF-8, plain or gzip.
        text: column of the texts, by name or position (negative counts from the end).
        target: column of the labels; None: there is none.
        header: whether the first line names the columns; "auto": it does if a column is given by name, or else if none
            of its cells is a number.
        delimiter: between cells.
        quote: around cells that hold a delimiter or an end of line.

    Raises:
        DataError: a label is empty; a line is too short or too long; there is no line.
        ArgumentError: a column does not exist.

    """
    where = os.fspath(path)
    if header == "auto" and (isinstance(text, str) or isinstance(target, str)):
        header = True
    with open_source(path, _MAX_BYTES) as source:
        names, rows = _named(_rows(_reader(source, delimiter, quote), where), header, where)
        at = _position(text, names, where)
        target_at = None if target is None else _position(target, names, where)
        texts, labels = [], _Column(True)
        for line, cells in rows:
            texts.append(cells[at])
            if target_at is not None:
                labels.append(cells[target_at], line, names[target_at], where)
    if not texts:
        raise DataError(f"read_csv: expected at least one line of texts, got only the header in {where}")
    return texts, None if target_at is None else labels.values()


class _Column:
    """The target as it grows: numbers or text."""

    def __init__(self, text: bool) -> None:
        self._text: list[str] | None = [] if text else None
        self._numbers = array("d")

    def append(self, cell: str, line: int, name: str, where: str) -> None:
        if self._text is None:
            self._numbers.append(_number(cell, line, name, where))
        elif cell:
            self._text.append(cell)
        else:
            raise DataError(f"read_csv: expected text, got an empty cell in line {line}, column {name!r} of {where}")

    def values(self) -> NDArray[Any]:
        return np.array(self._numbers, np.float64) if self._text is None else np.array(self._text)


def _lines(source: Source) -> Iterator[str]:
    """Lines of bounded length."""
    buffered = io.BufferedReader(source, 1 << 16)
    number = 0
    while piece := buffered.readline(_MAX_LINE):
        number += 1
        if len(piece) == _MAX_LINE:
            raise DataError(f"read_csv: expected lines below {_MAX_LINE} bytes, got a longer one in {source.path}")
        try:
            yield piece.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"read_csv: expected UTF-8, got {error} in line {number} of {source.path}") from error


def _reader(source: Source, delimiter: str, quote: str) -> Any:
    if len(delimiter) != 1 or len(quote) != 1:
        raise ArgumentError(f"read_csv: expected one character as delimiter and quote, got {delimiter!r}, {quote!r}")
    return csv.reader(_lines(source), delimiter=delimiter, quotechar=quote, skipinitialspace=True, strict=True)


def _named(
    rows: Iterator[tuple[int, list[str]]], header: bool | Literal["auto"], where: str
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Names of the columns, numbers where the file has none, and (line number, cells) of the other lines."""
    first_line, first = next(rows, (0, None))
    if first is None:
        raise DataError(f"read_csv: expected at least one line, got none in {where}")
    named = _has_header(first, where) if header == "auto" else header
    names = first if named else [str(i) for i in range(len(first))]

    def checked() -> Iterator[tuple[int, list[str]]]:
        for line, cells in rows if named else itertools.chain([(first_line, first)], rows):
            if len(cells) != len(names):
                raise DataError(f"read_csv: expected {len(names)} cells, got {len(cells)} in line {line} of {where}")
            yield line, cells

    return names, checked()


def _rows(reader: Any, where: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of lines that are not blank."""
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(f"read_csv: expected CSV, got {error} in line {reader.line_num} of {where}") from error
        if cells is None:
            return
        if cells:
            yield reader.line_num, [cell.strip() for cell in cells]


def _has_header(cells: list[str], where: str) -> bool:
    numbers = sum(map(_is_number, cells))
    if 0 < numbers < len(cells):
        raise DataError(
            f"read_csv: expected a first line all of names or all of numbers, got {numbers} numbers of {len(cells)} "
            f"cells in {where}; pass header=True or header=False"
        )
    return numbers == 0


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_000, tables do not mean it


def _numbers(cells: list[str], chosen: list[int], line: int, names: list[str], where: str) -> list[float]:
    """All cells at once; only if something is wrong each by itself, to name it."""
    try:
        numbers = list(map(float, cells))
    except ValueError:
        numbers = [math.nan]
    if "_" in "".join(cells) or not all(map(math.isfinite, numbers)):
        return [_number(cell, line, names[i], where) for cell, i in zip(cells, chosen, strict=True)]
    return numbers


def _number(cell: str, line: int, name: str, where: str) -> float:
    if not _is_number(cell) or not math.isfinite(float(cell)):
        got = repr(cell) if cell else "an empty cell"
        raise DataError(f"read_csv: expected a finite number, got {got} in line {line}, column {name!r} of {where}")
    return float(cell)


def _position(column: str | int, names: list[str], where: str) -> int:
    if isinstance(column, int):
        if not -len(names) <= column < len(names):
            raise ArgumentError(f"read_csv: expected a column in 0..{len(names) - 1}, got {column} in {where}")
        return column % len(names)
    if names.count(column) != 1:
        raise ArgumentError(f"read_csv: expected one column {column!r}, got the columns {names} in {where}")
    return names.index(column)


__all__ = ["Table", "read_csv", "read_texts"]
