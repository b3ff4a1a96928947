"""Optimizer steps against plain numpy formulas, clipping, decay, groups, state."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deepcore import nn, optim
from deepcore.errors import ArgumentError, CheckpointError, NumericalError
from deepcore.tensor import tensor

Array = np.ndarray


def run(make: Callable[[list[nn.Parameter]], optim.Optimizer], steps: int = 12, dtype: str = "float64") -> list[Array]:
    rng = np.random.default_rng(0)
    params = [nn.Parameter(tensor(rng.standard_normal(s), dtype=dtype)) for s in ((3, 5), (17,))]
    optimizer = make(params)
    for _ in range(steps):
        for p in params:
            p.grad = tensor(rng.standard_normal(p.shape), dtype=dtype)
        optimizer.step()
    return [np.array(p.numpy()) for p in params]


def reference(rule: Callable[[Array, Array, dict[str, Any], int], Array], steps: int = 12) -> list[Array]:
    rng = np.random.default_rng(0)
    params = [rng.standard_normal(s) for s in ((3, 5), (17,))]
    states: list[dict[str, Any]] = [{}, {}]
    for t in range(1, steps + 1):
        for i in range(2):
            params[i] = rule(params[i], rng.standard_normal(params[i].shape), states[i], t)
    return params


def sgd(momentum: float, nesterov: bool, l2: float = 0.0) -> Any:
    def rule(w: Array, g: Array, s: dict[str, Any], t: int) -> Array:
        g = g + l2 * w
        s["v"] = momentum * s.get("v", 0) + g
        return w - 0.1 * (g + momentum * s["v"] if nesterov else s["v"])

    return rule


def adagrad(w: Array, g: Array, s: dict[str, Any], t: int) -> Array:
    s["s"] = s.get("s", 0) + g * g
    return w - 0.1 * g / (np.sqrt(s["s"]) + 1e-10)


def rmsprop(centred: bool, momentum: float) -> Any:
    def rule(w: Array, g: Array, s: dict[str, Any], t: int) -> Array:
        s["s"] = 0.9 * s.get("s", 0) + 0.1 * g * g
        s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
        d = g / (np.sqrt(s["s"] - (s["m"] ** 2 if centred else 0)) + 1e-8)
        s["v"] = momentum * s.get("v", 0) + d
        return w - 0.1 * s["v"]

    return rule


def adadelta(w: Array, g: Array, s: dict[str, Any], t: int) -> Array:
    s["s"] = 0.9 * s.get("s", np.zeros_like(g)) + 0.1 * g * g
    d = g * np.sqrt(s.get("u", np.zeros_like(g)) + 1e-6) / np.sqrt(s["s"] + 1e-6)
    s["u"] = 0.9 * s.get("u", np.zeros_like(g)) + 0.1 * d * d
    return w - 0.1 * d


def adam(amsgrad: bool = False, decay: float = 0.0) -> Any:
    def rule(w: Array, g: Array, s: dict[str, Any], t: int) -> Array:
        w = w * (1 - 0.1 * decay)
        s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
        s["v"] = 0.999 * s.get("v", 0) + 0.001 * g * g
        s["x"] = np.maximum(s.get("x", np.zeros_like(g)), s["v"])
        v = s["x"] if amsgrad else s["v"]
        return w - 0.1 * s["m"] / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)

    return rule


def nadam(w: Array, g: Array, s: dict[str, Any], t: int) -> Array:
    mu = 0.9 * (1 - 0.5 * 0.96 ** (t * 0.004))
    following = 0.9 * (1 - 0.5 * 0.96 ** ((t + 1) * 0.004))
    s["p"] = s.get("p", 1.0) * mu
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g * g
    m = following * s["m"] / (1 - s["p"] * following) + (1 - mu) * g / (1 - s["p"])
    return w - 0.1 * m / (np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-8)


def radam(w: Array, g: Array, s: dict[str, Any], t: int) -> Array:
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g * g
    m = s["m"] / (1 - 0.9**t)
    longest = 2 / (1 - 0.999) - 1
    length = longest - 2 * t * 0.999**t / (1 - 0.999**t)
    if length <= 5:
        return w - 0.1 * m
    r = math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
    return w - 0.1 * r * m / (np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-8)


def lion(w: Array, g: Array, s: dict[str, Any], t: int) -> Array:
    m = s.get("m", np.zeros_like(g))
    s["m"] = 0.99 * m + 0.01 * g
    return w * (1 - 0.1 * 0.01) - 0.1 * np.sign(0.9 * m + 0.1 * g)


RULES: dict[str, tuple[Any, Any]] = {
    "sgd": (lambda p: optim.SGD(p, 0.1), sgd(0, False)),
    "momentum": (lambda p: optim.SGD(p, 0.1, momentum=0.9), sgd(0.9, False)),
    "nesterov": (lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True), sgd(0.9, True)),
    "l2": (lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.3), sgd(0.9, False, 0.3)),
    "adagrad": (lambda p: optim.Adagrad(p, 0.1), adagrad),
    "rmsprop": (lambda p: optim.RMSprop(p, 0.1), rmsprop(False, 0.0)),
    "rmsprop centred": (lambda p: optim.RMSprop(p, 0.1, centred=True, momentum=0.5), rmsprop(True, 0.5)),
    "adadelta": (lambda p: optim.Adadelta(p, 0.1), adadelta),
    "adam": (lambda p: optim.Adam(p, 0.1), adam()),
    "adamw": (lambda p: optim.AdamW(p, 0.1, weight_decay=0.2), adam(decay=0.2)),
    "amsgrad": (lambda p: optim.AMSGrad(p, 0.1), adam(amsgrad=True)),
    "nadam": (lambda p: optim.NAdam(p, 0.1), nadam),
    "radam": (lambda p: optim.RAdam(p, 0.1), radam),
    "lion": (lambda p: optim.Lion(p, 0.1, weight_decay=0.01), lion),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_rule(name: str, isa: str) -> None:
    make, rule = RULES[name]
    expected = reference(rule)
    for actual, e in zip(run(make), expected, strict=True):
        np.testing.assert_allclose(actual, e, rtol=1e-9, atol=1e-11)
    for actual, e in zip(run(make, dtype="float32"), expected, strict=True):
        np.testing.assert_allclose(actual, e, rtol=2e-3, atol=2e-3)


def parameter(values: Any = (3.0, 4.0), grad: Any = (3.0, 4.0)) -> nn.Parameter:
    p = nn.Parameter(tensor(np.array(values), dtype="float64"))
    p.grad = tensor(np.array(grad), dtype="float64")
    return p


def test_clipping() -> None:
    p = parameter()
    o = optim.SGD([p], 1.0, clip_norm=1.0)
    o.step()
    np.testing.assert_allclose(p.numpy(), [3 - 0.6, 4 - 0.8])
    assert o.grad_norm == pytest.approx(5.0) and o.clipped == 1
    p = parameter()
    optim.SGD([p], 1.0, clip_value=3.5).step()
    np.testing.assert_allclose(p.numpy(), [0.0, 0.5])
    p, q = parameter(), parameter(grad=(0.3, 0.4))
    optim.SGD([p, q], 1.0, clip_each_norm=1.0).step()
    np.testing.assert_allclose(p.numpy(), [2.4, 3.2])
    np.testing.assert_allclose(q.numpy(), [2.7, 3.6])


def test_not_finite_gradient_changes_nothing_when_clipping() -> None:
    p = parameter(grad=(np.nan, 1.0))
    o = optim.SGD([p], 1.0, clip_norm=1.0)
    with pytest.raises(NumericalError, match="norm of the gradients"):
        o.step()
    assert p.tolist() == [3.0, 4.0] and o.steps == 0


def test_max_norm() -> None:
    p = nn.Parameter(tensor(np.array([[3.0, 4.0], [0.3, 0.4]], np.float32)), max_norm=1.0)
    p.grad = tensor(np.zeros((2, 2), np.float32))
    optim.SGD([p], 1.0).step()
    np.testing.assert_allclose(p.numpy(), [[0.6, 0.8], [0.3, 0.4]], rtol=1e-6)


def test_groups_and_frozen_parameters() -> None:
    a, b, c = parameter(), parameter(), parameter()
    c.requires_grad = False
    o = optim.SGD([{"params": [a], "lr": 0.1}, {"params": [b, c]}], 1.0)
    o.lr_factor = 0.5
    o.step()
    np.testing.assert_allclose(a.numpy(), [2.85, 3.8])
    np.testing.assert_allclose(b.numpy(), [1.5, 2.0])
    assert c.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("name", ["momentum", "rmsprop centred", "adam", "amsgrad", "nadam", "lion", "adadelta"])
def test_state_continues_bit_for_bit(name: str) -> None:
    make = RULES[name][0]

    def steps(o: optim.Optimizer, p: nn.Parameter, grads: list[Array]) -> None:
        for g in grads:
            p.grad = tensor(g.astype(np.float32))
            o.step()

    rng = np.random.default_rng(1)
    start, grads = rng.standard_normal(33).astype(np.float32), [rng.standard_normal(33) for _ in range(8)]
    p = nn.Parameter(tensor(start))
    o = make([p])
    steps(o, p, grads)
    q = nn.Parameter(tensor(start))
    first = make([q])
    steps(first, q, grads[:4])
    second = make([q])
    second.load_state_dict(*first.state_dict())
    steps(second, q, grads[4:])
    assert p.numpy().tobytes() == q.numpy().tobytes()


def test_errors() -> None:
    p = parameter()
    with pytest.raises(ArgumentError, match="at least one parameter"):
        optim.Adam([])
    with pytest.raises(ArgumentError, match="unknown options"):
        optim.Adam([{"params": [p], "speed": 1}])
    with pytest.raises(ArgumentError, match="in two groups"):
        optim.Adam([{"params": [p]}, {"params": [p]}])
    with pytest.raises(ArgumentError, match="expected lr >= 0"):
        optim.Adam([p], -1.0)
    with pytest.raises(ArgumentError, match="nesterov needs momentum"):
        optim.SGD([p], nesterov=True)
    with pytest.raises(ArgumentError, match=r"beta1 in \[0, 1\)"):
        optim.Adam([p], beta1=1.0)
    arrays, facts = optim.Adam([p]).state_dict()
    with pytest.raises(CheckpointError, match="expected SGD, got Adam"):
        optim.SGD([p]).load_state_dict(arrays, facts)
