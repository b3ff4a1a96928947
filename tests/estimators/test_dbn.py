"""DBN: layers learn one after the other, runs resume at any layer, labels can be dreamt of, fine-tuning pays."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore.data import load_digits
from deepcore.errors import ArgumentError, ShapeError
from deepcore.estimators import DBN, DBNClassifier, DBNRegressor
from deepcore.models import DeepBeliefNet
from deepcore.nn import RBM, partition

X, Y, XT, YT = load_digits()
X, XT = (a.reshape(len(a), -1).astype(np.float32) / 16 for a in (X, XT))


@pytest.fixture(scope="module")
def labelled() -> DBN:
    return DBN((64, 64), n_iter=60, learning_rate=0.05, random_state=0).fit(X, Y)


def test_layers_shrink_the_reconstruction_error_and_stack(labelled: DBN) -> None:
    assert [m.weight.shape for m in labelled.model_.machines] == [(64, 64), (64, 74)]
    for layer in (0, 1):
        kl = [h["kl"] for h in labelled.history_ if h["layer"] == layer]
        assert len(kl) == 60 and kl[-1] < kl[0]
    assert labelled.transform(XT).shape == (len(XT), 64)
    mean_error = np.mean((XT - X.mean(0)) ** 2)
    assert np.mean((labelled.reconstruct(XT) - XT) ** 2) < 0.8 * mean_error


def test_the_memory_dreams_of_the_label_it_is_held_at(labelled: DBN) -> None:
    means = np.stack([X[c == Y].mean(0) for c in range(10)])
    hits = 0
    for label in range(10):
        dream = labelled.generate(label, n=20, steps=200).mean(0)
        hits += int(np.linalg.norm(dream - means, axis=1).argmin() == label)
    assert hits >= 8
    several = labelled.generate([1, 2, 3], n=3, steps=5)
    assert several.shape == (3, 64)
    with pytest.raises(ArgumentError, match="not in classes"):
        labelled.generate(11)


def test_interrupted_training_resumes_at_any_layer_bit_for_bit(tmp_path: Path) -> None:
    options: dict[str, Any] = {"n_iter": 3, "random_state": 1, "fine_tune": "updown", "fine_tune_iter": 2}
    whole = DBN((20, 16), **options).fit(X[:300], checkpoint=tmp_path / "whole")
    names = ["layer-0", "layer-1", "updown"]
    for reached in range(3):
        folder = tmp_path / names[reached]
        folder.mkdir()
        for name in names[:reached]:  # finished before the interruption; the layer after them was at its first epoch
            (folder / f"{name}.safetensors").write_bytes((tmp_path / "whole" / f"{name}.safetensors").read_bytes())
        if reached == 0:
            DBN((20,), **{**options, "n_iter": 1, "fine_tune": None}).fit(X[:300], checkpoint=folder)
        again = DBN((20, 16), **options).fit(X[:300], checkpoint=folder, resume=True)
        for (name, one), (_, other) in zip(
            again.model_.named_parameters(), whole.model_.named_parameters(), strict=True
        ):
            np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=f"{names[reached]} {name}")


def test_up_down_learns_ways_of_its_own() -> None:
    plain = DBN((40, 32), n_iter=8, learning_rate=0.05, random_state=0).fit(X)
    tuned = DBN((40, 32), n_iter=8, learning_rate=0.05, random_state=0, fine_tune="updown", fine_tune_iter=10,
                fine_tune_rate=0.01).fit(X)  # fmt: skip
    assert len(tuned.model_.generative) == 1 and not plain.model_.generative
    wake = [h["wake_cross_entropy"] for h in tuned.history_ if h["layer"] == "updown"]
    assert wake[-1] < wake[0]
    binary = (XT > 0.5).astype(np.float32)
    assert tuned.log_likelihood_bound(binary).mean() > plain.log_likelihood_bound(binary).mean() - 1


def test_bound_lies_below_the_exact_likelihood() -> None:
    """Two layers small enough to sum over every hidden state."""
    rng = np.random.default_rng(0)
    x = (rng.random((200, 6)) < 0.3 + 0.4 * (rng.random((200, 1)) < 0.5)).astype(np.float32)
    dbn = DBN((5, 4), n_iter=20, random_state=0).fit(x)
    low, top = dbn.model_.machines
    log_z = partition.exact_log_partition(top).log_z
    h = ((np.arange(32)[:, None] >> np.arange(5)) & 1).astype(np.float32)
    log_prior = -partition.free_energies(top, h) - log_z
    p = np.clip(low.backward(dc.tensor(h)).numpy().astype(float), 1e-9, 1 - 1e-9)
    rows = ((np.arange(64)[:, None] >> np.arange(6)) & 1).astype(np.float32)
    log_v = rows @ np.log(p).T + (1 - rows) @ np.log1p(-p).T
    exact = np.log(np.exp(log_v + log_prior).sum(1))
    assert np.exp(exact).sum() == pytest.approx(1, abs=1e-4)
    bound = dbn.log_likelihood_bound(rows, samples=300)
    assert (bound <= exact + 0.05).all() and np.abs(bound - exact).mean() < 0.5


def test_a_perceptron_shares_the_machines_weights() -> None:
    dbn = DBN((20, 10), n_iter=1, random_state=0).fit(X[:200])
    net = dbn.to_mlp(3)
    assert net[0].weight is dbn.model_.machines[0].weight and net[1].bias is dbn.model_.machines[1].hidden_bias  # type: ignore[attr-defined]
    weights = dbn.unroll()
    assert [w.shape for w, _, _ in weights] == [(20, 64), (10, 20)]
    assert [len(b) for _, _, b in weights] == [64, 20]


def test_pretraining_helps_with_few_labels() -> None:
    options: dict[str, Any] = {"epochs": 40, "random_state": 0}
    few = slice(0, 100)
    start = DBNClassifier((64, 64), pretrain=False, **options).fit(X[few], Y[few]).score(XT, YT)
    tuned = DBNClassifier((64, 64), pretraining={"n_iter": 20, "learning_rate": 0.05}, **options)
    assert tuned.fit(X[few], Y[few], unlabelled=X).score(XT, YT) > start + 0.05
    assert tuned.pretrain_history_[-1]["layer"] == 1


def test_classifier_and_regressor_keep_what_they_learnt(tmp_path: Path) -> None:
    classifier = DBNClassifier((64, 32), pretraining={"n_iter": 20}, epochs=30, dropout=0.1, random_state=0).fit(X, Y)
    assert classifier.score(XT, YT) > 0.85
    regressor = DBNRegressor((32,), pretraining={"n_iter": 10}, epochs=60, random_state=0).fit(X, Y.astype(float))
    assert regressor.score(XT, YT) > 0.5
    for model in (classifier, regressor):
        model.save(tmp_path / "net.safetensors")
        loaded = type(model).load(tmp_path / "net.safetensors")
        np.testing.assert_array_equal(loaded.predict(XT), model.predict(XT))
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(XT), model.predict(XT))


def test_files_keep_the_net(labelled: DBN, tmp_path: Path) -> None:
    labelled.save(tmp_path / "dbn.safetensors")
    loaded = DBN.load(tmp_path / "dbn.safetensors")
    np.testing.assert_array_equal(loaded.transform(XT), labelled.transform(XT))
    np.testing.assert_array_equal(loaded.generate(3, n=2, steps=5), labelled.generate(3, n=2, steps=5))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"layers": ()}, "layers of at least one unit"),
        ({"layers": (5, 0)}, "layers of at least one unit"),
        ({"settings": [{}] * 4}, "settings for 3 layers, got 4"),
        ({"fine_tune": "magic"}, "fine_tune None or 'updown'"),
        ({"fine_tune": "updown", "fine_tune_rate": 0.0}, "fine_tune_rate > 0"),
    ],
)
def test_bad_arguments(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        DBN(**options).fit(X[:50])


def test_other_bad_input() -> None:
    with pytest.raises(ShapeError, match="expected 4 visible units in machine 1, got 5"):
        DeepBeliefNet([RBM(6, 4), RBM(5, 3)])
    with pytest.raises(ArgumentError, match="at least 2 classes"):
        DBN((4,)).fit(X[:20], np.zeros(20, int))
    with pytest.raises(ArgumentError, match="trained without labels"):
        DBN((4,), n_iter=1).fit(X[:50]).generate(1)
    with pytest.raises(ArgumentError, match="no labels"):
        DBN((4,), n_iter=1).fit(X[:50], Y[:50]).log_likelihood_bound(X[:5], log_z=0.0)
