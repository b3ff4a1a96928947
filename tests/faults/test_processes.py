"""Forks and threads: no lock is left behind, no bit changes."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest

import deepcore as dc
from deepcore.errors import ArgumentError
from tests.faults.work import work


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
