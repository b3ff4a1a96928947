from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from deepcore.data.dataset import ArrayDataset, Batch, SequenceDataset
from deepcore.data.loader import DataLoader, Place
from deepcore.data.prefetch import Prefetch
from deepcore.errors import ArgumentError, CheckpointError, DataError, Error, ShapeError

Make = Callable[[], DataLoader]


def dataset(n: int) -> ArrayDataset:
    return ArrayDataset(np.arange(n), np.arange(2 * n, dtype=np.float32).reshape(n, 2))


def first(loader: DataLoader) -> list[list[int]]:
    return [batch[0].tolist() for batch in loader]


def threads() -> int:
    return sum(thread.name == "deepcore-prefetch" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> object:
    yield
    gc.collect()
    deadline = time.monotonic() + 5
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads() == 0


@pytest.mark.parametrize("prefetch", [0, 1, 3])
@pytest.mark.parametrize(("n", "b"), [(1, 1), (7, 3), (9, 3), (3, 8)])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_sample_once(n: int, b: int, shuffle: bool, prefetch: int) -> None:
    loader = DataLoader(dataset(n), b, shuffle, prefetch=prefetch)
    batches = list(loader)
    assert len(batches) == len(loader) == -(-n // b)
    assert all(len(x) == b for x, _ in batches[:-1])
    seen = np.concatenate([x for x, _ in batches])
    assert sorted(seen) == list(range(n))
    for x, pair in batches:
        np.testing.assert_array_equal(pair, np.stack([2 * x, 2 * x + 1], axis=1))
        assert x.flags.c_contiguous and pair.flags.c_contiguous
    if not shuffle:
        assert seen.tolist() == list(range(n))


def test_order_is_a_function_of_seed_and_epoch() -> None:
    make = lambda seed: DataLoader(dataset(50), 8, True, seed)  # noqa: E731
    a, b, other = make(1), make(1), make(2)
    epochs = [first(a) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert [first(b) for _ in range(3)] == epochs
    assert first(other) != epochs[0]
    assert a.epoch == 3
    assert np.concatenate(epochs[1]).tolist() == a.indices(1).tolist()


def test_drop_last() -> None:
    loader = DataLoader(dataset(10), 4, True, drop_last=True)
    assert [len(batch) for batch in first(loader)] == [4, 4]
    assert len(loader) == 2
    assert [len(batch) for batch in first(DataLoader(dataset(8), 4, drop_last=True))] == [4, 4]


def test_left_early_starts_anew() -> None:
    loader = DataLoader(dataset(20), 4, True)
    whole = first(DataLoader(dataset(20), 4, True))
    assert next(iter(loader))[0].tolist() == whole[0]
    assert first(loader) == whole


def bucketed(n: int, shuffle: bool) -> DataLoader:
    lengths = np.random.default_rng(0).integers(1, 100, n)
    return DataLoader(SequenceDataset([np.full(t, i) for i, t in enumerate(lengths)]), 4, shuffle, 7, bucket_by=lengths)


MAKERS: list[Make] = [
    lambda: DataLoader(dataset(23), 4, True, 5),
    lambda: DataLoader(dataset(23), 4, False, prefetch=0),
    lambda: DataLoader(dataset(23), 4, True, drop_last=True),
    lambda: bucketed(450, True),
]


@pytest.mark.parametrize("make", MAKERS)
def test_resume_yields_exactly_the_rest(make: Make) -> None:
    reference = make()
    size = len(reference)
    whole = [batch[0].tolist() for _ in range(3) for batch in reference]
    for cut in sorted({0, 1, size - 1, size, size + 1, 2 * size}):
        loader, got = make(), []
        state = loader.state_dict()
        while len(got) < cut:
            for batch in loader:
                got.append(batch[0].tolist())
                state = loader.state_dict()  # taken while the batch is in use, as a trainer does
                if len(got) == cut:
                    break
        resumed = make()
        resumed.load_state_dict(json.loads(json.dumps(state)))
        assert (resumed.epoch, resumed.batch) == divmod(cut, size)
        while resumed.epoch < 3:
            got += [batch[0].tolist() for batch in resumed]
        assert got == whole


def test_state_of_another_loader() -> None:
    loader = DataLoader(dataset(10), 4, True, 1)
    for other in (DataLoader(dataset(10), 5, True, 1), DataLoader(dataset(10), 4, True, 2), DataLoader(dataset(9), 4)):
        with pytest.raises(CheckpointError, match=r"expected a state of a loader with"):
            other.load_state_dict(loader.state_dict())
    for bad in ({"batch": 3}, {"batch": -1}, {"epoch": None}, {"epoch": -1}):
        with pytest.raises(CheckpointError, match=r"batch in 0\.\.2"):
            loader.load_state_dict({**loader.state_dict(), **bad})


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("n", [3, 450, 401])
def test_buckets(n: int, shuffle: bool) -> None:
    loader = bucketed(n, shuffle)
    batches = list(loader)
    rows = np.concatenate([padded[:, 0] for padded, _ in batches])
    assert sorted(rows) == list(range(n))
    assert sorted(len(padded) for padded, _ in batches)[1:] == [4] * (len(batches) - 1)
    waste = sum(padded.size - lengths.sum() for padded, lengths in batches) / sum(p.size for p, _ in batches)
    if n > 100:
        assert waste < 0.05
        longest = [padded.shape[1] for padded, _ in batches[:50]]
        assert (longest == sorted(longest)) == (not shuffle)
    assert [batch[0].tolist() for batch in bucketed(n, shuffle)] == [batch[0].tolist() for batch in batches]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_transform_and_its_place(prefetch: int) -> None:
    places: list[Place] = []

    def negate(batch: Batch, place: Place) -> Batch:
        places.append(place)
        return (-batch[0], batch[1][:, ::-1])

    loader = DataLoader(dataset(5), 2, prefetch=prefetch, transform=negate)
    for _ in range(2):
        batches = list(loader)
    assert [(p.epoch, p.batch) for p in places] == [(e, b) for e in range(2) for b in range(3)]
    assert batches[1][0].tolist() == [-2, -3]
    assert places[1].indices.tolist() == [2, 3]
    assert all(array.flags.c_contiguous for batch in batches for array in batch)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_error_reaches_the_consumer_in_its_place(prefetch: int) -> None:
    def fail(batch: Batch, place: Place) -> Batch:
        if place.batch == 2:
            raise DataError("damaged")
        return batch

    got = []
    with pytest.raises(DataError, match="damaged"):
        for batch in DataLoader(dataset(10), 2, prefetch=prefetch, transform=fail):
            got.append(batch[0].tolist())
    assert got == [[0, 1], [2, 3]]


def test_prefetch_is_bounded_and_ends_when_dropped() -> None:
    made = []

    def make() -> object:
        for i in range(1000):
            made.append(i)
            yield i

    items = Prefetch(make, 3)  # type: ignore[arg-type]
    assert next(items) == 0
    time.sleep(0.1)
    assert len(made) <= 1 + 3 + 1
    thread = items.thread
    del items
    thread.join(5)
    assert not thread.is_alive()


def test_loop_left_by_an_error() -> None:
    with pytest.raises(KeyError):
        for _ in DataLoader(dataset(1000), 1):
            raise KeyError
    # the fixture sees whether the thread is gone


def test_close_twice_and_use_after() -> None:
    items = Prefetch(lambda: iter(range(5)), 1)
    items.close()
    items.close()
    assert list(items) == []


def test_interpreter_exit_with_a_live_iterator() -> None:
    script = (
        "import itertools\nfrom deepcore.data.prefetch import Prefetch\n"
        "items = Prefetch(lambda: itertools.count(), 2)\nnext(items)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


def test_fork_is_refused() -> None:
    script = (
        "import itertools, os\nfrom deepcore.data.prefetch import Prefetch\n"
        "items = Prefetch(lambda: itertools.count(), 2)\nnext(items)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    try:\n        next(items)\n"
        "    except Exception as error:\n        os._exit(7 if 'got a fork' in str(error) else 1)\n"
        "    os._exit(0)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    assert hasattr(os, "fork") and issubclass(Error, Exception)
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", script], timeout=30, check=False).returncode == 7


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: DataLoader(dataset(3), 0), ArgumentError, "got 0, 2"),
        (lambda: DataLoader(dataset(3), 1, prefetch=-1), ArgumentError, "got 1, -1"),
        (lambda: DataLoader(dataset(3), 4, drop_last=True), ArgumentError, "<= 3 samples"),
        (lambda: DataLoader(dataset(3), 1, bucket_by=[1, 2]), ShapeError, r"shape \(3,\), got \(2,\)"),
        (lambda: Prefetch(lambda: iter(()), 0), ArgumentError, "got 0"),
        (lambda: list(DataLoader(dataset(3), 1, transform=lambda b, p: list(b))), DataError, "got list"),  # type: ignore
    ],
)
def test_arguments(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_empty() -> None:
    class Empty:
        def __len__(self) -> int:
            return 0

        def __getitem__(self, indices: object) -> Batch:
            raise AssertionError

    with pytest.raises(DataError, match="empty data set"):
        DataLoader(Empty(), 1)
