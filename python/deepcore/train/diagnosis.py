"""Finds where NaN or infinity came from, for the message of NumericalError."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.autograd import no_grad
from deepcore.nn.conv_lstm import ConvRecurrent
from deepcore.nn.module import Module
from deepcore.nn.rnn import Recurrent
from deepcore.ops import inplace
from deepcore.tensor import Tensor

REMEDY = "lower the learning rate or clip the gradients (clip_norm=1)"


def blame_not_finite(model: Module, task: Any, batch: tuple[npt.NDArray[Any], ...], loss: float, step: int) -> str:
    """Which input sample, parameter or layer is the first that is not finite; runs the batch once more with a watch.

    Of a recurrent layer also the time step is named.
    """
    head = f"the loss is {loss} at step {step}"
    for position, values in enumerate(batch):
        values = np.asarray(values)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            finite = np.isfinite(values).reshape(len(values), -1).all(1)
            name = ("inputs", "targets", "weights")[position] if position < 3 else f"part {position}"
            return f"{head}: the {name} of sample {int(np.argmin(finite))} of the batch hold NaN or infinity"
    named = list(model.named_parameters())
    bad = inplace.first_not_finite([p for _, p in named])
    if bad >= 0:
        return f"{head}: the parameter {named[bad][0]} is not finite; {REMEDY}"
    found: list[str] = []
    removers = []
    for name, module in model.named_modules():
        if isinstance(module, (Recurrent, ConvRecurrent)):
            removers.append(_watch_steps(module, name, found))
        if module._modules:
            continue

        def watch(layer: Module, args: tuple[Any, ...], y: Any, name: str = name) -> None:
            if not found and isinstance(y, Tensor) and not np.isfinite(y.numpy()).all():
                found.append(f"{name or 'the net'} ({type(layer).__name__})")

        removers.append(module.register_forward_hook(watch))
    try:
        with no_grad():
            task.step(model, batch)
    finally:
        for remove in removers:
            remove()
    if found:
        return f"{head}: the output of layer {found[0]} is not finite; {REMEDY}"
    return f"{head}: all layers are finite, the loss function is not"


def _watch_steps(layer: Recurrent | ConvRecurrent, name: str, found: list[str]) -> Callable[[], None]:
    """Let a recurrent layer note the first time step whose outputs are not finite, if `found` is empty; undone by what
    is returned."""
    plain = layer.forward

    def forward(*args: Any, **options: Any) -> Any:
        asked, layer.output = layer.output, "both"
        try:
            y = plain(*args, **options)[0].numpy()
        finally:
            layer.output = asked
        steps = np.moveaxis(y, 0 if layer.time_major else 1, 0)
        finite = np.isfinite(steps).reshape(len(steps), -1).all(1)
        if not found and not finite.all():
            found.append(f"{name or 'the net'} ({type(layer).__name__}) at time step {int(np.argmin(finite))}")
        return plain(*args, **options)

    layer.forward = forward  # type: ignore[method-assign]
    return lambda: layer.__dict__.pop("forward", None)
