"""What is special about normalisation: running statistics, means far from zero, one value, errors."""

from __future__ import annotations

import numpy as np
import pytest

import deepcore as dc
from deepcore import ops
from deepcore.errors import ArgumentError, ShapeError


def test_running_statistics_move_in_place(isa: str) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 5, 17)).astype("float32") + 2
    mean, var = dc.zeros(17), dc.ones(17)
    ops.batch_norm(dc.tensor(x), running_mean=mean, running_var=var, momentum=0.25)
    np.testing.assert_allclose(mean.numpy(), 0.25 * x.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(var.numpy(), 0.75 + 0.25 * x.reshape(-1, 17).var(0, ddof=1), rtol=1e-5)


def test_second_order_does_not_move_running_statistics_again() -> None:
    x = dc.tensor(np.random.default_rng(1).standard_normal((6, 3)), requires_grad=True)
    mean, var = dc.zeros(3, "float64"), dc.ones(3, "float64")
    y = ops.batch_norm(x, running_mean=mean, running_var=var)
    before = mean.numpy().copy()
    dc.grad(ops.sum(y * y * y), x, create_graph=True)
    np.testing.assert_array_equal(mean.numpy(), before)


def test_mean_far_from_zero_keeps_its_digits(isa: str) -> None:
    rng = np.random.default_rng(2)
    x = (rng.standard_normal((50000, 16)) + 1000).astype("float32")
    y = ops.batch_norm(dc.tensor(x)).numpy()
    assert abs(float(y.var()) - 1) < 1e-3 and abs(float(y.mean())) < 1e-3


def test_constant_channel_gives_zero(isa: str) -> None:
    y = ops.batch_norm(dc.full((4, 3), 7.0)).numpy()
    np.testing.assert_array_equal(y, 0)


@pytest.mark.parametrize("shape", [(7, 5), (2, 9, 11, 33), (300, 64)])
@pytest.mark.parametrize("training", [True, False])
def test_relu_in_the_same_pass_gives_the_bits_of_relu_after(isa: str, shape: tuple[int, ...], training: bool) -> None:
    rng = np.random.default_rng(3)
    x, g = (rng.standard_normal(shape).astype("float32") for _ in range(2))
    gamma, beta, mean = (rng.standard_normal(shape[-1]).astype("float32") for _ in range(3))
    results = []
    for fused in (True, False):
        inputs = [dc.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
        y = ops.batch_norm(*inputs, running_mean=dc.tensor(mean), running_var=dc.ones(shape[-1]), training=training,
                           activation="relu" if fused else None)  # fmt: skip
        y = y if fused else ops.relu(y)
        results.append([y.numpy(), *[t.numpy() for t in dc.grad(y, inputs, dc.tensor(g))]])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: ops.batch_norm(x, dc.ones(4)), ShapeError, r"batch_norm: expected gamma \(3,\)"),
        (lambda x: ops.batch_norm(x, training=False), ArgumentError, "running_mean and running_var when not training"),
        (lambda x: ops.batch_norm(x, running_mean=dc.zeros(3)), ArgumentError, "both running statistics or none"),
        (lambda x: ops.batch_norm(x, activation="tanh"), ArgumentError, "activation None or 'relu', got 'tanh'"),
        (lambda x: ops.batch_norm(x, momentum=2.0), ArgumentError, r"momentum in \[0, 1\]"),
        (lambda x: ops.batch_norm(x[:0]), ShapeError, "no values to take statistics of"),
        (lambda x: ops.batch_norm(x[0]), ShapeError, r"expected x \(n, ..., c\), got \(3,\)"),
        (lambda x: ops.group_norm(x, 2), ArgumentError, "groups that divide the 3 channels, got 2"),
        (lambda x: ops.layer_norm(x, axes=3), ShapeError, "statistics over 1 to 2 axes"),
        (lambda x: ops.layer_norm(x, epsilon=-1.0), ArgumentError, "epsilon >= 0"),
    ],
)
def test_errors(call: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(dc.zeros((5, 3)))  # type: ignore[operator]


def test_read_only_running_statistics_are_refused() -> None:
    frozen = np.zeros(3, "float32")
    frozen.flags.writeable = False
    with pytest.raises(ArgumentError, match="read-only"):
        ops.batch_norm(dc.ones((2, 3)), running_mean=dc.tensor(frozen, copy=False), running_var=dc.ones(3))
