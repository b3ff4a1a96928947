"""Restricted Boltzmann machines: training steps and a whole epoch. What chains are made of: gibbs.py.

A training step is the positive phase, k Gibbs steps, the statistics and the update of all parameters, for a batch of
100; CD-k starts its chains at the data, PCD-k at the hidden states of the step before. Each library draws its own
random bits, so results are checked as distributions against numpy in float64: the change of the parameters must
differ from the mean of several numpy runs by as much as another run does. scikit-learn's `partial_fit` is PCD-1 (in
float64).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from deepcore.bench.case import Array, Builder, Built, Case, Target
from deepcore.bench.libraries import library

VISIBLE, BATCH, RATE = 784, 100, 0.01
EPOCH = 20_000  # samples of an epoch: of MNIST's size and a third of its number, for the slower ones' sake
RUNS = 6  # of numpy, that a result is compared with


def bits_and_weights(hidden: int, rows: int = BATCH) -> Callable[[np.random.Generator], list[Array]]:
    """Bits v (rows, 784), hidden bits h (rows, hidden), w (hidden, 784), biases b and c."""

    def make(rng: np.random.Generator) -> list[Array]:
        v = rng.random((rows, VISIBLE)) < rng.random(VISIBLE) ** 2
        h = rng.random((rows, hidden)) < 0.3
        w, b, c = (rng.standard_normal(s) * 0.1 for s in ((hidden, VISIBLE), VISIBLE, hidden))
        return [a.astype("f4") for a in (v, h, w, b - 1, c - 1)]

    return make


# ---- numpy ----
def sigmoid_of(z: Array) -> Array:
    """Elementwise."""
    return 1 / (1 + np.exp(-z))


def drawn(rng: np.random.Generator, p: Array) -> Array:
    """Bits with probabilities p, in p's type."""
    return (rng.random(p.shape, np.float32) < p).astype(p.dtype)


def _numpy_update(rng: np.random.Generator, k: int, persistent: bool, state: list[Array]) -> list[Array]:
    """One training step in place; state: v, h, w, b, c."""
    v, h, w, b, c = state
    data = sigmoid_of(v @ w.T + c)
    chain = h if persistent else drawn(rng, data)
    for _ in range(k):
        u = drawn(rng, sigmoid_of(chain @ w + b))
        means = sigmoid_of(u @ w.T + c)
        chain = drawn(rng, means)
    scale = w.dtype.type(RATE / len(v))
    w += scale * (data.T @ v - means.T @ u)
    b += scale * (v.sum(0) - u.sum(0))
    c += scale * (data.sum(0) - means.sum(0))
    return [v, chain, w, b, c]


def _numpy_step(k: int, persistent: bool) -> Builder:
    def build(arrays: Sequence[Array]) -> Built:
        rng = np.random.Generator(np.random.SFC64(1))
        state = [[a.copy() for a in arrays]]

        def step() -> Any:
            state[0] = _numpy_update(rng, k, persistent, state[0])
            return state[0][2:]

        return Built(step, tuple)

    return build


def _step_check(k: int, persistent: bool) -> Callable[..., tuple[Any, ...]]:
    def check(v: Any, h: Any, w: Any, b: Any, c: Any, *results: Any) -> tuple[Any, ...]:
        given = [np.asarray(a, np.float64) for a in (v, h, w, b, c)]
        runs = []
        for seed in range(RUNS):
            after = _numpy_update(np.random.default_rng(seed), k, persistent, [a.copy() for a in given])
            runs.append([(new - old) / RATE for new, old in zip(after[2:], given[2:], strict=True)])
        for name, old, new, *changes in zip("wbc", given[2:], results, *runs, strict=True):
            mean = np.mean(changes, 0)
            usual = np.sqrt(np.mean(np.var(changes, 0, ddof=1)) * (1 + 1 / RUNS))
            off = np.sqrt(np.mean(((np.asarray(new, np.float64) - old) / RATE - mean) ** 2))
            assert 0.7 * usual < off < 1.4 * usual, f"change of {name} is {off:.3g} off the mean, usual is {usual:.3g}"
            assert np.abs(mean).mean() > usual / 3, f"change of {name}: nothing but noise to compare with"
        return ()

    return check


# ---- deepcore ----
def _machine(w: Array, b: Array, c: Array) -> Any:
    from deepcore import nn

    machine = nn.RBM(w.shape[1], len(w), seed=1)
    machine.load_state_dict({"weight": w, "visible_bias": b, "hidden_bias": c}, strict=False)
    return machine


def _our_step(k: int, persistent: bool) -> Builder:
    def build(arrays: Sequence[Array]) -> Built:
        import deepcore as dc
        from deepcore import optim, train

        v, h, w, b, c = arrays
        machine = _machine(w, b, c)
        task = train.Contrastive("pcd" if persistent else "cd", k=k)
        if persistent:
            task.load_state(task.state_dict(), {"state": h})
        rule = optim.SGD(machine.parameters(), RATE)
        batch: Any = (dc.tensor(v),)

        def step() -> Any:
            rule.zero_grad()
            loss, _ = task.step(machine, batch)
            loss.backward()
            rule.step()
            return machine.weight, machine.visible_bias, machine.hidden_bias

        return Built(step, lambda result: tuple(np.array(t.numpy()) for t in result))

    return build


# ---- torch ----
def _torch_step(k: int, persistent: bool) -> Builder:
    def build(arrays: Sequence[Array]) -> Built:
        torch = library("torch")
        v, h, w, b, c = (torch.from_numpy(a.copy()) for a in arrays)
        scale = RATE / len(v)

        def draw(p: Any) -> Any:
            return (torch.rand_like(p) < p).float()

        @torch.inference_mode()  # type: ignore[untyped-decorator]
        def step() -> Any:
            nonlocal h
            data = torch.addmm(c, v, w.T).sigmoid_()
            chain = h if persistent else draw(data)
            for _ in range(k):
                u = draw(torch.addmm(b, chain, w).sigmoid_())
                means = torch.addmm(c, u, w.T).sigmoid_()
                chain = draw(means)
            w.addmm_(data.T, v, alpha=scale).addmm_(means.T, u, alpha=-scale)
            b.add_(v.sum(0) - u.sum(0), alpha=scale)
            c.add_(data.sum(0) - means.sum(0), alpha=scale)
            h = chain
            return w, b, c

        return Built(step, lambda result: tuple(t.numpy() for t in result))

    return build


# ---- jax ----
def jax_key(jax: Any) -> Any:
    """A key for jax's random numbers."""
    return jax.random.key(1, impl="unsafe_rbg")  # the quickest of its generators


def _jax_step(k: int, persistent: bool) -> Builder:
    def build(arrays: Sequence[Array]) -> Built:
        jax = library("jax")
        v, h, *parameters = (jax.device_put(a) for a in arrays)
        sigmoid = jax.nn.sigmoid

        def draw(key: Any, p: Any) -> Any:
            return (jax.random.uniform(key, p.shape) < p).astype(p.dtype)

        def update(parameters: Any, h: Any, v: Any, number: Any) -> Any:
            w, b, c = parameters
            keys = jax.random.split(jax.random.fold_in(jax_key(jax), number), 2 * k + 1)
            data = sigmoid(v @ w.T + c)
            chain = h if persistent else draw(keys[2 * k], data)

            def gibbs(i: Any, carried: Any) -> Any:
                u = draw(keys[2 * i], sigmoid(carried[0] @ w + b))
                means = sigmoid(u @ w.T + c)
                return draw(keys[2 * i + 1], means), u, means

            chain, u, means = jax.lax.fori_loop(0, k, gibbs, (chain, v, data))
            scale = RATE / len(v)
            w = w + scale * (data.T @ v - means.T @ u)
            b = b + scale * (v.sum(0) - u.sum(0))
            return (w, b, c + scale * (data.sum(0) - means.sum(0))), chain

        compiled = jax.jit(update, donate_argnums=(0, 1))
        state, count = [(tuple(parameters), h)], itertools.count()

        def step() -> Any:
            state[0] = compiled(*state[0], v, next(count))
            return jax.block_until_ready(state[0][0])

        return Built(step, lambda result: tuple(np.array(r) for r in result))

    return build


# ---- scikit-learn ----
def _sklearn_step(arrays: Sequence[Array]) -> Built:
    v, h, w, b, c = (a.astype(np.float64) for a in arrays)
    machine = library("sklearn.neural_network").BernoulliRBM(len(w), learning_rate=RATE, batch_size=BATCH)
    machine.partial_fit(v)  # makes the attributes that the next lines set
    machine.components_ = np.asfortranarray(w)
    machine.intercept_visible_, machine.intercept_hidden_, machine.h_samples_ = b, c, h

    def step() -> Any:
        machine.partial_fit(v)
        return machine.components_, machine.intercept_visible_, machine.intercept_hidden_

    return Built(step, lambda result: tuple(np.array(a) for a in result))


def _training(k: int, persistent: bool, hidden: int) -> Case:
    builders = {"deepcore": _our_step(k, persistent), "numpy": _numpy_step(k, persistent),
                "torch": _torch_step(k, persistent), "jax": _jax_step(k, persistent)}  # fmt: skip
    if persistent and k == 1:
        builders["sklearn"] = _sklearn_step
    return Case(
        "rbm", f"{'P' if persistent else ''}CD-{k} 784x{hidden} batch 100", arrays=bits_and_weights(hidden),
        reference=_step_check(k, persistent), builders=builders,
        flops=2.0 * BATCH * VISIBLE * hidden * (2 * k + 3), target=Target("peer", 1.5), numpy_counts=True,
        random=True,
    )  # fmt: skip


# ---- a whole epoch ----
def _epoch_arrays(rng: np.random.Generator) -> list[Array]:
    """Bits (20000, 784): forty pictures, a twentieth of whose pixels are turned over."""
    pictures = rng.random((40, VISIBLE)) < 0.2
    return [(pictures[rng.integers(0, 40, EPOCH)] ^ (rng.random((EPOCH, VISIBLE), np.float32) < 0.05)).astype("f4")]


def _epoch_check(x: Any, w: Any, b: Any, c: Any) -> tuple[Any, ...]:
    head = x[:1000].astype(np.float64)
    rebuilt = sigmoid_of(sigmoid_of(head @ w.T + c) @ w + b)
    error, before = ((rebuilt - head) ** 2).mean(), ((x.mean(0) - head) ** 2).mean()
    assert error < 0.6 * before, f"reconstruction error {error:.3g} after an epoch, that of the means is {before:.3g}"
    return ()


def _fit(machine: Any, x: Array) -> Built:
    def step() -> Any:
        machine.fit(x)
        return machine.components_, machine.intercept_visible_, machine.intercept_hidden_

    return Built(step, tuple)


def _our_epoch(arrays: Sequence[Array]) -> Built:
    from deepcore.estimators import RBM

    return _fit(RBM(500, n_iter=1, batch_size=BATCH, random_state=0, device="cpu"), arrays[0])


def _sklearn_epoch(arrays: Sequence[Array]) -> Built:
    machine = library("sklearn.neural_network").BernoulliRBM
    return _fit(machine(500, n_iter=1, learning_rate=0.05, batch_size=BATCH, random_state=0), arrays[0])


def _numpy_epoch(arrays: Sequence[Array]) -> Built:
    (x,) = arrays

    def step() -> Any:
        rng = np.random.Generator(np.random.SFC64(1))
        w = (0.01 * rng.standard_normal((500, VISIBLE))).astype("f4")
        state = [x[:BATCH], np.zeros((BATCH, 500), "f4"), w, np.zeros(VISIBLE, "f4"), np.zeros(500, "f4")]
        for i in range(0, EPOCH, BATCH):
            state = _numpy_update(rng, 1, True, [x[i : i + BATCH], *state[1:]])
        return state[2:]

    return Built(step, tuple)


_FIT = Case(
    "rbm", "fit 784x500, epoch of 20000", arrays=_epoch_arrays, reference=_epoch_check,
    builders={"deepcore": _our_epoch, "numpy": _numpy_epoch, "sklearn": _sklearn_epoch},
    flops=10.0 * EPOCH * VISIBLE * 500, target=Target("peer", 2.0), random=True,
)  # fmt: skip
CASES = [_training(k, False, hidden) for hidden in (500, 1000) for k in (1, 10)]
CASES += [_training(1, True, hidden) for hidden in (500, 1000)]
CASES.append(_FIT)
