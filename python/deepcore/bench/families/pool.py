"""Pooling with 2 x 2 windows, forward and with its gradient."""

from __future__ import annotations

from typing import Any

from deepcore import ops
from deepcore.bench.case import Case, Target
from deepcore.bench.libraries import in_jax, in_torch, library, ours, plain
from deepcore.bench.references import avg_pool2, avg_pool2_grad, max_pool2, max_pool2_grad
from deepcore.bench.shapes import IMAGES

WINDOW = (1, 2, 2, 1)


def _max_reference(x: Any, g: Any) -> tuple[Any, ...]:
    y = max_pool2(x)
    return y, max_pool2_grad(x, y, g)


def _average_reference(x: Any, g: Any) -> tuple[Any, ...]:
    return avg_pool2(x), avg_pool2_grad(x, g)


def _max_jax(x: Any) -> Any:
    lax = library("jax").lax
    return lax.reduce_window(x, -float("inf"), lax.max, WINDOW, WINDOW, "VALID")


def _average_jax(x: Any) -> Any:
    lax = library("jax").lax
    return lax.reduce_window(x, 0.0, lax.add, WINDOW, WINDOW, "VALID") / 4


def _case(kind: str, where: str, shape: tuple[int, int, int, int]) -> Case:
    n, h, w, c = shape
    largest = kind == "max"
    reference = _max_reference if largest else _average_reference

    def torch_pool(x: Any) -> Any:
        functional = library("torch").nn.functional
        return functional.max_pool2d(x, 2) if largest else functional.avg_pool2d(x, 2)

    return Case(
        "pool", f"{kind} 2x2 {where} fwd+bwd",
        arrays=lambda rng: [rng.standard_normal(shape).astype("f4"),
                            rng.standard_normal((n, h // 2, w // 2, c)).astype("f4")],
        reference=reference,
        builders={"deepcore": ours(lambda x: ops.max_pool2d(x, 2) if largest else ops.avg_pool2d(x, 2), (0,), True),
                  "numpy": plain(reference), "torch": in_torch(torch_pool, (0,), True),
                  "jax": in_jax(_max_jax if largest else _average_jax, (0,), True)},
        # x is read, the gradient written, y and g are a quarter each
        bytes=4.0 * n * h * w * c * 2.5,
        target=Target("peer", 1.5),
    )  # fmt: skip


CASES = [_case(kind, where, shape) for kind in ("max", "average") for where, shape in IMAGES.items()]
