"""`Optimizer.backward`: the bits of backward, step and zero_grad one after the other, whatever the net looks like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import _C, nn, ops, optim
from deepcore.errors import ArgumentError, GradientError
from deepcore.tensor import Tensor, tensor

Loss = Callable[[], Tensor]
Make = Callable[[list[nn.Parameter]], optim.Optimizer]

SGDS: dict[str, Make] = {
    "sgd": lambda p: optim.SGD(p, 0.1),
    "decay": lambda p: optim.SGD(p, 0.1, weight_decay=0.3),
    "decoupled decay": lambda p: optim.SGD(p, 0.1, weight_decay=0.3, decoupled=True),
}
OPTIMIZERS: dict[str, Make] = {
    **SGDS,
    "momentum, decay": lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.3),
    "nesterov": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "adagrad": lambda p: optim.Adagrad(p, 0.1),
    "rmsprop": lambda p: optim.RMSprop(p, 0.01),
    "rmsprop centred": lambda p: optim.RMSprop(p, 0.01, centred=True, momentum=0.5),
    "adadelta": lambda p: optim.Adadelta(p, 0.1),
    "adam": lambda p: optim.Adam(p, 0.01),
    "adamw": lambda p: optim.AdamW(p, 0.01, weight_decay=0.2),
    "amsgrad": lambda p: optim.AMSGrad(p, 0.01),
    "nadam": lambda p: optim.NAdam(p, 0.01),
    "radam": lambda p: optim.RAdam(p, 0.01),
    "lion": lambda p: optim.Lion(p, 0.01),
}
rng = np.random.default_rng(0)
X = rng.standard_normal((130, 70)).astype("f4")
LABELS = rng.integers(0, 5, 130)


def dense(**options: Any) -> nn.Module:
    return nn.Sequential(
        nn.Linear(70, 150, activation="relu", seed=1, **options),
        nn.Linear(150, 90, activation="relu", seed=2, **options),
        nn.Linear(90, 5, seed=3),
    )


def classify(net: nn.Module) -> Loss:
    return lambda: ops.softmax_cross_entropy(net(tensor(X)), tensor(LABELS))


def bits(net: nn.Module, optimizer: optim.Optimizer) -> dict[str, bytes]:
    arrays, _ = optimizer.state_dict()
    return {n: a.tobytes() for n, a in {**net.state_dict(), **arrays}.items()}


def same(build: Callable[[], tuple[nn.Module, Loss]], make: Make = SGDS["decay"], steps: int = 3) -> int:
    """Trains two equal nets both ways, compares all bits; returns how many weights took their step on the way."""
    (one, one_loss), (two, two_loss) = build(), build()
    first, second = make(list(one.parameters())), make(list(two.parameters()))
    stepped = []
    linear_grad = _C.linear_grad

    def counting(*args: Any) -> Any:
        stepped.append(args[-1] is not None)
        return linear_grad(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_C, "linear_grad", counting)
        for _ in range(steps):
            one_loss().backward()
            first.step()
            first.zero_grad()
            second.backward(two_loss())
            assert all(p.grad is None for p in two.parameters())
    assert first.steps == second.steps == steps
    assert bits(one, first) == bits(two, second)
    return sum(stepped)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name: str, isa: str) -> None:
    def build() -> tuple[nn.Module, Loss]:
        net = dense()
        return net, classify(net)

    assert same(build, OPTIMIZERS[name]) == (3 * 3 if name in SGDS else 0)


def test_groups_and_max_norm() -> None:
    def build() -> tuple[nn.Module, Loss]:
        net = dense(max_norm=0.5)
        return net, classify(net)

    def make(params: list[nn.Parameter]) -> optim.Optimizer:
        groups = [{"params": params[:3], "lr": 0.5}, {"params": params[3:], "weight_decay": 0.1}]
        optimizer = optim.SGD(groups, 0.1)
        optimizer.lr_factor = 0.3
        return optimizer

    assert same(build, make) == 3 * 3


def test_convolutions_keep_their_gradients() -> None:
    images = rng.standard_normal((9, 8, 8, 2)).astype("f4")

    def build() -> tuple[nn.Module, Loss]:
        net = nn.Sequential(
            nn.Conv2d(2, 6, 3, activation="relu", seed=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 5, seed=2)
        )
        return net, lambda: ops.softmax_cross_entropy(net(tensor(images)), tensor(LABELS[:9]))

    assert same(build) == 3


def test_double_precision_and_frozen_layers() -> None:
    def build() -> tuple[nn.Module, Loss]:
        net = dense()
        for p in net.parameters():
            p.array = _C.cast(p.array, "float64")
        net[1].weight.requires_grad = False
        return net, lambda: ops.softmax_cross_entropy(net(tensor(X.astype("f8"))), tensor(LABELS))

    assert same(build) == 3 * 2


class Twice(nn.Module):
    """A weight that is used in several places of a net, in ways that have to wait for all of them."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.inner = nn.Linear(70, 70, activation="tanh", seed=1)
        self.last = nn.Linear(70, 5, seed=2)
        if how == "memory":  # another parameter over the same memory
            self.other = nn.Linear(70, 70, activation="tanh", seed=3)
            self.other.weight.array = self.inner.weight.array

    def forward(self, x: Tensor) -> Tensor:
        w = self.inner.weight
        y = self.inner(x)
        if self.how == "layer":
            y = self.inner(y)
        elif self.how == "memory":
            y = self.other(y)
        elif self.how == "transposed":
            y = y @ ops.swap_axes(w, 0, 1)
        elif self.how == "constant":
            y = self.inner(ops.linear(x * self.last.bias[0], w.detach(), None, "tanh"))
        elif self.how == "penalty":
            return self.last(y) + ops.sum(w * w)
        return self.last(y)


@pytest.mark.parametrize("how", ["layer", "memory", "transposed", "constant", "penalty"])
def test_weights_with_several_uses(how: str) -> None:
    def build() -> tuple[nn.Module, Loss]:
        net = Twice(how)
        return net, classify(net)

    assert same(build) == 3  # the last layer's only


@pytest.mark.parametrize(
    "options", [{"clip_norm": 0.1}, {"clip_each_norm": 0.1}, {"clip_value": 1e-3}, {"log_norm": True}]
)
def test_limits_see_whole_gradients(options: dict[str, Any]) -> None:
    def build() -> tuple[nn.Module, Loss]:
        net = dense()
        return net, classify(net)

    assert same(build, lambda p: optim.SGD(p, 0.1, **options)) == 0


def test_hooks_and_earlier_gradients_are_respected() -> None:
    one, two = dense(), dense()
    seen = []
    for net in (one, two):
        net[0].weight.register_hook(lambda g: seen.append(g.shape))
        net[1].weight.grad = tensor(np.ones((90, 150), "f4"))
    first, second = optim.SGD(one.parameters(), 0.1), optim.SGD(two.parameters(), 0.1)
    classify(one)().backward()
    first.step()
    second.backward(classify(two)())
    assert seen == [(150, 70)] * 2
    assert bits(one, first) == bits(two, second)


def test_cotangent_of_the_loss() -> None:
    one, two = dense(), dense()
    first, second = optim.SGD(one.parameters(), 0.1), optim.SGD(two.parameters(), 0.1)
    g = tensor(rng.standard_normal((130, 5)).astype("f4"))
    dc.backward(one(tensor(X)), g)
    first.step()
    second.backward(two(tensor(X)), g)
    assert bits(one, first) == bits(two, second)


def test_errors_come_before_any_change() -> None:
    net = dense()
    optimizer = optim.SGD(net.parameters(), 0.1)
    before = bits(net, optimizer)

    x = tensor(X)
    hidden = net[0](x)
    loss = ops.softmax_cross_entropy(net[2](net[1](hidden)), tensor(LABELS))
    _C.scale([hidden.array], 2.0)
    with pytest.raises(GradientError, match="changed in place"):
        optimizer.backward(loss)
    with pytest.raises(GradientError, match="does not require a gradient"):
        optimizer.backward(tensor(1.0))
    assert bits(net, optimizer) == before and optimizer.steps == 0


def test_bad_calls_name_what_they_expect() -> None:
    g, x = _C.full((4, 3), 1.0, "float32", "cpu"), _C.full((4, 2), 1.0, "float32", "cpu")
    frozen = np.zeros((3, 2), "f4")
    frozen.flags.writeable = False
    with pytest.raises(ArgumentError, match="sgd_step: array 0 is read-only"):
        _C.linear_grad(g, g, x, _C.from_numpy(frozen), 0, False, True, False, _C.StepOptions(0.1))
    across = _C.transpose(_C.full((2, 3), 1.0, "float32", "cpu"), [1, 0])
    with pytest.raises(dc.errors.ShapeError, match="sgd_step: array 0 is not contiguous"):
        _C.linear_grad(g, g, x, across, 0, False, True, False, _C.StepOptions(0.1))
    wide = _C.full((3, 2), 1.0, "float64", "cpu")
    with pytest.raises(dc.errors.DtypeError, match="sgd_step_of_product"):
        _C.linear_grad(g, g, x, wide, 0, False, True, False, _C.StepOptions(0.1))
