"""Random operations inside nets: dropout."""

from __future__ import annotations

from deepcore import _C
from deepcore.autograd import defvjp, primitive
from deepcore.random import Key
from deepcore.tensor import Tensor


@primitive
def _dropout(x: _C.Array, *, key: Key, p: float) -> _C.Array:
    return _C.dropout(key, x, p)


# The mask is a function of the key, so the gradient is the same map of g: nothing is stored.
defvjp(_dropout, lambda g, y, x, key, p: _dropout(g, key=key, p=p))


def dropout(x: Tensor, p: float, key: Key) -> Tensor:
    """x / (1 - p) where a random bit says keep, else 0 (Srivastava et al., 2014).

    `key` (seed, stream, offset) determines the mask. p is rounded to a multiple of 2^-16. ArgumentError unless
    0 <= p <= 1.
    """
    if p == 0:
        return x
    result: Tensor = _dropout(x, key=key, p=float(p))
    return result
