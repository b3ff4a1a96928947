"""The table behind Module.summary()."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from deepcore.autograd import no_grad
from deepcore.nn.conv import Conv2d, ConvTranspose2d
from deepcore.nn.linear import Linear
from deepcore.nn.module import Module
from deepcore.tensor import Tensor, tensor


def flops(module: Module, y: Tensor, x: Tensor) -> int:
    """Multiplications and additions of one forward call of a single layer."""
    if isinstance(module, Linear):
        return 2 * y.size * module.weight.shape[1]
    if isinstance(module, Conv2d):
        return 2 * y.size * math.prod(module.weight.shape[1:])
    if isinstance(module, ConvTranspose2d):
        return 2 * x.size * math.prod(module.weight.shape[1:])
    return y.size


def _human(n: float) -> str:
    for unit in ("", "K", "M", "G", "T"):
        if abs(n) < 1000 or unit == "T":
            return f"{n:.0f}{unit}" if unit == "" else f"{n:.1f}{unit}"
        n /= 1000
    raise AssertionError("unreachable")


def summarize(module: Module, input_shape: tuple[int, ...]) -> str:
    """The table; one forward pass of zeros in inference mode."""
    rows: list[tuple[str, str, str, int, int, int]] = []
    removers = []
    modes = [(m, m.training) for _, m in module.named_modules()]
    for name, m in module.named_modules():
        if m._modules:
            continue

        def hook(layer: Module, args: tuple[Any, ...], y: Any, name: str = name) -> None:
            if not isinstance(y, Tensor):
                return
            count = sum(p.size for p in layer._parameters.values())
            shape = str(tuple(y.shape))
            work = flops(layer, y, args[0])
            rows.append((name or "(net)", type(layer).__name__, shape, count, work, y.size * 4))

        removers.append(m.register_forward_hook(hook))
    try:
        with no_grad():
            module.eval()
            module(tensor(np.zeros(input_shape, np.float32), device=module.device))
    finally:
        for remove in removers:
            remove()
        for m, mode in modes:
            m.training = mode
    total_parameters = sum(p.size for p in module.parameters())
    trained = sum(p.size for p in module.parameters() if p.requires_grad)
    head = ("layer", "type", "output", "parameters", "FLOPs", "bytes")
    table = [head] + [(n, t, s, f"{c:,}", _human(w), _human(b)) for n, t, s, c, w, b in rows]
    widths = [max(len(r[i]) for r in table) for i in range(6)]
    lines = [
        "  ".join(c.ljust(w) if i < 3 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))).rstrip()
        for r in table
    ]
    lines.insert(1, "-" * max(len(line) for line in lines))
    lines.append(lines[1])
    lines.append(
        f"{total_parameters:,} parameters ({trained:,} trained, {_human(total_parameters * 4)}B), "
        f"{_human(sum(r[4] for r in rows))} FLOPs, {_human(sum(r[5] for r in rows))}B of outputs"
    )
    return "\n".join(lines)
