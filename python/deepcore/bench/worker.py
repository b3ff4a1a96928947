"""One library in a process of its own, driven over pipes by `timing.py`: one JSON object per line each way.

    python -m deepcore.bench.worker LIBRARY THREADS

Requests: {"do": "prepare", "case": KEY, "seed": N}, {"do": "reference", "to": PATH}, {"do": "check", "against": PATH},
{"do": "burst", "seconds": S}, {"do": "peak", "seconds": S}, {"do": "flops", "seconds": S}. Answers: {"ok": true, ...}
or {"error": TEXT}.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepcore.bench.case import Array, Built, Case, difference, families

SHORTEST = 200e-6  # seconds: quicker calls are timed several at once


class Worker:
    """The state between requests: the case that is ready."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        if name == "torch":
            from deepcore.bench.libraries import library

            library("torch").set_num_threads(threads)
        self.cases = {c.key: c for cases in families().values() for c in cases}
        self.case: Case | None = None
        self.arrays: Sequence[Array] = ()
        self.built: Built | None = None
        self.inner = 0  # calls per timing; 0: not known yet

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request asks."""
        do = request["do"]
        if do == "prepare":
            self.built = None
            self.case = self.cases[request["case"]]
            self.arrays = self.case.arrays(np.random.default_rng(request["seed"]))
            build = self.case.builders.get(self.name)
            self.built = None if build is None else build(self.arrays)
            self.inner = 0
            return {"ok": True}
        if do == "version":
            return {"ok": True, "version": self._version()}
        if do == "peak":
            from deepcore.bench.peak import measure

            return {"ok": True, **measure(request["seconds"])}
        if do == "flops":
            from deepcore import _C

            return {"ok": True, "flops": _C.measure_peak_flops(request["seconds"])}
        assert self.case is not None, "prepare comes first"
        if do == "reference":
            wide = [a.astype(np.float64) if a.dtype == np.float32 else a for a in self.arrays]
            np.savez(request["to"], *self.case.reference(*wide))
            return {"ok": True}
        assert self.built is not None, f"{self.name} has no part in {self.case.key}"
        if do == "check":
            return {"ok": True, "difference": self._check(request.get("against"))}
        if do == "burst":
            return {"ok": True, "times": self._burst(request["seconds"])}
        raise ValueError(f"unknown request {do}")

    def _version(self) -> str:
        from importlib.metadata import version

        import deepcore

        if self.name == "deepcore":
            return f"{deepcore.__version__} {deepcore.isa()}"
        return version("scikit-learn" if self.name == "sklearn" else self.name)

    def _check(self, against: str | None) -> str | None:
        assert self.case is not None and self.built is not None
        results: list[Array] = []
        for _ in range(self.case.calls):
            results += [np.array(a) for a in self.built.numpy(self.built.step())]
        if self.case.random:
            try:
                self.case.reference(*self.arrays, *results)
            except AssertionError as error:
                return str(error)
            return None
        assert against is not None
        with np.load(against) as stored:
            return difference(self.case, results, [stored[f"arr_{i}"] for i in range(len(stored.files))])

    def _burst(self, seconds: float) -> list[float]:
        """Seconds per call, one number per timing, after as long a time of calls that are not counted.

        A machine that idled needs some tens of milliseconds to come to speed: threads wake, and a host that shares its
        cores among guests places them anew.
        """
        assert self.built is not None
        step, clock = self.built.step, time.perf_counter
        begin, calls = clock(), 0
        while calls == 0 or clock() - begin < seconds:
            step()
            calls += 1
        if self.inner == 0:
            self.inner = max(1, int(SHORTEST * calls / max(clock() - begin, 1e-8)))
        times: list[float] = []
        end = clock() + seconds
        while not times or clock() < end:
            start = clock()
            for _ in range(self.inner):
                step()
            times.append((clock() - start) / self.inner)
        return times


def main() -> int:
    """Answer requests until the pipe closes."""
    # Whatever a library prints goes to stderr; the answers keep the pipe for themselves.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if Path("/proc/self").exists():
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[: int(sys.argv[2])])
    try:
        worker = Worker(sys.argv[1], int(sys.argv[2]))
    except ImportError as error:
        answers.write(json.dumps({"error": str(error)}) + "\n")
        return 1
    answers.write(json.dumps({"ok": True}) + "\n")
    for line in sys.stdin:
        try:
            reply = worker.answer(json.loads(line))
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(reply) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
