"""Deep Boltzmann machine: several hidden layers, all joints undirected, trained together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import nn, ops, random
from deepcore.autograd import no_grad
from deepcore.errors import ArgumentError, ShapeError
from deepcore.nn.module import Parameter, buffer
from deepcore.ops import inplace
from deepcore.tensor import Tensor, full, tensor

Array = npt.NDArray[Any]
States = list[Tensor]
LARGEST_ENUMERATION = 20


class DeepBoltzmann(nn.Module):
    """p(x0, ..., xL) ~ exp(sum b_l.(x_l - o_l) + sum (x_l+1 - o_l+1) w_l (x_l - o_l)), x0 visible, all units Bernoulli
    (Salakhutdinov and Hinton, 2009), centred on offsets o (Montavon and Mueller, 2012).

    Args:
        visible, hidden: numbers of units; hidden from the bottom.
        deviation: of the initial weights.
        seed: of weights and samples.

    Attributes:
        weights: (hidden[l], units below) of each joint. biases, offsets: of each layer, the visible one first.
    """

    def __init__(self, visible: int, hidden: Sequence[int], *, deviation: float = 0.01, seed: int = 0) -> None:
        super().__init__()
        sizes = [visible, *hidden]
        if len(sizes) < 3 or min(sizes) < 1:
            raise ArgumentError(f"DeepBoltzmann: expected at least two hidden layers of one unit, got {list(hidden)}")
        self.weights: list[Parameter] = []
        self.biases: list[Parameter] = []
        for i, (low, high) in enumerate(pairwise(sizes)):
            w = Parameter(random.normal((high, low), 0.0, deviation, seed=seed, stream=i))
            setattr(self, f"weight{i}", w)
            self.weights.append(w)
        for i, n in enumerate(sizes):
            b = Parameter(full((n,), 0.0))
            setattr(self, f"bias{i}", b)
            self.biases.append(b)
            self.register_buffer(f"offset{i}", buffer(np.full(n, 0.5)))
        self.register_buffer("counter", tensor(np.array([(seed ^ 0x44424D << 32) & (1 << 63) - 1, 0])), host=True)

    counter: Tensor

    @property
    def offsets(self) -> States:
        """Centres of each layer, the visible one first."""
        return [self._buffers[f"offset{i}"] for i in range(len(self.biases))]

    def start_from(self, mean: Array) -> None:
        """Biases and offsets that give the visible units the means of the data (visible,)."""
        p = np.clip(mean, 0.005, 0.995).astype(np.float32)
        inplace.copy_into(np.log(p) - np.log1p(-p), self.biases[0])
        inplace.copy_into(p, self.offsets[0])

    def _input(self, states: States, layer: int) -> Tensor:
        """Total input of a layer from its neighbours: (rows, units)."""
        total: Tensor | None = None
        if layer > 0:
            below = states[layer - 1] - self.offsets[layer - 1]
            total = ops.linear(below, self.weights[layer - 1], self.biases[layer])
        if layer < len(self.weights):
            above = ops.matmul(states[layer + 1] - self.offsets[layer + 1], self.weights[layer])
            total = above + self.biases[layer] if total is None else total + above
        assert total is not None
        return total

    def mean_field(self, v: Tensor, steps: int = 10) -> States:
        """Means of all layers given v by `steps` rounds of mean-field updates from a pass upwards; v first."""
        if v.ndim != 2 or v.shape[1] != self.biases[0].shape[0]:
            raise ShapeError(f"DeepBoltzmann: expected (rows, {self.biases[0].shape[0]}), got {v.shape}")
        states = [v]
        for w, b, o in zip(self.weights, self.biases[1:], self.offsets[:-1], strict=True):
            states.append(ops.sigmoid(ops.linear(states[-1] - o, w, b)))
        for _ in range(steps):
            for layer in range(1, len(states)):
                states[layer] = ops.sigmoid(self._input(states, layer))
        return states

    def forward(self, v: Tensor) -> Tensor:
        """Mean-field means of the top layer given v: (rows, visible) -> (rows, top)."""
        return self.mean_field(v)[-1]

    def reconstruct(self, v: Tensor) -> Tensor:
        """Means of the visible units given the mean-field means of the first hidden layer given v."""
        states = self.mean_field(v)
        return ops.sigmoid(self._input(states, 0))

    def _draw(self, mean: Tensor) -> Tensor:
        seed, count = (int(x) for x in self.counter.numpy())
        inplace.copy_into(np.array([seed, count + 1]), self.counter)
        return random.bernoulli(mean, seed=seed, stream=count)

    def gibbs(self, states: States, steps: int) -> States:
        """`steps` Gibbs steps: all odd layers given the even ones, then the even ones."""
        with no_grad():
            states = list(states)
            for _ in range(steps):
                for parity in (1, 0):
                    for layer in range(parity, len(states), 2):
                        states[layer] = self._draw(ops.sigmoid(self._input(states, layer)))
        return states

    def noise(self, n: int) -> States:
        """Independent states of n chains, from the offsets."""
        return [self._draw(ops.broadcast_to(ops.reshape(o, 1, -1), (n, o.shape[0]))) for o in self.offsets]

    def energy(self, states: States) -> Tensor:
        """E of each row: (rows)."""
        centred = [s - o for s, o in zip(states, self.offsets, strict=True)]
        total = ops.matmul(centred[0], ops.reshape(self.biases[0], -1, 1))
        for low, high, w, b in zip(centred[:-1], centred[1:], self.weights, self.biases[1:], strict=True):
            total = total + ops.sum(high * ops.linear(low, w, b), 1, keepdims=True)
        return -ops.reshape(total, -1)

    # ---- likelihood of small machines ----
    def log_partition(self) -> float:
        """Exact log Z by listing the states of the odd layers (20 units in all at most), in float64."""
        odd = list(range(1, len(self.biases), 2))
        sizes = [self.biases[i].shape[0] for i in odd]
        if sum(sizes) > LARGEST_ENUMERATION:
            raise ArgumentError(
                f"DeepBoltzmann.log_partition: expected at most {LARGEST_ENUMERATION} units in the odd layers, got "
                f"{sum(sizes)}"
            )
        bits = ((np.arange(1 << sum(sizes))[:, None] >> np.arange(sum(sizes))) & 1).astype(np.float64)
        given = dict(zip(odd, np.split(bits, np.cumsum(sizes)[:-1], axis=1), strict=True))
        w = [np.asarray(p.numpy(), np.float64) for p in self.weights]
        b = [np.asarray(p.numpy(), np.float64) for p in self.biases]
        o = [np.asarray(p.numpy(), np.float64) for p in self.offsets]
        total = np.zeros(len(bits))
        for i in odd:
            total += (given[i] - o[i]) @ b[i]
        for i in range(0, len(b), 2):
            field = np.tile(b[i], (len(bits), 1))
            if i > 0:
                field += (given[i - 1] - o[i - 1]) @ w[i - 1].T
            if i + 1 in given:
                field += (given[i + 1] - o[i + 1]) @ w[i]
            total += (np.logaddexp(0, field) - field * o[i]).sum(1)
        top = total.max()
        return float(top + np.log(np.exp(total - top).sum()))

    def log_likelihood_bound(self, v: Tensor, log_z: float, steps: int = 30) -> Array:
        """-E of the mean-field means + their entropy - log Z <= log p(v) of each row, in nats: (rows)."""
        with no_grad():
            states = self.mean_field(v, steps)
            bound = -np.asarray(self.energy(states).numpy(), np.float64) - log_z
            for s in states[1:]:
                q = np.clip(np.asarray(s.numpy(), np.float64), 1e-12, 1 - 1e-12)
                bound -= (q * np.log(q) + (1 - q) * np.log1p(-q)).sum(1)
        return np.asarray(bound)
