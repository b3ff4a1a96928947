"""Face nets: what is shared, what is copied, and which shapes are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import optim, train
from deepcore.errors import ArgumentError, ShapeError
from deepcore.models import FaceNet, UnrolledFaces

SHAPE = (16, 16, 1)


def faces(n: int = 4, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random((n, *SHAPE), dtype=np.float32)


def stack(*sizes: int) -> Any:
    rng = np.random.default_rng(1)
    pairs = zip((256, *sizes), sizes, strict=False)
    return [
        tuple((0.1 * rng.standard_normal(s)).astype(np.float32) for s in ((up, below), (up,), (below,)))
        for below, up in pairs
    ]


def test_one_encoder_and_equal_decoders() -> None:
    net, x = FaceNet(SHAPE, 3, code=8, width=4, seed=2), dc.tensor(faces())
    codes = net.encode(x, 0).numpy()
    np.testing.assert_array_equal(net.encode(x, 2).numpy(), codes)
    assert codes.shape == (4, 8) and len(net.encoders) == 1 and len(net.decoders) == 3
    drawn = [net.decode(net.encode(x, 0), k).numpy() for k in range(3)]
    np.testing.assert_array_equal(drawn[0], drawn[2])
    assert drawn[0].shape == (4, *SHAPE) and drawn[0].min() > 0 and drawn[0].max() < 1
    apart = FaceNet(SHAPE, 2, code=8, width=4, shared=False, seed=2)
    assert (apart.encode(x, 0).numpy() != apart.encode(x, 1).numpy()).any()
    assert (apart(x, 0).numpy() != apart(x, 1).numpy()).any()


def test_joined_decoders_part_as_copies() -> None:
    net, x = FaceNet(SHAPE, 2, code=8, width=4), dc.tensor(faces())
    net.joined = True
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    loss, _ = train.FaceTask().step(net, (faces(), faces(), np.array([0, 1, 0, 1])))
    loss.backward()
    optimizer.step()
    np.testing.assert_array_equal(net(x, 0).numpy(), net(x, 1).numpy())
    pairs = net.part()
    assert len(pairs) == len(net.decoders[0].parameters())
    for first, copy in pairs:
        assert first is not copy
        np.testing.assert_array_equal(first.numpy(), copy.numpy())
    assert not net.joined


@pytest.mark.parametrize(
    ("shape", "bottom"), [((64, 64, 3), 4), ((96, 96, 1), 6), ((128, 128, 3), 4), ((32, 48, 3), 4), ((24, 24, 1), 6)]
)
def test_sides(shape: Any, bottom: int) -> None:
    net = FaceNet(shape, 2, code=4, width=4)
    assert net(dc.tensor(np.zeros((1, *shape), np.float32)), 0).shape == (1, *shape)
    assert min(net.decoders[0][1].shape[:2]) == bottom  # type: ignore[index, attr-defined]


@pytest.mark.parametrize("shape", [(8, 8, 1), (100, 100, 3), (64, 64, 2), (1, 1, 3)], ids=str)
def test_shapes_that_are_refused(shape: Any) -> None:
    with pytest.raises(ArgumentError, match="such as 64, 96 or 128"):
        FaceNet(shape, 2)


def test_a_stack_is_run_upwards_and_downwards() -> None:
    machines, x = stack(40, 12), faces()
    net = UnrolledFaces(SHAPE, 2, machines)
    sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    (w1, h1, v1), (w2, h2, v2) = (tuple(a.astype(np.float64) for a in m) for m in machines)
    code = sigmoid(sigmoid(x.reshape(4, -1) @ w1.T + h1) @ w2.T + h2)
    again = sigmoid(sigmoid(code @ w2 + v2) @ w1 + v1)
    np.testing.assert_allclose(net.encode(dc.tensor(x), 1).numpy(), code, atol=1e-5)
    np.testing.assert_allclose(net(dc.tensor(x), 0).numpy().reshape(4, -1), again, atol=1e-5)


def test_people_start_equal_and_learn_apart() -> None:
    net, x = UnrolledFaces(SHAPE, 2, stack(40, 12)), faces(8)
    before = net(dc.tensor(x), 1).numpy()
    np.testing.assert_array_equal(net(dc.tensor(x), 0).numpy(), before)
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        loss, metrics = train.FaceTask().step(net, (x, x, np.zeros(8, np.int64)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(metrics["l1"])
    assert losses[-1] < 0.9 * losses[0]
    np.testing.assert_array_equal(net(dc.tensor(x), 1).numpy(), before)


def test_stacks_that_do_not_fit() -> None:
    machines = stack(40, 12)
    with pytest.raises(ShapeError, match="machine 0"):
        UnrolledFaces((16, 16, 3), 2, machines)
    with pytest.raises(ShapeError, match="machine 1"):
        UnrolledFaces(SHAPE, 2, [machines[0], machines[0]])
    with pytest.raises(ArgumentError, match="a machine"):
        UnrolledFaces(SHAPE, 2, [])
