"""Initial weights. Shapes are (k, c) for dense and (k, r, s, c) for convolution filters."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from deepcore import random
from deepcore.errors import ArgumentError
from deepcore.tensor import Tensor, full, tensor

Shape = tuple[int, ...]
Initializer = Callable[[Shape, random.Key], Tensor]


def fans(shape: Shape) -> tuple[int, int]:
    """(inputs, outputs) per unit: c r s and k r s for filters (k, r, s, c)."""
    if len(shape) < 2:
        raise ArgumentError(f"init: expected weights with at least two axes, got {shape}")
    window = math.prod(shape[1:-1])
    return shape[-1] * window, shape[0] * window


def _uniform(shape: Shape, key: random.Key, bound: float) -> Tensor:
    return random.uniform(shape, -bound, bound, seed=key[0], stream=key[1])


def _normal(shape: Shape, key: random.Key, deviation: float) -> Tensor:
    return random.normal(shape, 0.0, deviation, seed=key[0], stream=key[1])


def glorot_uniform(shape: Shape, key: random.Key) -> Tensor:
    """U(-a, a), a = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    return _uniform(shape, key, math.sqrt(6 / max(sum(fans(shape)), 1)))


def glorot_normal(shape: Shape, key: random.Key) -> Tensor:
    """N(0, 2 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    return _normal(shape, key, math.sqrt(2 / max(sum(fans(shape)), 1)))


def he_uniform(shape: Shape, key: random.Key) -> Tensor:
    """U(-a, a), a = sqrt(6 / fan_in), for ReLU nets (He et al., 2015)."""
    return _uniform(shape, key, math.sqrt(6 / max(fans(shape)[0], 1)))


def he_normal(shape: Shape, key: random.Key) -> Tensor:
    """N(0, 2 / fan_in), for ReLU nets (He et al., 2015)."""
    return _normal(shape, key, math.sqrt(2 / max(fans(shape)[0], 1)))


def lecun_uniform(shape: Shape, key: random.Key) -> Tensor:
    """U(-a, a), a = sqrt(3 / fan_in) (LeCun et al., 1998)."""
    return _uniform(shape, key, math.sqrt(3 / max(fans(shape)[0], 1)))


def lecun_normal(shape: Shape, key: random.Key) -> Tensor:
    """N(0, 1 / fan_in) (LeCun et al., 1998)."""
    return _normal(shape, key, math.sqrt(1 / max(fans(shape)[0], 1)))


def orthogonal(shape: Shape, key: random.Key) -> Tensor:
    """Rows (or columns, if fewer) orthonormal, uniformly distributed (Saxe et al., 2013): QR of a normal matrix."""
    rows, columns = shape[0], math.prod(shape[1:])
    a = _normal((max(rows, columns), min(rows, columns)), key, 1.0).numpy().astype(np.float64)
    q, r = np.linalg.qr(a)
    q = q * np.sign(np.where(np.diag(r) == 0, 1.0, np.diag(r)))
    return tensor((q if rows >= columns else q.T).reshape(shape).astype(np.float32))


def zeros(shape: Shape, key: random.Key) -> Tensor:
    """All zeros."""
    return full(shape, 0.0)


INITIALIZERS: dict[str, Initializer] = {
    f.__name__: f
    for f in (glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_uniform, lecun_normal, orthogonal, zeros)
}


def initial(name: str | Initializer, shape: Shape, generator: random.Generator) -> Tensor:
    """Weights by the name of an initializer or by a function of (shape, key)."""
    if callable(name):
        return name(shape, generator.key())
    if name not in INITIALIZERS:
        raise ArgumentError(f"init: expected one of {sorted(INITIALIZERS)}, got {name!r}")
    return INITIALIZERS[name](shape, generator.key())


def generator_for(seed: int | None) -> random.Generator:
    """A generator of a module's own seed, or the default one."""
    return random.default_generator() if seed is None else random.Generator(seed)
