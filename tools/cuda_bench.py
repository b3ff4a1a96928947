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
import functools
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import conformance_report
import numpy as np

import deepcore as dc
from deepcore import ops, optim
from deepcore.bench.families import training
from deepcore.bench.shapes import CONVOLUTIONS, Conv
from deepcore.graph import CapturedStep
from deepcore.nn.module import Parameter
from deepcore.ops import inplace

Array = np.ndarray[Any, Any]
Step = Callable[[int], Sequence[Any]]  # call number i
Timed = dict[str, tuple[Step, Callable[[], Any]]]  # a step, and how to wait for it
ROTATED = 64 << 20  # bytes of operands that calls go round over
ROUNDS = 7
MOST_CALLS = 1000


@dataclass(frozen=True)
class Bench:
    """One row: how each library makes its step, given the device or torch, and how many copies of the operands."""

    group: str
    name: str
    size: int  # bytes of the operands
    ours: Callable[[str, int], Step]
    torch: Callable[[Any, int], Step] | None
    flops: float = 0
    bytes: float = 0  # moved at least, where memory is the bound
    tolerance: float = 1e-4  # of the largest element
    precision: str = "accurate"
    checks: int = 1  # calls whose results are compared


def _arrays(shapes: Sequence[tuple[int, ...]], scale: float = 1) -> list[Array]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal(s, np.float32) * np.float32(scale if i == 1 else 1) for i, s in enumerate(shapes)]


def _torch_tensor(torch: Any, a: Array) -> Any:
    """On the card; images and filters (four axes) as channels_last views of the same layout."""
    t = torch.from_numpy(a).cuda()
    return t.permute(0, 3, 1, 2) if a.ndim == 4 else t


def function(
    group: str, name: str, arrays: Callable[[], list[Array]], ours: Callable[..., Any],
    theirs: Callable[[Any], Callable[..., Any]], *, size: int, grads: Sequence[int] = (), scalar: bool = False,
    **more: Any,
) -> Bench:  # fmt: skip
    """A row of a function of arrays. With `grads` the gradients for those operands are computed as well, and the last
    array is the gradient of the result, unless that is a scalar."""

    def split(values: list[Any]) -> tuple[list[Any], Any]:
        return (values[:-1], values[-1]) if grads and not scalar else (values, None)

    def of_ours(device: str, copies: int) -> Step:
        sets = []
        for _ in range(copies):
            operands, g = split([dc.tensor(a).to(device) for a in arrays()])
            for k in grads:
                operands[k].requires_grad_()
            sets.append((operands, g, [operands[k] for k in grads]))

        def step(i: int) -> Sequence[Any]:
            operands, g, wanted = sets[i % copies]
            if not grads:
                with dc.no_grad():
                    return (ours(*operands),)
            y = ours(*operands)
            return (y, *(dc.grad(y, wanted) if g is None else dc.grad(y, wanted, g)))

        return step

    def of_torch(torch: Any, copies: int) -> Step:
        f = theirs(torch)
        sets = []
        for _ in range(copies):
            operands, g = split([_torch_tensor(torch, a) for a in arrays()])
            for k in grads:
                operands[k].requires_grad_()
            sets.append((operands, g, [operands[k] for k in grads]))

        def step(i: int) -> Sequence[Any]:
            operands, g, wanted = sets[i % copies]
            if not grads:
                with torch.no_grad():
                    return (f(*operands),)
            y = f(*operands)
            return (y, *torch.autograd.grad(y, wanted, g))

        return step

    return Bench(group, name, size, of_ours, of_torch, **more)


# ---- rows ----
def products(tiny: bool) -> Iterator[Bench]:
    """Square products in the three precisions."""
    for n in (96,) if tiny else (512, 1024, 2048, 4096):
        for precision in ("strict", "accurate", "tf32"):
            yield function(
                "Matrix products", f"{n}³ {precision}", functools.partial(_arrays, [(n, n), (n, n)]), ops.matmul,
                lambda torch: torch.matmul, size=8 * n * n, flops=2.0 * n**3, precision=precision,
                tolerance=2e-3 if precision == "tf32" else 2e-5,
            )  # fmt: skip


def _torch_conv(s: Conv, torch: Any) -> Callable[..., Any]:
    return functools.partial(torch.nn.functional.conv2d, stride=s.stride, padding=s.padding)


def convolutions(tiny: bool) -> Iterator[Bench]:
    """The shapes of deepcore.bench, forward and with both gradients."""
    shapes = {"5x5": Conv(1, 6, 6, 2, 3, 5, 1, 2)} if tiny else CONVOLUTIONS
    for name, s in shapes.items():
        p, q = s.out
        all_shapes = [(s.n, s.h, s.w, s.c), (s.k, s.r, s.r, s.c), (s.n, p, q, s.k)]
        scale = (s.r * s.r * s.c) ** -0.5
        for backward in (False, True):
            used = all_shapes if backward else all_shapes[:2]
            yield function(
                "Convolutions", f"{name} {'with gradients' if backward else 'forward'}",
                functools.partial(_arrays, used, scale),
                functools.partial(ops.conv2d, stride=s.stride, padding=s.padding),
                functools.partial(_torch_conv, s),
                size=4 * sum(int(np.prod(shape)) for shape in used), grads=(0, 1) if backward else (),
                flops=2.0 * s.n * p * q * s.k * s.r * s.r * s.c * (3 if backward else 1),
            )  # fmt: skip


def memory_bound(tiny: bool) -> Iterator[Bench]:
    """What reads and writes more than it computes; `bytes` count each operand and result once."""
    images = (2, 4, 4, 8) if tiny else (64, 56, 56, 64)
    rows = (4, 10) if tiny else (1024, 1000)
    plane = (8, 16) if tiny else (4096, 4096)
    image, logits, elements = (4.0 * np.prod(s) for s in (images, rows, plane))
    halved = (images[0], images[1] // 2, images[2] // 2, images[3])
    channels = images[3:]

    def row(name: str, shapes: list[tuple[int, ...]], ours: Any, theirs: Any, moved: float, **more: Any) -> Bench:
        size = 4 * sum(int(np.prod(s)) for s in shapes)
        return function("Memory", name, lambda: _arrays(shapes), ours, theirs, size=size, bytes=moved, **more)

    yield row("add", [plane, plane], ops.add, lambda t: t.add, 3 * elements)
    yield row("exp", [plane], ops.exp, lambda t: t.exp, 2 * elements)
    yield row("sum of all", [plane], ops.sum, lambda t: t.sum, elements, tolerance=1e-3)
    yield row(
        "sum of rows", [plane], lambda x: ops.sum(x, axis=1), lambda t: lambda x: x.sum(1), elements, tolerance=1e-3
    )
    yield row(
        "max pool 2x2 with gradient", [images, halved], lambda x: ops.max_pool2d(x, 2),
        lambda t: lambda x: t.nn.functional.max_pool2d(x, 2), 2.5 * image, grads=(0,),
    )  # fmt: skip
    yield row(
        "average pool 2x2 with gradient", [images, halved], lambda x: ops.avg_pool2d(x, 2),
        lambda t: lambda x: t.nn.functional.avg_pool2d(x, 2), 2.5 * image, grads=(0,),
    )  # fmt: skip
    yield row(
        "batch norm with gradients", [images, channels, channels, images], ops.batch_norm,
        lambda t: lambda x, a, b: t.nn.functional.batch_norm(x, None, None, a, b, True), 5 * image, grads=(0, 1, 2),
        tolerance=1e-3,
    )  # fmt: skip
    yield row(
        "layer norm with gradients", [plane, plane[1:], plane[1:], plane], ops.layer_norm,
        lambda t: lambda x, a, b: t.nn.functional.layer_norm(x, a.shape, a, b), 5 * elements, grads=(0, 1, 2),
        tolerance=1e-3,
    )  # fmt: skip
    yield row(
        "dropout with gradient", [plane, plane], lambda x: ops.dropout(x, 0.5, (1, 2, 3)),
        lambda t: lambda x: t.nn.functional.dropout(x, 0.5), 4 * elements, grads=(0,),
    )  # fmt: skip
    labels = np.random.default_rng(1).integers(0, rows[1], rows[0])
    yield function(
        "Memory", "softmax cross-entropy with gradient", lambda: [*_arrays([rows]), labels],
        ops.softmax_cross_entropy, lambda t: t.nn.functional.cross_entropy, size=int(logits), bytes=2 * logits,
        grads=(0,), scalar=True,
    )  # fmt: skip


def adam(tiny: bool) -> Bench:
    """One step over ten million parameters: weights, gradients and two moments."""
    n = 1000 if tiny else 10_000_000

    def ours(device: str, copies: int) -> Step:
        w, g = _arrays([(n,), (n,)])
        p = Parameter(dc.tensor(w).to(device))
        p.grad = dc.tensor(g).to(device)
        optimizer = optim.Adam([p])

        def step(i: int) -> Sequence[Any]:
            optimizer.step()
            return (p,)

        return step

    def theirs(torch: Any, copies: int) -> Step:
        w, g = (torch.from_numpy(a).cuda() for a in _arrays([(n,), (n,)]))
        p = torch.nn.Parameter(w)
        p.grad = g
        optimizer = torch.optim.Adam([p], fused=True)

        def step(i: int) -> Sequence[Any]:
            optimizer.step()
            return (p.detach(),)

        return step

    return Bench("Training", f"Adam, {n:,} parameters", ROTATED, ours, theirs, bytes=28.0 * n, checks=2)


def step_of(kind: str, captured: bool, tiny: bool) -> Bench:
    """Forward, loss, backward and SGD; the losses of three steps are compared."""
    arrays = getattr(training, f"{kind}_arrays")(np.random.default_rng(1))
    if tiny:
        arrays[0], arrays[1] = arrays[0][:2], arrays[1][:2]

    def ours(device: str, copies: int) -> Step:
        net = training.ours_net(kind, arrays[2:]).to(device)
        optimizer = optim.SGD(net.parameters(), training.RATE)
        x, labels = (dc.tensor(a).to(device) for a in arrays[:2])

        def plain(data: dc.Tensor, target: dc.Tensor) -> dc.Tensor:
            optimizer.zero_grad()
            loss = ops.softmax_cross_entropy(net(data), target)
            loss.backward()
            optimizer.step()
            return loss

        step: Callable[..., Any] = plain
        if captured and device != "cpu":
            step = CapturedStep(plain, optimizer, net, device=device)
        return lambda i: (step(x, labels),)

    def theirs(torch: Any, copies: int) -> Step:
        net = training.torch_net(kind, arrays[2:]).cuda()
        x, labels = (torch.from_numpy(a).cuda() for a in arrays[:2])
        if x.ndim == 4:
            net = net.to(memory_format=torch.channels_last)
            x = x.permute(0, 3, 1, 2)
        optimizer = torch.optim.SGD(net.parameters(), training.RATE)

        def step(i: int) -> Sequence[Any]:
            optimizer.zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(net(x), labels)
            loss.backward()
            optimizer.step()
            return (loss.detach(),)

        return step

    name = f"{'LeNet' if kind == 'lenet' else 'MLP'} step, batch {len(arrays[0])}{', captured' if captured else ''}"
    return Bench("Training", name, ROTATED, ours, theirs, tolerance=1e-3, checks=3)


def rows_of(tiny: bool) -> list[Bench]:
    """All rows."""
    kinds = ("mlp",) if tiny else ("mlp", "lenet")
    steps = [step_of(kind, captured, tiny) for kind in kinds for captured in (False, True)]
    return [*products(tiny), *convolutions(tiny), *memory_bound(tiny), adam(tiny), *steps]


# ---- measuring ----
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
