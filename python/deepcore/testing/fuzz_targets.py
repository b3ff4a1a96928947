"""What the fuzzer calls, how, and with which good arguments: those of the cases, observed while they run."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import deepcore as dc
from deepcore import _C, ops, random
from deepcore.autograd import grad, registry
from deepcore.errors import Error
from deepcore.ops.rnn import PackedRecurrent
from deepcore.tensor import Tensor
from deepcore.testing.case import all_cases

ALLOWED = (Error, TypeError, ValueError, IndexError, BufferError)  # BufferError is what DLPack asks for

# Not called with random arguments: they measure for seconds, or change the state that all later calls share.
# cuda_properties needs a device, from_cuda_pointer an address that someone vouches for.
SKIPPED = {"cuda_properties", "from_cuda_pointer", "let_stream_wait", "measure_peak_flops", "measure_read_bandwidth",
           "select_isa", "set_num_threads", "wait_for_stream"}  # fmt: skip

# Functions of many forms: how many good arguments are kept of them.
MANY = {"ops.recurrent": 200, "_C.rnn": 200, "_C.rnn_grad": 200}

Arguments = dict[str, Any]


# ---- what is called ----
@dataclass
class Target:
    """One function: how to call it, the kinds of its arguments, good arguments seen in the cases."""

    name: str
    function: Callable[..., Any]
    kinds: dict[str, str]
    optional: set[str] = field(default_factory=set)
    defaults: set[str] = field(default_factory=set)  # of a binding: parameters that a good call may leave out
    positional: bool = False  # names of parameters are not those of the function
    rest: str | None = None  # the parameter that takes all further arguments (*shape)
    seen: list[Arguments] = field(default_factory=list)
    shape_rule: Callable[[Arguments], tuple[int, ...]] | None = None
    may_raise: tuple[type[Exception], ...] = ALLOWED


_FIXED = re.compile(r'Annotated\[Sequence\[(.+)\], "FixedSize\((\d+)\)"\]')


def _kind_of(annotation: str) -> str:
    """The kind of a parameter from its annotation in deepcore.ops or from pybind11's text."""
    a = annotation.replace("deepcore._C.", "").replace("collections.abc.", "").replace("typing.", "")
    a = a.replace("SupportsInt | SupportsIndex", "int").replace("SupportsFloat | SupportsIndex", "float").strip()
    fixed = _FIXED.match(a)
    if fixed:  # '15 array?': as many of a kind
        return f"{fixed[2]} {_kind_of(fixed[1])}"
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
        "numpy.ndarray": "ndarray", "float | Tensor": "float", "Sequence[int] | Tensor": "lengths",
        "PackedRecurrent": "packed", "Norms": "norms", "tuple[float | Tensor, float | Tensor]": "zoneout",
        "tuple[int, int, tuple[float, float, float], bool, tuple[float, float]]": "cell codes",
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


_PARAMETER = re.compile(r"(\w+): (.+?)(?P<default> = [^,]+)?(?=, \w+: |$)")


def _binding_target(name: str, function: Callable[..., Any]) -> Target:
    text = (function.__doc__ or "").splitlines()[0]
    inside = text[text.index("(") + 1 : text.rindex(") -> ")]
    kinds = {match[1]: _kind_of(match[2]) for match in _PARAMETER.finditer(inside)}
    kinds = {n: "device" if k == "str" else k for n, k in kinds.items()}
    if name == "from_dlpack":
        kinds = {n: "object" for n in kinds}
    defaults = {match[1] for match in _PARAMETER.finditer(inside) if match["default"]}
    return Target("_C." + name, function, kinds, positional=True, defaults=defaults)


def _broadcast(*names: str) -> Callable[[Arguments], tuple[int, ...]]:
    return lambda arguments: np.broadcast_shapes(*(np.shape(arguments[n]) for n in names))


def _reduced(arguments: Arguments) -> tuple[int, ...]:
    axis, keep = arguments.get("axis"), bool(arguments.get("keepdims", False))
    empty = np.broadcast_to(np.bool_(False), arguments["x"].shape)
    return np.shape(np.any(empty, axis=axis if axis is None or isinstance(axis, int) else tuple(axis), keepdims=keep))


# Results of the shape of x, besides the elementwise functions that are made from one pattern (exp, log, ...).
_UNARY = ("absolute", "clamp", "elu", "hard_sigmoid", "isfinite", "leaky_relu", "log_softmax", "negative", "softmax",
          "astype", "contiguous", "cumsum", "flip", "layer_norm", "instance_norm", "group_norm", "batch_norm",
          "dropout")  # fmt: skip
_BINARY = ("add", "divide", "equal", "greater", "greater_equal", "less", "less_equal", "maximum", "minimum",
           "multiply", "not_equal", "power", "subtract")  # fmt: skip
_REDUCTIONS = ("sum", "mean", "var", "max", "min", "prod", "norm", "logsumexp")


def _pattern(name: str) -> bool:
    """Whether an operation is one of those that share the code of `exp`."""
    shared: bool = getattr(ops, name).__code__ is ops.exp.__code__
    return shared


def targets() -> list[Target]:
    """Every public operation, constructor, random source and array function, with good arguments from the cases."""
    found = []
    for name in ops.__all__:
        target = _signature_target("ops." + name, getattr(ops, name), **({"key": "index"} if name == "getitem" else {}))
        if name in _UNARY or _pattern(name):
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
    """Inside, calls of _C.f(...) by other modules, and of f where an operation holds it, leave their arguments."""
    originals: dict[str, Any] = {}
    functions = [op.function for op in registry.values()] + [getattr(ops, name) for name in ops.__all__]
    cells = [cell for function in functions for cell in function.__closure__ or ()]
    held = [(cell, cell.cell_contents) for cell in cells]

    def wrap(target: Target, original: Callable[..., Any]) -> Callable[..., Any]:
        names = list(target.kinds)
        needed, most = len(names) - len(target.defaults), MANY.get(target.name, limit)

        def call(*args: Any) -> Any:
            if len(target.seen) < most and needed <= len(args) <= len(names) and all(map(_small, args)):
                target.seen.append(dict(zip(names, args)))
            return original(*args)

        call.__name__ = original.__name__
        return call

    for name, target in by_name.items():
        if name.startswith("_C."):
            originals[name[3:]] = target.function
            setattr(_C, name[3:], wrap(target, target.function))
    wrappers = {id(original): getattr(_C, name) for name, original in originals.items()}
    for cell, value in held:
        cell.cell_contents = wrappers.get(id(value), value)
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(_C, name, original)
        for cell, value in held:
            cell.cell_contents = value


def _family(name: str) -> str:
    """Cases that resemble each other: those of an operation; of recurrent layers those of a cell, alone or not."""
    if name.startswith("recurrent/"):
        return name.split()[0] + " around" * any(word in name for word in ("projection", "norm", "mask", "zoneout"))
    return name.split("/")[0]


def _observe(by_name: dict[str, Target], limit: int = 12) -> None:
    """Run the cases and their gradients, and note the arguments of every function on the way."""
    by_code = {getattr(ops, name).__code__: by_name["ops." + name] for name in ops.__all__}

    def watch(frame: Any, event: str, argument: Any) -> None:
        if event != "call" or frame.f_code not in by_code:
            return
        target, values = by_code[frame.f_code], frame.f_locals
        if "op" in values:  # one code object made exp, log, ...
            target = by_name["ops." + values["op"].name]
        elif "kernel" in values:  # and one less, greater, ...
            target = by_name["ops." + values["kernel"].__name__]
        if len(target.seen) < MANY.get(target.name, limit) and set(target.kinds) <= set(values):
            arguments = {n: values[n] for n in target.kinds}
            if all(map(_small, arguments.values())):
                target.seen.append(arguments)

    met: dict[str, int] = {}
    with _recorded_bindings(by_name, limit):
        for case in all_cases():
            family = _family(case.name)
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
                    differentiate(case.function(*inputs), wanted, order)
            finally:
                sys.setprofile(None)
        sys.setprofile(watch)
        try:
            _call_what_has_no_case()
        finally:
            sys.setprofile(None)


def _call_what_has_no_case() -> None:
    """Good arguments of operations whose results are random, and of those that change arrays in place."""
    images = random.uniform((3, 5, 6, 2), seed=0)
    options: dict[str, Any] = {"flip": 0.5, "rotate": 0.3, "scale": 0.1, "shear": 0.1, "cut": 2, "fill": 0.5}
    ops.augment(images, key=(1, 2, 0), shift=(1, 2), size=4, **options)
    rows = dc.tensor([2, 0, 1, 1])
    ops.augment(ops.astype(images * 255.0, "uint8"), rows, key=(1, 3, 0), ids=dc.tensor([7, 8, 9, 10]), **options)
    for draw in (random.normal, random.bits):
        draw((3, 5), seed=0)
    for p in (0.5, random.uniform((3, 5), seed=0)):
        random.bernoulli(p, (3, 5), seed=0)
    random.permutation(7, seed=0)
    x, w, u = (random.normal(shape, seed=i) for i, shape in enumerate(((3, 2, 4), (20, 4), (20, 5))))
    with dc.no_grad():
        ops.recurrent(x, w, u, packed=PackedRecurrent(), lengths=[3, 1], slope=[1.0, 2.0, 1.5])
    for change in (ops.sort, ops.contiguous):
        change(images)
    ops.to(images, "cpu")
    ops.maxout(images, 2)
    _step_parameters()


def _step_parameters() -> None:
    def arrays(seed: int) -> list[_C.Array]:
        return [_C.copy(random.uniform(shape, seed=seed).array) for shape in ((4, 3), (5,), (1, 0), (2, 3))]

    params, grads, one, two = (arrays(seed) for seed in range(4))
    options = _C.StepOptions(0.1, 1.0, 0.01, 0.9)
    _C.sgd_step(params, grads, [], options, 0.0, False)
    _C.sgd_step(params, grads, one, options, 0.9, True)
    _C.adagrad_step(params, grads, one, options, 1e-8)
    _C.rmsprop_step(params, grads, [one, two, arrays(4)], options, 0.9, 1e-8, True, 0.5)
    _C.adadelta_step(params, grads, [one, two], options, 0.9, 1e-8)
    _C.adam_step(params, grads, [one, two, []], options, 0.9, 0.99, 1e-8, 0.0, 1.0, False, True)
    _C.adam_step(params, grads, [one, two, arrays(4)], options, 0.9, 0.99, 1e-8, 0.1, 1.0, True, True)
    _C.lion_step(params, grads, one, options, 0.9, 0.99)
    _C.max_norm(params[0], 1, 4, 3, 0.5)
    _C.scale(params, 0.5)
    _C.moving_average(params, one, 0.9)
    _C.squared_norms(grads)
    _C.first_not_finite(grads)
    _C.sum_abs(params[0], [1])
    _C.sum_squares(params[0], [0], True)
    _C.pack_linear(params[0])
    _C.copy_into(grads[0], params[0])


def differentiate(result: Any, wanted: Sequence[Tensor], order: int) -> None:
    """Take gradients up to an order; AssertionError where one has another shape than its argument."""
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
