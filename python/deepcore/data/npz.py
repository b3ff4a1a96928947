"""NPZ files: a zip of arrays. Sizes are compared with the file before memory is taken, pickles are refused."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from deepcore.errors import DataError

_DEFLATE_RATIO = 1032


def read_npz(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Read every array of an .npz file: name -> array.

    Raises:
        DataError: not a zip, a damaged or lying member, or an array of Python objects.

    """
    where = os.fspath(path)
    with open(where, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                _check_sizes(where, members, os.fstat(file.fileno()).st_size)
                return {m.filename.removesuffix(".npy"): _read_member(where, archive, m) for m in members}
        except DataError:
            raise
        except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError) as error:
            raise DataError(f"read_npz: expected a whole .npz file, got {where}: {error}") from error


def _check_sizes(where: str, members: list[zipfile.ZipInfo], size: int) -> None:
    """No member may claim to unpack to more than its share of the file can hold; overlapping members are caught too."""
    packed = sum(member.compress_size for member in members)
    if packed > size:
        raise DataError(f"read_npz: expected members of at most {size} bytes, got {packed} in {where}")
    for member in members:
        if not 0 <= member.header_offset < size:
            raise DataError(f"read_npz: expected members within {size} bytes, got {member.header_offset} in {where}")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"read_npz: expected stored or deflated members, got {member.filename!r} in {where}")
        ratio = _DEFLATE_RATIO if member.compress_type == zipfile.ZIP_DEFLATED else 1
        if member.file_size > member.compress_size * ratio:
            raise DataError(
                f"read_npz: expected at most {member.compress_size * ratio} bytes in {member.filename!r}, "
                f"got {member.file_size} in {where}"
            )


def _read_member(where: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as stream:
        try:
            shape, fortran, dtype = _read_header(stream)
        except ValueError as error:
            raise DataError(f"read_npz: expected an array in {member.filename!r}, got {where}: {error}") from error
        size = math.prod(shape) * dtype.itemsize
        left = member.file_size - stream.tell()
        if dtype.hasobject or size != left or min(shape, default=0) < 0:
            raise DataError(
                f"read_npz: expected {left} bytes of numbers in {member.filename!r}, "
                f"got {dtype} of shape {shape} in {where}"
            )
        array = np.empty(math.prod(shape), dtype)
        view = array.view(np.uint8).data if size else memoryview(b"")
        got = 0
        while got < size:
            piece = stream.read(min(size - got, 1 << 20))
            if not piece:
                raise DataError(f"read_npz: expected {size} bytes in {member.filename!r}, got {got} in {where}")
            view[got : got + len(piece)] = piece
            got += len(piece)
        if stream.read(1):  # also makes the library compare the checksum
            raise DataError(f"read_npz: expected {size} bytes in {member.filename!r}, got more in {where}")
    return array.reshape(shape, order="F" if fortran else "C")


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise ValueError(f"format {version}")


__all__ = ["read_npz"]
