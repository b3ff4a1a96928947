"""How each library runs a function of tensors: conversions, gradients, waiting for the result.

A function takes the operands as the library's tensors and returns one tensor. With `grads`, the step computes the
function and the gradients for those operands; with `cotangent`, the last operand is the gradient of the result.
Arrays of four axes are images (n, h, w, c) or filters (k, r, s, c): torch sees them as NCHW views of the same memory,
which is its channels_last layout, and as plain NCHW; the quicker of both is the one that is measured.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from deepcore.bench.case import Array, Builder, Built

Function = Callable[..., Any]


def library(name: str) -> Any:
    """A module, imported when a worker first needs it."""
    return importlib.import_module(name)


def _split(operands: Sequence[Any], cotangent: bool) -> tuple[list[Any], Any]:
    return (list(operands[:-1]), operands[-1]) if cotangent else (list(operands), None)


def ours(f: Function, grads: Sequence[int] = (), cotangent: bool = False) -> Builder:
    """deepcore, through its public operations."""

    def build(arrays: Sequence[Array]) -> Built:
        import deepcore as dc

        operands, g = _split([dc.tensor(a) for a in arrays], cotangent)
        for i in grads:
            operands[i].requires_grad_()
        wanted = [operands[i] for i in grads]

        def forward() -> Any:
            with dc.no_grad():
                return (f(*operands),)

        def both() -> Any:
            y = f(*operands)
            return (y, *dc.grad(y, wanted, g))

        return Built(both if grads else forward, lambda result: tuple(t.numpy() for t in result))

    return build


def plain(f: Function) -> Builder:
    """numpy: f(*arrays) returns all results."""

    def build(arrays: Sequence[Array]) -> Built:
        def step() -> Any:
            result = f(*arrays)
            return result if isinstance(result, tuple) else (result,)

        return Built(step, lambda result: result)

    return build


def in_torch(f: Function, grads: Sequence[int] = (), cotangent: bool = False) -> Builder:
    """torch, in the quicker of channels_last and NCHW."""

    def build(arrays: Sequence[Array]) -> Built:
        torch = library("torch")
        layouts = (True, False) if any(a.ndim == 4 for a in arrays) else (True,)
        return quickest(lambda last: _torch_layout(torch, f, arrays, grads, cotangent, last), layouts)

    return build


def quickest(build: Callable[[bool], Built], layouts: Sequence[bool]) -> Built:
    """The variant whose calls are quickest, built anew because trying it may have changed its state."""
    if len(layouts) == 1:
        return build(layouts[0])

    def seconds(layout: bool) -> float:
        step = build(layout).step
        step()
        times = []
        for _ in range(3):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        return min(times)

    return build(min(layouts, key=seconds))


def _torch_layout(
    torch: Any, f: Function, arrays: Sequence[Array], grads: Sequence[int], cotangent: bool, channels_last: bool
) -> Built:
    def convert(a: Array) -> Any:
        t = torch.from_numpy(a.copy())
        if t.ndim == 4:
            t = t.permute(0, 3, 1, 2)
            t = t.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        return t

    operands, g = _split([convert(a) for a in arrays], cotangent)
    for i in grads:
        operands[i].requires_grad_()
    wanted = [operands[i] for i in grads]

    def forward() -> Any:
        with torch.inference_mode():
            return (f(*operands),)

    def both() -> Any:
        y = f(*operands)
        return (y, *torch.autograd.grad(y, wanted, g))

    def back(result: Any) -> tuple[Array, ...]:
        return tuple((t.permute(0, 2, 3, 1) if t.ndim == 4 else t).detach().numpy() for t in result)

    return Built(both if grads else forward, back)


def in_jax(f: Function, grads: Sequence[int] = (), cotangent: bool = False) -> Builder:
    """jax, compiled; images stay NHWC."""

    def build(arrays: Sequence[Array]) -> Built:
        jax = library("jax")
        operands = [jax.device_put(a) for a in arrays]

        def forward(*xs: Any) -> Any:
            return (f(*xs),)

        def both(*xs: Any) -> Any:
            inputs, g = _split(xs, cotangent)

            def of(*chosen: Any) -> Any:
                full = list(inputs)
                for i, x in zip(grads, chosen, strict=True):
                    full[i] = x
                return f(*full)

            y, pull = jax.vjp(of, *[inputs[i] for i in grads])
            return (y, *pull(jax.numpy.ones_like(y) if g is None else g))

        compiled = jax.jit(both if grads else forward)
        return Built(
            lambda: jax.block_until_ready(compiled(*operands)), lambda result: tuple(np.asarray(r) for r in result)
        )

    return build


Nodes = Callable[[Any, list[str]], list[Any]]


def in_onnx(nodes: Nodes, constants: Sequence[int] = ()) -> Builder:
    """onnxruntime: `nodes(helper, names)` gives the graph's nodes from operands `names` to 'y'.

    Operands listed in `constants` are weights, stored in the model. Images and filters become NCHW.
    """

    def build(arrays: Sequence[Array]) -> Built:
        onnx, runtime = library("onnx"), library("onnxruntime")
        helper = onnx.helper
        values = [np.ascontiguousarray(a.transpose(0, 3, 1, 2)) if a.ndim == 4 else a for a in arrays]
        names = [f"x{i}" for i in range(len(values))]

        def kind(a: Array) -> int:
            return int(helper.np_dtype_to_tensor_dtype(a.dtype))

        fixed = [onnx.numpy_helper.from_array(values[i], names[i]) for i in constants]
        fed = [i for i in range(len(values)) if i not in constants]
        inputs = [helper.make_tensor_value_info(names[i], kind(values[i]), values[i].shape) for i in fed]
        output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
        graph = helper.make_graph(nodes(helper, names), "bench", inputs, [output], fixed)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = int(library("os").environ["OMP_NUM_THREADS"])
        options.log_severity_level = 3
        session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        feed = {names[i]: values[i] for i in fed}

        def back(result: Any) -> tuple[Array, ...]:
            return tuple(r.transpose(0, 2, 3, 1) if r.ndim == 4 else r for r in result)

        return Built(lambda: session.run(None, feed), back)

    return build
