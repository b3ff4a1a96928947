"""VideoClassifier: it learns movement, keeps to lengths, streams with equal bits, saves, resumes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore import data
from deepcore.errors import ArgumentError, CheckpointError, NumericalError, ShapeError
from deepcore.estimators import VideoClassifier
from deepcore.models.video import VIDEO_OUTPUTS
from tests.estimators.dots import FEW, SIDES, XT, YT, X, Y, dots, few, model

CLIP_OUTPUTS = VIDEO_OUTPUTS[1:]


@pytest.fixture
def lengths() -> Any:
    return np.random.default_rng(7).integers(1, 7, 30)


# ---- learning ----
@pytest.mark.parametrize("output", CLIP_OUTPUTS)
def test_learns_where_a_dot_goes(output: str) -> None:
    (x, y), (x_test, y_test) = dots(400, 2, turns=False), dots(200, 3, turns=False)
    fitted = model(output, epochs=15).fit(x, SIDES[y[:, -1]])
    assert fitted.score(x_test, SIDES[y_test[:, -1]]) > 0.93
    p = fitted.predict_proba(x_test)
    np.testing.assert_allclose(p.sum(1), 1)
    assert p.shape == (200, 2) and fitted.classes_.tolist() == ["left", "right"]


@pytest.mark.parametrize("options", [{}, {"cell": "gru", "encoder": "medium"}, {"cell": "conv_lstm"},
                                     {"cell": "conv_gru"}, {"bidirectional": True}])  # fmt: skip
def test_learns_the_move_to_each_frame(options: dict[str, Any]) -> None:
    fitted = model("frame", **{"epochs": 15, **options}).fit(X, Y)
    said = fitted.predict(XT)
    assert said.shape == YT.shape
    assert (said[:, 1:] == YT[:, 1:]).mean() > 0.93
    first = (said[:, 0] == YT[:, 0]).mean()  # only who reads from the end can know the first
    assert first > 0.9 if fitted.bidirectional else first < 0.7
    assert fitted.score(XT, YT) == pytest.approx((said == YT).mean())


def test_a_frame_alone_says_nothing() -> None:
    fitted = model(epochs=15).fit(X[:, -1:], Y[:, -1])
    assert fitted.score(XT[:, -1:], YT[:, -1]) < 0.65


def test_anticipates_where_a_digit_turns() -> None:
    train, test = (data.moving_digits(n, 12, 14, seed, speed=1) for n, seed in ((700, 0), (150, 1)))
    ahead = 3
    fitted = model("frame", anticipate=ahead, epochs=15, hidden=64, features=48).fit(train.frames, train.directions)
    said = fitted.predict(test.frames)
    assert said.shape == (150, 12)
    right = said[:, 3:-ahead] == test.directions[:, 3 + ahead :]
    turned = (test.directions[:, 3:-ahead] != test.directions[:, 3 + ahead :]).mean()
    assert turned > 0.4  # who says the direction of now is wrong that often
    assert right.mean() > 0.75
    assert fitted.score(test.frames, test.directions) == pytest.approx(
        (said[:, :-ahead] == test.directions[:, ahead:]).mean()
    )


def test_anticipated_clips_hide_their_last_frames() -> None:
    fitted = model(epochs=2, anticipate=2, width=4).fit(X, Y[:, -1])
    other = XT.copy()
    other[:, -2:] = 99
    np.testing.assert_array_equal(fitted.predict_proba(other), fitted.predict_proba(XT))
    other[:, -3] = 99
    assert (fitted.predict_proba(other) != fitted.predict_proba(XT)).any()
    shown = [p for _, p in fitted.predict_stream(XT[0, :-2])][-1]  # a stream hides nothing
    np.testing.assert_array_equal(shown, fitted.predict_proba(XT)[0])
    with pytest.raises(ArgumentError, match=r"more than 2 frames with anticipate=2, got 2 in clip 1"):
        fitted.predict([XT[0], XT[1, :2]])


# ---- lengths ----
@pytest.mark.parametrize("output", VIDEO_OUTPUTS)
@pytest.mark.parametrize("cell", ["lstm", "conv_gru"])
def test_a_clip_is_the_same_in_any_company_and_as_a_stream(output: str, cell: str, lengths: Any) -> None:
    fitted = few(output, cell=cell)
    clips = [clip[:n] for clip, n in zip(XT, lengths)]
    together = fitted.predict_proba(clips)
    for clip, p in zip(clips[:12], together):
        np.testing.assert_array_equal(fitted.predict_proba(clip[None])[0], p)
        stream = list(fitted.predict_stream(clip))
        assert len(stream) == len(clip)
        label, last = stream[-1]
        np.testing.assert_array_equal(last, p[-1] if output == "frame" else p)
        assert label == fitted.classes_[last.argmax()]
        if output == "frame":
            np.testing.assert_array_equal(np.stack([q for _, q in stream]), p)
            np.testing.assert_array_equal(fitted.predict([clip])[0], [name for name, _ in stream])


def test_last_is_the_last_valid_frame_of_every_length() -> None:
    fitted, frames = few("last"), few("frame")
    frames.model_.load_state_dict(fitted.model_.state_dict())
    each = frames.predict_proba(XT[:5])
    for n in range(1, 7):
        clips = [clip[: n if i % 2 else 6] for i, clip in enumerate(XT[:5])]
        found = fitted.predict_proba(clips)
        for i, clip in enumerate(clips):
            np.testing.assert_array_equal(found[i], each[i, len(clip) - 1])


def test_a_stream_of_several_clips_keeps_them_apart() -> None:
    fitted = few("mean", cell="conv_lstm")
    state = None
    for t in range(6):
        p, state = fitted.step(XT[:11, t], state)
    np.testing.assert_array_equal(p, fitted.predict_proba(XT[:11]))
    assert state is not None
    with pytest.raises(ShapeError, match="expected state h"):
        few("mean").step(XT[:3, 0], few("mean").step(XT[:2, 0])[1])
    with pytest.raises(ArgumentError, match="expected a VideoState of output 'last'"):
        few("last").step(XT[:2, 0], few("mean").step(XT[:2, 0])[1])
    with pytest.raises(ArgumentError, match="needs whole clips"):
        few(bidirectional=True).step(XT[:2, 0])


# ---- labels ----
def test_frames_without_a_label() -> None:
    some = Y.copy()
    some[:, ::2] = -1
    fitted = model("frame", epochs=2).fit(X, some)
    odd = fitted.predict(XT)[:, 1::2] == YT[:, 1::2]
    partly = YT.copy()
    partly[:, ::2] = -1
    assert fitted.score(XT, partly) == pytest.approx(odd.mean())
    as_lists = [[None if v < 0 else SIDES[v] for v in row] for row in some]
    named = model("frame", epochs=2).fit(list(X), as_lists)
    assert named.classes_.tolist() == ["left", "right"]
    np.testing.assert_array_equal(named.predict_proba(XT), fitted.predict_proba(XT))


def test_labels_of_clips_hold_for_all_their_frames() -> None:
    fitted = few("frame", clips=40)
    once = model("frame", **FEW).fit(X[:40], Y[:40, -1])
    each = model("frame", **FEW).fit(X[:40], np.repeat(Y[:40, -1:], 6, 1))
    np.testing.assert_array_equal(once.predict_proba(XT), each.predict_proba(XT))
    assert once.score(XT, YT[:, -1]) == pytest.approx((once.predict(XT) == YT[:, -1:]).mean())
    assert (fitted.predict_proba(XT) != once.predict_proba(XT)).any()


def test_weights_move_decisions() -> None:
    noisy = np.random.default_rng(0).integers(0, 2, 100)
    even = model(**FEW).fit(X[:100], noisy).predict_proba(XT)[:, 1].mean()
    heavy = model(**FEW, class_weight={1: 20.0}).fit(X[:100], noisy).predict_proba(XT)[:, 1].mean()
    own = model(**FEW).fit(X[:100], noisy, sample_weight=np.where(noisy == 1, 20.0, 1.0))
    assert heavy > even + 0.1
    np.testing.assert_allclose(own.predict_proba(XT)[:, 1].mean(), heavy, atol=1e-6)
    frames = model("frame", **FEW, class_weight={1: 20.0}).fit(X[:100], Y[:100])
    assert frames.predict_proba(XT)[..., 1].mean() > few("frame", 100).predict_proba(XT)[..., 1].mean() + 0.1


# ---- training ----
def test_augmentation_is_one_for_all_frames() -> None:
    from deepcore.data import Augment
    from deepcore.data.loader import Place

    still = np.repeat(np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8, 3)).astype(np.uint8), 4, 1)
    place = Place(2, 0, np.array([4, 9, 1, 0, 7]))
    changed, labels = Augment(shift=2, flip=0.5, rotate=20, seed=3)((still, np.arange(5)), place)
    assert changed.shape == still.shape and changed.dtype == np.float32
    np.testing.assert_array_equal(changed, changed[:, :1].repeat(4, 1))
    assert (changed != still).any((1, 2, 3, 4)).sum() >= 4 and labels.tolist() == list(range(5))
    images, _ = Augment(shift=2, flip=0.5, rotate=20, seed=3)((still[:, 0], np.arange(5)), place)
    np.testing.assert_array_equal(images, changed[:, 0])
    plain, shaken = few(), few(augment={"shift": 2})
    assert (plain.predict_proba(XT) != shaken.predict_proba(XT)).any()


def test_reproducible_saved_and_pickled(tmp_path: Path) -> None:
    fitted = few("attention", dropout=0.2, augment="light")
    p = fitted.predict_proba(XT)
    np.testing.assert_array_equal(few("attention", dropout=0.2, augment="light").predict_proba(XT), p)
    fitted.save(tmp_path / "v.safetensors")
    again = VideoClassifier.load(tmp_path / "v.safetensors")
    np.testing.assert_array_equal(again.predict_proba(XT), p)
    assert again.get_params() == fitted.get_params() and again.history_ == fitted.history_
    assert again.frame_shape_ == (8, 16, 1) and again.pixels_ == "uint8"
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(XT), p)
    content = (tmp_path / "v.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError):
        VideoClassifier.load(tmp_path / "half.safetensors")


@pytest.mark.parametrize("options", [{}, {"output": "frame", "cell": "conv_lstm", "augment": "light"}])
def test_resume_equals_the_whole_run(options: dict[str, Any], tmp_path: Path) -> None:
    options = {**FEW, "dropout": 0.3, "validation_fraction": 0.2, "schedule": "constant", **options}
    labels = Y if options.get("output") == "frame" else Y[:, -1]
    whole = model(**{**options, "epochs": 4}).fit(X[:60], labels[:60])
    path = tmp_path / "c.safetensors"
    model(**{**options, "epochs": 2}).fit(X[:60], labels[:60], checkpoint=path)
    rest = model(**{**options, "epochs": 4}).fit(X[:60], labels[:60], checkpoint=path, resume=True)
    for name, value in whole.model_.state_dict().items():
        np.testing.assert_array_equal(rest.model_.state_dict()[name], value)
    assert [r["val_loss"] for r in rest.history_] == [r["val_loss"] for r in whole.history_]


def test_threads_change_nothing() -> None:
    import deepcore as dc

    before = dc.get_num_threads()
    try:
        results = []
        for n in (1, 3):
            dc.set_num_threads(n)
            results.append(few("attention").predict_proba(XT))
    finally:
        dc.set_num_threads(before)
    np.testing.assert_array_equal(*results)


def test_partial_fit_and_early_stopping() -> None:
    fitted = model(**FEW)
    for _ in range(3):
        fitted.partial_fit(X[:50], SIDES[Y[:50, -1]], classes=SIDES)
    assert len(fitted.history_) == 3 and fitted.history_[-1]["loss"] < fitted.history_[0]["loss"]
    with pytest.raises(ArgumentError, match="classes must be passed"):
        model().partial_fit(X[:5], Y[:5, -1])
    with pytest.raises(ArgumentError, match="classes differ"):
        fitted.partial_fit(X[:5], SIDES[Y[:5, -1]], classes=["left", "up"])
    noise = np.random.default_rng(0).integers(0, 2, 60)
    stopped = model(epochs=60, early_stopping=True, patience=2).fit(
        X[:60], noise, validation_data=(XT[:60], 1 - noise)
    )  # fmt: skip
    assert stopped.n_iter_ < 60


def test_exploding_loss_names_the_step() -> None:
    with pytest.raises(NumericalError, match=r"at step \d+"):
        model("frame", optimizer="sgd", learning_rate=1e3, clip_norm=None).fit(X, Y)


def test_attention_weights_sum_to_one(lengths: Any) -> None:
    fitted = few("attention", anticipate=1)
    clips = [clip[: n + 1] for clip, n in zip(XT, np.minimum(lengths, 5))]
    for weights, clip in zip(fitted.attention(clips), clips):
        assert weights.shape == (len(clip) - 1,)
        assert weights.sum() == pytest.approx(1, abs=1e-6)
    with pytest.raises(ArgumentError, match="output 'attention'"):
        few("mean").attention(XT[:2])


def test_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn")
    from sklearn.base import clone, is_classifier
    from sklearn.model_selection import GridSearchCV

    assert sklearn and is_classifier(model()) and clone(model(hidden=5)).hidden == 5
    search = GridSearchCV(model(**FEW), {"hidden": [4, 8]}, cv=2).fit(X[:40], Y[:40, -1])
    assert search.best_params_["hidden"] in (4, 8)


@pytest.mark.parametrize("options", [{"output": "frame", "anticipate": 1}, {"output": "attention"},
                                     {"output": "last", "bidirectional": True}])  # fmt: skip
def test_report(options: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    fitted = few(validation_fraction=0.2, **options)
    clips = [clip[:n] for clip, n in zip(XT, [6, 3, 4, 6, 5, 2])]
    labels = [row[: len(c)] for row, c in zip(YT, clips)] if options["output"] == "frame" else YT[:6, -1]
    fitted.report(tmp_path / "r.html", clips, labels)
    page = (tmp_path / "r.html").read_text("utf-8")
    for text in ("Learning curves", "Confusion matrix", "Most mistakes"):
        assert text in page
    assert ("Attention over time" in page) == (options["output"] == "attention")
    assert ("Accuracy over time" in page) != options.get("bidirectional", False)
    assert "summary" not in page and "parameters" in fitted.summary()
