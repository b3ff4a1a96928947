"""Reductions over all, rows and columns of a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepcore import ops
from deepcore.bench.case import Case
from deepcore.bench.libraries import in_jax, in_torch, library, ours, plain

SHAPE = (2048, 1024)


def _sum(name: str, axis: int | None) -> Case:
    def torch_sum(x: Any) -> Any:
        return x.sum() if axis is None else x.sum(axis)

    return Case(
        "reduce", name,
        arrays=lambda rng: [rng.random(SHAPE, np.float32)],
        reference=lambda x: (x.sum(axis),),
        builders={"deepcore": ours(lambda x: ops.sum(x, axis)), "numpy": plain(lambda x: x.sum(axis)),
                  "torch": in_torch(torch_sum), "jax": in_jax(lambda x: x.sum(axis))},
        bytes=4.0 * SHAPE[0] * SHAPE[1],
    )  # fmt: skip


def _max() -> Case:
    return Case(
        "reduce", "max of rows 2048x1024",
        arrays=lambda rng: [rng.standard_normal(SHAPE).astype("f4")],
        reference=lambda x: (x.max(1),),
        builders={"deepcore": ours(lambda x: ops.max(x, 1)), "numpy": plain(lambda x: x.max(1)),
                  "torch": in_torch(lambda x: library("torch").amax(x, 1)), "jax": in_jax(lambda x: x.max(1))},
        bytes=4.0 * SHAPE[0] * SHAPE[1],
    )  # fmt: skip


CASES = [_sum("sum of all 2048x1024", None), _sum("sum of columns 2048x1024", 0), _sum("sum of rows 2048x1024", 1)]
CASES.append(_max())
