"""One rule for how close is close enough."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def assert_close(
    actual: npt.ArrayLike, expected: npt.ArrayLike, *, dtype: str, factor: float, magnitude: npt.ArrayLike | None = None
) -> None:
    """|actual - expected| <= factor * eps(dtype) * scale, elementwise; NaN and infinities must agree exactly.

    scale is `magnitude` (for linear operations: the operation on absolute values) or max(|expected|, 1).
    """
    a, e = np.asarray(actual), np.asarray(expected)
    assert a.shape == e.shape, f"expected shape {e.shape}, got {a.shape}"
    if np.dtype(dtype).kind != "f":
        np.testing.assert_array_equal(a, e)
        return
    a, e = a.astype(np.float64), e.astype(np.float64)
    finite = np.isfinite(e)
    np.testing.assert_array_equal(np.isnan(a), np.isnan(e), err_msg="NaN in different places")
    np.testing.assert_array_equal(a[~finite], e[~finite], err_msg="different infinities")
    scale = np.maximum(np.abs(e), 1.0) if magnitude is None else np.broadcast_to(np.asarray(magnitude), e.shape)
    bound: Any = factor * np.finfo(dtype).eps * scale[finite] + np.finfo(dtype).tiny
    error = np.abs(a[finite] - e[finite])
    if not (error <= bound).all():
        worst = int(np.argmax(error / bound))
        raise AssertionError(
            f"{int((error > bound).sum())} of {error.size} values differ; worst: expected {e[finite][worst]!r}, got "
            f"{a[finite][worst]!r}, {error[worst] / bound[worst] * factor:.1f} eps where {factor} are allowed"
        )
