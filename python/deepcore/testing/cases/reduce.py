"""Cases of the reduction family."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepcore import ops
from deepcore.testing.case import Case

SHAPES_AXES: list[tuple[tuple[int, ...], Any]] = [
    ((7,), None), ((3, 5), 0), ((3, 5), 1), ((2, 3, 4), (0, 2)), ((2, 3, 4), -2), ((4, 130), 1), ((130, 4), 0),
    ((1,), 0), ((0, 3), 1), ((5, 33, 17), (0, 1)),
]  # fmt: skip
# name -> (operation, numpy formula); sums also of nothing
REDUCTIONS: dict[str, tuple[Any, Any]] = {
    "sum": (ops.sum, np.sum),
    "mean": (ops.mean, np.mean),
    "var": (ops.var, np.var),
    "max": (ops.max, np.max),
    "min": (ops.min, np.min),
    "prod": (ops.prod, np.prod),
    "norm": (ops.norm, lambda x, axis, keepdims: np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))),
    "logsumexp": (ops.logsumexp, lambda x, axis, keepdims: np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))),
}


def _normal(shape: tuple[int, ...]) -> Any:
    return lambda rng: (rng.standard_normal(shape),)


def _away_from_zero(shape: tuple[int, ...]) -> Any:
    return lambda rng: (rng.uniform(0.3, 1.5, shape) * rng.choice([-1, 1], shape),)


def _cases() -> list[Case]:
    cases = []
    for name, (function, reference) in REDUCTIONS.items():
        for shape, axis in SHAPES_AXES:
            for keepdims in (False, True):

                def run(x: Any, f: Any = function, axis: Any = axis, keepdims: bool = keepdims) -> Any:
                    return f(x, axis=axis, keepdims=keepdims)

                def ref(x: Any, f: Any = reference, axis: Any = axis, keepdims: bool = keepdims) -> Any:
                    return f(x, axis=axis, keepdims=keepdims)

                big = int(np.prod(shape)) > 200
                cases.append(
                    Case(
                        f"{name}/{shape} axis {axis} {'kept' if keepdims else ''}", run, ref,
                        _away_from_zero(shape),
                        factor=64.0 if name == "prod" else 16.0,
                        magnitude=(lambda x, r=ref: r(np.abs(x)) + 1e-30) if name in ("sum", "mean") else None,
                        gradient=() if big and name == "prod" else None,
                        reason="products multiply the relative errors of their factors",
                    )
                )  # fmt: skip
    for n in (1 << 17, (1 << 18) + 5):  # long enough to be cut into chunks
        cases.append(Case(f"sum/long {n}", ops.sum, np.sum, _normal((n,)), gradient=(),
                          magnitude=lambda x: np.sum(np.abs(x)), factor=4.0))  # fmt: skip
        cases.append(Case(f"sum/tall {n}", lambda x: ops.sum(x, 0), lambda x: x.sum(0),
                          _normal((n // 8, 5)), gradient=(),
                          magnitude=lambda x: np.abs(x).sum(0), factor=16.0))  # fmt: skip
    return cases


CASES = _cases()
