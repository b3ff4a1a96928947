"""Drawing a token from a distribution: temperature, the k most probable, the smallest set of a probability."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def draw(
    logs: npt.NDArray[np.float64], chance: float, temperature: float, top_k: int | None, top_p: float | None
) -> int:
    """One of the tokens with log p `logs` (vocabulary,), by a number `chance` in [0, 1)."""
    if temperature == 0:
        return int(logs.argmax())
    scaled = logs / temperature
    p = np.exp(scaled - scaled.max())
    order = np.argsort(-p, kind="stable")
    p = p[order] / p.sum()
    if top_k is not None:
        p = p[:top_k] / p[:top_k].sum()
    if top_p is not None:
        fewest = int(np.searchsorted(np.cumsum(p), top_p)) + 1
        p = p[:fewest]
    sums = np.cumsum(p)
    return int(order[min(int(np.searchsorted(sums, chance * sums[-1], "right")), len(p) - 1)])


__all__ = ["draw"]
