"""A function of tensors over many samples, in batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.autograd import no_grad
from deepcore.tensor import Tensor, as_tensor

Array = npt.NDArray[Any]


def mapped(function: Callable[[Tensor], Tensor], x: Array, device: str, batch: int = 500) -> Array:
    """function of x (n, ...), `batch` rows at a time on `device`, as one array (n, ...)."""
    n = len(x)
    if n < 16:  # products with few rows sum in another order: a sample's result is the same in any company
        x = np.concatenate([x, np.zeros((16 - n, *x.shape[1:]), x.dtype)])
    with no_grad():
        parts = [np.asarray(function(as_tensor(np.ascontiguousarray(x[i : i + batch])).to(device)).numpy())
                 for i in range(0, len(x), batch)]  # fmt: skip
    result: Array = np.concatenate(parts)
    return result[:n]
