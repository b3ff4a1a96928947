"""Autoencoder nets: shapes, mirror images, shared weights, refusals."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore.errors import ArgumentError
from deepcore.models import conv_autoencoder, dense_autoencoder
from deepcore.models.autoencoder import Noise, TiedLinear
from deepcore.tensor import as_tensor


@pytest.mark.parametrize("options", [{}, {"tied": True}, {"variational": True}, {"code_noise": 0.5},
                                     {"activation": "gelu", "code_activation": "sigmoid"}])  # fmt: skip
def test_dense_shapes(options: dict[str, Any]) -> None:
    net = dense_autoencoder(20, (12, 5), seed=1, **options)
    x = as_tensor(np.random.default_rng(0).uniform(size=(7, 20)).astype(np.float32))
    assert net.encode(x).shape == (7, 5) and net(x).shape == (7, 20)
    y = net(x).numpy()
    assert y.min() > 0 and y.max() < 1
    assert len(net.encoder._modules) == len(net.decoder._modules) == 2


@pytest.mark.parametrize("shape", [(28, 28, 1), (9, 14, 3), (5, 4, 2), (1, 1, 1)])
@pytest.mark.parametrize("layers", [(), (6,), (10, 4)])
def test_conv_shapes(shape: tuple[int, int, int], layers: tuple[int, ...]) -> None:
    net = conv_autoencoder(shape, (4, 8, 3), layers, activation="elu", output="linear")
    x = as_tensor(np.random.default_rng(0).uniform(size=(2, *shape)).astype(np.float32))
    assert net(x).shape == (2, *shape) and net.encode(x).ndim == 2
    if layers:
        assert net.encode(x).shape == (2, layers[-1])


def test_tied_weights_are_one_parameter() -> None:
    free, tied = (dense_autoencoder(20, (12, 5), tied=t, activation="tanh", seed=2) for t in (False, True))
    count = lambda net: sum(p.size for p in net.parameters())  # noqa: E731
    assert count(free) - count(tied) == 20 * 12 + 12 * 5
    x = np.random.default_rng(0).uniform(size=(3, 20)).astype(np.float32)
    state = tied.state_dict()
    w1, b1, w2, b2, c1, c2 = (state[n] for n, _ in tied.named_parameters())
    code = np.tanh(x @ w1.T + b1) @ w2.T + b2
    out = np.tanh(code @ w2 + c1) @ w1 + c2
    np.testing.assert_allclose(tied(as_tensor(x)).numpy(), 1 / (1 + np.exp(-out)), rtol=2e-5)
    (g,) = dc.grad(dc.ops.sum(tied(as_tensor(x))), [tied.parameters()[0]])
    assert g.shape == (12, 20) and np.abs(g.numpy()).min() > 0
    again = copy.deepcopy(tied)
    last = [m for _, m in again.named_modules() if isinstance(m, TiedLinear)][-1]
    assert last.source.weight is again.parameters()[0] or last.source is again.encoder._modules["0"]
    np.testing.assert_array_equal(again(as_tensor(x)).numpy(), tied(as_tensor(x)).numpy())


def test_noise_depends_on_seed_and_call() -> None:
    x = as_tensor(np.zeros((4, 3), np.float32))
    a, b = Noise(2.0, seed=1), Noise(2.0, seed=1)
    first, second = a(x).numpy(), a(x).numpy()
    assert (first != second).all()
    b.load_state_dict(a.state_dict())
    np.testing.assert_array_equal(a(x).numpy(), b(x).numpy())
    assert a.eval()(x) is x and "2.0" in repr(a)


@pytest.mark.parametrize(
    "make",
    [
        lambda: dense_autoencoder(5, ()), lambda: dense_autoencoder(5, (3, 0)),
        lambda: dense_autoencoder(5, (3,), output="tanh"), lambda: dense_autoencoder(5, (3,), activation="cube"),
        lambda: dense_autoencoder(5, (3,), variational=True, tied=True), lambda: conv_autoencoder((8, 8, 1), ()),
        lambda: conv_autoencoder((8, 8, 1), (4,), variational=True), lambda: Noise(-1.0, seed=0),
    ],
)  # fmt: skip
def test_refusals(make: Any) -> None:
    with pytest.raises(ArgumentError, match=r"expected|need|without"):
        make()


def test_distribution_needs_a_variational_net() -> None:
    with pytest.raises(ArgumentError, match="not variational"):
        dense_autoencoder(5, (3,)).distribution(as_tensor(np.zeros((1, 5), np.float32)))
