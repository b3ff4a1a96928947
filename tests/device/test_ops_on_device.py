"""Values, layouts and derivatives of every case on a CUDA device, against the same numpy references as the CPU's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import Tensor, ops
from deepcore.testing import all_cases, check_gradients, check_gradients_in_float32, check_values
from deepcore.testing.case import Case, outputs

CASES = all_cases()
DIFFERENTIABLE = [c for c in CASES if c.differentiable() and all(a.size for a in c.inputs())]


def on_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of tensors of the CPU, computed on the device; results must be there, and come back."""

    def call(*tensors: Tensor) -> Any:
        result = function(*[t.cuda() for t in tensors])
        several = isinstance(result, (tuple, list))
        results = tuple(result) if several else (result,)
        for r in results:
            assert not isinstance(r, Tensor) or r.device == "cuda:0"
        back = tuple(r.cpu() if isinstance(r, Tensor) else r for r in results)
        return back if several else back[0]

    return call


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_values(case: Case, dtype: str) -> None:
    arrays = case.inputs(dtype)
    check_values(case, arrays, outputs(on_device(case.function)(*[dc.tensor(a) for a in arrays])), dtype)


def views(a: np.ndarray[Any, Any]) -> list[Tensor]:
    """The same values on the device at an address that no vector load takes, and with steps between them."""
    if a.ndim == 0 or a.dtype.kind == "b":
        return [dc.tensor(a).cuda()]
    rest = np.nan if a.dtype.kind == "f" else 77
    buffer = np.full(a.size + 1, rest, a.dtype)
    buffer[1:] = a.reshape(-1)
    spaced = np.full((*a.shape[:-1], a.shape[-1] * 2 + 1), rest, a.dtype)
    spaced[..., 1::2] = a
    turned = np.ascontiguousarray(a.T)
    return [
        dc.tensor(buffer).cuda()[1:].reshape(a.shape),
        dc.tensor(spaced).cuda()[..., 1::2],
        ops.transpose(dc.tensor(turned).cuda()),
    ]


@pytest.mark.parametrize("case", [c for c in CASES if c.views], ids=lambda c: c.name)
def test_layouts(case: Case) -> None:
    arrays = case.inputs("float32")
    variants = [views(a) for a in arrays]
    for i in range(max(len(v) for v in variants)):
        check_values(case, arrays, outputs(case.function(*[v[i % len(v)] for v in variants])), "float32")


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=lambda c: c.name)
def test_gradient(case: Case) -> None:
    check_gradients(on_device(case.function), case.inputs(), case.differentiable(), order=case.order)


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=lambda c: c.name)
def test_gradient_in_float32(case: Case) -> None:
    check_gradients_in_float32(case, on_device(case.function))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_same_bits_again(case: Case) -> None:
    tensors = [dc.tensor(a) for a in case.inputs("float32")]
    results = [[r.tobytes() for r in outputs(on_device(case.function)(*tensors))] for _ in range(2)]
    assert results[0] == results[1]
