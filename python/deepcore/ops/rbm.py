"""Restricted Boltzmann machines: half steps, Gibbs chains, free energy, annealing, statistics (csrc/kernels/rbm.h).

Weights w are (hidden, visible), b the visible and c the hidden biases. The energy of a state is
E(v, h) = -b.v - c.h - h.(w v) for Bernoulli and softmax units; of Gaussian visible units with variances s it is
sum (v - b)^2 / (2 s) - c.h - h.(w (v / s)) (Cho, Ilin, Raiko, 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi
from typing import Any, NamedTuple

from deepcore import _C
from deepcore.autograd import fused, nondifferentiable
from deepcore.errors import ArgumentError, ShapeError
from deepcore.ops.elementwise import divide, multiply, softplus, square
from deepcore.ops.matmul import linear, matmul
from deepcore.ops.movement import reshape
from deepcore.ops.reduce import logsumexp
from deepcore.ops.reduce import sum as sum_
from deepcore.random import Key
from deepcore.tensor import Tensor

KINDS = {"bernoulli": 0, "gaussian": 1, "softmax": 2, "relu": 3}
Code = tuple[int, int, int, int, int, bool]


class Units(NamedTuple):
    """What the two sides of a machine are made of.

    visible, hidden: 'bernoulli', 'gaussian' (unit variance but for visible units with one of their own), 'softmax'
    (one of each `group` consecutive units is on) or 'relu' (noisy rectified linear units, Nair and Hinton, 2010).
    exact: sums, exp and roundings in one order on every device, so that chains are the same bits everywhere; slower,
    Bernoulli units only. choice: so many Bernoulli visible units at the end are one softmax group, such as a label.
    """

    visible: str = "bernoulli"
    hidden: str = "bernoulli"
    visible_group: int = 1
    hidden_group: int = 1
    exact: bool = False
    choice: int = 0

    def code(self) -> Code:
        """The kinds as kernels know them. ArgumentError for an unknown kind."""
        for side, kind in (("visible", self.visible), ("hidden", self.hidden)):
            if kind not in KINDS:
                raise ArgumentError(f"rbm: expected {side} units in {list(KINDS)}, got {kind!r}")
        return KINDS[self.visible], self.visible_group, KINDS[self.hidden], self.hidden_group, self.choice, self.exact


BERNOULLI = Units()


class Hold(NamedTuple):
    """Constraints on the visible units of chains, each (chains, visible) or None.

    keep: factors of means and samples (0 for entries that are missing). Where `where` is not 0, the unit is held at
    `value`.
    """

    keep: Tensor | None = None
    where: Tensor | None = None
    value: Tensor | None = None


NOTHING_HELD = Hold()


class Chains(NamedTuple):
    """State and means of Gibbs chains: v, v_mean (chains, visible), h, h_mean (chains, hidden).

    data_mean (rows, hidden): means of the hidden units given the data, where there was any.
    """

    v: Tensor
    v_mean: Tensor
    h: Tensor
    h_mean: Tensor
    data_mean: Tensor | None


@nondifferentiable
def _rbm_half_step(
    x: _C.Array, w: _C.Array, b: _C.Array, c: _C.Array, variance: _C.Array | None, beta: _C.Array | None,
    keep: _C.Array | None, where: _C.Array | None, value: _C.Array | None,
    *, code: Code, key: Key, up: bool, sample: bool,
) -> tuple[_C.Array, ...]:  # fmt: skip
    mean, drawn = _C.rbm_half_step(code, key, up, x, w, b, c, variance, beta, keep, where, value, sample)
    return (mean,) if drawn is None else (mean, drawn)


@nondifferentiable
def _rbm_gibbs(
    w: _C.Array, b: _C.Array, c: _C.Array, variance: _C.Array | None, data: _C.Array | None, state: _C.Array | None,
    beta: _C.Array | None, data_keep: _C.Array | None, hidden_keep: _C.Array | None, keep: _C.Array | None,
    where: _C.Array | None, value: _C.Array | None,
    *, code: Code, key: Key, steps: int, sample_visible: bool, sample_hidden: bool,
) -> tuple[_C.Array, ...]:  # fmt: skip
    data_mean, *rest = _C.rbm_gibbs(
        code, key, steps, w, b, c, variance, data, state, sample_visible, sample_hidden, beta, data_keep, hidden_keep,
        keep, where, value,
    )  # fmt: skip
    return tuple(rest) if data_mean is None else (*rest, data_mean)


def rbm_half_step(
    x: Tensor, w: Tensor, b: Tensor, c: Tensor, *, up: bool, key: Key, units: Units = BERNOULLI,
    variance: Tensor | None = None, beta: Tensor | None = None, hold: Hold = NOTHING_HELD, sample: bool = True,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Means of one side given the other, and a sample of it.

    up: x is (rows, visible) and the results (rows, hidden); else the other way round. beta (rows): inverse
    temperatures. `hold` constrains the side computed. key = (seed, layer, step): the sample is a function of it, the
    row and the unit. ShapeError, DtypeError, DeviceError or ArgumentError for arguments that do not fit.
    """
    fed = divide(x, variance) if up and variance is not None else x
    result = _rbm_half_step(fed, w, b, c, variance, beta, *hold, code=units.code(), key=key, up=up, sample=sample)
    return result[0], result[1] if sample else None


def rbm_gibbs(
    w: Tensor, b: Tensor, c: Tensor, *, key: Key, steps: int, data: Tensor | None = None, state: Tensor | None = None,
    units: Units = BERNOULLI, variance: Tensor | None = None, beta: Tensor | None = None,
    data_keep: Tensor | None = None, hidden_keep: Tensor | None = None, hold: Hold = NOTHING_HELD,
    sample_visible: bool = True, sample_hidden: bool = True,
) -> Chains:  # fmt: skip
    """`steps` Gibbs steps in one call: each samples v given h, then h given v.

    data (rows, visible): its hidden means come back as `data_mean`; without `state` its hidden samples are where the
    chains start (contrastive divergence). state (chains, hidden): where they go on (persistent chains).
    data_keep, hidden_keep: factors (dropout) of the hidden units given data and of the chains; hold: of the visible
    units. sample_visible, sample_hidden=False pass on means in place of samples (mean field). key = (seed, layer,
    step); the call uses up the steps step ... step + steps, at most 2^20 of them.
    """
    fed = divide(data, variance) if data is not None and variance is not None else data
    v, v_mean, h, h_mean, *rest = _rbm_gibbs(
        w, b, c, variance, fed, state, beta, data_keep, hidden_keep, *hold, code=units.code(), key=key, steps=steps,
        sample_visible=sample_visible, sample_hidden=sample_hidden,
    )  # fmt: skip
    return Chains(v, v_mean, h, h_mean, rest[0] if rest else None)


# ---- free energy ----
def _rbm_free_energy(x: _C.Array, w: _C.Array, b: _C.Array, c: _C.Array) -> tuple[_C.Array, None]:
    return _C.rbm_free_energy(x, w, b, c), None


def _free_energy_grad(
    g: _C.Array, cache: None, needed: Sequence[bool], x: _C.Array, w: _C.Array, b: _C.Array, c: _C.Array
) -> Sequence[_C.Array | None]:
    down = _C.reshape(_C.negative(g), (g.shape[0], 1))
    p = _C.multiply(_C.linear(x, w, c, 2), down) if any((needed[0], needed[1], needed[3])) else None
    return [
        _C.add(_C.matmul(p, w), _C.multiply(down, _C.reshape(b, (1, b.shape[0])))) if needed[0] and p is not None
        else None,
        _C.matmul(_C.transpose(p, (1, 0)), x) if needed[1] and p is not None else None,
        _C.reshape(_C.matmul(_C.reshape(down, (1, g.shape[0])), x), b.shape) if needed[2] else None,
        _C.sum(p, (0,), False) if needed[3] and p is not None else None,
    ]  # fmt: skip


def _free_energy_reference(x: Tensor, w: Tensor, b: Tensor, c: Tensor) -> Tensor:
    result: Tensor = -reshape(matmul(x, reshape(b, -1, 1)), -1) - sum_(softplus(linear(x, w, c)), 1)
    return result


_free_energy = fused(_rbm_free_energy, _free_energy_grad, _free_energy_reference)


def rbm_free_energy(
    v: Tensor, w: Tensor, b: Tensor, c: Tensor, *, units: Units = BERNOULLI, variance: Tensor | None = None
) -> Tensor:
    """F(v) = -log sum over h of e^-E(v, h): v (rows, visible) -> (rows). Differentiable to any order.

    Of Gaussian hidden units the sum is an integral, of softmax units it runs over the states with one unit of each
    group. ArgumentError for relu units, which have no closed form.
    """
    units.code()
    if "relu" in (units.visible, units.hidden):
        raise ArgumentError("rbm_free_energy: relu units have no free energy in closed form")
    x = divide(v, variance) if variance is not None else v
    if units.hidden == "bernoulli":
        energy: Tensor = _free_energy(x, w, b, c)
    else:
        z = linear(x, w, c)
        if units.hidden == "gaussian":
            inner = 0.5 * sum_(square(z), 1) + 0.5 * log(2 * pi) * z.shape[1]
        else:
            inner = sum_(logsumexp(reshape(z, z.shape[0], -1, units.hidden_group), 2), 1)
        energy = -reshape(matmul(x, reshape(b, -1, 1)), -1) - inner
    if units.visible == "gaussian":
        squares = square(v) + square(b)
        energy = energy + 0.5 * sum_(squares if variance is None else divide(squares, variance), 1)
    return energy


# ---- learning ----
@nondifferentiable
def _rbm_statistics(v0: _C.Array, h0: _C.Array, v1: _C.Array, h1: _C.Array) -> tuple[_C.Array, ...]:
    return _C.rbm_statistics(v0, h0, v1, h1)


def rbm_statistics(v0: Tensor, h0: Tensor, v1: Tensor, h1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the mean energy of data (v0, h0) less that of samples (v1, h1), for w, b and c.

    (mean h1 v1^T - mean h0 v0^T, mean v1 - mean v0, mean h1 - mean h0) with v (rows, visible) and h (rows, hidden).
    """
    w, b, c = _rbm_statistics(v0, h0, v1, h1)
    return w, b, c


def _dot(a: _C.Array, b: _C.Array) -> _C.Array:
    return _C.reshape(_C.matmul(_C.reshape(a, (1, a.size)), _C.reshape(b, (b.size, 1))), ())


def _rbm_energy_gap(
    w: _C.Array, b: _C.Array, c: _C.Array, gw: _C.Array, gb: _C.Array, gc: _C.Array
) -> tuple[_C.Array, None]:
    return _C.add(_C.add(_dot(w, gw), _dot(b, gb)), _dot(c, gc)), None


def _energy_gap_grad(g: _C.Array, cache: None, needed: Sequence[bool], *arrays: _C.Array) -> Sequence[_C.Array | None]:
    partners = (*arrays[3:], *arrays[:3])
    if g.device == "cpu" and float(g.numpy()) == 1.0 and not any(needed[3:]):
        return [p if n else None for p, n in zip(partners, needed, strict=True)]  # a loss: the statistics themselves
    return [_C.multiply(g, p) if n else None for p, n in zip(partners, needed, strict=True)]


def _energy_gap_reference(w: Tensor, b: Tensor, c: Tensor, gw: Tensor, gb: Tensor, gc: Tensor) -> Tensor:
    result: Tensor = sum_(multiply(w, gw)) + sum_(multiply(b, gb)) + sum_(multiply(c, gc))
    return result


_energy_gap = fused(_rbm_energy_gap, _energy_gap_grad, _energy_gap_reference)


def rbm_energy_gap(w: Tensor, b: Tensor, c: Tensor, statistics: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Mean energy of data less that of samples, from `rbm_statistics`: a loss () whose gradient is the statistics.

    Terms that do not depend on the parameters (the squares of Gaussian units) are left out. ShapeError when a statistic
    has another shape than its parameter.
    """
    for name, parameter, statistic in zip("wbc", (w, b, c), statistics, strict=True):
        if parameter.shape != statistic.shape:
            raise ShapeError(f"rbm_energy_gap: expected g{name} {parameter.shape}, got {statistic.shape}")
    result: Tensor = _energy_gap(w, b, c, *statistics)
    return result


@nondifferentiable
def _rbm_swap(
    h: _C.Array, beta: _C.Array, energy: _C.Array, *, key: Key, copies: int, parity: int
) -> tuple[_C.Array, ...]:
    return _C.rbm_swap(key, copies, parity, beta, energy, h)


def rbm_swap(h: Tensor, beta: Tensor, energy: Tensor, *, key: Key, copies: int, parity: int) -> tuple[Tensor, Tensor]:
    """Swaps of parallel tempering: chains t copies + i and (t + 1) copies + i, t = parity, parity + 2, ..., change
    their states with probability min(1, e^((beta_a - beta_b) (E_a - E_b))).

    h (chains, hidden), beta and energy (chains). Returns the states and 1 for each chain whose state is new.
    """
    states, swapped = _rbm_swap(h, beta, energy, key=key, copies=copies, parity=parity)
    return states, swapped


@nondifferentiable
def _rbm_anneal(
    v: _C.Array, w: _C.Array, b: _C.Array, c: _C.Array, variance: _C.Array | None, base: _C.Array,
    log_weight: _C.Array, *, code: Code, key: Key, betas: Sequence[float],
) -> tuple[_C.Array, ...]:  # fmt: skip
    return _C.rbm_anneal(code, key, list(betas), v, w, b, c, variance, base, log_weight)


def rbm_anneal(
    v: Tensor, w: Tensor, b: Tensor, c: Tensor, base: Tensor, log_weight: Tensor, betas: Sequence[float], *, key: Key,
    units: Units = BERNOULLI, variance: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Annealed importance sampling from betas[0] to betas[-1], rising or falling, in one call.

    v (chains, visible) is a sample at betas[0] (0: of independent units with biases `base`), log_weight (chains,) of
    float64 is added to. Returns both at the end. Hidden units must be Bernoulli.
    """
    states, weights = _rbm_anneal(
        v, w, b, c, variance, base, log_weight, code=units.code(), key=key, betas=tuple(map(float, betas))
    )
    return states, weights


def rbm_energy(
    v: Tensor, h: Tensor, w: Tensor, b: Tensor, c: Tensor, *, variance: Tensor | None = None, gaussian: bool = False
) -> Tensor:
    """E(v, h) of each row: (rows). gaussian: visible units are Gaussian, of variance 1 unless one is given."""
    x = divide(v, variance) if variance is not None else v
    pairs = sum_(multiply(h, linear(x, w, c)), 1)
    if not gaussian:
        result: Tensor = -reshape(matmul(v, reshape(b, -1, 1)), -1) - pairs
        return result
    squares = square(v - b)
    quadratic: Tensor = 0.5 * sum_(squares if variance is None else divide(squares, variance), 1)
    return quadratic - pairs


__all__: list[Any] = [
    "Chains", "Hold", "Units", "rbm_anneal", "rbm_energy", "rbm_energy_gap", "rbm_free_energy", "rbm_gibbs",
    "rbm_half_step", "rbm_statistics", "rbm_swap",
]  # fmt: skip
