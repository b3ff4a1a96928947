"""Optimizer: parameter groups, state, schedules, clipping; the steps are fused kernels over all tensors."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import _C
from deepcore.errors import ArgumentError, CheckpointError, NumericalError
from deepcore.nn.module import Parameter
from deepcore.ops import inplace
from deepcore.stepping import backward_with_steps
from deepcore.tensor import Tensor

Groups = Iterable[Parameter] | Sequence[Mapping[str, Any]]
Closure = Callable[[], Tensor]

NORMS_KEPT = 1000  # norms of the gradient that `clip_percentile` looks at: the last so many


class Optimizer:
    """Base of all optimizers.

    Args:
        params: parameters, or groups as dicts with 'params' and options that differ ('lr', 'weight_decay', ...).
        lr: learning rate.
        weight_decay: strength of the decay.
        decoupled: True multiplies weights by 1 - lr * weight_decay (Loshchilov and Hutter, 2019); False adds
            weight_decay * w to the gradient (L2).
        clip_norm: limit on the global Euclidean norm of all gradients (Pascanu et al., 2013).
        clip_each_norm: limit on the norm of each tensor's gradient.
        clip_value: limit on each entry of the gradient.
        clip_percentile: percentile, in (0, 100], of the last 1,000 global norms before this limit, that of the present
            step among them, as limit on it (AutoClip, Seetharaman et al., 2020; 10 there). With clip_norm, the lower
            of both limits holds. Norms of 0 are not counted.
        log_norm: find `grad_norm` also where no limit needs it.

    Attributes:
        steps: number of steps taken.
        lr_factor: multiplies every group's lr; schedules set it.
        grad_norm: global gradient norm of the last step, after clip_value and clip_each_norm and before the limits on
            it (when clip_each_norm, clip_norm, clip_percentile or log_norm is set).
        needs_closure: `step` evaluates the loss itself, several times, and `backward` cannot replace it.
        recordable: every step launches the same kernels, so that `CapturedStep` can record one.
    """

    slots: tuple[str, ...] = ()
    needs_closure = False
    recordable = True

    def __init__(
        self, params: Groups, lr: float, *, weight_decay: float = 0.0, decoupled: bool = False,
        clip_norm: float | None = None, clip_each_norm: float | None = None, clip_value: float | None = None,
        clip_percentile: float | None = None, log_norm: bool = False,
    ) -> None:  # fmt: skip
        self.defaults: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
        self.decoupled = decoupled
        self.clip_norm, self.clip_each_norm, self.clip_value = clip_norm, clip_each_norm, clip_value
        self.clip_percentile = clip_percentile
        self.log_norm = log_norm
        self.steps = 0
        self.lr_factor = 1.0
        self.grad_norm: float | None = None
        self._clipped = 0
        self._clipped_there: _C.Array | None = None  # clipped steps that the device has counted, of shape ()
        self._norms: deque[float] = deque(maxlen=NORMS_KEPT)
        listed = list(params)
        groups: list[dict[str, Any]] = (
            [dict(g) for g in listed if isinstance(g, Mapping)]
            if listed and isinstance(listed[0], Mapping)
            else [{"params": listed}]
        )
        self.groups: list[dict[str, Any]] = []
        seen: set[int] = set()
        for g in groups:
            members = list(g.pop("params"))
            unknown = set(g) - set(self.defaults)
            if unknown:
                raise ArgumentError(f"{type(self).__name__}: unknown options {sorted(unknown)} in a parameter group")
            for p in members:
                if not isinstance(p, Parameter):
                    raise ArgumentError(f"{type(self).__name__}: expected parameters, got {type(p).__name__}")
                if id(p) in seen:
                    raise ArgumentError(f"{type(self).__name__}: a parameter is in two groups")
                seen.add(id(p))
            self.groups.append({**self.defaults, **g, "params": members})
        if not seen:
            raise ArgumentError(f"{type(self).__name__}: expected at least one parameter")
        for g in self.groups:
            if not (g["lr"] >= 0 and math.isfinite(g["lr"])) or not g["weight_decay"] >= 0:
                raise ArgumentError(
                    f"{type(self).__name__}: expected lr >= 0 and weight_decay >= 0, got {g['lr']}, {g['weight_decay']}"
                )
        for name, limit in (("clip_norm", clip_norm), ("clip_each_norm", clip_each_norm), ("clip_value", clip_value)):
            if limit is not None and not limit > 0:
                raise ArgumentError(f"{type(self).__name__}: expected {name} > 0, got {limit}")
        if clip_percentile is not None and not 0 < clip_percentile <= 100:
            raise ArgumentError(f"{type(self).__name__}: expected clip_percentile in (0, 100], got {clip_percentile}")
        self._state: dict[int, dict[str, _C.Array]] = {}

    @property
    def params(self) -> list[Parameter]:
        """All parameters of all groups."""
        return [p for g in self.groups for p in g["params"]]

    @property
    def lr(self) -> float:
        """Learning rate of the first group, as the next step will use it."""
        return float(self.groups[0]["lr"] * self.lr_factor)

    @property
    def clips(self) -> bool:
        """Whether gradients are limited in any way."""
        limits = (self.clip_norm, self.clip_each_norm, self.clip_value, self.clip_percentile)
        return any(limit is not None for limit in limits)

    @property
    def clipped(self) -> int:
        """Number of steps whose gradients a limit has changed. On a device with clip_value alone, asking waits."""
        there = 0 if self._clipped_there is None else int(self._clipped_there.item())
        return self._clipped + there

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.params:
            p.grad = None

    def step(self, closure: Closure | None = None) -> Tensor | None:
        """Change every parameter that has a gradient.

        Args:
            closure: computes the loss to differentiate first, as by `backward`; not needed where gradients are there.

        Returns:
            The loss, if `closure` has computed it.

        Raises:
            NumericalError: the norm is not finite; nothing has changed.
        """
        if closure is not None:
            loss = closure()
            self.backward(loss)
            return loss
        grads = [(p, p.grad) for p in self.params if p.grad is not None and p.requires_grad]
        arrays = [_C.contiguous(g.array) for _, g in grads]
        by_id = {id(p): a for (p, _), a in zip(grads, arrays, strict=True)}
        scale = self._clip(by_id)
        self.steps += 1
        for g in self.groups:
            members = [p for p in g["params"] if id(p) in by_id]
            if not members:
                continue
            lr = g["lr"] * self.lr_factor
            self._update([p.array for p in members], [by_id[id(p)] for p in members],
                         [self._slots_of(p) for p in members], lr, self._options(g, scale))  # fmt: skip
            self._limit(members)
        return None

    def backward(self, loss: Tensor, gradient: Tensor | None = None) -> None:
        """Gradients of `loss` and the step they make; no gradient is left behind.

        The same bits as `loss.backward()`, `step()`, `zero_grad()`. With SGD without momentum, the weight of a dense
        layer on the CPU takes its step while the product that is its gradient is in cache, and this gradient never goes
        to memory; but not with clipping, log_norm, a hook on it, several uses of the weight, or an earlier gradient to
        add to.

        Args:
            loss: what to differentiate.
            gradient: its cotangent; 1 by default, for a loss of one element.

        Raises:
            GradientError: as `loss.backward()`, before any parameter has changed.
            NumericalError: as `step`.
        """
        free = self._free_to_step()
        changed: list[Parameter] = []

        def options_of(p: Parameter) -> _C.StepOptions:
            changed.append(p)
            return free[p]

        backward_with_steps(loss, gradient, free, options_of)
        self._limit(changed)
        self.step()
        self.zero_grad()

    # ---- weights to evaluate with ----
    def averages(self) -> list[Tensor] | None:
        """The weights to evaluate and to keep in the end, in the order of `params`; None for the parameters' own."""
        return None

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block the parameters hold `averages()`, after it their own values again."""
        averages = self.averages()
        with inplace.holding([] if averages is None else self.params, averages or []):
            yield

    def observe(self, loss: float) -> None:
        """Take a validation loss, once per validation, for the methods that look at it."""

    def _free_to_step(self) -> dict[Parameter, _C.StepOptions]:
        """The weights that need no more for their step than their gradient, with its options."""
        return {}

    def _options(self, group: Mapping[str, Any], scale: float) -> _C.StepOptions:
        lr, decay = group["lr"] * self.lr_factor, group["weight_decay"]
        l2, keep = (0.0, 1.0 - lr * decay) if self.decoupled else (decay, 1.0)
        return _C.StepOptions(lr, scale, l2, keep)

    @staticmethod
    def _limit(params: Iterable[Parameter]) -> None:
        for p in params:
            if p.max_norm is not None:
                units = p.shape[0]
                _C.max_norm(p.array, 1, units, p.size // max(units, 1), p.max_norm)

    def _clip(self, by_id: dict[int, _C.Array]) -> float:
        """Clip gradients; returns the factor of the global norm that the kernels apply themselves."""
        beyond = None if self.clip_value is None else self._clip_values(by_id, self.clip_value)
        if (
            self.clip_each_norm is None
            and self.clip_norm is None
            and self.clip_percentile is None
            and not self.log_norm
        ):
            if beyond is not None:
                self._count(beyond)
            return 1.0
        clipped = beyond is not None and beyond.item() > 0
        squares = _C.squared_norms(list(by_id.values()))
        if self.clip_each_norm is not None:
            for i, (key, a) in enumerate(by_id.items()):
                norm = math.sqrt(squares[i])
                if norm > self.clip_each_norm:
                    by_id[key] = _C.multiply(a, _C.scalar(self.clip_each_norm / norm, a))
                    squares[i] = self.clip_each_norm**2
                    clipped = True
        norm = math.sqrt(math.fsum(squares)) if all(map(math.isfinite, squares)) else math.nan
        self.grad_norm = norm
        limit = self._limit_of_norm(norm)
        self._clipped += clipped or norm > limit
        return limit / norm if norm > limit else 1.0

    def _limit_of_norm(self, norm: float) -> float:
        """What the global norm may be in this step; infinity without a limit."""
        if self.clip_norm is None and self.clip_percentile is None:
            return math.inf
        if not math.isfinite(norm):
            raise NumericalError(f"{type(self).__name__}: the norm of the gradients is not finite at step {self.steps}")
        limit = math.inf if self.clip_norm is None else self.clip_norm
        if self.clip_percentile is not None and norm > 0:
            self._norms.append(norm)
            limit = min(limit, float(np.percentile(self._norms, self.clip_percentile)))
        return limit

    @staticmethod
    def _clip_values(by_id: dict[int, _C.Array], limit: float) -> _C.Array | None:
        """Clip entries; returns how many tensors had one beyond the limit, as an array (), or None without entries."""
        beyond: _C.Array | None = None
        for key, a in by_id.items():
            if a.size:
                largest = _C.maximum(_C.max(a), _C.negative(_C.min(a)))
                found = _C.cast(_C.greater(largest, _C.scalar(limit, a)), "int64")
                beyond = found if beyond is None else _C.add(beyond, found)
            by_id[key] = _C.clamp(a, -limit, limit)
        return beyond

    def _count(self, beyond: _C.Array) -> None:
        """Count a step as clipped where `beyond` > 0; on a device without waiting for it, also in a recording."""
        if beyond.device == "cpu":
            self._clipped += beyond.item() > 0
            return
        if self._clipped_there is None:
            self._clipped_there = _C.full((), 0, "int64", beyond.device)
        found = _C.cast(_C.greater(beyond, _C.scalar(0, beyond)), "int64")
        _C.copy_into(_C.add(self._clipped_there, found), self._clipped_there)

    def _slots_of(self, p: Parameter) -> dict[str, _C.Array]:
        state = self._state.get(id(p))
        if state is None:
            state = {name: _C.full(p.shape, 0.0, p.dtype, p.device) for name in self.slots}
            self._state[id(p)] = state
        return state

    def _update(
        self, params: list[_C.Array], grads: list[_C.Array], states: list[dict[str, _C.Array]], lr: float,
        options: _C.StepOptions,
    ) -> None:  # fmt: skip
        raise ArgumentError(f"{type(self).__name__}: an optimizer needs an _update method")

    # ---- state ----
    def state_dict(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """(arrays, facts): moments by 'position of the parameter.name', and step count, factor and group options."""
        arrays = {
            f"{i}.{name}": np.array(a.numpy())
            for i, p in enumerate(self.params)
            if id(p) in self._state
            for name, a in self._state[id(p)].items()
        }
        options = [{k: v for k, v in g.items() if k != "params"} for g in self.groups]
        facts = {"type": type(self).__name__, "steps": self.steps, "lr_factor": self.lr_factor,
                 "clipped": self.clipped, "groups": options}  # fmt: skip
        if self.clip_percentile is not None:
            facts["norms"] = list(self._norms)
        return arrays, facts

    def load_state_dict(self, arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken. CheckpointError when it belongs to another optimizer or net."""
        if facts["type"] != type(self).__name__ or len(facts["groups"]) != len(self.groups):
            raise CheckpointError(f"optimizer state: expected {type(self).__name__}, got {facts['type']}")
        params = self.params
        fresh: dict[int, dict[str, _C.Array]] = {}
        for key, value in arrays.items():
            position, _, name = key.partition(".")
            if not position.isdigit() or int(position) >= len(params) or name not in self.slots:
                raise CheckpointError(f"optimizer state: unknown entry {key!r}")
            p = params[int(position)]
            if tuple(value.shape) != p.shape:
                raise CheckpointError(f"optimizer state: {key}: expected shape {p.shape}, got {value.shape}")
            fresh.setdefault(id(p), {})[name] = _C.to_device(
                _C.copy(_C.from_numpy(np.asarray(value, p.dtype, order="C"))), p.device
            )
        if any(set(s) != set(self.slots) for s in fresh.values()):
            raise CheckpointError("optimizer state: a moment is missing")
        self._state = fresh
        self.steps, self.lr_factor = int(facts["steps"]), float(facts["lr_factor"])
        self._clipped, self._clipped_there = int(facts["clipped"]), None
        self._norms = deque(map(float, facts.get("norms", ())), maxlen=NORMS_KEPT)
        for g, options in zip(self.groups, facts["groups"], strict=True):
            g.update(options)
