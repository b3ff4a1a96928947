"""Dropout with its gradient; each library draws its own random bits, so the check is one of distribution."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from deepcore import ops
from deepcore.bench.case import Array, Builder, Built, Case, Target
from deepcore.bench.libraries import in_torch, library, ours
from deepcore.bench.shapes import IMAGES

P = 0.5


def _check(x: Any, g: Any, y: Any, gx: Any) -> tuple[Any, ...]:
    """Half of the values are kept, doubled, and the gradient passes exactly there."""
    kept = y != 0
    share = float(kept.mean())
    assert abs(share - (1 - P)) < 0.01, f"kept {share:.1%} of the values, expected {1 - P:.0%}"
    assert np.allclose(y, np.where(kept, x / (1 - P), 0)), "kept values are not x / (1 - p)"
    assert np.allclose(gx, np.where(kept, g / (1 - P), 0)), "the gradient's mask is not that of the values"
    return ()


def _ours() -> Builder:
    stream = itertools.count()
    return ours(lambda x: ops.dropout(x, P, (1, next(stream), 0)), (0,), True)


def _numpy(arrays: Sequence[Array]) -> Built:
    x, g = arrays
    rng = np.random.default_rng(1)

    def step() -> Any:
        mask = (rng.random(x.shape, np.float32) >= P) * np.float32(1 / (1 - P))
        return x * mask, g * mask

    return Built(step, lambda result: result)


def _jax(arrays: Sequence[Array]) -> Built:
    jax = library("jax")
    x, g = (jax.device_put(a) for a in arrays)
    count = itertools.count()

    @jax.jit  # type: ignore[untyped-decorator]
    def both(x: Any, g: Any, number: Any) -> Any:
        mask = jax.random.bernoulli(jax.random.fold_in(jax.random.key(1), number), 1 - P, x.shape)
        y, pull = jax.vjp(lambda v: jax.numpy.where(mask, v / (1 - P), 0), x)
        return y, pull(g)[0]

    return Built(
        lambda: jax.block_until_ready(both(x, g, next(count))), lambda result: tuple(np.asarray(r) for r in result)
    )


def _case(where: str, shape: tuple[int, ...]) -> Case:
    return Case(
        "dropout", f"p 0.5 {where} fwd+bwd",
        arrays=lambda rng: [rng.standard_normal(shape).astype("f4"), rng.standard_normal(shape).astype("f4")],
        reference=_check,
        builders={"deepcore": _ours(), "numpy": _numpy, "jax": _jax,
                  "torch": in_torch(lambda x: library("torch").nn.functional.dropout(x, P, True), (0,), True)},
        bytes=16.0 * float(np.prod(shape)),
        target=Target("peer", 1.5),
        random=True,
    )  # fmt: skip


CASES = [_case(where, shape) for where, shape in IMAGES.items()]
