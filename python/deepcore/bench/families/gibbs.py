"""What chains of restricted Boltzmann machines are made of: half steps, free energy, annealing.

Each library draws its own random bits; means and deviations of results are checked against numpy in float64.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from deepcore import ops
from deepcore.bench.case import Array, Built, Case
from deepcore.bench.families.rbm import BATCH, RUNS, VISIBLE, bits_and_weights, drawn, jax_key, sigmoid_of
from deepcore.bench.libraries import in_jax, in_torch, library, ours, plain

TEMPERATURES = 11


def _half_step(k: int) -> Case:
    """Means and samples of the hidden units given the visible ones."""

    def mean(v: Any, h: Any, w: Any, b: Any, c: Any) -> Any:
        return sigmoid_of(v @ w.T + c)

    def check(*arrays: Any) -> tuple[Any, ...]:
        *given, p, sample = arrays
        expected = mean(*[np.asarray(a, np.float64) for a in given])
        assert np.abs(p - expected).max() < 1e-5, "means are not those of the units"
        assert np.isin(sample, (0, 1)).all(), "samples are not bits"
        off = float((sample - expected).sum() / np.sqrt((expected * (1 - expected)).sum()))
        assert abs(off) < 5, f"samples are {off:.1f} deviations off their means"
        return ()

    def numpy_(arrays: Sequence[Array]) -> Built:
        rng = np.random.Generator(np.random.SFC64(1))

        def step() -> Any:
            p = mean(*arrays)
            return p, drawn(rng, p)

        return Built(step, tuple)

    def torch_(arrays: Sequence[Array]) -> Built:
        torch = library("torch")
        v, _, w, _, c = (torch.from_numpy(a) for a in arrays)

        @torch.inference_mode()  # type: ignore[untyped-decorator]
        def step() -> Any:
            p = torch.addmm(c, v, w.T).sigmoid_()
            return p, (torch.rand_like(p) < p).float()

        return Built(step, lambda result: tuple(t.numpy() for t in result))

    def jax_(arrays: Sequence[Array]) -> Built:
        jax = library("jax")
        operands = [jax.device_put(a) for a in arrays]
        count = itertools.count()

        @jax.jit  # type: ignore[untyped-decorator]
        def both(number: Any, v: Any, h: Any, w: Any, b: Any, c: Any) -> Any:
            p = jax.nn.sigmoid(v @ w.T + c)
            return p, (jax.random.uniform(jax.random.fold_in(jax_key(jax), number), p.shape) < p).astype(p.dtype)

        return Built(lambda: jax.block_until_ready(both(next(count), *operands)), lambda r: tuple(map(np.asarray, r)))

    def ours_(arrays: Sequence[Array]) -> Built:
        import deepcore as dc

        v, _, w, b, c = (dc.tensor(a) for a in arrays)
        count = itertools.count()
        return Built(lambda: ops.rbm_half_step(v, w, b, c, up=True, key=(1, 0, next(count))),
                     lambda result: tuple(t.numpy() for t in result))  # fmt: skip

    return Case(
        "gibbs", f"half step 784x{k} batch 100", arrays=bits_and_weights(k), reference=check,
        builders={"deepcore": ours_, "numpy": numpy_, "torch": torch_, "jax": jax_}, flops=2.0 * BATCH * VISIBLE * k,
        random=True,
    )  # fmt: skip


def _free_energy(rows: int, k: int) -> Case:
    def reference(v: Any, h: Any, w: Any, b: Any, c: Any) -> tuple[Any, ...]:
        return (-(v @ b) - np.logaddexp(0, v @ w.T + c).sum(1),)

    def torch_(v: Any, h: Any, w: Any, b: Any, c: Any) -> Any:
        torch = library("torch")
        return -(v @ b) - torch.nn.functional.softplus(torch.addmm(c, v, w.T)).sum(1)

    def jax_(v: Any, h: Any, w: Any, b: Any, c: Any) -> Any:
        return -(v @ b) - library("jax").nn.softplus(v @ w.T + c).sum(1)

    return Case(
        "gibbs", f"free energy 784x{k} of {rows}", arrays=bits_and_weights(k, rows), reference=reference,
        builders={"deepcore": ours(lambda v, h, w, b, c: ops.rbm_free_energy(v, w, b, c)), "numpy": plain(reference),
                  "torch": in_torch(torch_), "jax": in_jax(jax_)},
        flops=2.0 * rows * VISIBLE * k,
    )  # fmt: skip


def _annealing(k: int) -> Case:
    """Ten steps of annealed importance sampling between independent units and the machine: the log weights."""
    betas = np.linspace(0, 1, TEMPERATURES)

    def simulate(rng: np.random.Generator, *operands: Any) -> Any:
        v, w, b, c, base = operands
        weights = np.zeros(len(v))
        for low, high in itertools.pairwise(betas.tolist()):
            z = v @ w.T + c
            change = np.logaddexp(0, high * z) - np.logaddexp(0, low * z)
            weights += (high - low) * (v @ (b - base)) + change.sum(1)
            h = drawn(rng, sigmoid_of(high * z))
            v = drawn(rng, sigmoid_of((1 - high) * base + high * (b + h @ w)))
        return weights

    def check(v: Any, h: Any, w: Any, b: Any, c: Any, *results: Any) -> tuple[Any, ...]:
        base = np.zeros(VISIBLE)
        wide = tuple(a.astype(np.float64) for a in (v, w, b, c))
        expected = np.concatenate([
            simulate(np.random.default_rng(seed), *wide, base)
            for seed in range(RUNS)
        ])  # fmt: skip
        (found,) = results
        error = np.sqrt(expected.var() / len(expected) + found.var() / len(found))
        assert abs(found.mean() - expected.mean()) < 5 * error, (
            f"log weights {found.mean():.2f}, expected {expected.mean():.2f}, error {error:.2g}"
        )
        assert 0.5 < found.std() / expected.std() < 2, "log weights have another deviation"
        return ()

    def numpy_(arrays: Sequence[Array]) -> Built:
        v, _, w, b, c = arrays
        rng = np.random.Generator(np.random.SFC64(1))
        return Built(lambda: simulate(rng, v, w, b, c, np.zeros(VISIBLE, "f4")), lambda result: (result,))

    def torch_(arrays: Sequence[Array]) -> Built:
        torch = library("torch")
        given, _, w, b, c = (torch.from_numpy(a) for a in arrays)
        softplus = torch.nn.functional.softplus

        @torch.inference_mode()  # type: ignore[untyped-decorator]
        def step() -> Any:
            v, weights = given, torch.zeros(len(given), dtype=torch.float64)
            for low, high in itertools.pairwise(betas.tolist()):
                z = torch.addmm(c, v, w.T)
                weights += (high - low) * (v @ b) + (softplus(high * z) - softplus(low * z)).sum(1)
                p = torch.sigmoid(high * z)
                p = torch.sigmoid(high * torch.addmm(b, (torch.rand_like(p) < p).float(), w))
                v = (torch.rand_like(p) < p).float()
            return weights

        return Built(step, lambda result: (result.numpy(),))

    def jax_(arrays: Sequence[Array]) -> Built:
        jax = library("jax")
        operands = [jax.device_put(a) for a in arrays]
        steps = jax.device_put(betas.astype("f4"))
        count = itertools.count()

        @jax.jit  # type: ignore[untyped-decorator]
        def run(number: Any, v: Any, h: Any, w: Any, b: Any, c: Any) -> Any:
            keys = jax.random.split(jax.random.fold_in(jax_key(jax), number), 2 * len(betas))

            def one(i: Any, carried: Any) -> Any:
                v, weights = carried
                low, high = steps[i], steps[i + 1]
                z = v @ w.T + c
                weights += (high - low) * (v @ b) + (jax.nn.softplus(high * z) - jax.nn.softplus(low * z)).sum(1)
                p = jax.nn.sigmoid(high * z)
                h = (jax.random.uniform(keys[2 * i], p.shape) < p).astype(p.dtype)
                p = jax.nn.sigmoid(high * (h @ w + b))
                return (jax.random.uniform(keys[2 * i + 1], p.shape) < p).astype(p.dtype), weights

            return jax.lax.fori_loop(0, len(betas) - 1, one, (v, jax.numpy.zeros(len(v))))[1]

        return Built(lambda: jax.block_until_ready(run(next(count), *operands)), lambda r: (np.asarray(r, np.float64),))

    def ours_(arrays: Sequence[Array]) -> Built:
        import deepcore as dc

        v, _, w, b, c = (dc.tensor(a) for a in arrays)
        base, nothing = dc.tensor(np.zeros(VISIBLE, "f4")), dc.tensor(np.zeros(BATCH))
        count = itertools.count()
        return Built(lambda: ops.rbm_anneal(v, w, b, c, base, nothing, betas.tolist(), key=(1, 0, 64 * next(count))),
                     lambda result: (result[1].numpy(),))  # fmt: skip

    return Case(
        "gibbs", f"10 AIS steps 784x{k} of 100", arrays=bits_and_weights(k), reference=check,
        builders={"deepcore": ours_, "numpy": numpy_, "torch": torch_, "jax": jax_},
        flops=4.0 * BATCH * VISIBLE * k * (TEMPERATURES - 1), random=True,
    )  # fmt: skip


CASES = [_half_step(500), _free_energy(1000, 500), _annealing(500)]
