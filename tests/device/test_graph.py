"""A training step recorded once and launched again: the same bits as plain steps."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn, ops, optim
from deepcore.errors import ArgumentError, DeviceError
from deepcore.graph import CapturedStep
from deepcore.models import cnn

STEPS = 6


def mlp() -> tuple[nn.Module, optim.Optimizer]:
    net = nn.Sequential(nn.Linear(12, 16, activation="relu", seed=1), nn.Dropout(0.3, seed=2), nn.BatchNorm(16),
                        nn.Linear(16, 5, seed=3), nn.Dropout(0.1, seed=4)).to("cuda")  # fmt: skip
    return net, optim.Adam(net.parameters(), lr=0.01, weight_decay=0.01)


def lenet() -> tuple[nn.Module, optim.Optimizer]:
    net = cnn("lenet5", (12, 12, 1), 5, seed=3).to("cuda")
    return net, optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True)


def batches(shape: tuple[int, ...]) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    rng = np.random.default_rng(0)
    return [(rng.standard_normal(shape).astype(np.float32), rng.integers(0, 5, shape[0])) for _ in range(STEPS)]


def make_step(net: nn.Module, optimizer: optim.Optimizer) -> Callable[..., dc.Tensor]:
    def step(x: dc.Tensor, y: dc.Tensor) -> dc.Tensor:
        loss = ops.softmax_cross_entropy(net(x), y)
        dc.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step


@pytest.mark.parametrize(("make", "shape"), [(mlp, (9, 12)), (lenet, (4, 12, 12, 1))])
def test_same_bits_as_plain_steps(make: Callable[[], Any], shape: tuple[int, ...]) -> None:
    results = []
    for captured in (False, True):
        net, optimizer = make()
        plain = make_step(net, optimizer)
        step = CapturedStep(plain, optimizer, net) if captured else plain
        losses = []
        for i, (x, y) in enumerate(batches(shape)):
            optimizer.lr_factor = 1.0 / (1 + i)
            losses.append(step(dc.tensor(x).cuda(), dc.tensor(y).cuda()).item())
        state = {name: np.array(v) for name, v in net.state_dict().items()}
        arrays, facts = optimizer.state_dict()
        results.append((losses, state, arrays, facts))
    (losses, state, arrays, facts), (losses2, state2, arrays2, facts2) = results
    assert losses == losses2 and facts == facts2
    for own, other in ((state, state2), (arrays, arrays2)):
        assert own.keys() == other.keys()
        for name in own:
            np.testing.assert_array_equal(own[name], other[name], err_msg=name)


def test_several_steps_of_two_optimizers_in_one_recording() -> None:
    def run(captured: bool) -> list[float]:
        a, b = nn.Linear(3, 3, seed=1).to("cuda"), nn.Linear(3, 3, seed=2).to("cuda")
        first, second = optim.Adam(a.parameters(), lr=0.1), optim.RMSprop(b.parameters(), lr=0.05)

        def step(x: dc.Tensor) -> dc.Tensor:
            for _ in range(2):
                dc.backward(ops.mean(ops.square(a(x))))
                first.step()
                first.zero_grad()
            loss = ops.mean(ops.square(b(a(x)) - x))
            dc.backward(loss)
            second.step()
            second.zero_grad()
            first.zero_grad()
            return loss

        call: Callable[..., Any] = CapturedStep(step, [first, second]) if captured else step
        rng = np.random.default_rng(5)
        return [call(dc.tensor(rng.standard_normal((4, 3)).astype(np.float32)).cuda()).item() for _ in range(5)]

    assert run(True) == run(False)


def test_memory_of_a_recording_is_its_own() -> None:
    net, optimizer = mlp()
    step = CapturedStep(make_step(net, optimizer), optimizer, net)
    others = []
    for x, y in batches((9, 12)):
        step(dc.tensor(x).cuda(), dc.tensor(y).cuda())
        others.append(dc.full((9, 16), len(others), device="cuda"))  # the size of an activation
    for i, other in enumerate(others):
        assert (other.numpy() == i).all()
    before = dc.cuda.memory_stats()["current"]
    del step
    gc.collect()
    dc.cuda.synchronize()
    assert dc.cuda.memory_stats()["current"] < before
    assert (dc.ones(1000, device="cuda").numpy() == 1).all()


def test_labels_out_of_range_are_told_after_a_launch() -> None:
    net, optimizer = mlp()
    step = CapturedStep(make_step(net, optimizer), optimizer, net)
    (x, y), *_ = batches((9, 12))
    for _ in range(3):
        step(dc.tensor(x).cuda(), dc.tensor(y).cuda())
    dc.cuda.synchronize()
    y[4] = 7
    step(dc.tensor(x).cuda(), dc.tensor(y).cuda())
    with pytest.raises(ArgumentError, match=r"expected labels in \[0, 5\), got 7 at row 4"):
        dc.cuda.synchronize()
    y[4] = 0
    step(dc.tensor(x).cuda(), dc.tensor(y).cuda())
    dc.cuda.synchronize()


def test_what_cannot_be_recorded_says_so() -> None:
    x = dc.ones((4, 3), device="cuda")
    for bad, message in (
        (lambda t: dc.tensor(ops.sum(t).item()), "no reads by the host"),
        (lambda t: t + dc.random.normal(t.shape, device="cuda"), "pass random numbers as inputs"),
    ):
        step = CapturedStep(bad)
        step(x)
        with pytest.raises(DeviceError, match=message):
            step(x)
        assert (x + 1).tolist() == [[2.0] * 3] * 4  # the process goes on
    clipped, optimizer = mlp()[0], None
    optimizer = optim.Adam(clipped.parameters(), lr=0.01, clip_norm=1.0)
    step = CapturedStep(make_step(clipped, optimizer), optimizer, clipped)
    (a, b), *_ = batches((9, 12))
    step(dc.tensor(a).cuda(), dc.tensor(b).cuda())
    with pytest.raises(DeviceError, match="squared_norms: expected no reads by the host"):
        step(dc.tensor(a).cuda(), dc.tensor(b).cuda())


def test_inputs_must_have_the_recorded_shapes() -> None:
    step = CapturedStep(lambda t: t * 2)
    for _ in range(2):
        step(dc.ones((2, 3), device="cuda"))
    for other in (dc.ones((3, 3), device="cuda"), dc.ones((2, 3), dtype="float64", device="cuda")):
        with pytest.raises(ArgumentError, match=r"expected inputs .* as recorded, got"):
            step(other)
    assert step(dc.full((2, 3), 4.0, device="cuda")).tolist() == [[8.0] * 3] * 2
    with pytest.raises(ArgumentError, match="expected a CUDA device"):
        CapturedStep(lambda t: t, device="cpu")
