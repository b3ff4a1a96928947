"""RBMClassifier and DBM: they learn, their likelihoods are true ones, inputs are checked, runs resume."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore.data import load_digits
from deepcore.errors import ArgumentError, ShapeError
from deepcore.estimators import DBM, RBMClassifier
from deepcore.models import DeepBoltzmann
from deepcore.nn import RBM, partition
from deepcore.ops import inplace

X, Y, XT, YT = load_digits()
X, XT = (a.reshape(len(a), -1).astype(np.float32) / 16 for a in (X, XT))


def bars(n: int) -> Any:
    lines = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1
    return np.concatenate([np.repeat(lines, n, 1), np.tile(lines, (1, n))]).astype(np.float32)


# ---- class units ----
@pytest.mark.parametrize(("mode", "least"), [("discriminative", 0.93), ("generative", 0.8), ("hybrid", 0.93)])
def test_classifier_learns_digits(mode: str, least: float) -> None:
    model = RBMClassifier(64, mode=mode, learning_rate=5e-3, epochs=25, random_state=0).fit(X, Y)
    assert model.score(XT, YT) > least
    np.testing.assert_allclose(model.predict_proba(XT).sum(1), 1, atol=1e-6)


def test_class_scores_are_those_of_the_joint_machine() -> None:
    rbm = RBM(9, 5, visible_choice=3, deviation=0.6, seed=0)
    inplace.copy_into(np.random.default_rng(0).standard_normal(9), rbm.visible_bias)
    x = (np.random.default_rng(1).random((7, 6)) < 0.5).astype(np.float32)
    scores = rbm.class_scores(dc.tensor(x)).numpy()
    for label in range(3):
        joint = np.concatenate([x, np.tile(np.eye(3, dtype=np.float32)[label], (7, 1))], 1)
        np.testing.assert_allclose(scores[:, label], -partition.free_energies(rbm, joint), rtol=1e-5, atol=1e-5)
    with pytest.raises(ShapeError, match=r"expected \(rows, 6\)"):
        rbm.class_scores(dc.tensor(np.zeros((2, 9), np.float32)))
    with pytest.raises(ArgumentError, match="machine with a choice"):
        RBM(4, 3).class_scores(dc.tensor(np.zeros((2, 4), np.float32)))


def test_partition_of_a_machine_with_a_choice() -> None:
    rbm = RBM(7, 5, visible_choice=3, deviation=0.8, seed=2)
    inplace.copy_into(np.random.default_rng(0).standard_normal(7), rbm.visible_bias)
    free = ((np.arange(16)[:, None] >> np.arange(4)) & 1).astype(np.float32)
    states = np.concatenate([np.concatenate([free, np.tile(np.eye(3, dtype=np.float32)[c], (16, 1))], 1)
                             for c in range(3)])  # fmt: skip
    brute = np.log(np.exp(-partition.free_energies(rbm, states)).sum())
    assert partition.exact_log_partition(rbm).log_z == pytest.approx(brute, abs=1e-5)
    annealed = partition.annealed_log_partition(rbm, chains=300, count=400)
    assert abs(annealed.log_z - brute) < 0.05
    samples = rbm.sample(500, steps=20).numpy()
    np.testing.assert_array_equal(samples[:, 4:].sum(1), 1)


def test_classifier_files_and_resume(tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 4, "random_state": 0, "mode": "hybrid", "generative_weight": 0.1}
    whole = RBMClassifier(16, **options).fit(X[:300], Y[:300])
    path = tmp_path / "run.safetensors"
    RBMClassifier(16, **{**options, "epochs": 2}).fit(X[:300], Y[:300], checkpoint=path)
    rest = RBMClassifier(16, **options).fit(X[:300], Y[:300], checkpoint=path, resume=True)
    np.testing.assert_array_equal(rest.predict_proba(XT), whole.predict_proba(XT))
    whole.save(tmp_path / "net.safetensors")
    for other in (RBMClassifier.load(tmp_path / "net.safetensors"), pickle.loads(pickle.dumps(whole))):
        np.testing.assert_array_equal(other.predict_proba(XT), whole.predict_proba(XT))


@pytest.mark.parametrize(
    ("options", "x", "text"),
    [
        ({"mode": "magic"}, X, "mode in"),
        ({"scaling": "magic"}, X, "scaling 'minmax' or None"),
        ({"scaling": None}, 2 * X, r"values in \[0, 1\], got 0 to 2"),
        ({"n_components": 0}, X, "n_components >= 1"),
        ({"generative_weight": -1.0}, X, "generative_weight >= 0"),
    ],
)
def test_classifier_bad_arguments(options: dict[str, Any], x: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        RBMClassifier(**options).fit(x, Y)


# ---- deep Boltzmann machines ----
def brute_force(machine: DeepBoltzmann) -> float:
    sizes = [b.shape[0] for b in machine.biases]
    bits = ((np.arange(1 << sum(sizes))[:, None] >> np.arange(sum(sizes))) & 1).astype(np.float32)
    states = [dc.tensor(np.ascontiguousarray(s)) for s in np.split(bits, np.cumsum(sizes)[:-1], axis=1)]
    return float(np.log(np.exp(-machine.energy(states).numpy().astype(float)).sum()))


@pytest.mark.parametrize("sizes", [(4, (3, 2)), (3, (4, 2, 3)), (2, (2, 3, 2, 2))])
def test_exact_partition_of_small_machines(sizes: Any) -> None:
    machine = DeepBoltzmann(*sizes, deviation=0.8, seed=1)
    assert machine.log_partition() == pytest.approx(brute_force(machine), abs=1e-4)


def test_bound_lies_below_the_likelihood() -> None:
    machine = DeepBoltzmann(5, (4, 3), deviation=0.7, seed=0)
    log_z = machine.log_partition()
    rows = ((np.arange(32)[:, None] >> np.arange(5)) & 1).astype(np.float32)
    hidden = ((np.arange(128)[:, None] >> np.arange(7)) & 1).astype(np.float32)
    exact = []
    for v in rows:
        states = [np.tile(v, (128, 1)), hidden[:, :4], hidden[:, 4:]]
        energy = machine.energy([dc.tensor(np.ascontiguousarray(s)) for s in states]).numpy().astype(float)
        exact.append(np.log(np.exp(-energy).sum()) - log_z)
    assert np.exp(exact).sum() == pytest.approx(1, abs=1e-4)
    bound = machine.log_likelihood_bound(dc.tensor(rows), log_z)
    assert (bound <= np.array(exact) + 1e-5).all() and (np.array(exact) - bound).mean() < 0.5


def test_offsets_move_without_changing_the_distribution() -> None:
    from deepcore.train import JointBoltzmann

    machine = DeepBoltzmann(4, (3, 2), deviation=0.8, seed=3)
    rows = ((np.arange(16)[:, None] >> np.arange(4)) & 1).astype(np.float32)
    before = machine.log_likelihood_bound(dc.tensor(rows), machine.log_partition(), steps=300)
    means = machine.mean_field(dc.tensor(rows))
    JointBoltzmann(offset_rate=0.7)._move_offsets(machine, means)
    after = machine.log_likelihood_bound(dc.tensor(rows), machine.log_partition(), steps=300)
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_machine_learns_bars_and_stripes() -> None:
    pictures = bars(3)
    data = np.tile(pictures, (200, 1))
    options: dict[str, Any] = {"learning_rate": 0.3, "k": 2, "mean_field_steps": 5, "batch_size": 50, "random_state": 0}
    early = DBM((10, 6), n_iter=1, **options).fit(data).log_likelihood_bound(pictures).mean()
    model = DBM((10, 6), n_iter=25, **options).fit(data)
    assert model.log_likelihood_bound(pictures).mean() > early + 1.5
    samples = model.sample(300, steps=300)
    known = {p.tobytes() for p in pictures}
    assert np.mean([s.tobytes() in known for s in samples]) > 0.5  # 14 of 512 pictures
    assert model.transform(pictures).shape == (16, 6) and model.reconstruct(pictures).shape == pictures.shape


def test_machine_resumes_and_is_kept(tmp_path: Path) -> None:
    options: dict[str, Any] = {"random_state": 0, "schedule": None, "binarize": True}
    whole = DBM((8, 5), n_iter=4, **options).fit(X[:200])
    DBM((8, 5), n_iter=2, **options).fit(X[:200], checkpoint=tmp_path / "run.safetensors")
    rest = DBM((8, 5), n_iter=4, **options).fit(X[:200], checkpoint=tmp_path / "run.safetensors", resume=True)
    np.testing.assert_array_equal(rest.transform(XT), whole.transform(XT))
    whole.save(tmp_path / "dbm.safetensors")
    for other in (DBM.load(tmp_path / "dbm.safetensors"), pickle.loads(pickle.dumps(whole))):
        np.testing.assert_array_equal(other.transform(XT), whole.transform(XT))


def test_machine_bad_arguments() -> None:
    with pytest.raises(ArgumentError, match="two hidden layers"):
        DBM((5,)).fit(X[:20])
    with pytest.raises(ArgumentError, match=r"values in \[0, 1\], got 1.5 in sample"):
        DBM((5, 4)).fit(2 * X[:20])
    with pytest.raises(ArgumentError, match="20 units in the odd layers, got 21"):
        DeepBoltzmann(4, (21, 3)).log_partition()
    with pytest.raises(ArgumentError, match="n and steps >= 1"):
        DBM((5, 4), n_iter=1).fit(X[:20]).sample(0)
