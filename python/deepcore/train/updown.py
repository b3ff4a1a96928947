"""UpDown: the wake-sleep fine-tuning of a deep belief net with an undirected top."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from deepcore import ops, random
from deepcore.autograd import no_grad
from deepcore.errors import ArgumentError
from deepcore.nn.module import Module
from deepcore.nn.rbm import RBM
from deepcore.ops.rbm import rbm_energy_gap, rbm_statistics
from deepcore.staging import tensor_of
from deepcore.tensor import Tensor
from deepcore.train.callbacks import Callback

Array = npt.NDArray[Any]


class UpDown(Callback):
    """Batches (v,) or (v, one-hot labels) -> the loss of one step of the up-down algorithm.

    Source: Hinton, Osindero, Teh, "A fast learning algorithm for deep belief nets", 2006, appendix B.

    Wake: states are drawn upwards, and the weights down learn to rebuild each layer from the one above. The top machine
    takes `k` steps of contrastive divergence from there. Sleep: states are drawn downwards from where its chain ended,
    and the weights up learn to recognise them. Give it to `Trainer` as task and among the callbacks.
    """

    def __init__(self, *, k: int = 3, seed: int = 0) -> None:
        if k < 1:
            raise ArgumentError(f"UpDown: expected k >= 1, got {k}")
        self.k, self.seed = k, seed
        self.draws = 0

    def _sample(self, mean: Tensor) -> Tensor:
        self.draws += 1
        return random.bernoulli(mean, seed=self.seed, stream=(3 << 61) + self.draws)

    def step(self, model: Module, batch: tuple[Array, ...]) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropies per sample of both passes, and the energy gap of the top machine."""
        machines: list[RBM] = model.machines  # type: ignore[attr-defined]
        generative: list[Any] = model.generative  # type: ignore[attr-defined]
        if len(generative) != len(machines) - 1:
            raise ArgumentError("UpDown: expected a deep belief net with weights down of its own: call untie() first")
        device = model.device
        labels = tensor_of(batch, 1, device) if len(batch) > 1 else None
        with no_grad():
            wake = [tensor_of(batch, 0, device)]
            for machine in machines[:-1]:
                wake.append(self._sample(machine(wake[-1])))
            joint = model.with_labels(wake[-1], labels)  # type: ignore[attr-defined]
            top = machines[-1]
            chains = top.gibbs(self.k, data=joint)
            assert chains.data_mean is not None
            statistics = rbm_statistics(joint, chains.data_mean, chains.v, chains.h_mean)
            width = wake[-1].shape[1]
            sleep = [chains.v[:, :width] if labels is not None else chains.v]
            for layer in reversed(generative):
                sleep.append(self._sample(ops.sigmoid(layer(sleep[-1]))))
            sleep.reverse()
        loss = rbm_energy_gap(top.weight, top.visible_bias, top.hidden_bias, statistics)
        rebuilt = 0.0
        for i, layer in enumerate(generative):
            error = _cross_entropy(layer(wake[i + 1]), wake[i])
            rebuilt += float(error.item())
            recognised = _cross_entropy(ops.linear(sleep[i], machines[i].weight, machines[i].hidden_bias), sleep[i + 1])
            loss = loss + error + recognised
        return loss, {"wake_cross_entropy": rebuilt}

    def state_dict(self) -> dict[str, Any]:
        """How many samples were drawn."""
        return {"draws": self.draws}

    def load_state(self, state: dict[str, Any], arrays: dict[str, Array]) -> None:
        """Continue from a checkpoint."""
        self.draws = int(state["draws"])


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Summed over units, averaged over samples."""
    return ops.multiply(ops.sum(ops.bce_with_logits(logits, target, reduction="none")), 1 / target.shape[0])
