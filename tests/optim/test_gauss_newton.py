"""Products with the Gauss-Newton matrix against the matrix itself, in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn, ops
from deepcore.errors import ArgumentError, GradientError, ShapeError
from deepcore.optim import GaussNewton, gauss_newton_product
from deepcore.tensor import Tensor, tensor

rng = np.random.default_rng(0)
X, TARGETS = rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
LABELS = rng.integers(0, 3, 6)
Loss = Callable[[Tensor], Tensor]


def net(activation: str = "tanh") -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5, activation=activation, seed=1), nn.Linear(5, 3, seed=2)).astype("float64")


def jacobian(outputs: Tensor, params: list[nn.Parameter]) -> np.ndarray:
    """d outputs / d parameters, (outputs, parameters), row by row."""
    rows = []
    for i in range(outputs.size):
        pick = np.zeros(outputs.size)
        pick[i] = 1.0
        found = dc.grad(outputs, params, tensor(pick.reshape(outputs.shape)), allow_unused=True)
        rows.append(np.concatenate([np.zeros(p.size) if g is None else g.numpy().ravel()
                                    for p, g in zip(params, found, strict=True)]))  # fmt: skip
    return np.array(rows)


def of_softmax(z: np.ndarray) -> np.ndarray:
    """The second derivative of the mean cross-entropy."""
    h = np.zeros((z.size, z.size))
    for i, row in enumerate(z):
        q = np.exp(row - row.max())
        q /= q.sum()
        h[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] = (np.diag(q) - np.outer(q, q)) / len(z)
    return h


def of_logistic(z: np.ndarray) -> np.ndarray:
    s = 1 / (1 + np.exp(-z.ravel()))
    return np.diag(s * (1 - s)) / z.size


def of_coupled(z: np.ndarray) -> np.ndarray:
    """Of (sum z^2)^2."""
    v = z.ravel()
    return 8 * np.outer(v, v) + 4 * (v @ v) * np.eye(v.size)


LOSSES: dict[str, tuple[Loss, Callable[[np.ndarray], np.ndarray]]] = {
    "softmax": (lambda z: ops.softmax_cross_entropy(z, tensor(LABELS)), of_softmax),
    "logistic": (lambda z: ops.bce_with_logits(z, tensor((TARGETS > 0) * 1.0)), of_logistic),
    "squares": (lambda z: ops.mse_loss(z, tensor(TARGETS)), lambda z: np.eye(z.size) * 2 / z.size),
    "coupled": (lambda z: ops.square(ops.sum(ops.square(z))), of_coupled),
    "linear": (lambda z: ops.sum(z * tensor(TARGETS)), lambda z: np.zeros((z.size, z.size))),
}


def directions(params: list[nn.Parameter], seed: int) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.normal(size=p.shape) for p in params]


def flat(parts: list[Tensor] | list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(a.numpy() if isinstance(a, Tensor) else a).ravel() for a in parts])


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
@pytest.mark.parametrize("loss", LOSSES)
def test_products_are_those_of_the_matrix(loss: str, activation: str) -> None:
    model = net(activation)
    params = model.parameters()
    outputs = model(tensor(X))
    function, second = LOSSES[loss]
    matrix = GaussNewton(outputs, function(outputs), params)
    j = jacobian(outputs, params)
    expected = j.T @ second(outputs.numpy()) @ j
    for seed in range(3):
        v = directions(params, seed)
        found = matrix([tensor(a) for a in v])
        assert [t.shape for t in found] == [p.shape for p in params]
        np.testing.assert_allclose(flat(found), expected @ flat(v), rtol=1e-9, atol=1e-12)
    assert all(p.grad is None for p in params)


def test_it_is_not_the_hessian_where_the_net_is_curved() -> None:
    """H is only that of the loss: a net that is linear has the whole second derivative, a curved one has not."""
    for curved in (False, True):
        p = nn.Parameter(tensor([0.7, -1.2], dtype="float64"))
        outputs = ops.tanh(p) if curved else p * 2.0
        loss = ops.sum(ops.square(outputs - 1.0))
        v = tensor([1.0, 3.0], dtype="float64")
        (g,) = dc.grad(loss, [p], create_graph=True)
        (hessian,) = dc.grad(g, [p], v)
        (product,) = gauss_newton_product(outputs, loss, [p], [v])
        assert np.allclose(product.numpy(), hessian.numpy()) != curved


def test_convolutions_and_norms() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3, activation="relu", seed=1), nn.BatchNorm(3), nn.MaxPool2d(2), nn.Flatten(),
                          nn.Linear(12, 3, seed=2)).astype("float64")  # fmt: skip
    params = model.parameters()
    outputs = model(tensor(rng.normal(size=(6, 6, 6, 1))))
    v = directions(params, 1)
    found = gauss_newton_product(outputs, LOSSES["softmax"][0](outputs), params, [tensor(a) for a in v])
    j = jacobian(outputs, params)
    np.testing.assert_allclose(flat(found), j.T @ (of_softmax(outputs.numpy()) @ (j @ flat(v))), rtol=1e-8, atol=1e-11)


def test_frozen_and_unused_parameters_have_zeros() -> None:
    model = net()
    frozen, unused = model[0].weight, nn.Parameter(tensor(np.ones(2)))
    frozen.requires_grad = False
    params = [*model.parameters(), unused]
    outputs = model(tensor(X))
    v = directions(params, 2)
    found = gauss_newton_product(outputs, LOSSES["squares"][0](outputs), params, [tensor(a) for a in v])
    free = [p for p in params if p.requires_grad]
    j = jacobian(outputs, free)
    w = flat([a for a, p in zip(v, params, strict=True) if p.requires_grad])
    got = flat([a for a, p in zip(found, params, strict=True) if p.requires_grad])
    np.testing.assert_allclose(got, j.T @ (j @ w) * 2 / 18, rtol=1e-9)
    for zero in (found[0], found[-1]):
        assert not zero.numpy().any()


def test_refusals() -> None:
    model = net()
    outputs = model(tensor(X))
    loss = LOSSES["softmax"][0](outputs)
    params = model.parameters()
    matrix = GaussNewton(outputs, loss, params)
    with pytest.raises(ShapeError, match=r"expected v of shapes .*, got \[\(5, 4\)\]"):
        matrix([tensor(np.zeros((5, 4)))])
    with pytest.raises(ArgumentError, match="at least one parameter that requires"):
        GaussNewton(outputs, loss, [])
    with pytest.raises(GradientError, match="not part of the computation"):
        GaussNewton(model(tensor(X)), loss, params)
    with pytest.raises(GradientError, match="does not require a gradient"):
        GaussNewton(outputs, loss.detach(), params)
    params[0].numpy()[...] *= 1.0
    dc.ops.inplace.scale([params[2]], 2.0)
    with pytest.raises(GradientError, match="changed in place"):
        matrix([tensor(np.ones(p.shape)) for p in params])
