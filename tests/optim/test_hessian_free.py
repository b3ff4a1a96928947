"""Hessian-free optimization: known minima, its damping, stopping and backtracking, minibatches, resumption."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from deepcore import nn, ops
from deepcore.data import load_digits
from deepcore.errors import ArgumentError, CheckpointError, NumericalError
from deepcore.optim import LBFGS, GaussNewton, HessianFree
from deepcore.optim.flat import FlatParameters
from deepcore.optim.hessian_free import Iterate
from deepcore.tensor import Tensor, tensor

Both = Callable[[], tuple[Tensor, Tensor]]


def rosenbrock(n: int = 10) -> tuple[nn.Parameter, Both]:
    p = nn.Parameter(np.full(n, -1.0))

    def both() -> tuple[Tensor, Tensor]:
        residuals = ops.concatenate([(p[1:] - ops.square(p[:-1])) * 10.0, 1.0 - p[:-1]])
        return residuals, ops.sum(ops.square(residuals))

    return p, both


def regression(dtype: str = "float64", n: int = 60) -> tuple[nn.Module, Callable[[slice], Both]]:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(n, 5)).astype(dtype), rng.normal(size=(n, 2)).astype(dtype)
    net = nn.Sequential(nn.Linear(5, 12, activation="tanh", seed=0), nn.Linear(12, 2, seed=1)).astype(dtype)

    def of(rows: slice) -> Both:
        def both() -> tuple[Tensor, Tensor]:
            z = net(tensor(x[rows]))
            return z, ops.mse_loss(z, tensor(y[rows]))

        return both

    return net, of


def test_rosenbrock() -> None:
    p, both = rosenbrock()
    optimizer = HessianFree([p], tolerance=1e-6)
    losses = optimizer.minimize(both, 200)
    np.testing.assert_allclose(p.numpy(), 1, atol=1e-6)
    assert optimizer.converged and optimizer.steps == len(losses) - 1 < 100
    assert all(b <= a for a, b in pairwise(losses))
    assert optimizer.damping < 0.1  # the model is good near the minimum


def test_one_step_on_a_quadratic_is_the_damped_newton_step() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(20, 12)), rng.normal(size=20)
    p = nn.Parameter(np.zeros((3, 4)))

    def both() -> tuple[Tensor, Tensor]:
        z = ops.reshape(ops.matmul(tensor(a), ops.reshape(p, 12, 1)), 20)
        return z, ops.sum(ops.square(z - tensor(b))) * 0.5

    optimizer = HessianFree([p], damping=0.3, progress=1e-12)
    optimizer.step(both)
    np.testing.assert_allclose(p.numpy().ravel(), np.linalg.solve(a.T @ a + 0.3 * np.eye(12), a.T @ b), atol=1e-9)
    assert optimizer.damping == 0.3 / 1.5  # what the undamped model promised came true
    optimizer.minimize(both, 60)
    np.testing.assert_allclose(p.numpy().ravel(), np.linalg.lstsq(a, b, rcond=None)[0], atol=1e-7)


def test_a_net_is_fitted_better_than_by_as_many_steps_of_lbfgs() -> None:
    net, of = regression()
    optimizer = HessianFree(net.parameters())
    losses = optimizer.minimize(of(slice(None)), 40)
    assert all(b <= a for a, b in pairwise(losses))
    other, again = regression()
    by_lbfgs = LBFGS(other.parameters()).minimize(lambda: again(slice(None))()[1], 40)
    assert losses[-1] < 0.8 * by_lbfgs[-1] < losses[0]
    assert all(p.grad is None for p in net.parameters())


def test_curvature_of_a_part_of_the_batch() -> None:
    net, of = regression("float32", 400)
    whole, part = of(slice(None)), of(slice(0, 100))
    seen: list[int] = []

    def curvature() -> tuple[Tensor, Tensor]:
        seen.append(1)
        return part()

    optimizer = HessianFree(net.parameters(), damping=0.1)
    losses = [optimizer.step(whole, curvature) for _ in range(20)]
    assert len(seen) == 20  # products come from one recording, losses from the batch
    assert losses[-1] < 0.9 * losses[0] and all(b <= a for a, b in pairwise(losses))


def test_conjugate_gradients_stop_when_progress_does() -> None:
    for progress in (1e-1, 5e-4):
        net, of = regression()
        optimizer = HessianFree(net.parameters(), damping=1e-3, progress=progress)
        optimizer.step(of(slice(None)))
        if progress == 1e-1:
            few = optimizer.iterations
    assert 10 < few < optimizer.iterations <= 250
    net, of = regression()
    optimizer = HessianFree(net.parameters(), damping=1e-3, max_iterations=4)
    optimizer.step(of(slice(None)))
    assert optimizer.iterations == 4


def test_iterates_minimise_the_model_ever_better() -> None:
    net, of = regression()
    optimizer = HessianFree(net.parameters(), damping=1e-2)
    z, loss = of(slice(None))()
    loss.backward()
    gradient = optimizer.flat.gradient()
    matrix = GaussNewton(z, loss, net.parameters())
    kept = optimizer._iterate(matrix, gradient)
    values = []
    for it in kept:
        curved = optimizer.flat.join(matrix(optimizer.flat.split(it.x))).numpy() + 1e-2 * it.x.numpy()
        values.append(gradient.numpy() @ it.x.numpy() + 0.5 * it.x.numpy() @ curved)
        assert it.value == pytest.approx(values[-1], rel=1e-9)
    assert len(kept) > 5 and all(b < a for a, b in pairwise([0.0, *values]))


def test_the_last_iterate_with_a_worse_predecessor_is_taken() -> None:
    p = nn.Parameter(np.array([0.0]))
    optimizer = HessianFree([p])

    def take(places: list[float], wall: float = np.inf) -> tuple[float, float]:
        kept = [Iterate(tensor([x], dtype="float64"), 0.0) for x in places]
        start = tensor([0.0], dtype="float64")
        best, loss = optimizer._backtrack(
            lambda: (p, ops.sum(ops.square(p - 1.0)) / float(p.item() < wall)), start, kept
        )
        return best.x.item(), loss

    assert take([0.5, 0.9, 1.6, 5.0]) == (0.9, pytest.approx(0.01))
    assert take([1.1, 5.0, 0.9]) == (0.9, pytest.approx(0.01))  # 5.0 is worse: not looked beyond
    assert take([0.3, 0.5, 0.6], wall=0.4) == (0.3, pytest.approx(0.49))  # infinity is left behind


def test_damping_follows_the_ratio_of_the_losses() -> None:
    optimizer = HessianFree([nn.Parameter(np.zeros(1))], damping=2.0)
    for change, promised, factor in (
        (-0.9, -1.0, 1 / 1.5), (-0.5, -1.0, 1.0), (-0.2, -1.0, 1.5), (0.5, -1.0, 1.5), (np.inf, -1.0, 1.5),
        (-1.0, 0.5, 1.5),
    ):  # fmt: skip
        before = optimizer.damping
        optimizer._adapt(change, promised)
        assert optimizer.damping == pytest.approx(before * factor)


def test_a_wall_that_the_model_cannot_see() -> None:
    """The step is shortened until the loss falls enough, and the damping grows."""
    p = nn.Parameter(np.zeros(1))

    def both() -> tuple[Tensor, Tensor]:
        z = p * 1.0
        return z, ops.sum(ops.square(z - 10.0)) + ops.sum(ops.square(ops.relu(p - 1.0))) * 1000.0

    optimizer = HessianFree([p], damping=1e-3)
    loss = optimizer.step(both)
    assert 0.5 < p.item() < 1.5 and loss == both()[1].item() < 99.0
    assert optimizer.damping == pytest.approx(1.5e-3)


def test_digits() -> None:
    x, y, _, _ = load_digits()
    flat = x.reshape(len(x), -1)[:500].astype(np.float32) / 16
    net = nn.Sequential(
        nn.Linear(64, 30, activation="sigmoid", seed=0),
        nn.Linear(30, 10, activation="sigmoid", seed=1),
        nn.Linear(10, 10, seed=2),
    )

    def both() -> tuple[Tensor, Tensor]:
        z = net(tensor(flat))
        return z, ops.softmax_cross_entropy(z, tensor(y[:500].astype(np.int64)))

    losses = HessianFree(net.parameters()).minimize(both, 25)
    assert losses[-1] < 0.02 and losses[0] > 1.0


@pytest.mark.parametrize("cut", [1, 7])
def test_resumed_run_has_the_same_bits(cut: int) -> None:
    p, both = rosenbrock()
    optimizer = HessianFree([p])
    optimizer.minimize(both, cut)
    kept, (arrays, facts) = p.numpy().copy(), optimizer.state_dict()
    whole = optimizer.minimize(both, 6)
    q, again = rosenbrock()
    q.numpy()[...] = kept
    resumed = HessianFree([q], damping=9.0)
    resumed.load_state_dict(arrays, json.loads(json.dumps(facts)))
    assert resumed.minimize(again, 6) == whole and resumed.state_dict()[1] == optimizer.state_dict()[1]
    np.testing.assert_array_equal(q.numpy(), p.numpy())
    with pytest.raises(CheckpointError, match="expected LBFGS, got 'HessianFree'"):
        LBFGS([q]).load_state_dict(arrays, facts)
    with pytest.raises(CheckpointError, match=r"expected the last step, got \['first'\]"):
        HessianFree([q]).load_state_dict({"first": arrays["last"]}, facts)


def test_walls_and_minima() -> None:
    p = nn.Parameter(np.array([3.0]))

    def wall() -> tuple[Tensor, Tensor]:  # no value below zero
        return p, ops.sum(p * ops.log(p)) * 50.0

    HessianFree([p], damping=1e-3).minimize(wall, 60)
    np.testing.assert_allclose(p.numpy(), np.exp(-1), atol=1e-6)
    optimizer = HessianFree([p])
    before = p.numpy().copy()
    optimizer.step(lambda: (p, ops.sum(p) * 0.0))
    assert optimizer.converged and optimizer.steps == 0
    np.testing.assert_array_equal(p.numpy(), before)


def test_flat_vectors_split_and_join() -> None:
    params = [nn.Parameter(np.arange(6.0).reshape(2, 3)), nn.Parameter(np.zeros(0)), nn.Parameter(np.array(7.0))]
    flat = FlatParameters(params)
    parts = flat.split(flat.values())
    assert [t.shape for t in parts] == [(2, 3), (0,), ()]
    np.testing.assert_array_equal(flat.join(parts).numpy(), [0, 1, 2, 3, 4, 5, 7])


def test_refusals() -> None:
    p, both = rosenbrock()
    for options, message in (
        ({"damping": 0.0}, "damping > 0, got 0"),
        ({"max_iterations": 0}, "max_iterations and max_evaluations >= 1, got 0 and 60"),
        ({"progress": 1.0}, r"in \[0, 1\], got 1.0"),
        ({"decay": 1.5}, "1.5"),
        ({"tolerance": -1.0}, "tolerance >= 0, got -1"),
    ):
        with pytest.raises(ArgumentError, match=message):
            HessianFree([p], **options)  # type: ignore[arg-type]
    before = p.numpy().copy()
    with pytest.raises(NumericalError, match="HessianFree: loss nan"):
        HessianFree([p]).step(lambda: (both()[0], both()[1] * float("nan")))
    np.testing.assert_array_equal(p.numpy(), before)
