"""Elementwise operations, in cache and in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deepcore import ops
from deepcore.bench.case import Case
from deepcore.bench.libraries import in_jax, in_torch, library, ours, plain
from deepcore.bench.shapes import IMAGES

Functions = tuple[int, Callable[..., Any], Callable[..., Any], Callable[..., Any], Callable[..., Any]]


def _torch(name: str) -> Callable[..., Any]:
    return lambda *xs: getattr(library("torch"), name)(*xs)


def _jax(name: str) -> Callable[..., Any]:
    return lambda *xs: getattr(library("jax.numpy"), name)(*xs)


# operands, deepcore, numpy, torch, jax
FUNCTIONS: dict[str, Functions] = {
    "add": (2, ops.add, np.add, _torch("add"), _jax("add")),
    "ReLU": (1, ops.relu, lambda x: np.maximum(x, 0), _torch("relu"), lambda x: library("jax").nn.relu(x)),
    "exp": (1, ops.exp, np.exp, _torch("exp"), _jax("exp")),
    "tanh": (1, ops.tanh, np.tanh, _torch("tanh"), _jax("tanh")),
    "sigmoid": (1, ops.sigmoid, lambda x: 1 / (1 + np.exp(-x)), _torch("sigmoid"),
                lambda x: library("jax").nn.sigmoid(x)),
}  # fmt: skip


def _case(name: str, where: str, shape: tuple[int, ...]) -> Case:
    operands, f, np_f, torch_f, jax_f = FUNCTIONS[name]
    return Case(
        "elementwise", f"{name} {where}",
        arrays=lambda rng: [rng.standard_normal(shape).astype("f4") for _ in range(operands)],
        reference=lambda *xs: (np_f(*xs),),
        builders={"deepcore": ours(f), "numpy": plain(np_f), "torch": in_torch(torch_f), "jax": in_jax(jax_f)},
        bytes=4.0 * float(np.prod(shape)) * (operands + 1),
    )  # fmt: skip


CASES = [_case(name, where, shape) for name in FUNCTIONS for where, shape in IMAGES.items()]
