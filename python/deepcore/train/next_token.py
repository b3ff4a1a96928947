"""NextToken: language models trained by truncated backpropagation through time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.nn.module import Module
from deepcore.nn.rnn import RecurrentState
from deepcore.staging import tensor_of
from deepcore.tensor import Tensor, tensor
from deepcore.train.callbacks import Callback

Array = npt.NDArray[Any]


class NextToken(Callback):
    """Windows of a `deepcore.data.StreamLoader` -> mean loss per token; the state goes on from window to window.

    Gradients end at the beginning of a window (Williams and Peng, 1990). The net has
    `loss(inputs, targets, state) -> (loss, state)`. Training and evaluation have a state each; both begin anew with
    the first window of an epoch. Give it to `Trainer` as task and as a callback too: then its state is part of
    checkpoints, and a run that stopped between two windows goes on bit for bit.
    """

    def __init__(self) -> None:
        self._states: dict[bool, RecurrentState | None] = {}  # by `training`: what the next window starts from
        self._last: tuple[Any, RecurrentState | None] = (None, None)  # the last window and what it started from

    def step(self, model: Module, batch: tuple[Array, ...]) -> tuple[Tensor, dict[str, float]]:
        """The loss (differentiable while recording); the same window again starts where it did before."""
        device = model.device
        if batch is self._last[0]:
            state = self._last[1]
        else:
            state = None if bool(batch[2][0]) else self._states.get(model.training)
        if state is not None and state.h.device != device:
            state = RecurrentState(state.h.to(device), None if state.c is None else state.c.to(device))
        self._last = batch, state
        loss, new = model.loss(tensor_of(batch, 0, device), tensor_of(batch, 1, device), state)  # type: ignore[attr-defined]
        self._states[model.training] = new.detach()
        return loss, {}

    def arrays(self) -> dict[str, Array]:
        """The state that the next window of training starts from."""
        state = self._states.get(True)
        return {} if state is None else {n: np.array(t.numpy()) for n, t in zip("hc", state) if t is not None}

    def load_state(self, state: dict[str, Any], arrays: dict[str, Array]) -> None:
        """Go on from what `arrays` gave."""
        self._last = None, None
        self._states = {}
        if arrays:
            self._states[True] = RecurrentState(tensor(arrays["h"]), tensor(arrays["c"]) if "c" in arrays else None)


__all__ = ["NextToken"]
