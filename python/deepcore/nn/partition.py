"""Likelihood of restricted Boltzmann machines: log Z by enumeration or annealing, bounds, divergence from data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import ops
from deepcore.autograd import no_grad
from deepcore.errors import ArgumentError
from deepcore.nn.rbm import RBM
from deepcore.tensor import Tensor, as_tensor, tensor, zeros

Array = npt.NDArray[Any]
LARGEST_ENUMERATION = 25  # units on the side whose states are listed
_CHUNK = 1 << 14


@dataclass(frozen=True)
class Partition:
    """An estimate of log Z.

    log_z: in nats. error: standard error of log_z over chains; 0 when exact. low, high: log_z -+ three standard errors
    of the mean weight. method: 'exact', 'ais' or 'reverse'. chains, temperatures: what it was made with.
    """

    log_z: float
    error: float
    low: float
    high: float
    method: str
    chains: int = 0
    temperatures: int = 0


def _float64(t: Tensor) -> Array:
    return np.asarray(t.numpy(), np.float64)


def _softplus(z: Array) -> Array:
    result: Array = np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))
    return result


def _log_sum(x: Array, axis: int | None = None) -> Any:
    top = np.max(x, axis=axis, keepdims=True)
    result = np.log(np.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return result.item() if axis is None else result.squeeze(axis)


def _bernoulli(z: Array, choice: int) -> Array:
    """log of the sum over the states of Bernoulli units, the last `choice` of them one softmax group: (rows)."""
    free = z.shape[1] - choice
    total = _softplus(z[:, :free]).sum(1)
    return np.asarray(total + _log_sum(z[:, free:], 1) if choice else total)


def enumerable(rbm: RBM) -> str | None:
    """The side ('hidden' or 'visible') whose states can be listed, the smaller one first; None if neither can."""
    hidden, visible = rbm.weight.shape
    sides = [(hidden, "hidden", rbm.units.hidden, rbm.units.visible),
             (visible, "visible", rbm.units.visible, rbm.units.hidden)]  # fmt: skip
    for count, side, kind, other in sorted(sides):
        free = not (side == "visible" and rbm.units.choice)
        if count <= LARGEST_ENUMERATION and kind == "bernoulli" and other != "relu" and free:
            return side
    return None


def _states(n: int) -> Iterator[Array]:
    """All binary states of n units in chunks (rows, n)."""
    for start in range(0, 1 << n, _CHUNK):
        numbers = np.arange(start, min(start + _CHUNK, 1 << n), dtype=np.int64)
        yield ((numbers[:, None] >> np.arange(n)) & 1).astype(np.float64)


def _other_side(
    kind: str, group: int, variance: Array | None, bias: Array, choice: int = 0
) -> Callable[[Array], Array]:
    """log of the sum (integral) over the states of one side, from its input without bias (rows, units) -> (rows)."""
    if kind == "bernoulli":
        return lambda z: _bernoulli(z + bias, choice)
    if kind == "softmax":
        return lambda z: np.asarray(_log_sum((z + bias).reshape(len(z), -1, group), 2).sum(1))
    s = np.ones_like(bias) if variance is None else variance
    if variance is None:  # hidden units: e^(z h - h^2 / 2)
        return lambda z: np.asarray((0.5 * (z + bias) ** 2 + 0.5 * math.log(2 * math.pi)).sum(1))
    # visible units: the integral of e^(-(v - b)^2 / 2 s + v z / s)
    return lambda z: np.asarray((0.5 * np.log(2 * math.pi * s) + ((bias + z) ** 2 - bias**2) / (2 * s)).sum(1))


def exact_log_partition(rbm: RBM, progress: Callable[[int], None] | None = None) -> Partition:
    """log Z by listing all states of the smaller side (at most 25 Bernoulli units), in float64.

    progress(states) is called after each chunk. ArgumentError when the machine is too large or has relu units.
    """
    side = enumerable(rbm)
    hidden, visible = rbm.weight.shape
    if side is None:
        raise ArgumentError(
            f"exact_log_partition: expected at most {LARGEST_ENUMERATION} Bernoulli units on one side and no relu "
            f"units on the other, got {visible} {rbm.units.visible} visible and {hidden} {rbm.units.hidden} hidden "
            "units; use method='ais'"
        )
    w, b, c = _float64(rbm.weight), _float64(rbm.visible_bias), _float64(rbm.hidden_bias)
    variance = rbm.variance
    s = None if variance is None else _float64(variance)
    parts: list[float] = []
    if side == "hidden":
        inner = _other_side(rbm.units.visible, rbm.units.visible_group, s, b, rbm.units.choice)
        for h in _states(hidden):
            parts.append(_log_sum(h @ c + inner(h @ w)))
            if progress is not None:
                progress(len(h))
    else:
        inner = _other_side(rbm.units.hidden, rbm.units.hidden_group, None, c)
        for v in _states(visible):
            parts.append(_log_sum(v @ b + inner(v @ w.T)))
            if progress is not None:
                progress(len(v))
    log_z = float(_log_sum(np.array(parts)))
    return Partition(log_z, 0.0, log_z, log_z, "exact")


def temperatures(count: int) -> Array:
    """`count` inverse temperatures from 0 to 1, dense near 1: a thirtieth of them up to 0.5, a quarter up to 0.9
    (Salakhutdinov and Murray, 2008)."""
    if count < 2:
        raise ArgumentError(f"temperatures: expected at least 2, got {count}")
    places = np.linspace(0, 1, count)
    return np.interp(places, [0, 500 / 14500, 4500 / 14500, 1], [0, 0.5, 0.9, 1])


def _base(rbm: RBM, data: Array | None) -> tuple[Tensor, float]:
    """Visible biases of the independent units that annealing starts from, and their log Z."""
    hidden = rbm.weight.shape[0]
    units, b = rbm.units, _float64(rbm.visible_bias)
    if units.visible == "gaussian":
        variance = rbm.variance
        assert variance is not None
        log_z = float(0.5 * np.log(2 * math.pi * _float64(variance)).sum())
    elif units.visible == "softmax":
        if data is not None:
            b = np.log((np.asarray(data, np.float64).sum(0) + 1) / (len(data) + units.visible_group))
        log_z = float(_log_sum(b.reshape(-1, units.visible_group), 1).sum())
    else:
        if data is not None:
            p = (np.asarray(data, np.float64).mean(0) * len(data) + 0.5) / (len(data) + 1)
            b = np.log(p) - np.log1p(-p)
            if units.choice:
                b[-units.choice :] = np.log(p[-units.choice :])
        log_z = float(_bernoulli(b[None], units.choice)[0])
    return tensor(b.astype(rbm.weight.dtype)).to(rbm.device), log_z + hidden * math.log(2)


def _check_annealed(rbm: RBM, what: str) -> None:
    if rbm.units.hidden != "bernoulli" or rbm.units.visible == "relu":
        raise ArgumentError(f"{what}: expected Bernoulli hidden and no relu visible units, got {rbm.units.hidden} and "
                            f"{rbm.units.visible}")  # fmt: skip


def _base_sample(rbm: RBM, base: Tensor, n: int) -> Tensor:
    """n samples of the independent units with biases `base`."""
    hidden = zeros((n, rbm.weight.shape[0]), rbm.weight.dtype).to(rbm.device)
    with no_grad():
        _, v = ops.rbm_half_step(hidden, rbm.weight, base, rbm.hidden_bias, up=False, key=rbm.take_steps(1),
                                 units=rbm.units, variance=rbm.variance)  # fmt: skip
    assert v is not None
    return v


_PILOT_CHAINS, _PILOT_PIECES, _PILOT_STEPS = 100, 100, 10


def adapted_temperatures(rbm: RBM, base: Tensor, count: int) -> Array:
    """`count` inverse temperatures from 0 to 1, as dense as the log-weights of a short pilot run vary there.

    Density is the variance over chains of d log p*(v) / d beta, in a hundred pieces: where the distribution changes
    quickest the annealing goes slowest.
    """
    if count < 2:
        raise ArgumentError(f"adapted_temperatures: expected at least 2, got {count}")
    edges = np.linspace(0, 1, _PILOT_PIECES + 1)
    parameters = (rbm.weight, rbm.visible_bias, rbm.hidden_bias)
    v = _base_sample(rbm, base, _PILOT_CHAINS)
    spread = []
    for low, high in pairwise(edges):
        part = np.linspace(low, high, _PILOT_STEPS + 1)
        with no_grad():
            v, w = ops.rbm_anneal(v, *parameters, base, zeros(_PILOT_CHAINS, "float64").to(rbm.device), part.tolist(),
                                  key=rbm.take_steps(len(part)), units=rbm.units._replace(exact=False),
                                  variance=rbm.variance)  # fmt: skip
        spread.append(float(_float64(w).var()) / (high - low) ** 2)
    density = np.array(spread) + 0.05 * max(float(np.mean(spread)), 1e-12)  # no piece is skipped
    reached = np.concatenate([[0], np.cumsum(density)])
    result: Array = np.interp(np.linspace(0, 1, count), reached / reached[-1], edges)
    return result


def _anneal(rbm: RBM, v: Tensor, base: Tensor, betas: Array, progress: Callable[[int], None] | None) -> Array:
    weights = zeros(v.shape[0], "float64").to(rbm.device)
    parameters = (rbm.weight, rbm.visible_bias, rbm.hidden_bias)
    size = 256
    for i in range(0, len(betas) - 1, size):
        part = betas[i : i + size + 1]
        with no_grad():
            v, weights = ops.rbm_anneal(v, *parameters, base, weights, part.tolist(), key=rbm.take_steps(len(part)),
                                        units=rbm.units._replace(exact=False), variance=rbm.variance)  # fmt: skip
        if progress is not None:
            progress(len(part) - 1)
    return _float64(weights)


def annealed_log_partition(
    rbm: RBM, *, chains: int = 100, count: int = 10000, schedule: str = "adapted", data: Array | None = None,
    progress: Callable[[int], None] | None = None,
) -> Partition:  # fmt: skip
    """log Z by annealed importance sampling (Neal, 2001; Salakhutdinov and Murray, 2008).

    chains: independent runs. count: inverse temperatures. schedule: where they lie: 'adapted' to a pilot run of a
    thousand temperatures (`adapted_temperatures`), or 'fixed' (`temperatures`). data (n, visible): the means of the
    independent units that annealing starts from; the machine's own biases without it. progress(temperatures) is called
    as it goes on.
    """
    _check_annealed(rbm, "annealed_log_partition")
    if chains < 2:
        raise ArgumentError(f"annealed_log_partition: expected chains >= 2, got {chains}")
    if schedule not in ("adapted", "fixed"):
        raise ArgumentError(f"annealed_log_partition: expected schedule 'adapted' or 'fixed', got {schedule!r}")
    base, log_base = _base(rbm, data)
    betas = temperatures(count) if schedule == "fixed" else adapted_temperatures(rbm, base, count)
    log_w = _anneal(rbm, _base_sample(rbm, base, chains), base, betas, progress)
    mean = float(_log_sum(log_w)) - math.log(chains)
    relative = float(np.exp(log_w - mean).std(ddof=1)) / math.sqrt(chains)  # of the mean weight
    low = math.log1p(-3 * relative) if 3 * relative < 1 else -math.inf
    log_z = log_base + mean
    return Partition(log_z, relative, log_z + low, log_z + math.log1p(3 * relative), "ais", chains, count)


def reverse_log_partition(
    rbm: RBM, samples: Array | Tensor, *, count: int = 10000, data: Array | None = None,
    progress: Callable[[int], None] | None = None,
) -> Partition:  # fmt: skip
    """An upper bound on log Z in expectation: annealing from the machine's own samples back to independent units.

    samples (chains, visible): exact samples of the machine make it a bound (Grosse, Ancha, Roy, 2016); those of long
    chains make it close to one. Together with `annealed_log_partition`, which is a lower bound in expectation, it
    shows whether both can be trusted. error: of the mean over chains.
    """
    _check_annealed(rbm, "reverse_log_partition")
    v = as_tensor(samples).to(rbm.device)
    if v.ndim != 2 or v.shape[0] < 2:
        raise ArgumentError(f"reverse_log_partition: expected at least two samples (chains, visible), got {v.shape}")
    base, log_base = _base(rbm, data)
    log_w = -_anneal(rbm, ops.astype(v, rbm.weight.dtype), base, temperatures(count)[::-1], progress)
    error = float(log_w.std(ddof=1)) / math.sqrt(len(log_w))
    log_z = log_base + float(log_w.mean())
    return Partition(log_z, error, log_z - 3 * error, log_z + 3 * error, "reverse", len(log_w), count)


def log_partition(
    rbm: RBM, method: str = "auto", *, chains: int = 100, count: int = 10000, data: Array | None = None,
    samples: Array | Tensor | None = None, progress: Callable[[int], None] | None = None,
) -> Partition:  # fmt: skip
    """log Z by 'exact' enumeration, 'ais', or the 'reverse' bound; 'auto' is exact up to 2^20 states, else 'ais'.

    reverse: from `samples`, or from `chains` chains of 1000 steps.
    """
    if method == "auto":
        side = enumerable(rbm)
        method = "exact" if side is not None and min(rbm.weight.shape) <= 20 else "ais"
    if method == "exact":
        return exact_log_partition(rbm, progress)
    if method == "ais":
        return annealed_log_partition(rbm, chains=chains, count=count, data=data, progress=progress)
    if method == "reverse":
        given = rbm.sample(chains, steps=1000) if samples is None else samples
        return reverse_log_partition(rbm, given, count=count, data=data, progress=progress)
    raise ArgumentError(f"log_partition: expected method 'auto', 'exact', 'ais' or 'reverse', got {method!r}")


def free_energies(rbm: RBM, v: Array, batch: int = 1000) -> Array:
    """F of each row of v (n, visible) in float64: (n)."""
    with no_grad():
        parts = [_float64(rbm.free_energy(as_tensor(np.ascontiguousarray(v[i : i + batch])).to(rbm.device)))
                 for i in range(0, len(v), batch)]  # fmt: skip
    return np.concatenate(parts) if parts else np.zeros(0)


def log_likelihood(rbm: RBM, v: Array, log_z: float) -> Array:
    """log p(v) of each row (n, visible) -> (n), in nats."""
    return -free_energies(rbm, v) - log_z


def kl_divergence(rbm: RBM, v: Array) -> float:
    """KL(data || machine) in nats, where data are the rows of v with their frequencies; exact, for small machines."""
    rows, counts = np.unique(np.asarray(v), axis=0, return_counts=True)
    p = counts / counts.sum()
    log_q = log_likelihood(rbm, rows, exact_log_partition(rbm).log_z)
    return float((p * (np.log(p) - log_q)).sum())
