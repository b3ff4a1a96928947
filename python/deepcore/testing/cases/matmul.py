"""Cases of the GEMM family."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepcore import ops
from deepcore.testing.case import Case

# m, k, n around the register tiles
SIZES = [
    (1, 1, 1),
    (3, 5, 7),
    (14, 16, 32),
    (15, 17, 33),
    (1, 40, 70),
    (40, 70, 1),
    (0, 3, 4),
    (3, 0, 4),
    (65, 130, 97),
    (181, 4100, 190),  # cut along k
]
# A of which two thirds are zeros: kernels leave those out where the product is large enough.
SPARSE_SIZES = [(33, 130, 257), (300, 49, 97), (64, 1000, 70), (100, 96, 128)]
STACKS = [((3, 4, 5), (5, 6)), ((3, 4, 5), (3, 5, 6)), ((4, 5), (2, 5, 3)), ((2, 1, 4, 5), (3, 5, 6)), ((5,), (5, 3)),
          ((3, 5), (5,)), ((5,), (5,))]  # fmt: skip


def _magnitude(a: Any, b: Any) -> Any:
    return np.abs(a) @ np.abs(b)


def _normal(*shapes: Any) -> Any:
    return lambda rng: tuple(rng.standard_normal(s) for s in shapes)


def _sparse(*shapes: Any) -> Any:
    """The first array two thirds zeros, the others normal."""

    def make(rng: np.random.Generator) -> Any:
        first, *others = _normal(*shapes)(rng)
        return np.where(rng.random(first.shape) < 2 / 3, 0.0, first), *others

    return make


def _cases() -> list[Case]:
    cases = []
    for m, k, n in SIZES + SPARSE_SIZES:
        small, sparse = m * k * n < 5000, (m, k, n) in SPARSE_SIZES
        for ta in (False, True):
            for tb in (False, True):

                def product(a: Any, b: Any, ta: bool = ta, tb: bool = tb) -> Any:
                    return (a.T if ta else a) @ (b.T if tb else b)

                shapes = ((k, m) if ta else (m, k)), ((n, k) if tb else (k, n))
                cases.append(
                    Case(f"matmul/{'sparse ' * sparse}{m}x{k}x{n}{' ta' * ta}{' tb' * tb}", product, product,
                         (_sparse if sparse else _normal)(*shapes),
                         magnitude=lambda a, b, p=product: p(np.abs(a), np.abs(b)),
                         gradient=None if small else ())
                )  # fmt: skip
    for a, b in STACKS:
        cases.append(Case(f"matmul/{a}{b}", ops.matmul, np.matmul, _normal(a, b), magnitude=_magnitude))
    activations: dict[str | None, Any] = {
        None: lambda y: y, "relu": lambda y: np.maximum(y, 0), "sigmoid": lambda y: 1 / (1 + np.exp(-y)),
        "tanh": np.tanh,
    }  # fmt: skip
    for activation, f in activations.items():
        for shape in ((2, 5), (2, 3, 5), (0, 5)):
            cases.append(
                Case(f"linear/{activation} {shape}", lambda x, w, b, a=activation: ops.linear(x, w, b, a),
                     lambda x, w, b, f=f: f(x @ w.T + b), _normal(shape, (4, 5), (4,)), factor=32.0)
            )  # fmt: skip
        cases.append(
            Case(f"linear/{activation} of sparse x", lambda x, w, b, a=activation: ops.linear(x, w, b, a),
                 lambda x, w, b, f=f: f(x @ w.T + b), _sparse((70, 120), (150, 120), (150,)), factor=32.0, gradient=())
        )  # fmt: skip
    cases.append(Case("linear/no bias", ops.linear, lambda x, w: x @ w.T, _normal((3, 5), (4, 5)), factor=32.0))
    return cases


CASES = _cases()
