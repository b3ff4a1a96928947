"""Batch norm in training and layer norm, with all gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepcore import ops
from deepcore.bench.case import Case, Target
from deepcore.bench.libraries import in_jax, in_torch, library, ours, plain
from deepcore.bench.shapes import IMAGES

EPSILON = 1e-5


def _normalise(np_: Any, x: Any, axes: Any) -> Any:
    mean = x.mean(axes, keepdims=True)
    variance = ((x - mean) ** 2).mean(axes, keepdims=True)
    return (x - mean) / np_.sqrt(variance + EPSILON)


def _reference(axes: tuple[int, ...]) -> Any:
    def reference(x: Any, gamma: Any, beta: Any, g: Any) -> tuple[Any, ...]:
        mean = x.mean(axes, keepdims=True)
        scale = 1 / np.sqrt(x.var(axes, keepdims=True) + EPSILON)
        hat = (x - mean) * scale
        inner = g * gamma
        gx = scale * (inner - inner.mean(axes, keepdims=True) - hat * (inner * hat).mean(axes, keepdims=True))
        others = tuple(range(x.ndim - 1))
        return hat * gamma + beta, gx, (g * hat).sum(others), g.sum(others)

    return reference


def _case(name: str, shape: tuple[int, ...], layer: bool) -> Case:
    c = shape[-1]
    axes = (len(shape) - 1,) if layer else tuple(range(len(shape) - 1))

    def torch_norm(x: Any, gamma: Any, beta: Any) -> Any:
        functional = library("torch").nn.functional
        if layer:
            return functional.layer_norm(x, (c,), gamma, beta, EPSILON)
        return functional.batch_norm(x, None, None, gamma, beta, True, 0.1, EPSILON)

    def jax_norm(x: Any, gamma: Any, beta: Any) -> Any:
        return _normalise(library("jax.numpy"), x, axes) * gamma + beta

    def ours_norm(x: Any, gamma: Any, beta: Any) -> Any:
        return ops.layer_norm(x, gamma, beta) if layer else ops.batch_norm(x, gamma, beta)

    return Case(
        "norm", name,
        arrays=lambda rng: [rng.standard_normal(s).astype("f4") for s in (shape, (c,), (c,), shape)],
        reference=_reference(axes),
        builders={"deepcore": ours(ours_norm, (0, 1, 2), True), "numpy": plain(_reference(axes)),
                  "torch": in_torch(torch_norm, (0, 1, 2), True), "jax": in_jax(jax_norm, (0, 1, 2), True)},
        # moments, result, two sums of the gradient, gradient: x three times, g twice, y and gx written
        bytes=4.0 * float(np.prod(shape)) * (5 if layer else 7),
        tolerance=2e-4,
        target=None if layer else Target("peer", 1.5),
    )  # fmt: skip


CASES = [_case(f"batch norm {where} fwd+bwd", shape, False) for where, shape in IMAGES.items()]
CASES.append(_case("layer norm 2048x1024 fwd+bwd", (2048, 1024), True))
