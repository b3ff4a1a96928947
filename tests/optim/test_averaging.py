"""ASGD: means of the weights that SGD passes, when they begin, and resumption."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from deepcore import nn, ops, optim
from deepcore.errors import ArgumentError, CheckpointError
from deepcore.tensor import tensor


def net(seed: int = 0) -> list[nn.Parameter]:
    rng = np.random.default_rng(seed)
    return [nn.Parameter(tensor(rng.standard_normal(s), dtype="float64")) for s in ((3, 4), (5,))]


def train(optimizer: optim.Optimizer, steps: int, seed: int = 1) -> list[list[np.ndarray]]:
    """Random gradients that are functions of the step; returns the weights after each."""
    passed = []
    for _ in range(steps):
        rng = np.random.default_rng((seed, optimizer.steps))
        for p in optimizer.params:
            p.grad = tensor(rng.standard_normal(p.shape), dtype="float64")
        optimizer.step()
        passed.append([p.numpy().copy() for p in optimizer.params])
    return passed


@pytest.mark.parametrize("start", [1, 4])
def test_mean_of_the_weights_passed(start: int) -> None:
    params, plain = net(), net()
    optimizer = optim.ASGD(params, 0.1, start=start, momentum=0.9)
    passed = train(optimizer, 9)
    for a, b in zip(passed[-1], train(optim.SGD(plain, 0.1, momentum=0.9), 9)[-1], strict=True):
        np.testing.assert_array_equal(a, b)  # the steps are those of SGD
    own = [p.numpy().copy() for p in params]
    with optimizer.averaged():
        for i, p in enumerate(params):
            np.testing.assert_allclose(p.numpy(), np.mean([w[i] for w in passed[start - 1 :]], 0), rtol=1e-12)
    for p, w in zip(params, own, strict=True):
        np.testing.assert_array_equal(p.numpy(), w)
    assert optimizer.count == 10 - start


def test_before_the_start_there_are_no_means() -> None:
    optimizer = optim.ASGD(net(), 0.1, start=6)
    last = train(optimizer, 5)[-1]
    assert optimizer.averages() is None
    with optimizer.averaged():
        np.testing.assert_array_equal(optimizer.params[0].numpy(), last[0])
    train(optimizer, 1)
    assert optimizer.averages() is not None


def test_own_values_come_back_after_an_error() -> None:
    optimizer = optim.ASGD(net(), 0.1)
    last = train(optimizer, 3)[-1]
    with pytest.raises(ZeroDivisionError), optimizer.averaged():
        1 // 0
    np.testing.assert_array_equal(optimizer.params[0].numpy(), last[0])


def test_means_lie_nearer_to_the_minimum_of_a_noisy_loss() -> None:
    p = nn.Parameter(tensor(np.full(20, 1.0)))
    optimizer = optim.ASGD([p], 0.5, start=50)
    rng = np.random.default_rng(0)
    for _ in range(1000):
        optimizer.backward(ops.sum(ops.square(p + tensor(rng.standard_normal(20)))) * 0.5)
    own = np.linalg.norm(p.numpy())
    with optimizer.averaged():
        assert np.linalg.norm(p.numpy()) < 0.2 * own


@pytest.mark.parametrize(
    ("window", "losses", "begins"),
    [
        (2, [5, 4, 3, 3.5, 3.2, 3.6, 1.0], 5),  # 3.6 against the best of 5, 4, 3
        (2, [5, 4, 3, 2, 1, 0.5], None),
        (2, [5, 6, 7, 6, 1], 3),  # 6 against 5
        (2, [5, 5, 5, 5], 3),  # no better
        (0, [5, 4, 4.5], 2),
        (9, [5, 6, 7, 8], None),
        (1, [3, math.inf, 4], 2),
    ],
)
def test_nonmonotone(window: int, losses: list[float], begins: int | None) -> None:
    optimizer = optim.ASGD(net(), 0.1, start="nonmonotone", window=window)
    for i, loss in enumerate(losses):
        train(optimizer, 3)
        assert (optimizer.averages() is not None) == (begins is not None and i > begins)
        optimizer.observe(loss)
    assert optimizer.started == (None if begins is None else 3 * (begins + 1) + 1)


@pytest.mark.parametrize("options", [{"start": 3}, {"start": "nonmonotone", "window": 1}, {"start": 50}])
@pytest.mark.parametrize("cut", [1, 5, 8])
def test_state_continues_bit_for_bit(options: dict[str, Any], cut: int) -> None:
    losses = [3.0, 2.0, 2.5, 2.4, 1.0, 3.0, 2.0, 2.0, 2.0, 2.0]

    def run(optimizer: optim.Optimizer, begin: int, end: int) -> None:
        for i in range(begin, end):
            train(optimizer, 2)
            optimizer.observe(losses[i])

    whole = optim.ASGD(net(), 0.1, momentum=0.5, **options)
    run(whole, 0, 10)
    first = optim.ASGD(net(), 0.1, momentum=0.5, **options)
    run(first, 0, cut)
    arrays, facts = first.state_dict()
    second = optim.ASGD(net(7), 0.1, momentum=0.5, **options)
    for p, q in zip(second.params, first.params, strict=True):
        p.numpy()[...] = q.numpy()
    second.load_state_dict(arrays, json.loads(json.dumps(facts)))
    run(second, cut, 10)
    (a, fa), (b, fb) = whole.state_dict(), second.state_dict()
    assert fa == fb and a.keys() == b.keys()
    assert all(a[k].tobytes() == b[k].tobytes() for k in a)
    assert whole.params[0].numpy().tobytes() == second.params[0].numpy().tobytes()
    assert ("0.average" in a) == (options["start"] != 50)


def test_closures_are_averaged_once() -> None:
    p = nn.Parameter(tensor([1.0, 2.0], dtype="float64"))
    optimizer = optim.ASGD([p], 0.1)
    loss = optimizer.step(lambda: ops.sum(ops.square(p)))
    assert loss is not None and loss.item() == 5.0 and optimizer.count == optimizer.steps == 1


def test_refusals() -> None:
    for bad in (0, True, "later", 1.5):
        with pytest.raises(ArgumentError, match="start >= 1 or 'nonmonotone', got"):
            optim.ASGD(net(), start=bad)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="window >= 0, got -1"):
        optim.ASGD(net(), window=-1)
    with pytest.raises(ArgumentError, match="got nan"):
        optim.ASGD(net(), start="nonmonotone").observe(math.nan)
    optimizer = optim.ASGD(net(), 0.1)
    train(optimizer, 2)
    arrays, facts = optimizer.state_dict()
    with pytest.raises(CheckpointError, match="means of 2 parameters, got 1"):
        optim.ASGD(net()).load_state_dict({k: a for k, a in arrays.items() if k != "1.average"}, facts)
    with pytest.raises(CheckpointError, match=r"0\.average: expected shape"):
        optim.ASGD(net()).load_state_dict({**arrays, "0.average": np.zeros(3)}, facts)
    with pytest.raises(CheckpointError, match="expected SGD, got ASGD"):
        optim.SGD(net()).load_state_dict(arrays, facts)
