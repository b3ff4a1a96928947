"""Cases of the normalisation family, against the two-pass formulas."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepcore import ops
from deepcore.testing.case import Case

EPSILON = 1e-3


def normalised(x: Any, axes: tuple[int, ...]) -> Any:
    """(x - mean) / sqrt(var + epsilon) over axes."""
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + EPSILON)


def reference_groups(x: Any, groups: int) -> Any:
    """Normalised over pixels and the channels of each group, per sample."""
    grouped = x.reshape(*x.shape[:-1], groups, -1)
    return normalised(grouped, (*range(1, x.ndim - 1), x.ndim)).reshape(x.shape)


def _affine(f: Any) -> Any:
    return lambda x, gamma=None, beta=None: f(x) * (1 if gamma is None else gamma) + (0 if beta is None else beta)


def _make(shape: Any, affine: Any, shift: float = 0.0) -> Any:
    def make(rng: np.random.Generator) -> Any:
        x = rng.standard_normal(shape) + shift
        return (x, rng.standard_normal(affine), rng.standard_normal(affine)) if affine else (x,)

    return make


def _statistics(shape: tuple[int, ...]) -> Any:
    """Inputs of inference: x, gamma, beta, mean, variance."""

    def make(rng: np.random.Generator) -> Any:
        vectors = [rng.standard_normal(shape[-1]) for _ in range(3)]
        return rng.standard_normal(shape), *vectors, rng.uniform(0.5, 2.0, shape[-1])

    return make


def _cases() -> list[Case]:
    cases = []
    reason = "differences from the mean lose the digits that x and its mean share"
    shape: tuple[int, ...]
    affine: tuple[int, ...] | None
    for shape in ((6, 3), (2, 3, 4, 5), (5, 17), (3, 40, 7, 33), (2000, 16), (700, 130)):
        small = None if int(np.prod(shape)) < 250 else ()
        for affine in (None, (shape[-1],)):

            def batch(x: Any, gamma: Any = None, beta: Any = None) -> Any:
                return ops.batch_norm(x, gamma, beta, epsilon=EPSILON)

            cases.append(Case(f"batch_norm/{shape} {'affine' if affine else ''}", batch,
                              _affine(lambda x: normalised(x, tuple(range(x.ndim - 1)))), _make(shape, affine, 3.0),
                              factor=256.0, gradient=small, reason=reason))  # fmt: skip
        cases.append(
            Case(f"instance_norm/{shape}", lambda x, g, b: ops.instance_norm(x, g, b, epsilon=EPSILON),
                 _affine(lambda x: reference_groups(x, x.shape[-1])), _make(shape, (shape[-1],), 1.0),
                 factor=256.0, gradient=small, reason=reason)
        ) if len(shape) > 2 else None  # fmt: skip
    for shape, groups in (((2, 3, 4, 6), 3), ((2, 3, 4, 6), 1), ((3, 5, 8), 4), ((2, 9, 9, 48), 8)):
        cases.append(
            Case(f"group_norm/{shape} groups {groups}",
                 lambda x, g, b, n=groups: ops.group_norm(x, n, g, b, epsilon=EPSILON),
                 _affine(lambda x, n=groups: reference_groups(x, n)), _make(shape, (shape[-1],), 1.0), factor=128.0,
                 gradient=None if int(np.prod(shape)) < 250 else (), reason=reason)
        )  # fmt: skip
    for shape, axes in (((4, 5), 1), ((2, 3, 4), 2), ((2, 3, 4), 1), ((3, 17), 1), ((300, 33), 1), ((40, 1000), 1)):
        for affine in (None, shape[-axes:]):

            def layer(x: Any, gamma: Any = None, beta: Any = None, n: int = axes) -> Any:
                return ops.layer_norm(x, gamma, beta, axes=n, epsilon=EPSILON)

            cases.append(
                Case(f"layer_norm/{shape} axes {axes} {'affine' if affine else ''}", layer,
                     _affine(lambda x, n=axes: normalised(x, tuple(range(x.ndim - n, x.ndim)))),
                     _make(shape, affine, 1.0), factor=128.0, gradient=None if int(np.prod(shape)) < 250 else (),
                     reason=reason)
            )  # fmt: skip

    def batch_relu(x: Any, gamma: Any = None, beta: Any = None) -> Any:
        return ops.batch_norm(x, gamma, beta, epsilon=EPSILON, activation="relu")

    def reference_relu(x: Any, gamma: Any = 1.0, beta: Any = 0.0) -> Any:
        return np.maximum(normalised(x, tuple(range(x.ndim - 1))) * gamma + beta, 0)

    for shape in ((2, 3, 4, 5), (3, 11, 33), (2000, 16), (700, 130)):
        small = None if int(np.prod(shape)) < 250 else ()
        for affine in (None, (shape[-1],)):
            cases.append(Case(f"batch_norm/ReLU {shape} {'affine' if affine else ''}", batch_relu, reference_relu,
                              _make(shape, affine, 3.0), factor=256.0, gradient=small, reason=reason))  # fmt: skip

    def inference(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *, activation: str | None = None) -> Any:
        return ops.batch_norm(x, gamma, beta, running_mean=mean, running_var=var, training=False, epsilon=EPSILON,
                              activation=activation)  # fmt: skip

    def reference_inference(x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
        return (x - mean) / np.sqrt(var + EPSILON) * gamma + beta

    for shape in ((2, 3, 4, 5), (5000, 17)):
        cases.append(
            Case(f"scale_shift/batch_norm inference {shape}", inference, reference_inference,
                 _statistics(shape),
                 factor=64.0, gradient=None if len(shape) > 2 else ())
        )  # fmt: skip
        cases.append(
            Case(f"scale_shift/batch_norm inference, ReLU {shape}", lambda *a: inference(*a, activation="relu"),
                 lambda *a: np.maximum(reference_inference(*a), 0), _statistics(shape),
                 factor=64.0, gradient=None if len(shape) > 2 else ())
        )  # fmt: skip
    return [c for c in cases if c is not None]


CASES = _cases()
