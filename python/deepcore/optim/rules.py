"""The optimizers: what each does with a gradient. All steps run as one fused kernel over all tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from deepcore import _C
from deepcore.errors import ArgumentError
from deepcore.nn.module import Parameter
from deepcore.optim.optimizer import Groups, Optimizer

States = list[dict[str, _C.Array]]


def _column(states: States, name: str) -> list[_C.Array]:
    return [s[name] for s in states] if states and name in states[0] else []


def _fraction(owner: str, **values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ArgumentError(f"{owner}: expected {name} in [0, 1), got {value}")


class SGD(Optimizer):
    """v = momentum v + g; w -= lr v, or with nesterov w -= lr (g + momentum v) (Sutskever et al., 2013)."""

    def __init__(
        self, params: Groups, lr: float = 0.01, *, momentum: float = 0.0, nesterov: bool = False, **common: Any
    ) -> None:
        super().__init__(params, lr, **common)
        _fraction("SGD", momentum=momentum)
        if nesterov and momentum == 0:
            raise ArgumentError("SGD: nesterov needs momentum > 0")
        self.momentum, self.nesterov = momentum, nesterov
        self.slots = ("velocity",) if momentum else ()

    def _free_to_step(self) -> dict[Parameter, _C.StepOptions]:
        free: dict[Parameter, _C.StepOptions] = {}
        if self.momentum or self.log_norm or self.clips:
            return free
        for g in self.groups:
            options = self._options(g, 1.0)
            for p in g["params"]:
                if p.ndim == 2 and p.requires_grad and p.grad is None and p.hooks is None and p.device == "cpu":
                    free[p] = options
        return free

    def _update(
        self, params: list[_C.Array], grads: list[_C.Array], states: States, lr: float, options: _C.StepOptions
    ) -> None:
        _C.sgd_step(params, grads, _column(states, "velocity"), options, self.momentum, self.nesterov)


class Adagrad(Optimizer):
    """s += g^2; w -= lr g / (sqrt(s) + epsilon) (Duchi et al., 2011)."""

    slots = ("squares",)

    def __init__(self, params: Groups, lr: float = 0.01, *, epsilon: float = 1e-10, **common: Any) -> None:
        super().__init__(params, lr, **common)
        self.epsilon = epsilon

    def _update(
        self, params: list[_C.Array], grads: list[_C.Array], states: States, lr: float, options: _C.StepOptions
    ) -> None:
        _C.adagrad_step(params, grads, _column(states, "squares"), options, self.epsilon)


class RMSprop(Optimizer):
    """s = decay s + (1 - decay) g^2; w -= lr g / (sqrt(s) + epsilon) (Tieleman and Hinton, 2012).

    centred subtracts the squared mean of g from s (Graves, 2013); momentum accumulates the steps.
    """

    def __init__(
        self, params: Groups, lr: float = 0.001, *, decay: float = 0.9, epsilon: float = 1e-8, centred: bool = False,
        momentum: float = 0.0, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(params, lr, **common)
        _fraction("RMSprop", decay=decay, momentum=momentum)
        self.decay, self.epsilon, self.centred, self.momentum = decay, epsilon, centred, momentum
        self.slots = ("squares", *(("mean",) if centred else ()), *(("velocity",) if momentum else ()))

    def _update(
        self, params: list[_C.Array], grads: list[_C.Array], states: States, lr: float, options: _C.StepOptions
    ) -> None:
        columns = [_column(states, n) for n in ("squares", "mean", "velocity")]
        _C.rmsprop_step(params, grads, columns, options, self.decay, self.epsilon, self.centred, self.momentum)


class Adadelta(Optimizer):
    """Steps scaled by the ratio of running means of past steps and gradients (Zeiler, 2012)."""

    slots = ("squares", "steps")

    def __init__(
        self, params: Groups, lr: float = 1.0, *, decay: float = 0.9, epsilon: float = 1e-6, **common: Any
    ) -> None:
        super().__init__(params, lr, **common)
        _fraction("Adadelta", decay=decay)
        self.decay, self.epsilon = decay, epsilon

    def _update(
        self, params: list[_C.Array], grads: list[_C.Array], states: States, lr: float, options: _C.StepOptions
    ) -> None:
        columns = [_column(states, "squares"), _column(states, "steps")]
        _C.adadelta_step(params, grads, columns, options, self.decay, self.epsilon)


class Adam(Optimizer):
    """m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr mhat / (sqrt(vhat) + epsilon) (Kingma and Ba, 2015).

    amsgrad uses the largest v so far (Reddi et al., 2018).
    """

    def __init__(
        self, params: Groups, lr: float = 0.001, *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8,
        amsgrad: bool = False, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(params, lr, **common)
        _fraction(type(self).__name__, beta1=beta1, beta2=beta2)
        self.beta1, self.beta2, self.epsilon, self.amsgrad = beta1, beta2, epsilon, amsgrad
        self.slots = ("mean", "squares", *(("largest",) if amsgrad else ()))

    def _step(
        self, params: list[_C.Array], grads: list[_C.Array], states: States, options: _C.StepOptions,
        rate: float, rate_g: float = 0.0, root_scale: float = 1.0, adaptive: bool = True,
    ) -> None:  # fmt: skip
        columns = [_column(states, n) for n in ("mean", "squares", "largest")]
        options.rate = rate
        _C.adam_step(params, grads, columns, options, self.beta1, self.beta2, self.epsilon, rate_g, root_scale,
                     self.amsgrad, adaptive)  # fmt: skip

    def _corrections(self) -> tuple[float, float]:
        return 1 - self.beta1**self.steps, 1 - self.beta2**self.steps

    def _update(
        self, params: list[_C.Array], grads: list[_C.Array], states: States, lr: float, options: _C.StepOptions
    ) -> None:
        c1, c2 = self._corrections()
        self._step(params, grads, states, options, lr / c1, root_scale=1 / math.sqrt(c2))


class AdamW(Adam):
    """Adam with decoupled weight decay, 0.01 by default (Loshchilov and Hutter, 2019)."""

    def __init__(self, params: Groups, lr: float = 0.001, *, weight_decay: float = 0.01, **options: Any) -> None:
        super().__init__(params, lr, weight_decay=weight_decay, decoupled=True, **options)


class AMSGrad(Adam):
    """Adam with the largest second moment so far (Reddi et al., 2018)."""

    def __init__(self, params: Groups, lr: float = 0.001, **options: Any) -> None:
        super().__init__(params, lr, amsgrad=True, **options)


class NAdam(Adam):
    """Adam with Nesterov momentum and the momentum schedule of Dozat (2016)."""

    def __init__(self, params: Groups, lr: float = 0.002, *, momentum_decay: float = 0.004, **options: Any) -> None:
        super().__init__(params, lr, **options)
        self.momentum_decay = momentum_decay
        self._product, self._product_steps = 1.0, 0

    def _mu(self, step: int) -> float:
        return float(self.beta1 * (1 - 0.5 * 0.96 ** (step * self.momentum_decay)))

    def _update(
        self, params: list[_C.Array], grads: list[_C.Array], states: States, lr: float, options: _C.StepOptions
    ) -> None:
        mu, following = self._mu(self.steps), self._mu(self.steps + 1)
        if self._product_steps != self.steps:  # once per step, also with several groups
            self._product *= mu
            self._product_steps = self.steps
        _, c2 = self._corrections()
        self._step(params, grads, states, options, lr * following / (1 - self._product * following),
                   lr * (1 - mu) / (1 - self._product), 1 / math.sqrt(c2))  # fmt: skip

    def state_dict(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """As for every optimizer, with the product of the momenta so far."""
        arrays, facts = super().state_dict()
        return arrays, {**facts, "product": self._product}

    def load_state_dict(self, arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        super().load_state_dict(arrays, facts)
        self._product, self._product_steps = float(facts["product"]), self.steps


class RAdam(Adam):
    """Adam whose adaptive step waits until its variance is known (Liu et al., 2020)."""

    def _update(
        self, params: list[_C.Array], grads: list[_C.Array], states: States, lr: float, options: _C.StepOptions
    ) -> None:
        c1, c2 = self._corrections()
        longest = 2 / (1 - self.beta2) - 1
        length = longest - 2 * self.steps * self.beta2**self.steps / c2
        if length <= 5:
            self._step(params, grads, states, options, lr / c1, adaptive=False)
            return
        rectified = math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
        self._step(params, grads, states, options, lr * rectified / c1, root_scale=1 / math.sqrt(c2))


class Lion(Optimizer):
    """w -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g (Chen et al., 2023); decoupled decay by default."""

    slots = ("mean",)

    def __init__(
        self, params: Groups, lr: float = 1e-4, *, beta1: float = 0.9, beta2: float = 0.99, decoupled: bool = True,
        **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(params, lr, decoupled=decoupled, **common)
        _fraction("Lion", beta1=beta1, beta2=beta2)
        self.beta1, self.beta2 = beta1, beta2

    def _update(
        self, params: list[_C.Array], grads: list[_C.Array], states: States, lr: float, options: _C.StepOptions
    ) -> None:
        _C.lion_step(params, grads, _column(states, "mean"), options, self.beta1, self.beta2)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    c.__name__.lower(): c for c in (SGD, Adagrad, RMSprop, Adadelta, Adam, AdamW, AMSGrad, NAdam, RAdam, Lion)
}
