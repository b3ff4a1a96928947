"""HammingIndex: nearest neighbours of short binary codes by counting different bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.errors import ArgumentError, DtypeError, ShapeError

Array = npt.NDArray[Any]

_POPCOUNT = np.array([bin(i).count("1") for i in range(1 << 16)], np.uint8)


class HammingIndex:
    """Searches packed binary codes (n, bytes), uint8, as `Autoencoder.binary_code` gives them.

    Raises:
        DtypeError, ShapeError: other arrays, or none.
    """

    def __init__(self, codes: Array) -> None:
        self._codes = _words(codes)
        self._bytes = codes.shape[1]

    def __len__(self) -> int:
        """Number of codes."""
        return len(self._codes)

    def distances(self, queries: Array) -> npt.NDArray[np.int64]:
        """Different bits of every query and every code, (q, n)."""
        words = _words(queries)
        if queries.shape[1] != self._bytes:
            raise ShapeError(f"HammingIndex: expected codes of {self._bytes} bytes, got {queries.shape[1]}")
        result = np.zeros((len(words), len(self._codes)), np.int64)
        for j in range(words.shape[1]):
            result += _POPCOUNT[words[:, j, None] ^ self._codes[None, :, j]]
        return result

    def query(self, queries: Array, k: int = 10) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(distances, positions) of the k nearest codes of each query, (q, k): by distance, then by position."""
        if not 1 <= k <= len(self):
            raise ArgumentError(f"HammingIndex.query: expected k in 1..{len(self)}, got {k}")
        near, where = [], []
        for i in range(0, len(queries), 256):  # in pieces: all distances at once may not fit
            d = self.distances(queries[i : i + 256])
            order = np.argsort(d, axis=1, kind="stable")[:, :k]
            where.append(order)
            near.append(np.take_along_axis(d, order, 1))
        if not near:
            raise ShapeError("HammingIndex.query: expected at least one query")
        return np.concatenate(near), np.concatenate(where).astype(np.int64)

    def within(self, query: Array, radius: int) -> npt.NDArray[np.int64]:
        """Positions of the codes that differ from one code (bytes,) in at most `radius` bits."""
        return np.flatnonzero(self.distances(np.asarray(query)[None])[0] <= radius)


def _words(codes: Array) -> npt.NDArray[np.uint16]:
    """Codes (n, bytes) as (n, words) of 16 bits."""
    values = np.asarray(codes)
    if values.dtype != np.uint8:
        raise DtypeError(f"HammingIndex: expected packed bits in uint8, got {values.dtype}")
    if values.ndim != 2 or 0 in values.shape:
        raise ShapeError(f"HammingIndex: expected codes (n, bytes), got {values.shape}")
    if values.shape[1] % 2:
        values = np.concatenate([values, np.zeros((len(values), 1), np.uint8)], 1)
    return np.ascontiguousarray(values).view(np.uint16)


__all__ = ["HammingIndex"]
