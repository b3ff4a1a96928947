"""Intervals of forecasts: from quantiles that a net learnt, or from its errors on windows held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.errors import ArgumentError

Array = npt.NDArray[Any]

LEVELS = 201  # quantiles of held-out errors


def error_levels(errors: Array) -> npt.NDArray[np.float32]:
    """Errors (m, horizon, channels), truth minus forecast -> their quantiles (LEVELS, horizon, channels)."""
    return np.quantile(errors, np.linspace(0, 1, LEVELS), axis=0).astype(np.float32)


def bounds(
    owner: str, outputs: Array, coverage: float, quantiles: Sequence[float], errors: Array | None,
    margins: Array | None,
) -> tuple[Array, Array]:  # fmt: skip
    """Lower and upper bounds (steps, channels) of forecasts (steps, channels, q).

    Args:
        owner: who asks, for messages.
        outputs: one for each quantile, or the forecast alone.
        coverage: how probable it is that a value lies between the bounds.
        quantiles: those of the outputs.
        errors: what `error_levels` gave, for forecasts alone.
        margins: what to add at both ends to pairs of quantiles, (pairs, channels), the widest pair first.

    Raises:
        ArgumentError: the coverage is not between 0 and 1, its quantiles were not learnt, or there are no errors.
    """
    if not 0 < coverage < 1:
        raise ArgumentError(f"{owner}: expected 0 < coverage < 1, got {coverage}")
    ends = ((1 - coverage) / 2, (1 + coverage) / 2)
    if len(quantiles) > 1:
        near = [int(np.abs(np.asarray(quantiles) - e).argmin()) for e in ends]
        if any(abs(quantiles[k] - e) > 1e-6 for k, e in zip(near, ends)):
            raise ArgumentError(
                f"{owner}: expected the quantiles {ends[0]:g} and {ends[1]:g} of coverage {coverage:g} among those "
                f"learnt, got {tuple(quantiles)}"
            )
        low, middle, high = (outputs[..., k] for k in (near[0], len(quantiles) // 2, near[1]))
        if margins is None:
            return low, high
        margin = margins[near[0]]
        return np.minimum(low - margin, middle), np.maximum(high + margin, middle)
    if errors is None:
        raise ArgumentError(f"{owner}: intervals need loss='quantile' or held-out rows (validation_fraction > 0)")
    below, above = np.quantile(errors.astype(np.float64), ends, axis=0)[:, : len(outputs)]
    return outputs[..., 0] + below, outputs[..., 0] + above


__all__ = ["LEVELS", "bounds", "error_levels"]
