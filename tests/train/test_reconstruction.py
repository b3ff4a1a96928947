"""The loss of autoencoders: penalties against numpy and against differences, derivatives of every one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore.errors import ArgumentError
from deepcore.models import AutoencoderNet, dense_autoencoder
from deepcore.optim.second_order import FlatParameters
from deepcore.tensor import as_tensor
from deepcore.train import Reconstruction

X = np.random.default_rng(0).uniform(0, 1, (6, 9))


def net(**options: Any) -> AutoencoderNet:
    made = dense_autoencoder(9, (7, 3), **{"activation": "tanh", "seed": 3, **options})
    made.astype("float64")
    return made


def test_losses_against_numpy() -> None:
    model = net()
    y = model(as_tensor(X)).numpy()
    squared, metrics = Reconstruction().step(model, (X,))
    assert squared.item() == pytest.approx(((y - X) ** 2).sum() / 6) == metrics["squared_error"]
    cross, metrics = Reconstruction("cross_entropy").step(model, (X,))
    assert cross.item() == pytest.approx(-(X * np.log(y) + (1 - X) * np.log(1 - y)).sum() / 6)
    assert metrics["squared_error"] == pytest.approx(squared.item())


def test_noisy_inputs_are_compared_with_clean_ones() -> None:
    model, noisy = net(), X + 0.5
    loss, _ = Reconstruction().step(model, (noisy, X))
    assert loss.item() == pytest.approx(((model(as_tensor(noisy)).numpy() - X) ** 2).sum() / 6)


def test_contraction_is_the_norm_of_the_jacobian() -> None:
    model = net()
    plain, with_penalty = (Reconstruction(contractive=c).step(model, (X,))[0].item() for c in (0.0, 0.7))
    jacobian = np.zeros((6, 3, 9))
    for j in range(9):
        d = np.zeros(9)
        d[j] = 1e-6
        codes = [model.encode(as_tensor(X + s * d)).numpy() for s in (1, -1)]
        jacobian[:, :, j] = (codes[0] - codes[1]) / 2e-6
    assert with_penalty - plain == pytest.approx(0.7 * (jacobian**2).sum() / 6, rel=1e-7)
    with dc.no_grad():  # evaluation sees the same loss
        assert Reconstruction(contractive=0.7).step(model, (X,))[0].item() == pytest.approx(with_penalty)


def test_sparsity_against_numpy() -> None:
    model = net(code_activation="sigmoid")
    plain, full = (Reconstruction(sparsity=s, sparsity_weight=2.0).step(model, (X,))[0].item() for s in (None, 0.1))
    q = model.encode(as_tensor(X)).numpy().mean(0)
    assert full - plain == pytest.approx(2 * (0.1 * np.log(0.1 / q) + 0.9 * np.log(0.9 / (1 - q))).sum())


def test_lower_bound_against_numpy() -> None:
    model = net(variational=True).eval()
    assert isinstance(model, AutoencoderNet)
    mean, log_variance = (t.numpy() for t in model.distribution(as_tensor(X)))
    draw = model.noise.draw((6, 3), "cpu").numpy()
    y = model.decode(as_tensor(mean + np.exp(log_variance / 2) * draw)).numpy()
    kl = 0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1).sum() / 6
    loss, _ = Reconstruction("cross_entropy", beta=0.5).step(model, (X,))
    assert loss.item() == pytest.approx(-(X * np.log(y) + (1 - X) * np.log(1 - y)).sum() / 6 + 0.5 * kl)


def test_draws_go_on_in_training_and_stand_still_in_inference() -> None:
    model = net(variational=True)
    draws = [model.noise.draw((2, 3), "cpu").numpy() for _ in range(3)]
    assert (draws[0] != draws[1]).all() and (draws[1] != draws[2]).all()
    other = net(variational=True)
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(other.noise.draw((2, 3), "cpu").numpy(), model.noise.draw((2, 3), "cpu").numpy())
    model.eval()
    np.testing.assert_array_equal(model.noise.draw((2, 3), "cpu").numpy(), model.noise.draw((2, 3), "cpu").numpy())


@pytest.mark.parametrize(
    ("options", "task"),
    [
        ({}, {}), ({"tied": True}, {"loss": "cross_entropy"}), ({"tied": True}, {"contractive": 0.3}),
        ({"code_activation": "sigmoid"}, {"sparsity": 0.2, "contractive": 0.1}), ({"variational": True}, {}),
        ({"activation": "silu", "output": "linear"}, {"contractive": 0.3}),
    ],
)  # fmt: skip
def test_gradients_against_differences(options: dict[str, Any], task: dict[str, Any]) -> None:
    model = net(**options)
    if options.get("variational"):
        model.eval()  # the same draw each time
    step = Reconstruction(**task)
    flat = FlatParameters(model.parameters())
    start = flat.values()
    dc.backward(step.step(model, (X,))[0])
    gradient = flat.gradient().numpy()
    rng = np.random.default_rng(1)
    for _ in range(4):
        d = rng.normal(size=flat.size)
        losses = []
        for sign in (1, -1):
            flat.assign(as_tensor(start.numpy() + sign * 1e-5 * d))
            losses.append(step.step(model, (X,))[0].item())
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(gradient @ d, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"loss": "absolute"}, "expected loss in"), ({"sparsity": 1.0}, r"sparsity in \(0, 1\)"),
     ({"contractive": -1.0}, "weights >= 0")],
)  # fmt: skip
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Reconstruction(**options)
