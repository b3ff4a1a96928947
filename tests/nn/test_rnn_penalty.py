"""The penalty on gradients that vanish: its value by a loop, its gradient by differences, what it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn, ops, optim
from deepcore.autograd import grad
from deepcore.errors import ArgumentError


def layer_of(activation: str, scale: float = 1.0) -> nn.SimpleRNN:
    layer = nn.SimpleRNN(2, 5, activation=activation, seed=0)
    ops.inplace.copy_into(layer.layer0.recurrent_weight.numpy() * scale, layer.layer0.recurrent_weight)
    layer.astype("float64")
    return layer


def series() -> dc.Tensor:
    return dc.tensor(np.random.default_rng(0).standard_normal((3, 7, 2)))


def loss_of(y: dc.Tensor, state: nn.RecurrentState) -> dc.Tensor:
    return ops.sum(state.h[0] ** 2.0) + ops.sum(ops.narrow(y, 1, 3, 1))


def by_hand(layer: nn.SimpleRNN, x: Any, u: Any, held: Any = None) -> tuple[float, Any]:
    """The penalty with recurrent weights u, with (h, d) held fixed where given; and (h, d)."""
    part, (n, steps, _) = layer.layer0, x.shape
    w, b = part.weight.numpy(), part.bias.numpy()
    relu = layer.cell == "relu"

    def slope(h: Any) -> Any:
        return (h > 0).astype(float) if relu else 1 - h**2

    if held is None:
        h = np.zeros((steps + 1, n, 5))
        for t in range(steps):
            z = x[:, t] @ w.T + b + h[t] @ u.T
            h[t + 1] = np.maximum(z, 0) if relu else np.tanh(z)
        d = np.zeros((steps, n, 5))
        d[-1] = 2 * h[-1]
        for t in reversed(range(steps)):
            d[t] += t == 3
            if t:
                d[t - 1] += (d[t] * slope(h[t + 1])) @ u
        held = h, d
    h, d = held
    after, before = np.linalg.norm(d, axis=-1), np.linalg.norm((d * slope(h[1:])) @ u, axis=-1)
    return float(np.mean((before / after - 1) ** 2)), held


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_value_and_gradient_are_those_of_the_paper(activation: str) -> None:
    layer, x = layer_of(activation), series()
    loss, penalty = nn.vanishing_penalty(layer, x, loss_of)
    u = layer.layer0.recurrent_weight.numpy().copy()
    expected, held = by_hand(layer, x.numpy(), u)
    np.testing.assert_allclose(penalty.item(), expected, rtol=1e-9)
    y, state = layer(x)
    np.testing.assert_allclose(loss.item(), loss_of(y, state).item(), rtol=1e-12)
    parameters = [layer.layer0.recurrent_weight, layer.layer0.weight, layer.layer0.bias]
    g, *others = grad([penalty], parameters, allow_unused=True)
    assert others == [None, None]
    direction, step = np.random.default_rng(1).standard_normal(u.shape), 1e-6
    difference = [by_hand(layer, x.numpy(), u + s * step * direction, held)[0] for s in (1, -1)]
    np.testing.assert_allclose((g.numpy() * direction).sum(), (difference[0] - difference[1]) / (2 * step), rtol=1e-6)


def test_training_on_it_keeps_the_size_of_gradients() -> None:
    layer, x = layer_of("tanh", 0.3), series()
    optimizer = optim.SGD(layer.parameters(), 0.3)
    _, before = nn.vanishing_penalty(layer, x, loss_of)
    for _ in range(60):
        _, penalty = nn.vanishing_penalty(layer, x, loss_of)
        optimizer.backward(penalty)
    assert float(penalty.item()) < 0.2 * float(before.item())


def test_time_first_gives_the_same() -> None:
    a, x = layer_of("tanh"), series()
    b = nn.SimpleRNN(2, 5, time_major=True, seed=0)
    b.astype("float64")
    last = lambda _, state: ops.sum(state.h[0])  # noqa: E731
    found = [nn.vanishing_penalty(layer, z, last)[1].item() for layer, z in ((a, x), (b, ops.swap_axes(x, 0, 1)))]
    assert found[0] == found[1]


@pytest.mark.parametrize("layer", [nn.LSTM(2, 3), nn.SimpleRNN(2, 3, layers=2), nn.SimpleRNN(2, 3, bidirectional=True)])
def test_other_layers_are_refused(layer: nn.Recurrent) -> None:
    with pytest.raises(ArgumentError, match="one layer of 'tanh' or 'relu'"):
        nn.vanishing_penalty(layer, dc.zeros((1, 2, 2)), lambda y, state: ops.sum(y))
