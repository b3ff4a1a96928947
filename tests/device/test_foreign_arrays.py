"""Device memory shared with other libraries: where it lies, and on which streams its values are ready."""

from __future__ import annotations

import gc
import os
import weakref
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import ops
from deepcore.errors import ArgumentError, DeviceError, DtypeError
from tests.device.emulated import device_module, emulated, two_devices


class Foreign:
    """An array of another library, described by the CUDA array interface."""

    def __init__(self, x: dc.Tensor, **changes: Any) -> None:
        self.memory = x
        self.__cuda_array_interface__ = {**x.__cuda_array_interface__, **changes}


def test_memory_is_shared() -> None:
    x = dc.arange(6, device="cuda").reshape(2, 3)
    for y in (dc.from_dlpack(x), dc.from_dlpack(Foreign(x)), dc.from_dlpack(Foreign(x, strides=None))):
        assert y.device == "cuda:0" and y.array.pointer == x.array.pointer and y.tolist() == x.tolist()
    assert x.__dlpack_device__() == (2, 0)
    part = dc.from_dlpack(Foreign(x[:, 1:]))
    assert part.tolist() == [[1, 2], [4, 5]]
    for version in (2, 3):
        facts = {k: v for k, v in x.__cuda_array_interface__.items() if k != "stream"}
        foreign = Foreign(x, version=version)
        foreign.__cuda_array_interface__ = {**facts, "version": version}
        assert dc.from_dlpack(foreign).tolist() == x.tolist()


def test_read_only_memory_stays_so() -> None:
    x = dc.ones(3, device="cuda")
    facts = x.__cuda_array_interface__
    assert dc.from_dlpack(Foreign(x, data=(facts["data"][0], True))).array.readonly
    assert not dc.from_dlpack(Foreign(x)).array.readonly


@two_devices
def test_the_device_is_that_of_the_memory() -> None:
    base = dc.arange(100, device="cuda:1")
    for x in (base, base[37:]):
        y = dc.from_dlpack(Foreign(x))
        assert y.device == "cuda:1" and (y + 1).tolist() == (x + 1).tolist()
        assert dc.from_dlpack(x).device == "cuda:1" and x.__dlpack_device__() == (2, 1)


def test_memory_of_the_host_is_refused() -> None:
    x, host = dc.ones(3, device="cuda"), np.ones(3, np.float32)
    for pointer in (host.ctypes.data, 0):
        with pytest.raises(DeviceError, match="expected memory of a CUDA device"):
            dc.from_dlpack(Foreign(x, data=(pointer, False)))


def test_no_elements_need_no_memory() -> None:
    y = dc.from_dlpack(Foreign(dc.zeros((0, 3), device="cuda"), data=(0, False)))
    assert y.shape == (0, 3) and y.device == "cuda:0" and y.tolist() == []


def test_what_cannot_be_taken() -> None:
    x = dc.ones((2, 3), device="cuda")
    with pytest.raises(DtypeError, match="mask"):
        dc.from_dlpack(Foreign(x, mask=x))
    with pytest.raises(DtypeError, match="whole elements"):
        dc.from_dlpack(Foreign(x, strides=(12, 2)))
    with pytest.raises(DtypeError, match="float16"):
        dc.from_dlpack(Foreign(x, typestr="<f2", strides=(6, 2)))


@pytest.mark.parametrize("stream", [0, -1, -7, 1.0, "1", True])
def test_streams_that_are_none(stream: Any) -> None:
    x = dc.ones(3, device="cuda")
    with pytest.raises(ArgumentError, match=r"from_dlpack: expected a stream of 1 \(legacy\)"):
        dc.from_dlpack(Foreign(x, stream=stream))
    if stream != -1:  # DLPack: no wait
        with pytest.raises(ArgumentError, match=r"__dlpack__: expected a stream of 1 \(legacy\)"):
            x.__dlpack__(stream=stream)


@pytest.mark.parametrize("stream", [None, 1, 2])
def test_streams_with_a_number_of_their_own(stream: Any) -> None:
    x = dc.arange(5, device="cuda") + 1
    assert dc.from_dlpack(Foreign(x, stream=stream)).tolist() == [1, 2, 3, 4, 5]
    assert dc.from_dlpack(x.__dlpack__(stream=stream)).tolist() == [1, 2, 3, 4, 5]


@emulated
@pytest.mark.parametrize("special", [0, 1, 2])
def test_work_waits_for_the_stream_of_the_producer(special: int) -> None:
    """The producer's copy runs no sooner than someone waits for it."""
    module = device_module()
    stream = special or module.make_stream(0)
    values = np.arange(1000, dtype=np.float32)

    def produced() -> dc.Tensor:
        x = dc.zeros(1000, device="cuda")
        dc.cuda.synchronize()
        module.queue_copy(stream, x.array.pointer, values.ctypes.data, values.nbytes)
        return x

    y = dc.from_dlpack(Foreign(produced(), stream=stream))
    np.testing.assert_array_equal((y + 1.0).numpy(), values + 1)
    if os.environ.get("DEEPCORE_EMULATE_ASYNC") != "early":  # where copies act at once
        x = produced()  # lives until its producer is done
        unready = dc.from_dlpack(Foreign(x)) + 1.0  # nothing but the entry makes it wait
        assert unready.sum().item() == 1000
        module.finish_stream(stream)

    class Producer:
        """With DLPack it is the producer that makes the consumer's stream wait."""

        def __init__(self) -> None:
            self.asked: list[int] = []

        def __dlpack_device__(self) -> tuple[int, int]:
            return (2, 0)

        def __dlpack__(self, *, stream: int, max_version: Any = None) -> Any:
            self.asked.append(stream)
            return dc.ones(3, device="cuda").__dlpack__(stream=stream, max_version=max_version)

    producer = Producer()
    assert dc.from_dlpack(producer).tolist() == [1, 1, 1]
    assert len(producer.asked) == 1 and producer.asked[0] > 2


@emulated
@pytest.mark.parametrize("special", [0, 1, 2])
def test_the_stream_of_a_consumer_waits_for_the_values(special: int) -> None:
    module = device_module()
    stream = special or module.make_stream(0)
    x = dc.ones(1000, device="cuda")
    for given, factor, waits in ((stream, 2.0, True), (-1, 3.0, False)):
        dc.cuda.synchronize()
        before = module.launches()
        y = x * factor
        capsule = y.__dlpack__(stream=given)
        assert module.launches() == before  # the host does not wait
        seen = np.zeros(1000, np.float32)
        if waits:
            module.queue_copy(stream, seen.ctypes.data, y.array.pointer, seen.nbytes)
        module.finish_stream(stream)
        assert (module.launches() > before) == waits
        assert not waits or (seen == factor).all()
        del capsule


@emulated
def test_arrays_neither_come_nor_go_while_a_step_is_recorded() -> None:
    x = dc.ones(3, device="cuda")
    foreign = Foreign(x, stream=device_module().make_stream(0))
    for step in (lambda: dc.from_dlpack(foreign) + 1.0, lambda: dc.from_dlpack(x) + 1.0):
        captured = dc.CapturedStep(step)
        captured()
        if step.__code__.co_freevars == ("x",):
            assert isinstance(captured(), dc.Tensor)  # on the stream that is recorded: nothing to wait for
            continue
        with pytest.raises(DeviceError, match="expected no arrays to come or go while a step is recorded"):
            captured()


@emulated
def test_the_owner_gets_its_memory_back_after_the_last_use() -> None:
    module = device_module()
    for make in (Foreign, lambda x: x.__dlpack__(stream=-1)):
        owner = make(dc.ones(1000, device="cuda"))
        freed: list[int] = []
        y = dc.from_dlpack(owner)
        if isinstance(owner, Foreign):
            weakref.finalize(owner, lambda: freed.append(module.launches()))  # noqa: B023
        del owner
        before = module.launches()
        z = ops.exp(y)
        assert module.launches() == before
        del y
        gc.collect()
        assert module.launches() > before
        assert not freed or freed[0] > before
        np.testing.assert_allclose(z.numpy(), np.e, rtol=1e-6)
