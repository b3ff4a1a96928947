"""Gradients with respect to the states of a recurrence, against products of Jacobians."""

from __future__ import annotations

import numpy as np
import pytest

from deepcore import explain, nn, ops
from deepcore.errors import ArgumentError, GradientError
from deepcore.tensor import Tensor, tensor


def unrolled(scale: float, steps: int = 12) -> tuple[list[Tensor], nn.Parameter, Tensor]:
    """h_t = tanh(h_{t-1} w + x_t), and the mean of the last state's squares."""
    rng = np.random.default_rng(0)
    w = nn.Parameter(rng.normal(size=(6, 6)) / np.sqrt(6) * scale)
    h = tensor(np.zeros((2, 6)))
    states = []
    for _ in range(steps):
        h = ops.tanh(ops.matmul(h, w) + tensor(rng.normal(size=(2, 6))))
        states.append(h)
    return states, w, ops.mean(ops.square(h))


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_norms_of_chained_jacobians(scale: float) -> None:
    states, w, loss = unrolled(scale)
    g = 2 * states[-1].numpy() / 12
    expected = [np.linalg.norm(g)]
    for h in reversed(states[1:]):
        g = (g * (1 - h.numpy() ** 2)) @ w.numpy().T
        expected.append(np.linalg.norm(g))
    found = explain.gradient_flow(states, loss)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected[::-1], rtol=1e-9)
    assert w.grad is None


def test_losses_at_every_step_and_states_that_do_not_matter() -> None:
    states, _, _ = unrolled(0.7)
    early = explain.gradient_flow(states, ops.sum(states[4]))
    assert (early[:5] > 0).all() and not early[5:].any()
    every = explain.gradient_flow(states, ops.sum(ops.concatenate(states[:6])))
    assert every[4] != pytest.approx(early[4]) and every[5] == pytest.approx(np.sqrt(12))


def test_refusals() -> None:
    states, _, loss = unrolled(1.0, 3)
    with pytest.raises(ArgumentError, match="at least one state"):
        explain.gradient_flow([], loss)
    with pytest.raises(ArgumentError, match="got one without at step 1"):
        explain.gradient_flow([states[0], states[1].detach()], loss)
    with pytest.raises(GradientError, match="does not require a gradient"):
        explain.gradient_flow(states, loss.detach())
