"""IDX files, the format of MNIST: two zero bytes, type, rank, big-endian sizes, big-endian values; plain or gzip."""

from __future__ import annotations

import gzip
import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepcore.data.source import open_source
from deepcore.errors import DataError, DtypeError
from deepcore.files import atomic_write

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CODES = {np.dtype(name).newbyteorder("="): code for code, name in _DTYPES.items()}


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an IDX file, plain or gzip: an array of its shape, in the machine's byte order.

    Raises:
        DataError: the header is not IDX, or its sizes do not fit the file; compared before memory is taken.

    """
    where = os.fspath(path)
    with open_source(path) as source:
        magic = source.read_exactly(4)
        if magic[:2] != b"\0\0" or magic[2] not in _DTYPES:
            raise DataError(f"read_idx: expected 00 00 and a type in 08..0e, got {magic.hex(' ')} in {where}")
        dtype = np.dtype(_DTYPES[magic[2]])
        shape = np.frombuffer(source.read_exactly(4 * magic[3]), ">u4").tolist()
        start = 4 + 4 * len(shape)
        size = math.prod(shape) * dtype.itemsize
        if start + size > source.limit:
            raise DataError(f"read_idx: expected {start + size} bytes for shape {tuple(shape)}, got fewer in {where}")
        array = np.empty(math.prod(shape), dtype)
        got = source.fill(array.view(np.uint8).data)
        if got != size:
            raise DataError(f"read_idx: expected {size} bytes for shape {tuple(shape)}, got {got} in {where}")
        if source.readinto(bytearray(1)):
            raise DataError(f"read_idx: expected {size} bytes for shape {tuple(shape)}, got more in {where}")
    values: NDArray[Any] = array.astype(dtype.newbyteorder("="), copy=False).reshape(shape)
    return values


def write_idx(path: str | os.PathLike[str], array: NDArray[Any]) -> None:
    """Write an array as IDX, compressed if the name ends in .gz; the same array gives the same bytes.

    Raises:
        DtypeError: not uint8, int8, int16, int32, float32 or float64.
        DataError: rank above 255 or a size that 32 bits cannot hold.

    """
    dtype = array.dtype.newbyteorder("=")
    if dtype not in _CODES:
        raise DtypeError(f"write_idx: expected {', '.join(map(str, _CODES))}, got {array.dtype}")
    if any(size >= 1 << 32 for size in array.shape):
        raise DataError(f"write_idx: expected sizes below 2^32, got {array.shape}")
    header = bytes([0, 0, _CODES[dtype], array.ndim]) + np.array(array.shape, ">u4").tobytes()
    values = np.asarray(array, dtype=_DTYPES[_CODES[dtype]], order="C").reshape(-1).view(np.uint8)
    with atomic_write(path) as file:
        if os.fspath(path).endswith(".gz"):
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                packed.write(header)
                packed.write(values.data)
        else:
            file.write(header)
            file.write(values.data)


__all__ = ["read_idx", "write_idx"]
