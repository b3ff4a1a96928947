"""Optimizer: parameter groups, state, schedules, clipping; the steps are fused kernels over all tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import _C
from deepcore.errors import ArgumentError, CheckpointError, NumericalError
from deepcore.nn.module import Parameter
from deepcore.stepping import backward_with_steps
from deepcore.tensor import Tensor

Groups = Iterable[Parameter] | Sequence[Mapping[str, Any]]


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

    Attributes:
        steps: number of steps taken.
        lr_factor: multiplies every group's lr; schedules set it.
        grad_norm: global gradient norm before clipping, of the last step (when clip_norm or log_norm is set).
    """

    slots: tuple[str, ...] = ()

    def __init__(
        self, params: Groups, lr: float, *, weight_decay: float = 0.0, decoupled: bool = False,
        clip_norm: float | None = None, clip_each_norm: float | None = None, clip_value: float | None = None,
        log_norm: bool = False,
    ) -> None:  # fmt: skip
        self.defaults: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
        self.decoupled = decoupled
        self.clip_norm, self.clip_each_norm, self.clip_value = clip_norm, clip_each_norm, clip_value
        self.log_norm = log_norm
        self.steps = 0
        self.lr_factor = 1.0
        self.grad_norm: float | None = None
        self.clipped = 0
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
        self._state: dict[int, dict[str, _C.Array]] = {}

    @property
    def params(self) -> list[Parameter]:
        """All parameters of all groups."""
        return [p for g in self.groups for p in g["params"]]

    @property
    def lr(self) -> float:
        """Learning rate of the first group, as the next step will use it."""
        return float(self.groups[0]["lr"] * self.lr_factor)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Change every parameter that has a gradient. NumericalError (before any change) if the norm is not finite."""
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
        if self.clip_value is not None:
            for key, a in by_id.items():
                by_id[key] = _C.clamp(a, -self.clip_value, self.clip_value)
        if self.clip_each_norm is None and self.clip_norm is None and not self.log_norm:
            return 1.0
        squares = _C.squared_norms(list(by_id.values()))
        if self.clip_each_norm is not None:
            for i, (key, a) in enumerate(by_id.items()):
                norm = math.sqrt(squares[i])
                if norm > self.clip_each_norm:
                    by_id[key] = _C.multiply(a, _C.scalar(self.clip_each_norm / norm, a))
                    squares[i] = self.clip_each_norm**2
        norm = math.sqrt(math.fsum(squares)) if all(map(math.isfinite, squares)) else math.nan
        self.grad_norm = norm
        if self.clip_norm is None:
            return 1.0
        if not math.isfinite(norm):
            raise NumericalError(f"{type(self).__name__}: the norm of the gradients is not finite at step {self.steps}")
        if norm <= self.clip_norm:
            return 1.0
        self.clipped += 1
        return self.clip_norm / norm

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
        return arrays, {"type": type(self).__name__, "steps": self.steps, "lr_factor": self.lr_factor,
                        "clipped": self.clipped, "groups": options}  # fmt: skip

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
        self.clipped = int(facts["clipped"])
        for g, options in zip(self.groups, facts["groups"], strict=True):
            g.update(options)
