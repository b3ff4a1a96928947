"""The net of Seq2Seq: attention, step by step, gradients; the decay of scheduled sampling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn, train
from deepcore.errors import ArgumentError, ShapeError
from deepcore.models import Attention, Seq2SeqNet
from deepcore.testing.gradcheck import check_gradients

KINDS: dict[str, dict[str, Any]] = {
    "general": {}, "dot": {"attention": "dot", "cell": "gru"}, "additive": {"attention": "additive", "layers": 2},
    "none": {"attention": None, "bidirectional": False}, "feeding": {"input_feeding": True, "tied": True},
    "tied, no attention": {"attention": None, "tied": True}, "shared": {"shared": True, "targets": 20},
}  # fmt: skip


def net(kind: str, **options: Any) -> Seq2SeqNet:
    made = {"targets": 11, "embedding": 6, "hidden": 8, "seed": 3, **KINDS[kind], **options}
    return Seq2SeqNet(20, made.pop("targets"), **made)


def ids(*shape: int, below: int = 11, seed: int = 0) -> dc.Tensor:
    return dc.tensor(np.random.default_rng(seed).integers(0, below, shape))


LENGTHS = np.array([5, 2, 4])


@pytest.mark.parametrize("kind", KINDS)
def test_step_by_step_is_the_whole(kind: str) -> None:
    model, inputs = net(kind).eval(), ids(3, 6)
    with dc.no_grad():
        state = model.encode(ids(3, 5, below=20), dc.tensor(LENGTHS))
        whole = dc.ops.log_softmax(model.logits(model.decode(inputs, state)[0])).numpy()
        for i in range(6):
            logs, state = model.step(inputs[:, i], state)
            np.testing.assert_allclose(logs.numpy(), whole[:, i], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(np.exp(logs.numpy().astype(float)).sum(1), 1, rtol=1e-5)
        rows = np.array([2, 0, 0])
        chosen, _ = model.step(inputs[:, 0], state.select(rows))
        every = {r: model.step(dc.tensor(np.full(3, int(inputs.numpy()[i, 0]))), state)[0].numpy()[r]
                 for i, r in enumerate(rows)}  # fmt: skip
        np.testing.assert_allclose(chosen.numpy()[0], every[2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_beyond_a_length_counts_nowhere(kind: str) -> None:
    model, inputs = net(kind).eval(), ids(3, 6)
    source = ids(3, 5, below=20).numpy()
    other = np.where(np.arange(5) < LENGTHS[:, None], source, 7)
    with dc.no_grad():
        a = model(dc.tensor(source), dc.tensor(LENGTHS), inputs).numpy()
        b = model(dc.tensor(other), dc.tensor(LENGTHS), inputs).numpy()
    assert (a == b).all()


@pytest.mark.parametrize("kind", ["general", "feeding", "additive"])
def test_a_choice_of_inputs_is_the_same_as_these_inputs(kind: str) -> None:
    model, inputs, source = net(kind).eval(), ids(3, 6), ids(3, 5, below=20)
    others = ids(3, 6, seed=1).numpy()
    mixed = np.array(inputs.numpy())
    mixed[:, 2] = others[:, 2]
    seen = []

    def choose(i: int, features: dc.Tensor) -> dc.Tensor | None:
        seen.append((i, features.shape))
        return dc.tensor(others[:, 2].copy()) if i == 2 else None

    with dc.no_grad():
        a = model(source, dc.tensor(LENGTHS), inputs, choose).numpy()
        b = model(source, dc.tensor(LENGTHS), dc.tensor(mixed)).numpy()
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert seen == [(i, (3, model.features)) for i in range(1, 6)]


@pytest.mark.parametrize("kind", ["dot", "general", "additive"])
def test_attention_by_its_formula(kind: str) -> None:
    rng = np.random.default_rng(0)
    query, values = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 5, 4 if kind == "dot" else 6))
    attention = Attention(kind, 4, values.shape[2], seed=1).to("cpu")
    lengths = np.array([5, 3])
    memory = attention.memory(dc.tensor(values.astype(np.float32)), dc.tensor(lengths))
    means, weights = attention(dc.tensor(query.astype(np.float32)), memory)
    w = {name: p.numpy().astype(float) for name, p in attention.named_parameters()}
    for i in range(2):
        v = values[i, : lengths[i]]
        if kind == "dot":
            score = query[i] @ v.T
        elif kind == "general":
            score = query[i] @ w["keys.weight"] @ v.T
        else:
            inner = (query[i] @ w["query.weight"].T)[:, None] + (v @ w["keys.weight"].T + w["keys.bias"])[None]
            score = np.tanh(inner) @ w["score.weight"][0]
        p = np.exp(score - score.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        np.testing.assert_allclose(weights.numpy()[i, :, : lengths[i]], p, rtol=1e-4, atol=1e-6)
        assert (weights.numpy()[i, :, lengths[i] :] == 0).all()
        np.testing.assert_allclose(means.numpy()[i], p @ v, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["dot", "general", "additive"])
def test_gradients_of_attention(kind: str) -> None:
    rng = np.random.default_rng(0)
    attention = Attention(kind, 3, 3, seed=1)
    for dense in (attention.keys, *(getattr(attention, name, None) for name in ("query", "score"))):
        if dense is not None:
            dense.weight = nn.Parameter(dc.tensor(dense.weight.numpy().astype(np.float64)))
            dense.bias = nn.Parameter(dc.tensor(np.full(3, 0.2))) if dense.bias is not None else None

    def mean(query: dc.Tensor, values: dc.Tensor) -> dc.Tensor:
        result: dc.Tensor = attention(query, attention.memory(values, dc.tensor(np.array([4, 2]))))[0]
        return result

    check_gradients(mean, [rng.standard_normal(shape) for shape in ((2, 2, 3), (2, 4, 3))])


def test_memory_moves_only_between_sources() -> None:
    attention = Attention("general", 4, 4, seed=0)
    memory = attention.memory(dc.tensor(np.ones((2, 3, 4), np.float32)), dc.tensor(np.array([3, 1])))
    four = memory.select(np.array([0, 0, 1, 1]))
    assert four.values.shape == (4, 3, 4) and four.owners.tolist() == [0, 0, 1, 1]
    assert four.select(np.array([1, 0, 3, 3])) is four
    assert four.select(np.array([2, 3])).valid.numpy()[:, 0].tolist() == [[True, False, False]] * 2


def test_shared_and_tied_tables_are_one_parameter() -> None:
    names = [n for n, _ in net("shared", tied=True).named_parameters()]
    assert sum("embedding" in n for n in names) == 1 and "output.weight" not in names
    assert "source_embedding.weight" in [n for n, _ in net("general").named_parameters()]


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient(kind: str) -> None:
    model = net(kind, dropout=0.1, embedding_dropout=0.1)
    loss = dc.ops.sum(model(ids(3, 5, below=20), dc.tensor(LENGTHS), ids(3, 6)) * 0.1)
    dc.ops.sum(loss * loss).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and np.isfinite(p.grad.numpy()).all() and np.abs(p.grad.numpy()).sum() > 0, name


def test_errors_are_named() -> None:
    for options, message in (
        ({"hidden": 7}, "even hidden for two directions, got 7"),
        ({"shared": True}, "one vocabulary with shared, got 20 and 11 tokens"),
        ({"attention": None, "input_feeding": True}, "input_feeding goes with attention"),
        ({"embedding": 0}, "embedding, hidden, layers >= 1"),
        ({"attention": "hard"}, "expected kind in"),
    ):
        with pytest.raises(ArgumentError, match=message):
            net("general", **options)
    with pytest.raises(ArgumentError, match="queries and values of one size for 'dot', got 3, 4"):
        Attention("dot", 3, 4)
    model = net("general", dropout=0.5)
    with pytest.raises(ShapeError, match=r"expected sources \(n, s\)"):
        model.encode(ids(3), dc.tensor(LENGTHS))
    with pytest.raises(ArgumentError, match="expected lengths >= 1, got 0"):
        model.encode(ids(3, 5), dc.tensor(np.array([5, 0, 4])))
    with pytest.raises(ArgumentError, match=r"recurrent: expected lengths in \[0, 6\), got 6"):
        model.encode(ids(3, 5), dc.tensor(np.array([5, 6, 4])))
    with pytest.raises(ArgumentError, match="eval mode for step"):
        model.step(ids(3), model.encode(ids(3, 5), dc.tensor(LENGTHS)))
    with pytest.raises(ArgumentError, match="20"):
        model.encode(dc.tensor(np.full((3, 5), 20)), dc.tensor(LENGTHS))


@pytest.mark.parametrize("kind", ["linear", "exponential", "inverse-sigmoid"])
def test_the_decay_of_scheduled_sampling(kind: str) -> None:
    for final, steps in ((0.25, 1000), (0.9, 400), (0.01, 5000)):
        decay = train.SamplingDecay(kind, final, steps)
        values = np.array([decay(i) for i in range(steps + 5)])
        assert values[0] > 0.9 and (np.diff(values) <= 0).all()
        assert values[steps - 1] == pytest.approx(final, rel=0.05) and (values[steps:] == final).all()
    middle = {"linear": 0.625, "exponential": 0.5}.get(kind)
    if middle is not None:
        assert train.SamplingDecay(kind, 0.25, 1000)(500) == pytest.approx(middle)
    else:  # an s: flat at first, and k / (k + e^(i / k)) with one k
        decay = train.SamplingDecay(kind, 0.25, 1000)
        k = decay(0) / (1 - decay(0))
        assert decay(600) == pytest.approx(k / (k + np.exp(600 / k)), rel=1e-6)
    assert train.SamplingDecay("linear", 0.0, 10)(10) == 0.0
    for wrong in ((kind, 1.0, 10), (kind, -0.1, 10), (kind, 0.5, 0), ("steps", 0.5, 10)):
        with pytest.raises(ArgumentError, match="scheduled sampling: expected"):
            train.SamplingDecay(*wrong)


def test_inputs_are_drawn_from_the_distribution_of_the_net() -> None:
    """With no true token left, the inputs are draws from what the net gave, and their share follows the decay."""
    model = net("general")
    seen: list[np.ndarray[Any, Any]] = []
    forward = model.decode

    def watch(inputs: dc.Tensor, state: Any, choose: Any = None) -> Any:
        def noted(i: int, features: dc.Tensor) -> Any:
            found = choose(i, features)
            seen.append(
                np.stack([np.array(inputs[:, i].numpy()), np.array((inputs[:, i] if found is None else found).numpy())])
            )
            return found

        return forward(inputs, state, None if choose is None else noted)

    model.decode = watch  # type: ignore[method-assign]
    task = train.SequencePairs(1, decay=train.SamplingDecay("linear", 0.0, 100), seed=5)
    n = 2000
    target = np.full((n, 4), 9)
    batch = (ids(n, 5, below=20).numpy(), np.full(n, 5), target, np.full(n, 4))
    task._step = 25
    task.step(model, batch)
    share = np.mean([(a != b).mean() for a, b in seen])
    assert 0.2 < share < 0.25  # a quarter is drawn, and one in eleven of these is 9 again
    first = [s.copy() for s in seen]
    seen.clear()
    task.step(model, batch)
    assert all((a == b).all() for a, b in zip(first, seen))
    seen.clear()
    task._step = 100
    task.step(model, batch)
    with dc.no_grad():
        features, _ = forward(dc.tensor(np.full((n, 1), 1)), model.encode(dc.tensor(batch[0]), dc.tensor(batch[1])))
        p = dc.ops.softmax(model.logits(features)).numpy()[:, 0].mean(0)
    found = np.bincount(seen[0][1], minlength=11) / n
    np.testing.assert_allclose(found, p, atol=4 * np.sqrt(0.25 / n))
    model.eval()
    seen.clear()
    task.step(model, batch)
    assert not seen  # evaluation reads the true tokens
