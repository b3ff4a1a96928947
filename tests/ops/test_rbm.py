"""What is special about restricted Boltzmann machines: exact mode, chains in parts, annealing, swaps, errors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import _C, ops
from deepcore.errors import ArgumentError, DtypeError, GradientError, ShapeError
from deepcore.ops.rbm import Hold, Units
from deepcore.testing.cases.random import words


def machine(visible: int, hidden: int, seed: int = 0, dtype: str = "float32", scale: float = 0.3) -> Any:
    rng = np.random.default_rng(seed)
    return tuple(
        dc.tensor(a.astype(dtype))
        for a in (scale * rng.standard_normal((hidden, visible)), rng.standard_normal(visible),
                  rng.standard_normal(hidden))
    )  # fmt: skip


def binary(rows: int, n: int, seed: int = 1, dtype: str = "float32") -> dc.Tensor:
    return dc.tensor((np.random.default_rng(seed).random((rows, n)) < 0.5).astype(dtype))


def all_states(n: int) -> Any:
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))


def test_exact_chains_are_the_same_bits_on_every_instruction_set() -> None:
    w, b, c = machine(70, 45)
    before, seen = dc.isa(), set()
    for isa in _C.supported_isas().split():
        _C.select_isa(isa)
        r = ops.rbm_gibbs(w, b, c, key=(1, 2, 3), steps=10, data=binary(23, 70), units=Units(exact=True))
        seen.add(b"".join(t.numpy().tobytes() for t in (r.v, r.v_mean, r.h, r.h_mean)))
    _C.select_isa(before)
    assert len(seen) == 1


def test_exact_and_fast_chains_have_the_same_distribution(isa: str) -> None:
    w, b, c = machine(30, 20)
    fast, exact = (ops.rbm_half_step(binary(9, 30), w, b, c, up=True, key=(0, 0, 0), units=Units(exact=e))[0].numpy()
                   for e in (False, True))  # fmt: skip
    np.testing.assert_allclose(exact, fast, rtol=2e-5)


def test_chains_do_not_depend_on_their_company_or_on_the_parts_of_a_run(isa: str) -> None:
    w, b, c = machine(33, 21)
    units = Units(exact=True)  # fast products of few rows add in another order
    data = binary(16, 33)
    whole = ops.rbm_gibbs(w, b, c, key=(4, 0, 0), steps=6, data=data, units=units)
    first = ops.rbm_gibbs(w, b, c, key=(4, 0, 0), steps=2, data=data, units=units)
    rest = ops.rbm_gibbs(w, b, c, key=(4, 0, 2), steps=4, state=first.h, units=units)
    np.testing.assert_array_equal(rest.v.numpy(), whole.v.numpy())
    few = ops.rbm_gibbs(w, b, c, key=(4, 0, 0), steps=6, data=data[:5], units=units)
    np.testing.assert_array_equal(few.v.numpy(), whole.v.numpy()[:5])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("up", [True, False])
def test_weights_that_are_not_finite_show_in_every_chain(isa: str, bad: float, up: bool) -> None:
    w, b, c = machine(40, 30)
    broken = w.numpy().copy()
    broken[5, 7] = bad
    x = binary(20, 40 if up else 30).numpy().copy()
    x[:, 7 if up else 5] = 0
    mean, _ = ops.rbm_half_step(dc.tensor(x), dc.tensor(broken), b, c, up=up, key=(0, 0, 0), sample=False)
    expected = np.zeros(mean.shape, bool)
    expected[:, 5 if up else 7] = True
    np.testing.assert_array_equal(np.isnan(mean.numpy()), expected)


def test_other_keys_give_other_samples() -> None:
    w, b, c = machine(40, 30)
    samples = {ops.rbm_half_step(binary(20, 40), w, b, c, up=True, key=key)[1].numpy().tobytes()  # type: ignore[union-attr]
               for key in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))}  # fmt: skip
    assert len(samples) == 4


def test_mean_field_and_dropout(isa: str) -> None:
    w, b, c = machine(12, 9)
    data, keep = binary(5, 12), binary(5, 9, seed=3)
    r = ops.rbm_gibbs(w, b, c, key=(0, 0, 0), steps=1, data=data, data_keep=keep, hidden_keep=keep,
                      sample_visible=False, sample_hidden=False)  # fmt: skip
    W, B, C = w.numpy(), b.numpy(), c.numpy()
    h0 = keep.numpy() / (1 + np.exp(-(data.numpy() @ W.T + C)))
    v = 1 / (1 + np.exp(-(h0 @ W + B)))
    np.testing.assert_allclose(r.data_mean.numpy(), h0, rtol=1e-5)  # type: ignore[union-attr]
    np.testing.assert_allclose(r.v.numpy(), v, rtol=1e-5)
    np.testing.assert_allclose(r.h.numpy(), keep.numpy() / (1 + np.exp(-(v @ W.T + C))), rtol=1e-5)


def test_gaussian_chain_feeds_values_over_variances(isa: str) -> None:
    w, b, c = machine(7, 5)
    variance = dc.tensor(np.linspace(0.5, 2, 7).astype("float32"))
    data = dc.tensor(np.random.default_rng(0).standard_normal((4, 7)).astype("float32"))
    r = ops.rbm_gibbs(w, b, c, key=(0, 0, 0), steps=1, data=data, units=Units("gaussian"), variance=variance)
    for v, mean in ((data, r.data_mean), (r.v, r.h_mean)):
        z = v.numpy() / variance.numpy() @ w.numpy().T + c.numpy()
        np.testing.assert_allclose(mean.numpy(), 1 / (1 + np.exp(-z)), rtol=2e-5)  # type: ignore[union-attr]
    assert np.abs(r.v.numpy() - r.v_mean.numpy()).max() > 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_annealing_finds_the_partition_function(isa: str, dtype: str) -> None:
    w, b, c = machine(10, 8, dtype=dtype, scale=0.6)
    v = all_states(10)
    exact = np.log(
        np.exp(-ops.rbm_free_energy(dc.tensor(v), *machine(10, 8, dtype="float64", scale=0.6)).numpy()).sum()
    )
    chains = 400
    base = dc.zeros(10, dtype)
    start = dc.tensor((np.random.default_rng(0).random((chains, 10)) < 0.5).astype(dtype))
    betas = np.linspace(0, 1, 301)
    weights = dc.zeros(chains, "float64")
    states, whole = ops.rbm_anneal(start, w, b, c, base, weights, betas, key=(0, 0, 0))
    log_z = 18 * np.log(2) + np.log(np.exp(whole.numpy()).mean())
    assert abs(log_z - exact) < 0.05
    # in two calls the same bits
    half, first = ops.rbm_anneal(start, w, b, c, base, weights, betas[:151], key=(0, 0, 0))
    again, second = ops.rbm_anneal(half, w, b, c, base, first, betas[150:], key=(0, 0, 150))
    np.testing.assert_array_equal(again.numpy(), states.numpy())
    np.testing.assert_array_equal(second.numpy(), whole.numpy())


def test_swap(isa: str) -> None:
    copies, levels = 7, 5
    chains = copies * levels
    rng = np.random.default_rng(2)
    h, energy = rng.standard_normal((chains, 3)), 3 * rng.standard_normal(chains)
    beta = np.repeat(np.linspace(1, 0.2, levels), copies)
    for parity in (0, 1):
        states, swapped = ops.rbm_swap(dc.tensor(h), dc.tensor(beta), dc.tensor(energy), key=(9, 1, 4), copies=copies,
                                       parity=parity)  # fmt: skip
        expected, moved = h.copy(), np.zeros(chains)
        for t in range(parity, levels - 1, 2):
            for i in range(copies):
                a = t * copies + i
                u = int(words(9, 1 << 48 | 1 << 47 | 4, a)[0]) >> 8
                if u * 2.0**-24 < np.exp((beta[a] - beta[a + copies]) * (energy[a] - energy[a + copies])):
                    expected[[a, a + copies]] = expected[[a + copies, a]]
                    moved[[a, a + copies]] = 1
        np.testing.assert_array_equal(states.numpy(), expected)
        np.testing.assert_array_equal(swapped.numpy(), moved)
        assert 0 < moved.sum() < chains


def test_samples_have_no_derivative() -> None:
    w, b, c = machine(4, 3)
    w.requires_grad = True
    mean, _ = ops.rbm_half_step(binary(2, 4), w, b, c, up=True, key=(0, 0, 0))
    with pytest.raises(GradientError, match="rbm_half_step"):
        dc.grad(ops.sum(mean), w)


def test_energy_gap_has_the_gradient_of_the_free_energies() -> None:
    w, b, c = machine(6, 4, dtype="float64")
    data, model = binary(5, 6, dtype="float64"), binary(9, 6, 2, "float64")
    for t in (w, b, c):
        t.requires_grad = True

    def means(v: dc.Tensor) -> dc.Tensor:
        return ops.rbm_half_step(v, w, b, c, up=True, key=(0, 0, 0), sample=False)[0]

    with dc.no_grad():
        statistics = ops.rbm_statistics(data, means(data), model, means(model))
    gap = ops.rbm_energy_gap(w, b, c, statistics)
    free = ops.mean(ops.rbm_free_energy(data, w, b, c)) - ops.mean(ops.rbm_free_energy(model, w, b, c))
    for one, other in zip(dc.grad(gap, [w, b, c]), dc.grad(free, [w, b, c]), strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda w, b, c: ops.rbm_half_step(binary(2, 3), w, b, c, up=True, key=(0, 0, 0)), ShapeError,
         r"rbm_half_step: expected x \(rows, 6\), got \(2, 3\)"),
        (lambda w, b, c: ops.rbm_half_step(binary(2, 6), w, b[:2], c, up=True, key=(0, 0, 0)), ShapeError,
         r"expected b \(6,\), got \(2,\)"),
        (lambda w, b, c: ops.rbm_half_step(binary(2, 6, dtype="float64"), w, b, c, up=True, key=(0, 0, 0)), DtypeError,
         "float32"),
        (lambda w, b, c: ops.rbm_half_step(binary(2, 6), w, b, c, up=True, key=(0, 1 << 16, 0)), ArgumentError,
         "layer below 2"),
        (lambda w, b, c: ops.rbm_half_step(binary(2, 6), w, b, c, up=True, key=(0, 0, 1 << 46)), ArgumentError,
         "steps below 2"),
        (lambda w, b, c: ops.rbm_half_step(binary(2, 6), w, b, c, up=True, key=(0, 0, 0), units=Units("cosine")),
         ArgumentError, "expected visible units in .*, got 'cosine'"),
        (lambda w, b, c: ops.rbm_half_step(binary(2, 6), w, b, c, up=True, key=(0, 0, 0),
                                           units=Units("softmax", visible_group=4)), ShapeError, "groups of 4, got 6"),
        (lambda w, b, c: ops.rbm_half_step(binary(2, 6), w, b, c, up=True, key=(0, 0, 0),
                                           units=Units("gaussian", exact=True)), ArgumentError, "exact mode"),
        (lambda w, b, c: ops.rbm_half_step(binary(2, 6), w, b, c, up=True, key=(0, 0, 0), variance=b), ArgumentError,
         "variance only beside Gaussian"),
        (lambda w, b, c: ops.rbm_half_step(binary(2, 6), w, b, c, up=True, key=(0, 0, 0), hold=Hold(where=c)),
         ArgumentError, "`where` and `value` together"),
        (lambda w, b, c: ops.rbm_gibbs(w, b, c, key=(0, 0, 0), steps=1), ArgumentError, "expected a state"),
        (lambda w, b, c: ops.rbm_gibbs(w, b, c, key=(0, 0, 0), steps=-1, data=binary(2, 6)), ArgumentError,
         "steps from 0 to .*, got -1"),
        (lambda w, b, c: ops.rbm_free_energy(binary(2, 6), w, b, c, units=Units(hidden="relu")), ArgumentError,
         "no free energy in closed form"),
        (lambda w, b, c: ops.rbm_anneal(binary(2, 6), w, b, c, b, dc.zeros(2), [0, 1], key=(0, 0, 0)), ShapeError,
         "float64"),
        (lambda w, b, c: ops.rbm_anneal(binary(2, 6), w, b, c, b, dc.zeros(2, "float64"), [0, 0.5, 0.4],
                                        key=(0, 0, 0)), ArgumentError, "rising or falling inverse temperatures"),
        (lambda w, b, c: ops.rbm_anneal(binary(2, 6), w, b, c, b, dc.zeros(2, "float64"), [0, 1], key=(0, 0, 0),
                                        units=Units(exact=True)), ArgumentError, "without exact mode"),
        (lambda w, b, c: ops.rbm_half_step(binary(2, 6), w, b, c, up=True, key=(0, 0, 0), units=Units(choice=7)),
         ArgumentError, "choice of 0 to 6"),
        (lambda w, b, c: ops.rbm_swap(binary(6, 4), dc.ones(6), dc.ones(6), key=(0, 0, 0), copies=4, parity=0),
         ShapeError, "groups of 4, got 6"),
        (lambda w, b, c: ops.rbm_statistics(binary(2, 6), binary(3, 4), binary(2, 6), binary(2, 4)), ShapeError,
         "as many rows of h as of v"),
    ],
)  # fmt: skip
def test_errors(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(*machine(6, 4))


def test_steps_of_a_chain_allocate_nothing(isa: str) -> None:
    w, b, c = machine(784, 500)
    data = binary(100, 784)

    def requests(steps: int) -> int:
        before = dc.memory.statistics()["allocations"]
        ops.rbm_gibbs(w, b, c, key=(0, 0, 0), steps=steps, data=data)
        return int(dc.memory.statistics()["allocations"] - before)

    assert requests(1) == requests(2) == requests(20) > 0
