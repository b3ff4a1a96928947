"""Convolution at named shapes, forward and with all gradients."""

from __future__ import annotations

from typing import Any

from deepcore import ops
from deepcore.bench.case import Case, Target
from deepcore.bench.libraries import in_jax, in_onnx, in_torch, library, ours, plain
from deepcore.bench.references import conv2d, conv2d_grads
from deepcore.bench.shapes import CONVOLUTIONS, Conv


def _case(name: str, s: Conv, backward: bool) -> Case:
    p, q = s.out
    shapes = [(s.n, s.h, s.w, s.c), (s.k, s.r, s.r, s.c)] + ([(s.n, p, q, s.k)] if backward else [])
    scale = (s.r * s.r * s.c) ** -0.5
    grads = (0, 1) if backward else ()

    def reference(x: Any, w: Any, g: Any = None) -> tuple[Any, ...]:
        y = conv2d(x, w, s.stride, s.padding)
        return (y,) if g is None else (y, *conv2d_grads(x, w, g, s.stride, s.padding))

    def in_xla(x: Any, w: Any) -> Any:
        around = [(s.padding, s.padding)] * 2
        layout = ("NHWC", "OHWI", "NHWC")
        convolve = library("jax").lax.conv_general_dilated
        return convolve(x, w, (s.stride, s.stride), around, dimension_numbers=layout)

    def graph(helper: Any, names: list[str]) -> list[Any]:
        return [helper.make_node("Conv", names, ["y"], strides=[s.stride] * 2, pads=[s.padding] * 4)]

    def torch_conv(x: Any, w: Any) -> Any:
        return library("torch").nn.functional.conv2d(x, w, None, s.stride, s.padding)

    builders = {
        "deepcore": ours(lambda x, w: ops.conv2d(x, w, stride=s.stride, padding=s.padding), grads, backward),
        "numpy": plain(reference),
        "torch": in_torch(torch_conv, grads, backward),
        "jax": in_jax(in_xla, grads, backward),
    }
    if not backward:
        builders["onnxruntime"] = in_onnx(graph, constants=(1,))
    sizes = s.n * s.h * s.w * s.c + s.k * s.r * s.r * s.c + s.n * p * q * s.k
    return Case(
        "conv", f"{name} {'fwd+bwd' if backward else 'fwd'}",
        arrays=lambda rng: [(rng.standard_normal(shape) * (scale if i == 1 else 1)).astype("f4")
                            for i, shape in enumerate(shapes)],
        reference=reference,
        builders=builders,
        flops=2.0 * s.n * p * q * s.k * s.r * s.r * s.c * (3 if backward else 1),
        bytes=4.0 * sizes * (3 if backward else 1),
        tolerance=1e-4,
        target=Target("peer", 3.0 if name == "lenet1" and backward else 1.0),
    )  # fmt: skip


CASES = [_case(name, shape, backward) for name, shape in CONVOLUTIONS.items() for backward in (False, True)]
