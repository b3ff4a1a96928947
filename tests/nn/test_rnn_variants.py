"""What stands around the cells of recurrent layers: projection, layer norm, dropouts of states, refined gates."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn, ops, optim
from deepcore.autograd import grad, no_grad
from deepcore.errors import ArgumentError
from deepcore.testing.gradcheck import check_gradients

VARIANTS: dict[str, Any] = {
    "projection": lambda **k: nn.LSTM(3, 6, projection=4, **k),
    "projected peepholes": lambda **k: nn.LSTM(3, 6, projection=4, peephole=True, **k),
    "norm of lstm": lambda **k: nn.LSTM(3, 6, layer_norm=True, **k),
    "norm of gru": lambda **k: nn.GRU(3, 6, layer_norm=True, **k),
    "norm of a plain net": lambda **k: nn.SimpleRNN(3, 6, layer_norm=True, **k),
    "projected norm": lambda **k: nn.LSTM(3, 6, layer_norm=True, projection=4, **k),
    "refined": lambda **k: nn.LSTM(3, 6, coupled=True, refine=True, **k),
    "refined norm": lambda **k: nn.LSTM(3, 6, coupled=True, refine=True, layer_norm=True, **k),
    "zoneout": lambda **k: nn.LSTM(3, 6, zoneout=(0.2, 0.5), **k),
    "zoneout of mgu": lambda **k: nn.MGU(3, 6, zoneout=0.3, **k),
    "recurrent dropout": lambda **k: nn.GRU(3, 6, reset="before", recurrent_dropout=0.3, **k),
}


def series(n: int = 4, steps: int = 5, dtype: str = "float32", seed: int = 0) -> dc.Tensor:
    return dc.tensor(np.random.default_rng(seed).standard_normal((n, steps, 3)).astype(dtype))


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def normal(z: Any, gain: Any, shift: Any) -> Any:
    return (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 1e-5) * gain + shift


def reference(layer: Any, x: Any) -> Any:
    """y (n, steps, size) of one layer in inference, by the papers' formulas."""
    p = {n: t.numpy().astype(np.float64) for n, t in layer.layer0.named_parameters()}
    u, b = p["recurrent_weight"], p["bias"]
    n, steps, _ = x.shape
    h, c = np.zeros((n, u.shape[1])), np.zeros((n, 6))
    zone_h, zone_c = layer.zoneout
    y = []
    for t in range(steps):
        outer, inner = x[:, t] @ p["weight"].T, h @ u.T
        if "gain_x" in p:
            outer, inner = normal(outer, p["gain_x"], p["shift_x"]), normal(inner, p["gain_h"], p["shift_h"])
        gates = np.split(outer + b + inner, len(b) // 6, 1)
        new_c = c
        if layer.cell == "tanh":
            new_h = np.tanh(gates[0])
        elif layer.cell == "gru":
            r, z = sigmoid(gates[0]), sigmoid(gates[1])
            candidate = np.tanh((outer + b)[:, 12:] + r * (inner[:, 12:] + p["bias_h"]))
            new_h = (1 - z) * candidate + z * h
        elif layer.cell == "mgu":
            f = sigmoid(gates[0])
            new_h = (1 - f) * h + f * np.tanh((outer + b)[:, 6:] + (f * h) @ u[6:].T)
        elif layer.cell == "gru_before":
            r, z = sigmoid(gates[0]), sigmoid(gates[1])
            new_h = (1 - z) * np.tanh((outer + b)[:, 12:] + (r * h) @ u[12:].T) + z * h
        else:
            if layer.cell == "refined":
                f, g, o, r = gates
                f, r = sigmoid(f), sigmoid(r)
                f = r * (1 - (1 - f) ** 2) + (1 - r) * f**2
                i = 1 - f
            else:
                i, f, g, o = gates
                seen = p.get("peephole", np.zeros((3, 6)))
                i, f = sigmoid(i + seen[0] * c), sigmoid(f + seen[1] * c)
                o = o + seen[2] * (f * c + i * np.tanh(g))
            new_c = f * c + i * np.tanh(g)
            shown = normal(new_c, p["gain_c"], p["shift_c"]) if "gain_c" in p else new_c
            new_h = sigmoid(o) * np.tanh(shown)
        if "projection" in p:
            new_h = new_h @ p["projection"].T
        h, c = zone_h * h + (1 - zone_h) * new_h, zone_c * c + (1 - zone_c) * new_c
        y.append(h)
    return np.stack(y, 1)


def stirred(layer: nn.Recurrent) -> nn.Recurrent:
    """With parameters that start at 0 or 1 moved off."""
    rng = np.random.default_rng(3)
    for _, p in layer.named_parameters():
        ops.inplace.copy_into(p.numpy() + 0.3 * rng.standard_normal(p.shape).astype(np.float32), p)
    return layer


@pytest.mark.parametrize("name", VARIANTS)
def test_outputs_are_those_of_the_formulas(name: str) -> None:
    layer, x = stirred(VARIANTS[name](seed=0)).eval(), series()
    np.testing.assert_allclose(layer(x)[0].numpy(), reference(layer, x.numpy()), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_step_by_step_gives_the_bits_of_the_whole_sequence(name: str) -> None:
    layer, x = VARIANTS[name](layers=2, seed=0).eval(), series()
    with no_grad():
        y, last = layer(x)
        state = None
        for t in range(5):
            out, state = layer.step(x[:, t], state)
            assert np.array_equal(out.numpy(), y.numpy()[:, t])
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(state, last) if a is not None)
    start = layer.initial_state(4)
    assert start.h.shape == last.h.shape
    assert np.array_equal(layer(x, state=start)[0].numpy(), y.numpy())


@pytest.mark.parametrize("name", VARIANTS)
def test_first_and_second_derivatives(name: str) -> None:
    layer = stirred(VARIANTS[name](seed=0)).eval()
    layer.astype("float64")
    parameters = layer.layer0.parameters()

    def f(x: dc.Tensor, w: dc.Tensor) -> dc.Tensor:
        part = layer.layer0
        kept = part.recurrent_weight
        object.__setattr__(part, "recurrent_weight", w)
        try:
            return layer(x)[0]
        finally:
            object.__setattr__(part, "recurrent_weight", kept)

    check_gradients(f, [series(2, 3, "float64"), layer.layer0.recurrent_weight.detach()], order=2)
    assert all(g is not None for g in grad([ops.sum(layer(series(2, 3, "float64"))[0])], parameters))


@pytest.mark.parametrize("name", ["recurrent dropout", "zoneout", "zoneout of mgu"])
def test_draws_depend_on_the_seed_and_the_call_alone(name: str) -> None:
    x = series()
    a, b = VARIANTS[name](seed=0), VARIANTS[name](seed=0)
    first, second = a(x)[0].numpy(), a(x)[0].numpy()
    assert not np.array_equal(first, second)
    assert np.array_equal(b(x)[0].numpy(), first) and np.array_equal(b(x)[0].numpy(), second)
    c = VARIANTS[name](seed=0)
    c(x)
    assert np.array_equal(pickle.loads(pickle.dumps(c))(x)[0].numpy(), second)
    with pytest.raises(ArgumentError, match="eval mode"):
        a.step(x[:, 0])


def test_recurrent_dropout_drops_the_same_entries_at_every_step() -> None:
    layer = nn.SimpleRNN(3, 40, recurrent_dropout=0.5, recurrent_init="zeros", seed=0)
    for p, value in ((layer.layer0.weight, 0.0), (layer.layer0.bias, 1.0)):
        ops.inplace.copy_into(np.full(p.shape, value, np.float32), p)
    ops.inplace.copy_into(0.5 * np.eye(40, dtype=np.float32), layer.layer0.recurrent_weight)
    y = layer(series(2, 6))[0].numpy()
    dropped = np.isclose(y, np.tanh(1.0))  # a unit that sees nothing of its own state
    assert dropped[:, 0].all() and 10 < dropped[0, 1].sum() < 30
    assert all(np.array_equal(dropped[:, t], dropped[:, 1]) for t in range(1, 6))
    assert not np.array_equal(dropped[0, 1], dropped[1, 1])


def test_zoneout_keeps_the_asked_share_of_old_values() -> None:
    layer = nn.LSTM(3, 200, zoneout=(0.3, 0.0), seed=0)
    y = layer(series(8, 20))[0].numpy()
    kept = (y[:, 1:] == y[:, :-1]).mean()
    assert abs(kept - 0.3) < 0.02


def test_lengths_hold_with_a_projection() -> None:
    layer, x = nn.LSTM(3, 6, projection=4, bidirectional=True, seed=0), series(3, 6)
    y, state = layer(x, lengths=[6, 2, 4])
    for i, n in enumerate((6, 2, 4)):
        alone, own = layer(x[i : i + 1, :n])
        assert np.array_equal(alone.numpy()[0], y.numpy()[i, :n]) and not y.numpy()[i, n:].any()
        assert np.array_equal(own.c.numpy()[:, 0], state.c.numpy()[:, i])


@pytest.mark.parametrize("name", VARIANTS)
def test_learns(name: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((128, 6, 3)).astype(np.float32)
    labels = (x[:, 1, 0] + x[:, 4, 1] > 0).astype(np.int64)
    layer = VARIANTS[name](output="last", seed=1)
    net = nn.Sequential(layer, nn.Linear(layer.size, 2, seed=2))
    optimizer = optim.Adam(net.parameters(), 0.03)
    for _ in range(120):
        optimizer.backward(ops.softmax_cross_entropy(net(dc.tensor(x)), dc.tensor(labels)))
    net.eval()
    assert np.mean(net(dc.tensor(x)).numpy().argmax(1) == labels) > 0.9


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: nn.GRU(2, 3, projection=2), "projection"),
        (lambda: nn.LSTM(2, 3, projection=4), "from 1 to 3"),
        (lambda: nn.LSTM(2, 3, refine=True), "'coupled'"),
        (lambda: nn.MGU(2, 3, layer_norm=True), "layer norm"),
        (lambda: nn.LSTM(2, 3, layer_norm=True, peephole=True), "without peepholes"),
        (lambda: nn.LSTM(2, 3, zoneout=1.0), "zoneout"),
        (lambda: nn.LSTM(2, 3, zoneout=(0.1, 0.2, 0.3)), "zoneout"),
        (lambda: nn.GRU(2, 3, zoneout=(0.1, 0.2)), "no zoneout of c"),
        (lambda: nn.LSTM(2, 3, recurrent_dropout=1.5), "Dropout"),
    ],
)
def test_bad_options_are_named(make: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        make()
