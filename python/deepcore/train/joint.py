"""JointBoltzmann: a training step of a deep Boltzmann machine, and its persistent chains."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import ops, random
from deepcore.autograd import no_grad
from deepcore.errors import ArgumentError
from deepcore.nn.module import Module
from deepcore.ops import inplace
from deepcore.staging import tensor_of
from deepcore.tensor import Tensor, tensor
from deepcore.train.callbacks import Callback

Array = npt.NDArray[Any]


class JointBoltzmann(Callback):
    """Batches (v,) -> mean energy of the data, its hidden layers at their mean-field means, less that of persistent
    chains (Salakhutdinov and Hinton, 2009). Give it to `Trainer` as task and among the callbacks.

    Args:
        chains: how many persist.
        k: Gibbs steps of a training step.
        mean_field_steps: rounds of updates for the data.
        offset_rate: with which the centres follow the means of the data (Montavon and Mueller, 2012).
        binarize: take v as probabilities, and draw the data anew at each step. seed: of that.
    """

    def __init__(
        self, *, chains: int = 100, k: int = 1, mean_field_steps: int = 10, offset_rate: float = 0.01,
        binarize: bool = False, seed: int = 0,
    ) -> None:  # fmt: skip
        if min(chains, k, mean_field_steps) < 1 or not 0 <= offset_rate <= 1:
            raise ArgumentError(
                "JointBoltzmann: expected chains, k, mean_field_steps >= 1 and offset_rate in [0, 1], got "
                f"{chains}, {k}, {mean_field_steps}, {offset_rate}"
            )
        self.chains, self.k, self.mean_field_steps, self.offset_rate = chains, k, mean_field_steps, offset_rate
        self.binarize, self.seed, self.draws = binarize, seed, 0
        self._states: list[Tensor] = []

    def step(self, model: Module, batch: tuple[Array, ...]) -> tuple[Tensor, dict[str, float]]:
        """The energy gap, and the error of reconstructions."""
        machine: Any = model
        with no_grad():
            v = tensor_of(batch, 0, model.device)
            if self.binarize:
                self.draws += 1
                v = random.bernoulli(v, seed=self.seed, stream=(1 << 62) + self.draws)
            data = machine.mean_field(v, self.mean_field_steps)
            if not self._states:
                self._states = machine.noise(self.chains)
            self._states = machine.gibbs(self._states, self.k)
            error = ops.mean(ops.square(v - machine.reconstruct(v)))
            if model.training:
                self._move_offsets(machine, data)
        loss = ops.mean(machine.energy(data)) - ops.mean(machine.energy(self._states))
        return loss, {"reconstruction_error": float(error.item())}

    def _move_offsets(self, machine: Any, data: list[Tensor]) -> None:
        """Centres follow the data; biases move with them, so that the distribution stays the same."""
        moves = [(ops.mean(x, 0) - o) * self.offset_rate for x, o in zip(data, machine.offsets, strict=True)]
        for i, b in enumerate(machine.biases):
            shift = ops.multiply(b, 0.0)
            if i > 0:
                shift = shift + ops.matmul(machine.weights[i - 1], moves[i - 1])
            if i < len(machine.weights):
                shift = shift + ops.matmul(moves[i + 1], machine.weights[i])
            inplace.copy_into(b + shift, b)
        for o, move in zip(machine.offsets, moves, strict=True):
            inplace.copy_into(o + move, o)

    def state_dict(self) -> dict[str, Any]:
        """How many batches were drawn."""
        return {"draws": self.draws}

    def arrays(self) -> dict[str, Array]:
        """The chains."""
        return {f"chain.{i}": np.array(s.numpy()) for i, s in enumerate(self._states)}

    def load_state(self, state: dict[str, Any], arrays: dict[str, Array]) -> None:
        """Continue from a checkpoint."""
        self.draws = int(state["draws"])
        self._states = [tensor(arrays[f"chain.{i}"]) for i in range(len(arrays))]
