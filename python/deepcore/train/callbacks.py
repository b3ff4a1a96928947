"""Callbacks: what may happen around steps and epochs of `Trainer.fit`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deepcore.errors import ArgumentError, NumericalError

if TYPE_CHECKING:
    from deepcore.train.trainer import Trainer


_EXPLODED = 20.0  # a loss so many times that of guessing has exploded


class Callback:
    """Base class; override what is needed. `state_dict` and `arrays` go into checkpoints."""

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first step (also after a resume)."""

    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        """After each optimizer step."""

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """After each epoch and its validation; `record` is the new entry of the history."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last step, unless training failed."""

    def state_dict(self) -> dict[str, Any]:
        """JSON values to be kept in checkpoints."""
        return {}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays to be kept in checkpoints."""
        return {}

    def load_state(self, state: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from what `state_dict` and `arrays` gave."""


class EarlyStopping(Callback):
    """Stop when a value of the history has not improved for `patience` epochs; restore the best weights.

    Args:
        monitor: name in the history, 'val_loss' by default.
        patience: epochs without improvement before stopping.
        min_delta: smallest change that counts as improvement.
        mode: 'min' or 'max'; default 'max' for names with 'accuracy' or 'score', else 'min'.
        restore_best: copy the best weights back at the end.
    """

    def __init__(
        self, monitor: str = "val_loss", *, patience: int = 10, min_delta: float = 0.0, mode: str | None = None,
        restore_best: bool = True,
    ) -> None:  # fmt: skip
        if patience < 0 or min_delta < 0:
            raise ArgumentError(f"EarlyStopping: expected patience, min_delta >= 0, got {patience}, {min_delta}")
        if mode is None:
            mode = "max" if "accuracy" in monitor or "score" in monitor else "min"
        if mode not in ("min", "max"):
            raise ArgumentError(f"EarlyStopping: expected mode 'min' or 'max', got {mode!r}")
        self.monitor, self.patience, self.min_delta, self.mode = monitor, patience, min_delta, mode
        self.restore_best = restore_best
        self.best: float | None = None
        self.best_epoch = 0
        self.waited = 0
        self._weights: dict[str, npt.NDArray[Any]] = {}

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Compare with the best value so far."""
        if self.monitor not in record:
            raise ArgumentError(f"EarlyStopping: no {self.monitor!r} in the history, it has {sorted(record)}")
        value = float(record[self.monitor])
        better = self.best is None or (
            value < self.best - self.min_delta if self.mode == "min" else value > self.best + self.min_delta
        )
        if better and np.isfinite(value):
            self.best, self.best_epoch, self.waited = value, int(record["epoch"]), 0
            if self.restore_best:
                self._weights = trainer.evaluated_state()
            return
        self.waited += 1
        if self.waited > self.patience:
            trainer.stop(f"no improvement of {self.monitor} for {self.waited} epochs")

    def on_fit_end(self, trainer: Trainer) -> None:
        """Copy the best weights back."""
        if self.restore_best and self._weights:
            trainer.model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Best value, its epoch, epochs waited."""
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The best weights."""
        return self._weights

    def load_state(self, state: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a checkpoint."""
        self.best, self.best_epoch, self.waited = state["best"], state["best_epoch"], state["waited"]
        self._weights = dict(arrays)


class ExplodingLoss(Callback):
    """Stops a training whose cross-entropy has grown out of all bounds, yet not to infinity: NumericalError.

    Args:
        classes: how many there are; log(classes) is the loss of guessing.
        owner: whose training it is. per: what the loss is the mean over.
    """

    def __init__(self, classes: int, owner: str, per: str) -> None:
        self.limit, self.owner, self.per = _EXPLODED * max(math.log(classes), 1.0), owner, per

    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        """Compare with guessing."""
        if loss > self.limit:
            raise NumericalError(
                f"{self.owner}: the loss of {loss:.4g} nats per {self.per} at step {trainer.optimizer.steps - 1} is "
                f"more than {_EXPLODED:g} times that of guessing: lower the learning rate or clip the gradients "
                "(clip_norm=1)"
            )
