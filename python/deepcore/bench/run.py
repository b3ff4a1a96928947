"""The command: measure families of kernels, print the table, write JSON."""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deepcore
from deepcore import _C
from deepcore.bench import compare, memory
from deepcore.bench.case import LIBRARIES, Case, families
from deepcore.bench.peak import shortest_time
from deepcore.bench.table import Table, three
from deepcore.bench.timing import Outcome, Process, measure, start
from deepcore.errors import ArgumentError, Error

PEERS = tuple(name for name in LIBRARIES if name not in ("deepcore", "numpy"))


def parser_for(program: str) -> argparse.ArgumentParser:
    """The options of `bench`."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Check every kernel against numpy, then time it in alternation with other libraries.",
        epilog=f"examples: {program} conv pool --peers torch,jax    {program} 'gemm/1024*' --threads 1 --json gemm.json"
               f"    {program} compare a.json b.json",
    )  # fmt: skip
    parser.add_argument(
        "families", nargs="*", metavar="FAMILY",
        help="families or cases to run, as in --list; patterns like 'conv/lenet*' work; default: all",
    )  # fmt: skip
    parser.add_argument("--peers", default="", metavar="LIST", help=f"libraries to compare with: {','.join(PEERS)}")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="write results to FILE, or to stdout")
    parser.add_argument("--threads", type=int, metavar="N", help="threads for every library; default: all cores")
    parser.add_argument("--isa", choices=_C.supported_isas().split(), help="instruction set of deepcore's kernels")
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="bursts per library and case; default 9")
    parser.add_argument("--seconds", type=float, default=0.06, metavar="S", help="length of a burst; default 0.06")
    parser.add_argument("--list", action="store_true", help="list families and cases")
    return parser


def select(patterns: list[str]) -> dict[str, list[Case]]:
    """The cases that the patterns name; all for none. ArgumentError for a pattern that names nothing."""
    known = families()
    known_memory = patterns == [] or "memory" in patterns
    if not patterns:
        return known
    chosen: dict[str, list[Case]] = {}
    used = {"memory"} if known_memory else set()
    for family, cases in known.items():
        for case in cases:
            hits = [p for p in patterns if p == family or fnmatch.fnmatchcase(case.key, p)]
            if hits:
                chosen.setdefault(family, []).append(case)
                used.update(hits)
    unknown = [p for p in patterns if p not in used]
    if unknown:
        raise ArgumentError(f"bench: expected families {[*known, 'memory']} or cases, got {unknown}")
    return chosen


def machine(threads: int, workers: dict[str, Process]) -> dict[str, Any]:
    """What the figures depend on."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        processor = names[0] if names else processor
    versions = {name: worker.ask(do="version")["version"] for name, worker in workers.items()}
    peak = workers["deepcore"].ask(do="peak", seconds=0.3)
    return {
        "processor": processor, "cores": len(os.sched_getaffinity(0)), "threads": threads,
        "isa": versions["deepcore"].split()[-1], "python": platform.python_version(), "system": platform.platform(),
        "versions": versions, "peak": {"flops": peak["flops"], "read": peak["read"]},
    }  # fmt: skip


def result_of(case: Case, outcome: Outcome, peak: dict[str, Any]) -> dict[str, Any]:
    """A case's figures as a plain dict: seconds, rate, share of the peak, ratios, verdict."""
    result: dict[str, Any] = {"family": case.family, "name": case.name, "flops": case.flops, "bytes": case.bytes}
    if outcome.problems:
        result["problems"] = outcome.problems
    result["times"] = {n: {"seconds": t.median, "spread": t.spread} for n, t in outcome.times.items()}
    if case.target is not None:
        result["target"] = case.target.text()
    ours = outcome.times.get("deepcore")
    if ours is None:
        result["ok"] = False
        return result
    result["seconds"], result["spread"] = ours.median, ours.spread
    if outcome.flops:
        peak = {**peak, "flops": statistics.median(outcome.flops)}
    arithmetic = case.flops and shortest_time(peak, case.flops, 0) >= shortest_time(peak, 0, case.bytes)
    if arithmetic:
        result["rate"] = f"{three(case.flops / ours.median / 1e9)} GFLOP/s"
    elif case.bytes:
        result["rate"] = f"{three(case.bytes / ours.median / 1e9)} GB/s"
    if case.flops or case.bytes:
        result["peak"] = shortest_time(peak, case.flops, case.bytes) / ours.median
    result["ratios"] = {n: t.median / ours.median for n, t in outcome.times.items() if n != "deepcore"}
    contenders = (*PEERS, "numpy") if case.numpy_counts else PEERS
    peers = [r for n, r in result["ratios"].items() if n in contenders]
    if peers:
        result["best"] = min(peers)
    if case.target is not None:
        kind, value = case.target
        if kind == "seconds":
            result["ok"] = ours.median <= value
        elif kind == "peak":
            result["ok"] = result["peak"] >= value
        elif peers:
            result["ok"] = result["best"] >= value
    return result


def memory_result(net: str, peers: list[str], threads: int, isa: str | None) -> dict[str, Any]:
    """Peak memory of training one of `memory.NETS`, as a result."""
    found = memory.measure(net, [n for n in memory.LIBRARIES if n == "deepcore" or n in peers], threads, isa)
    result: dict[str, Any] = {"family": "memory", "name": memory.NETS[net], "bytes": found, "target": "<= torch"}
    if "torch" in found:
        result["ok"] = found["deepcore"] <= found["torch"]
    return result


def _list(write: Callable[[str], Any]) -> None:
    for family, cases in families().items():
        write(family)
        for case in cases:
            write(f"  {case.key}" + (f"  [{case.target.text()}]" if case.target else ""))
    write("memory")
    for title in memory.NETS.values():
        write(f"  memory/{title}  [<= torch]")


def main(argv: list[str], program: str = "deepcore bench") -> int:
    """Run the command; exit code 0, 1 when a result was wrong or not measured, 2 for wrong usage."""
    if argv[:1] == ["compare"]:
        try:
            return compare.main(argv[1:], program)
        except (Error, OSError) as error:
            print(error, file=sys.stderr)
            return 2
    options = parser_for(program).parse_args(argv)
    if options.list:
        _list(print)
        return 0
    threads = options.threads or len(os.sched_getaffinity(0))
    peers = [p for p in options.peers.split(",") if p]
    try:
        if threads < 1 or options.rounds < 1 or not options.seconds > 0:
            raise ArgumentError("bench: expected --threads, --rounds and --seconds above 0")
        strangers = [p for p in peers if p not in PEERS]
        if strangers:
            raise ArgumentError(f"bench: expected peers from {','.join(PEERS)}, got {','.join(strangers)}")
        chosen = select(options.families)
    except Error as error:
        print(error, file=sys.stderr)
        return 2
    with_memory = not options.families or "memory" in options.families
    return _run(chosen, with_memory, peers, threads, options)


def _run(
    chosen: dict[str, list[Case]], with_memory: bool, peers: list[str], threads: int, options: argparse.Namespace
) -> int:
    # with the JSON on stdout, the table goes to stderr
    stream = sys.stderr if options.json == "-" else sys.stdout

    def write(text: str) -> None:
        print(text, file=stream, flush=True)

    workers, missing = start(["deepcore", "numpy", *peers], threads, options.isa)
    results: list[dict[str, Any]] = []
    try:
        for name, why in missing.items():
            write(f"without {name}: {why}")
        if "deepcore" not in workers or "numpy" not in workers:
            return 1
        facts = machine(threads, workers)
        table = Table([n for n in workers if n != "deepcore"], write)
        table.head(facts)
        for family, cases in chosen.items():
            table.family(family)
            for case in cases:
                outcome = measure(case, workers, rounds=options.rounds, seconds=options.seconds)
                results.append(result_of(case, outcome, facts["peak"]))
                table.row(results[-1])
    finally:
        for worker in workers.values():
            worker.close()
    if with_memory:
        table.family("memory")
        for net, title in memory.NETS.items():
            try:
                results.append(memory_result(net, [p for p in peers if p not in missing], threads, options.isa))
            except subprocess.CalledProcessError as error:
                write(f"memory: {error.stderr.strip().splitlines()[-1]}")
                results.append({"family": "memory", "name": title, "ok": False, "problems": {}})
            else:
                table.memory(results[-1])
    _summary(results, write)
    document = {"deepcore": deepcore.__version__, "machine": facts, "results": results}
    if options.json == "-":
        print(json.dumps(document))
    elif options.json is not None:
        Path(options.json).write_text(json.dumps(document, indent=1) + "\n")
    failed = any("deepcore" in r.get("problems", {}) for r in results) or bool(missing)
    return 1 if failed else 0


def _summary(results: list[dict[str, Any]], write: Callable[[str], Any]) -> None:
    judged = [r for r in results if r.get("ok") is not None]
    if judged:
        write(f"\n{sum(r['ok'] for r in judged)} of {len(judged)} targets met")
