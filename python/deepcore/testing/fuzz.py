"""Call every operation and every array function with random arguments, right and wrong, and see that it answers.

    python -m deepcore.testing.fuzz --count 20000 --seed 0            all functions, 20,000 calls of each
    python -m deepcore.testing.fuzz --only ops.conv2d --start 731 --count 1 --verbose

A call must return, or raise one of `ALLOWED`; results must have sizes, types and memory that agree. Gradients of what
succeeds are taken now and then. The arguments of a call are a function of the seed, the name of the function and the
index of the call, so that one call can be repeated alone. Calls run in a child process, which may crash or hang: that
is a finding, and the next child goes on after it.

Good arguments come from the cases of `deepcore.testing.cases`, observed while they run; the fuzzer changes some of
them. Where no case leads to a function, arguments are drawn by the types in its signature.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import mmap
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from deepcore import _C
from deepcore.tensor import DTYPES, Tensor
from deepcore.testing.fuzz_targets import ALLOWED, Arguments, Target, differentiate, targets
from deepcore.testing.fuzz_values import Rng, draw, draw_float, draw_int, draw_ndarray, draw_shape

HANG_SECONDS = 120.0


# ---- one call ----
def _changed(rng: Rng, value: Any, kind: str, shape: Sequence[int]) -> Any:
    """A neighbour of a good value, or something else of its kind."""
    if kind in ("units", "hold", "three tensors"):
        return draw(rng, kind, shape)
    if isinstance(value, Tensor):
        return Tensor(_changed(rng, value.array, "array", shape))
    if isinstance(value, _C.Array):
        own = list(value.shape)
        choice = rng.integers(6)
        if choice == 0 or not own:
            return draw(rng, "array", shape)
        axis = int(rng.integers(len(own)))
        if choice == 1:
            own[axis] = max(own[axis] + int(rng.integers(-1, 2)), 0)
        elif choice == 2:
            own[axis] = int(rng.integers(0, 4))
        elif choice == 3:
            own = own[:axis] + own[axis + 1 :] if rng.random() < 0.5 else [*own[:axis], 1, *own[axis:]]
        dtype = value.dtype if choice != 4 or rng.random() < 0.3 else DTYPES[rng.integers(6)]
        return _C.from_numpy(draw_ndarray(rng, own[:8], dtype))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + int(rng.integers(-2, 3)) if rng.random() < 0.5 else draw_int(rng)
    if isinstance(value, float):
        return draw_float(rng)
    if isinstance(value, str):
        return draw(rng, kind if kind in ("device", "dtype") else "str", shape)
    if isinstance(value, (tuple, list)) and value and rng.random() < 0.85:
        items = list(value)
        i = int(rng.integers(len(items)))
        choice = rng.integers(4)
        if choice == 0:
            del items[i]
        elif choice == 1:
            items.insert(i, items[i])
        else:
            items[i] = _changed(rng, items[i], kind.split()[-1] if kind[0].isdigit() else "int", shape)
        return value._make(items) if hasattr(value, "_make") else type(value)(items)
    return draw(rng, kind, shape)


def arguments_of(target: Target, seed: int, index: int) -> tuple[Arguments, Rng]:
    """The arguments of one call, and the generator for what follows."""
    stream = zlib.crc32(target.name.encode())
    rng = np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, 0, index]))
    shape = draw_shape(rng)
    if target.seen and rng.random() < 0.8:
        arguments = dict(target.seen[rng.integers(len(target.seen))])
        for name in rng.permutation(list(arguments))[: rng.choice([0, 1, 2, 3], p=[0.15, 0.45, 0.3, 0.1])]:
            arguments[name] = _changed(rng, arguments[name], target.kinds[name], shape)
        if target.name.startswith("_C."):  # functions that write into arrays must not change the good ones
            arguments = {n: _own(v) for n, v in arguments.items()}
        return arguments, rng
    chosen = [n for n in target.kinds if n not in target.optional or rng.random() < 0.4]
    return {n: draw(rng, target.kinds[n], shape) for n in chosen}, rng


def _own(value: Any) -> Any:
    if isinstance(value, _C.Array):
        return value if value.readonly or not value.is_contiguous else _C.copy(value)
    return type(value)(_own(v) for v in value) if isinstance(value, (tuple, list)) else value


def _check(value: Any) -> None:
    """The parts of a result agree with each other, and its memory can be read."""
    if isinstance(value, (tuple, list)):
        for v in value:
            _check(v)
        return
    if isinstance(value, Tensor):
        value = value.array
    if not isinstance(value, _C.Array):
        return
    shape, strides = value.shape, value.strides
    size = 1
    for n in shape:
        size *= n
    if not (len(shape) == len(strides) == value.ndim and min(shape, default=0) >= 0 and size == value.size):
        raise AssertionError(f"shape {shape}, strides {strides}, ndim {value.ndim}, size {value.size} do not agree")
    if value.dtype not in DTYPES:
        raise AssertionError(f"unknown dtype {value.dtype}")
    if value.size <= 100_000:
        value.numpy().tobytes()


def call(target: Target, seed: int, index: int) -> str:
    """One call: 'returned' or 'refused'; anything else is raised."""
    try:
        arguments, rng = arguments_of(target, seed, index)
    except ALLOWED:  # a list of options can be refused before the function sees it
        return "refused"
    wanted: list[Tensor] = []
    if rng.random() < 0.25 and target.name.startswith("ops."):
        for name, value in arguments.items():
            if isinstance(value, Tensor) and value.dtype.startswith("float"):
                arguments[name] = value.detach().requires_grad_()
                wanted.append(arguments[name])
    else:
        arguments = {n: v.detach() if isinstance(v, Tensor) else v for n, v in arguments.items()}
    try:
        with np.errstate(all="ignore"):
            if target.rest is not None:
                further = arguments.pop(target.rest)
                result = target.function(*arguments.values(), *further)
            else:
                result = target.function(*arguments.values()) if target.positional else target.function(**arguments)
            _check(result)
            if target.shape_rule is not None and isinstance(result, Tensor):
                expected = target.shape_rule(arguments)
                if result.shape != expected:
                    raise AssertionError(f"expected a result of shape {expected}, got {result.shape}")
            if wanted:
                differentiate(result, wanted, order=1 + int(rng.random() < 0.3))
    except target.may_raise:
        return "refused"
    return "returned"


# ---- many calls ----
def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"Tensor[{_describe(value.array)}]"
    if isinstance(value, _C.Array):
        text = f"{value.dtype}{value.shape} strides {value.strides}"
        return text + (f" {value.numpy().tolist()}" if value.size <= 12 else "")
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(_describe, value)) + "]"
    return repr(value) if len(repr(value)) < 200 else repr(value)[:200] + "..."


def _limit_memory() -> None:
    """Let a request for too much memory fail, as on a machine with less (AddressSanitizer has its own limit)."""
    with open("/proc/self/status") as file:
        used = next(int(line.split()[1]) << 10 for line in file if line.startswith("VmSize"))
    if used < 1 << 40:
        resource.setrlimit(resource.RLIMIT_AS, (used + (512 << 20), resource.RLIM_INFINITY))


def _child(
    chosen: list[Target], at: tuple[int, int], first: int, count: int, seed: int, place: mmap.mmap, log: IO[str]
) -> None:
    faulthandler.enable()
    _limit_memory()
    for t in range(at[0], len(chosen)):
        target = chosen[t]
        tally = {"returned": 0, "refused": 0}
        start = at[1] if t == at[0] else first
        for index in range(start, first + count):
            place[:16] = t.to_bytes(8, "little") + index.to_bytes(8, "little")
            try:
                tally[call(target, seed, index)] += 1
            except Exception:
                text = traceback.format_exc(limit=-6)
                log.write(json.dumps({"op": target.name, "index": index, "what": text}) + "\n")
        log.write(json.dumps({"op": target.name, "tally": tally}) + "\n")
        log.flush()


def run(
    count: int, seed: int, *, start: int = 0, only: Sequence[str] = (), verbose: bool = False
) -> tuple[dict[str, dict[str, int]], list[dict[str, Any]]]:
    """`count` calls of each target. Returns how often each returned and refused, and the findings."""
    known = targets()
    chosen = [t for t in known if not only or t.name in only]
    if not chosen or set(only) - {t.name for t in known}:
        raise ValueError(f"fuzz: expected names of functions such as {known[0].name}, got {list(only)}")
    place = mmap.mmap(-1, 16)
    tallies = {t.name: {"returned": 0, "refused": 0} for t in chosen}
    findings: list[dict[str, Any]] = []
    with tempfile.TemporaryFile("w+") as log:
        at = (0, start)
        while at[0] < len(chosen):
            place[:16] = at[0].to_bytes(8, "little") + at[1].to_bytes(8, "little")
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    _child(chosen, at, start, count, seed, place, log)
                    code = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    log.flush()
                    os._exit(code)
            status, hung = _wait(pid, place)
            if status == 0:
                break
            t, index = int.from_bytes(place[:8], "little"), int.from_bytes(place[8:16], "little")
            what = "hung" if hung else f"died with status {status}"
            findings.append({"op": chosen[t].name, "index": index, "what": what})
            at = (t, index + 1) if index + 1 < start + count else (t + 1, start)
        log.seek(0)
        for line in log:
            entry = json.loads(line)
            if "tally" in entry:
                for name, n in entry["tally"].items():
                    tallies[entry["op"]][name] += n
            else:
                findings.append(entry)
    for finding in findings:
        target = next(t for t in chosen if t.name == finding["op"])
        try:
            arguments, _ = arguments_of(target, seed, finding["index"])
            finding["arguments"] = {n: _describe(v) for n, v in arguments.items()}
        except Exception as error:
            finding["arguments"] = {"(making the arguments failed)": repr(error)}
    if verbose:
        for target in chosen:
            for index in range(start, start + min(count, 10)):
                arguments, _ = arguments_of(target, seed, index)
                print(f"{target.name} {index}: " + ", ".join(f"{n}={_describe(v)}" for n, v in arguments.items()))
    return tallies, findings


def _wait(pid: int, place: mmap.mmap) -> tuple[int, bool]:
    """Wait for a child; kill it when it stays at one call for HANG_SECONDS."""
    last, since, pause = place[:16], time.monotonic(), 0.01
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status, False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)
        now = place[:16]
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > HANG_SECONDS:
            os.kill(pid, signal.SIGABRT)  # faulthandler prints where
            return os.waitpid(pid, 0)[1], True


def main(argv: Sequence[str] | None = None) -> int:
    """The command; exit code 1 when there are findings."""
    parser = argparse.ArgumentParser(description="Call every operation with random arguments, right and wrong.")
    parser.add_argument("--count", type=int, default=1000, help="calls of each function (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--start", type=int, default=0, help="index of the first call (default: %(default)s)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="ops.conv2d, _C.conv2d, ...")
    parser.add_argument("--verbose", action="store_true", help="print the arguments of the first ten calls")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args(argv)
    begun = time.monotonic()
    tallies, findings = run(
        options.count, options.seed, start=options.start, only=options.only, verbose=options.verbose
    )
    if options.json:
        print(json.dumps({"tallies": tallies, "findings": findings}))
    else:
        for name, tally in tallies.items():
            print(f"{name:34} returned {tally['returned']:7,}  refused {tally['refused']:7,}")
        for f in findings:
            print(f"\n{f['op']} --seed {options.seed} --start {f['index']}: {f['what']}")
            print("\n".join(f"  {n} = {v}" for n, v in f["arguments"].items()))
        total = sum(sum(t.values()) for t in tallies.values())
        print(
            f"{len(tallies)} functions, {total:,} calls, {len(findings)} findings in {time.monotonic() - begun:.0f} s"
        )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
