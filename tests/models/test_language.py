"""Nets of language models: adaptive softmax, tied weights, state, one step at a time, windows in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import optim, train
from deepcore.data import StreamLoader, batchify
from deepcore.errors import ArgumentError, NumericalError, ShapeError
from deepcore.models import LanguageNet

KINDS: dict[str, dict[str, Any]] = {
    "full": {},
    "tied": {"tied": True},
    "tied, projected": {"tied": True, "embedding": 6},
    "adaptive": {"cutoffs": (5, 12)},
    "adaptive, tied": {"cutoffs": (5, 12), "tied": True},
    "adaptive, tied, projected": {"cutoffs": (5,), "tied": True, "embedding": 6},
    "gru": {"cell": "gru"},
    "mgu, one layer": {"cell": "mgu", "layers": 1},
}


def net(kind: str, **options: Any) -> LanguageNet:
    made = LanguageNet(30, **{"hidden": 18, "embedding": None, "seed": 3, **KINDS[kind], **options})
    made.eval()
    return made


def tokens(*shape: int, seed: int = 0) -> dc.Tensor:
    return dc.tensor(np.random.default_rng(seed).integers(0, 30, shape))


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_sum_to_one_and_agree_with_the_loss(kind: str) -> None:
    model, x, y = net(kind), tokens(7, 4), tokens(7, 4, seed=1)
    logs, _ = model.log_probs(x)
    assert logs.shape == (7, 4, 30)
    np.testing.assert_allclose(np.exp(logs.numpy().astype(np.float64)).sum(-1), 1, rtol=1e-5)
    picked = -np.take_along_axis(logs.numpy(), y.numpy()[..., None], -1)[..., 0]
    nats, _ = model.nats(x, y)
    loss, _ = model.loss(x, y)
    np.testing.assert_allclose(nats, picked, rtol=1e-5)
    assert loss.item() == pytest.approx(float(picked.mean()), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 3])
def test_step_by_step_gives_the_bits_of_the_whole(kind: str, n: int) -> None:
    model, x = net(kind), tokens(40, n)
    with dc.no_grad():
        whole, last = model.log_probs(x)
        state = None
        for t in range(40):
            logs, state = model.step(x[t], state)
            assert np.array_equal(logs.numpy(), whole.numpy()[t])
        assert state is not None and np.array_equal(state.h.numpy(), last.h.numpy())


def test_adaptive_softmax_is_the_softmax_of_its_parts() -> None:
    """log p(cluster) + log p(token | cluster), in float64 from the parameters."""
    model = net("adaptive")
    out: Any = model.output
    h = np.random.default_rng(2).standard_normal((20, 18)).astype(np.float32)
    w = {name: p.numpy().astype(np.float64) for name, p in out.named_parameters()}
    found = out.log_probs(dc.tensor(h)).numpy()

    def log_softmax(z: np.ndarray) -> np.ndarray:
        return np.asarray(z - np.log(np.exp(z).sum(1, keepdims=True)))

    head = log_softmax(h @ np.concatenate([w["weight0"], w["clusters"]]).T + w["bias0"])
    parts = [head[:, :5]]
    for i in (1, 2):
        inner = log_softmax(h @ w[f"projection{i}"].T @ w[f"weight{i}"].T + w[f"bias{i}"])
        parts.append(inner + head[:, 4 + i : 5 + i])
    np.testing.assert_allclose(found, np.concatenate(parts, 1), rtol=1e-5, atol=1e-5)
    assert [w[f"weight{i}"].shape for i in range(3)] == [(5, 18), (7, 4), (18, 1)]


@pytest.mark.parametrize("kind", ["tied", "adaptive, tied"])
def test_tied_weights_are_one_parameter(kind: str) -> None:
    model, free = net(kind), net(kind.replace("tied", "").strip(", ") or "full", tied=False)
    size = sum(p.size for p in model.parameters())
    assert size < sum(p.size for p in free.parameters()) or kind == "adaptive, tied"
    names = dict(model.named_parameters())
    assert not any(n.startswith("output.weight") for n in names)
    model.loss(tokens(5, 2), tokens(5, 2, seed=1))[0].backward()
    used = [n for n in names if n.startswith("embedding.")]
    for n in used:  # tokens that were no input get a gradient too: that of the output
        assert (names[n].grad.numpy() != 0).any(1).all()


def test_state_goes_on_from_window_to_window() -> None:
    model, x = net("full"), tokens(9, 2)
    whole, _ = model.log_probs(x)
    first, state = model.log_probs(x[:4])
    second, _ = model.log_probs(x[4:], state.detach())
    assert np.array_equal(np.concatenate([first.numpy(), second.numpy()]), whole.numpy())


def test_refusals() -> None:
    for options, message in (
        ({"cutoffs": (12, 5)}, "cutoffs that rise"),
        ({"cutoffs": (30,)}, "cutoffs that rise"),
        ({"tail_factor": 2.0}, "goes with cutoffs"),
        ({"cutoffs": (5,), "tied": True, "tail_factor": 2.0}, "1 for a tied output"),
        ({"embedding": 0}, "embedding >= 1"),
    ):
        with pytest.raises(ArgumentError, match=message):
            net("full", **options)
    with pytest.raises(ShapeError, match=r"tokens \(steps, n\)"):
        net("full")(tokens(3))
    dropping = net("full", dropout=0.5).train()
    with pytest.raises(ArgumentError, match="eval mode"):
        dropping.step(tokens(2))


# ---- training on windows ----
def trainer(*callbacks: train.Callback, **options: Any) -> tuple[train.Trainer, StreamLoader]:
    ids = np.random.default_rng(5).integers(0, 30, 210)
    model = net("adaptive, tied", dropout=0.2, input_dropout=0.1, weight_drop=0.1)
    task, optimizer = train.NextToken(), optim.Adam(model.parameters(), 1e-2, clip_norm=1.0)
    made = train.Trainer(model, optimizer, task, callbacks=[task, *callbacks], progress="off", **options)
    return made, StreamLoader(batchify(ids, 5), 6, batch_first=False)


class Stop(train.Callback):
    def __init__(self, after: int) -> None:
        self.after = after

    def on_step_end(self, trainer: train.Trainer, loss: float) -> None:
        if trainer.optimizer.steps == self.after:
            trainer.stop("test")


@pytest.mark.parametrize("after", [1, 4, 7, 8, 17])
def test_resume_in_the_middle_of_a_sequence(tmp_path: Path, after: int) -> None:
    whole, data = trainer(ema=0.9)
    whole.fit(data, data_of(data), epochs=3)
    first, data = trainer(Stop(after), ema=0.9)
    first.fit(data, data_of(data), epochs=3, checkpoint=tmp_path / "c")
    assert first.optimizer.steps == after
    second, data = trainer(train.Callback(), ema=0.9)
    second.fit(data, data_of(data), epochs=3, checkpoint=tmp_path / "c", resume=True)
    for (name, a), (_, b) in zip(whole.model.named_parameters(), second.model.named_parameters(), strict=True):
        assert np.array_equal(a.numpy(), b.numpy()), name
    assert [r["val_loss"] for r in whole.history] == [r["val_loss"] for r in second.history]


def data_of(data: StreamLoader) -> StreamLoader:
    return StreamLoader(data.streams[:2], 5, batch_first=False)


def test_evaluation_starts_anew_each_time_and_counts_tokens() -> None:
    made, data = trainer()
    held = data_of(data)
    once, twice = made.evaluate(held), made.evaluate(held)
    assert once == twice
    made.model.eval()
    streams = held.streams.T
    nats, _ = made.model.nats(dc.tensor(streams[:-1].copy()), dc.tensor(streams[1:].copy()))
    assert once["loss"] == pytest.approx(float(nats.mean()), rel=1e-5)
    made.fit(data, epochs=1)
    assert made.samples == data.samples == 5 * 41


def test_a_loss_that_is_not_finite_names_the_step() -> None:
    made, data = trainer()
    weights = made.model.state_dict()
    weights["output.bias0"][0] = np.inf
    made.model.load_state_dict(weights)
    with pytest.raises(NumericalError, match=r"at step 0: the parameter output\.bias0"):
        made.fit(data, epochs=1)
