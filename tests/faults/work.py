"""A piece of work whose result shows whether anything around it went wrong."""

from __future__ import annotations

import numpy as np

import deepcore as dc
from deepcore import ops


def work(seed: int) -> bytes:
    """Bytes that depend on a product, a convolution, a pooling, a reduction and their gradients."""
    rng = np.random.default_rng(seed)
    x = dc.tensor(rng.standard_normal((4, 12, 12, 3)), dtype="float32", requires_grad=True)
    w = dc.tensor(rng.standard_normal((8, 3, 3, 3)), dtype="float32", requires_grad=True)
    v = dc.tensor(rng.standard_normal((8 * 25, 70)), dtype="float32", requires_grad=True)
    y = ops.relu(ops.max_pool2d(ops.conv2d(x, w), 2)).reshape(4, -1)
    loss = ops.softmax_cross_entropy(y @ v, dc.tensor(rng.integers(0, 70, 4)))
    return b"".join(t.numpy().tobytes() for t in (loss, *dc.grad(loss, [x, w, v])))
