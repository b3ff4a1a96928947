"""RBM: every algorithm learns a small distribution, likelihoods are true ones, inputs are checked, runs resume."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn
from deepcore.errors import ArgumentError, NumericalError
from deepcore.estimators import RBM
from deepcore.nn import partition


def bars(n: int) -> Any:
    lines = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1
    return np.concatenate([np.repeat(lines, n, 1), np.tile(lines, (1, n))]).astype(np.float32)


PICTURES = bars(3)
DATA = np.tile(PICTURES, (60, 1))
LONG = np.tile(PICTURES, (300, 1))


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"algorithm": "cd", "k": 5}, 1.0),
        ({"algorithm": "cd", "k": ((0, 1), (10, 10)), "momentum": ((0, 0.5), (5, 0.8))}, 0.5),
        ({"algorithm": "pcd", "k": 5, "centred": True}, 0.6),
        ({"algorithm": "fpcd", "k": 2, "fast_rate": 0.02}, 1.0),
        ({"algorithm": "tempering", "temperatures": 5}, 1.0),
        ({"algorithm": "pcd", "k": 3, "dropout": 0.1, "weight_decay": 1e-4, "l1": 1e-5, "max_norm": 20.0}, 1.6),
    ],
    ids=lambda v: v.get("algorithm", "") if isinstance(v, dict) else "",
)
def test_algorithms_learn_bars_and_stripes(options: dict[str, Any], most: float) -> None:
    model = RBM(10, learning_rate=0.3, schedule="linear", batch_size=48, n_iter=20, random_state=0, **options)
    start = RBM(10, learning_rate=0.0, n_iter=1, random_state=0).fit(DATA).kl_divergence(PICTURES)
    assert start > 3
    model.fit(LONG)
    assert model.kl_divergence(PICTURES) < most
    assert model.history_[-1]["kl_exact"] and model.kl_ == pytest.approx(model.kl_divergence(LONG[:1000]), abs=1e-3)
    assert model.history_[-1]["pseudo_log_likelihood"] > model.history_[0]["pseudo_log_likelihood"]


def test_mean_field_reconstructs() -> None:
    model = RBM(12, algorithm="mean-field", learning_rate=0.3, batch_size=48, n_iter=20, random_state=0).fit(LONG)
    assert np.mean((model.reconstruct(PICTURES) - PICTURES) ** 2) < 0.03


def test_likelihood_is_normalised_and_agrees_with_every_estimate() -> None:
    model = RBM(8, n_iter=5, learning_rate=0.1, random_state=0).fit(DATA)
    states = ((np.arange(512)[:, None] >> np.arange(9)) & 1).astype(np.float32)
    assert np.exp(model.score_samples(states)).sum() == pytest.approx(1, abs=1e-5)
    exact = model.partition_.log_z
    annealed = model.log_partition("ais", chains=200, count=500)
    assert abs(annealed.log_z - exact) < 0.05 and annealed.low <= exact <= annealed.high
    fixed = partition.annealed_log_partition(model.model_, chains=200, count=500, schedule="fixed")
    assert abs(fixed.log_z - exact) < 0.1
    with pytest.raises(ArgumentError, match="schedule 'adapted' or 'fixed'"):
        partition.annealed_log_partition(model.model_, schedule="magic")
    reverse = model.log_partition("reverse", chains=200, count=500)
    assert abs(reverse.log_z - exact) < 0.1
    assert model.score(PICTURES) < 0 and model.score(PICTURES) == pytest.approx(model.score_samples(PICTURES).mean())


@pytest.mark.parametrize("kind", ["visible", "hidden", "gaussian", "softmax"])
def test_enumeration_of_either_side_and_kind(kind: str) -> None:
    options: dict[str, Any] = {"gaussian": {"visible_units": "gaussian", "variance": 0.5},
                               "softmax": {"visible_units": "softmax", "visible_group": 3}}.get(kind, {})  # fmt: skip
    visible, hidden = (5, 7) if kind == "visible" else (9, 6)
    rbm = nn.RBM(visible, hidden, deviation=0.7, seed=3, **options)
    rng = np.random.default_rng(0)
    dc.ops.inplace.copy_into(rng.standard_normal(visible), rbm.visible_bias)
    value = partition.exact_log_partition(rbm).log_z
    w, b, c = (np.asarray(p.numpy(), float) for p in (rbm.weight, rbm.visible_bias, rbm.hidden_bias))
    h = ((np.arange(1 << hidden)[:, None] >> np.arange(hidden)) & 1).astype(float)
    if kind == "gaussian":  # a product of one-dimensional integrals by quadrature
        grid = np.linspace(-30, 30, 6001)  # spectrally exact for smooth functions
        z = 0.0
        for state in h:
            field = state @ w
            terms = np.exp(-((grid - b[:, None]) ** 2) / 1.0 + grid * field[:, None] / 0.5)
            z += np.exp(state @ c) * np.prod(np.trapezoid(terms, grid, axis=1))
        expected = np.log(z)
    else:
        if kind == "softmax":
            v = np.stack([np.eye(3)[list(i)] for i in np.ndindex(3, 3, 3)]).reshape(27, 9)
        else:
            v = ((np.arange(1 << visible)[:, None] >> np.arange(visible)) & 1).astype(float)
        expected = np.log(np.exp((v @ b)[:, None] + v @ w.T @ h.T + (h @ c)[None]).sum())
    assert value == pytest.approx(expected, rel=1e-9)


def test_too_large_to_enumerate() -> None:
    with pytest.raises(ArgumentError, match="at most 25 Bernoulli units on one side"):
        partition.exact_log_partition(nn.RBM(30, 26))
    with pytest.raises(ArgumentError, match="use method='ais'"):
        RBM(40, n_iter=1, random_state=0).fit(np.tile(DATA, (1, 4))).kl_divergence(np.tile(DATA, (1, 4)))


def test_gaussian_units_learn_means_and_variances() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[0.8, -1, 0], [-0.8, 1, 0.4]])
    x = (centres[rng.integers(0, 2, 3000)] + rng.standard_normal((3000, 3)) * [0.5, 1.0, 0.3]).astype(np.float32)
    options: dict[str, Any] = {"visible_units": "gaussian", "algorithm": "pcd", "k": 3, "batch_size": 50, "n_iter": 25,
                               "schedule": "linear", "random_state": 0}  # fmt: skip
    fixed = RBM(4, learning_rate=0.05, **options).fit(x)
    learnt = RBM(4, learning_rate=0.05, variance="learn", **options).fit(x)
    assert learnt.score(x) > fixed.score(x) + 0.5
    variance = np.exp(learnt.model_.log_variance.numpy())
    np.testing.assert_allclose(variance, [0.25, 1, 0.09], rtol=0.3)
    samples = learnt.sample(2000, steps=200)
    np.testing.assert_allclose(samples.mean(0), x.mean(0), atol=0.2)
    np.testing.assert_allclose(samples.std(0), x.std(0), rtol=0.15)


def test_diverging_gaussian_machine_is_stopped_with_the_cause() -> None:
    x = 1000 * np.random.default_rng(0).standard_normal((200, 5)).astype(np.float32)
    with pytest.raises(NumericalError, match="Gaussian machine diverges: largest weight"):
        RBM(8, visible_units="gaussian", learning_rate=0.5, n_iter=20, random_state=0).fit(x)


def test_relu_and_softmax_hidden_units_reconstruct() -> None:
    for options in ({"hidden_units": "relu"}, {"hidden_units": "softmax", "hidden_group": 4}):
        model = RBM(32, algorithm="cd", learning_rate=0.3, batch_size=48, n_iter=8, random_state=0, **options).fit(LONG)  # type: ignore[arg-type]
        assert model.history_[-1]["kl"] < 0.5 * model.history_[0]["kl"]
        assert np.mean((model.reconstruct(PICTURES) - PICTURES) ** 2) < 0.15


def test_completion() -> None:
    model = RBM(12, k=5, centred=True, learning_rate=0.3, schedule="linear", batch_size=48, n_iter=20,
                random_state=0).fit(LONG)  # fmt: skip
    rows = PICTURES[:8]  # stripes: whole rows of the picture are equal
    mask = np.ones(9, bool)
    mask[[1, 2, 4, 8]] = False
    damaged = np.where(mask, rows, np.nan)
    filled = model.complete(damaged, mask)
    np.testing.assert_array_equal(filled[:, mask], rows[:, mask])
    inside = (rows.sum(1) > 0) & (rows.sum(1) < 9)
    assert np.abs(filled - rows)[inside].mean() < 0.1


def test_missing_softmax_entries_are_ignored_and_predicted() -> None:
    """Two kinds of people rate six films one to three; some ratings are missing."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 2000)
    tastes = np.array([[0, 0, 2, 2, 0, 2], [2, 2, 0, 0, 2, 0]])
    ratings = np.where(rng.random((2000, 6)) < 0.9, tastes[kind], 1)
    x = np.eye(3, dtype=np.float32)[ratings].reshape(2000, 18)
    hidden = rng.random((2000, 6)) < 0.4
    seen = np.where(np.repeat(hidden, 3, 1), np.nan, x)
    model = RBM(8, visible_units="softmax", visible_group=3, algorithm="cd", learning_rate=0.05, batch_size=50,
                n_iter=30, random_state=0).fit(seen)  # fmt: skip
    known = np.repeat(~hidden[:300], 3, 1)
    guess = model.complete(seen[:300], known).reshape(300, 6, 3).argmax(2)
    some = hidden[:300] & (~hidden[:300]).any(1)[:, None]
    assert (guess == tastes[kind[:300]])[some].mean() > 0.9


def test_sparse_input_trains_the_same_machine() -> None:
    scipy_sparse = pytest.importorskip("scipy.sparse")
    options: dict[str, Any] = {"n_iter": 3, "random_state": 0, "validation_fraction": 0.2}
    dense = RBM(8, **options).fit(DATA)
    sparse = RBM(8, **options).fit(scipy_sparse.csr_matrix(DATA))
    np.testing.assert_array_equal(sparse.components_, dense.components_)
    np.testing.assert_array_equal(sparse.transform(scipy_sparse.csr_matrix(PICTURES)), dense.transform(PICTURES))
    with pytest.raises(ArgumentError, match="expected values in"):
        RBM(8).fit(scipy_sparse.csr_matrix(2 * DATA))


@pytest.mark.parametrize("algorithm", ["cd", "pcd", "fpcd", "tempering"])
def test_interrupted_training_resumes_bit_for_bit(algorithm: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"algorithm": algorithm, "centred": True, "dropout": 0.2, "binarize": True,
                               "sparsity_target": 0.1, "momentum": ((0, 0.5), (2, 0.9)), "random_state": 3}  # fmt: skip
    whole = RBM(7, n_iter=4, **options).fit(DATA * 0.9)
    path = tmp_path / "run.safetensors"
    RBM(7, n_iter=2, **options).fit(DATA * 0.9, checkpoint=path)
    rest = RBM(7, n_iter=4, **options).fit(DATA * 0.9, checkpoint=path, resume=True)
    np.testing.assert_array_equal(rest.components_, whole.components_)
    np.testing.assert_array_equal(rest.sample(3, steps=5), whole.sample(3, steps=5))
    assert [h["kl"] for h in rest.history_] == [h["kl"] for h in whole.history_]


def test_threads_do_not_change_the_result() -> None:
    before, found = dc.get_num_threads(), []
    x = np.random.default_rng(0).random((300, 100)).astype(np.float32)
    for threads in (1, 2, 3):
        dc.set_num_threads(threads)
        found.append(RBM(70, binarize=True, n_iter=2, random_state=0).fit(x).components_)
    dc.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_files_and_pickles_keep_the_machine_and_its_random_numbers(tmp_path: Path) -> None:
    model = RBM(6, n_iter=3, visible_units="gaussian", variance="learn", learning_rate=0.01, random_state=0)
    model.fit(np.random.default_rng(0).standard_normal((100, 4)).astype(np.float32))
    model.save(tmp_path / "rbm.safetensors")
    loaded, copied = RBM.load(tmp_path / "rbm.safetensors"), pickle.loads(pickle.dumps(model))
    x = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    samples = model.sample(3, steps=4)
    for other in (loaded, copied):
        np.testing.assert_array_equal(other.transform(x), model.transform(x))
        np.testing.assert_array_equal(other.sample(3, steps=4), samples)


def test_training_stops_when_the_divergence_settles() -> None:
    model = RBM(6, learning_rate=1e-6, n_iter=50, settle=3, random_state=0).fit(DATA)
    assert 3 < model.n_iter_ < 10 and "kl has settled" in model.trainer_.stop_reason


def test_validation_gives_the_free_energy_gap() -> None:
    model = RBM(6, n_iter=2, validation_fraction=0.25, random_state=0).fit(DATA)
    assert all(np.isfinite(h["free_energy_gap"]) for h in model.history_)


def test_anomalies_have_a_higher_free_energy() -> None:
    model = RBM(10, k=5, learning_rate=0.3, schedule="linear", batch_size=48, n_iter=20, random_state=0).fit(LONG)
    noise = (np.random.default_rng(0).random((16, 9)) < 0.5).astype(np.float32)
    usual = {p.tobytes() for p in PICTURES}
    noise = np.stack([p for p in noise if p.tobytes() not in usual])
    assert model.anomaly_score(noise).min() > model.anomaly_score(PICTURES).max() - 1
    assert model.anomaly_score(noise).mean() > model.anomaly_score(PICTURES).mean() + 2


def test_daydream_and_gibbs() -> None:
    model = RBM(10, n_iter=5, random_state=0).fit(DATA)
    dream = model.daydream(4)
    frames = [next(dream) for _ in range(3)]
    assert all(f.shape == (4, 9) and set(np.unique(f)) <= {0.0, 1.0} for f in frames)
    assert model.gibbs(PICTURES).shape == PICTURES.shape
    assert model.inverse_transform(model.transform(PICTURES)).shape == PICTURES.shape
    np.testing.assert_allclose(
        model.inverse_transform(model.transform(PICTURES)), model.reconstruct(PICTURES), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("options", "x", "text"),
    [
        ({}, 1.5 * DATA, r"expected values in \[0, 1\] for bernoulli visible units, got 1.5 in sample 1, feature 0"),
        ({}, -DATA, "expected values in"),
        ({}, np.full((3, 3), np.nan), "NaN"),
        ({}, DATA[:0], "0 sample"),
        ({"algorithm": "magic"}, DATA, "expected algorithm in"),
        ({"k": 0}, DATA, "expected k >= 1"),
        ({"k": ((1, 2),)}, DATA, "from epoch 0"),
        ({"visible_units": "tanh"}, DATA, "expected visible_units in"),
        ({"visible_units": "softmax", "visible_group": 2}, DATA, "groups of 2, got 9"),
        ({"visible_units": "softmax", "visible_group": 3}, DATA, "sum to 1, got 0 in sample 0, group 0"),
        ({"variance": 2.0}, DATA, "variance only for Gaussian"),
        ({"exact": True, "hidden_units": "relu"}, DATA, "exact mode"),
        ({"n_components": 0}, DATA, "n_components >= 1"),
        ({"dropout": 1.0}, DATA, r"dropout in \[0, 1\)"),
        ({"settle": 0}, DATA, "settle >= 1"),
        ({"momentum": -1.0}, DATA, "momentum >= 0"),
    ],
)
def test_bad_input(options: dict[str, Any], x: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        RBM(**options).fit(x)


def test_wrong_shapes_of_later_calls() -> None:
    model = RBM(4, n_iter=1).fit(DATA)
    with pytest.raises(ArgumentError, match="expecting 9 features"):
        model.transform(DATA[:, :5])
    with pytest.raises(ArgumentError, match=r"expected \(n, 4\)"):
        model.inverse_transform(np.zeros((2, 3)))
    with pytest.raises(ArgumentError, match="n and steps >= 1"):
        model.sample(0)


def test_weights_are_those_of_a_dense_layer() -> None:
    rbm = nn.RBM(6, 4, seed=0)
    layer = rbm.linear()
    assert layer.weight is rbm.weight and layer.bias is rbm.hidden_bias
    x = dc.tensor(np.random.default_rng(0).random((3, 6)).astype(np.float32))
    np.testing.assert_array_equal(layer(x).numpy(), rbm.forward(x).numpy())


def test_updates_are_what_the_last_epoch_changed(tmp_path: Path) -> None:
    options: dict[str, Any] = {"learning_rate": 0.1, "momentum": 0.5, "keep_updates": True, "random_state": 0}
    two, three = (RBM(6, n_iter=n, **options).fit(DATA) for n in (2, 3))
    assert set(three.updates_) == {"weight", "visible_bias", "hidden_bias"}
    assert np.allclose(three.updates_["weight"], three.components_ - two.components_, atol=1e-6)
    assert np.allclose(three.updates_["hidden_bias"], three.intercept_hidden_ - two.intercept_hidden_, atol=1e-6)
    RBM(6, n_iter=2, **options).fit(DATA, checkpoint=tmp_path / "c")
    resumed = RBM(6, n_iter=3, **options).fit(DATA, checkpoint=tmp_path / "c", resume=True)
    three.save(tmp_path / "m")
    for other in (resumed, RBM.load(tmp_path / "m"), pickle.loads(pickle.dumps(three))):
        assert all((other.updates_[name] == a).all() for name, a in three.updates_.items())
    before = three.partial_fit(DATA).components_
    assert np.allclose(three.partial_fit(DATA).components_ - before, three.updates_["weight"], atol=1e-6)
    assert not hasattr(RBM(6, n_iter=1, random_state=0).fit(DATA), "updates_")


def test_an_unpickled_machine_trains_further() -> None:
    model = RBM(6, n_iter=1, max_norm=3.0, random_state=0).fit(DATA)
    again = pickle.loads(pickle.dumps(model))
    before = again.components_
    assert again.model_.weight.max_norm == 3.0 and (before == model.components_).all()
    del model.trainer_  # pickling leaves it behind: both start with fresh chains
    assert (again.partial_fit(DATA).components_ == model.partial_fit(DATA).components_).all()
    assert (again.components_ != before).any()
