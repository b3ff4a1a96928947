"""LSTM layers with a projection, layer norm, or dropout of states and zoneout, forward and with gradients.

(steps, batch, inputs, hidden) = (50, 64, 128, 256). Gradients are those of inputs and all weights; y is what is
compared, tests/ops hold the gradients to formulas. Peers: jax, a scan over steps; torch, whose fused layer has the
projection and nothing else of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deepcore import ops
from deepcore.bench.case import Array, Builder, Built, Case
from deepcore.bench.libraries import in_jax, in_torch, library, ours, plain
from deepcore.ops.rnn import Norms

STEPS, BATCH, INPUTS, HIDDEN, SIZE = 50, 64, 128, 256, 128
KINDS = ("projection", "layer norm", "dropout and zoneout")


def _arrays(kind: str, grads: bool) -> Any:
    size = SIZE if kind == "projection" else HIDDEN
    width = 4 * HIDDEN

    def arrays(rng: np.random.Generator) -> list[Array]:
        made: list[Array] = [rng.standard_normal((STEPS, BATCH, INPUTS))]
        made += [rng.standard_normal(s) / HIDDEN**0.5 for s in ((width, INPUTS), (width, size), (width,))]
        if kind == "projection":
            made.append(rng.standard_normal((size, HIDDEN)) / HIDDEN**0.5)
        elif kind == "layer norm":
            for n in (width, width, HIDDEN):
                made += [rng.uniform(0.5, 1.0, n), 0.1 * rng.standard_normal(n)]
        else:
            made.append(rng.integers(0, 2, (BATCH, HIDDEN)) * 2.0)
            made += [rng.integers(0, 5, (STEPS, BATCH, HIDDEN)) > 0 for _ in range(2)]
        made += [rng.standard_normal((STEPS, BATCH, size))] if grads else []
        return [a.astype("f4") for a in made]

    return arrays


def _normal(xp: Any, v: Any, gain: Any, shift: Any) -> Any:
    centred = v - v.mean(-1, keepdims=True)
    return centred / xp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * gain + shift


def _layer(xp: Any, scan: Any, kind: str, x: Any, w: Any, u: Any, b: Any, more: Sequence[Any]) -> Any:
    """y in numpy or jax.numpy; scan(step, start, sequences) as jax has it."""

    def sigmoid(z: Any) -> Any:
        return 1 / (1 + xp.exp(-z))

    def step(state: Any, now: Any) -> Any:
        h, c = state
        z, *zones = now
        fed = h * more[0] if zones else h
        inner = fed @ u.T
        if kind == "layer norm":
            inner = _normal(xp, inner, more[2], more[3])
        i, f, g, o = xp.split(z + inner, 4, 1)
        new_c = sigmoid(f) * c + sigmoid(i) * xp.tanh(g)
        shown = _normal(xp, new_c, more[4], more[5]) if kind == "layer norm" else new_c
        new_h = sigmoid(o) * xp.tanh(shown)
        if kind == "projection":
            new_h = new_h @ more[0].T
        if zones:
            new_h, new_c = xp.where(zones[0] == 0, h, new_h), xp.where(zones[1] == 0, c, new_c)
        return (new_h, new_c), new_h

    z = x @ w.T
    z = (_normal(xp, z, more[0], more[1]) if kind == "layer norm" else z) + b
    start = (xp.zeros((x.shape[1], u.shape[1]), x.dtype), xp.zeros((x.shape[1], len(b) // 4), x.dtype))
    return scan(step, start, (z, *(more[1:] if kind == "dropout and zoneout" else ())))


def _loop(step: Any, state: Any, sequences: Sequence[Any]) -> Any:
    outputs = []
    for now in zip(*sequences, strict=True):
        state, y = step(state, now)
        outputs.append(y)
    return np.stack(outputs)


def _ours(kind: str) -> Any:
    def layer(x: Any, w: Any, u: Any, b: Any, *more: Any) -> Any:
        options: dict[str, Any] = {}
        if kind == "projection":
            options["projection"] = more[0]
        elif kind == "layer norm":
            options["norms"] = Norms(more[0:2], more[2:4], more[4:6])
        else:
            options |= {"h_mask": more[0], "zoneout": more[1:3]}
        return ops.recurrent(x, w, u, b, cell="lstm", **options)[0]

    return layer


def _torch(x: Any, w: Any, u: Any, b: Any, projection: Any) -> Any:
    torch = library("torch")
    start = (torch.zeros(1, x.shape[1], u.shape[1]), torch.zeros(1, x.shape[1], HIDDEN))
    weights = [w, u, b, torch.zeros_like(b), projection]
    return torch.lstm(x, start, weights, True, 1, 0.0, True, False, False)[0]


def _jax(kind: str) -> Any:
    def layer(x: Any, w: Any, u: Any, b: Any, *more: Any) -> Any:
        jax = library("jax")
        return _layer(jax.numpy, lambda *a: jax.lax.scan(*a)[1], kind, x, w, u, b, more)

    return layer


def _first(build: Builder) -> Builder:
    """Compared by y alone."""

    def first(arrays: Sequence[Array]) -> Built:
        step, back = build(arrays)
        return Built(step, lambda result: back(result)[:1])

    return first


def _case(kind: str, grads: bool) -> Case:
    weights = {"projection": 5, "layer norm": 10, "dropout and zoneout": 4}[kind]
    wanted = tuple(range(weights)) if grads else ()

    def reference(*operands: Any) -> tuple[Any, ...]:
        x, w, u, b, *more = operands[: len(operands) - grads]
        return (_layer(np, _loop, kind, x, w, u, b, more),)

    builders = {"deepcore": ours(_ours(kind), wanted, grads), "jax": in_jax(_jax(kind), wanted, grads)}
    if kind == "projection":
        builders["torch"] = in_torch(_torch, wanted, grads)
    if not grads:
        builders["numpy"] = plain(reference)
    size = SIZE if kind == "projection" else HIDDEN
    flops = 2.0 * STEPS * BATCH * (4 * HIDDEN * (INPUTS + size) + (size * HIDDEN if kind == "projection" else 0))
    return Case(
        "rnn_around", f"LSTM {HIDDEN}, {kind}, fwd{'+bwd' if grads else ''}",
        arrays=_arrays(kind, grads), reference=reference, builders={n: _first(b) for n, b in builders.items()},
        flops=flops * (3 if grads else 1), tolerance=2e-4,
    )  # fmt: skip


CASES = [_case(kind, grads) for kind in KINDS for grads in (False, True)]
