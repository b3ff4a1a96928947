"""L-BFGS and conjugate gradients: known minima, Wolfe conditions, any closure, resumption."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn, ops
from deepcore.errors import ArgumentError, CheckpointError, NumericalError
from deepcore.optim import LBFGS, ConjugateGradient
from deepcore.optim.second_order import FlatParameters, SecondOrder
from deepcore.tensor import Tensor, as_tensor

METHODS = [LBFGS, ConjugateGradient]


def rosenbrock(n: int = 10) -> tuple[nn.Parameter, Callable[[], Tensor]]:
    p = nn.Parameter(np.full(n, -1.0))

    def loss() -> Tensor:
        bend = p[1:] - ops.square(p[:-1])
        return ops.sum(ops.square(bend)) * 100.0 + ops.sum(ops.square(1.0 - p[:-1]))

    return p, loss


@pytest.mark.parametrize("method", METHODS)
def test_rosenbrock(method: type[SecondOrder]) -> None:
    p, loss = rosenbrock()
    optimizer = method([p])
    losses = optimizer.minimize(loss, 500)
    np.testing.assert_allclose(p.numpy(), 1, atol=1e-6)
    assert optimizer.converged and optimizer.steps == len(losses) - 1 < 450
    assert all(b <= a for a, b in pairwise(losses))
    assert optimizer.evaluations < 5 * optimizer.steps


@pytest.mark.parametrize("method", METHODS)
def test_quadratic_against_numpy(method: type[SecondOrder]) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(12, 12)), rng.normal(size=12)
    m = a @ a.T + np.eye(12)
    p = nn.Parameter(np.zeros((3, 4)))

    def loss() -> Tensor:
        v = ops.reshape(p, 12, 1)
        return ops.sum(v * ops.matmul(as_tensor(m), v)) * 0.5 - ops.sum(ops.reshape(p, 12) * as_tensor(b))

    method([p], tolerance=1e-9).minimize(loss, 200)
    np.testing.assert_allclose(p.numpy().ravel(), np.linalg.solve(m, b), atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_steps_meet_the_strong_wolfe_conditions(method: type[SecondOrder]) -> None:
    p, loss = rosenbrock(6)
    optimizer = method([p])

    def value_and_gradient() -> tuple[float, np.ndarray]:
        (g,) = dc.grad(loss(), [p])
        return float(loss().item()), g.numpy()

    for _ in range(15):
        before, (f0, g0) = p.numpy().copy(), value_and_gradient()
        optimizer.step(loss)
        moved, (f1, g1) = p.numpy() - before, value_and_gradient()
        assert f1 <= f0 + optimizer.c1 * g0 @ moved
        assert abs(g1 @ moved) <= -optimizer.c2 * g0 @ moved + 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_net_in_pieces_equals_net_in_one(method: type[SecondOrder]) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(40, 2))

    def run(pieces: int) -> tuple[list[float], np.ndarray]:
        net = nn.Sequential(nn.Linear(5, 7, activation="tanh", seed=0), nn.Linear(7, 2, seed=1)).astype("float64")
        frozen = net[0].bias
        frozen.requires_grad = False  # type: ignore[attr-defined]

        def whole() -> Tensor:
            return ops.mse_loss(net(as_tensor(x)), as_tensor(y))

        def in_pieces() -> float:
            total = 0.0
            for part in np.split(np.arange(40), pieces):
                loss = ops.mse_loss(net(as_tensor(x[part])), as_tensor(y[part])) * (1 / pieces)
                loss.backward()
                total += loss.item()
            return total

        losses = method(net.parameters()).minimize(whole if pieces == 1 else in_pieces, 20)
        assert (frozen.numpy() == 0).all()  # type: ignore[attr-defined]
        assert all(p.grad is None for p in net.parameters())
        return losses, FlatParameters(net.parameters()).values().numpy()

    (a, pa), (b, pb) = run(1), run(4)
    assert a[-1] < 0.5 * a[0]
    np.testing.assert_allclose(a, b, rtol=1e-6)
    np.testing.assert_allclose(pa, pb, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_resumed_run_has_the_same_bits(method: type[SecondOrder]) -> None:
    p, loss = rosenbrock()
    optimizer = method([p])
    optimizer.minimize(loss, 7)
    kept, (arrays, facts) = p.numpy().copy(), optimizer.state_dict()
    whole = optimizer.minimize(loss, 9)
    q, again = rosenbrock()
    q.numpy()[...] = kept
    resumed = method([q])
    resumed.load_state_dict(arrays, facts)
    assert resumed.minimize(again, 9) == whole and resumed.evaluations == optimizer.evaluations
    np.testing.assert_array_equal(q.numpy(), p.numpy())
    other = (ConjugateGradient if method is LBFGS else LBFGS)([q])
    with pytest.raises(CheckpointError, match="got"):
        other.load_state_dict(arrays, facts)
    with pytest.raises(CheckpointError, match="vectors of 4"):
        method([nn.Parameter(np.zeros(4))]).load_state_dict(arrays, facts)
    with pytest.raises(CheckpointError, match="missing"):
        method([q]).load_state_dict(dict(list(arrays.items())[1:]), facts)


@pytest.mark.parametrize("method", METHODS)
def test_a_wall_of_infinity_is_not_crossed(method: type[SecondOrder]) -> None:
    p = nn.Parameter(np.array([3.0]))

    def loss() -> Tensor:  # minimum at e^-1, no value below zero
        return ops.sum(p * ops.log(p)) * 50.0

    method([p]).minimize(loss, 50)
    np.testing.assert_allclose(p.numpy(), np.exp(-1), atol=1e-6)


def test_refusals() -> None:
    p = nn.Parameter(np.array([1.0]))
    with pytest.raises(NumericalError, match="LBFGS: loss nan"):
        LBFGS([p]).step(lambda: ops.sum(p) * float("nan"))
    with pytest.raises(ArgumentError, match="c1 < c2"):
        LBFGS([p], c1=0.5, c2=0.1)
    with pytest.raises(ArgumentError, match="memory >= 1"):
        LBFGS([p], memory=0)
    with pytest.raises(ArgumentError, match="at least one"):
        ConjugateGradient([])
    with pytest.raises(ArgumentError, match="one type"):
        ConjugateGradient([p, nn.Parameter(np.zeros(2, np.float32))])
