"""What is special about indexing: types and ranges of indices, repeated destinations, order of equal values."""

from __future__ import annotations

import numpy as np
import pytest

import deepcore as dc
from deepcore import ops
from deepcore.errors import ArgumentError, DtypeError, GradientError, ShapeError


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8", "bool"])
def test_take_moves_every_type(dtype: str) -> None:
    x = np.arange(12).reshape(4, 3).astype(dtype)
    for index in (np.array([3, 0, 3]), np.array([-1, 1], "int32"), np.array([2], "uint8")):
        y = ops.take(dc.tensor(x), dc.tensor(index))
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.numpy(), x[index.astype(int)])
    along = np.array([[0, 2], [1, 1], [2, 0], [0, 0]])
    np.testing.assert_array_equal(
        ops.take_along(dc.tensor(x), dc.tensor(along), 1).numpy(), np.take_along_axis(x, along, 1)
    )


def test_getitem_with_arrays() -> None:
    x = dc.tensor(np.arange(12.0).reshape(4, 3), requires_grad=True)
    np.testing.assert_array_equal(x[[2, 0]].numpy(), x.numpy()[[2, 0]])
    mask = np.array([True, False, False, True])
    y = x[mask]
    np.testing.assert_array_equal(y.numpy(), x.numpy()[mask])
    assert dc.grad(ops.sum(y), x).numpy().sum(1).tolist() == [3.0, 0.0, 0.0, 3.0]


def test_repeated_rows_add_up_in_order(isa: str) -> None:
    rng = np.random.default_rng(0)
    index = rng.integers(0, 7, 5000)
    g = (rng.standard_normal((5000, 33)) * 10.0 ** rng.integers(-6, 6, (5000, 1))).astype("float32")
    expected = np.zeros((7, 33), "float32")
    for i, row in zip(index, g, strict=True):
        expected[i] += row  # float32, in order: the same bits
    got = ops.scatter_add(dc.tensor(g), dc.tensor(index), 7)
    np.testing.assert_array_equal(got.numpy(), expected)


def test_large_sort_is_stable(isa: str) -> None:
    x = np.random.default_rng(1).integers(0, 50, 200_000).astype("float32") - 25
    values, index = ops.sort(dc.tensor(x))
    order = np.argsort(x, kind="stable")
    np.testing.assert_array_equal(index.numpy(), order)
    np.testing.assert_array_equal(values.numpy(), x[order])


def test_zeros_of_both_signs_are_equal(isa: str) -> None:
    x = dc.tensor(np.array([0.0, -0.0, 0.0, -0.0], "float32"))
    assert ops.argsort(x).tolist() == [0, 1, 2, 3] and ops.argmax(x).item() == 0


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: ops.take(x, dc.tensor([4])), ArgumentError, r"take: expected indices in \[-4, 4\), got 4 at 0"),
        (lambda x: ops.take(x, dc.tensor([0, -5])), ArgumentError, "got -5 at 1"),
        (lambda x: ops.take(x, dc.tensor([0.5])), DtypeError, "expected integer indices, got float32"),
        (lambda x: ops.take(x, dc.tensor([0]), 2), ArgumentError, "expected an axis"),
        (lambda x: ops.take_along(x, dc.tensor([[0]]), 1), ShapeError, "but for axis 1"),
        (lambda x: ops.one_hot(dc.tensor([3]), 3), ArgumentError, r"one_hot: expected indices in \[0, 3\), got 3"),
        (lambda x: ops.top_k(x, 4), ArgumentError, r"expected k in \[0, 3\], got 4"),
        (lambda x: ops.argmax(x[:, :0], 1), ArgumentError, "no elements along axis 1"),
        (lambda x: ops.cumsum(x, 5), ArgumentError, "expected an axis"),
    ],
)
def test_errors(call: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(dc.zeros((4, 3)))  # type: ignore[operator]


def test_argmax_has_no_derivative() -> None:
    x = dc.tensor([1.0, 2.0], requires_grad=True)
    assert not ops.argmax(x).requires_grad
    with pytest.raises(GradientError):
        dc.grad(ops.sum(ops.astype(ops.argmax(x), "float32")), x)
