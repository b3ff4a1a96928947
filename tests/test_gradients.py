"""First and second derivatives of every case in float64; no primitive of the registry goes without a check."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import autograd, ops
from deepcore.errors import GradientError
from deepcore.testing import all_cases, check_gradients, check_gradients_in_float32
from deepcore.testing.case import Case

CASES = [c for c in all_cases() if c.differentiable() and all(a.size for a in c.inputs())]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_gradient(case: Case) -> None:
    check_gradients(case.function, case.inputs(), case.differentiable(), order=case.order)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_gradient_in_float32(case: Case, isa: str) -> None:
    check_gradients_in_float32(case)


def test_every_primitive_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    met: set[str] = set()
    original = autograd.Primitive.cotangents

    def spy(self: autograd.Primitive, *args: Any, **kwargs: Any) -> Any:
        met.add(self.name)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(autograd.Primitive, "cotangents", spy)
    seen: set[str] = set()
    for case in CASES:
        family = case.name.split("/")[0]
        if family in seen and not case.tags:
            continue
        seen.add(family)
        check_gradients(case.function, case.inputs(), case.differentiable(), order=2)
    differentiable = {name for name, op in autograd.registry.items() if op.differentiable}
    # A cast to float32 rounds away the small steps of central differences, a move needs a second device: checked below.
    assert differentiable - met == {"cast", "to"}


def test_move_gradient() -> None:
    x = dc.tensor([1.0, -2.0], requires_grad=True)
    y = autograd.registry["to"](x, device="cpu")
    (g,) = dc.grad(ops.sum(y * y * y), [x], create_graph=True)
    assert g.device == "cpu" and g.tolist() == [3.0, 12.0]
    assert dc.grad(ops.sum(g), x).tolist() == [6.0, -12.0]


def test_cast_gradient() -> None:
    x = dc.tensor([1.0, -2.0], dtype="float64", requires_grad=True)
    y = ops.astype(x, "float32")
    (g,) = dc.grad(ops.sum(y * y * y), [x], create_graph=True)
    assert g.dtype == "float64" and g.tolist() == [3.0, 12.0]
    assert dc.grad(ops.sum(g), x).tolist() == [6.0, -12.0]


def test_every_primitive_has_a_rule_or_says_so() -> None:
    for name, op in autograd.registry.items():
        if op.differentiable:
            assert op.rules is not None or op.fused_grad is not None, f"{name} has neither rule nor gradient kernel"


def test_missing_rule_raises_with_its_name() -> None:
    x = dc.tensor([1.5, -2.5], requires_grad=True)
    with pytest.raises(GradientError, match="floor: this operation has no derivative"):
        dc.grad(ops.sum(ops.floor(x)), x)


def test_third_order() -> None:
    x = dc.tensor(np.array([0.3, 0.7]), requires_grad=True)
    y = ops.sum(x**4.0)
    for factor, power in ((4.0, 3), (12.0, 2), (24.0, 1)):
        (g,) = dc.grad(y, [x], create_graph=True)
        np.testing.assert_allclose(g.numpy(), factor * x.numpy() ** power, rtol=1e-12)
        y = ops.sum(g)


def test_backward_accumulates_and_hooks_run() -> None:
    x = dc.tensor([1.0, 2.0], requires_grad=True)
    seen: list[float] = []
    x.register_hook(lambda g: seen.append(float(g.numpy()[0])))
    y = x * x
    remove = y.register_hook(lambda g: g * 10.0)
    ops.sum(y).backward()
    remove()
    ops.sum(y).backward()
    assert seen == [20.0, 2.0]
    assert x.grad is not None and x.grad.tolist() == [22.0, 44.0]


def test_no_grad_detach_and_graph_ends() -> None:
    x = dc.tensor([2.0], requires_grad=True)
    with dc.no_grad():
        assert not (x * x).requires_grad
        with dc.enable_grad():
            assert (x * x).requires_grad
    assert not x.detach().requires_grad
    with pytest.raises(GradientError, match="does not require a gradient"):
        dc.grad(ops.sum(x.detach()), x)
    other = dc.tensor([1.0], requires_grad=True)
    with pytest.raises(GradientError, match="input 0 is not part"):
        dc.grad(ops.sum(x), other)
    assert dc.grad(ops.sum(x), [other], allow_unused=True) == [None]


def test_gradient_of_an_intermediate_result() -> None:
    x = dc.tensor([3.0], requires_grad=True)
    y = x * 2.0
    z = ops.sum(y * y)
    assert dc.grad(z, y).tolist() == [12.0]
    assert [g.tolist() for g in dc.grad(z, [x, y])] == [[24.0], [12.0]]


def test_change_in_place_is_noticed() -> None:
    x = dc.tensor([3.0], requires_grad=True)
    z = ops.sum(x * x)
    x.array.touch()
    with pytest.raises(GradientError, match="changed in place"):
        dc.grad(z, x)
