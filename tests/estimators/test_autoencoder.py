"""Autoencoder: every kind learns real digits, codes and files come back, bad input is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore.data import Corruption, load_digits
from deepcore.errors import ArgumentError, CheckpointError, DataError, NotFittedError, ShapeError
from deepcore.estimators import DBN, Autoencoder, MLPClassifier

X, Y, XT, YT = load_digits()
X, XT = X / np.float32(16), XT / np.float32(16)
FLAT, FLAT_T = X.reshape(len(X), -1), XT.reshape(len(XT), -1)
VARIANCE = float(((FLAT_T - FLAT.mean(0)) ** 2).sum(1).mean())


def ae(**options: Any) -> Autoencoder:
    return Autoencoder(**{"layers": (64, 16), "epochs": 12, "learning_rate": 3e-3, "random_state": 0, **options})


KINDS: dict[str, dict[str, Any]] = {
    "dense": {},
    "tied": {"tied": True},
    "cross_entropy": {"loss": "cross_entropy", "activation": "relu"},
    "sparse": {"code_activation": "sigmoid", "sparsity": 0.2, "sparsity_weight": 0.1, "epochs": 30},
    "contractive": {"contractive": 0.1},
    "denoising": {"corruption": {"kind": "masking", "amount": 0.2}},
    "layerwise": {"pretrain": "layerwise", "pretrain_epochs": 4, "epochs": 4, "corruption": "salt-and-pepper"},
    "layerwise tied": {"pretrain": "layerwise", "tied": True},
    "variational": {"variational": True, "loss": "cross_entropy", "epochs": 30},
    "convolutional": {"channels": (8, 16)},
    "convolutional alone": {"channels": (8, 4), "layers": (), "epochs": 20},
    "convolutional variational": {"channels": (8, 16), "variational": True, "beta": 0.1},
    "standard": {"scaling": "standard", "epochs": 20},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_saves_and_loads(kind: str, tmp_path: Path) -> None:
    model = ae(**KINDS[kind])
    assert model.fit(X) is model
    rebuilt = model.reconstruct(XT)
    assert rebuilt.shape == XT.shape and rebuilt.dtype == np.float32
    error = float(((rebuilt - XT) ** 2).sum((1, 2)).mean())
    assert error < 0.5 * VARIANCE
    codes = model.transform(XT)
    assert codes.shape == (len(XT), 16)
    np.testing.assert_allclose(model.inverse_transform(codes), rebuilt, atol=1e-5)
    model.save(tmp_path / "ae")
    again = Autoencoder.load(tmp_path / "ae")
    assert again.get_params() == model.get_params() and again.history_ == model.history_
    for other in (again, pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.transform(XT), codes)
        np.testing.assert_array_equal(other.score_samples(XT), model.score_samples(XT))
        assert other.fingerprint() == model.fingerprint()
    if not model.variational and model.scaling != "standard":
        np.testing.assert_allclose(model.anomaly_score(XT), ((rebuilt - XT) ** 2).sum((1, 2)), rtol=1e-4)
        assert model.score(XT) == pytest.approx(-error, rel=1e-4)
    with pytest.raises(CheckpointError, match="expected a MLPClassifier"):
        MLPClassifier.load(tmp_path / "ae")


def test_same_seed_same_bits_for_any_number_of_threads() -> None:
    options = {"corruption": "gaussian", "code_noise": 0.1, "code_activation": "sigmoid", "epochs": 2}
    a = ae(**options).fit(X)
    before = dc.get_num_threads()
    try:
        dc.set_num_threads(1)
        b = ae(**options).fit(X)
    finally:
        dc.set_num_threads(before)
    assert a.fingerprint() == b.fingerprint() != ae(**{**options, "random_state": 1}).fit(X).fingerprint()


@pytest.mark.parametrize("options", [{"variational": True}, {"corruption": "block"},
                                     {"pretrain": "layerwise", "pretrain_epochs": 1}])  # fmt: skip
def test_resume_equals_the_uninterrupted_run(options: dict[str, Any], tmp_path: Path) -> None:
    whole = ae(epochs=4, schedule="constant", **options).fit(X)
    ae(epochs=2, schedule="constant", **options).fit(X, checkpoint=tmp_path / "c")
    resumed = ae(epochs=4, schedule="constant", **options).fit(X, checkpoint=tmp_path / "c", resume=True)
    assert resumed.fingerprint() == whole.fingerprint()


def test_scaling() -> None:
    raw = (X * 200 + 30).astype(np.uint8)
    model = ae(epochs=3).fit(raw)
    assert model.output_ == "sigmoid" and model.shift_[0] == 30 and model.scale_[0] == 200
    assert model.reconstruct(raw).min() >= 30 and model.reconstruct(raw).max() <= 230
    assert ae(epochs=1).fit(X).output_ == "sigmoid" and ae(epochs=1).fit(X).scale_[0] == 1
    wide = FLAT * np.linspace(1, 50, 64, dtype=np.float32) - 7
    standard = ae(epochs=3).fit(wide)
    assert standard.output_ == "linear" and standard.scale_.shape == (64,)
    assert abs(standard.reconstruct(wide).mean() - wide.mean()) < 1
    with pytest.raises(DataError, match=r"needs data in 0\.\.1, got -7"):
        ae(scaling=None, output="sigmoid").fit(wide)
    with pytest.raises(ArgumentError, match="standardised data are not"):
        ae(scaling="standard", output="sigmoid").fit(FLAT)
    with pytest.raises(ArgumentError, match="'cross_entropy' needs data in 0"):
        ae(loss="cross_entropy").fit(wide)


def test_denoise() -> None:
    noise = Corruption("gaussian", 0.3, seed=77)
    noisy = noise.apply(XT)
    model = ae(corruption={"kind": "gaussian", "amount": 0.3}, epochs=25, validation_fraction=0.1).fit(X)
    assert ((model.denoise(noisy) - XT) ** 2).mean() < 0.4 * ((noisy - XT) ** 2).mean()
    # validation is on noisy inputs too: far above the error on clean ones
    assert model.history_[-1]["val_squared_error"] > 1.2 * -model.score(XT)
    with pytest.raises(ArgumentError, match="trained with corruption"):
        ae(epochs=1).fit(X).denoise(noisy)


def test_contractive_codes_move_less() -> None:
    moved = {}
    for weight in (0.0, 0.5):
        model = ae(contractive=weight, code_activation="sigmoid").fit(FLAT)
        step = model.transform(FLAT_T + 0.01) - model.transform(FLAT_T)
        moved[weight] = np.abs(step).mean()
    assert moved[0.5] < 0.7 * moved[0.0]


def test_sparse_codes_are_sparse() -> None:
    means = [ae(code_activation="sigmoid", sparsity=s, sparsity_weight=3.0, epochs=20).fit(FLAT).transform(FLAT).mean()
             for s in (0.05, 0.4)]  # fmt: skip
    assert abs(means[0] - 0.05) < 0.03 and abs(means[1] - 0.4) < 0.05


def test_layerwise_training_helps_a_deep_logistic_net() -> None:
    options: dict[str, Any] = {"layers": (64, 32, 16), "activation": "sigmoid", "epochs": 3}
    plain, stacked = ae(**options).fit(FLAT), ae(pretrain="layerwise", pretrain_epochs=8, **options).fit(FLAT)
    assert [len(h) for h in stacked.pretrain_history_] == [8, 8, 8] and plain.pretrain_history_ == []
    assert stacked.score(FLAT_T) > 0.9 * plain.score(FLAT_T)


def test_variational_samples_and_bound() -> None:
    model = ae(variational=True, loss="cross_entropy", epochs=40).fit(X)
    drawn = model.sample(500, random_state=3)
    assert drawn.shape == (500, 8, 8)
    np.testing.assert_array_equal(drawn, model.sample(500, random_state=3))
    assert np.abs(drawn.mean(0) - X.mean(0)).mean() < 0.06  # samples look like the data on the whole
    codes = model.transform(X)
    assert 0.3 < codes.std(0).max() < 1.5
    scores = model.score_samples(XT)
    np.testing.assert_array_equal(model.score_samples(XT[5:9]), scores[5:9])
    assert scores.mean() > model.score_samples(1 - XT).mean() + 20
    with pytest.raises(ArgumentError, match="needs variational"):
        ae(epochs=1).fit(X).sample(3)
    with pytest.raises(ArgumentError, match="n >= 1"):
        model.sample(0)


def test_anomalies_score_higher() -> None:
    zeros = FLAT_T[YT == 0]
    model = ae(epochs=30).fit(FLAT_T[YT == 0][:25])
    assert np.median(model.anomaly_score(FLAT_T[YT == 1])) > 2 * np.median(model.anomaly_score(zeros[25:]))


@pytest.mark.parametrize("method", ["lbfgs", "cg"])
def test_fine_tuning_by_line_searches(method: str) -> None:
    model = ae(epochs=3).fit(X)
    before, seen = model.score(X), []
    model.fine_tune(X, method, iterations=15, callback=lambda i, loss: seen.append((i, loss)))
    assert [i for i, _ in seen] == list(range(1, 16)) and seen[-1][1] < 0.8 * -before
    assert model.score(X) == pytest.approx(-seen[-1][1], rel=1e-4)
    assert model.history_[-1]["epoch"] == model.n_iter_ == 4
    batches = ae(epochs=3).fit(X).fine_tune(X, method, epochs=2, batch_size=500, iterations=3)
    assert batches.score(X) > before and batches.history_[-1]["step"] == 18


def test_fine_tuning_by_adam_and_with_penalties() -> None:
    model = ae(epochs=3).fit(X)
    before = model.score(X)
    assert model.fine_tune(X, "adam", epochs=5, batch_size=64).score(X) > before
    sparse = ae(epochs=2, code_activation="sigmoid", sparsity=0.2, corruption="masking").fit(X)
    loss = sparse.history_[-1]["loss"]
    assert sparse.fine_tune(X, "lbfgs", iterations=8).history_[-1]["loss"] < loss


@pytest.mark.parametrize(
    ("args", "message"),
    [(("newton",), "expected method in"), (("lbfgs", {"epochs": 0}), "epochs, iterations"),
     (("lbfgs", {"learning_rate": 0.1}), "no learning_rate"), (("adam", {"iterations": 9}), "iterations are for")],
)  # fmt: skip
def test_fine_tuning_refusals(args: Any, message: str) -> None:
    model = ae(epochs=1).fit(X[:100])
    with pytest.raises(ArgumentError, match=message):
        model.fine_tune(X, args[0], **(args[1] if len(args) > 1 else {}))
    with pytest.raises(ArgumentError, match="random code"):
        ae(epochs=1, variational=True).fit(X[:100]).fine_tune(X, "cg")


@pytest.mark.parametrize("tied", [False, True])
def test_unrolled_layers(tied: bool) -> None:
    rng = np.random.default_rng(0)
    sizes = [(64, 30), (30, 8)]
    layers = [(0.1 * rng.normal(size=(o, i)), rng.normal(size=o), rng.normal(size=i)) for i, o in sizes]
    model = Autoencoder.from_layers(layers, tied=tied, random_state=0)
    logistic = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    code = logistic(FLAT_T @ layers[0][0].T + layers[0][1]) @ layers[1][0].T + layers[1][1]
    np.testing.assert_allclose(model.transform(FLAT_T), code, rtol=1e-3, atol=1e-4)
    back = logistic(logistic(code @ layers[1][0] + layers[1][2]) @ layers[0][0] + layers[0][2])
    np.testing.assert_allclose(model.reconstruct(FLAT_T), back, atol=1e-4)
    before = model.score(FLAT)
    assert model.fine_tune(FLAT, "cg", iterations=5).score(FLAT) > before
    assert model.partial_fit(FLAT).n_iter_ == 2
    with pytest.raises(ShapeError, match=r"weight \(out, 30\).*layer 1"):
        Autoencoder.from_layers([layers[0], layers[0]])
    with pytest.raises(ArgumentError, match="goes without channels"):
        Autoencoder.from_layers(layers, channels=(4,))


def test_unrolled_belief_net() -> None:
    dbn = DBN((40, 20), n_iter=15, learning_rate=0.1, batch_size=20, random_state=0).fit(FLAT, Y)
    model = Autoencoder.from_dbn(dbn, code_activation="sigmoid", random_state=0)
    h = dbn.rbms_[0].transform(FLAT_T)
    top = dbn.unroll()[1]
    code = 1 / (1 + np.exp(-(h @ top[0].T + top[1])))
    np.testing.assert_allclose(model.transform(FLAT_T), code, atol=1e-4)
    np.testing.assert_allclose(model.reconstruct(FLAT_T), dbn.inverse_transform(code), atol=1e-4)
    linear = Autoencoder.from_dbn(dbn, random_state=0)
    before = linear.score(FLAT_T)
    assert linear.fine_tune(FLAT, "lbfgs", iterations=15).score(FLAT_T) > before + 0.5


def test_unrolled_units() -> None:
    z = (FLAT - FLAT.mean(0)) / (FLAT.std(0) + 0.1)
    options: dict[str, Any] = {"n_iter": 1, "learning_rate": 0.001, "random_state": 0}
    gaussian = DBN((9, 4), visible_units="gaussian", settings=({}, {"hidden_units": "gaussian"}), **options).fit(z)
    model = Autoencoder.from_dbn(gaussian)
    np.testing.assert_allclose(model.transform(z[:50]), gaussian.transform(z[:50]), atol=1e-4)
    np.testing.assert_allclose(model.reconstruct(z[:50]), gaussian.reconstruct(z[:50]), atol=1e-4)
    relu = DBN((9, 4), settings=({"hidden_units": "relu"}, {"visible_units": "relu"}), **options).fit(FLAT)
    model = Autoencoder.from_dbn(relu, code_activation="sigmoid")
    np.testing.assert_allclose(model.reconstruct(FLAT[:50]), relu.reconstruct(FLAT[:50]), atol=1e-4)
    mixed = DBN((9, 4), settings=({}, {"visible_units": "gaussian"}), **options).fit(FLAT)
    with pytest.raises(ArgumentError, match="hidden layers of Bernoulli or of relu"):
        Autoencoder.from_dbn(mixed)
    with pytest.raises(ArgumentError, match="variance 1"):
        Autoencoder.from_dbn(DBN((4,), visible_units="gaussian", variance=2.0, **options).fit(z))
    with pytest.raises(NotFittedError):
        Autoencoder.from_dbn(DBN((4,)))


def test_partial_fit_learns() -> None:
    model = ae()
    for i in range(16):
        model.partial_fit(X[(i % 4) * 300 : (i % 4) * 300 + 300])
    assert model.n_iter_ == 16 and -model.score(XT) < 0.6 * VARIANCE
    noisy = ae(corruption="masking")
    assert noisy.partial_fit(X).partial_fit(X).n_iter_ == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scaling": "log"}, "expected scaling"), ({"output": "tanh"}, "expected output"),
        ({"loss": "absolute"}, "expected loss"), ({"pretrain": "greedy"}, "expected pretrain"),
        ({"pretrain": "layerwise", "variational": True}, "goes without"), ({"sparsity": 0.1}, "needs code_activation"),
        ({"tied": True, "channels": (4,)}, "tied weights"), ({"corruption": "rain"}, "expected kind"),
        ({"corruption": {"strength": 2}}, "expected options"), ({"layers": ()}, "at least one layer"),
        ({"variational": True, "tied": True}, "goes without tied"), ({"beta": -1.0}, "weights >= 0"),
        ({"pretrain": "layerwise", "pretrain_epochs": 0}, "pretrain_epochs >= 1"),
        ({"activation": "cube"}, "Activation"), ({"code_noise": -1.0}, "deviation >= 0"),
    ],
)  # fmt: skip
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        ae(epochs=1, **options).fit(X[:50])


def test_bad_samples() -> None:
    model = ae(epochs=1).fit(X[:50])
    with pytest.raises(ShapeError, match=r"expected samples of \(8, 8\), got \(16, 4\)"):
        model.transform(XT.reshape(-1, 16, 4))
    with pytest.raises(ArgumentError, match="63 features"):
        model.transform(FLAT_T[:, 1:])
    with pytest.raises(ArgumentError, match="NaN"):
        model.transform(np.full((2, 8, 8), np.nan))
    with pytest.raises(ArgumentError, match="0 sample"):
        model.transform(XT[:0])
    with pytest.raises(ShapeError, match=r"expected codes \(n, 16\)"):
        model.inverse_transform(np.zeros((2, 15)))
    with pytest.raises(DataError, match="finite codes"):
        model.inverse_transform(np.full((2, 16), np.inf))
    with pytest.raises(ShapeError, match="channels need images"):
        ae(channels=(4,)).fit(FLAT)
    with pytest.raises(NotFittedError):
        ae().transform(X)
    assert model.transform(FLAT_T).shape == (len(XT), 16)  # the same samples, flattened


def test_float_values_of_any_size_stay_finite() -> None:
    x = np.random.default_rng(0).normal(size=(60, 5)) * [1e-20, 1.0, 1e6, 0.0, 1e12]
    model = Autoencoder((4, 2), epochs=3, random_state=0).fit(x)
    assert np.isfinite(model.reconstruct(x)).all() and np.isfinite(model.score_samples(x)).all()
