"""Numpy versions for references: convolution and pooling on NHWC images, tap by tap; recurrent layers, time first."""

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


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def lstm(x: Any, w: Any, u: Any, b: Any) -> tuple[Any, list[Any]]:
    """y (steps, batch, hidden) and what the backward pass needs of each step."""
    hidden = u.shape[1]
    h = c = np.zeros((x.shape[1], hidden), x.dtype)
    z_all = x @ w.T + b
    y, kept = np.empty((*x.shape[:2], hidden), x.dtype), []
    for t in range(len(x)):
        i, f, g, o = np.split(z_all[t] + h @ u.T, 4, 1)
        i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
        before, state = h, c
        c = f * c + i * g
        h = o * np.tanh(c)
        y[t] = h
        kept.append((i, f, g, o, before, state, np.tanh(c)))
    return y, kept


def lstm_grads(x: Any, w: Any, u: Any, b: Any, gy: Any) -> tuple[Any, ...]:
    """y, then the gradients for x, w, u and b."""
    y, kept = lstm(x, w, u, b)
    gx, gw, gu, gb = np.empty_like(x), np.zeros_like(w), np.zeros_like(u), np.zeros_like(b)
    dh = dc = 0.0
    for t in reversed(range(len(x))):
        i, f, g, o, before, state, squashed = kept[t]
        dh = dh + gy[t]
        dc = dc + dh * o * (1 - squashed**2)
        dz = np.concatenate(
            [dc * g * i * (1 - i), dc * state * f * (1 - f), dc * i * (1 - g**2), dh * squashed * o * (1 - o)], 1
        )
        dh, dc = dz @ u, dc * f
        gx[t] = dz @ w
        gw += dz.T @ x[t]
        gu += dz.T @ before
        gb += dz.sum(0)
    return y, gx, gw, gu, gb


def gru(x: Any, w: Any, u: Any, b: Any, bh: Any) -> tuple[Any, list[Any]]:
    """y (steps, batch, hidden) and what the backward pass needs of each step."""
    hidden = u.shape[1]
    h = np.zeros((x.shape[1], hidden), x.dtype)
    z_all = x @ w.T + b
    y, kept = np.empty((*x.shape[:2], hidden), x.dtype), []
    for t in range(len(x)):
        zr, zz, zn = np.split(z_all[t], 3, 1)
        ur, uz, un = np.split(h @ u.T, 3, 1)
        r, z, inner = _sigmoid(zr + ur), _sigmoid(zz + uz), un + bh
        n = np.tanh(zn + r * inner)
        kept.append((r, z, n, inner, h))
        h = (1 - z) * n + z * h
        y[t] = h
    return y, kept


def gru_grads(x: Any, w: Any, u: Any, b: Any, bh: Any, gy: Any) -> tuple[Any, ...]:
    """y, then the gradients for x, w, u, b and bh."""
    y, kept = gru(x, w, u, b, bh)
    gx, gw, gu, gb, gbh = (np.zeros_like(a) for a in (x, w, u, b, bh))
    dh = 0.0
    for t in reversed(range(len(x))):
        r, z, n, inner, before = kept[t]
        dh = dh + gy[t]
        dn = dh * (1 - z) * (1 - n**2)
        dr, dz = dn * inner * r * (1 - r), dh * (before - n) * z * (1 - z)
        out, rec = np.concatenate([dr, dz, dn], 1), np.concatenate([dr, dz, dn * r], 1)
        dh = dh * z + rec @ u
        gx[t] = out @ w
        gw += out.T @ x[t]
        gu += rec.T @ before
        gb += out.sum(0)
        gbh += (dn * r).sum(0)
    return y, gx, gw, gu, gb, gbh
