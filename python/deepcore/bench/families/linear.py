"""Dense layers: product, bias and ReLU in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepcore import ops
from deepcore.bench.case import Case
from deepcore.bench.libraries import in_jax, in_onnx, in_torch, library, ours, plain
from deepcore.bench.shapes import ACTIVATIONS


def _reference(x: Any, w: Any, b: Any) -> tuple[Any, ...]:
    return (np.maximum(x @ w.T + b, 0),)


def _gradients(x: Any, w: Any, b: Any, g: Any) -> tuple[Any, ...]:
    y = np.maximum(x @ w.T + b, 0)
    g = g * (y > 0)
    return y, g @ w, g.T @ x, g.sum(0)


def _graph(helper: Any, names: list[str]) -> list[Any]:
    return [helper.make_node("Gemm", names, ["z"], transB=1), helper.make_node("Relu", ["z"], ["y"])]


def _torch(x: Any, w: Any, b: Any) -> Any:
    functional = library("torch").nn.functional
    return functional.relu(functional.linear(x, w, b))


def _jax(x: Any, w: Any, b: Any) -> Any:
    return library("jax").nn.relu(x @ w.T + b)


def _ours(x: Any, w: Any, b: Any) -> Any:
    return ops.linear(x, w, b, "relu")


def _layer(n: int, c: int, k: int, backward: bool) -> Case:
    shapes = [(n, c), (k, c), (k,)] + ([(n, k)] if backward else [])
    grads = (0, 1, 2) if backward else ()
    builders = {
        "deepcore": ours(_ours, grads, backward),
        "numpy": plain(_gradients if backward else _reference),
        "torch": in_torch(_torch, grads, backward),
        "jax": in_jax(_jax, grads, backward),
    }
    if not backward:
        builders["onnxruntime"] = in_onnx(_graph, constants=(1, 2))
    return Case(
        "linear", f"{n}x{c}x{k} ReLU {'fwd+bwd' if backward else 'fwd'}",
        arrays=lambda rng: [rng.standard_normal(s).astype("f4") for s in shapes],
        reference=_gradients if backward else _reference,
        builders=builders,
        flops=2.0 * n * c * k * (3 if backward else 1),
        bytes=4.0 * (n * c + k * c + n * k) * (3 if backward else 1),
    )  # fmt: skip


def _bias_relu(rows: int, columns: int) -> Case:
    def f(x: Any, b: Any) -> Any:
        return np.maximum(x + b, 0)

    def graph(helper: Any, names: list[str]) -> list[Any]:
        return [helper.make_node("Add", names, ["z"]), helper.make_node("Relu", ["z"], ["y"])]

    return Case(
        "linear", f"bias+ReLU {rows}x{columns}",
        arrays=lambda rng: [rng.standard_normal((rows, columns)).astype("f4"),
                            rng.standard_normal(columns).astype("f4")],
        reference=lambda x, b: (f(x, b),),
        builders={"deepcore": ours(lambda x, b: ops.relu(x + b)), "numpy": plain(f),
                  "torch": in_torch(lambda x, b: library("torch").relu(x + b)),
                  "jax": in_jax(lambda x, b: library("jax").nn.relu(x + b)), "onnxruntime": in_onnx(graph)},
        bytes=8.0 * rows * columns,
    )  # fmt: skip


CASES = [_layer(*shape, backward) for shape in ((128, 784, 1024), (128, 1024, 1024)) for backward in (False, True)]
CASES += [_bias_relu(*shape) for shape in ACTIVATIONS.values()]
