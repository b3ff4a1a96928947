"""Reverse-mode derivatives of any order: a tape of primitives whose rules are written in the same operations.

A primitive is a function on kernel arrays. `defvjp` gives it one rule per argument; a rule takes the cotangent `g`
of the output, the output `y` and the arguments, and returns the cotangent of its argument by calling operations, so
that with `create_graph=True` the backward pass is itself recorded (after HIPS/autograd, Maclaurin et al. 2015).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ContextDecorator
from heapq import heappop, heappush
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from deepcore import _C
from deepcore.errors import GradientError, ShapeError
from deepcore.tensor import Tensor

Rule = Callable[..., "Tensor | None"]
Hook = Callable[[Tensor], "Tensor | None"]

registry: dict[str, Primitive] = {}
_sequence = itertools.count()


class _State(threading.local):
    recording = True


_state = _State()


class Shadow:
    """Stands for an argument that a rule declared not to need: it knows shape, dtype and device only."""

    __slots__ = ("device", "dtype", "op", "shape")

    def __init__(self, op: str, array: _C.Array) -> None:
        self.op = op
        self.shape = array.shape
        self.dtype = array.dtype
        self.device = array.device

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getattr__(self, name: str) -> Any:
        raise GradientError(f"{self.op}: its rule reads '{name}' of an argument that it does not declare in saves=")


class Node:
    """One recorded call: who made the outputs, from what, and what the rules need to go back."""

    __slots__ = ("args", "cache", "edges", "hooks", "op", "outputs", "params", "sequence", "versions")

    def __init__(self, op: Primitive, args: tuple[Any, ...], params: dict[str, Any], outputs: tuple[_C.Array, ...]):
        self.op = op
        self.params = params
        self.sequence = next(_sequence)
        self.hooks: dict[int, list[Hook]] | None = None
        self.cache: Any = None
        keep = op.saved_args
        edges: list[Tensor | tuple[Node, int] | None] = []
        kept: list[Any] = []
        versions = []
        for i, a in enumerate(args):
            if a is None:
                edges.append(None)
                kept.append(None)
                versions.append(0)
                continue
            edges.append(None if not a.requires_grad else a if a.node is None else (a.node, a.slot))
            if keep is None or i in keep:
                kept.append(a)
                versions.append(a.array.version)
            else:
                kept.append(Shadow(op.name, a.array))
                versions.append(0)
        self.edges = edges
        self.args = tuple(kept)
        self.versions = versions
        self.outputs: tuple[Any, ...] = outputs if op.saves_output else tuple(Shadow(op.name, o) for o in outputs)

    def hooks_for(self, slot: int) -> list[Hook]:
        if self.hooks is None:
            self.hooks = {}
        return self.hooks.setdefault(slot, [])

    def saved_args_checked(self) -> tuple[Any, ...]:
        for a, version in zip(self.args, self.versions):
            if isinstance(a, Tensor) and a.array.version != version:
                raise GradientError(
                    f"{self.op.name}: an argument of shape {a.shape} was changed in place between the forward and "
                    "the backward pass"
                )
        return self.args

    def output_tensors(self) -> Any:
        result: list[Tensor | Shadow] = []
        for slot, o in enumerate(self.outputs):
            if isinstance(o, Shadow):
                result.append(o)
            else:
                t = Tensor(o, True)
                t.node, t.slot = self, slot
                result.append(t)
        return result[0] if not self.op.multiple else tuple(result)


class Primitive:
    """An operation with a place on the tape. Call it with tensors (or None) by position, options by keyword."""

    __slots__ = ("always_has_rules", "before", "differentiable", "direct", "function", "fused_grad", "multiple",
                 "name", "names", "reference", "rules", "saved_args", "saves_output", "steps")  # fmt: skip

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function = function
        self.name = name
        # Not inspect.signature: importing inspect costs a tenth of the import of deepcore.
        code = function.__code__
        self.names = list(code.co_varnames[: code.co_argcount])
        self.rules: tuple[Rule | None, ...] | None = None
        self.always_has_rules = False
        self.before: Rule | None = None
        self.direct: Callable[..., Sequence[_C.Array | None]] | None = None
        self.steps: int | None = None
        self.saved_args: frozenset[int] | None = frozenset()
        self.saves_output = False
        self.multiple = False
        self.differentiable = True
        self.fused_grad: Callable[..., Sequence[_C.Array | None]] | None = None
        self.reference: Callable[..., Any] | None = None
        if name in registry:
            raise ValueError(f"primitive {name} exists already")
        registry[name] = self

    def __call__(self, *args: Tensor | None, **params: Any) -> Any:
        record = False
        arrays: list[_C.Array | None] = []
        for a in args:
            if a is None:
                arrays.append(None)
                continue
            arrays.append(a.array)
            if a.requires_grad:
                record = True
        result = self.function(*arrays, **params)
        if self.fused_grad is not None:
            result, cache = result
        if not (record and _state.recording):
            if type(result) is tuple:
                return tuple([Tensor(r) for r in result])
            return Tensor(result)
        outputs = result if type(result) is tuple else (result,)
        self.multiple = type(result) is tuple
        node = Node(self, args, params, outputs)
        if self.fused_grad is not None:
            node.cache = cache
        tensors = []
        for slot, o in enumerate(outputs):
            t = Tensor(o)
            if o.dtype in ("float32", "float64"):
                t.requires_grad = True
                t.node, t.slot = node, slot
            tensors.append(t)
        return tuple(tensors) if self.multiple else tensors[0]

    def cotangents(
        self, node: Node, g: Any, needed: Sequence[bool], create_graph: bool, step: _C.StepOptions | None = None
    ) -> Sequence[Tensor | None]:
        """Cotangents of the arguments of one recorded call; None where not needed, or where `step` was taken."""
        if self.fused_grad is not None:
            args = node.saved_args_checked()
            if not create_graph:
                arrays = [None if a is None else a.array for a in args]
                g_arrays = tuple(None if t is None else t.array for t in g) if self.multiple else g.array
                results = self.fused_grad(g_arrays, node.cache, needed, *arrays, **node.params)
                return [None if r is None or not n else Tensor(r) for r, n in zip(results, needed, strict=True)]
            return self._reference_cotangents(args, g, needed, node.params)
        if self.rules is None:
            why = "has no derivative" if not self.differentiable else "has no rule for its derivative"
            raise GradientError(f"{self.name}: this operation {why}")
        if self.direct is not None and not create_graph:
            saved = [a.array if isinstance(a, Tensor) else None for a in node.saved_args_checked()]
            params = node.params if step is None else {**node.params, "step": step}
            found = self.direct(g.array, node.outputs[0], needed, *saved, **params)
            return [None if r is None else Tensor(r) for r in found]
        args, y = node.saved_args_checked(), node.output_tensors()
        if self.before is not None:
            g = self.before(g, y, **node.params)
        out: list[Tensor | None] = []
        for i, need in enumerate(needed):
            rule = self.rules[i] if i < len(self.rules) else None
            if need and rule is None:
                raise GradientError(f"{self.name}: no derivative with respect to argument '{self.names[i]}'")
            out.append(rule(g, y, *args, **node.params) if need and rule is not None else None)
        return out

    def _reference_cotangents(
        self, args: tuple[Any, ...], g: Any, needed: Sequence[bool], params: dict[str, Any]
    ) -> Sequence[Tensor | None]:
        assert self.reference is not None
        aliases = [alias(a) if n else a for a, n in zip(args, needed, strict=True)]
        y = self.reference(*aliases, **params)
        ys, gs = (list(y), list(g)) if self.multiple else ([y], [g])
        pairs = [(o, c) for o, c in zip(ys, gs, strict=True) if c is not None and o.requires_grad]
        wanted = [a for a, n in zip(aliases, needed, strict=True) if n]
        found = iter(
            grad([o for o, _ in pairs], wanted, [c for _, c in pairs], create_graph=True, allow_unused=True)
            if pairs
            else [None] * len(wanted)
        )
        return [next(found) if n else None for n in needed]


def primitive(function: Callable[..., Any]) -> Primitive:
    """Decorator: a function of kernel arrays becomes a recorded operation (name without leading underscore)."""
    return Primitive(function, function.__name__.lstrip("_"))


def defvjp(
    op: Primitive, *rules: Rule | None, saves: str = "", before: Rule | None = None,
    direct: Callable[..., Sequence[_C.Array | None]] | None = None, steps: str | None = None,
) -> None:  # fmt: skip
    """Give `op` one rule per argument. `saves` names the arguments the rules read ('y': the output, or so named).

    `direct(g, y, needed, *arrays, **params)`, on kernel arrays (None for what is not saved), gives all cotangents in
    one call wherever the backward pass itself is not recorded: the same sums as the rules, without their overhead.
    `steps` names an argument whose cotangent `direct` can turn into an optimizer's step of it (keyword `step`), as the
    last thing it does with its values; None then stands for the cotangent.
    `before(g, y, **params)` is work all rules share, done once: what it returns is the g they see.
    """
    names = saves.split()
    unknown = [n for n in names if n != "y" and n not in op.names]
    if unknown:
        raise ValueError(f"{op.name}: saves names unknown arguments {unknown}")
    op.rules = rules
    op.always_has_rules = len(rules) == len(op.names) and None not in rules
    op.before = before
    op.direct = direct
    op.steps = None if steps is None else op.names.index(steps)
    op.saved_args = frozenset(op.names.index(n) for n in names if n in op.names)
    op.saves_output = "y" in names and "y" not in op.names


def fused(
    function: Callable[..., Any],
    grad_kernel: Callable[..., Sequence[_C.Array | None]],
    reference: Callable[..., Any],
) -> Primitive:
    """A kernel with a hand-written gradient kernel and a plain reference.

    `function(*arrays, **params)` returns (output or tuple of outputs, cache). `grad_kernel(g, cache, needed, *arrays,
    **params)` returns one array or None per argument. When the backward pass itself is recorded, `reference`
    (the same formula in differentiable operations) is differentiated instead.
    """
    op = Primitive(function, function.__name__.lstrip("_"))
    op.fused_grad = grad_kernel
    op.reference = reference
    op.always_has_rules = True
    op.saved_args = None
    return op


def nondifferentiable(function: Callable[..., Any]) -> Primitive:
    """Decorator: an operation without a derivative; asking for one raises GradientError with its name."""
    op = Primitive(function, function.__name__.lstrip("_"))
    op.differentiable = False
    return op


@primitive
def alias(x: _C.Array) -> _C.Array:
    """The same values as a new tensor on the tape."""
    return x


defvjp(alias, lambda g, y, x: g)


class _recording(ContextDecorator):
    """Recording switched on or off. A class, as a generator would cost a tenth of a small backward pass."""

    __slots__ = ("before", "flag")

    def __init__(self, flag: bool) -> None:
        self.flag = flag

    def __enter__(self) -> None:
        self.before = _state.recording
        _state.recording = self.flag

    def __exit__(self, *_: object) -> None:
        _state.recording = self.before

    def _recreate_cm(self) -> _recording:  # as a decorator: each call has its own `before`
        return _recording(self.flag)


def no_grad() -> Any:
    """Context manager (and decorator): operations inside are not recorded."""
    return _recording(False)


def enable_grad() -> Any:
    """Context manager (and decorator): operations inside are recorded, also within `no_grad`."""
    return _recording(True)


def is_recording() -> bool:
    """Whether operations are recorded now in this thread."""
    return _state.recording


def _seed(output: Tensor, gradient: Tensor | None) -> Tensor:
    if not output.requires_grad:
        raise GradientError("grad: the output does not require a gradient: no input of it does, or no_grad was on")
    if gradient is None:
        if output.array.ndim == 0:
            return Tensor(_C.scalar(1.0, output.array))
        if output.size != 1:
            raise ShapeError(f"grad: expected an output with one element or grad_outputs, got shape {output.shape}")
        return Tensor(_C.full(output.shape, 1.0, output.dtype, output.device))
    if gradient.shape != output.shape:
        raise ShapeError(f"grad: expected a cotangent of shape {output.shape}, got {gradient.shape}")
    return gradient


def _apply_hooks(hooks: Sequence[Hook] | None, g: Tensor) -> Tensor:
    for hook in list(hooks or ()):
        replaced = hook(g)
        g = g if replaced is None else replaced
    return g


def _add(a: Tensor | None, b: Tensor) -> Tensor:
    if a is None:
        return b
    add = registry["add"]
    result: Tensor = add(a, b)
    return result


def _reachable(roots: list[Node], stop: set[tuple[int, int]], leaves: set[int]) -> dict[Node, bool]:
    """Nodes under the roots, each with whether it leads to a wanted input."""
    useful: dict[Node, bool] = {}
    stack: list[tuple[Node, bool]] = [(n, False) for n in roots]
    while stack:
        node, done = stack.pop()
        if done:
            hit = False
            for e in node.edges:
                if isinstance(e, Tensor):
                    hit = hit or id(e) in leaves
                elif e is not None:
                    hit = hit or (id(e[0]), e[1]) in stop or useful.get(e[0], False)
            useful[node] = hit
        elif node not in useful:
            useful[node] = False
            stack.append((node, True))
            stack.extend((e[0], False) for e in node.edges if isinstance(e, tuple) and e[0] not in useful)
    return useful


_by_age = attrgetter("sequence")


def _youngest_first(heap: list[tuple[int, Node]]) -> Iterator[Node]:
    while heap:
        yield heappop(heap)[1]


def sweep(
    outputs: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    inputs: Sequence[Tensor] | None,
    create_graph: bool,
    steps: Mapping[Node, Callable[[], _C.StepOptions]] = MappingProxyType({}),
) -> tuple[dict[int, Tensor], dict[int, Tensor], dict[tuple[int, int], Tensor]]:
    """One backward sweep: the leaves met, gradients by id of leaf, cotangents by (id of node, slot) of inputs.

    `steps`: what to do to an argument of some nodes instead of finding its gradient.
    """
    wanted = inputs or ()
    stop = {(id(t.node), t.slot) for t in wanted if t.node is not None}
    leaf_ids = {id(t) for t in wanted if t.node is None}
    pending: dict[Node, dict[int, Tensor]] = {}
    leaves: dict[int, Tensor] = {}
    leaf_grads: dict[int, Tensor] = {}
    captured: dict[tuple[int, int], Tensor] = {}

    with _recording(create_graph):
        for o, given in zip(outputs, gradients, strict=True):
            seed = _seed(o, given)
            if o.node is None:
                leaves[id(o)] = o
                leaf_grads[id(o)] = _add(leaf_grads.get(id(o)), seed)
            else:
                slots = pending.setdefault(o.node, {})
                slots[o.slot] = _add(slots.get(o.slot), seed)
        # A node is younger than all it was made from. Where every leaf is wanted, that order is found on the way.
        heap: list[tuple[int, Node]] = []
        useful: dict[Node, bool] | None = None
        order: Iterable[Node]
        if inputs is None:
            for node in pending:
                heappush(heap, (-node.sequence, node))
            order = _youngest_first(heap)
        else:
            useful = _reachable(list(pending), stop, leaf_ids)
            order = sorted(useful, key=_by_age, reverse=True)
        for node in order:
            slots_or_none = pending.pop(node, None)
            if slots_or_none is None:
                continue
            slots = slots_or_none
            if node.hooks is not None or stop:
                for slot in list(slots):
                    if node.hooks is not None:
                        slots[slot] = _apply_hooks(node.hooks.get(slot), slots[slot])
                    if stop and (id(node), slot) in stop:
                        captured[id(node), slot] = slots[slot]
            if useful is not None and not useful[node]:
                continue
            if useful is None:
                needed = [e is not None for e in node.edges]
            else:
                needed = [
                    id(e) in leaf_ids if isinstance(e, Tensor)
                    else e is not None and (useful.get(e[0], False) or (id(e[0]), e[1]) in stop)
                    for e in node.edges
                ]  # fmt: skip
            g: Any = tuple(slots.get(i) for i in range(len(node.outputs))) if node.op.multiple else slots[0]
            step = steps[node]() if node in steps else None
            for e, c in zip(node.edges, node.op.cotangents(node, g, needed, create_graph, step), strict=True):
                if c is None or e is None:
                    continue
                if isinstance(e, Tensor):
                    leaves[id(e)] = e
                    leaf_grads[id(e)] = _add(leaf_grads.get(id(e)), c)
                else:
                    below = pending.get(e[0])
                    if below is None:
                        pending[e[0]] = {e[1]: c}
                        if useful is None:
                            heappush(heap, (-e[0].sequence, e[0]))
                    else:
                        below[e[1]] = _add(below.get(e[1]), c)
        for key, leaf in leaves.items():
            if leaf.hooks is not None:
                leaf_grads[key] = _apply_hooks(leaf.hooks, leaf_grads[key])
    return leaves, leaf_grads, captured


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    *,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Any:
    """Gradients of `outputs` (summed, weighted by `grad_outputs`) with respect to `inputs`.

    Returns one tensor per input, or a single one when `inputs` is a tensor. With `create_graph=True` the results are
    differentiable again. Raises GradientError when an output requires no gradient, an operation has no rule, or an
    input is not part of the computation (None is returned for it with `allow_unused=True`).
    """
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    gs = (
        [None] * len(outs) if grad_outputs is None
        else [grad_outputs] if isinstance(grad_outputs, Tensor)
        else list(grad_outputs)
    )  # fmt: skip
    if len(gs) != len(outs):
        raise ShapeError(f"grad: expected {len(outs)} grad_outputs, got {len(gs)}")
    for t in ins:
        if not t.requires_grad:
            raise GradientError("grad: an input does not require a gradient")
    _, leaf_grads, captured = sweep(outs, gs, ins, create_graph)
    results: list[Tensor | None] = []
    for i, t in enumerate(ins):
        found = leaf_grads.get(id(t)) if t.node is None else captured.get((id(t.node), t.slot))
        if found is None and not allow_unused:
            raise GradientError(f"grad: input {i} is not part of the computation (allow_unused=True returns None)")
        results.append(found)
    return results[0] if isinstance(inputs, Tensor) else results


def backward(output: Tensor, gradient: Tensor | None = None, *, create_graph: bool = False) -> None:
    """Add d output / d leaf (weighted by `gradient`, default 1 for a single element) to `.grad` of every leaf."""
    add_to_leaves(sweep([output], [gradient], None, create_graph), create_graph)


def add_to_leaves(found: tuple[dict[int, Tensor], dict[int, Tensor], Any], create_graph: bool) -> None:
    """Add what a sweep found to `.grad` of its leaves."""
    leaves, grads, _ = found
    with _recording(create_graph):
        for key, leaf in leaves.items():
            leaf.grad = _add(leaf.grad, grads[key])
