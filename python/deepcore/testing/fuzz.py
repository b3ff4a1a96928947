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
import inspect
import json
import mmap
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

import deepcore as dc
from deepcore import _C, ops, random
from deepcore.autograd import grad
from deepcore.errors import Error
from deepcore.tensor import DTYPES, Tensor
from deepcore.testing.case import all_cases
from deepcore.testing.fuzz_values import Rng, draw, draw_float, draw_int, draw_ndarray, draw_shape

ALLOWED = (Error, TypeError, ValueError, IndexError, BufferError)  # BufferError is what DLPack asks for
HANG_SECONDS = 120.0

# Not called with random arguments: they measure for seconds, or change the state that all later calls share.
# cuda_properties needs a device, from_cuda_pointer an address that someone vouches for.
SKIPPED = {"cuda_properties", "from_cuda_pointer", "let_stream_wait", "measure_peak_flops", "measure_read_bandwidth",
           "select_isa", "set_num_threads", "wait_for_stream"}  # fmt: skip

Arguments = dict[str, Any]


# ---- what is called ----
@dataclass
class Target:
    """One function: how to call it, the kinds of its arguments, good arguments seen in the cases."""

    name: str
    function: Callable[..., Any]
    kinds: dict[str, str]
    optional: set[str] = field(default_factory=set)
    positional: bool = False  # names of parameters are not those of the function
    rest: str | None = None  # the parameter that takes all further arguments (*shape)
    seen: list[Arguments] = field(default_factory=list)
    shape_rule: Callable[[Arguments], tuple[int, ...]] | None = None
    may_raise: tuple[type[Exception], ...] = ALLOWED


def _kind_of(annotation: str) -> str:
    """The kind of a parameter from its annotation in deepcore.ops or from pybind11's text."""
    a = annotation.replace("deepcore._C.", "").replace("collections.abc.", "").replace("typing.", "")
    a = a.replace("SupportsInt | SupportsIndex", "int").replace("SupportsFloat | SupportsIndex", "float").strip()
    optional = " | None" in a
    a = a.replace(" | None", "")
    table = {
        "Tensor": "tensor", "ArrayLike": "tensor", "Array": "array", "int": "int", "float": "float", "bool": "bool",
        "str": "str", "Sequence[int]": "ints", "int | Sequence[int]": "int or ints", "Window": "int or ints",
        "int | str | Sequence[int]": "int or ints", "Axes": "int or ints?", "DTypeLike": "dtype", "object": "dtype",
        "Any": "index", "Key": "seed", "tuple[int, int, int]": "seed", "tuple[int, int]": "ints",
        "Sequence[Tensor]": "list tensor", "Sequence[Array]": "list array",
        "Sequence[Sequence[Array]]": "list list array",
        "Sequence[tuple[int, int]]": "pairs", "float | Sequence[float]": "float", "PoolOptions": "options",
        "StepOptions": "step", "Units": "units", "tuple[int, int, int, int, int, bool]": "unit codes", "Hold": "hold",
        "Sequence[float]": "floats", "tuple[Tensor, Tensor, Tensor]": "three tensors",
        "numpy.ndarray": "ndarray", "float | Tensor": "float",
    }  # fmt: skip
    kind = table[a]
    return kind + "?" if optional and not kind.endswith("?") else kind


def _signature_target(name: str, function: Callable[..., Any], **kinds: str) -> Target:
    found: dict[str, str] = {}
    optional, rest = set(), None
    for p in inspect.signature(function).parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            found[p.name], rest = "ints", p.name
            continue
        kind = "device" if p.name == "device" else None
        found[p.name] = kinds.get(p.name, kind) or _kind_of(str(p.annotation))
        if p.default is not p.empty:
            optional.add(p.name)
    return Target(name, function, found, optional, rest=rest)


_PARAMETER = re.compile(r"(\w+): (.+?)(?: = [^,]+)?(?=, \w+: |$)")


def _binding_target(name: str, function: Callable[..., Any]) -> Target:
    text = (function.__doc__ or "").splitlines()[0]
    inside = text[text.index("(") + 1 : text.rindex(") -> ")]
    kinds = {match[1]: _kind_of(match[2]) for match in _PARAMETER.finditer(inside)}
    kinds = {n: "device" if k == "str" else k for n, k in kinds.items()}
    if name == "from_dlpack":
        kinds = {n: "object" for n in kinds}
    return Target("_C." + name, function, kinds, positional=True)


def _broadcast(*names: str) -> Callable[[Arguments], tuple[int, ...]]:
    return lambda arguments: np.broadcast_shapes(*(np.shape(arguments[n]) for n in names))


def _reduced(arguments: Arguments) -> tuple[int, ...]:
    axis, keep = arguments.get("axis"), bool(arguments.get("keepdims", False))
    empty = np.broadcast_to(np.bool_(False), arguments["x"].shape)
    return np.shape(np.any(empty, axis=axis if axis is None or isinstance(axis, int) else tuple(axis), keepdims=keep))


_UNARY = ("absolute", "ceil", "clamp", "cos", "elu", "erf", "exp", "expm1", "floor", "gelu", "hard_sigmoid",
          "isfinite", "leaky_relu", "log", "log1p", "log_softmax", "negative", "reciprocal", "relu", "round", "rsqrt",
          "sigmoid", "sign", "silu", "sin", "softmax", "softplus", "softsign", "sqrt", "square", "step", "tanh",
          "astype", "contiguous", "cumsum", "flip", "layer_norm", "instance_norm", "group_norm", "batch_norm",
          "dropout")  # fmt: skip
_BINARY = ("add", "divide", "equal", "greater", "greater_equal", "less", "less_equal", "maximum", "minimum",
           "multiply", "not_equal", "power", "subtract")  # fmt: skip
_REDUCTIONS = ("sum", "mean", "var", "max", "min", "prod", "norm", "logsumexp")


def targets() -> list[Target]:
    """Every public operation, constructor, random source and array function, with good arguments from the cases."""
    found = []
    for name in ops.__all__:
        target = _signature_target("ops." + name, getattr(ops, name), **({"key": "index"} if name == "getitem" else {}))
        if name in _UNARY:
            target.shape_rule = _broadcast("x")
        elif name in _BINARY:
            target.shape_rule = _broadcast("a", "b")
        elif name in _REDUCTIONS:
            target.shape_rule = _reduced
        elif name == "where":
            target.shape_rule = _broadcast("condition", "a", "b")
        found.append(target)
    for name, kinds in {
        "zeros": {"shape": "int or ints"}, "ones": {"shape": "int or ints"}, "full": {"shape": "int or ints"},
        "arange": {"start": "int", "stop": "int?", "step": "int", "dtype": "dtype?"},
        "tensor": {"data": "ndarray", "dtype": "dtype?"}, "as_tensor": {"data": "object", "dtype": "dtype?"},
        "from_dlpack": {"data": "object"},
    }.items():  # fmt: skip
        found.append(_signature_target("tensor." + name, getattr(dc, name), **kinds))
    for name in ("uniform", "normal", "bernoulli", "bits", "permutation"):
        found.append(_signature_target("random." + name, getattr(random, name)))
    for name in ("item", "numpy", "__float__", "__int__", "__bool__", "__len__", "__repr__", "__dlpack__", "tolist"):
        found.append(Target("Tensor." + name, getattr(Tensor, name), {"self": "tensor"}))
        if name == "__int__":
            found[-1].may_raise = (*ALLOWED, OverflowError)  # int(inf), as everywhere in Python
    for name in sorted(dir(_C)):
        function = getattr(_C, name)
        text = getattr(function, "__doc__", None) or ""
        if inspect.isclass(function) or not callable(function) or name in SKIPPED or f"{name}(" not in text:
            continue
        found.append(_binding_target(name, function))
    _observe({t.name: t for t in found})
    return found


# ---- good arguments ----
def _small(value: Any) -> bool:
    if isinstance(value, (Tensor, _C.Array)):
        return value.size <= 600
    return not isinstance(value, (list, tuple)) or all(map(_small, value))


@contextmanager
def _recorded_bindings(by_name: dict[str, Target], limit: int) -> Iterator[None]:
    """Inside, calls of _C.f(...) by other modules leave their arguments in the targets."""
    originals: dict[str, Any] = {}

    def wrap(target: Target, original: Callable[..., Any]) -> Callable[..., Any]:
        names = list(target.kinds)

        def call(*args: Any) -> Any:
            if len(target.seen) < limit and len(args) == len(names) and all(map(_small, args)):
                target.seen.append(dict(zip(names, args, strict=True)))
            return original(*args)

        return call

    for name, target in by_name.items():
        if name.startswith("_C."):
            originals[name[3:]] = target.function
            setattr(_C, name[3:], wrap(target, target.function))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(_C, name, original)


def _observe(by_name: dict[str, Target], limit: int = 12) -> None:
    """Run the cases and their gradients, and note the arguments of every function on the way."""
    by_code: dict[Any, Target] = {}
    for name in ops.__all__:
        code = getattr(ops, name).__code__
        # One code object made several functions (exp, log, ...): these are drawn by type.
        by_code[code] = by_name["ops." + name] if code not in by_code else by_code[code]
    shared = {c for c in by_code if sum(getattr(ops, n).__code__ is c for n in ops.__all__) > 1}

    def watch(frame: Any, event: str, argument: Any) -> None:
        if event != "call" or frame.f_code in shared or frame.f_code not in by_code:
            return
        target, values = by_code[frame.f_code], frame.f_locals
        if len(target.seen) < limit and set(target.kinds) <= set(values):
            arguments = {n: values[n] for n in target.kinds}
            if all(map(_small, arguments.values())):
                target.seen.append(arguments)

    met: dict[str, int] = {}
    with _recorded_bindings(by_name, limit):
        for case in all_cases():
            family = case.name.split("/")[0]
            met[family] = met.get(family, 0) + 1
            arrays = case.inputs("float32")
            if met[family] > 12 or sum(a.size for a in arrays) > 2000:
                continue
            inputs = [dc.tensor(a) for a in arrays]
            wanted = [inputs[i] for i in case.differentiable()]
            for x in wanted:
                x.requires_grad_()
            sys.setprofile(watch)
            try:
                for order in (1, 2):  # gradient kernels, then the references of fused operations
                    _differentiate(case.function(*inputs), wanted, order)
            finally:
                sys.setprofile(None)
        sys.setprofile(watch)
        try:
            _augment_once()
        finally:
            sys.setprofile(None)


def _augment_once() -> None:
    """Good arguments of the one operation that has no case: its results are random."""
    images = random.uniform((3, 5, 6, 2), seed=0)
    options: dict[str, Any] = {"flip": 0.5, "rotate": 0.3, "scale": 0.1, "shear": 0.1, "cut": 2, "fill": 0.5}
    ops.augment(images, key=(1, 2, 0), shift=(1, 2), size=4, **options)
    rows = dc.tensor([2, 0, 1, 1])
    ops.augment(ops.astype(images * 255.0, "uint8"), rows, key=(1, 3, 0), ids=dc.tensor([7, 8, 9, 10]), **options)


def _differentiate(result: Any, wanted: Sequence[Tensor], order: int) -> None:
    for level in range(order):
        outputs = [r for r in (result if isinstance(result, (list, tuple)) else [result])
                   if isinstance(r, Tensor) and r.requires_grad and r.size <= 100_000]  # fmt: skip
        if not outputs or not wanted:
            return
        seeds = [Tensor(_C.full(r.shape, 1.0, r.dtype, "cpu")) for r in outputs]
        found = grad(outputs, list(wanted), seeds, create_graph=level + 1 < order, allow_unused=True)
        for g, x in zip(found, wanted, strict=True):
            if g is not None and g.shape != x.shape:
                raise AssertionError(f"a gradient of shape {g.shape} for an argument of shape {x.shape}")
        result = [g for g in found if g is not None]


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
            items[i] = _changed(rng, items[i], "int", shape)
        return type(value)(items)
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
                _differentiate(result, wanted, order=1 + int(rng.random() < 0.3))
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
