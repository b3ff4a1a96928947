"""Recurrent layers: states, stacking, directions, gates, agreement with torch, learning."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn, ops, optim
from deepcore.autograd import grad, no_grad
from deepcore.errors import ArgumentError, ShapeError

MAKERS: dict[str, Any] = {
    "tanh": nn.SimpleRNN,
    "relu": lambda *a, **k: nn.SimpleRNN(*a, activation="relu", **k),
    "lstm": nn.LSTM,
    "peephole": lambda *a, **k: nn.LSTM(*a, peephole=True, **k),
    "coupled": lambda *a, **k: nn.LSTM(*a, coupled=True, **k),
    "gru": nn.GRU,
    "gru before": lambda *a, **k: nn.GRU(*a, reset="before", **k),
    "mgu": nn.MGU,
}


def series(n: int, steps: int, inputs: int, seed: int = 0) -> dc.Tensor:
    return dc.tensor(np.random.default_rng(seed).standard_normal((n, steps, inputs)).astype(np.float32))


@pytest.mark.parametrize("name", MAKERS)
def test_step_by_step_gives_the_bits_of_the_whole_sequence(name: str) -> None:
    layer, x = MAKERS[name](3, 18, layers=2, seed=0).eval(), series(5, 7, 3)
    for recording in (True, False):
        with dc.enable_grad() if recording else no_grad():
            y, last = layer(x)
            state = None
            for t in range(7):
                out, state = layer.step(x[:, t], state)
                assert np.array_equal(out.numpy(), y.numpy()[:, t])
            assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(state, last) if a is not None)


@pytest.mark.parametrize("name", MAKERS)
def test_a_sequence_cut_in_two_goes_on_where_it_was(name: str) -> None:
    layer, x = MAKERS[name](3, 6, seed=0), series(2, 9, 3)
    y, _ = layer(x)
    first, state = layer(x[:, :4])
    second, _ = layer(x[:, 4:], state=state)
    assert np.array_equal(np.concatenate([first.numpy(), second.numpy()], 1), y.numpy())


def test_detached_state_ends_the_gradient() -> None:
    layer, x = nn.LSTM(2, 3, seed=0), series(1, 4, 2)
    x.requires_grad_()
    _, state = layer(x)
    y, _ = layer(series(1, 2, 2, seed=1), state=state.detach())
    assert grad([y], [x], [dc.tensor(np.ones(y.shape, np.float32))], allow_unused=True)[0] is None


def test_both_directions_read_each_sequence_from_its_own_ends() -> None:
    layer, x, lengths = nn.GRU(3, 4, bidirectional=True, seed=0), series(3, 6, 3), [6, 2, 4]
    y, state = layer(x, lengths=lengths)
    assert y.shape == (3, 6, 8) and state.h.shape == (2, 3, 4)
    for i, n in enumerate(lengths):
        alone, own = layer(x[i : i + 1, :n])
        assert np.array_equal(alone.numpy()[0], y.numpy()[i, :n])
        assert np.array_equal(own.h.numpy()[:, 0], state.h.numpy()[:, i])
    last = nn.GRU(3, 4, bidirectional=True, output="last", seed=0)(x, lengths=lengths)
    assert np.array_equal(last.numpy(), np.concatenate(list(state.h.numpy()), -1))


def test_time_first_and_one_tensor_outputs() -> None:
    x = series(2, 5, 3)
    y, _ = nn.LSTM(3, 4, seed=0)(x)
    z, _ = nn.LSTM(3, 4, time_major=True, seed=0)(ops.swap_axes(x, 0, 1))
    assert np.array_equal(np.swapaxes(z.numpy(), 0, 1), y.numpy())
    net = nn.Sequential(nn.LSTM(3, 4, output="sequence", seed=0), nn.LSTM(4, 5, output="last", seed=1), nn.Linear(5, 2))
    assert net(x).shape == (2, 2)


@pytest.mark.parametrize("name", ["lstm", "peephole", "coupled", "gru", "gru before", "mgu"])
@pytest.mark.parametrize("gate", ["sigmoid", "hard"])
@pytest.mark.parametrize("slope", ["steep", "learned"])
def test_folded_gates_give_equal_outputs(name: str, gate: str, slope: str) -> None:
    layer, x = MAKERS[name](3, 6, gate=gate, slope=slope, seed=0), series(2, 5, 3)
    if slope == "learned":
        part = layer.layer0
        ops.inplace.copy_into(np.linspace(3.0, 0.5, part.slope.size).astype(np.float32), part.slope)
        if part.peephole is not None:
            ops.inplace.copy_into(np.full(part.peephole.shape, 0.3, np.float32), part.peephole)
    y, _ = layer(x)
    assert max(layer.slope) > 1.5
    layer.fold_gates()
    assert set(layer.slope) == {1.0} and "layer0.slope" not in layer.state_dict()
    np.testing.assert_allclose(layer(x)[0].numpy(), y.numpy(), rtol=1e-4, atol=2e-6)


def test_learned_slopes_get_gradients_and_fixed_ones_can_be_scheduled() -> None:
    layer, x = nn.LSTM(3, 4, slope="learned", seed=0), series(2, 5, 3)
    (g,) = grad([ops.sum(layer(x)[0])], [layer.layer0.slope])
    at, step = layer.layer0.slope.numpy().copy(), 1e-2
    for i in range(3):
        moved = []
        for sign in (1, -1):
            values = at.copy()
            values[i] += sign * step
            ops.inplace.copy_into(values, layer.layer0.slope)
            moved.append(float(ops.sum(layer(x)[0]).numpy()))
        assert abs((moved[0] - moved[1]) / (2 * step) - g.numpy()[i]) < 2e-3
    fixed = nn.LSTM(3, 4, seed=0)
    plain = fixed(x)[0].numpy()
    fixed.slope = "steep"
    assert fixed.slope == (3.75,) * 3 and not np.array_equal(fixed(x)[0].numpy(), plain)
    with pytest.raises(ArgumentError, match="learned"):
        layer.slope = 2.0


def test_gate_biases_at_the_start() -> None:
    def bias(layer: nn.Recurrent, gate: str) -> Any:
        at = ops.rnn.CELLS[layer.cell].gates.index(gate) * layer.hidden
        return layer.layer0.bias.numpy()[at : at + layer.hidden]

    assert np.all(bias(nn.LSTM(2, 5), "f") == 1.0)
    chrono = nn.LSTM(2, 4000, gate_init="chrono", longest=100, seed=0, recurrent_init="zeros")
    f = bias(chrono, "f")
    assert np.array_equal(bias(chrono, "i"), -f) and f.min() >= 0.0 and f.max() <= np.log(99.0)
    assert abs(np.exp(f).mean() - 50.0) < 2.0  # memories spread evenly from 1 to 99 steps
    kept = 1.0 / (1.0 + np.exp(-bias(nn.GRU(2, 4000, gate_init="uniform", seed=0, recurrent_init="zeros"), "z")))
    assert abs(kept.mean() - 0.5) < 0.02 and abs(kept.std() - 12**-0.5) < 0.01
    assert np.all(bias(nn.MGU(2, 5, gate_init=2.0), "f") == -2.0)


def test_weight_drop_draws_once_a_call_and_is_off_in_inference() -> None:
    layer, x = nn.LSTM(3, 16, weight_drop=0.5, seed=0), series(2, 5, 3)
    first, second = layer(x)[0].numpy(), layer(x)[0].numpy()
    assert not np.array_equal(first, second)
    assert np.array_equal(nn.LSTM(3, 16, weight_drop=0.5, seed=0)(x)[0].numpy(), first)
    plain = nn.LSTM(3, 16, seed=0)(x)[0].numpy()
    assert np.array_equal(layer.eval()(x)[0].numpy(), plain)


def test_state_dict_and_pickle_round_trip() -> None:
    a, b, x = (
        nn.GRU(3, 4, layers=2, bidirectional=True, seed=0),
        nn.GRU(3, 4, layers=2, bidirectional=True),
        series(2, 5, 3),
    )
    b.load_state_dict(a.state_dict())
    y = a(x)[0].numpy()
    assert np.array_equal(b(x)[0].numpy(), y)
    assert np.array_equal(pickle.loads(pickle.dumps(a))(x)[0].numpy(), y)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_torch_agrees(kind: str, bidirectional: bool) -> None:
    torch = pytest.importorskip("torch", reason="the comparison needs torch, of the bench extra")
    other = getattr(torch.nn, kind)(3, 5, num_layers=2, batch_first=True, bidirectional=bidirectional)
    layer = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.SimpleRNN}[kind](3, 5, layers=2, bidirectional=bidirectional)
    for i, row in enumerate(layer._parts):
        for d, part in enumerate(row):
            tail = f"_l{i}" + ("_reverse" if d else "")
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            w, u, bias, inner = (getattr(other, n + tail).detach().numpy().copy() for n in names)
            ops.inplace.copy_into(w, part.weight)
            ops.inplace.copy_into(u, part.recurrent_weight)
            outside = slice(None) if part.bias_h is None else slice(0, 10)  # n's own bias stays inside of the reset
            bias[outside] += inner[outside]
            ops.inplace.copy_into(bias, part.bias)
            if part.bias_h is not None:
                ops.inplace.copy_into(inner[10:], part.bias_h)
    x, lengths = series(4, 6, 3), [6, 3, 5, 1]
    y, state = layer(x, lengths=lengths)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        torch.from_numpy(x.numpy()), torch.tensor(lengths), batch_first=True, enforce_sorted=False
    )
    expected, last = other(packed)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(expected, batch_first=True)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), atol=2e-6)
    np.testing.assert_allclose(state.h.numpy(), (last[0] if kind == "LSTM" else last).detach().numpy(), atol=2e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_learns_to_tell_which_of_two_marks_came_first(name: str) -> None:
    rng = np.random.default_rng(0)
    n, steps = 256, 8
    labels = rng.integers(0, 2, n)
    x = np.zeros((n, steps, 3), np.float32)
    first, second = rng.integers(0, 3, n), rng.integers(4, 7, n)
    x[np.arange(n), first, np.where(labels, 0, 1)] = 1.0
    x[np.arange(n), second, np.where(labels, 1, 0)] = 1.0
    net = nn.Sequential(MAKERS[name](3, 12, output="last", seed=1), nn.Linear(12, 2, seed=2))
    optimizer = optim.Adam(net.parameters(), 0.02)
    inputs, targets = dc.tensor(x), dc.tensor(labels.astype(np.int64))
    for _ in range(80):
        optimizer.backward(ops.softmax_cross_entropy(net(inputs), targets))
    assert np.mean(net(inputs).numpy().argmax(1) == labels) > 0.98


def test_a_critic_made_of_an_lstm_trains_with_a_penalty_on_its_gradient() -> None:
    """WGAN-GP (Gulrajani et al., 2017) needs the derivative of a derivative through the recurrent layer."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.LSTM(1, 8, output="last", seed=0), nn.Linear(8, 1, seed=1))
    optimizer = optim.Adam(net.parameters(), 1e-2)

    def waves(n: int, noise: bool) -> Any:
        t = np.arange(10)[None] * 0.6 + rng.uniform(0, 6, (n, 1))
        return (rng.standard_normal((n, 10)) if noise else np.sin(t))[..., None].astype(np.float32)

    for _ in range(150):
        real, fake = waves(32, False), waves(32, True)
        mix = rng.random((32, 1, 1)).astype(np.float32)
        between = dc.tensor(mix * real + (1 - mix) * fake)
        between.requires_grad_()
        (g,) = grad([ops.sum(net(between))], [between], create_graph=True)
        penalty = ops.mean((ops.sqrt(ops.sum(g * g, (1, 2)) + 1e-12) - 1.0) ** 2.0)
        loss = ops.mean(net(dc.tensor(fake))) - ops.mean(net(dc.tensor(real))) + 10.0 * penalty
        optimizer.backward(loss)
    gap = float(
        ops.mean(net(dc.tensor(waves(256, False)))).numpy() - ops.mean(net(dc.tensor(waves(256, True)))).numpy()
    )
    assert gap > 0.5 and float(penalty.numpy()) < 0.3


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda: nn.LSTM(2, 0), ArgumentError, "hidden >= 1"),
        (lambda: nn.GRU(2, 3, peephole=True), ArgumentError, "no peepholes"),
        (lambda: nn.GRU(2, 3, reset="between"), ArgumentError, "reset"),
        (lambda: nn.SimpleRNN(2, 3, slope="learned"), ArgumentError, "learned slopes"),
        (lambda: nn.SimpleRNN(2, 3, activation="elu"), ArgumentError, "activation"),
        (lambda: nn.SimpleRNN(2, 3, gate_init=1.0), ArgumentError, "with gates"),
        (lambda: nn.LSTM(2, 3, gate_init="chrono"), ArgumentError, "longest"),
        (lambda: nn.LSTM(2, 3, slope="flat"), ArgumentError, "'steep'"),
        (lambda: nn.LSTM(2, 3, output="all"), ArgumentError, "output"),
        (lambda: nn.LSTM(2, 3)(dc.zeros((4, 5, 3))), ShapeError, r"\(n, steps, 2\)"),
        (lambda: nn.LSTM(2, 3)(dc.zeros((4, 5, 2)), state=nn.LSTM(2, 3).initial_state(3)), ShapeError, "state h"),
        (lambda: nn.LSTM(2, 3)(dc.zeros((4, 5, 2)), state=nn.GRU(2, 3).initial_state(4)), ArgumentError, "h and c"),
        (lambda: nn.LSTM(2, 3, bidirectional=True).step(dc.zeros((4, 2))), ArgumentError, "whole sequences"),
        (lambda: nn.LSTM(2, 3, weight_drop=0.1).step(dc.zeros((4, 2))), ArgumentError, "eval mode"),
        (lambda: nn.LSTM(2, 3).step(dc.zeros((4, 1, 2))), ShapeError, "in step"),
    ],
)
def test_bad_options_are_named(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()
