"""Cases of random operations that have a derivative."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepcore import ops
from deepcore.testing.case import Case

LOW, SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)


def words(seed: int, stream: int, blocks: Any) -> Any:
    """The four words of each Philox4x32-10 block of (seed, stream): blocks (...) -> (..., 4)."""
    block = np.asarray(blocks, np.uint64)
    c = [block & LOW, block >> SHIFT, np.full_like(block, stream & 0xFFFFFFFF), np.full_like(block, stream >> 32)]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> SHIFT) ^ c[1] ^ np.uint64(k0), p1 & LOW, (p0 >> SHIFT) ^ c[3] ^ np.uint64(k1), p0 & LOW]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, -1)


def reference_philox(seed: int, stream: int, blocks: int) -> Any:
    """The words of the first `blocks` Philox4x32-10 blocks of (seed, stream), by the paper's definition."""
    return words(seed, stream, np.arange(blocks)).reshape(-1)


def _reference_dropout(x: Any, p: float) -> Any:
    keep = max(round((1 - p) * 65536), 1 if p < 1 else 0)
    words = reference_philox(7, 3, x.size // 8 + 1)
    halves = np.stack([words & np.uint64(0xFFFF), words >> np.uint64(16)], 1).reshape(-1)[: x.size]
    return np.where(halves.reshape(x.shape) < keep, x * (65536 / keep if keep else 0.0), 0.0)


def _case(shape: tuple[int, ...], p: float) -> Case:
    return Case(f"dropout/{shape} {p}", lambda x: ops.dropout(x, p, (7, 3, 0)), lambda x: _reference_dropout(x, p),
                lambda rng: (rng.standard_normal(shape),))  # fmt: skip


CASES = [_case(shape, p) for shape in ((1,), (3, 5), (130,), (0,)) for p in (0.25, 0.5, 0.9)]
