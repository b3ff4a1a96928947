"""Workers, one process per library, and the alternating bursts that compare them."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepcore.bench.case import Case
from deepcore.errors import Error

PAUSE = 0.02  # seconds for the threads of the library before to fall asleep
# OpenBLAS threads spin for 2^n cycles after each product; the default outlasts any pause and slows whoever comes next.
OPENBLAS_SPIN = "24"  # 5 ms
PATIENCE = 600.0  # seconds for one answer


class WorkerError(Error):
    """A library's process failed or gave up on a case."""


class Process:
    """The process of one library."""

    def __init__(self, name: str, threads: int, isa: str | None) -> None:
        self.name = name
        environment = dict(os.environ)
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "DEEPCORE_NUM_THREADS"):
            environment[variable] = str(threads)
        environment["JAX_PLATFORMS"] = "cpu"
        environment.setdefault("OPENBLAS_THREAD_TIMEOUT", OPENBLAS_SPIN)
        package = Path(__file__).resolve().parents[2]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(package), environment.get("PYTHONPATH"))))
        if isa is not None:
            environment["DEEPCORE_ISA"] = isa
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed with the process
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "deepcore.bench.worker", name, str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment,
        )  # fmt: skip
        try:
            self._receive()
        except BaseException:
            self.close()
            raise

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request, wait for the answer. WorkerError when the library could not do it."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(f"{self.name}: the process has ended{self._last_words()}") from None
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(PATIENCE):
                self.process.kill()
                raise WorkerError(f"{self.name}: no answer within {PATIENCE:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(f"{self.name}: the process has ended{self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.name}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        self.log.seek(0)
        lines = self.log.read().strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    def close(self) -> None:
        """End the process."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.log.close()


@dataclass
class Times:
    """Timings of one library on one case."""

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds per call."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, relative to the median."""
        if len(self.seconds) < 4:
            return (max(self.seconds) - min(self.seconds)) / 2 / self.median
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return (high - low) / 2 / self.median


@dataclass
class Outcome:
    """What was measured for one case: timings per library, and what went wrong instead."""

    times: dict[str, Times] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    flops: list[float] = field(default_factory=list)  # this machine's peak, once per round


def measure(case: Case, workers: dict[str, Process], *, rounds: int, seconds: float, seed: int = 1) -> Outcome:
    """Check every library against the numpy reference, then time those that agree, in turns.

    Where the work is arithmetic, the machine's peak takes its turn too: shared machines change speed by the minute.
    """
    outcome = Outcome()
    able = [name for name in workers if name in case.builders]
    with tempfile.TemporaryDirectory() as folder:
        against = str(Path(folder) / "reference.npz")
        # numpy makes the reference, also of cases for which nobody would take its time.
        asked = [name for name in workers if name in able or name == "numpy"]
        for name in sorted(asked, key=lambda n: n != "numpy"):
            try:
                workers[name].ask(do="prepare", case=case.key, seed=seed)
                if name == "numpy":
                    if not case.random:
                        workers[name].ask(do="reference", to=against)
                    continue
                wrong = workers[name].ask(do="check", against=against)["difference"]
                if wrong:
                    outcome.problems[name] = f"wrong result: {wrong}"
            except WorkerError as error:
                outcome.problems[name] = str(error)
    right = [name for name in able if name not in outcome.problems]
    slow: set[str] = set()
    for _ in range(rounds):
        for name in right:
            if name in slow or name in outcome.problems:
                continue
            time.sleep(PAUSE)
            try:
                if name == "deepcore" and case.flops:
                    outcome.flops.append(workers[name].ask(do="flops", seconds=seconds)["flops"])
                burst = workers[name].ask(do="burst", seconds=seconds)["times"]
            except WorkerError as error:
                outcome.problems[name] = str(error)
                continue
            times = outcome.times.setdefault(name, Times())
            times.seconds += burst
            # The slow reference need not be as exact as the others.
            if name == "numpy" and times.median > 5 * seconds:
                slow.add(name)
    return outcome


def start(names: Iterable[str], threads: int, isa: str | None) -> tuple[dict[str, Process], dict[str, str]]:
    """Processes of the libraries that can be imported, and why others cannot."""
    workers: dict[str, Process] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            workers[name] = Process(name, threads, isa if name == "deepcore" else None)
        except WorkerError as error:
            missing[name] = str(error)
    return workers, missing
