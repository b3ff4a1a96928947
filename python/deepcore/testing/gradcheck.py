"""Derivatives against central differences along random directions, to any order (after HIPS/autograd's check_grads)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from deepcore import ops
from deepcore.autograd import grad
from deepcore.tensor import Tensor, tensor


def check_gradients(
    function: Callable[..., Any],
    arrays: Sequence[Any],
    wanted: Sequence[int] | None = None,
    *,
    order: int = 2,
    step: float = 1e-5,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> None:
    """Check derivatives of `function` (tensors -> tensor or tuple of tensors) at float64 `arrays`.

    wanted: indices of the arguments to differentiate, default all float ones. The error allowed is
    tolerance * max(1, |value|). AssertionError names the order that fails.
    """
    rng = np.random.default_rng(seed)
    base = [np.array(a) for a in arrays]
    if wanted is None:
        wanted = [i for i, a in enumerate(base) if a.dtype.kind == "f"]
    weights: list[Tensor] = []

    def scalar(*args: Tensor) -> Tensor:
        """The outputs as one number: a fixed random combination."""
        result = function(*args)
        results = [r for r in (result if isinstance(result, (tuple, list)) else [result]) if r.dtype == "float64"]
        while len(weights) < len(results):
            weights.append(tensor(rng.standard_normal(results[len(weights)].shape)))
        total = ops.sum(results[0] * weights[0])
        for r, w in zip(results[1:], weights[1:], strict=False):
            total = total + ops.sum(r * w)
        return total

    _check(scalar, base, list(wanted), order, 1, step, tolerance, rng)


def _check(
    f: Callable[..., Tensor], base: list[Any], wanted: list[int], order: int, level: int, step: float,
    tolerance: float, rng: np.random.Generator,
) -> None:  # fmt: skip
    directions = [rng.standard_normal(base[i].shape) for i in wanted]

    def slope(*args: Tensor, create_graph: bool = True) -> Tensor:
        inputs = [args[i] for i in wanted]
        y = f(*args)
        if not y.requires_grad:
            return ops.sum(inputs[0]) * 0.0
        gradients = grad(y, inputs, create_graph=create_graph, allow_unused=True)
        total = None
        for g, d in zip(gradients, directions, strict=True):
            if g is not None:
                term = ops.sum(g * tensor(d))
                total = term if total is None else total + term
        return ops.sum(inputs[0]) * 0.0 if total is None else total

    def point(shift: float) -> list[Tensor]:
        moved = [np.array(a) for a in base]
        for i, d in zip(wanted, directions, strict=True):
            moved[i] = moved[i] + shift * d
        return [tensor(m, requires_grad=i in wanted) for i, m in enumerate(moved)]

    up, down = f(*point(step)).item(), f(*point(-step)).item()
    expected = (up - down) / (2 * step)
    for create_graph in (False, True):  # the fused kernels and their recorded references
        actual = slope(*point(0.0), create_graph=create_graph).item()
        allowed = tolerance * max(1.0, abs(expected), abs(up) * 1e-3)
        assert abs(actual - expected) <= allowed, (
            f"derivative of order {level} (create_graph={create_graph}): expected {expected!r}, got {actual!r}"
        )
    if level < order:
        _check(slope, base, wanted, order, level + 1, step, tolerance, rng)
