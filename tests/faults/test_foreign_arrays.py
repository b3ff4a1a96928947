"""Arrays of numpy, torch and jax: shared without a copy, kept alive, refused by type; pickles and copies of ours."""

from __future__ import annotations

import copy
import gc
import pickle

import numpy as np
import pytest

import deepcore as dc
from deepcore import ops
from deepcore.errors import DtypeError, Error, GradientError, ShapeError


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8", "bool"])
def test_numpy_shares_memory_both_ways(dtype: str) -> None:
    a = np.arange(24).reshape(2, 3, 4).astype(dtype)
    for view in (a, a[:, ::2], a[::-1], a.T, a[0, 0, 0:0], a[1, 2, 3]):
        t = dc.as_tensor(view)
        assert t.dtype == dtype and t.shape == np.shape(view)
        np.testing.assert_array_equal(t.numpy(), view)
    t = dc.as_tensor(a)
    a[0, 0, 0] = 1
    assert t.numpy()[0, 0, 0] == 1
    back = t.numpy()
    assert np.shares_memory(back, a)
    back[1, 2, 3] = 0
    assert a[1, 2, 3] == 0
    assert not np.shares_memory(dc.tensor(a).numpy(), a)


def test_numpy_view_keeps_the_memory_alive() -> None:
    view = dc.full((1000, 100), 3.0).numpy()[10:20]
    gc.collect()
    dc.full((1000, 100), 4.0)
    assert (view == 3.0).all()


def test_read_only_numpy_stays_read_only() -> None:
    a = np.ones(3, np.float32)
    a.flags.writeable = False
    t = dc.as_tensor(a)
    assert np.shares_memory(t.numpy(), a)
    with pytest.raises(ValueError, match="read-only"):
        t.numpy()[0] = 2
    assert (t + 1.0).numpy().flags.writeable


def test_numpy_types_that_deepcore_lacks() -> None:
    for dtype in ("float16", "complex64", "object", "U3", "int8", "uint32", "datetime64[s]"):
        with pytest.raises(DtypeError, match="float32, float64, int32, int64, uint8 or bool"):
            dc.as_tensor(np.zeros(3, dtype))
    swapped = np.arange(3, dtype=">f4")
    assert dc.as_tensor(swapped).tolist() == [0.0, 1.0, 2.0]
    raw = np.zeros(13, np.uint8)
    raw[1:].view("float32")[:] = [1, 2, 3]
    assert dc.as_tensor(raw[1:].view("float32")).tolist() == [1.0, 2.0, 3.0]


def test_buffer_protocol() -> None:
    t = dc.tensor(np.arange(6, dtype=np.float32).reshape(2, 3))
    view = memoryview(t.array)
    assert (view.format, view.shape, view.strides, view.readonly) == ("f", (2, 3), (12, 4), False)
    assert view.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert np.shares_memory(np.asarray(view), t.numpy())
    assert dc.tensor(memoryview(np.arange(3))).tolist() == [0, 1, 2]
    transposed = memoryview(t.T.array)
    assert transposed.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_dlpack_with_numpy() -> None:
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    t = dc.from_dlpack(a)
    assert np.shares_memory(t.numpy(), a)
    back = np.from_dlpack(t)
    assert np.shares_memory(back, a) and back.tolist() == a.tolist()
    x = dc.tensor([1.0], requires_grad=True)
    with pytest.raises(GradientError, match="detach"):
        np.from_dlpack(x)
    with pytest.raises(DtypeError):
        dc.from_dlpack(np.zeros(3, np.float16))
    with pytest.raises(BufferError):
        t.__dlpack__(dl_device=(2, 0))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8", "bool"])
def test_dlpack_with_torch(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.arange(12).reshape(3, 4).to(getattr(torch, dtype))
    for given in (theirs, theirs.T, theirs[:, 1:3], theirs[1]):
        ours = dc.from_dlpack(given)
        assert ours.dtype == dtype and ours.tolist() == given.tolist()
        assert ours.array.pointer == given.data_ptr()
    ours = dc.from_dlpack(theirs)
    theirs[0, 0] = 1
    assert ours.numpy()[0, 0] == 1
    mine = dc.tensor(np.arange(12).reshape(3, 4).astype(dtype))
    for part in (mine, mine.T, mine[:, 1:3]):
        back = torch.from_dlpack(part)
        assert back.data_ptr() == part.array.pointer and back.tolist() == part.tolist()
    back = torch.from_dlpack(mine)
    del mine
    gc.collect()
    dc.full((3, 4), 7.0)
    assert back.tolist() == np.arange(12).reshape(3, 4).astype(dtype).tolist()


def test_dlpack_with_torch_refuses_what_it_cannot_hold() -> None:
    torch = pytest.importorskip("torch")
    for given in (torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.complex64)):
        with pytest.raises(DtypeError, match="from_dlpack"):
            dc.from_dlpack(given)
    with pytest.raises(ShapeError, match="8 axes"):
        dc.from_dlpack(torch.zeros((1,) * 9))


def test_dlpack_with_jax() -> None:
    jnp = pytest.importorskip("jax.numpy")
    theirs = jnp.arange(6, dtype="float32").reshape(2, 3)
    ours = dc.from_dlpack(theirs)
    assert ours.array.pointer == theirs.unsafe_buffer_pointer()
    assert (ours * 2.0).tolist() == [[0, 2, 4], [6, 8, 10]]
    back = jnp.from_dlpack(dc.tensor(np.arange(6, dtype=np.float32)))
    assert back.tolist() == [0, 1, 2, 3, 4, 5]


def test_dlpack_capsule_is_taken_once_or_freed() -> None:
    t = dc.full((100, 100), 1.0)
    current = dc.memory.statistics()["current"]
    t.__dlpack__()  # never taken
    gc.collect()
    capsule = t.__dlpack__()
    taken = dc.from_dlpack(capsule)
    with pytest.raises((ValueError, TypeError, Error)):
        dc.from_dlpack(capsule)
    del taken, capsule
    gc.collect()
    assert dc.memory.statistics()["current"] == current
    for wrong in (3, None, "x"):
        with pytest.raises(TypeError, match="from_dlpack: expected an object with __dlpack__"):
            dc.from_dlpack(wrong)


def test_copying_and_pickling() -> None:
    x = dc.tensor(np.arange(6, dtype=np.float32).reshape(2, 3), requires_grad=True)
    for again in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert again.requires_grad and again.is_leaf and again.tolist() == x.tolist()
        assert not np.shares_memory(again.numpy(), x.numpy())
    assert np.shares_memory(copy.copy(x).numpy(), x.numpy())
    for view in (x.detach().T, x.detach()[:, 1:], ops.broadcast_to(dc.ones(1), (2, 2)), dc.zeros((0, 3))):
        again = pickle.loads(pickle.dumps(view))
        assert again.shape == view.shape and again.tolist() == view.tolist()
    for dtype in ("float64", "int32", "int64", "uint8", "bool"):
        assert pickle.loads(pickle.dumps(dc.ones(2, dtype=dtype))).dtype == dtype
