"""Restricted Boltzmann machines on a device, against the CPU's: exact bits, samples of every tile, whole chains."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn, ops
from deepcore.errors import DeviceError
from deepcore.graph import CapturedStep
from deepcore.ops.rbm import Chains, Hold, Units
from deepcore.testing.cases.rbm import LAYER, SEED, STEP, uniforms
from tests.device.emulated import device_module, emulated

KEY = (SEED, LAYER, STEP)
PRECISIONS = ("strict", "accurate", "high", "tf32")
ERRORS = {"strict": 2e-6, "accurate": 2e-6, "high": 2e-5, "tf32": 2e-3}  # of means, at most


@pytest.fixture
def precision() -> Any:
    """Sets the precision of products, for one test."""
    module: Any = importlib.import_module("deepcore._cuda_emulated" if dc.cuda.is_emulated() else "deepcore._cuda")
    before = module.float32_precision()
    yield lambda name: dc.cuda.set_float32_precision(matmul=name)
    module.set_float32_precision(*before)


def machine(visible: int, hidden: int, dtype: str = "float32", scale: float = 0.2) -> tuple[dc.Tensor, ...]:
    """Weights and biases on the CPU."""
    rng = np.random.default_rng(0)
    arrays = scale * rng.standard_normal((hidden, visible)), rng.standard_normal(visible), rng.standard_normal(hidden)
    return tuple(dc.tensor(a.astype(dtype)) for a in arrays)


def binary(rows: int, n: int, dtype: str = "float32", seed: int = 1) -> dc.Tensor:
    return dc.tensor((np.random.default_rng(seed).random((rows, n)) < 0.5).astype(dtype))


def numbers(rows: int, n: int, dtype: str = "float32", seed: int = 2) -> dc.Tensor:
    return dc.tensor(np.random.default_rng(seed).uniform(0, 1, (rows, n)).astype(dtype))


def there(*tensors: dc.Tensor) -> tuple[dc.Tensor, ...]:
    return tuple(t.cuda() for t in tensors)


def bits(chains: Chains) -> list[bytes]:
    return [t.numpy().tobytes() for t in chains if t is not None]


# ---- exact mode ----
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(23, 70, 45), (9, 64, 32), (70, 130, 67), (1, 1, 1)], ids=str)
def test_exact_chains_have_the_bits_of_the_cpu(sizes: tuple[int, int, int], dtype: str) -> None:
    rows, visible, hidden = sizes
    model, data = machine(visible, hidden, dtype, scale=1.0), binary(rows, visible, dtype)
    here = ops.rbm_gibbs(*model, key=(1, 2, 3), steps=10, data=data, units=Units(exact=True))
    device = ops.rbm_gibbs(*there(*model), key=(1, 2, 3), steps=10, data=data.cuda(), units=Units(exact=True))
    assert device.h.device == "cuda:0"
    assert bits(here) == bits(device)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exact_chains_at_temperatures_with_held_units(dtype: str) -> None:
    rows, visible, hidden = 11, 37, 20
    model, beta = machine(visible, hidden, dtype), dc.tensor(np.linspace(0.1, 1, rows).astype(dtype))
    keep, where, value = (binary(rows, visible, dtype, s) for s in (4, 5, 6))
    hidden_keep = numbers(rows, hidden, dtype)
    results = [
        ops.rbm_gibbs(*on(*model), key=KEY, steps=3, state=on(binary(rows, hidden, dtype))[0], beta=on(beta)[0],
                      hidden_keep=on(hidden_keep)[0], hold=Hold(*on(keep, where, value)), units=Units(exact=True))
        for on in (lambda *t: t, there)
    ]  # fmt: skip
    assert bits(results[0]) == bits(results[1])
    held = where.numpy() != 0
    np.testing.assert_array_equal(results[1].v.numpy()[held], value.numpy()[held])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exact_means_in_both_tails(dtype: str) -> None:
    """Every exponent of the sigmoid, saturated units, infinities and NaN."""
    c = np.concatenate([np.linspace(-120, 120, 997), [np.inf, -np.inf, np.nan]]).astype(dtype)
    w, b, x = np.zeros((1000, 1), dtype), np.zeros(1, dtype), np.zeros((2, 1), dtype)
    results = [
        ops.rbm_half_step(*on(*(dc.tensor(a) for a in (x, w, b, c))), up=True, key=KEY, units=Units(exact=True))
        for on in (lambda *t: t, there)
    ]
    for here, device in zip(*results, strict=True):
        assert here is not None and device is not None
        np.testing.assert_array_equal(device.numpy(), here.numpy())
    mean = results[1][0].numpy()[0, :997]
    expected = 1 / (1 + np.exp(-c[:997].astype(np.float64)))
    near = np.abs(c[:997]) < 80
    np.testing.assert_allclose(mean[near], expected[near], rtol=4e-7 if dtype == "float32" else 1e-15)
    assert (mean[c[:997] < -80] < 1e-34).all() and (mean[c[:997] > 80] == 1).all()


# ---- fast mode ----
# Rows, inputs, units: 32 x 32, 64 x 64 and 128 x 128 tiles of multiply-adds, sums in parts, one row.
SIMT = [(9, 33, 17), (20, 600, 32), (760, 6, 750), (1410, 5, 1540), (1, 50, 40)]
# 64 x 64, 128 x 64 and 128 x 128 tiles of tensor cores; aligned and not; sums in parts.
MMA = [(65, 97, 130), (128, 64, 192), (130, 400, 96), (1030, 33, 1023), (1024, 16, 1028), (70, 1500, 66)]


def check_half_step(rows: int, inputs: int, units: int, up: bool, most: float, x: dc.Tensor) -> None:
    w, b, c = machine(inputs, units) if up else machine(units, inputs)
    mean, sample = (r.numpy() for r in ops.rbm_half_step(*there(x, w, b, c), up=up, key=KEY) if r is not None)
    weights = w.numpy().astype(np.float64)
    z = x.numpy().astype(np.float64) @ (weights.T if up else weights) + (c if up else b).numpy()
    p, u = 1 / (1 + np.exp(-z)), uniforms(2 * STEP + up, rows, units)
    assert np.abs(mean - p).max() < most
    np.testing.assert_array_equal(sample, u < mean)
    differ = sample != (u < p)
    assert (np.abs(p - u)[differ] < most).all()


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
@pytest.mark.parametrize("size", SIMT, ids=str)
def test_samples_of_multiply_adds(size: tuple[int, int, int], up: bool, precision: Any) -> None:
    precision("strict")
    check_half_step(*size, up, ERRORS["strict"], numbers(*size[:2]))


@pytest.mark.parametrize("name", PRECISIONS[1:])
@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
@pytest.mark.parametrize("size", MMA, ids=str)
def test_samples_of_tensor_cores(size: tuple[int, int, int], up: bool, name: str, precision: Any) -> None:
    precision(name)
    check_half_step(*size, up, ERRORS[name], numbers(*size[:2]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_first_step_differs_from_the_cpu_only_within_rounding(dtype: str) -> None:
    rows, visible, hidden = 200, 300, 130
    model, data = machine(visible, hidden, dtype), binary(rows, visible, dtype)
    here, device = (ops.rbm_gibbs(*on(*model), key=KEY, steps=0, data=on(data)[0]) for on in (lambda *t: t, there))
    assert here.data_mean is not None
    differ = here.h.numpy() != device.h.numpy()
    distance = np.abs(here.data_mean.numpy() - uniforms(2 * STEP + 1, rows, hidden))
    assert (distance[differ] < 1e-5).all()
    assert 0.2 < device.h.numpy().mean() < 0.8


@pytest.mark.parametrize("name", PRECISIONS)
def test_chains_are_their_half_steps(name: str, precision: Any) -> None:
    """Inputs of 0 and 1 take fewer products of tensor cores in a chain, and give the same bits."""
    precision(name)
    for rows, visible, hidden in ((70, 200, 96), (1025, 20, 1028)):
        model, data = there(*machine(visible, hidden)), binary(rows, visible).cuda()
        chain = ops.rbm_gibbs(*model, key=KEY, steps=2, data=data)
        mean, h = ops.rbm_half_step(data, *model, up=True, key=KEY)
        expected: list[dc.Tensor | None] = []
        for step in (1, 2):
            key = (SEED, LAYER, STEP + step)
            v_mean, v = ops.rbm_half_step(h, *model, up=False, key=key)  # type: ignore[arg-type]
            h_mean, h = ops.rbm_half_step(v, *model, up=True, key=key)  # type: ignore[arg-type]
            expected = [v, v_mean, h, h_mean, mean]
        assert bits(chain) == [t.numpy().tobytes() for t in expected if t is not None]


def test_chains_go_on_from_any_state(precision: Any) -> None:
    """A state that is not 0 and 1 is multiplied as it is."""
    precision("accurate")
    rows, visible, hidden = 66, 90, 130
    w, b, c = machine(visible, hidden)
    state = numbers(rows, hidden)
    chain = ops.rbm_gibbs(*there(w, b, c), key=KEY, steps=1, state=state.cuda())
    p = 1 / (1 + np.exp(-(state.numpy().astype(np.float64) @ w.numpy() + b.numpy())))
    np.testing.assert_allclose(chain.v_mean.numpy(), p, atol=2e-6)


def test_chains_in_parts() -> None:
    model, data = there(*machine(90, 66)), binary(70, 90).cuda()
    whole = ops.rbm_gibbs(*model, key=(4, 0, 0), steps=6, data=data)
    first = ops.rbm_gibbs(*model, key=(4, 0, 0), steps=2, data=data)
    rest = ops.rbm_gibbs(*model, key=(4, 0, 2), steps=4, state=first.h)
    assert bits(rest) == bits(whole)[:4]
    none = ops.rbm_gibbs(*model, key=(4, 0, 6), steps=0, state=whole.h)
    np.testing.assert_array_equal(none.h.numpy(), whole.h.numpy())


def test_mean_field_and_dropout() -> None:
    w, b, c = machine(80, 60)
    data, keep = binary(70, 80), binary(70, 60, seed=3)
    r = ops.rbm_gibbs(*there(w, b, c), key=KEY, steps=1, data=data.cuda(), data_keep=keep.cuda(),
                      hidden_keep=keep.cuda(), sample_visible=False, sample_hidden=False)  # fmt: skip
    h0 = keep.numpy() / (1 + np.exp(-(data.numpy() @ w.numpy().T + c.numpy())))
    v = 1 / (1 + np.exp(-(h0 @ w.numpy() + b.numpy())))
    assert r.data_mean is not None
    np.testing.assert_allclose(r.data_mean.numpy(), h0, atol=2e-6)
    np.testing.assert_allclose(r.v.numpy(), v, atol=2e-6)
    np.testing.assert_allclose(r.h.numpy(), keep.numpy() / (1 + np.exp(-(v @ w.numpy().T + c.numpy()))), atol=2e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gaussian_chain(dtype: str) -> None:
    w, b, c = machine(70, 65, dtype)
    variance = dc.tensor(np.linspace(0.5, 2, 70).astype(dtype))
    data = dc.tensor(np.random.default_rng(0).standard_normal((70, 70)).astype(dtype))
    beta = dc.tensor(np.linspace(0.3, 1, 70).astype(dtype))
    here, device = (
        ops.rbm_gibbs(*on(w, b, c), key=KEY, steps=1, data=on(data)[0], units=Units("gaussian"),
                      variance=on(variance)[0], beta=on(beta)[0])
        for on in (lambda *t: t, there)
    )  # fmt: skip
    same = (here.h.numpy() == device.h.numpy()).all(1)
    assert same.mean() > 0.9
    np.testing.assert_allclose(device.v.numpy(), here.v.numpy(), atol=1e-4 if dtype == "float32" else 1e-6)
    z = beta.numpy()[:, None] * (device.v.numpy() / variance.numpy() @ w.numpy().T + c.numpy())
    np.testing.assert_allclose(device.h_mean.numpy(), 1 / (1 + np.exp(-z)), atol=3e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("group", [1, 3, 10, 33, 70])
def test_softmax_groups(group: int, dtype: str) -> None:
    rows, visible, units = 15, 12, group * 3
    w, b, c = machine(visible, units, dtype)
    keep, where, value = binary(rows, units, dtype, 7), binary(rows, units, dtype, 8), numbers(rows, units, dtype)
    beta = dc.tensor(np.linspace(0.2, 1, rows).astype(dtype))
    for hold in (Hold(), Hold(keep, where, value)):
        here, device = (
            ops.rbm_half_step(*on(binary(rows, visible, dtype), w, b, c), up=True, key=KEY, beta=on(beta)[0],
                              units=Units(hidden="softmax", hidden_group=group),
                              hold=Hold(*(None if t is None else on(t)[0] for t in hold)))
            for on in (lambda *t: t, there)
        )  # fmt: skip
        assert here[1] is not None and device[1] is not None
        np.testing.assert_allclose(device[0].numpy(), here[0].numpy(), rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(device[1].numpy(), here[1].numpy())
        if hold.keep is None:
            assert (device[1].numpy().reshape(rows, 3, group).sum(-1) == 1).all()


# ---- the rest ----
@pytest.mark.parametrize("units", [Units(), Units("gaussian"), Units("softmax", visible_group=5)], ids=lambda u: u[0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_annealing(units: Units, dtype: str) -> None:
    chains, visible, hidden = 40, 70, 66
    w, b, c = machine(visible, hidden, dtype, scale=0.05)
    base = dc.tensor(np.linspace(-0.5, 0.5, visible).astype(dtype))
    start = numbers(chains, visible, dtype) if units.visible == "gaussian" else binary(chains, visible, dtype)
    variance = dc.tensor(np.linspace(0.5, 1, visible).astype(dtype)) if units.visible == "gaussian" else None
    before = dc.tensor(np.arange(chains, dtype=np.float64))
    betas = np.linspace(0, 1, 5)

    def run(on: Any) -> Any:
        known = on(variance)[0] if variance is not None else None
        return ops.rbm_anneal(*on(start, w, b, c, base, before), betas, key=KEY, units=units, variance=known)

    (here, weights), (device, others) = run(lambda *t: t), run(there)
    same = np.isclose(here.numpy(), device.numpy(), atol=1e-3).all(1)  # chains that no rounding led astray
    assert same.mean() > 0.8
    np.testing.assert_allclose(others.numpy()[same], weights.numpy()[same], atol=2e-4)
    again, weights_again = run(there)
    assert again.numpy().tobytes() == device.numpy().tobytes()
    assert weights_again.numpy().tobytes() == others.numpy().tobytes()


@pytest.mark.parametrize("parity", [0, 1])
def test_swaps_are_those_of_the_cpu(parity: int) -> None:
    for copies, levels in ((1, 1), (1, 2), (3, 5), (4, 6)):
        rng = np.random.default_rng(copies)
        chains = copies * levels
        h, energy = rng.standard_normal((chains, 150)), 3 * rng.standard_normal(chains)
        beta = np.repeat(np.linspace(1, 0.2, levels), copies)
        here, device = (
            ops.rbm_swap(*on(*(dc.tensor(a) for a in (h, beta, energy))), key=KEY, copies=copies, parity=parity)
            for on in (lambda *t: t, there)
        )
        for a, b in zip(here, device, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_statistics_and_free_energies_of_large_machines() -> None:
    rng = np.random.default_rng(0)
    v0, h0, v1, h1 = (rng.uniform(0, 1, s) for s in ((90, 300), (90, 140), (33, 300), (33, 140)))
    gw, gb, gc = ops.rbm_statistics(*there(*(dc.tensor(a.astype(np.float32)) for a in (v0, h0, v1, h1))))
    np.testing.assert_allclose(gw.numpy(), h1.T @ v1 / 33 - h0.T @ v0 / 90, atol=1e-6)
    np.testing.assert_allclose(gb.numpy(), v1.mean(0) - v0.mean(0), atol=1e-6)
    np.testing.assert_allclose(gc.numpy(), h1.mean(0) - h0.mean(0), atol=1e-6)
    w, b, c = machine(300, 140)
    f = ops.rbm_free_energy(*there(dc.tensor(v0.astype(np.float32)), w, b, c)).numpy()
    z = v0 @ w.numpy().T.astype(np.float64) + c.numpy()
    np.testing.assert_allclose(f, -v0 @ b.numpy() - np.log1p(np.exp(z)).sum(1), rtol=2e-6)


def test_no_chains_and_no_data() -> None:
    model = there(*machine(6, 4))
    r = ops.rbm_gibbs(*model, key=KEY, steps=2, state=dc.zeros((0, 4), device="cuda"))
    assert r.v.shape == (0, 6) and r.h.shape == (0, 4)
    empty = dc.zeros((0, 6), device="cuda"), dc.zeros((0, 4), device="cuda")
    gw, gb, gc = ops.rbm_statistics(*empty, *empty)
    assert not gw.numpy().any() and not gb.numpy().any() and not gc.numpy().any()
    lonely = ops.rbm_half_step(dc.zeros((3, 0), device="cuda"), *there(*machine(0, 4)), up=True, key=KEY)
    np.testing.assert_allclose(lonely[0].numpy()[1], 1 / (1 + np.exp(-machine(0, 4)[2].numpy())), rtol=1e-6)


@emulated
@pytest.mark.parametrize("sizes", [(20, 40, 30), (70, 600, 500)], ids=str)  # one launch a half step; sums in parts
def test_a_chain_allocates_once(sizes: tuple[int, int, int]) -> None:
    rows, visible, hidden = sizes
    model, state = there(*machine(visible, hidden)), binary(rows, hidden).cuda()
    counts = []
    for steps in (1, 2, 5):
        dc.cuda.synchronize()
        dc.cuda.empty_cache()
        before = device_module().allocations(), device_module().launches()
        ops.rbm_gibbs(*model, key=KEY, steps=steps, state=state)
        dc.cuda.synchronize()
        counts.append([now - then for now, then in zip(
            (device_module().allocations(), device_module().launches()), before, strict=True)])  # fmt: skip
    (allocated, one), (_, two), (_, five) = counts
    assert all(c[0] == allocated for c in counts)
    launches = 4 if visible == 600 else 2
    assert two - one == launches and five - two == 3 * launches


def test_parameters_that_moved() -> None:
    class Machine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.b, self.c = (nn.Parameter(t) for t in machine(30, 20))

        def forward(self, x: dc.Tensor) -> dc.Tensor:
            return ops.rbm_gibbs(self.w, self.b, self.c, key=KEY, steps=2, data=x, units=Units(exact=True)).v

    net = Machine()
    here = net(binary(8, 30)).numpy()
    net.to("cuda")
    device = net(binary(8, 30).cuda())
    assert device.device == "cuda:0"
    np.testing.assert_array_equal(device.numpy(), here)
    np.testing.assert_array_equal(net.to("cpu")(binary(8, 30)).numpy(), here)


def test_mixed_devices() -> None:
    w, b, c = machine(6, 4)
    for place in range(4):
        arguments = [t.cuda() if i != place else t for i, t in enumerate((binary(2, 6), w, b, c))]
        with pytest.raises(DeviceError, match="rbm_half_step"):
            ops.rbm_half_step(*arguments, up=True, key=KEY)
        with pytest.raises(DeviceError, match="rbm_gibbs"):
            ops.rbm_gibbs(*arguments[1:], key=KEY, steps=1, data=arguments[0])
    device = there(w, b, c)
    with pytest.raises(DeviceError, match="rbm_anneal"):
        ops.rbm_anneal(binary(2, 6).cuda(), *device, device[1], dc.zeros(2, "float64"), [0, 1], key=KEY)
    with pytest.raises(DeviceError, match="rbm_swap"):
        ops.rbm_swap(dc.ones((4, 3)).cuda(), dc.ones(4), dc.ones(4).cuda(), key=KEY, copies=2, parity=0)
    with pytest.raises(DeviceError, match="rbm_statistics"):
        ops.rbm_statistics(*there(binary(2, 6), binary(2, 4), binary(2, 6)), binary(2, 4))


def test_recorded_steps_refuse_chains() -> None:
    """Each launch of the recording would draw the same numbers."""
    model, data = there(*machine(6, 4)), binary(2, 6).cuda()
    parameter = nn.Parameter(dc.ones((1,), device="cuda"))

    def step() -> dc.Tensor:
        return ops.sum(ops.rbm_gibbs(*model, key=KEY, steps=1, data=data).v) * parameter

    captured = CapturedStep(step, dc.optim.SGD([parameter], 0.1))
    captured()
    with pytest.raises(DeviceError, match="rbm_gibbs: would be the same at each launch"):
        captured()
