"""Opening plain and gzip files of data with a bound on how many bytes can come out."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from deepcore.errors import DataError

_DEFLATE_RATIO = 1032  # deflate cannot expand a byte to more


class Source(io.RawIOBase):
    """A readable stream; `limit` is the highest number of bytes that it can hold, known before reading."""

    def __init__(self, stream: BinaryIO, path: str, limit: int) -> None:
        super().__init__()
        self.path = path
        self.limit = limit
        self._stream = stream
        self._count = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as the data reach; damaged compression is a DataError."""
        try:
            count = self._stream.readinto(buffer)  # type: ignore[attr-defined]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"expected whole gzip data, got {self.path}: {error}") from error
        self._count += count
        if self._count > self.limit:
            raise DataError(f"expected at most {self.limit} bytes, got more in {self.path}")
        return int(count)

    def read_exactly(self, size: int) -> bytes:
        """The next `size` bytes, for small sizes."""
        data = bytearray(size)
        got = self.fill(memoryview(data))
        if got != size:
            raise DataError(f"expected {size} more bytes, got {got} in {self.path}")
        return bytes(data)

    def fill(self, buffer: memoryview) -> int:
        """Read until the buffer is full or the data end; the number of bytes read."""
        got = 0
        while got < len(buffer):
            count = self.readinto(buffer[got : got + (1 << 20)])
            if count == 0:
                break
            got += count
        return got


@contextlib.contextmanager
def open_source(path: str | os.PathLike[str], max_bytes: int = 1 << 34) -> Iterator[Source]:
    """Open a file, through gzip if it begins with gzip's mark. At most `max_bytes` are read from it."""
    name = os.fspath(path)
    with open(name, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if compressed:
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield Source(cast(BinaryIO, unpacked), name, min(size * _DEFLATE_RATIO, max_bytes))
        else:
            yield Source(file, name, min(size, max_bytes))


__all__ = ["Source", "open_source"]
