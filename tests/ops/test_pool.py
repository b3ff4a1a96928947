"""What is special about pooling: index types, ties, NaN, errors."""

from __future__ import annotations

import numpy as np
import pytest

import deepcore as dc
from deepcore import ops
from deepcore.errors import ArgumentError, DtypeError, ShapeError


def test_index_is_a_byte_up_to_256_taps(isa: str) -> None:
    x = dc.tensor(np.arange(17 * 16 * 2, dtype="float32").reshape(1, 17, 16, 2))
    y, index = ops.max_pool2d_with_index(x, 16)
    assert index.dtype == "uint8" and index.numpy().reshape(-1).tolist() == [255, 255]
    y, index = ops.max_pool2d_with_index(x, (17, 16))
    assert index.dtype == "int32" and index.numpy().reshape(-1).tolist() == [271, 271]
    assert y.numpy().reshape(-1).tolist() == [542.0, 543.0]
    back = ops.max_unpool2d(y, index, x.shape, (17, 16)).numpy()
    assert back.sum() == 1085.0 and back[0, 16, 15].tolist() == [542.0, 543.0]


def test_first_maximum_gets_the_gradient_and_nan_wins(isa: str) -> None:
    x = dc.tensor(np.array([[2, 2, 0, 1], [2, 2, np.nan, 3]], "float32").reshape(1, 2, 4, 1), requires_grad=True)
    y = ops.max_pool2d(x, 2)
    assert y.numpy()[0, 0, 0, 0] == 2 and np.isnan(y.numpy()[0, 0, 1, 0])
    g = dc.grad(y, x, dc.ones(y.shape)).numpy().reshape(2, 4)
    assert g.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]


def test_inference_and_training_agree(isa: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 9, 8, 19)).astype("float32")
    plain = ops.max_pool2d(dc.tensor(x), 3, stride=2, padding=1)
    recorded = ops.max_pool2d(dc.tensor(x, requires_grad=True), 3, stride=2, padding=1)
    assert recorded.requires_grad and not plain.requires_grad
    np.testing.assert_array_equal(plain.numpy(), recorded.numpy())


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: ops.max_pool2d(x[0], 2), ShapeError, r"max_pool2d: expected x \(n, h, w, c\), got \(4, 5, 3\)"),
        (lambda x: ops.max_pool2d(x, 6), ShapeError, "at least 6 rows and columns"),
        (lambda x: ops.max_pool2d(x, 0), ArgumentError, "window, stride and dilation >= 1"),
        (lambda x: ops.max_pool2d(x, 2, stride=0), ArgumentError, "window, stride and dilation >= 1"),
        (lambda x: ops.max_pool2d(x, 2, padding=-1), ArgumentError, "padding >= 0"),
        (lambda x: ops.avg_pool2d(x, 2, padding=2), ArgumentError, "without a pixel"),
        (lambda x: ops.max_pool2d(x, (2, 2, 2)), ArgumentError, "window as an int or two"),
        (lambda x: ops.adaptive_avg_pool2d(x, 0), ArgumentError, "two output sizes >= 1"),
        (lambda x: ops.lp_pool2d(x, 0.5, 2), ArgumentError, "p >= 1"),
        (lambda x: ops.max_pool2d(ops.astype(x, "int32"), 2), DtypeError, "expected float32 or float64, got int32"),
        (lambda x: ops.max_unpool2d(x, ops.astype(x, "int32"), (2, 8, 10, 3), 2), DtypeError, "an index of uint8"),
        (lambda x: ops.max_unpool2d(x, ops.astype(x, "uint8"), (2, 8, 8, 3), 2), ShapeError, "one value per window"),
    ],
)
def test_errors(call: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(dc.zeros((2, 4, 5, 3)))  # type: ignore[operator]


def test_index_outside_the_image_is_harmless() -> None:
    y, index = dc.ones((1, 1, 1, 2)), dc.tensor(np.array([255, 8], "uint8").reshape(1, 1, 1, 2))
    back = ops.max_unpool2d(y, index, (1, 2, 2, 2), 3, padding=(0, 1, 0, 1))
    assert back.numpy().sum() == 0.0
