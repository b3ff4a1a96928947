"""Softmax cross-entropy with its gradient, and softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepcore import ops
from deepcore.bench.case import Case, Target
from deepcore.bench.libraries import in_jax, in_onnx, in_torch, library, ours, plain
from deepcore.bench.references import cross_entropy
from deepcore.bench.shapes import LOGITS


def _jax(z: Any, labels: Any) -> Any:
    jax = library("jax")
    return -jax.numpy.take_along_axis(jax.nn.log_softmax(z), labels[:, None], -1).mean()


def _cross_entropy(name: str, shape: tuple[int, int]) -> Case:
    n, c = shape
    return Case(
        "loss", f"cross-entropy {name} fwd+bwd",
        arrays=lambda rng: [rng.standard_normal(shape).astype("f4"), rng.integers(0, c, n)],
        reference=cross_entropy,
        builders={"deepcore": ours(ops.softmax_cross_entropy, (0,)), "numpy": plain(cross_entropy),
                  "torch": in_torch(lambda z, t: library("torch").nn.functional.cross_entropy(z, t), (0,)),
                  "jax": in_jax(_jax, (0,))},
        # logits read twice, the gradient written
        bytes=12.0 * n * c,
        target=Target("peer", 1.5),
    )  # fmt: skip


def _softmax(name: str, shape: tuple[int, int]) -> Case:
    def reference(z: Any) -> tuple[Any, ...]:
        e = np.exp(z - z.max(-1, keepdims=True))
        return (e / e.sum(-1, keepdims=True),)

    return Case(
        "loss", f"softmax {name} fwd",
        arrays=lambda rng: [rng.standard_normal(shape).astype("f4")],
        reference=reference,
        builders={"deepcore": ours(ops.softmax), "numpy": plain(reference),
                  "torch": in_torch(lambda z: library("torch").softmax(z, -1)),
                  "jax": in_jax(lambda z: library("jax").nn.softmax(z)),
                  "onnxruntime": in_onnx(lambda helper, names: [helper.make_node("Softmax", names, ["y"], axis=-1)])},
        bytes=8.0 * shape[0] * shape[1],
    )  # fmt: skip


CASES = [_cross_entropy(name, shape) for name, shape in LOGITS.items()]
CASES += [_softmax(name, shape) for name, shape in LOGITS.items()]
