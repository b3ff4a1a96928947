"""Deep belief net: restricted Boltzmann machines on top of each other, the top one undirected."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import nn, ops
from deepcore.autograd import no_grad
from deepcore.errors import ArgumentError, ShapeError
from deepcore.nn import partition
from deepcore.ops import inplace
from deepcore.ops.rbm import Hold
from deepcore.tensor import Tensor, tensor

Array = npt.NDArray[Any]
Unrolled = list[tuple[Array, Array, Array]]


class DeepBeliefNet(nn.Module):
    """p(v, h1, ..., hL) = p(v | h1) ... p(h_L-2 | h_L-1) p(h_L-1, hL), the last a restricted Boltzmann machine (Hinton,
    Osindero, Teh, 2006).

    Args:
        machines: from the bottom; each as wide as the one below has hidden units. With `classes`, the top one has that
            many more visible units, one softmax choice: the label.
        classes: labels of the associative memory at the top, 0 for none.

    Attributes:
        machines: the `deepcore.nn.RBM`s. Their weights lead up (recognition); they lead down as well until `untie`.
        generative: after `untie`, a dense layer down for each machine but the top one.
    """

    def __init__(self, machines: Sequence[nn.RBM], classes: int = 0) -> None:
        super().__init__()
        if not machines:
            raise ArgumentError("DeepBeliefNet: expected at least one machine")
        for i, (low, high) in enumerate(pairwise(machines)):
            labels = classes if i == len(machines) - 2 else 0
            if high.weight.shape[1] != low.weight.shape[0] + labels:
                raise ShapeError(
                    f"DeepBeliefNet: expected {low.weight.shape[0] + labels} visible units in machine {i + 1}, got "
                    f"{high.weight.shape[1]}"
                )
        self.classes = classes
        self.machines = list(machines)
        for i, machine in enumerate(machines):
            setattr(self, f"machine{i}", machine)
        self.generative: list[nn.Linear] = []

    @property
    def top(self) -> nn.RBM:
        """The machine at the top."""
        return self.machines[-1]

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        return f"classes={self.classes}" if self.classes else ""

    def untie(self) -> None:
        """Give the lower machines weights of their own on the way down, equal to the present ones."""
        if self.generative:
            return
        for i, machine in enumerate(self.machines[:-1]):
            hidden, visible = machine.weight.shape
            layer = nn.Linear(hidden, visible, seed=0)
            inplace.copy_into(ops.contiguous(ops.transpose(machine.weight)), layer.weight)
            assert layer.bias is not None
            inplace.copy_into(machine.visible_bias, layer.bias)
            setattr(self, f"generative{i}", layer.to(self.device))
            self.generative.append(layer)

    # ---- up and down ----
    def below_top(self, v: Tensor) -> Tensor:
        """Means of the layer below the top machine, without labels: (rows, visible) -> (rows, units)."""
        for machine in self.machines[:-1]:
            v = machine(v)
        return v

    def with_labels(self, h: Tensor, labels: Tensor | None = None) -> Tensor:
        """h beside one-hot labels (rows, classes), or beside equal shares where there are none."""
        if not self.classes:
            return h
        if labels is None:
            labels = ops.broadcast_to(_constant(1 / self.classes, h), (h.shape[0], self.classes))
        return ops.concatenate([h, ops.astype(labels, h.dtype)], 1)

    def forward(self, v: Tensor) -> Tensor:
        """Means of the top hidden units: (rows, visible) -> (rows, hidden). Differentiable."""
        h: Tensor = self.top(self.with_labels(self.below_top(v)))
        return h

    def down(self, h: Tensor) -> Tensor:
        """Means of the visible units from states of the layer below the top machine."""
        for i in range(len(self.machines) - 2, -1, -1):
            h = self.mean_below(i, h)
        return h

    def mean_below(self, i: int, h: Tensor) -> Tensor:
        """Means of the visible units of machine i given its hidden units, on the way down."""
        machine = self.machines[i]
        if not self.generative:
            return machine.backward(h)
        z = self.generative[i](h)
        return ops.sigmoid(z) if machine.units.visible == "bernoulli" else z

    def backward(self, h: Tensor) -> Tensor:
        """Means of the visible units given the top hidden units: (rows, hidden) -> (rows, visible)."""
        below = self.top.backward(h)
        return self.down(below[:, : below.shape[1] - self.classes] if self.classes else below)

    def reconstruct(self, v: Tensor) -> Tensor:
        """Up and down again."""
        return self.backward(self.forward(v))

    # ---- other nets of the same weights ----
    def layers(self) -> list[nn.Linear]:
        """Dense layers upwards that share the machines' parameters; the top one without its label units."""
        found = [m.linear() for m in self.machines]
        if self.classes:
            weight = self.top.weight
            found[-1].weight = nn.Parameter(ops.contiguous(weight[:, : weight.shape[1] - self.classes]))
        return found

    def to_mlp(
        self, outputs: int, *, dropout: float = 0.0, input_dropout: float = 0.0, max_norm: float | None = None,
        seed: int = 0,
    ) -> nn.Sequential:  # fmt: skip
        """A perceptron whose hidden layers are the machines' own parameters (no copies), and a new output layer.

        The top machine's weights are copied where label units lie among them.
        """
        layers: list[nn.Module] = []
        if input_dropout:
            layers.append(nn.Dropout(input_dropout, seed=(seed << 16) + 1000))
        width = 0
        for i, layer in enumerate(self.layers()):
            layer.weight.max_norm = max_norm
            layers.append(layer)
            if dropout:
                layers.append(nn.Dropout(dropout, seed=(seed << 16) + 1001 + i))
            width = layer.weight.shape[0]
        layers.append(nn.Linear(width, outputs, init="glorot_uniform", seed=(seed << 16) + 999))
        return nn.Sequential(*layers)

    def unroll(self) -> Unrolled:
        """(weight (hidden, visible), hidden bias, visible bias) of each machine from the bottom, as numpy arrays: what
        an autoencoder is made of (Hinton and Salakhutdinov, 2006). Label units are left out."""
        result = []
        for i, m in enumerate(self.machines):
            keep = m.weight.shape[1] - (self.classes if i == len(self.machines) - 1 else 0)
            result.append((np.array(m.weight.numpy()[:, :keep]), np.array(m.hidden_bias.numpy()),
                           np.array(m.visible_bias.numpy()[:keep])))  # fmt: skip
        return result

    # ---- samples ----
    def generate(
        self, n: int = 1, *, labels: Array | None = None, steps: int = 500, init: Tensor | None = None
    ) -> Tensor:
        """Means of the visible units (n, visible) after `steps` Gibbs steps in the top machine and one pass down.

        labels (n,): classes that the associative memory is held at. init: visible states to start from.
        """
        if steps < 1 or n < 1:
            raise ArgumentError(f"DeepBeliefNet.generate: expected n and steps >= 1, got {n} and {steps}")
        hold = Hold()
        with no_grad():
            if labels is not None:
                if not self.classes:
                    raise ArgumentError("DeepBeliefNet.generate: the net was trained without labels")
                labels = np.asarray(labels)
                if labels.shape != (n,) or labels.min() < 0 or labels.max() >= self.classes:
                    raise ArgumentError(
                        f"DeepBeliefNet.generate: expected {n} labels from 0 to {self.classes - 1}, got {labels!r}"
                    )
                width = self.top.weight.shape[1]
                where, value = np.zeros((2, n, width), np.float32)
                where[:, width - self.classes :] = 1
                value[np.arange(n), width - self.classes + labels] = 1
                hold = Hold(None, tensor(where).to(self.device), tensor(value).to(self.device))
            start = None
            if init is not None:
                start = self.with_labels(self.below_top(init))
            state = self.top.start(n, start)
            chains = self.top.gibbs(steps, state=state, hold=hold)
            h = chains.v if len(self.machines) > 1 else chains.v_mean
            return self.down(h[:, : h.shape[1] - self.classes] if self.classes else h)

    # ---- likelihood ----
    def log_likelihood_bound(self, v: Tensor, log_z: float, *, samples: int = 10) -> Array:
        """A lower bound on log p(v) of each row in nats, (rows), given log Z of the top machine.

        E_q [log p(v | h1) + ... - F(h_L-1) - log Z] + entropy of q, with q the product of the means on the way up, by
        `samples` samples of it (Salakhutdinov and Murray, 2008). Bernoulli units below the top, no labels.
        """
        if self.classes or any(m.units.hidden != "bernoulli" for m in self.machines[:-1]):
            raise ArgumentError("DeepBeliefNet.log_likelihood_bound: expected Bernoulli hidden units and no labels")
        if self.machines[0].units.visible != "bernoulli":
            raise ArgumentError("DeepBeliefNet.log_likelihood_bound: expected Bernoulli visible units")
        total = np.zeros(v.shape[0])
        with no_grad():
            for _ in range(samples):
                x = v
                for i in range(len(self.machines) - 1):
                    machine = self.machines[i]
                    q = np.clip(np.asarray(machine(x).numpy(), np.float64), 1e-12, 1 - 1e-12)
                    h = machine.sample_hidden(x)
                    total -= (q * np.log(q) + (1 - q) * np.log1p(-q)).sum(1)
                    p = np.clip(np.asarray(self.mean_below(i, h).numpy(), np.float64), 1e-12, 1 - 1e-12)
                    s = np.asarray(x.numpy(), np.float64)
                    total += (s * np.log(p) + (1 - s) * np.log1p(-p)).sum(1)
                    x = h
                total -= partition.free_energies(self.top, x.numpy()) + log_z
        return total / samples


def _constant(value: float, like: Tensor) -> Tensor:
    return tensor(np.full((1, 1), value, like.dtype)).to(like.device)
