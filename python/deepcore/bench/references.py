"""Numpy versions of convolution and pooling on NHWC images, for references: tap by tap, products by BLAS."""

from __future__ import annotations

from typing import Any

import numpy as np


def _taps(x: Any, w: Any, stride: int, padding: int) -> Any:
    """(i, j, the pixels of padded x that filter tap (i, j) meets)."""
    p = (x.shape[1] + 2 * padding - w.shape[1]) // stride + 1
    q = (x.shape[2] + 2 * padding - w.shape[2]) // stride + 1
    around = np.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    for i in range(w.shape[1]):
        for j in range(w.shape[2]):
            yield i, j, around[:, i : i + (p - 1) * stride + 1 : stride, j : j + (q - 1) * stride + 1 : stride]


def conv2d(x: Any, w: Any, stride: int, padding: int) -> Any:
    """x (n, h, w, c), w (k, r, s, c) -> (n, p, q, k)."""
    total = None
    for i, j, part in _taps(x, w, stride, padding):
        product = part.reshape(-1, part.shape[3]) @ w[:, i, j].T
        total = product.reshape(*part.shape[:3], -1) if total is None else total + product.reshape(total.shape)
    return total


def conv2d_grads(x: Any, w: Any, g: Any, stride: int, padding: int) -> tuple[Any, Any]:
    """Gradients for x and w from g (n, p, q, k)."""
    gw = np.zeros_like(w)
    gx = np.zeros((x.shape[0], x.shape[1] + 2 * padding, x.shape[2] + 2 * padding, x.shape[3]), x.dtype)
    flat = g.reshape(-1, g.shape[3])
    for i, j, part in _taps(x, w, stride, padding):
        gw[:, i, j] = flat.T @ part.reshape(-1, part.shape[3])
        rows = slice(i, i + (g.shape[1] - 1) * stride + 1, stride)
        columns = slice(j, j + (g.shape[2] - 1) * stride + 1, stride)
        gx[:, rows, columns] += (flat @ w[:, i, j]).reshape(part.shape)
    return gx[:, padding : padding + x.shape[1], padding : padding + x.shape[2]], gw


def max_pool2(x: Any) -> Any:
    """2 x 2 windows, stride 2."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


def max_pool2_grad(x: Any, y: Any, g: Any) -> Any:
    """g goes to the largest value of each window (they are distinct with probability one)."""
    n, h, w, c = x.shape
    hit = x.reshape(n, h // 2, 2, w // 2, 2, c) == y[:, :, None, :, None]
    return (hit * g[:, :, None, :, None]).reshape(x.shape).astype(x.dtype)


def avg_pool2(x: Any) -> Any:
    """2 x 2 windows, stride 2."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))


def avg_pool2_grad(x: Any, g: Any) -> Any:
    """A quarter of g to each pixel of its window."""
    return np.repeat(np.repeat(g / 4, 2, 1), 2, 2).astype(x.dtype)


def cross_entropy(z: Any, labels: Any) -> tuple[Any, Any]:
    """Mean softmax cross-entropy and its gradient for z."""
    e = np.exp(z - z.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)
    rows = np.arange(len(z))
    loss = -np.log(p[rows, labels]).mean()
    p[rows, labels] -= 1
    return np.asarray(loss), p / len(z)
