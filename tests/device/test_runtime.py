"""Memory, streams and moves of a CUDA device."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import deepcore as dc
from deepcore import ops
from deepcore.errors import ArgumentError, DeviceError
from tests.device.emulated import device_module, emulated, two_devices


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (3, 0, 2), (33, 65)])
def test_there_and_back(shape: tuple[int, ...], dtype: str) -> None:
    a = (np.random.default_rng(0).standard_normal(shape) * 50).astype(dtype)
    x = dc.tensor(a).cuda()
    assert x.device == "cuda:0" and x.shape == shape and x.dtype == dtype
    np.testing.assert_array_equal(x.numpy(), a)
    np.testing.assert_array_equal(x.cpu().numpy(), a)
    assert x.cuda() is x


def test_large_copies_go_in_pieces() -> None:
    a = np.arange(5_000_000, dtype=np.int32)
    x = dc.tensor(a).cuda()
    a[:] = 0  # the copy has read its source
    np.testing.assert_array_equal(x.numpy(), np.arange(5_000_000, dtype=np.int32))


def test_creation_on_the_device() -> None:
    assert dc.ones((2, 3), device="cuda").sum().item() == 6
    assert dc.arange(5, device="cuda").tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(
        dc.random.uniform(100, seed=3, device="cuda").numpy(), dc.random.uniform(100, seed=3).numpy()
    )


def test_two_places_in_one_operation() -> None:
    x = dc.ones(3)
    for call in (lambda: x + x.cuda(), lambda: ops.matmul(dc.ones((2, 2)).cuda(), dc.ones((2, 2))),
                 lambda: ops.concatenate([x, x.cuda()]), lambda: ops.take(x.cuda(), dc.tensor([0]))):  # fmt: skip
        with pytest.raises(DeviceError, match=r"expected one device, got c\w+(:0)? and c\w+"):
            call()


def test_index_of_a_device_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match=rf"expected an index in \[0, {dc.cuda.device_count()}\)"):
        dc.ones(3).to("cuda:99")


@two_devices
def test_from_device_to_device() -> None:
    x = dc.arange(1000, device="cuda:0") * 2
    y = x.to("cuda:1")
    assert y.device == "cuda:1"
    np.testing.assert_array_equal((y + 1).numpy(), np.arange(1000) * 2 + 1)
    with pytest.raises(DeviceError, match="cuda:0 and cuda:1"):
        x + y


def test_gradients_cross_a_move() -> None:
    x = dc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = ops.sum(ops.square(x.cuda()))
    (g,) = dc.grad(y, [x])
    assert g.device == "cpu" and g.tolist() == [2.0, 4.0, 6.0]


def test_pickles_keep_the_device() -> None:
    x = pickle.loads(pickle.dumps(dc.tensor([1.0, 2.0]).cuda()))
    assert x.device == "cuda:0" and x.tolist() == [1.0, 2.0]


def test_an_index_out_of_range_is_raised_when_results_are_read() -> None:
    x, index = dc.arange(4, dtype="float32").cuda(), dc.tensor([0, 3, 9, 7])
    y = ops.take(x, index.cuda())
    with pytest.raises(ArgumentError, match=r"take: expected indices in \[-4, 4\), got 9 at 2"):
        y.numpy()
    with pytest.raises(ArgumentError, match=r"got 9 at 2"):
        ops.take(x.cpu(), index)
    dc.cuda.synchronize()  # told once
    np.testing.assert_array_equal((x + 1).numpy(), [1, 2, 3, 4])
    ops.softmax_cross_entropy(dc.zeros((2, 3), device="cuda"), dc.tensor([0, 3]).cuda())
    with pytest.raises(ArgumentError, match="expected labels"):
        dc.cuda.synchronize()


def test_statistics_of_memory() -> None:
    dc.cuda.synchronize()
    before = dc.cuda.memory_stats()["current"]
    x = dc.ones(10000, device="cuda")
    assert dc.cuda.memory_stats()["current"] - before >= 40000
    del x
    assert dc.cuda.memory_stats()["current"] == before
    dc.cuda.empty_cache()
    assert dc.cuda.memory_stats()["cached"] == 0


@emulated
def test_work_waits_for_someone_who_needs_it() -> None:
    module = device_module()
    dc.cuda.synchronize()
    x = dc.ones(10, device="cuda")
    before = module.launches()
    y = x + x
    assert module.launches() == before
    assert y.tolist() == [2.0] * 10
    assert module.launches() > before


def test_precision_of_products_is_a_choice() -> None:
    before = dc.cuda.float32_precision()
    assert before == {"matmul": "accurate", "conv": "accurate"}
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((256, 512), (512, 256)))
    exact = a.astype(np.float64) @ b
    errors = {}
    try:
        for name in ("strict", "accurate", "high", "tf32"):
            dc.cuda.set_float32_precision(matmul=name)
            assert dc.cuda.float32_precision() == {"matmul": name, "conv": "accurate"}
            errors[name] = np.abs((dc.tensor(a).cuda() @ dc.tensor(b).cuda()).numpy() - exact).max()
        with pytest.raises(ArgumentError, match=r"expected conv in .* got 'fp8'"):
            dc.cuda.set_float32_precision("strict", "fp8")
        assert dc.cuda.float32_precision()["matmul"] == "tf32"
    finally:
        dc.cuda.set_float32_precision(**before)
    assert errors["accurate"] < 4 * errors["strict"] < errors["tf32"] and errors["high"] < errors["tf32"] / 10
