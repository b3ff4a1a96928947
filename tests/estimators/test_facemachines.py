"""FaceSwap from one stack of restricted Boltzmann machines: it swaps, codes stay alike, layers are trained once."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore.data import cartoon_faces, read_image
from deepcore.errors import ArgumentError
from deepcore.estimators import RBM, FaceSwap, ImageClassifier
from deepcore.train.checkpoint import load_checkpoint

SIZE = 32
FACES = np.concatenate([cartoon_faces(p, 40, size=SIZE) for p in (0, 1)])
NAMES = np.repeat(["ann", "bob"], 40)
TEST = np.concatenate([cartoon_faces(p, 12, size=SIZE, seed=1) for p in (0, 1)])
TEST_NAMES = np.repeat(["ann", "bob"], 12)
GAUSSIAN = {"visible_units": "gaussian", "variance": 0.05, "learning_rate": 5e-4}


def quick(**options: Any) -> FaceSwap:
    """20 hidden units, then 8; two epochs of each; a few steps."""
    small = {
        "share": "rbm",
        "layers": (20,),
        "code": 8,
        "steps": 6,
        "snapshot": 2,
        "batch_size": 4,
        "machines": {"n_iter": 2},
    }
    return FaceSwap(**{**small, "schedule": None, "random_state": 0, **options})


@pytest.fixture(scope="module")
def trained() -> FaceSwap:
    model = FaceSwap("rbm", layers=(200,), code=40, machines={"n_iter": 12, "learning_rate": 0.02}, steps=150,
                     augment="light", random_state=0)  # fmt: skip
    return model.fit(FACES, NAMES)


def test_faces_come_back_and_swaps_are_the_other_person(trained: FaceSwap) -> None:
    judge = ImageClassifier("lenet5", width=8, epochs=6, learning_rate=3e-3, random_state=1).fit(FACES, NAMES)
    assert judge.score(TEST, TEST_NAMES) == 1
    assert trained.score(TEST, TEST_NAMES) > 0.5
    for source, target in (("ann", "bob"), ("bob", "ann")):
        own = TEST[source == TEST_NAMES]
        assert (judge.predict(trained.reconstruct(own, source)) == source).mean() > 0.9
        assert (judge.predict(trained.swap(own, target)) == target).mean() > 0.9


def test_machines_learn_and_their_history_is_kept(trained: FaceSwap) -> None:
    first = [r["reconstruction_error"] for r in trained.pretrain_history_ if r["layer"] == 0]
    assert len(first) == 12 and first[-1] < 0.7 * first[0]
    assert {r["layer"] for r in trained.pretrain_history_} == {0, 1}
    assert trained.history_[-1]["ssim"] > 0.5 and trained.n_iter_ == 150


def test_codes_stay_alike(trained: FaceSwap) -> None:
    """Of the same faces by both encoders: alike after light fine-tuning, unlike between autoencoders that never met."""

    def likeness(model: FaceSwap) -> float:
        codes = [model.transform(TEST, source=name) for name in ("ann", "bob")]
        centred = [c - c.mean(0) for c in codes]
        return float((centred[0] * centred[1]).sum() / np.prod([np.linalg.norm(c) for c in centred]))

    apart = FaceSwap("none", width=4, code=40, steps=20, random_state=0).fit(FACES, NAMES)
    assert likeness(trained) > 0.9 and abs(likeness(apart)) < 0.5
    for rotation in trained.rotation_:
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(40), atol=1e-4)
        assert np.diagonal(rotation).mean() > 0.8


@pytest.mark.parametrize("machines", [{"n_iter": 2}, {"n_iter": 2, **GAUSSIAN}], ids=["bernoulli", "gaussian"])
def test_before_fine_tuning_it_is_the_stack_run_up_and_down(machines: dict[str, Any], tmp_path: Path) -> None:
    model = quick(machines=machines, learning_rate=0.0).fit(FACES, NAMES, checkpoint=tmp_path / "c")
    folder = tmp_path / "c.machines"
    assert sorted(p.name for p in folder.iterdir()) == ["layer-0.safetensors", "layer-1.safetensors"]
    units = {"visible_units": "gaussian", "variance": 0.05} if len(machines) > 1 else {}
    bottom, top = RBM(20, n_iter=2, random_state=0, **units), RBM(8, n_iter=2, random_state=0)
    x = TEST.reshape(len(TEST), -1) / np.float32(255)
    for i, machine in enumerate((bottom, top)):
        arrays, _ = load_checkpoint(folder / f"layer-{i}.safetensors")
        state = {n.removeprefix("model."): a for n, a in arrays.items() if n.startswith("model.")}
        machine._build(state["weight"].shape[1], 0)
        machine.n_features_in_ = state["weight"].shape[1]
        machine.model_.load_state_dict(state)
    codes = top.transform(bottom.transform(x))
    np.testing.assert_allclose(model.transform(TEST, source="bob"), codes, atol=1e-5)
    again = bottom.inverse_transform(top.inverse_transform(codes)).reshape(TEST.shape)
    np.testing.assert_allclose(model.reconstruct(TEST / np.float32(255), TEST_NAMES), again.clip(0, 1), atol=1e-5)


def test_previews_begin_before_fine_tuning(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    quick().fit(FACES, NAMES, preview=tmp_path / "p")
    assert [p.name for p in sorted((tmp_path / "p").iterdir())] == [f"step-{s:08d}.png" for s in (0, 2, 4, 6)]
    assert (read_image(tmp_path / "p" / "step-00000000.png") != read_image(tmp_path / "p" / "step-00000006.png")).any()


def test_finished_layers_are_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle of the second machine, then in the fine-tuning: the bits of the run that never stopped."""
    whole = quick().fit(FACES, NAMES)
    path, fitted, trained = tmp_path / "c.safetensors", RBM.fit, []

    class StoppedError(Exception):
        pass

    def fit(self: RBM, *args: Any, **options: Any) -> RBM:
        if self._layer == 1:
            self.n_iter = 1
        fitted(self, *args, **options)
        if self._layer == 1:
            raise StoppedError
        return self

    with monkeypatch.context() as patch:
        patch.setattr(RBM, "fit", fit)
        with pytest.raises(StoppedError):
            quick().fit(FACES, NAMES, checkpoint=path)
    step = RBM._task

    def task(self: RBM, seed: int) -> Any:
        made = step(self, seed)
        inner = made.step
        made.step = lambda *a: (trained.append(self._layer), inner(*a))[1]  # type: ignore[method-assign, func-returns-value]
        return made

    with monkeypatch.context() as patch:
        patch.setattr(RBM, "_task", task)
        quick(steps=4).fit(FACES, NAMES, checkpoint=path, resume=True)
        assert trained == [1] * 20  # the second epoch of the second machine, and nothing else
        rest = quick().fit(FACES, NAMES, checkpoint=path, resume=True)
        assert len(trained) == 20
    for name, weights in whole.model_.state_dict().items():
        np.testing.assert_array_equal(rest.model_.state_dict()[name], weights, err_msg=name)
    keys = ("layer", "kl", "reconstruction_error")
    assert [[r[k] for k in keys] for r in rest.pretrain_history_] == [
        [r[k] for k in keys] for r in whole.pretrain_history_
    ]


@pytest.mark.parametrize(
    "machines", [None, {"n_iter": 1, **GAUSSIAN, "settings": ({"k": 2},)}], ids=["plain", "options"]
)
def test_save_load_pickle(machines: Any, tmp_path: Path) -> None:
    model = quick(machines=machines, layers=() if machines is None else (20,)).fit(FACES, NAMES)
    path = tmp_path / "swap.safetensors"
    model.save(path)
    expected = model.swap(TEST[:4], "bob")
    for again in (FaceSwap.load(path), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(again.swap(TEST[:4], "bob"), expected)
        assert again.pretrain_history_ == model.pretrain_history_ and again.history_ == model.history_
    assert FaceSwap.load(path).get_params()["layers"] == model.layers


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"width": 8}, "width goes with convolutions"), ({"layers": (20, 0)}, "layers of at least one unit"),
        ({"share": "none"}, "go with share='rbm'"), ({"pretrain": 2}, "goes with share='encoder'"),
        ({"machines": {"speed": 3}}, r"expected machines of .* got \['speed'\]"),
        ({"machines": {"fine_tune": "updown"}}, r"got \['fine_tune'\]"),
        ({"machines": {"visible_units": "softmax"}}, "'bernoulli' or 'gaussian'"),
        ({"machines": {"settings": ({"hidden_units": "relu"},)}}, r"no kinds of units .* got \['hidden_units'\]"),
        ({"machines": {"settings": ({}, {}, {})}}, "settings for 2 layers, got 3"),
    ],
)  # fmt: skip
def test_bad_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        quick(**options).fit(FACES, NAMES)


def test_small_faces_are_refused_and_odd_sides_are_not() -> None:
    with pytest.raises(ArgumentError, match="sides of at least 16"):
        quick().fit(FACES[:, :15, :15], NAMES)
    assert quick(steps=1).fit(FACES[:, :17, :21], NAMES).swap(FACES[:2, :17, :21], "bob").shape == (2, 17, 21, 3)
    with pytest.raises(ArgumentError, match="say whose faces they are"):
        quick(steps=1, machines={"n_iter": 1}).fit(FACES, NAMES).transform(TEST)
