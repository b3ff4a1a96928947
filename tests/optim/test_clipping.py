"""Limits on gradients: what percentiles allow, what is counted, what goes into states."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from deepcore import nn, optim
from deepcore.errors import ArgumentError, NumericalError
from deepcore.optim.optimizer import NORMS_KEPT
from deepcore.tensor import tensor


def norms(n: int, seed: int = 0) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).normal(size=n))


def train(optimizer: optim.Optimizer, p: nn.Parameter, values: np.ndarray) -> list[float]:
    """Steps on gradients of these norms along (0.6, 0.8); returns how far each step went."""
    moved = []
    for v in values:
        before = p.numpy().copy()
        p.grad = tensor(np.array([0.6, 0.8]) * v, dtype="float64")
        optimizer.step()
        moved.append(float(np.linalg.norm(p.numpy() - before)))
    return moved


def make(**options: Any) -> tuple[nn.Parameter, optim.Optimizer]:
    p = nn.Parameter(tensor([3.0, 4.0], dtype="float64"))
    return p, optim.SGD([p], 1.0, **options)


@pytest.mark.parametrize("percentile", [10.0, 50.0, 100.0])
def test_percentile_of_the_norms_so_far(percentile: float) -> None:
    p, optimizer = make(clip_percentile=percentile)
    values = norms(40)
    limits = [np.percentile(values[: i + 1], percentile) for i in range(40)]
    np.testing.assert_allclose(train(optimizer, p, values), np.minimum(values, limits), rtol=1e-9)
    assert optimizer.clipped == sum(v > limit * (1 + 1e-12) for v, limit in zip(values, limits, strict=True))
    assert (optimizer.clipped == 0) == (percentile == 100)
    assert optimizer.grad_norm == pytest.approx(values[-1])


def test_the_lower_limit_holds_and_norms_of_zero_teach_nothing() -> None:
    p, optimizer = make(clip_percentile=50, clip_norm=0.5)
    np.testing.assert_allclose(train(optimizer, p, np.array([2.0, 0.0, 0.3, 0.2])), [0.5, 0, 0.3, 0.2], rtol=1e-9)
    train(optimizer, p, np.zeros(50))
    np.testing.assert_allclose(train(optimizer, p, np.array([0.4])), [np.median([2.0, 0.3, 0.2, 0.4])], rtol=1e-9)


def test_old_norms_are_forgotten() -> None:
    p, optimizer = make(clip_percentile=100, log_norm=True)
    train(optimizer, p, np.r_[[9.0], np.full(NORMS_KEPT - 1, 1.0)])
    assert train(optimizer, p, np.array([8.0])) == [pytest.approx(8.0)]  # 9 has gone, 8 is the largest
    assert len(optimizer.state_dict()[1]["norms"]) == NORMS_KEPT


def test_state_continues_bit_for_bit() -> None:
    values = norms(30)
    p, whole = make(clip_percentile=30)
    train(whole, p, values)
    q, first = make(clip_percentile=30)
    train(first, q, values[:13])
    arrays, facts = first.state_dict()
    r, second = make(clip_percentile=30)
    r.numpy()[...] = q.numpy()
    second.load_state_dict(arrays, json.loads(json.dumps(facts)))
    train(second, r, values[13:])
    assert r.numpy().tobytes() == p.numpy().tobytes() and second.clipped == whole.clipped > 0
    assert "norms" not in make(clip_norm=1.0)[1].state_dict()[1]


@pytest.mark.parametrize(
    ("options", "counted"),
    [
        ({"clip_norm": 1.0}, 2),
        ({"clip_each_norm": 1.0}, 2),
        ({"clip_value": 0.8}, 2),  # entries are 0.6 and 0.8 of the norm
        ({"clip_value": 0.8, "log_norm": True}, 2),
        ({"clip_value": 100.0, "clip_norm": 1.5}, 1),
        ({"clip_value": 1.0, "clip_each_norm": 0.9, "clip_norm": 0.8}, 3),
        ({"clip_percentile": 100.0}, 0),
        ({"log_norm": True}, 0),
    ],
)
def test_clipped_steps_are_counted_once(options: dict[str, Any], counted: int) -> None:
    p, optimizer = make(**options)
    for v in (1.0, 1.3, 0.5, 2.0):
        train(optimizer, p, np.array([v]))
    assert optimizer.clipped == counted
    assert optimizer.clips == (options != {"log_norm": True})


def test_negative_entries_and_empty_tensors_are_looked_at() -> None:
    p, q = nn.Parameter(tensor(np.zeros(3, "f4"))), nn.Parameter(tensor(np.zeros((0, 2), "f4")))
    optimizer = optim.SGD([q, p], 1.0, clip_value=0.1)
    for g, clipped in (([0.05, -0.3, 0.0], 1), ([0.1, -0.1, 0.0], 1)):
        p.grad, q.grad = tensor(np.array(g, "f4")), tensor(np.zeros((0, 2), "f4"))
        optimizer.step()
        assert optimizer.clipped == clipped


def test_refusals() -> None:
    for bad in (0.0, 101.0, math.nan):
        with pytest.raises(ArgumentError, match=r"clip_percentile in \(0, 100\], got"):
            make(clip_percentile=bad)
    p, optimizer = make(clip_percentile=10)
    with pytest.raises(NumericalError, match="norm of the gradients"):
        train(optimizer, p, np.array([math.inf]))
    assert p.tolist() == [3.0, 4.0] and optimizer.state_dict()[1]["norms"] == []
