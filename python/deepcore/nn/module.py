"""Module: a tree of layers with named parameters and buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.errors import ArgumentError, CheckpointError, ShapeError
from deepcore.ops import inplace
from deepcore.tensor import Tensor, tensor

ForwardHook = Callable[["Module", tuple[Any, ...], Any], None]


class Parameter(Tensor):
    """A tensor that training changes. `max_norm` limits the Euclidean norm of each unit's incoming weights."""

    __slots__ = ("max_norm",)

    def __init__(self, value: Tensor | npt.NDArray[Any], max_norm: float | None = None) -> None:
        super().__init__((value if isinstance(value, Tensor) else tensor(value)).array, True)
        self.max_norm = max_norm

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (np.array(self.numpy()), self.requires_grad, self.device, self.max_norm)

    def __copy__(self) -> Parameter:
        result = Parameter(self, self.max_norm)
        result.requires_grad = self.requires_grad
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        result = _rebuild(np.array(self.numpy()), self.requires_grad, self.device, self.max_norm)
        memo[id(self)] = result
        return result


def _rebuild(values: npt.NDArray[Any], requires_grad: bool, device: str, max_norm: float | None) -> Parameter:
    result = Parameter(tensor(values).to(device), max_norm)
    result.requires_grad = requires_grad
    return result


class Module:
    """Base of all layers and nets. Subclasses assign parameters, buffers and modules as attributes and write `forward`.

    Attributes:
        training: True in `train()` mode: dropout drops and batch norm uses the statistics of the batch.
    """

    def __init__(self) -> None:
        self.training = True
        self._parameters: dict[str, Parameter] = {}
        self._buffers: dict[str, Tensor] = {}
        self._host_buffers: set[str] = set()
        self._modules: dict[str, Module] = {}
        self._forward_hooks: list[ForwardHook] = []

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._modules[name] = value
        object.__setattr__(self, name, value)

    def register_buffer(self, name: str, value: Tensor, *, host: bool = False) -> None:
        """A tensor saved with the net but not trained. host: it stays on the CPU wherever the net goes."""
        self._buffers[name] = value
        if host:
            self._host_buffers.add(name)
        object.__setattr__(self, name, value)

    # ---- running ----
    def forward(self, *args: Any, **options: Any) -> Any:
        """The computation; written by subclasses, called through `module(...)`."""
        raise ArgumentError(f"{type(self).__name__}: a module needs a forward method")

    def __call__(self, *args: Any, **options: Any) -> Any:
        """`forward`, then the hooks, which see the arguments given by position."""
        y = self.forward(*args, **options)
        for hook in self._forward_hooks:
            hook(self, args, y)
        return y

    def register_forward_hook(self, hook: ForwardHook) -> Callable[[], None]:
        """Call hook(module, args, output) after each forward; returns a function that removes it."""
        self._forward_hooks.append(hook)
        return lambda: self._forward_hooks.remove(hook)

    def train(self, mode: bool = True) -> Module:
        """Training mode for this module and all below; returns self."""
        for _, m in self.named_modules():
            m.training = mode
        return self

    def eval(self) -> Module:
        """Inference mode for this module and all below; returns self."""
        return self.train(False)

    # ---- names ----
    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(dotted name, module) for this module (its name is `prefix`) and all below."""
        yield prefix, self
        for name, m in self._modules.items():
            yield from m.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter), each parameter once."""
        seen: set[int] = set()
        for prefix, m in self.named_modules():
            for name, p in m._parameters.items():
                if id(p) not in seen:
                    seen.add(id(p))
                    yield (f"{prefix}.{name}" if prefix else name), p

    def parameters(self) -> list[Parameter]:
        """All parameters, each once."""
        return [p for _, p in self.named_parameters()]

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, buffer)."""
        for prefix, m in self.named_modules():
            for name, b in m._buffers.items():
                yield (f"{prefix}.{name}" if prefix else name), b

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for p in self.parameters():
            p.grad = None

    def freeze(self) -> Module:
        """Exclude all parameters below from training; returns self."""
        for p in self.parameters():
            p.requires_grad = False
        return self

    def unfreeze(self) -> Module:
        """Train all parameters below again; returns self."""
        for p in self.parameters():
            p.requires_grad = True
        return self

    # ---- state ----
    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of all parameters and buffers by dotted name."""
        return {n: np.array(t.numpy()) for n, t in [*self.named_parameters(), *self.named_buffers()]}

    def load_state_dict(self, state: Mapping[str, npt.NDArray[Any]], *, strict: bool = True) -> None:
        """Copy values into parameters and buffers in place.

        Raises CheckpointError for missing or unknown names (unless strict=False) and ShapeError for other shapes;
        nothing is changed then.
        """
        own: dict[str, Tensor] = dict(self.named_parameters())
        own.update(self.named_buffers())
        missing, unknown = sorted(set(own) - set(state)), sorted(set(state) - set(own))
        if strict and (missing or unknown):
            raise CheckpointError(f"load_state_dict: missing {missing}, unknown {unknown}")
        for name in set(own) & set(state):
            if tuple(state[name].shape) != own[name].shape:
                raise ShapeError(f"load_state_dict: {name}: expected {own[name].shape}, got {state[name].shape}")
        for name, target in own.items():
            if name in state:
                inplace.copy_into(state[name], target)

    def astype(self, dtype: str) -> Module:
        """Convert all floating parameters and buffers, in place; returns self. float64 is for checking, not speed."""
        for _, m in self.named_modules():
            for t in [*m._parameters.values(), *m._buffers.values()]:
                if t.dtype in ("float32", "float64"):
                    inplace.convert(t, dtype)
        return self

    @property
    def device(self) -> str:
        """Where the first parameter or buffer lives; 'cpu' for a net without any."""
        return next((t.device for t in self._movable()), "cpu")

    def to(self, device: str) -> Module:
        """Move parameters, their gradients and buffers (but host buffers) to 'cpu' or 'cuda', in place; returns self.

        Make the optimizer afterwards: its moments live where the parameters are.
        """
        for t in self._movable():
            inplace.move(t, device)
        return self

    def _movable(self) -> Iterator[Tensor]:
        for _, m in self.named_modules():
            yield from m._parameters.values()
            yield from (b for name, b in m._buffers.items() if name not in m._host_buffers)

    # ---- looking ----
    def extra_repr(self) -> str:
        """Options shown between the parentheses of the module's text."""
        return ""

    def __repr__(self) -> str:
        head = f"{type(self).__name__}({self.extra_repr()}"
        if not self._modules:
            return head + ")"
        body = "".join(f"\n  ({name}): " + repr(m).replace("\n", "\n  ") for name, m in self._modules.items())
        return f"{head}{body}\n)"

    def summary(self, input_shape: Sequence[int]) -> str:
        """A table of layers for an input of `input_shape` (with the batch axis): outputs, parameters, FLOPs, bytes.

        FLOPs count a multiplication and an addition as two; bytes are those of the outputs.
        """
        from deepcore.nn.summary import summarize

        return summarize(self, tuple(input_shape))


class Sequential(Module):
    """Layers one after the other. Index with an int for one layer."""

    def __init__(self, *layers: Module) -> None:
        super().__init__()
        for i, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise ArgumentError(f"Sequential: expected modules, got {type(layer).__name__} at position {i}")
            setattr(self, str(i), layer)
        self.layers = list(layers)

    def forward(self, x: Tensor) -> Tensor:
        """The layers in order."""
        for layer in self.layers:
            x = layer(x)
        return x

    def __getitem__(self, index: int) -> Module:
        return self.layers[index]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)


def buffer(values: Any, dtype: str = "float32") -> Tensor:
    """A tensor for `register_buffer`."""
    return tensor(np.asarray(values, dtype=dtype))
