"""Recurrent layers on a device: bits that depend on no other row and no other step, every tile, packed weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn, ops, optim
from deepcore.graph import CapturedStep
from deepcore.ops.rnn import CELLS, PackedRecurrent, recurrent
from tests.device.test_products_on_device import precision
from tests.ops.test_rnn import AROUND, around, at_step, first_sequence

__all__ = ["precision"]  # a fixture

Tensors = dict[str, dc.Tensor]


def layer(
    cell: str, steps: int, batch: int, inputs: int, hidden: int, device: str = "cuda:0", dtype: str = "float32"
) -> Tensors:
    """Everything the cell takes."""
    rng, kind = np.random.default_rng(hidden), CELLS[cell]
    width = len(kind.gates) * hidden
    arrays = {
        "x": rng.standard_normal((steps, batch, inputs)), "w": rng.standard_normal((width, inputs)) / np.sqrt(inputs),
        "u": rng.standard_normal((width, hidden)) / np.sqrt(hidden), "bias": rng.standard_normal(width),
        "h0": rng.standard_normal((batch, hidden)),
    }  # fmt: skip
    if kind.has_c:
        arrays |= {"c0": rng.standard_normal((batch, hidden)),
                   "peephole": rng.standard_normal((len(kind.peepholes), hidden))}  # fmt: skip
    if cell == "gru":
        arrays["bias_h"] = rng.standard_normal(hidden)
    return {name: dc.tensor(a.astype(dtype)).to(device) for name, a in arrays.items()}


def rows(t: Tensors, begin: int, end: int) -> Tensors:
    """The layer on sequences [begin, end)."""
    cut: Tensors = {"x": t["x"][:, begin:end]}
    return t | cut | {name: t[name][begin:end] for name in ("h0", "c0") if name in t}


def bits(tensors: Any) -> list[bytes]:
    return [t.numpy().tobytes() for t in tensors]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("batch", "inputs", "hidden"), [(3, 600, 40), (1, 5, 33), (6, 70, 9)])
def test_step_by_step_has_the_bits_of_the_whole_sequence(
    cell: str, batch: int, inputs: int, hidden: int, precision: str
) -> None:
    t = layer(cell, 5, batch, inputs, hidden)
    with dc.no_grad():
        whole, packed = recurrent(**t, cell=cell), PackedRecurrent()
        state = {name: t[name] for name in ("h0", "c0") if name in t}
        for i in range(5):
            y, *last = recurrent(**t | state | {"x": t["x"][i : i + 1]}, cell=cell, packed=packed if i % 2 else None)
            assert bits([y[0]]) == bits([whole[0][i]]), f"step {i}"
            state = dict(zip(state, last, strict=True))
    assert bits(state.values()) == bits(whole[1:])


def test_a_long_sum_is_cut_nowhere(precision: str) -> None:
    # So many rows that a plain product cuts its sums into fewer parts than for the rows of one step.
    t = layer("tanh", 20, 128, 1000, 40)
    with dc.no_grad():
        assert bits([recurrent(**t, cell="tanh")[0][0]]) == bits([recurrent(**t | {"x": t["x"][:1]}, cell="tanh")[1]])
    whole, first = ops.linear(t["x"].reshape((-1, 1000)), t["w"]), ops.linear(t["x"][0], t["w"])
    assert bits([whole[:128]]) != bits([first])  # else the sizes prove nothing


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_from_rest_and_without_a_gradient(dtype: str) -> None:
    for cell in CELLS:
        t = {name: a for name, a in layer(cell, 3, 4, 6, 21, dtype=dtype).items() if name not in ("h0", "c0")}
        zero = {name: dc.zeros((4, 21), dtype=dtype, device="cuda") for name in ("h0", "c0")[: 1 + CELLS[cell].has_c]}
        kept = recurrent(**t | {"u": t["u"].detach().requires_grad_()}, cell=cell)
        assert bits(recurrent(**t, cell=cell)) == bits(recurrent(**t | zero, cell=cell)) == bits(kept)


def derivatives(cell: str, t: Tensors, seed: int, batch: int) -> tuple[list[Any], list[Any]]:
    """Results, and gradients of the initial state, the first rows of seeds of `batch` sequences."""
    state = {name: t[name].detach().requires_grad_() for name in ("h0", "c0") if name in t}
    y = recurrent(**t | state, cell=cell)
    rng = np.random.default_rng(seed)
    seeds = []
    for r in y:
        shape = (*r.shape[:-2], batch, r.shape[-1])
        g = rng.standard_normal(shape).astype(np.float32)[..., : r.shape[-2], :]
        seeds.append(dc.tensor(np.ascontiguousarray(g)).to(r.device))
    return [r.numpy() for r in y], [g.numpy() for g in dc.grad(list(y), list(state.values()), seeds)]


# More rows than 132 tiles of 32, 16 and 8: each of the kernel's tiles, and the rows that a tile lacks.
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("hidden", [4, 5])
def test_rows_have_the_same_bits_in_any_batch(cell: str, hidden: int) -> None:
    largest = 32 * 132 + 5
    t = layer(cell, 2, largest, 3, hidden)
    expected, expected_grads = derivatives(cell, layer(cell, 2, largest, 3, hidden, "cpu"), 7, largest)
    results, grads = derivatives(cell, t, 7, largest)
    for a, e in zip((*results, *grads), (*expected, *expected_grads), strict=True):
        np.testing.assert_allclose(a, e, rtol=2e-5, atol=2e-5)
    for batch in (16 * 132 + 1, 37, 1):
        some, some_grads = derivatives(cell, rows(t, 0, batch), 7, largest)
        for a, e in zip((*some, *some_grads), (*results, *grads), strict=True):
            assert a.tobytes() == np.ascontiguousarray(e[..., :batch, :]).tobytes(), batch


def on_device(given: dict[str, Any]) -> dict[str, Any]:
    """The same arguments on the device."""

    def move(a: Any) -> Any:
        if isinstance(a, tuple):
            moved = [move(part) for part in a]
            return type(a)(*moved) if hasattr(a, "_fields") else tuple(moved)
        return a.cuda() if isinstance(a, dc.Tensor) else a

    return {name: move(a) for name, a in given.items()}


@pytest.mark.parametrize(("cell", "projection", "norm"), AROUND)
def test_what_stands_around_a_cell_has_the_same_bits_step_by_step_and_in_any_batch(
    cell: str, projection: int, norm: bool
) -> None:
    with dc.no_grad():
        for drawn in (False, True):
            cpu = around(cell, 4, 37, 9, 45, projection, norm, drawn)
            given = on_device(cpu)
            y, *last = recurrent(**given)
            for a, e in zip((y, *last), recurrent(**cpu), strict=True):
                np.testing.assert_allclose(a.numpy(), e.numpy(), rtol=1e-4, atol=1e-4)
            state = {name: given[name] for name in ("h0", "c0") if name in given}
            for t in range(4):
                out, *rest = recurrent(**at_step(given, t, state))
                assert bits([out[0]]) == bits([y[t]]), f"step {t}"
                state = dict(zip(state, rest, strict=True))
            assert bits(state.values()) == bits(last)
            assert bits([recurrent(**first_sequence(given))[0]]) == bits([y[:, :1]])


def test_what_lies_beyond_a_sequence_is_not_read_back() -> None:
    t = layer("lstm", 4, 5, 3, 12)
    lengths, state = [4, 0, 2, 1, 3], {name: t[name].detach().requires_grad_() for name in ("h0", "c0")}
    y, h, c = recurrent(**t | state, cell="lstm", lengths=lengths)
    seed = np.ones(y.shape, np.float32)
    clean = [g.numpy() for g in dc.grad([y], list(state.values()), [dc.tensor(seed).cuda()])]
    for b, n in enumerate(lengths):
        seed[n:, b] = np.nan
    dirty = [g.numpy() for g in dc.grad([y], list(state.values()), [dc.tensor(seed).cuda()])]
    assert bits(map(dc.tensor, clean)) == bits(map(dc.tensor, dirty))
    assert np.array_equal(h.numpy()[1], t["h0"].numpy()[1]) and np.array_equal(c.numpy()[1], t["c0"].numpy()[1])


@pytest.mark.parametrize("cell", ["lstm", "gru", "mgu"])
def test_recorded_steps(cell: str) -> None:
    rng = np.random.default_rng(0)
    batches = [rng.standard_normal((3, 5, 4)).astype(np.float32) for _ in range(4)]
    results = []
    for captured in (False, True):
        parameters = {
            name: nn.Parameter(v.detach())
            for name, v in layer(cell, 1, 5, 4, 6).items()
            if name not in ("x", "h0", "c0")
        }
        optimizer = optim.Adam(list(parameters.values()), 0.01)

        def step(x: dc.Tensor, parameters: Any = parameters, optimizer: Any = optimizer) -> dc.Tensor:
            loss = ops.mean(ops.square(recurrent(x, **parameters, cell=cell)[0]))
            dc.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            return loss

        run = CapturedStep(step, optimizer) if captured else step
        losses = [run(dc.tensor(x).cuda()).item() for x in batches]
        results.append((losses, bits(parameters.values())))
    assert results[0] == results[1]
