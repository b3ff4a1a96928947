"""Restricted Boltzmann machine: two layers of units, joined by weights that work both ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import ops, random
from deepcore.autograd import no_grad
from deepcore.errors import ArgumentError, ShapeError
from deepcore.nn.init import generator_for
from deepcore.nn.linear import Linear
from deepcore.nn.module import Module, Parameter, buffer
from deepcore.ops import inplace
from deepcore.ops.rbm import KINDS, NOTHING_HELD, Chains, Hold, Units
from deepcore.tensor import Tensor, full, tensor

Array = npt.NDArray[Any]
_ACTIVATIONS = {"bernoulli": "sigmoid", "gaussian": None, "relu": "relu"}


class RBM(Module):
    """p(v, h) = e^-E(v, h) / Z, with E(v, h) = -b.v - c.h - h.(w v) (Smolensky, 1986; Hinton, 2002).

    Gaussian visible units add (v - b)^2 / (2 s) in place of -b.v and feed v / s to the hidden ones (Cho, Ilin, Raiko,
    2011). The weight is that of a dense layer from visible to hidden units, so that machines stack into nets.

    Args:
        visible, hidden: numbers of units.
        visible_units, hidden_units: 'bernoulli', 'gaussian', 'softmax' or 'relu' (noisy rectified linear units, Nair
            and Hinton, 2010).
        visible_group, hidden_group: how many softmax units share a choice.
        visible_choice: so many Bernoulli visible units at the end are one softmax group, such as a label.
        variance: of Gaussian visible units: a number, or 'learn' for one of each unit, from 1.
        deviation: of the initial weights, which are normal; biases start at 0.
        exact: chains are the same bits on every device; slower, Bernoulli units only.
        layer: of the random numbers, so that machines of a stack with one seed draw differently.
        seed: of weights and samples; None draws one from the default generator.

    Attributes:
        weight (hidden, visible), visible_bias (visible), hidden_bias (hidden).
        log_variance (visible): of Gaussian visible units; a parameter where it is learnt.
        counter (2): seed of the samples and steps drawn so far; saved with the weights, so that chains go on bit for
            bit.
    """

    counter: Tensor
    log_variance: Tensor

    def __init__(
        self, visible: int, hidden: int, *, visible_units: str = "bernoulli", hidden_units: str = "bernoulli",
        visible_group: int = 1, hidden_group: int = 1, visible_choice: int = 0, variance: float | str = 1.0,
        deviation: float = 0.01, exact: bool = False, layer: int = 0, seed: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if visible < 1 or hidden < 1:
            raise ArgumentError(f"RBM: expected at least one unit on each side, got {visible} and {hidden}")
        for side, kind, group, count in (
            ("visible", visible_units, visible_group, visible), ("hidden", hidden_units, hidden_group, hidden),
        ):  # fmt: skip
            if kind not in KINDS:
                raise ArgumentError(f"RBM: expected {side}_units in {list(KINDS)}, got {kind!r}")
            if kind == "softmax" and (group < 2 or count % group):
                raise ArgumentError(
                    f"RBM: expected {side} softmax units in groups of 2 or more, got {count} in {group}s"
                )
        if exact and (visible_units, hidden_units) != ("bernoulli", "bernoulli"):
            raise ArgumentError("RBM: expected Bernoulli units in exact mode")
        if visible_choice and (visible_units != "bernoulli" or exact or not 2 <= visible_choice <= visible):
            raise ArgumentError(
                f"RBM: expected visible_choice from 2 to {visible} beside Bernoulli units, not in exact mode, got "
                f"{visible_choice}"
            )
        if visible_units != "gaussian" and variance != 1.0:
            raise ArgumentError("RBM: expected a variance only for Gaussian visible units")
        if variance != "learn" and (isinstance(variance, str) or not 0 < variance < float("inf")):
            raise ArgumentError(f"RBM: expected variance > 0 or 'learn', got {variance!r}")
        generator = generator_for(seed)
        self.units = Units(visible_units, hidden_units, visible_group, hidden_group, exact, visible_choice)
        self.layer = layer
        self.learns_variance = variance == "learn"
        key = generator.key()
        self.weight = Parameter(random.normal((hidden, visible), 0.0, deviation, seed=key[0], stream=key[1]))
        self.visible_bias = Parameter(full((visible,), 0.0))
        self.hidden_bias = Parameter(full((hidden,), 0.0))
        if visible_units == "gaussian":
            start = np.full(visible, 0.0 if isinstance(variance, str) else np.log(variance))
            if self.learns_variance:
                self.log_variance = Parameter(tensor(start.astype(np.float32)))
            else:
                self.register_buffer("log_variance", buffer(start))
        # Samples have a seed of their own: the weights read the same streams.
        own = (generator.key()[1] if seed is None else seed) ^ 0x52424D << 32
        self.register_buffer("counter", tensor(np.array([own & (1 << 63) - 1, 0])), host=True)

    # ---- facts ----
    @property
    def variance(self) -> Tensor | None:
        """Variances of Gaussian visible units (visible); None for other units."""
        return ops.exp(self.log_variance) if self.units.visible == "gaussian" else None

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        hidden, visible = self.weight.shape
        kinds = [f"{side}_units={kind!r}" for side, kind in (("visible", self.units.visible),
                 ("hidden", self.units.hidden)) if kind != "bernoulli"]  # fmt: skip
        return ", ".join([f"{visible}, {hidden}", *kinds])

    def take_steps(self, steps: int) -> tuple[int, int, int]:
        """A key (seed, layer, step) for `steps` steps that no other call has had."""
        seed, step = (int(x) for x in self.counter.numpy())
        inplace.copy_into(np.array([seed, step + steps]), self.counter)
        return seed, self.layer, step

    def _parameters_of_side(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.weight, self.visible_bias, self.hidden_bias

    def _rows(self, x: Tensor, side: int, what: str) -> Tensor:
        width = self.weight.shape[1 - side]
        if x.ndim != 2 or x.shape[1] != width:
            raise ShapeError(f"RBM.{what}: expected (rows, {width}), got {x.shape}")
        return x

    # ---- running forward and backward ----
    def forward(self, v: Tensor) -> Tensor:
        """Means of the hidden units given v: (rows, visible) -> (rows, hidden). Differentiable."""
        variance = self.variance
        x = self._rows(v, 0, "forward") if variance is None else ops.divide(self._rows(v, 0, "forward"), variance)
        kind = self.units.hidden
        if kind == "softmax":
            return _softmax(ops.linear(x, self.weight, self.hidden_bias), self.units.hidden_group)
        return ops.linear(x, self.weight, self.hidden_bias, _ACTIVATIONS[kind])

    def backward(self, h: Tensor) -> Tensor:
        """Means of the visible units given h: (rows, hidden) -> (rows, visible). Differentiable."""
        kind = self.units.visible
        weight = ops.transpose(self.weight)
        x = self._rows(h, 1, "backward")
        if kind == "softmax":
            return _softmax(ops.linear(x, weight, self.visible_bias), self.units.visible_group)
        if choice := self.units.choice:
            z = ops.linear(x, weight, self.visible_bias)
            free = z.shape[1] - choice
            return ops.concatenate([ops.sigmoid(z[:, :free]), ops.softmax(z[:, free:])], 1)
        return ops.linear(x, weight, self.visible_bias, _ACTIVATIONS[kind])

    def reconstruct(self, v: Tensor) -> Tensor:
        """Means of the visible units given the means of the hidden units given v. Differentiable."""
        return self.backward(self.forward(v))

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = -log of the unnormalised p(v): (rows, visible) -> (rows). Differentiable to any order."""
        return ops.rbm_free_energy(v, *self._parameters_of_side(), units=self.units, variance=self.variance)

    def class_scores(self, x: Tensor) -> Tensor:
        """log p(x, y) + log Z for each choice y of the last `visible_choice` units: (rows, others) -> (rows, choice).

        x is the visible units before them. Softmax of the scores is p(y | x) (Larochelle and Bengio, 2008).
        Differentiable.
        """
        classes = self.units.choice
        others = self.weight.shape[1] - classes
        if not classes or self.units.hidden != "bernoulli":
            raise ArgumentError("RBM.class_scores: expected a machine with a choice and Bernoulli hidden units")
        if x.ndim != 2 or x.shape[1] != others:
            raise ShapeError(f"RBM.class_scores: expected (rows, {others}), got {x.shape}")
        z = ops.linear(x, self.weight[:, :others], self.hidden_bias)
        joint = ops.expand_dims(z, 1) + ops.expand_dims(ops.transpose(self.weight[:, others:]), 0)
        field = ops.matmul(x, ops.reshape(self.visible_bias[:others], -1, 1))
        return ops.sum(ops.softplus(joint), 2) + self.visible_bias[others:] + field

    def linear(self) -> Linear:
        """A dense layer from visible to hidden units that shares the machine's parameters."""
        kind = self.units.hidden
        scaled = self.units.visible == "gaussian" and (self.learns_variance or self.log_variance.numpy().any())
        if kind == "softmax" or scaled:
            raise ArgumentError(
                f"RBM.linear: expected visible units of variance 1 and no hidden softmax units, got {self.units}"
            )
        layer = Linear(0, 0)
        layer.activation, layer.weight, layer.bias = _ACTIVATIONS[kind], self.weight, self.hidden_bias
        return layer

    # ---- samples ----
    def sample_hidden(self, v: Tensor) -> Tensor:
        """A sample of the hidden units given v."""
        return self._half(self._rows(v, 0, "sample_hidden"), True)

    def sample_visible(self, h: Tensor) -> Tensor:
        """A sample of the visible units given h."""
        return self._half(self._rows(h, 1, "sample_visible"), False)

    def _half(self, x: Tensor, up: bool) -> Tensor:
        with no_grad():
            _, sample = ops.rbm_half_step(x, *self._parameters_of_side(), up=up, key=self.take_steps(1),
                                          units=self.units, variance=self.variance)  # fmt: skip
        assert sample is not None
        return sample

    def gibbs(
        self, steps: int, *, data: Tensor | None = None, state: Tensor | None = None, beta: Tensor | None = None,
        hold: Hold = NOTHING_HELD, data_keep: Tensor | None = None, hidden_keep: Tensor | None = None,
        sample_visible: bool = True, sample_hidden: bool = True, weights: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> Chains:  # fmt: skip
        """`deepcore.ops.rbm_gibbs` with the machine's parameters (or other `weights`) and its next random numbers."""
        with no_grad():
            return ops.rbm_gibbs(
                *(weights or self._parameters_of_side()), key=self.take_steps(steps + 1), steps=steps, data=data,
                state=state, units=self.units, variance=self.variance, beta=beta, data_keep=data_keep,
                hidden_keep=hidden_keep, hold=hold, sample_visible=sample_visible, sample_hidden=sample_hidden,
            )  # fmt: skip

    def start(self, n: int, init: Tensor | None = None) -> Tensor:
        """Hidden states to start n chains from: samples given `init` (n, visible), or given independent noise."""
        if init is None:
            key = self.take_steps(1)
            seed, stream, shape = key[0], key[1] << 48 | 1 << 47 | 1 << 46 | key[2], (n, self.weight.shape[1])
            if self.units.visible == "bernoulli":
                init = random.bernoulli(0.5, shape, seed=seed, stream=stream)
            else:
                init = random.normal(shape, seed=seed, stream=stream)
                if self.units.visible == "softmax":
                    groups = init.numpy().reshape(n, -1, self.units.visible_group)
                    init = tensor(np.eye(groups.shape[-1], dtype=np.float32)[groups.argmax(-1)].reshape(n, -1))
            init = ops.astype(init, self.weight.dtype).to(self.device)
        return self.sample_hidden(init)

    def sample(self, n: int, *, steps: int = 1000, init: Tensor | None = None, mean: bool = False) -> Tensor:
        """n samples (n, visible) of chains of `steps` steps; mean: the probabilities of the last step instead.

        init (n, visible): where the chains start; independent noise without it.
        """
        if n < 1 or steps < 1:
            raise ArgumentError(f"RBM.sample: expected n and steps >= 1, got {n} and {steps}")
        chains = self.gibbs(steps, state=self.start(n, init))
        return chains.v_mean if mean else chains.v

    def daydream(self, n: int = 1, *, init: Tensor | None = None, mean: bool = False) -> Iterator[Tensor]:
        """The machine running freely: visible states (n, visible) of step after step, without end."""
        state = self.start(n, init)
        while True:
            chains = self.gibbs(1, state=state)
            state = chains.h
            yield chains.v_mean if mean else chains.v

    def complete(self, v: Tensor, known: Tensor, *, steps: int = 200, burn_in: int = 50) -> Tensor:
        """Expected values of the unknown entries of v given the others, by Gibbs sampling with these held.

        v, known (rows, visible): entries with known != 0 keep their value (a softmax group is known as a whole); of the
        others the mean over the steps after `burn_in` is returned.
        """
        self._rows(v, 0, "complete")
        if known.shape != v.shape:
            raise ShapeError(f"RBM.complete: expected known {v.shape}, got {known.shape}")
        if not 0 <= burn_in < steps:
            raise ArgumentError(f"RBM.complete: expected 0 <= burn_in < steps, got {burn_in} and {steps}")
        known = ops.astype(known, v.dtype)
        filled = ops.where(ops.not_equal(known, 0.0), v, 0.0)
        hold = Hold(None, known, filled)
        state = self.gibbs(burn_in, state=self.sample_hidden(filled), hold=hold).h
        total = ops.multiply(filled, 0.0)
        for _ in range(steps - burn_in):
            chains = self.gibbs(1, state=state, hold=hold)
            state, total = chains.h, ops.add(total, chains.v_mean)
        return ops.where(ops.not_equal(known, 0.0), v, ops.multiply(total, 1.0 / (steps - burn_in)))


def _softmax(z: Tensor, group: int) -> Tensor:
    return ops.reshape(ops.softmax(ops.reshape(z, z.shape[0], z.shape[1] // group, group)), z.shape)
