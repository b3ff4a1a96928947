"""Lookahead and SAM against plain numpy, around every optimizer, with states; what passes through to the inner one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deepcore import graph, nn, ops, optim
from deepcore.errors import ArgumentError, CheckpointError, NumericalError
from deepcore.tensor import Tensor, tensor

Wrap = Callable[[optim.Optimizer], optim.Optimizer]
WRAPS: dict[str, Wrap] = {
    "lookahead": lambda o: optim.Lookahead(o, 3, 0.4),
    "sam": lambda o: optim.SAM(o, 0.1),
    "adaptive sam": lambda o: optim.SAM(o, 0.5, adaptive=True),
    "lookahead of sam": lambda o: optim.Lookahead(optim.SAM(o, 0.1), 3),
    "sam of lookahead": lambda o: optim.SAM(optim.Lookahead(o, 3), 0.1),
}
A = np.diag([1.0, 5.0, 0.2]) + 0.1


def problem() -> tuple[nn.Parameter, Callable[[], Tensor]]:
    """A quadratic and a fourth power, with gradients that numpy can say."""
    p = nn.Parameter(tensor([1.0, -2.0, 0.5], dtype="float64"))
    a = tensor(A, dtype="float64")

    def loss() -> Tensor:
        v = ops.reshape(p, 3, 1)
        return ops.sum(v * ops.matmul(a, v)) * 0.5 + ops.sum(ops.square(ops.square(p))) * 0.25

    return p, loss


def gradient(w: np.ndarray) -> np.ndarray:
    return A @ w + w**3


@pytest.mark.parametrize(("k", "alpha"), [(1, 1.0), (1, 0.5), (5, 0.5), (3, 0.8)])
def test_lookahead_against_numpy(k: int, alpha: float) -> None:
    p, loss = problem()
    optimizer = optim.Lookahead(optim.SGD([p], 0.05, momentum=0.9), k, alpha)
    w, v, slow = p.numpy().copy(), np.zeros(3), p.numpy().copy()
    for t in range(1, 14):
        v = 0.9 * v + gradient(w)
        w = w - 0.05 * v
        if t % k == 0:
            slow = slow + alpha * (w - slow)
            w = slow.copy()
        optimizer.step(loss)
        np.testing.assert_allclose(p.numpy(), w, rtol=1e-10)
    with optimizer.averaged():
        np.testing.assert_allclose(p.numpy(), slow, rtol=1e-10)
    np.testing.assert_allclose(p.numpy(), w, rtol=1e-10)


@pytest.mark.parametrize("adaptive", [False, True])
def test_sam_against_numpy(adaptive: bool) -> None:
    p, loss = problem()
    optimizer = optim.SAM(optim.SGD([p], 0.05, weight_decay=0.1), 0.3, adaptive)
    w = p.numpy().copy()
    for _ in range(10):
        g = gradient(w)
        t = np.abs(w) if adaptive else np.ones(3)
        up = w + 0.3 * t**2 * g / np.linalg.norm(t * g)
        value = optimizer.step(loss)
        assert value is not None
        assert value.item() == pytest.approx(0.5 * w @ A @ w + 0.25 * (w**4).sum())  # before the step, at w itself
        w = w - 0.05 * (gradient(up) + 0.1 * w)
        np.testing.assert_allclose(p.numpy(), w, rtol=1e-10)
    assert p.grad is None and optimizer.steps == 10


def test_adaptive_sam_does_not_see_scales() -> None:
    """The same function of rescaled weights is climbed to the same place."""
    places = []
    for scale in (1.0, 10.0):
        p = nn.Parameter(tensor(np.array([1.0, -2.0]) * np.array([scale, 1 / scale])))
        s = tensor(np.array([1 / scale, scale]))
        seen: list[Any] = []

        def loss(p: nn.Parameter = p, s: Tensor = s, seen: list[Any] = seen) -> Tensor:
            seen.append((p * s).numpy().copy())
            return ops.sum(ops.square(ops.square(p * s) - 3.0))

        optim.SAM(optim.SGD([p], 0.0), 0.5, adaptive=True).step(loss)
        places.append(seen[1])
    np.testing.assert_allclose(*places, rtol=1e-6)


@pytest.mark.parametrize("inner", sorted(optim.OPTIMIZERS))
@pytest.mark.parametrize("wrap", WRAPS)
def test_state_continues_bit_for_bit(inner: str, wrap: str) -> None:
    def make() -> tuple[nn.Parameter, Callable[[], Tensor], optim.Optimizer]:
        p, loss = problem()
        return p, loss, WRAPS[wrap](optim.OPTIMIZERS[inner]([p], 0.01))

    def steps(optimizer: optim.Optimizer, loss: Callable[[], Tensor], n: int) -> None:
        for _ in range(n):
            optimizer.step(loss)

    p, loss, whole = make()
    steps(whole, loss, 11)
    q, first_loss, first = make()
    steps(first, first_loss, 4)
    r, second_loss, second = make()
    r.numpy()[...] = q.numpy()
    arrays, facts = first.state_dict()
    second.load_state_dict(arrays, json.loads(json.dumps(facts)))
    steps(second, second_loss, 7)
    assert p.numpy().tobytes() == r.numpy().tobytes() != q.numpy().tobytes()
    (a, fa), (b, fb) = whole.state_dict(), second.state_dict()
    assert fa == fb and a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() for k in a)


@pytest.mark.parametrize("wrap", WRAPS)
def test_groups_rates_and_limits_are_the_inner_ones(wrap: str) -> None:
    p, loss = problem()
    q = nn.Parameter(tensor([3.0], dtype="float64"))
    inner = optim.SGD([{"params": [p], "lr": 0.2}, {"params": [q]}], 1.0, clip_norm=1e-3)
    optimizer = WRAPS[wrap](inner)
    optimizer.lr_factor = 0.5
    assert optimizer.lr == inner.lr == 0.1 and optimizer.params == [p, q]
    assert optimizer.clips and optimizer.clip_norm == 1e-3 and optimizer.groups is inner.groups
    before = p.numpy().copy()
    optimizer.step(lambda: loss() + ops.sum(q) * 1e-9)
    assert np.linalg.norm(p.numpy() - before) == pytest.approx(1e-4, rel=1e-6)
    assert optimizer.clipped == 1 and optimizer.grad_norm is not None and optimizer.grad_norm > 1
    assert optimizer.steps == inner.steps == 1


def test_lookahead_backward_steps_dense_weights_on_the_way() -> None:
    """The bits of backward, step, zero_grad around SGD, whose dense weights step inside the backward pass."""
    rng = np.random.default_rng(0)
    x = tensor(rng.standard_normal((50, 70)).astype("f4"))
    results = []
    for way in ("backward", "apart"):
        net = nn.Sequential(nn.Linear(70, 40, activation="relu", seed=1), nn.Linear(40, 5, seed=2))
        optimizer = optim.Lookahead(optim.SGD(net.parameters(), 0.1), 2)
        for _ in range(5):
            loss = ops.mean(ops.square(net(x)))
            if way == "backward":
                optimizer.backward(loss)
            else:
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        results.append({n: a.tobytes() for n, a in {**net.state_dict(), **optimizer.state_dict()[0]}.items()})
    assert results[0] == results[1]


def test_sam_leaves_the_weights_after_an_error() -> None:
    p, loss = problem()
    optimizer = optim.SAM(optim.SGD([p], 0.1, clip_norm=1.0))
    before, calls = p.numpy().tobytes(), []

    def failing() -> Tensor:
        calls.append(p.numpy().tobytes())
        if len(calls) == 2:
            raise ZeroDivisionError
        return loss()

    with pytest.raises(ZeroDivisionError):
        optimizer.step(failing)
    assert calls[0] == before != calls[1] and p.numpy().tobytes() == before
    with pytest.raises(NumericalError, match="SAM: the norm of the gradients is not finite at step 0"):
        optimizer.step(lambda: loss() * float("nan"))
    assert p.numpy().tobytes() == before


def test_sam_where_the_gradient_vanishes_and_with_frozen_parameters() -> None:
    p = nn.Parameter(tensor([0.0, 0.0]))
    q = nn.Parameter(tensor([2.0, 1.0]))
    q.requires_grad = False
    optimizer = optim.SAM(optim.SGD([p, q], 0.1, weight_decay=0.5))
    optimizer.step(lambda: ops.sum(ops.square(p) * q))
    assert p.tolist() == [0.0, 0.0] and q.tolist() == [2.0, 1.0] and optimizer.steps == 1


def test_refusals() -> None:
    p, loss = problem()
    with pytest.raises(ArgumentError, match="Lookahead: expected k >= 1"):
        optim.Lookahead(optim.SGD([p]), 0)
    with pytest.raises(ArgumentError, match=r"alpha in \(0, 1\], got 5 and 1.5"):
        optim.Lookahead(optim.SGD([p]), alpha=1.5)
    with pytest.raises(ArgumentError, match="expected an optimizer, got LBFGS"):
        optim.Lookahead(optim.LBFGS([p]))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="rho > 0, got 0"):
        optim.SAM(optim.SGD([p]), 0.0)
    with pytest.raises(ArgumentError, match="optimizer of gradients, got SAM"):
        optim.SAM(optim.SAM(optim.SGD([p])))
    sam = optim.SAM(optim.SGD([p]))
    with pytest.raises(ArgumentError, match="expected a closure"):
        sam.step()
    with pytest.raises(ArgumentError, match=r"expected step\(closure\), got backward"):
        sam.backward(loss())
    look = optim.Lookahead(optim.SGD([p]))
    arrays, facts = look.state_dict()
    with pytest.raises(CheckpointError, match="expected SAM, got Lookahead"):
        sam.load_state_dict(arrays, facts)
    with pytest.raises(CheckpointError, match="expected Adam, got SGD"):
        optim.Lookahead(optim.Adam([p])).load_state_dict(arrays, facts)
    with pytest.raises(CheckpointError, match="1 slow weights"):
        look.load_state_dict({}, facts)
    for optimizer in (sam, look, optim.ASGD([p])):
        with pytest.raises(ArgumentError, match=f"do the same work, got {type(optimizer).__name__}"):
            graph.CapturedStep(lambda x: x, optimizer)
