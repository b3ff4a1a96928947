"""A training whose loss explodes is stopped by name."""

from __future__ import annotations

import math

from deepcore import train
from deepcore.errors import NumericalError

_EXPLODED = 20.0  # a loss so many times that of guessing has exploded


class Explosion(train.Callback):
    """Stops a training whose loss has grown out of all bounds, yet not to infinity.

    Args:
        owner: the estimator, for the message.
        vocabulary: number of tokens that one is guessed among.
    """

    def __init__(self, owner: str, vocabulary: int) -> None:
        self.owner = owner
        self.limit = _EXPLODED * max(math.log(vocabulary), 1.0)

    def on_step_end(self, trainer: train.Trainer, loss: float) -> None:
        """Compare with guessing."""
        if loss > self.limit:
            raise NumericalError(
                f"{self.owner}: the loss of {loss:.4g} nats per token at step {trainer.optimizer.steps - 1} is more "
                f"than {_EXPLODED:g} times that of guessing: lower the learning rate or clip the gradients "
                "(clip_norm=1)"
            )


__all__ = ["Explosion"]
