"""Estimators: they learn real digits, save and load, weigh samples and classes, refuse bad input."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore.data import load_digits
from deepcore.errors import ArgumentError, CheckpointError, DeviceError, NotFittedError, ShapeError
from deepcore.estimators import ImageClassifier, MLPClassifier, MLPRegressor

X, Y, XT, YT = load_digits()
FLAT, FLAT_T = X.reshape(len(X), -1).astype(np.float32), XT.reshape(len(XT), -1).astype(np.float32)


def mlp(**options: Any) -> MLPClassifier:
    return MLPClassifier(**{"hidden": (64,), "epochs": 15, "learning_rate": 3e-3, "random_state": 0, **options})


def cnn(**options: Any) -> ImageClassifier:
    return ImageClassifier(**{"width": 16, "epochs": 8, "learning_rate": 3e-3, "random_state": 0, **options})


def test_mlp_learns_and_is_reproducible() -> None:
    a, b = mlp().fit(FLAT, Y), mlp().fit(FLAT, Y)
    assert a.score(FLAT_T, YT) > 0.95
    np.testing.assert_array_equal(a.predict_proba(FLAT_T), b.predict_proba(FLAT_T))
    np.testing.assert_allclose(a.predict_proba(FLAT_T).sum(1), 1)
    assert len(a.history_) == 15 and a.n_iter_ == 15


@pytest.mark.parametrize("preset", ["lenet5", "vgg-small", "resnet9", "resnet18"])
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_presets_learn(preset: str, pooling: str) -> None:
    model = cnn(preset=preset, pooling=pooling, width=8, epochs=5, learning_rate=5e-3)
    assert model.fit(X, Y).score(XT, YT) > 0.85
    assert preset == "lenet5" or "BatchNorm" in model.summary()


@pytest.mark.parametrize("kind", ["flat", "image", "regressor"])
def test_save_and_load(tmp_path: Path, kind: str) -> None:
    labels = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    path = tmp_path / "model.safetensors"
    model: Any
    if kind == "flat":
        model, x, xt, y = mlp(class_weight={"one": 2.0}, epochs=3), FLAT, FLAT_T, labels[Y]
    elif kind == "image":
        model, x, xt, y = cnn(epochs=2, augment={"shift": 1}), X, XT, Y
    else:
        model, x, xt, y = MLPRegressor((16,), epochs=3, random_state=0), FLAT, FLAT_T, Y * 2.5
    model.fit(x, y)
    model.save(path)
    again = type(model).load(path)
    np.testing.assert_array_equal(again.predict(xt), model.predict(xt))
    assert again.get_params() == model.get_params() and again.history_ == model.history_
    clone = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(clone.predict(xt), model.predict(xt))
    other = ImageClassifier if kind == "flat" else MLPClassifier
    with pytest.raises(CheckpointError, match=f"expected a {other.__name__}"):
        other.load(path)


def test_partial_fit_learns() -> None:
    model = mlp()
    for i in range(12):
        part = slice((i % 4) * 300, (i % 4) * 300 + 300)
        model.partial_fit(FLAT[part], Y[part], classes=np.arange(10))
    assert model.score(FLAT_T, YT) > 0.85
    with pytest.raises(ArgumentError, match="are not in classes"):
        model.partial_fit(FLAT[:5], np.array([1, 2, 3, 4, 77]))
    images = cnn()
    with pytest.raises(ArgumentError, match="classes must be passed"):
        images.partial_fit(X[:10], Y[:10])
    images.partial_fit(X[:300], Y[:300], classes=np.arange(10))
    assert images.partial_fit(X[300:600], Y[300:600]).n_iter_ == 2


def test_sample_weight_and_class_weight_move_decisions() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 1)).astype(np.float32)
    y = (x[:, 0] + rng.standard_normal(600) > 1).astype(int)
    plain = mlp(hidden=(8,)).fit(x, y).predict(x).mean()
    heavy = mlp(hidden=(8,)).fit(x, y, sample_weight=np.where(y == 1, 10.0, 1.0)).predict(x).mean()
    balanced = mlp(hidden=(8,), class_weight="balanced").fit(x, y).predict(x).mean()
    assert heavy > balanced > plain


def test_early_stopping_and_validation_history() -> None:
    model = mlp(epochs=200, learning_rate=0.02, early_stopping=True, validation_fraction=0.2, patience=3).fit(FLAT, Y)
    assert len(model.history_) < 200 and "val_accuracy" in model.history_[0]
    image = cnn(epochs=2, validation_fraction=0.2, augment="light", schedule="one-cycle", ema=0.9).fit(X, Y)
    assert "val_loss" in image.history_[-1]


def test_resume_from_a_checkpoint(tmp_path: Path) -> None:
    whole = cnn(epochs=4, schedule=None).fit(X[:300], Y[:300])
    path = tmp_path / "c.safetensors"
    cnn(epochs=2, schedule=None).fit(X[:300], Y[:300], checkpoint=path)
    rest = cnn(epochs=4, schedule=None).fit(X[:300], Y[:300], checkpoint=path, resume=True)
    np.testing.assert_array_equal(rest.predict_proba(XT), whole.predict_proba(XT))


def test_mixup_and_options() -> None:
    model = cnn(epochs=3, augment={"mixup": 0.2, "shift": 1}, label_smoothing=0.1, optimizer="sgd", learning_rate=0.05,
                weight_decay=1e-4, clip_norm=1.0).fit(X, Y)  # fmt: skip
    assert model.score(XT, YT) > 0.7


def test_predictions_average_over_views() -> None:
    model = cnn(epochs=3).fit(X, Y)
    images = XT[:20]
    plain = model.decision_function(images)
    mirrored = model.decision_function(images[:, :, ::-1])
    moved = np.zeros_like(images)
    moved[:, 1:] = images[:, :-1]
    down = model.decision_function(moved)
    model.set_params(test_augment="mirror")
    np.testing.assert_allclose(model.decision_function(images), (plain + mirrored) / 2, rtol=1e-5, atol=1e-5)
    model.set_params(test_augment="shift")
    five = model.decision_function(images)
    np.testing.assert_allclose(model.decision_function(images), five)
    up, left, right = np.zeros_like(images), np.zeros_like(images), np.zeros_like(images)
    up[:, :-1], left[:, :, :-1], right[:, :, 1:] = images[:, 1:], images[:, :, 1:], images[:, :, :-1]
    model.set_params(test_augment=None)
    others = [model.decision_function(v) for v in (up, left, right)]
    np.testing.assert_allclose(five, (plain + down + sum(others)) / 5, rtol=1e-5, atol=1e-5)
    model.set_params(test_augment="mirror+shift")
    assert np.isfinite(model.predict_proba(images)).all()


def test_report(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    model = cnn(epochs=2).fit(X, Y)
    path = tmp_path / "report.html"
    model.report(path, XT, YT)
    page = path.read_text()
    for word in (
        "Grad-CAM",
        "Saliency",
        "Occlusion",
        "Confusion matrix",
        "Learning curves",
        "Worst mistakes",
        "Filters",
    ):
        assert word in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "<script" not in page


@pytest.mark.parametrize(
    ("x", "y", "error", "text"),
    [
        (X[:, 0], Y, ShapeError, "expected images"),
        (X[:0], Y[:0], ArgumentError, "at least one image"),
        (X[:10], np.zeros(10, int), ArgumentError, "one class"),
        (X[:10], Y[:9], ArgumentError, "inconsistent numbers of samples"),
        (np.full((4, 8, 8), np.nan), np.arange(4), ArgumentError, "image 0 holds NaN"),
        (X[:10], np.linspace(0, 1, 10), ArgumentError, "Unknown label type"),
    ],
)
def test_bad_images(x: Any, y: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        cnn().fit(x, y)


def test_bad_options() -> None:
    with pytest.raises(ArgumentError, match="expected preset in"):
        cnn(preset="alexnet").fit(X, Y)
    with pytest.raises(ArgumentError, match="expected epochs >= 1"):
        cnn(epochs=0).fit(X, Y)
    with pytest.raises(ArgumentError, match="expected optimizer in"):
        mlp(optimizer="magic").fit(FLAT, Y)
    with pytest.raises(ArgumentError, match=r"expected test_augment in .* got 'turn'"):
        cnn(test_augment="turn").fit(X, Y)
    with pytest.raises(ArgumentError, match="expected augment in"):
        cnn(augment="wild").fit(X, Y)
    with pytest.raises(DeviceError, match="device cuda:99: "):
        cnn(device="cuda:99").fit(X, Y)
    with pytest.raises(NotFittedError, match="not fitted"):
        cnn().predict(X)
    with pytest.raises(ShapeError, match=r"expected images of \(8, 8, 1\), got \(8, 8, 3\)"):
        cnn(epochs=1).fit(X, Y).predict(np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(ArgumentError, match="Invalid parameter 'depth'"):
        mlp().set_params(depth=3)
