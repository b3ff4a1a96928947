"""Convolutional recurrent layers: numpy's formulas, derivatives, lengths, state, single steps, errors."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn, ops, optim, tensor
from deepcore.errors import ArgumentError, ShapeError
from deepcore.nn import RecurrentState
from deepcore.testing.gradcheck import check_gradients

Array = Any
KINDS = ("lstm", "gru")


def clips(n: int, steps: int, h: int, w: int, channels: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((n, steps, h, w, channels)).astype(np.float32)


def convolved(x: Array, filters: Array) -> Array:
    """Sums over a window of odd size around each place, 0 outside: x (n, h, w, c), filters (k, r, s, c)."""
    _, r, s, _ = filters.shape
    padded = np.pad(x, ((0, 0), (r // 2, r // 2), (s // 2, s // 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (r, s), axis=(1, 2))  # (n, h, w, c, r, s)
    return np.einsum("nhwcrs,krsc->nhwk", windows, filters)


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def reference(layer: nn.ConvRecurrent, x: Array, lengths: Array | None = None) -> tuple[Array, Array, Array]:
    """Outputs, last h and last c (that of a GRU stays 0) of one layer, gate by gate in float64."""
    cell, hidden = layer._parts[0], layer.hidden
    w, u = (np.asarray(p.numpy(), np.float64) for p in (cell.weight, cell.recurrent_weight))
    b = np.asarray(cell.bias.numpy(), np.float64)
    peephole = np.zeros((3, 1, 1, 1)) if cell.peephole is None else cell.peephole.numpy()

    def of(values: Array, gate: int) -> Array:
        return values[gate * hidden : (gate + 1) * hidden]

    h = c = np.zeros((len(x), *x.shape[2:4], hidden))
    y = np.zeros((len(x), x.shape[1], *h.shape[1:]))
    for t in range(x.shape[1]):
        frame = x[:, t].astype(np.float64)
        z = [convolved(frame, of(w, k)) + of(b, k) for k in range(len(w) // hidden)]
        new_c = c
        if layer.cell == "lstm":
            z = [z[k] + convolved(h, of(u, k)) for k in range(4)]
            i, f = sigmoid(z[0] + peephole[0] * c), sigmoid(z[1] + peephole[1] * c)
            new_c = f * c + i * np.tanh(z[2])
            new_h = sigmoid(z[3] + peephole[2] * new_c) * np.tanh(new_c)
        else:
            r, update = (sigmoid(z[k] + convolved(h, of(u, k))) for k in (0, 1))
            n = np.tanh(z[2] + convolved(r * h, of(u, 2)))
            new_h = (1 - update) * n + update * h
        inside = np.ones(len(x), bool) if lengths is None else t < lengths
        y[inside, t] = new_h[inside]
        keep = inside[:, None, None, None]
        h, c = np.where(keep, new_h, h), np.where(keep, new_c, c)
    return y, h, c


def shaken(layer: nn.ConvRecurrent, seed: int = 5) -> nn.ConvRecurrent:
    """With biases and peepholes that are not 0."""
    rng = np.random.default_rng(seed)
    state = {n: a + 0.3 * rng.standard_normal(a.shape).astype(np.float32) for n, a in layer.state_dict().items()}
    layer.load_state_dict(state)
    return layer


@pytest.mark.parametrize("options", [{}, {"peephole": (5, 4)}, {"cell": "gru"}])
@pytest.mark.parametrize("training", [True, False])
def test_formulas_of_numpy(options: dict[str, Any], training: bool) -> None:
    layer = shaken(nn.ConvRecurrent(2, 3, (3, 5), seed=0, **options)).train(training)
    x, lengths = clips(4, 6, 5, 4, 2), np.array([6, 1, 0, 3])
    for given in (None, lengths):
        y, state = layer(tensor(x), lengths=None if given is None else given.tolist())
        expected, h, c = reference(layer, x, given)
        np.testing.assert_allclose(y.numpy(), expected, atol=2e-6)
        np.testing.assert_allclose(state.h.numpy()[0], h, atol=2e-6)
        if state.c is not None:
            np.testing.assert_allclose(state.c.numpy()[0], c, atol=4e-6)
    with_tensor, _ = layer(tensor(x), lengths=tensor(lengths))
    np.testing.assert_array_equal(with_tensor.numpy(), y.numpy())


@pytest.mark.parametrize("options", [{"peephole": (3, 3)}, {"cell": "gru"}, {"layers": 2, "stride": 2}])
def test_derivatives_to_second_order(options: dict[str, Any]) -> None:
    layer = shaken(nn.ConvRecurrent(1, 2, seed=1, **options)).astype("float64")
    side = 3 if "peephole" in options else 4
    x = clips(2, 3, side, side, 1).astype(np.float64)
    names = [name for name, _ in layer.named_parameters()]

    def run(frames: dc.Tensor, *weights: dc.Tensor) -> tuple[dc.Tensor, dc.Tensor]:
        for name, value in zip(names, weights, strict=True):
            owner: Any = layer
            *path, last = name.split(".")
            for part in path:
                owner = getattr(owner, part)
            object.__setattr__(owner, last, value)
        y, state = layer(frames, lengths=[3, 2])
        return y, state.h

    check_gradients(run, [x, *(np.array(p.numpy()) for p in layer.parameters())], order=2, tolerance=1e-5)


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("stride", [1, 2])
def test_single_steps_give_the_bits_of_whole_sequences(cell: str, stride: int) -> None:
    layer = nn.ConvRecurrent(3, 16, cell=cell, layers=2, stride=stride, seed=0).eval()
    for n in (1, 5):
        x = clips(n, 7, 12, 12, 3, seed=n)
        whole, last = layer(tensor(x))
        state, outputs = None, []
        for t in range(7):
            y, state = layer.step(tensor(np.ascontiguousarray(x[:, t])), state)
            outputs.append(y.numpy())
        np.testing.assert_array_equal(np.stack(outputs, 1), whole.numpy())
        assert state is not None
        for a, b in zip(state, last):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("cell", KINDS)
def test_a_sequence_cut_in_two_goes_on_where_it_was(cell: str) -> None:
    layer = nn.ConvRecurrent(1, 4, cell=cell, seed=0)
    x = tensor(clips(3, 6, 5, 5, 1))
    whole, last = layer(x)
    first, state = layer(x[:, :2])
    second, end = layer(x[:, 2:], state=state)
    np.testing.assert_allclose(np.concatenate([first.numpy(), second.numpy()], 1), whole.numpy(), atol=1e-6)
    np.testing.assert_allclose(end.h.numpy(), last.h.numpy(), atol=1e-6)


def test_padding_changes_nothing() -> None:
    layer = nn.ConvLSTM(1, 3, seed=0).eval()
    x, lengths = clips(3, 5, 4, 4, 1), [2, 5, 1]
    y, state = layer(tensor(x), lengths=lengths)
    for k, n in enumerate(lengths):
        x[k, n:] = 1e3
        assert (y.numpy()[k, n:] == 0).all()
    again, same = layer(tensor(x), lengths=lengths)
    np.testing.assert_array_equal(again.numpy(), y.numpy())
    np.testing.assert_array_equal(same.h.numpy(), state.h.numpy())


def test_outputs_layouts_and_sizes() -> None:
    x = clips(2, 4, 7, 6, 2)
    y, state = nn.ConvLSTM(2, 3, stride=2, seed=0)(tensor(x))
    assert y.shape == (2, 4, 4, 3, 3) and state.h.shape == (1, 2, 4, 3, 3)
    options = {"stride": 2, "seed": 0}
    np.testing.assert_array_equal(nn.ConvLSTM(2, 3, output="sequence", **options)(tensor(x)).numpy(), y.numpy())
    np.testing.assert_array_equal(nn.ConvLSTM(2, 3, output="last", **options)(tensor(x)).numpy(), state.h.numpy()[0])
    first = nn.ConvLSTM(2, 3, time_major=True, **options)(tensor(np.ascontiguousarray(x.swapaxes(0, 1))))[0]
    np.testing.assert_array_equal(first.numpy().swapaxes(0, 1), y.numpy())
    layer = nn.ConvGRU(2, 3, (3, 1), layers=2, seed=0)
    assert layer.initial_state(5, 7, 6).h.shape == (2, 5, 7, 6, 3) and layer.initial_state(5, 7, 6).c is None
    assert "cell='gru', layers=2" in repr(layer)


def test_dropout_stands_between_layers_in_training_alone() -> None:
    x = tensor(clips(2, 3, 4, 4, 1))
    plain, layer = (nn.ConvLSTM(1, 4, layers=2, dropout=p, seed=0) for p in (0.0, 0.5))
    y, state = layer(x)
    expected, same = plain(x)
    np.testing.assert_array_equal(state.h.numpy()[0], same.h.numpy()[0])
    assert (y.numpy() != expected.numpy()).any() and (layer(x)[0].numpy() != y.numpy()).any()
    with pytest.raises(ArgumentError, match="expected eval mode"):
        layer.step(x[:, 0])
    np.testing.assert_array_equal(layer.eval()(x)[0].numpy(), plain.eval()(x)[0].numpy())
    layer.step(x[:, 0])


def test_state_dict_and_pickle() -> None:
    layer = nn.ConvLSTM(1, 2, peephole=(4, 4), layers=2, seed=3)
    x = tensor(clips(2, 3, 4, 4, 1))
    other = nn.ConvLSTM(1, 2, peephole=(4, 4), layers=2, seed=4)
    other.load_state_dict(layer.state_dict())
    for copy in (other, pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(copy(x)[0].numpy(), layer(x)[0].numpy())
    np.testing.assert_array_equal(layer._parts[0].bias.numpy(), np.repeat([0, 1, 0, 0], 2))


@pytest.mark.parametrize("cell", KINDS)
def test_learns_which_way_a_dot_moves(cell: str) -> None:
    rng = np.random.default_rng(0)
    n, steps = 64, 4
    right, row, column = rng.integers(0, 2, n), rng.integers(0, 6, n), rng.integers(4, 8, n)
    x = np.zeros((n, steps, 6, 12, 1), np.float32)
    for t in range(steps):
        x[np.arange(n), t, row, column + np.where(right == 1, t, -t)] = 1
    layer, head = nn.ConvRecurrent(1, 4, cell=cell, output="last", seed=0), nn.Linear(4, 2, seed=1)
    optimizer = optim.Adam([*layer.parameters(), *head.parameters()], 0.02)
    for _ in range(60):
        scores = head(ops.global_max_pool2d(layer(tensor(x))))
        optimizer.backward(ops.softmax_cross_entropy(scores, tensor(right)))
    assert (scores.numpy().argmax(1) == right).mean() > 0.95


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: nn.ConvRecurrent(1, 2, cell="mgu"), ArgumentError, "expected cell in"),
        (lambda: nn.ConvLSTM(0, 2), ArgumentError, "expected inputs, hidden, layers, size and stride >= 1"),
        (lambda: nn.ConvLSTM(1, 2, 0), ArgumentError, "stride >= 1"),
        (lambda: nn.ConvLSTM(1, 2, output="mean"), ArgumentError, "expected output"),
        (lambda: nn.ConvGRU(1, 2, peephole=(3, 3)), ArgumentError, "no peepholes"),
        (lambda: run(tensor(clips(2, 3, 4, 4, 2))), ShapeError, r"expected x \(n, steps, h, w, 1\)"),
        (lambda: run(tensor(np.zeros((2, 0, 4, 4, 1), np.float32))), ShapeError, "at least one step"),
        (lambda: run(lengths=[1, 4]), ArgumentError, "from 0 to 3, got 4 for sequence 1"),
        (lambda: run(lengths=tensor(np.array([-1, 2]))), ArgumentError, "got -1 for sequence 0"),
        (lambda: run(lengths=[1]), ShapeError, "one length for each sequence"),
        (lambda: run(state=nn.ConvLSTM(1, 2).initial_state(3, 4, 4)), ShapeError, "expected state h"),
        (lambda: run(state=RecurrentState(dc.zeros((1, 2, 4, 4, 2)))), ArgumentError, "with h and c"),
        (lambda: nn.ConvLSTM(1, 2, peephole=(3, 4))(tensor(clips(1, 1, 4, 4, 1))), ShapeError, "states are"),
        (lambda: nn.ConvLSTM(1, 2).step(tensor(clips(2, 3, 4, 4, 1))), ShapeError, r"in step\(\)"),
        (lambda: nn.ConvLSTM(1, 2).step(dc.zeros((3, 4, 4, 1)), nn.ConvLSTM(1, 2).initial_state(2, 4, 4)), ShapeError,
         r"expected state h \(1, 3, 4, 4, 2\)"),
    ],
)  # fmt: skip
def test_bad_input_is_named(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def run(x: dc.Tensor | None = None, **options: Any) -> Any:
    return nn.ConvLSTM(1, 2, seed=0)(tensor(clips(2, 3, 4, 4, 1)) if x is None else x, **options)
