"""What goes wrong around a program: forks, threads, memory, files, foreign arrays: no crash, typed errors."""

from __future__ import annotations

import copy
import gc
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import _C, nn, ops
from deepcore.errors import (
    ArgumentError,
    CheckpointError,
    DeviceError,
    DtypeError,
    Error,
    GradientError,
    OutOfMemoryError,
    ShapeError,
)
from deepcore.train import load_checkpoint, save_checkpoint


def work(seed: int) -> bytes:
    """Bytes that depend on a product, a convolution, a pooling, a reduction and their gradients."""
    rng = np.random.default_rng(seed)
    x = dc.tensor(rng.standard_normal((4, 12, 12, 3)), dtype="float32", requires_grad=True)
    w = dc.tensor(rng.standard_normal((8, 3, 3, 3)), dtype="float32", requires_grad=True)
    v = dc.tensor(rng.standard_normal((8 * 25, 70)), dtype="float32", requires_grad=True)
    y = ops.relu(ops.max_pool2d(ops.conv2d(x, w), 2)).reshape(4, -1)
    loss = ops.softmax_cross_entropy(y @ v, dc.tensor(rng.integers(0, 70, 4)))
    return b"".join(t.numpy().tobytes() for t in (loss, *dc.grad(loss, [x, w, v])))


# ---- processes and threads ----
def test_fork_after_use() -> None:
    expected = work(0)
    for _ in range(3):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 0 if work(0) == expected else 3
                os.write(writer, b"done")
            finally:
                os._exit(code)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            said = file.read()
        assert os.waitpid(pid, 0)[1] == 0 and said == b"done"
        assert work(0) == expected


def test_fork_while_threads_compute() -> None:
    expected = work(1)
    stop = threading.Event()
    threads = [threading.Thread(target=lambda: [work(2) for _ in iter(stop.is_set, True)]) for _ in range(2)]
    for t in threads:
        t.start()
    try:
        for _ in range(10):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    signal.alarm(60)  # a lock that nobody holds any more would be waited for for ever
                    code = 0 if work(1) == expected else 3
                finally:
                    os._exit(code)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        stop.set()
        for t in threads:
            t.join()


def test_many_threads_at_once_give_the_same_bits() -> None:
    expected = [work(seed) for seed in range(8)]
    found: dict[tuple[int, int], bytes] = {}
    barrier = threading.Barrier(8)

    def run(seed: int) -> None:
        barrier.wait()
        for i in range(4):
            found[seed, i] = work(seed)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == {(seed, i): expected[seed] for seed in range(8) for i in range(4)}


def test_number_of_threads_changes_while_others_compute() -> None:
    before, expected = dc.get_num_threads(), work(3)
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.extend(work(3) for _ in range(6))) for _ in range(3)]
    try:
        for t in threads:
            t.start()
        counts = iter(range(10**6))
        while any(t.is_alive() for t in threads):
            dc.set_num_threads(1 + next(counts) % 4)
            time.sleep(0.0005)
    finally:
        for t in threads:
            t.join()
        dc.set_num_threads(before)
    assert len(found) == 18 and set(found) == {expected}


def test_recording_is_per_thread() -> None:
    x = dc.tensor([2.0], requires_grad=True)
    seen: list[bool] = []
    with dc.no_grad():
        t = threading.Thread(target=lambda: seen.append((x * x).requires_grad))
        t.start()
        t.join()
        assert not (x * x).requires_grad
    assert seen == [True]


@pytest.mark.parametrize("count", [0, -1, 1025, 2**40, True, 2.5, "2"])
def test_number_of_threads_is_checked(count: Any) -> None:
    before = dc.get_num_threads()
    with pytest.raises((ArgumentError, TypeError)):
        dc.set_num_threads(count)
    assert dc.get_num_threads() == before


# ---- memory ----
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


# ---- files of estimators ----
@pytest.fixture(scope="module")
def classifier() -> dc.MLPClassifier:
    x = np.random.default_rng(0).standard_normal((60, 4))
    fitted: dc.MLPClassifier = dc.MLPClassifier((6,), epochs=3, random_state=0).fit(x, x[:, 0] > 0)
    return fitted


@pytest.fixture(scope="module")
def images() -> dc.ImageClassifier:
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    fitted: dc.ImageClassifier = dc.ImageClassifier(epochs=1, random_state=0).fit(x, np.arange(40) % 3)
    return fitted


def test_save_where_nothing_can_be_written(
    classifier: dc.MLPClassifier, images: dc.ImageClassifier, tmp_path: Path
) -> None:
    for path in (tmp_path / "none" / "m", tmp_path, Path("/proc/self/m")):
        with pytest.raises(OSError) as caught:
            classifier.save(path)
        assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []
    pytest.importorskip("matplotlib")
    x = np.zeros((6, 8, 8), np.uint8)
    with pytest.raises(OSError) as caught:
        images.report(tmp_path / "none" / "r.html", x, np.arange(6) % 3)
    assert str(tmp_path / "none" / "r.html") in str(caught.value)


FULL_DISK = """
import resource, signal, sys
import numpy as np
import deepcore as dc
model, what, path = dc.ImageClassifier.load(sys.argv[1]), sys.argv[2], sys.argv[3]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
if what == "report":
    import matplotlib.pyplot  # its cache of fonts is written before the disk is full
    model.report(path + ".first", np.zeros((6, 8, 8), np.uint8), np.arange(6) % 3)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    model.save(path) if what == "save" else model.report(path, np.zeros((6, 8, 8), np.uint8), np.arange(6) % 3)
except OSError as error:
    print(error.errno, error.filename)
"""


@pytest.mark.parametrize("what", ["save", "report"])
def test_full_disk(what: str, images: dc.ImageClassifier, tmp_path: Path) -> None:
    if what == "report":
        pytest.importorskip("matplotlib")
    model, path = tmp_path / "m", tmp_path / "to" / "file"
    images.save(model)
    path.parent.mkdir()
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(model), what, str(path)], capture_output=True, text=True
    )
    assert done.stdout.split() == ["27", str(path)], done.stderr  # EFBIG
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir() if not p.name.endswith(".first")] == ["file"]


def test_kill_while_saving_an_estimator(classifier: dc.MLPClassifier, tmp_path: Path) -> None:
    """After each of 100 kills the file loads and predicts as one of the two estimators that were being saved."""
    x = np.random.default_rng(1).standard_normal((50, 4))
    other = dc.MLPClassifier((200, 200), epochs=1, random_state=1).fit(x, x[:, 1] > 0)
    answers = {e.predict_proba(x).tobytes() for e in (classifier, other)}
    assert len(answers) == 2
    path = tmp_path / "m"
    classifier.save(path)
    chance = random.Random(0)
    seen = set()
    for _ in range(100):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(writer, b"x")
                while True:
                    other.save(path)
                    classifier.save(path)
            finally:
                os._exit(1)
        os.read(reader, 1)
        time.sleep(chance.uniform(0, 0.01))
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        os.close(reader)
        os.close(writer)
        seen.add(dc.MLPClassifier.load(path).predict_proba(x).tobytes())
    assert seen <= answers and seen


def test_every_truncation_of_a_model_is_refused(classifier: dc.MLPClassifier, tmp_path: Path) -> None:
    path = tmp_path / "m"
    classifier.save(path)
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError):
            dc.MLPClassifier.load(path)


def _tampered(arrays: dict[str, Any], meta: dict[str, Any], change: str) -> None:
    weight = next(n for n in arrays if n.startswith("model.") and arrays[n].ndim == 2)
    if change == "class":
        meta["class"] = "ImageClassifier"
    elif change == "kind":
        meta["kind"] = "something else"
    elif change == "option":
        meta["params"]["layers"] = 7
    elif change == "hidden":
        meta["params"]["hidden_layer_sizes" if "hidden_layer_sizes" in meta["params"] else "hidden"] = [5]
    elif change == "activation":
        meta["params"]["activation"] = "explode"
    elif change == "missing weight":
        del arrays[weight]
    elif change == "unknown weight":
        arrays["model.more"] = np.zeros(3, np.float32)
    elif change == "shape":
        arrays[weight] = arrays[weight].T.copy()
    elif change == "no history":
        del meta["history"]
    elif change == "params":
        meta["params"] = [1, 2]
    else:
        meta["classes"] = {"a": 1}


@pytest.mark.parametrize(
    "change",
    ["class", "kind", "option", "hidden", "activation", "missing weight", "unknown weight", "shape", "no history",
     "params", "classes"],
)  # fmt: skip
def test_tampered_model(change: str, classifier: dc.MLPClassifier, tmp_path: Path) -> None:
    path = tmp_path / "m"
    classifier.save(path)
    arrays, meta = load_checkpoint(path)
    _tampered(arrays, meta, change)
    save_checkpoint(path, arrays, meta)
    with pytest.raises(CheckpointError, match=str(path)):
        dc.MLPClassifier.load(path)


def test_foreign_model_files(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "safetensors")
    (tmp_path / "pickle").write_bytes(pickle.dumps({"w": 1}))
    (tmp_path / "zip").write_bytes(b"PK\3\4" + bytes(200))
    for name in ("safetensors", "pickle", "zip"):
        with pytest.raises(CheckpointError, match=name):
            dc.MLPClassifier.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        dc.MLPClassifier.load(tmp_path / "none")


# ---- data of estimators ----
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


# ---- arrays of others ----
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


# ---- copies ----
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


def test_estimators_pickle_and_copy(classifier: dc.MLPClassifier) -> None:
    x = np.random.default_rng(0).standard_normal((9, 4))
    for again in (pickle.loads(pickle.dumps(classifier)), copy.deepcopy(classifier)):
        assert again.predict_proba(x).tobytes() == classifier.predict_proba(x).tobytes()
        assert json.dumps(again.history_) == json.dumps(classifier.history_)
