"""The cost of a call from Python: an elementwise operation on four numbers, without gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from deepcore import ops
from deepcore.bench.case import Array, Builder, Built, Case, Target
from deepcore.bench.libraries import in_jax, in_torch, library, plain


def _bare(f: Callable[..., Any]) -> Builder:
    """Just the call, as a user writes it: tensors that need no gradient."""

    def build(arrays: Sequence[Array]) -> Built:
        import deepcore as dc

        operands = [dc.tensor(a) for a in arrays]
        return Built(lambda: f(*operands), lambda result: (result.numpy(),))

    return build


def _case(name: str, operands: int, f: Any, np_f: Any, torch_f: Any, jax_f: Any) -> Case:
    return Case(
        "overhead", f"{name} of 4 values",
        arrays=lambda rng: [rng.standard_normal(4).astype("f4") for _ in range(operands)],
        reference=lambda *xs: (np_f(*xs),),
        builders={"deepcore": _bare(f), "numpy": plain(np_f), "torch": in_torch(torch_f), "jax": in_jax(jax_f)},
        target=Target("seconds", 3e-6),
    )  # fmt: skip


CASES = [
    _case("add", 2, lambda a, b: a + b, np.add, lambda a, b: a + b, lambda a, b: a + b),
    _case("ReLU", 1, ops.relu, lambda x: np.maximum(x, 0), lambda x: library("torch").relu(x),
          lambda x: library("jax").nn.relu(x)),
]  # fmt: skip
