"""Cases of restricted Boltzmann machines. Samples are compared with those that the same random bits give in numpy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from deepcore import ops
from deepcore.ops.rbm import Hold, Units
from deepcore.testing.case import Case
from deepcore.testing.cases.random import words

SEED, LAYER, STEP = 5, 3, 9
BETAS = (0.0, 0.1, 0.4, 1.0)


def unit_words(half: int, rows: int, units: int) -> Any:
    """Word u % 4 of block row << 24 | u / 4 of half step `half`: (rows, units)."""
    u, row = np.arange(units, dtype=np.uint64), np.arange(rows, dtype=np.uint64)[:, None]
    blocks = (row << np.uint64(24)) | (u // np.uint64(4))
    return np.take_along_axis(words(SEED, LAYER << 48 | half, blocks), (u % np.uint64(4)).astype(int)[None, :, None]
                              * np.ones((rows, 1, 1), int), -1)[..., 0]  # fmt: skip


def uniforms(half: int, rows: int, units: int) -> Any:
    """Uniform numbers in [0, 1) of each row and unit."""
    return (unit_words(half, rows, units) >> np.uint64(8)).astype(float) * 2.0**-24


def normals(half: int, rows: int, units: int) -> Any:
    """Standard normal numbers of each row and unit (Box-Muller on pairs of units)."""
    w = unit_words(half, rows, units + units % 2)
    r = np.sqrt(-2 * np.log((w[:, 0::2] >> np.uint64(1)).astype(float) * 2.0**-31 + 2.0**-32))
    angle = 2 * np.pi * (w[:, 1::2] >> np.uint64(8)).astype(float) * 2.0**-24
    return np.stack([r * np.cos(angle), r * np.sin(angle)], -1).reshape(rows, -1)[:, :units]


def sigmoid(z: Any) -> Any:
    """1 / (1 + e^-z)."""
    return 1 / (1 + np.exp(-z))


def half_step(
    x: Any, w: Any, bias: Any, half: int, kind: str = "bernoulli", group: int = 1, variance: Any = 1.0, beta: Any = None
) -> Any:
    """Mean and sample of the side that `half` (odd: hidden) names."""
    total = x @ (w.T if half % 2 else w) + bias
    rows, units = total.shape
    cold = 1.0 if beta is None else np.asarray(beta)[:, None]
    if kind == "gaussian":
        return total, total + np.sqrt(variance / cold) * normals(half, rows, units)
    z = cold * total
    if kind == "bernoulli":
        return sigmoid(z), (uniforms(half, rows, units) < sigmoid(z)).astype(float)
    if kind == "relu":
        return np.maximum(z, 0), np.maximum(z + np.sqrt(sigmoid(z)) * normals(half, rows, units), 0)
    e = np.exp(z.reshape(rows, -1, group))
    p = e / e.sum(-1, keepdims=True)
    u = uniforms(half, rows, units)[:, ::group, None]
    chosen = np.minimum((u >= np.cumsum(p, -1)).sum(-1), group - 1)
    return p.reshape(rows, -1), np.eye(group)[chosen].reshape(rows, -1)


def _machine(rng: np.random.Generator, visible: int, hidden: int) -> Any:
    return 0.4 * rng.standard_normal((hidden, visible)), rng.standard_normal(visible), rng.standard_normal(hidden)


def _binary(rng: np.random.Generator, *shape: int) -> Any:
    return (rng.random(shape) < 0.5).astype(float)


# What a half step is given: kernels have a path of their own for states of two values, one of them 0.
_STATES: dict[str, Callable[..., Any]] = {
    "bits": _binary,
    "halves": lambda rng, *shape: 0.5 * _binary(rng, *shape),
    "zeros": lambda _, *shape: np.zeros(shape),
    "means": lambda rng, *shape: rng.random(shape),
    "sparse means": lambda rng, *shape: np.maximum(rng.random(shape) - 0.7, 0),
    "a third value": lambda rng, *shape: np.concatenate([_binary(rng, *shape).ravel()[:-1], [-1.0]]).reshape(shape),
}


def _step_case(
    rows: int, visible: int, hidden: int, up: bool, kind: str = "bernoulli", group: int = 1, cold: bool = False,
    given: str = "bits",
) -> Case:  # fmt: skip
    units = Units(hidden=kind, hidden_group=group) if up else Units(visible=kind, visible_group=group)
    half = 2 * STEP + up

    def run(x: Any, w: Any, b: Any, c: Any, beta: Any) -> Any:
        return ops.rbm_half_step(x, w, b, c, up=up, key=(SEED, LAYER, STEP), units=units, beta=beta if cold else None)

    def reference(x: Any, w: Any, b: Any, c: Any, beta: Any) -> Any:
        return half_step(x, w, c if up else b, half, kind, group, beta=beta if cold else None)

    return Case(
        f"rbm_half_step/{rows}x{visible}x{hidden} {'up' if up else 'down'} {kind}{' cold' if cold else ''}"
        + (f" of {given}" if given != "bits" else ""), run, reference,
        lambda rng: (_STATES[given](rng, rows, visible if up else hidden), *_machine(rng, visible, hidden),
                     rng.uniform(0.3, 1, rows)),
        gradient=(), factor=64, reason="sums of 0.4 x normal weights before an exponential",
    )  # fmt: skip


def _choice_case(rows: int, visible: int, hidden: int, choice: int) -> Case:
    def run(h: Any, w: Any, b: Any, c: Any) -> Any:
        return ops.rbm_half_step(h, w, b, c, up=False, key=(SEED, LAYER, STEP), units=Units(choice=choice))

    def reference(h: Any, w: Any, b: Any, c: Any) -> Any:
        mean, sample = half_step(h, w, b, 2 * STEP)
        free = visible - choice
        e = np.exp((h @ w + b)[:, free:])
        p = e / e.sum(1, keepdims=True)
        u = uniforms(2 * STEP, rows, visible)[:, free, None]
        chosen = np.minimum((u >= np.cumsum(p, 1)).sum(1), choice - 1)
        return np.concatenate([mean[:, :free], p], 1), np.concatenate([sample[:, :free], np.eye(choice)[chosen]], 1)

    return Case(f"rbm_half_step/{rows}x{visible}x{hidden} choice of {choice}", run, reference,
                lambda rng: (_binary(rng, rows, hidden), *_machine(rng, visible, hidden)), gradient=(), factor=64,
                reason="sums of 0.4 x normal weights before an exponential")  # fmt: skip


def _chain_case(rows: int, visible: int, hidden: int, steps: int, held: bool) -> Case:
    def run(x: Any, w: Any, b: Any, c: Any, keep: Any, where: Any, value: Any) -> Any:
        r = ops.rbm_gibbs(w, b, c, key=(SEED, LAYER, STEP), steps=steps, data=x,
                          hold=Hold(keep, where, value) if held else Hold())  # fmt: skip
        assert r.data_mean is not None
        return (r.v, r.v_mean, r.h, r.h_mean, r.data_mean) if steps else (r.h, r.data_mean)

    def reference(x: Any, w: Any, b: Any, c: Any, keep: Any, where: Any, value: Any) -> Any:
        data_mean, h = half_step(x, w, c, 2 * STEP + 1)
        v = v_mean = h_mean = h
        for i in range(1, steps + 1):
            v_mean, v = half_step(h, w, b, 2 * (STEP + i))
            if held:
                v_mean, v = (np.where(where != 0, value, a * keep) for a in (v_mean, v))
            h_mean, h = half_step(v, w, c, 2 * (STEP + i) + 1)
        return (v, v_mean, h, h_mean, data_mean) if steps else (h, data_mean)

    return Case(
        f"rbm_gibbs/{rows}x{visible}x{hidden} {steps} steps{' held' if held else ''}", run, reference,
        lambda rng: (_binary(rng, rows, visible), *_machine(rng, visible, hidden), _binary(rng, rows, visible),
                     (rng.random((rows, visible)) < 0.3).astype(float), _binary(rng, rows, visible)),
        gradient=(), factor=64, reason="sums of 0.4 x normal weights before an exponential",
    )  # fmt: skip


def _statistics(v0: Any, h0: Any, v1: Any, h1: Any) -> Any:
    return h1.T @ v1 / len(v1) - h0.T @ v0 / len(v0), v1.mean(0) - v0.mean(0), h1.mean(0) - h0.mean(0)


def _statistics_case(
    rows: int, chains: int, visible: int, hidden: int, data: str, model: str, h: str = "means"
) -> Case:
    return Case(
        f"rbm_statistics/{rows} of {data} and {chains} of {model}, {visible}x{hidden} {h}",
        lambda *a: ops.rbm_statistics(*a), _statistics,
        lambda rng: (_STATES[data](rng, rows, visible), _STATES[h](rng, rows, hidden),
                     _STATES[model](rng, chains, visible), _STATES[h](rng, chains, hidden)),
        gradient=(), factor=64, reason="means of products that cancel",
    )  # fmt: skip


def _free_energy(kind: str) -> Any:
    def reference(v: Any, w: Any, b: Any, c: Any) -> Any:
        return -v @ b - _INNER[kind](v @ w.T + c).sum(1)

    return reference


_INNER: dict[str, Any] = {
    "bernoulli": lambda z: np.log1p(np.exp(z)),
    "gaussian": lambda z: 0.5 * z * z + 0.5 * np.log(2 * np.pi),
    "softmax": lambda z: np.log(np.exp(z.reshape(len(z), -1, 3)).sum(-1)),
}


def _rows(rows: int, visible: int, hidden: int) -> Any:
    return lambda rng: (_binary(rng, rows, visible), *_machine(rng, visible, hidden))


def _anneal(v: Any, w: Any, b: Any, c: Any, base: Any, log_weight: Any) -> Any:
    for t, (low, high) in enumerate(pairwise(BETAS)):
        z = v @ w.T + c
        log_weight = log_weight + (high - low) * (v @ (b - base))
        log_weight = log_weight + (np.log1p(np.exp(high * z)) - np.log1p(np.exp(low * z))).sum(1)
        h = (uniforms(2 * (STEP + t) + 1, *z.shape) < sigmoid(high * z)).astype(float)
        field = base + high * (b - base) + high * (h @ w)
        v = (uniforms(2 * (STEP + t), *v.shape) < sigmoid(field)).astype(float)
    return v, log_weight


def _anneal_case(chains: int, visible: int, hidden: int) -> Case:
    def run(v: Any, w: Any, b: Any, c: Any, base: Any, weight: Any) -> Any:
        return ops.rbm_anneal(v, w, b, c, base, ops.astype(weight, "float64"), BETAS, key=(SEED, LAYER, STEP))

    return Case(
        f"rbm_anneal/{chains}x{visible}x{hidden}", run, _anneal,
        lambda rng: (_binary(rng, chains, visible), *_machine(rng, visible, hidden), rng.standard_normal(visible),
                     np.zeros(chains)),
        gradient=(), factor=64, reason="sums over steps",
    )  # fmt: skip


def _swap(h: Any, beta: Any, energy: Any) -> Any:
    h, swapped = h.copy(), np.zeros(len(h))
    for a in (0, 1, 2, 6, 7, 8):  # three copies, five temperatures, pairs 0-1 and 2-3
        b = a + 3
        u = float(words(SEED, LAYER << 48 | 1 << 47 | STEP, a)[0] >> np.uint64(8)) * 2.0**-24
        if u < np.exp((beta[a] - beta[b]) * (energy[a] - energy[b])):
            h[[a, b]], swapped[[a, b]] = h[[b, a]], 1.0
    return h, swapped


def _energy_cases() -> list[Case]:
    cases = [
        Case(f"rbm_free_energy/{rows}x{visible}x{hidden}", lambda v, w, b, c: ops.rbm_free_energy(v, w, b, c),
             _free_energy("bernoulli"),
             _rows(rows, visible, hidden), factor=64,
             magnitude=lambda v, w, b, c: abs(v) @ abs(b) + np.log1p(np.exp(abs(v) @ abs(w).T + abs(c))).sum(1))
        for rows, visible, hidden in ((1, 1, 1), (3, 5, 4), (7, 33, 19), (40, 17, 70), (2, 3, 0))
    ]  # fmt: skip
    cases += [
        Case(f"rbm_free_energy/{kind} hidden", lambda v, w, b, c, k=kind: ops.rbm_free_energy(
                 v, w, b, c, units=Units(hidden=k, hidden_group=3 if k == "softmax" else 1)),
             _free_energy(kind), lambda rng: (_binary(rng, 4, 5), *_machine(rng, 5, 6)), factor=64)
        for kind in ("gaussian", "softmax")
    ]  # fmt: skip
    cases.append(
        Case("rbm_free_energy/gaussian visible",
             lambda v, w, b, c, s: ops.rbm_free_energy(v, w, b, c, units=Units("gaussian"), variance=s),
             lambda v, w, b, c, s: ((v - b) ** 2 / (2 * s)).sum(1) - np.log1p(np.exp(v / s @ w.T + c)).sum(1),
             lambda rng: (rng.standard_normal((4, 5)), *_machine(rng, 5, 3), rng.uniform(0.5, 2, 5)), factor=64)
    )  # fmt: skip
    return cases


CASES = [
    *[_step_case(rows, v, h, up) for rows, v, h in ((1, 1, 1), (5, 3, 7), (29, 37, 21), (9, 70, 130), (40, 8, 33),
                                                   (0, 4, 3)) for up in (True, False)],
    *[_step_case(rows, v, h, up) for rows, v, h in ((16, 32, 32), (33, 100, 65), (70, 129, 36), (600, 37, 40))
      for up in (True, False)],
    *[_step_case(35, 67, 50, up, given=given) for given in _STATES if given != "bits" for up in (True, False)],
    *[_step_case(13, 12, 18, up, kind, 3 if kind == "softmax" else 1) for kind in ("gaussian", "softmax", "relu")
      for up in (True, False)],
    *[_step_case(11, 19, 36, True, kind, 6 if kind == "softmax" else 1, cold=True)
      for kind in ("bernoulli", "softmax", "gaussian", "relu")],
    _choice_case(11, 23, 9, 5),
    _choice_case(6, 12, 7, 4),
    *[_chain_case(rows, v, h, steps, held) for rows, v, h, steps, held in
      ((50, 70, 40, 2, True), (1, 1, 1, 1, False), (7, 9, 5, 2, False), (20, 33, 17, 3, True), (5, 4, 6, 0, False))],
    Case("rbm_statistics/9 and 4", lambda *a: ops.rbm_statistics(*a), _statistics,
         lambda rng: tuple(rng.standard_normal(s) for s in ((9, 37), (9, 20), (4, 37), (4, 20))), gradient=(),
         factor=64, reason="means of products that cancel"),
    *[_statistics_case(*sizes, data, model) for sizes, data, model in
      (((40, 70, 37, 20), "bits", "bits"), ((33, 4, 530, 50), "means", "halves"), ((100, 9, 64, 35), "bits", "means"),
       ((5, 6, 19, 3), "zeros", "bits"), ((31, 35, 45, 66), "a third value", "bits"),
       ((6, 8, 15, 40), "bits", "bits"))],
    _statistics_case(60, 50, 151, 170, "bits", "means", "sparse means"),
    Case("rbm_energy_gap/small",
         lambda w, b, c, gw, gb, gc: ops.rbm_energy_gap(w, b, c, (gw, gb, gc)),
         lambda w, b, c, gw, gb, gc: (w * gw).sum() + (b * gb).sum() + (c * gc).sum(),
         lambda rng: (*_machine(rng, 5, 4), *_machine(rng, 5, 4)), factor=64),
    _anneal_case(6, 9, 7),
    _anneal_case(40, 37, 21),
    Case("rbm_swap/15x4", lambda h, beta, energy: ops.rbm_swap(h, beta, energy, key=(SEED, LAYER, STEP), copies=3,
                                                               parity=0),
         _swap, lambda rng: (rng.standard_normal((15, 4)), np.repeat(np.linspace(1, 0.2, 5), 3),
                             3 * rng.standard_normal(15)), gradient=()),
    Case("rbm_energy/bernoulli", lambda v, h, w, b, c: ops.rbm_energy(v, h, w, b, c),
         lambda v, h, w, b, c: -v @ b - (h * (v @ w.T + c)).sum(1),
         lambda rng: (_binary(rng, 4, 5), _binary(rng, 4, 3), *_machine(rng, 5, 3)), factor=64),
    Case("rbm_energy/gaussian",
         lambda v, h, w, b, c, s: ops.rbm_energy(v, h, w, b, c, variance=s, gaussian=True),
         lambda v, h, w, b, c, s: ((v - b) ** 2 / (2 * s)).sum(1) - (h * (v / s @ w.T + c)).sum(1),
         lambda rng: (rng.standard_normal((4, 5)), _binary(rng, 4, 3), *_machine(rng, 5, 3), rng.uniform(0.5, 2, 5)),
         factor=64),
    *_energy_cases(),
]  # fmt: skip
