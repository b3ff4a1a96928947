"""Times of deepcore on a CUDA device beside torch's (cuBLAS, cuDNN), or alone where torch has no CUDA.

    python tools/cuda_bench.py [PATTERN ...] [--json FILE] [--limit SECONDS] [--burst 0.02] [--tiny]

Each result is first compared with deepcore's on the CPU. Calls go round over copies of their operands, more than 60 MB
of them, so that no cache of the card holds the next one. A time is the median of bursts, each between two
synchronisations and divided by its calls; deepcore and torch take turns. --tiny is for the emulated device.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import conformance_report
import numpy as np
from cuda_bench_rows import ROTATED, Bench, Step, rows_of

import deepcore as dc
from deepcore.ops import inplace

Timed = dict[str, tuple[Step, Callable[[], Any]]]  # a step, and how to wait for it
ROUNDS = 7
MOST_CALLS = 1000


def difference(bench: Bench, ours: Step) -> str:
    """Where a result is not the CPU's; an empty text where all agree."""
    cpu = bench.ours("cpu", 1)
    for _ in range(bench.checks):
        expected = [t.numpy().copy() for t in cpu(0)]
        actual = [t.numpy().copy() for t in ours(0)]
        for k, (a, e) in enumerate(zip(actual, expected, strict=True)):
            error = np.abs(a - e).max(initial=0.0) / max(float(np.abs(e).max(initial=0.0)), 1e-30)
            if not error <= bench.tolerance:
                return f"result {k} differs from the CPU's by {error:.2g} of its largest element"
    return ""


def burst(step: Step, wait: Callable[[], Any], calls: int, first: int) -> float:
    """Seconds per call."""
    wait()
    start = time.perf_counter()
    for i in range(first, first + calls):
        step(i)
    wait()
    return (time.perf_counter() - start) / calls


def times(steps: Timed, seconds: float, copies: int) -> dict[str, list[float]]:
    """Bursts of each library, in turns."""
    calls = {}
    for name, (step, wait) in steps.items():
        for _ in range(2):  # a captured step records at its second call
            burst(step, wait, copies if seconds else 1, 0)
        once = burst(step, wait, 3 if seconds else 1, 0)
        calls[name] = max(1, min(MOST_CALLS, int(seconds / once)))
    found: dict[str, list[float]] = {name: [] for name in steps}
    for k in range(ROUNDS if seconds else 1):
        for name, (step, wait) in steps.items():
            found[name].append(burst(step, wait, calls[name], k * calls[name]))
    return found


def find_torch() -> tuple[Any, str]:
    """The module torch, or why it cannot be used."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return None, "torch is not installed"
    return (torch, "") if torch.cuda.is_available() else (None, "this torch has no CUDA device")


def measure(bench: Bench, torch: Any, seconds: float) -> dict[str, Any]:
    """A row of the report."""
    copies = max(1, min(64, -(-ROTATED // bench.size))) if seconds else 1
    row: dict[str, Any] = {"group": bench.group, "name": bench.name, "flops": bench.flops, "bytes": bench.bytes}
    module = importlib.import_module("deepcore._cuda_emulated" if dc.cuda.is_emulated() else "deepcore._cuda")
    before = module.float32_precision()
    module.set_float32_precision(matmul=bench.precision, conv=bench.precision)
    try:
        row["problem"] = difference(bench, bench.ours("cuda", 1))
        if row["problem"]:
            return row
        steps: Timed = {"ours": (bench.ours("cuda", copies), dc.cuda.synchronize)}
        if torch is not None and bench.torch is not None:
            tf32 = bench.precision == "tf32"
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
            torch.backends.cudnn.benchmark = True
            steps["torch"] = (bench.torch(torch, copies), torch.cuda.synchronize)
        for name, found in times(steps, seconds, copies).items():
            row[name] = statistics.median(found)
            row[f"{name}_bursts"] = found
    finally:
        module.set_float32_precision(*before)
        with contextlib.suppress(dc.Error):
            dc.cuda.empty_cache()
        if torch is not None:
            torch.cuda.empty_cache()
    return row


def copy_bandwidth(tiny: bool, seconds: float) -> float:
    """Bytes per second of a copy on the device, read and written."""
    n = 1 << (10 if tiny else 26)
    x = dc.zeros((n,)).to("cuda")
    found = times({"copy": (lambda i: (inplace.duplicate(x),), dc.cuda.synchronize)}, seconds, 1)
    return 8 * n / statistics.median(found["copy"])


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="rows whose 'group/name' match, as 'conv*'")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--limit", type=float, default=float("inf"), help="seconds after which no row is begun")
    parser.add_argument("--burst", type=float, default=0.02, help="seconds of each burst")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, one call: for the emulated device")
    options = parser.parse_args()
    if not dc.cuda.is_available():
        raise SystemExit(f"cuda_bench: {dc.cuda.reason()}")
    if dc.cuda.is_emulated():
        print("cuda_bench: EMULATED DEVICE. These times say nothing about any GPU.", file=sys.stderr)
    deadline = time.monotonic() + options.limit
    seconds = 0.0 if options.tiny else options.burst
    torch, reason = (None, "tiny sizes") if options.tiny else find_torch()
    report: dict[str, Any] = {
        "torch": torch.__version__ if torch is not None else None, "torch_reason": reason, "tiny": options.tiny,
        "rows": [], "left_out": [],
        "device": dc.cuda.properties(), "copy": copy_bandwidth(options.tiny, seconds),
    }  # fmt: skip
    for bench in rows_of(options.tiny):
        name = f"{bench.group}/{bench.name}"
        if options.patterns and not any(fnmatch.fnmatch(name.lower(), p.lower()) for p in options.patterns):
            continue
        if time.monotonic() > deadline:
            report["left_out"].append(bench.name)
            continue
        try:
            row = measure(bench, torch, seconds)
        except Exception as error:  # the other rows go on
            row = {"group": bench.group, "name": bench.name, "problem": f"{type(error).__name__}: {error}"}
        report["rows"].append(row)
        if options.json:
            options.json.write_text(json.dumps(report, indent=1) + "\n")
        print(conformance_report.line(row, report), flush=True)
    return 1 if any(row.get("problem") for row in report["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main())
