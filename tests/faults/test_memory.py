"""More memory than there is, sizes that cannot be: typed errors, and the process goes on."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

import deepcore as dc
from deepcore import ops
from deepcore.errors import ArgumentError, DeviceError, OutOfMemoryError, ShapeError
from tests.faults.work import work


@pytest.mark.parametrize(
    "request_",
    [
        lambda: dc.zeros((2**20, 2**20, 2**18)),  # 2^60 bytes
        lambda: dc.ones(2**58, dtype="float64"),
        lambda: dc.random.uniform((2**30, 2**28)),
        lambda: dc.arange(2**50),
        lambda: ops.pad(dc.ones((1, 1)), [(2**28, 0), (2**30, 0)]),
        lambda: ops.affine_grid(dc.ones((1, 2, 3)), (2**28, 2**28)),
        lambda: ops.one_hot(dc.zeros(2**10, dtype="int64"), 2**50),
        lambda: ops.contiguous(ops.broadcast_to(dc.ones((1, 1)), (2**30, 2**28))),
        lambda: ops.add(ops.broadcast_to(dc.ones(1), (2**58,)), 1.0),
        lambda: dc.ones((2**15, 1)) @ ops.broadcast_to(dc.ones(1), (1, 2**43)),
    ],
    ids=["zeros", "ones", "uniform", "arange", "pad", "affine_grid", "one_hot", "contiguous", "add", "matmul"],
)
def test_more_memory_than_there_is(request_: Callable[[], Any]) -> None:
    gc.collect()
    current = dc.memory.statistics()["current"]
    with pytest.raises(OutOfMemoryError, match="bytes"):
        request_()
    gc.collect()
    assert dc.memory.statistics()["current"] <= current + 4096
    assert work(0) == work(0)  # the process goes on


@pytest.mark.parametrize("shape", [(2**62, 4), (2**31, 2**31, 2**31), (-1,), (3, -2), (1,) * 9])
def test_shapes_that_cannot_be(shape: tuple[int, ...]) -> None:
    with pytest.raises((ShapeError, OutOfMemoryError)):
        dc.zeros(shape)


def test_sizes_beyond_64_bits() -> None:
    for call in (
        lambda: dc.zeros(2**64),
        lambda: ops.reshape(dc.ones(4), 2**63),
        lambda: ops.broadcast_to(dc.ones(1), (2**70,)),
        lambda: ops.sum(dc.ones((2, 2)), 2**65),
    ):
        with pytest.raises((ArgumentError, TypeError)):
            call()


def test_memory_comes_back() -> None:
    work(0)
    gc.collect()
    before = dc.memory.statistics()["current"]
    for _ in range(20):
        work(0)
    gc.collect()
    assert dc.memory.statistics()["current"] == before
    dc.memory.empty_cache()
    assert dc.memory.statistics()["cached"] == 0
    with pytest.raises(DeviceError, match="device cuda:99: "):
        dc.memory.statistics("cuda:99")
