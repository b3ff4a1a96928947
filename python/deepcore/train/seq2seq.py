"""Pairs of sequences: the loss of a decoder that is shown the true tokens, or in part its own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import ops, random
from deepcore.autograd import no_grad
from deepcore.errors import ArgumentError
from deepcore.nn.module import Module
from deepcore.staging import tensor_of
from deepcore.tensor import Tensor, as_tensor
from deepcore.train.callbacks import Callback
from deepcore.train.trainer import Trainer

Array = npt.NDArray[Any]

DECAYS = ("linear", "exponential", "inverse-sigmoid")

_STREAM = 1 << 57  # of the random numbers, clear of the streams of layers, loaders and made data
_NO_TOKEN = -1


class SamplingDecay:
    """The probability that the decoder reads the true token, over the steps of training (Bengio et al., 2015, 2.4).

    It falls from about 1 to `final` at step `steps` and stays there: 'linear' 1 - c i, 'exponential' k^i,
    'inverse-sigmoid' k / (k + exp(i / k)), i the step, c and k such that `final` is met.

    Raises:
        ArgumentError: an unknown kind, final not in (0, 1) ('linear': [0, 1)), or steps < 1.
    """

    def __init__(self, kind: str, final: float, steps: int) -> None:
        if kind not in DECAYS:
            raise ArgumentError(f"scheduled sampling: expected a decay in {DECAYS}, got {kind!r}")
        low = 0.0 if kind == "linear" else math.ulp(0.0)
        if not low <= final < 1 or steps < 1:
            raise ArgumentError(
                f"scheduled sampling: expected a final probability in {'[' if kind == 'linear' else '('}0, 1) and "
                f"steps >= 1, got {final} and {steps}"
            )
        self.kind, self.final, self.steps = kind, final, steps
        self._k = self._inverse_sigmoid() if kind == "inverse-sigmoid" else 0.0

    def _inverse_sigmoid(self) -> float:
        """k by bisection: log(exp(n / k) / k) falls with k."""
        low, high = self.steps / 700.0, float(self.steps) + 1.0
        wanted = math.log(1.0 / self.final - 1.0)
        while self.steps / high - math.log(high) > wanted:
            high *= 2.0
        for _ in range(200):
            middle = 0.5 * (low + high)
            if self.steps / middle - math.log(middle) > wanted:
                low = middle
            else:
                high = middle
        return high

    def __call__(self, step: int) -> float:
        """The probability at a step, counted from 0."""
        if step >= self.steps:
            return self.final
        share = step / self.steps
        if self.kind == "linear":
            return 1.0 - (1.0 - self.final) * share
        if self.kind == "exponential":
            return float(self.final**share)
        return self._k / (self._k + math.exp(step / self._k))


class SequencePairs(Callback):
    """Batches of a `deepcore.data.PairDataset` -> mean loss per target token, for nets like `models.Seq2SeqNet`.

    Targets end with the token that ends a string. The net is called as model(source, lengths, inputs, choose) and gives
    logits (n, t, tokens); inputs are the targets one step earlier, behind `first` (teacher forcing, Williams and
    Zipser, 1989).

    Scheduled sampling (Bengio et al., 2015): in training each input but the first is, with the probability
    1 - decay(step), a token drawn from the distribution that the net gave for it. The draws are a function of seed and
    optimizer step. For this, give it to `Trainer` as a callback too.

    Metrics: accuracy, the share of target tokens that are the most probable ones, and exact, the share of targets of
    which all tokens are, which is that of greedy search.

    Args:
        first: the token before the first one.
        label_smoothing: see `deepcore.ops.softmax_cross_entropy`.
        decay: of scheduled sampling, None for teacher forcing throughout.
        seed: of the draws.
    """

    def __init__(
        self, first: int, *, label_smoothing: float = 0.0, decay: SamplingDecay | None = None, seed: int = 0
    ) -> None:
        self.first, self.label_smoothing, self.decay, self.seed = first, label_smoothing, decay, seed
        self._step = 0

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Count from where the optimizer stands."""
        self._step = trainer.optimizer.steps

    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        """Follow the optimizer."""
        self._step = trainer.optimizer.steps

    def step(self, model: Module, batch: tuple[Array, ...]) -> tuple[Tensor, dict[str, float]]:
        """Loss and metrics of one batch (source (n, s), lengths, target (n, t), lengths)."""
        device, target = model.device, batch[2]
        n, t = target.shape
        valid = np.arange(t) < batch[3][:, None]
        labels = np.where(valid, target, _NO_TOKEN)
        inputs = np.concatenate([np.full((n, 1), self.first, np.int64), target[:, :-1]], 1)
        choose = None
        chance = 1.0 if self.decay is None or not model.training else self.decay(self._step)
        if chance < 1.0:
            choose = _Draws(model, inputs, chance, self.seed, self._step)
        logits = model(
            tensor_of(batch, 0, device), tensor_of(batch, 1, device), as_tensor(inputs).to(device), choose
        )  # fmt: skip
        loss = ops.softmax_cross_entropy(
            logits, as_tensor(labels).to(device), label_smoothing=self.label_smoothing, ignore_label=_NO_TOKEN
        )
        right = (np.asarray(logits.numpy()).argmax(-1) == labels) & valid
        return loss, {
            "accuracy": float(right.sum() / max(valid.sum(), 1)),
            "exact": float((right | ~valid).all(1).mean()),
        }


class _Draws:
    """Which inputs of a batch are drawn, and from what."""

    def __init__(self, model: Module, inputs: Array, chance: float, seed: int, step: int) -> None:
        shape = inputs.shape
        coins = random.uniform(shape, dtype="float64", seed=seed, stream=_STREAM + 2 * step).numpy()
        self.places = random.uniform(shape, dtype="float64", seed=seed, stream=_STREAM + 2 * step + 1).numpy()
        self.model, self.inputs, self.drawn = model, inputs, coins >= chance

    def __call__(self, i: int, features: Tensor) -> Tensor | None:
        rows = np.flatnonzero(self.drawn[:, i])
        if not len(rows):
            return None
        with no_grad():
            logits = np.asarray(self.model.logits(features.detach()).numpy())[rows]  # type: ignore[attr-defined]
        p = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
        sums = np.cumsum(p, 1)
        tokens = np.array(self.inputs[:, i])
        below = sums < self.places[rows, i, None] * sums[:, -1:]
        tokens[rows] = np.minimum(below.sum(1), logits.shape[1] - 1)
        return as_tensor(tokens).to(features.device)


__all__ = ["DECAYS", "SamplingDecay", "SequencePairs"]
