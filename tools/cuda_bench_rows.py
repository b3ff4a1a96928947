"""The rows of cuda_bench: what deepcore and torch are asked to do."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import deepcore as dc
from deepcore import ops, optim
from deepcore.bench.families import training
from deepcore.bench.shapes import CONVOLUTIONS, Conv
from deepcore.graph import CapturedStep
from deepcore.nn.module import Parameter

Array = np.ndarray[Any, Any]
Step = Callable[[int], Sequence[Any]]  # call number i
ROTATED = 64 << 20  # bytes of operands that calls go round over


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

    def operands(make: Callable[[Array], Any], copies: int) -> list[tuple[list[Any], Any, list[Any]]]:
        """Per copy: operands, the gradient of the result or None, the operands to differentiate for."""
        sets = []
        for _ in range(copies):
            values = [make(a) for a in arrays()]
            g = values.pop() if grads and not scalar else None
            for k in grads:
                values[k].requires_grad_()
            sets.append((values, g, [values[k] for k in grads]))
        return sets

    def of_ours(device: str, copies: int) -> Step:
        sets = operands(lambda a: dc.tensor(a).to(device), copies)

        def step(i: int) -> Sequence[Any]:
            values, g, wanted = sets[i % copies]
            if not grads:
                with dc.no_grad():
                    return (ours(*values),)
            y = ours(*values)
            return (y, *(dc.grad(y, wanted) if g is None else dc.grad(y, wanted, g)))

        return step

    def of_torch(torch: Any, copies: int) -> Step:
        f = theirs(torch)
        sets = operands(lambda a: _torch_tensor(torch, a), copies)

        def step(i: int) -> Sequence[Any]:
            values, g, wanted = sets[i % copies]
            if not grads:
                with torch.no_grad():
                    return (f(*values),)
            y = f(*values)
            return (y, *torch.autograd.grad(y, wanted, g))

        return step

    return Bench(group, name, size, of_ours, of_torch, **more)


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
