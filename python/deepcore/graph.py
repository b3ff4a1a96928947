"""A training step recorded once and launched as a whole: a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from deepcore import _C
from deepcore.errors import ArgumentError
from deepcore.nn.activation import Dropout
from deepcore.nn.module import Module, Parameter
from deepcore.ops import inplace
from deepcore.optim.optimizer import Closure, Optimizer
from deepcore.tensor import Tensor

Outputs = Tensor | tuple[Tensor, ...]
Step = Callable[[Closure | None], Tensor | None]


class CapturedStep:
    """`step(*tensors)` as one launch instead of hundreds, for small nets that keep a GPU waiting for the host.

    The first call runs `step` as it is, the second one records it, and all later calls launch the recording. After n
    calls weights, moments, dropout masks and the learning rate are those of n plain calls, bit for bit.

    Args:
        step: takes tensors, does what a training step does (forward, `backward`, `optimizer.step()`) and returns a
            tensor or a tuple of tensors. It must do the same work at each call, and not read results on the host:
            no `.item()`, `.numpy()`, no `clip_norm`. Random numbers come in as inputs, but for those of `model`'s
            Dropout layers.
        optimizers: those that `step` uses; rates, schedules and corrections go on from call to call.
        model: the module whose Dropout layers go on from call to call.
        device: of the work.

    The returned tensors are the same ones at each call; the next call overwrites them.
    """

    def __init__(
        self, step: Callable[..., Outputs], optimizers: Optimizer | Sequence[Optimizer] = (),
        model: Module | None = None, *, device: str = "cuda",
    ) -> None:  # fmt: skip
        self.step = step
        self.optimizers = [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)
        for optimizer in self.optimizers:
            if not optimizer.recordable:
                raise ArgumentError(
                    f"CapturedStep: expected optimizers whose steps do the same work, got {type(optimizer).__name__}"
                )
        self.device = _C.check_device(device)
        if self.device == "cpu":
            raise ArgumentError("CapturedStep: expected a CUDA device, got cpu")
        self._dropouts = [] if model is None else [m for _, m in model.named_modules() if isinstance(m, Dropout)]
        self._calls = 0
        self._recorded: _C.RecordedStep | None = None
        self._inputs: list[Tensor] = []
        self._outputs: Outputs = ()
        self._steps: list[tuple[Optimizer, list[tuple[Parameter, Tensor | None]]]] = []

    def __call__(self, *inputs: Tensor) -> Outputs:
        """One step. ArgumentError when shapes or types differ from those recorded."""
        self._calls += 1
        if self._calls == 1:
            return self.step(*[x.to(self.device) for x in inputs])
        if self._recorded is None:
            self._record(inputs)
        else:
            self._check(inputs)
            for x, own in zip(inputs, self._inputs, strict=True):
                inplace.copy_into(x, own)
            self._refresh()
        assert self._recorded is not None
        self._recorded.launch([m.key for m in self._dropouts])
        return self._outputs

    def _check(self, inputs: Sequence[Tensor]) -> None:
        expected = [(x.shape, x.dtype) for x in self._inputs]
        got = [(x.shape, x.dtype) for x in inputs]
        if expected != got:
            raise ArgumentError(f"CapturedStep: expected inputs {expected} as recorded, got {got}")

    def _record(self, inputs: Sequence[Tensor]) -> None:
        self._inputs = [inplace.duplicate(x.to(self.device)) for x in inputs]
        steps: list[tuple[Optimizer, list[tuple[Parameter, Tensor | None]]]] = []
        recorded = _C.RecordedStep(self.device)
        try:
            with _Watched(self.optimizers, steps):
                outputs = self.step(*self._inputs)
        except BaseException:
            del recorded  # ends the recording
            raise
        recorded.end()
        self._recorded, self._outputs, self._steps = recorded, outputs, steps

    def _refresh(self) -> None:
        """The host's part of a step: counters, rates and corrections, in the order of the recording."""
        assert self._recorded is not None
        for m in self._dropouts:
            calls = m._buffers["calls"].numpy()
            calls[...] += self._recorded.calls(*m.key)
        self._recorded.refresh(True)
        try:
            for optimizer, grads in self._steps:
                before = [(p, p.grad) for p, _ in grads]
                for p, g in grads:
                    p.grad = g
                optimizer.step()
                for p, g in before:
                    p.grad = g
        finally:
            self._recorded.refresh(False)


class _Watched:
    """Within the block, notes each `step` of the optimizers with the gradients it saw."""

    def __init__(self, optimizers: Sequence[Optimizer], seen: list[Any]) -> None:
        self.optimizers, self.seen = optimizers, seen

    def __enter__(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step = self._watching(optimizer, optimizer.step)  # type: ignore[method-assign, assignment]

    def __exit__(self, *error: object) -> None:
        for optimizer in self.optimizers:
            del optimizer.step

    def _watching(self, optimizer: Optimizer, step: Step) -> Step:
        def watched(closure: Closure | None = None) -> Tensor | None:
            if closure is None:  # a step with one comes back here without
                self.seen.append((optimizer, [(p, p.grad) for p in optimizer.params]))
            return step(closure)

        return watched


__all__ = ["CapturedStep"]
