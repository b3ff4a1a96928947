"""What is special about recurrent layers: bits, gates, lengths, weights kept packed, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import _C, ops
from deepcore.autograd import grad, no_grad
from deepcore.errors import ArgumentError, DtypeError, ShapeError
from deepcore.ops import inplace
from deepcore.ops.rnn import CELLS, Norms, PackedRecurrent

ALL = list(CELLS)
# (cell, size of a projection or 0, norms): what stands around the cell besides dropout and zoneout
AROUND = [
    *[(cell, 0, False) for cell in ALL],
    *[(cell, 0, True) for cell in ("relu", "gru", "lstm", "refined")],
    *[(cell, 30, norm) for cell in ("lstm", "coupled") for norm in (False, True)],
]


def weights(cell: str, inputs: int, hidden: int, dtype: str = "float32", seed: int = 0) -> Any:
    """(w, u, bias) of about the size that layers start with."""
    rng, gates = np.random.default_rng(seed), len(CELLS[cell].gates)
    scale = 1.0 / np.sqrt(hidden)
    shapes = ((gates * hidden, inputs), (gates * hidden, hidden), (gates * hidden,))
    return tuple(dc.tensor((scale * rng.standard_normal(s)).astype(dtype)) for s in shapes)


def series(steps: int, batch: int, inputs: int, dtype: str = "float32", seed: int = 1) -> dc.Tensor:
    return dc.tensor(np.random.default_rng(seed).standard_normal((steps, batch, inputs)).astype(dtype))


def state(batch: int, hidden: int, seed: int = 2, dtype: str = "float32") -> dc.Tensor:
    return dc.tensor(np.random.default_rng(seed).standard_normal((batch, hidden)).astype(dtype))


def around(
    cell: str, steps: int, batch: int, inputs: int, hidden: int, projection: int, norm: bool, drawn: bool = True
) -> dict[str, Any]:
    """Arguments with a projection, norms, h_mask and zoneout, drawn or as shares."""
    kind, size, rng = CELLS[cell], projection or hidden, np.random.default_rng(7)

    def values(*shape: int, of: Any = rng.standard_normal) -> dc.Tensor:
        return dc.tensor(np.asarray(of(shape), np.float32))

    w, u, b = weights(cell, inputs, hidden)
    given: dict[str, Any] = {"x": series(steps, batch, inputs), "w": w, "u": u[:, :size], "bias": b, "cell": cell,
                             "h0": values(batch, size)}  # fmt: skip
    if kind.has_c:
        given["c0"] = values(batch, hidden)
    if projection:
        given["projection"] = values(projection, hidden)
    if norm:
        of_c = (values(hidden), values(hidden)) if kind.has_c else None
        x_norm, h_norm = ((values(len(b)), values(len(b))) for _ in range(2))
        given["norms"] = Norms(x_norm, h_norm, of_c)
    if drawn:
        given["h_mask"] = values(batch, size, of=lambda s: 2 * rng.integers(0, 2, s))
        zone_h, zone_c = (values(steps, batch, n, of=lambda s: rng.integers(0, 2, s)) for n in (size, hidden))
        given["zoneout"] = (zone_h, zone_c if kind.has_c else 0.0)
    else:
        given["zoneout"] = (0.25, 0.5 if kind.has_c else 0.0)
    return given


def at_step(given: dict[str, Any], t: int, state: dict[str, Any]) -> dict[str, Any]:
    """The arguments of step t alone, from a state."""
    zoneout = tuple(z[t : t + 1] if isinstance(z, dc.Tensor) else z for z in given["zoneout"])
    return given | state | {"x": given["x"][t : t + 1], "zoneout": zoneout}


def first_sequence(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the first sequence alone."""
    zoneout = tuple(z[:, :1] if isinstance(z, dc.Tensor) else z for z in given["zoneout"])
    own = {name: given[name][:1] for name in ("h0", "c0", "h_mask") if name in given}
    return given | own | {"x": given["x"][:, :1], "zoneout": zoneout}


def with_threads(threads: int, f: Any) -> Any:
    before = dc.get_num_threads()
    dc.set_num_threads(threads)
    try:
        return f()
    finally:
        dc.set_num_threads(before)


@pytest.mark.parametrize("cell", ALL)
@pytest.mark.parametrize("batch, hidden", [(1, 40), (20, 70), (70, 40), (33, 257)])
def test_outputs_and_gradients_are_the_same_bits_for_any_number_of_threads(
    isa: str, cell: str, batch: int, hidden: int
) -> None:
    x, (w, u, b) = series(4, batch, 5), weights(cell, 5, hidden)
    for t in (x, w, u, b):
        t.requires_grad_()

    def run() -> bytes:
        y, *last = ops.recurrent(x, w, u, b, cell=cell)
        found = grad([y, *last], [x, w, u, b], [dc.tensor(np.ones(o.shape, np.float32)) for o in (y, *last)])
        return b"".join(t.numpy().tobytes() for t in (y, *last, *found))

    assert len({with_threads(n, run) for n in (1, 2, 3)}) == 1


@pytest.mark.parametrize("cell", ALL)
@pytest.mark.parametrize("batch", [1, 3, 20])
def test_a_sequence_has_the_same_bits_alone_in_a_batch_step_by_step_and_with_packed_weights(
    isa: str, cell: str, batch: int
) -> None:
    x, (w, u, b) = series(5, batch, 530), weights(cell, 530, 45)  # more inputs than one pass over k takes
    packed = PackedRecurrent()
    with no_grad():
        y, *_ = ops.recurrent(x, w, u, b, cell=cell)
        alone, *_ = ops.recurrent(x[:, :1], w, u, b, cell=cell)
        assert np.array_equal(alone.numpy()[:, 0], y.numpy()[:, 0])
        for kept in (None, packed):
            h = c = None
            for t in range(5):
                out = ops.recurrent(x[t : t + 1], w, u, b, cell=cell, h0=h, c0=c, packed=kept)
                h, c = out[1], (out[2] if len(out) == 3 else None)
                assert np.array_equal(out[0].numpy()[0], y.numpy()[t])


@pytest.mark.parametrize(("cell", "projection", "norm"), AROUND)
@pytest.mark.parametrize(("batch", "hidden"), [(1, 40), (20, 70), (70, 40)])
def test_what_stands_around_a_cell_has_the_same_bits_for_any_number_of_threads(
    isa: str, cell: str, projection: int, norm: bool, batch: int, hidden: int
) -> None:
    given = around(cell, 4, batch, 5, hidden, projection, norm)
    leaves = [t.requires_grad_() for name, t in given.items() if name in ("x", "w", "bias", "h0", "c0", "projection")]
    leaves += [t.requires_grad_() for pair in given.get("norms", ()) if pair is not None for t in pair]
    given["u"] = given["u"].detach().requires_grad_()

    def run() -> bytes:
        results = ops.recurrent(**given)
        seeds = [dc.tensor(np.ones(o.shape, np.float32)) for o in results]
        found = grad(list(results), [*leaves, given["u"]], seeds)
        return b"".join(t.numpy().tobytes() for t in (*results, *found))

    assert len({with_threads(n, run) for n in (1, 2, 3)}) == 1


@pytest.mark.parametrize(("cell", "projection", "norm"), AROUND)
@pytest.mark.parametrize("batch", [1, 20])
def test_what_stands_around_a_cell_has_the_same_bits_step_by_step_and_with_packed_weights(
    isa: str, cell: str, projection: int, norm: bool, batch: int
) -> None:
    packed = PackedRecurrent()
    with no_grad():
        for drawn in (False, True):
            given = around(cell, 5, batch, 9, 45, projection, norm, drawn)
            y, *last = ops.recurrent(**given)
            state = {name: given[name] for name in ("h0", "c0") if name in given}
            for t in range(5):
                out, *rest = ops.recurrent(**at_step(given, t, state), packed=packed if t % 2 else None)
                assert np.array_equal(out.numpy()[0], y.numpy()[t])
                state = dict(zip(state, rest, strict=True))
            for a, b in zip(state.values(), last, strict=True):
                assert np.array_equal(a.numpy(), b.numpy())
            assert np.array_equal(ops.recurrent(**first_sequence(given))[0].numpy()[:, 0], y.numpy()[:, 0])


@pytest.mark.parametrize("cell", ["tanh", "lstm", "coupled", "gru"])
@pytest.mark.parametrize(("inputs", "reverse"), [(7, False), (600, True)])
def test_inputs_that_are_multiplied_step_by_step_give_the_bits_of_one_product(
    isa: str, cell: str, inputs: int, reverse: bool
) -> None:
    # With many sequences in each thread the kernel makes W x + b itself; one sequence alone gets it from a product.
    batch, hidden, steps = 61, 64, 3
    x, (w, u, b) = series(steps, batch, inputs), weights(cell, inputs, hidden)
    lengths = [steps - i % 2 for i in range(batch)]
    peephole = dc.tensor(np.full((len(CELLS[cell].peepholes), hidden), 0.3, np.float32)) if cell == "lstm" else None

    def outputs(first: int, last: int, **options: Any) -> list[bytes]:
        rows = dc.tensor(np.ascontiguousarray(x.numpy()[:, first:last]))
        found = ops.recurrent(
            rows, w, u, b, cell=cell, lengths=lengths[first:last], reverse=reverse, peephole=peephole, **options
        )
        return [np.ascontiguousarray(t.numpy()).tobytes() for t in found]

    with no_grad():
        expected = [outputs(i, i + 1) for i in range(batch)]
        alone = np.concatenate([np.frombuffer(e[0], np.float32).reshape(steps, 1, hidden) for e in expected], 1)
        whole = {n: with_threads(n, lambda: outputs(0, batch)) for n in (1, 2, 3)}
        assert whole[1] == whole[2] == whole[3] == outputs(0, batch, packed=PackedRecurrent())
        assert whole[1][0] == alone.tobytes()
    for t in (w, u):
        t.requires_grad_()
    assert outputs(0, batch) == whole[1]  # with the gates kept
    without = ops.recurrent(x, w, u, cell=cell, reverse=reverse)[0].numpy()
    zero = ops.recurrent(x, w, u, dc.tensor(np.zeros(len(b), np.float32)), cell=cell, reverse=reverse)[0].numpy()
    np.testing.assert_array_equal(without, zero)


def test_packed_weights_are_packed_again_when_a_weight_has_changed() -> None:
    x, (w, u, b), packed = series(2, 3, 4), weights("gru", 4, 6), PackedRecurrent()
    with no_grad():
        ops.recurrent(x, w, u, b, cell="gru", packed=packed)
        u.numpy()[...] *= 2.0
        w.numpy()[...] *= 0.5
        for t in (w, u):
            inplace.copy_into(t.numpy().copy(), t)
        kept = ops.recurrent(x, w, u, b, cell="gru", packed=packed)[0]
        assert np.array_equal(kept.numpy(), ops.recurrent(x, w, u, b, cell="gru")[0].numpy())


@pytest.mark.parametrize("cell", ALL)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_short_sequence_is_computed_as_if_it_were_alone(cell: str, reverse: bool) -> None:
    lengths = [3, 0, 6, 1]
    x, (w, u, b), h0 = series(6, 4, 5), weights(cell, 5, 7), state(4, 7)
    x.numpy()[3:, 0] = 1e6  # beyond the end: must not matter
    y, h, *_ = ops.recurrent(x, w, u, b, cell=cell, h0=h0, lengths=lengths, reverse=reverse)
    for i, n in enumerate(lengths):
        own, own_h, *_ = ops.recurrent(x[:n, i : i + 1], w, u, b, cell=cell, h0=h0[i : i + 1], reverse=reverse)
        assert np.array_equal(y.numpy()[:n, i], own.numpy()[:, 0])
        assert not y.numpy()[n:, i].any()
        assert np.array_equal(h.numpy()[i], own_h.numpy()[0])


def test_last_states_are_the_last_outputs_and_gradients_reach_them() -> None:
    x, (w, u, b) = series(4, 3, 2, "float64"), weights("lstm", 2, 5, "float64")
    x.requires_grad_()
    y, h, _ = ops.recurrent(x, w, u, b)
    assert np.array_equal(y.numpy()[-1], h.numpy())
    seed = state(3, 5, dtype="float64")
    (from_h,) = grad([h], [x], [seed])
    (from_y,) = grad([y[-1]], [x], [seed])
    np.testing.assert_allclose(from_h.numpy(), from_y.numpy(), rtol=1e-12, atol=1e-15)


def exact(kind: str, z: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-z)) if kind == "sigmoid" else np.tanh(z)


@pytest.mark.parametrize("kind", ["sigmoid", "tanh"])
def test_gates_are_within_three_or_four_units_in_the_last_place(isa: str, kind: str) -> None:
    z = np.concatenate([np.linspace(-90, 90, 40001), np.linspace(-1, 1, 20001), [1e-30, -1e-30, 0.0, 87.5, -87.5]])
    z = z.astype(np.float32)
    n = len(z)
    x, found = dc.tensor(np.ones((1, 1, 1), np.float32)), np.empty_like(z)
    for i in range(0, n, 64):
        piece = z[i : i + 64]
        m = len(piece)
        if kind == "tanh":
            found[i : i + m] = ops.recurrent(x, dc.tensor(piece[:, None]), dc.zeros((m, m)), cell="tanh")[1].numpy()[0]
        else:  # the minimal gated unit with candidate 0 and state 1: h = 1 - f
            w = dc.tensor(np.concatenate([-piece, np.zeros(m, np.float32)])[:, None])
            one = dc.tensor(np.ones((1, m), np.float32))
            found[i : i + m] = ops.recurrent(x, w, dc.zeros((2 * m, m)), cell="mgu", h0=one)[1].numpy()[0]
    expected = exact(kind, z.astype(np.float64))
    # 1 - f is rounded at the scale of 1 where f is not small.
    unit = np.spacing(np.maximum(np.abs(expected), 1e-30).astype(np.float32)) if kind == "tanh" else 2.0**-23
    most = 4.0 if isa == "avx2" else 3.0
    assert np.all(np.abs(found - expected) <= most * unit + 1e-37)


def test_gates_pass_nan_and_stay_finite_at_infinity(isa: str) -> None:
    w = dc.tensor(np.array([[np.nan], [np.inf], [-np.inf], [200.0]], np.float32))
    h = ops.recurrent(dc.tensor(np.ones((1, 1, 1), np.float32)), w, dc.zeros((4, 4)), cell="tanh")[1].numpy()[0]
    assert np.isnan(h[0]) and np.abs(h[1:] - [1.0, -1.0, 1.0]).max() <= 2.0**-23


def test_binary_gates_are_zero_or_one_and_pass_gradients_straight_through() -> None:
    x, (w, u, b) = series(3, 4, 2), weights("mgu", 2, 6)
    w.requires_grad_()
    y, *_ = ops.recurrent(x, w, u, b, cell="mgu", gate="binary", slope=2.0, h0=state(4, 6))
    (g,) = grad([y], [w], [dc.tensor(np.ones(y.shape, np.float32))])
    assert np.abs(g.numpy()[:6]).max() > 0  # rows of the gate itself


def test_empty_sequences_batches_and_inputs() -> None:
    w, u, b = weights("lstm", 3, 4)
    for steps, batch in ((0, 2), (2, 0), (0, 0)):
        h0 = dc.tensor(np.full((batch, 4), 0.5, np.float32))
        y, h, c = ops.recurrent(series(steps, batch, 3), w, u, b, h0=h0)
        assert y.shape == (steps, batch, 4) and h.shape == c.shape == (batch, 4)
        if steps == 0:
            assert np.array_equal(h.numpy(), h0.numpy())
    w0 = dc.zeros((16, 0))
    w0.requires_grad_()
    y, *_ = ops.recurrent(dc.zeros((3, 2, 0)), w0, u, b)
    assert grad([y], [w0], [dc.tensor(np.ones(y.shape, np.float32))])[0].shape == (16, 0)


@pytest.mark.parametrize(
    "change, error, text",
    [
        ({"cell": "elman"}, ArgumentError, "expected cell in"),
        ({"gate": "soft"}, ArgumentError, "expected gate in"),
        ({"slope": 0.0}, ArgumentError, "slopes > 0"),
        ({"slope": [1.0, 2.0]}, ArgumentError, "a slope for each"),
        ({"lengths": [1, 2]}, ShapeError, "one length for each"),
        ({"lengths": [1, 2, 9]}, ArgumentError, "got 9 for sequence 2"),
        ({"lengths": [1, -1, 2]}, ArgumentError, "got -1 for sequence 1"),
        ({"lengths": [0.5, 1.0, 2.0]}, ArgumentError, "whole numbers"),
        ({"lengths": dc.tensor(np.array([1, 2, 9]))}, ArgumentError, "lengths"),
        ({"h0": dc.zeros((2, 5))}, ShapeError, "expected h0"),
        ({"c0": dc.zeros((3, 4))}, ShapeError, "expected c0"),
        ({"bias_h": dc.zeros(5)}, ArgumentError, "no bias_h"),
        ({"peephole": dc.zeros((2, 5))}, ShapeError, "expected peephole"),
        ({"bias": dc.zeros(5)}, ShapeError, "expected bias"),
        ({"u": dc.zeros((15, 5))}, ShapeError, "expected u"),
        ({"w": dc.zeros((20, 3))}, ShapeError, "expected w"),
        ({"x": dc.zeros((3, 2))}, ShapeError, "expected x"),
        ({"x": dc.zeros((4, 3, 2), "float64")}, DtypeError, "float"),
        ({"x": dc.zeros((4, 3, 2), "int64")}, DtypeError, "int64"),
        ({"projection": dc.zeros((6, 5))}, ShapeError, r"expected u \(4 hidden, size\)"),
        ({"projection": dc.zeros((5, 4))}, ShapeError, "expected u"),
        ({"projection": dc.zeros(5)}, ShapeError, r"projection \(size, hidden\)"),
        ({"projection": dc.zeros((0, 5)), "u": dc.zeros((20, 0))}, ShapeError, r"projection \(size, hidden\)"),
        ({"h_mask": dc.zeros((2, 5))}, ShapeError, "expected h_mask"),
        ({"zoneout": (dc.zeros((3, 3, 5)), 0.0)}, ShapeError, "zoneout of h"),
        ({"zoneout": (0.0, dc.zeros((4, 3, 4)))}, ShapeError, "zoneout of c"),
        ({"zoneout": (1.0, 0.0)}, ArgumentError, r"zoneout in \[0, 1\)"),
        ({"zoneout": (0.0, float("nan"))}, ArgumentError, r"zoneout in \[0, 1\)"),
        ({"norms": Norms(*[(dc.zeros(20), dc.zeros(20))] * 2, None)}, ArgumentError, "all gains and shifts"),
        ({"norms": Norms(*[(dc.zeros(19), dc.zeros(20))] * 2, (dc.zeros(5), dc.zeros(5)))}, ShapeError, "gain_x"),
        (
            {"norms": Norms(*[(dc.zeros(20), dc.zeros(20))] * 2, (dc.zeros(5),) * 2), "peephole": dc.zeros((3, 5))},
            ArgumentError,
            "without peepholes",
        ),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], error: type[Exception], text: str) -> None:
    w, u, b = weights("lstm", 2, 5)
    given: dict[str, Any] = {"x": series(4, 3, 2), "w": w, "u": u, "bias": b} | change
    with pytest.raises(error, match=text):
        ops.recurrent(given.pop("x"), given.pop("w"), given.pop("u"), given.pop("bias"), **given)


@pytest.mark.parametrize(
    ("cell", "change", "text"),
    [
        ("gru", {"projection": dc.zeros((2, 5))}, "no projection"),
        ("mgu", {"norms": Norms(*[(dc.zeros(10), dc.zeros(10))] * 2, None)}, "no gain_x"),
        ("gru", {"norms": Norms(*[(dc.zeros(15), dc.zeros(15))] * 2, (dc.zeros(5), dc.zeros(5)))}, "no gain_c"),
        ("gru", {"zoneout": (0.0, dc.zeros((4, 3, 5)))}, "no zoneout of c"),
        ("gru", {"zoneout": (0.0, 0.5)}, "no c to zone out"),
    ],
)
def test_what_a_cell_does_not_have_is_named(cell: str, change: dict[str, Any], text: str) -> None:
    w, u, b = weights(cell, 2, 5)
    with pytest.raises(ArgumentError, match=text):
        ops.recurrent(series(4, 3, 2), w, u, b, cell=cell, **change)


def test_saved_arrays_of_other_sizes_are_refused() -> None:
    given = around("lstm", 4, 3, 2, 5, 4, True)
    x_norm, h_norm, c_norm = given["norms"]
    arrays = [t.array for t in (given["x"], given["w"], given["u"], given["bias"])]
    arrays += [None, None, given["projection"].array, *(t.array for t in (*x_norm, *h_norm, *c_norm)), None, None]
    options, asked = (2, 0, (1.0, 1.0, 1.0), False, (0.0, 0.0)), (True,) * len(arrays)
    draws = (None, given["h_mask"].array, *(z.array for z in given["zoneout"]))
    *_, saved = _C.rnn(options, arrays, draws, keep=True)
    assert saved is not None
    found = _C.rnn_grad(options, None, None, None, saved, asked, arrays, draws)
    assert all(g is not None for g, a in zip(found, arrays, strict=True) if a is not None)
    for i, array in enumerate(saved):
        other = given["w"].array if array is None else None if i % 2 else given["bias"].array
        wrong = [*saved[:i], other, *saved[i + 1 :]]
        with pytest.raises((ArgumentError, ShapeError), match="recurrent_grad"):
            _C.rnn_grad(options, None, None, None, wrong, asked, arrays, draws)
