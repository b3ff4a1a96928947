"""Data that cannot be learnt, labels out of range, wrong ranks and types: errors that name operation and sample."""

from __future__ import annotations

import numpy as np
import pytest

import deepcore as dc
from deepcore import _C, nn, ops
from deepcore.errors import ArgumentError, DeviceError, DtypeError, Error, ShapeError


def test_data_that_cannot_be_learnt() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 4)), np.arange(30) % 2
    bad = x.copy()
    bad[13, 2] = np.inf
    pictures = np.zeros((30, 8, 8))
    broken = pictures.copy()
    broken[21, 3, 3] = np.nan
    for call, message in (
        (lambda: dc.MLPClassifier((4,)).fit(bad, y), "sample 13"),
        (lambda: dc.MLPRegressor((4,)).fit(bad, x[:, 0]), "sample 13"),
        (lambda: dc.ImageClassifier().fit(broken, y), "image 21"),
        (lambda: dc.MLPClassifier((4,)).fit(x, np.ones(30)), "one class|1 class"),
        (lambda: dc.ImageClassifier().fit(pictures, np.ones(30)), "at least 2 classes"),
        (lambda: dc.MLPClassifier((4,)).fit(x[:0], y[:0]), r"0 sample"),
        (lambda: dc.ImageClassifier().fit(pictures[:0], y[:0]), "at least one image"),
        (lambda: dc.MLPClassifier((4,)).fit(x, y[:-1]), "inconsistent numbers of samples"),
        (lambda: dc.ImageClassifier().fit(pictures, y[:-1]), "inconsistent numbers of samples"),
        (lambda: dc.ImageClassifier().fit(x, y), "images"),
    ):
        with pytest.raises(Error, match=message):
            call()


def test_extremes_of_no_integers() -> None:
    empty = dc.zeros((3, 0), dtype="int32")
    for call in (lambda: ops.max(empty, 1), lambda: _C.max(empty.array, (1,)), lambda: _C.min(empty.array, (1,))):
        with pytest.raises(ArgumentError, match=r"m(ax|in): "):
            call()
    assert ops.sum(empty, 1).tolist() == [0, 0, 0]


def test_labels_out_of_range() -> None:
    x = dc.ones((3, 4))
    for labels in ([0, 1, 4], [-1, 0, 1], [0, 1, 2**40], [0, 1, -(2**63)]):
        with pytest.raises(ArgumentError, match="label"):
            ops.softmax_cross_entropy(x, dc.tensor(labels))
    with pytest.raises(DtypeError):
        ops.softmax_cross_entropy(x, dc.tensor([True, False, True]))
    with pytest.raises(ShapeError):
        ops.softmax_cross_entropy(x, dc.tensor([0, 1]))
    for call in (
        lambda: ops.one_hot(dc.tensor([3]), 3),
        lambda: ops.embedding(x, dc.tensor([3])),
        lambda: ops.take(x, dc.tensor([-4])),
        lambda: ops.take(x, dc.tensor([-(2**63)])),
    ):
        with pytest.raises(ArgumentError):
            call()


def test_wrong_rank_channels_groups_type() -> None:
    x, w = dc.ones((2, 8, 8, 3)), dc.ones((4, 3, 3, 3))
    for call, error, message in (
        (lambda: ops.conv2d(x, dc.ones((4, 3, 3, 5))), ShapeError, r"conv2d.*\(2, 8, 8, 3\).*\(4, 3, 3, 5\)"),
        (lambda: ops.conv2d(dc.ones((8, 8, 3)), w), ShapeError, r"conv2d.*\(8, 8, 3\)"),
        (lambda: ops.conv2d(x, w, groups=2), ShapeError, "conv2d"),
        (lambda: ops.conv2d(x, w, groups=0), Error, "conv2d"),
        (lambda: ops.conv2d(x, w, stride=0), Error, "conv2d"),
        (lambda: ops.conv2d(x, w, dilation=2**62), Error, "conv2d"),
        (lambda: ops.conv2d(x, w, padding=-1), Error, "conv2d"),
        (lambda: ops.conv2d(x, w, dc.ones(5)), ShapeError, "conv2d"),
        (lambda: ops.conv2d(x, ops.astype(w, "float64")), DtypeError, "conv2d"),
        (lambda: ops.conv2d(ops.astype(x, "int32"), w), DtypeError, "conv2d"),
        (lambda: ops.conv2d(x, dc.ones((4, 9, 9, 3))), ShapeError, "conv2d"),
        (lambda: nn.Conv2d(3, 4, 3, seed=0)(dc.ones((2, 8, 8, 5))), ShapeError, r"\(2, 8, 8, 5\)"),
        (lambda: nn.Linear(3, 4, seed=0)(dc.ones((2, 5))), ShapeError, r"\(2, 5\)"),
        (lambda: dc.ones((2, 3)) @ dc.ones((4, 5)), ShapeError, r"matmul.*\(2, 3\).*\(4, 5\)"),
        (lambda: dc.ones(2) + dc.ones(3), ShapeError, r"add.*\(2,\).*\(3,\)"),
        (lambda: dc.zeros(2, device="cuda:99"), DeviceError, "device cuda:99: "),
        (lambda: dc.zeros(2, device="tpu"), ArgumentError, "'tpu'"),
        (lambda: dc.zeros(2, dtype="float16"), DtypeError, "float16"),
    ):
        with pytest.raises(error, match=message):
            call()
