"""Captioner: it learns what scenes show, searches, keeps to single pictures, freezes, resumes, refuses bad input."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import Captioner, ImageClassifier, data
from deepcore.errors import (
    ArgumentError,
    CheckpointError,
    DataError,
    DtypeError,
    NotFittedError,
    NumericalError,
    ShapeError,
)
from deepcore.models.captioner import INJECTS
from deepcore.sequence_metrics import bleu, cider
from deepcore.train import load_checkpoint, save_checkpoint

SHOWN = (0, 1, 4)  # fewer kinds of digits are learnt from fewer pictures


def scenes(n: int, seed: int, part: str = "train") -> tuple[Any, list[list[str]]]:
    """Scenes of one or two of some packaged digits, 27 x 27, with both forms of their captions."""
    x_train, y_train, x_test, y_test = data.load_digits()
    x, y = (x_train, y_train) if part == "train" else (x_test, y_test)
    kept = np.isin(y, SHOWN)
    digits = (x[kept].astype(np.int64) * 255 // 16).astype(np.uint8), y[kept]
    return data.digit_scenes(n, seed, 27, digits=digits, most=2, both=True)


def model(inject: str = "init", **options: Any) -> Captioner:
    return Captioner(
        inject, **{"preset": "lenet5", "width": 8, "embedding": 16, "hidden": 32, "dropout": 0.0, "batch_size": 16,
                   "learning_rate": 5e-3, "random_state": 0, **options}
    )  # fmt: skip


X, Y = scenes(900, 0)
XT, YT = scenes(150, 1, "test")
FEW: dict[str, Any] = {"epochs": 2, "width": 4, "hidden": 12, "dropout": 0.2, "batch_size": 32}
SOME = slice(0, 96)


@pytest.fixture(scope="module")
def fitted() -> Captioner:
    return model(pretrain="words", pretrain_epochs=6, epochs=8).fit(X, Y)


@pytest.mark.parametrize("inject", INJECTS)
def test_learns_to_say_what_is_there(inject: str) -> None:
    found = model(inject, pretrain="words", pretrain_epochs=6, epochs=9).fit(X, Y)
    scores = found.scores(XT, YT)
    assert scores["exact"] > 0.7 and scores["bleu4"] > 0.85
    # Captions of other pictures are no match: it looks at what it is given.
    assert found.scores(XT, YT[1:] + YT[:1])["exact"] < 0.2
    assert len(found.pretrain_history_) == 6 and found.pretrain_history_[-1]["loss"] < 2


@pytest.mark.parametrize("options", [{"cell": "gru", "tied": True}, {"tied": True, "embedding": 32, "layers": 2},
                                     {"preset": "vgg-small", "grid": 3, "width": 8, "cell": "mgu"}])  # fmt: skip
def test_other_nets_learn_the_layout(options: dict[str, Any]) -> None:
    found = model(**{"epochs": 3, **options}).fit(X, Y)
    assert found.history_[-1]["loss"] < 0.55 * found.history_[0]["loss"]
    assert {len(c.split()) for c in found.predict(XT)} != {1}


def test_beams(fitted: Captioner) -> None:
    greedy, g = fitted.predict(XT, beam=1, return_scores=True)
    wide, w = fitted.predict(XT, beam=8, length_penalty=0.0, return_scores=True)
    assert (w >= g - 1e-5).all() and (w > g + 1e-3).any()
    assert len(greedy) == len(wide) == len(XT) and g.dtype == np.float64
    beams = fitted.beams(XT[:5], beam=3)
    assert all(len(own) == 3 for own in beams)
    for own in beams:
        assert [b.score for b in own] == sorted((b.score for b in own), reverse=True)
        assert len({b.text for b in own}) == 3 and own[0].finished
    assert [own[0].text for own in beams] == fitted.predict(XT[:5], beam=3)
    # Longer captions win under a stronger penalty.
    short, long = (np.mean([len(c.split()) for c in fitted.predict(XT, beam=8, length_penalty=a)]) for a in (0.0, 3.0))
    assert long > short


def test_log_probability_is_that_of_the_search(fitted: Captioner) -> None:
    texts, logs = fitted.predict(XT[:40], return_scores=True)
    np.testing.assert_allclose(fitted.log_probability(XT[:40], texts), logs, rtol=1e-4, atol=1e-4)
    true = fitted.log_probability(XT, [own[0] for own in YT])
    false = fitted.log_probability(XT, [own[0] for own in YT[1:] + YT[:1]])
    assert (true <= 0).all() and true.mean() > false.mean() + 3


def test_a_picture_alone(fitted: Captioner) -> None:
    """The same bits alone and in a batch."""
    for found in (fitted, *(model(inject, **FEW).fit(X[SOME], Y[SOME]) for inject in ("every", "first"))):
        texts, logs = found.predict(XT[:20], return_scores=True)
        features = found.encode(XT[:20])
        given = found.log_probability(XT[:20], [own[0] for own in YT[:20]])
        for i in range(0, 20, 3):
            text, log = found.predict(XT[i : i + 1], return_scores=True)
            assert text == texts[i : i + 1] and log[0] == logs[i]
            np.testing.assert_array_equal(found.encode(XT[i : i + 1])[0], features[i])
            alone = found.log_probability(XT[i : i + 1], [YT[i][0]])
            np.testing.assert_allclose(alone, given[i : i + 1], rtol=1e-6)


def test_scores(fitted: Captioner) -> None:
    said = [text.split() for text in fitted.predict(XT)]
    truth = [[text.replace(",", " ,").split() for text in own] for own in YT]
    scores = fitted.scores(XT, YT)
    assert scores["bleu4"] == pytest.approx(bleu(truth, said).bleu4)
    assert scores["cider"] == pytest.approx(cider(truth, said))
    assert scores["exact"] == np.mean([s in t for s, t in zip(said, truth)])
    assert fitted.score(XT, YT) == scores["cider"]
    try:
        for metric in ("bleu4", "exact"):
            assert fitted.set_params(metric=metric).score(XT, YT) == scores[metric]
    finally:
        fitted.set_params(metric="cider")


def test_history_and_early_stopping() -> None:
    held = (XT[:50], YT[:50])
    options = {**FEW, "epochs": 6, "learning_rate": 0.02}
    found = model(**options).fit(X, Y, validation_data=held)
    last = found.history_[-1]
    assert {"val_loss", "val_bleu4", "val_cider", "val_exact", "clipped"} <= last.keys()
    assert last["val_cider"] == pytest.approx(found.scores(*held, beam=1)["cider"])
    logs = [found.log_probability(held[0], [own[k] for own in held[1]]).sum() for k in (0, 1)]
    words = sum(len(text.replace(",", " ,").split()) + 1 for own in held[1] for text in own)
    assert last["val_loss"] == pytest.approx(-sum(logs) / words, rel=1e-4)
    for monitor, best in (("cider", max), ("loss", min)):
        early = model(**options, early_stopping=True, patience=1, monitor=monitor).fit(X, Y, validation_data=held)
        values = [h[f"val_{monitor}"] for h in early.history_]
        k = values.index(best(values))
        assert len(values) in (k + 3, 6)
        assert early.scores(*held, beam=1)["cider"] == pytest.approx(early.history_[k]["val_cider"])
    split = model(**FEW, validation_fraction=0.2).fit(X[SOME], Y[SOME])
    assert "val_exact" in split.history_[-1]


def test_average_of_weights_is_what_validation_sees() -> None:
    found = model(**FEW, ema=0.9).fit(X[SOME], Y[SOME], validation_data=(XT[:20], YT[:20]))
    assert found.history_[-1]["val_bleu4"] == pytest.approx(found.scores(XT[:20], YT[:20], beam=1)["bleu4"])


@pytest.mark.parametrize("augment", [None, {"shift": 1}])
def test_frozen_encoder_stays(augment: Any) -> None:
    kinds = np.array([len(own[0].split()) for own in Y])
    backbone = ImageClassifier("vgg-small", width=4, epochs=1, dropout=0.0, random_state=1).fit(X[SOME], kinds[SOME])
    before = backbone.model_.state_dict()
    found = model(encoder="frozen", grid=2, augment=augment, **FEW).fit(X[SOME], Y[SOME], backbone=backbone)
    state = found.model_.encoder.state_dict()
    assert len(state) > 10
    for name, value in state.items():  # running statistics too
        np.testing.assert_array_equal(value, before[name])
    for name, value in backbone.model_.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert all(p.requires_grad for p in backbone.model_.parameters())
    trained = model(encoder="train", **FEW).fit(X[SOME], Y[SOME], backbone=backbone).model_.encoder.state_dict()
    assert any((trained[name] != before[name]).any() for name in trained)


def test_frozen_after_learning_words() -> None:
    """What `pretrain` made stays; features that are computed once give what they give each time."""
    options: dict[str, Any] = {**FEW, "encoder": "frozen", "pretrain": "words", "pretrain_epochs": 1}
    short, long = (model(**{**options, "epochs": n}).fit(X[SOME], Y[SOME]) for n in (1, 3))
    for name, value in short.model_.encoder.state_dict().items():
        np.testing.assert_array_equal(value, long.model_.encoder.state_dict()[name])
    again = model(**options, augment={"shift": 0}).fit(X[SOME], Y[SOME])
    once = model(**options).fit(X[SOME], Y[SOME])
    assert again.history_[-1]["loss"] == pytest.approx(once.history_[-1]["loss"], rel=0.05)


def test_encoder_rate_slows_the_encoder() -> None:
    options = {**FEW, "epochs": 1, "optimizer": "sgd", "learning_rate": 0.05}
    start = model(**options, encoder_rate=1e-9).fit(X[SOME], Y[SOME]).model_.encoder.state_dict()

    def moved(rate: float) -> float:
        state = model(**options, encoder_rate=rate).fit(X[SOME], Y[SOME]).model_.encoder.state_dict()
        return float(sum(np.abs(state[n] - start[n]).sum() for n in start))

    slow, fast = moved(0.01), moved(1.0)
    assert 0 < slow < 0.1 * fast


def test_time_limit_is_for_both_stages() -> None:
    found = model(**FEW, pretrain="words", pretrain_epochs=50, max_seconds=1e-6).fit(X[SOME], Y[SOME])
    assert found.trainer_.optimizer.steps == 1 and found.trainer_.stop_reason.startswith("time limit")
    assert not found.pretrain_history_ and len(found.predict(XT[:2])) == 2


def test_views_are_averaged() -> None:
    found = model(**FEW).fit(X[SOME], Y[SOME])
    plain, mirrored = found.encode(XT[:20]), found.encode(np.ascontiguousarray(XT[:20, :, ::-1]))
    found.test_augment = "mirror"
    np.testing.assert_allclose(found.encode(XT[:20]), (plain + mirrored) / 2, rtol=1e-5, atol=1e-6)


class _StoppedError(Exception):
    pass


@pytest.mark.parametrize("stage", ["words", "captions"])
def test_resumes_bit_for_bit(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {**FEW, "epochs": 3, "pretrain": "words", "pretrain_epochs": 2, "augment": "light",
                               "early_stopping": True, "patience": 5}  # fmt: skip
    fit = {"X": X[SOME], "y": Y[SOME], "validation_data": (XT[:20], YT[:20])}
    whole = model(**options).fit(**fit)
    path = tmp_path / "c"
    save = dc.train.Trainer.save_checkpoint
    saved = 0

    def stopping(self: dc.train.Trainer, where: Any, loader: Any) -> None:
        nonlocal saved
        save(self, where, loader)
        saved += 1
        if saved == (1 if stage == "words" else 5):  # two epochs of words, their end, two of captions
            raise _StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(dc.train.Trainer, "save_checkpoint", stopping)
        with pytest.raises(_StoppedError):
            model(**options).fit(**fit, checkpoint=path)
    again = model(**options).fit(**fit, checkpoint=path, resume=True)
    for name, value in whole.model_.state_dict().items():
        np.testing.assert_array_equal(again.model_.state_dict()[name], value)
    times = ("seconds", "samples_per_second")
    for one, other in ((whole.history_, again.history_), (whole.pretrain_history_, again.pretrain_history_)):
        assert [{k: v for k, v in h.items() if k not in times} for h in one] == [
            {k: v for k, v in h.items() if k not in times} for h in other
        ]


def test_save_load_pickle(tmp_path: Path) -> None:
    found = model(**FEW, min_count=3, length_penalty="mean", augment={"shift": 1}).fit(X[SOME], Y[SOME])
    path = tmp_path / "m.safetensors"
    found.save(path)
    for again in (Captioner.load(path), pickle.loads(pickle.dumps(found))):
        assert again.predict(XT) == found.predict(XT) and again.get_params() == found.get_params()
        assert again.history_ == found.history_ and again.max_length_ == found.max_length_
    with pytest.raises(CheckpointError, match="expected a ImageClassifier"):
        ImageClassifier.load(path)
    arrays, meta = load_checkpoint(path)
    for damage in ({"vocabulary": {}}, {"encoder": {"preset": "vit"}}, {"image_shape": [27]}, {"max_length": "x"}):
        save_checkpoint(path, arrays, {**meta, **damage})
        with pytest.raises(CheckpointError, match="Captioner"):
            Captioner.load(path)


def test_clone_and_sklearn() -> None:
    base = pytest.importorskip("sklearn.base")
    found = base.clone(model(beam=5))
    assert found.get_params() == model(beam=5).get_params() and not hasattr(found, "model_")


def test_words() -> None:
    """Case, rare words, length."""
    texts = ["A Dog.", "a dog", "a cat", "the dog"] * 8
    found = model(**{**FEW, "epochs": 1}, min_count=9).fit(X[:32], texts)
    assert found.vocabulary_.tokens == ["<pad>", "<unk>", "<bos>", "<eos>", "a", "dog"]
    assert found.max_length_ == 4  # a dog . <eos>
    assert "<unk>" not in " ".join(found.predict(XT, beam=4))
    found.log_probability(X[:1], ["a zebra"])
    known = model(**{**FEW, "epochs": 1}, lower=False, max_length=2, beam=1).fit(X[:32], texts)
    assert "Dog" in known.vocabulary_ and all(len(t.split()) <= 2 for t in known.predict(XT))
    assert "<unk>" not in known.vocabulary_


def test_partial_fit() -> None:
    found = model(**FEW, max_size=30)
    for _ in range(3):
        found.partial_fit(X, Y)
    losses = [h["loss"] for h in found.history_]
    assert len(losses) == 3 and losses[2] < losses[0]
    assert len(found.predict(XT[:3])) == 3
    for options in ({"pretrain": "words"}, {"encoder": "frozen"}):
        with pytest.raises(ArgumentError, match="the first partial_fit needs"):
            model(**options).partial_fit(X, Y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inject": "last"}, "expected inject in"),
        ({"encoder": "none"}, "expected encoder in"),
        ({"preset": "vit"}, "expected preset in"),
        ({"pretrain": "labels"}, "expected pretrain in"),
        ({"cell": "transformer"}, "expected cell in"),
        ({"metric": "meteor"}, "expected metric in"),
        ({"monitor": "rouge"}, "expected monitor in"),
        ({"hidden": 0}, "expected hidden >= 1"),
        ({"pretrain_epochs": 0}, "expected pretrain_epochs >= 1"),
        ({"dropout": 1.0}, r"expected dropout in \[0, 1\)"),
        ({"label_smoothing": -0.1}, "expected label_smoothing in"),
        ({"encoder_rate": 0.0}, r"expected encoder_rate in \(0, 1\]"),
        ({"augment": {"mixup": 0.2}}, "without mixup"),
        ({"augment": "wild"}, "expected augment in"),
        ({"test_augment": "turn"}, "expected test_augment in"),
        ({"beam": 0}, "expected beam >= 1"),
        ({"beam": 500}, "expected a beam no wider than the vocabulary of 2. tokens, got 500"),
        ({"length_penalty": -1.0}, "expected length_penalty >= 0 or 'mean'"),
        ({"max_length": 0}, "expected max_length >= 1"),
        ({"grid": 3}, "a net with global pooling"),
        ({"encoder": "frozen"}, "needs a backbone or pretrain='words'"),
        ({"early_stopping": True}, "early_stopping needs validation data"),
        ({"epochs": 0}, "expected epochs >= 1"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        model(**{**FEW, **options}).fit(X[SOME], Y[SOME])


def test_wrong_input(fitted: Captioner) -> None:
    few = model(**FEW)
    for captions, error, message in (
        ("a one", DtypeError, "expected a list of captions, got str"),
        (Y[:5], ArgumentError, "expected captions of 96 images, got 5"),
        ([*Y[:95], []], ArgumentError, "at least one caption of image 95"),
        ([*Y[:95], 7], DtypeError, "expected a caption or several of image 95, got int"),
        ([*Y[:95], ["a one", 7]], DtypeError, "expected texts as captions of image 95, got int"),
        ([*Y[:95], " "], DataError, "expected words in each caption, got an empty one of image 95"),
    ):
        with pytest.raises(error, match=message):
            few.fit(X[SOME], captions)
    with pytest.raises(ShapeError, match="expected images"):
        few.fit(X[0], Y[:1])
    with pytest.raises(ArgumentError, match="NaN"):
        few.fit(np.full((2, 8, 8), np.nan), Y[:2])
    with pytest.raises(ShapeError, match="expected images of"):
        fitted.predict(X[:3, :20])
    with pytest.raises(ArgumentError, match=r"no wider than the vocabulary of 2. tokens, got 400"):
        fitted.predict(X[:3], beam=400)
    with pytest.raises(ArgumentError, match="length_penalty"):
        fitted.beams(X[:3], length_penalty=-2)
    with pytest.raises(
        DataError, match=r"expected words among the 2. tokens of the vocabulary, got 'zebra' .* image 1"
    ):
        fitted.log_probability(X[:2], ["a one above a four", "a zebra"])
    with pytest.raises(DtypeError, match="expected one text for each image, got lists"):
        fitted.log_probability(X[:2], Y[:2])
    with pytest.raises(DataError, match="'zebra'"):
        few.fit(X[SOME], Y[SOME], validation_data=(X[:2], ["a one", "a zebra"]))
    with pytest.raises(ArgumentError, match="at least 2 images of validation"):
        few.fit(X[SOME], Y[SOME], validation_data=(X[:1], Y[:1]))
    with pytest.raises(DataError, match="at least 2 samples"):
        fitted.score(X[:1], Y[:1])
    with pytest.raises(NotFittedError):
        model().predict(X)


def test_wrong_backbone() -> None:
    with pytest.raises(ArgumentError, match="expected an ImageClassifier as backbone, got MLPClassifier"):
        model().fit(X[SOME], Y[SOME], backbone=dc.MLPClassifier())  # type: ignore[arg-type]
    with pytest.raises(NotFittedError):
        model().fit(X[SOME], Y[SOME], backbone=ImageClassifier())
    other = ImageClassifier(epochs=1, width=4, random_state=0).fit(X[:20, :20, :20], np.arange(20) % 2)
    with pytest.raises(ArgumentError, match=r"a backbone for images of \(27, 27, 1\), got \(20, 20, 1\)"):
        model().fit(X[SOME], Y[SOME], backbone=other)


def test_exploding_loss_is_named() -> None:
    with pytest.raises(NumericalError, match=r"Captioner: the loss of .* nats per token at step"):
        model(**{**FEW, "epochs": 20}, optimizer="sgd", clip_norm=None).set_params(learning_rate=300.0).fit(
            X[SOME], Y[SOME]
        )


def test_report(tmp_path: Path, fitted: Captioner) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("PIL")
    path = tmp_path / "r.html"
    fitted.report(path, XT[:30], YT[:30], training=(X[:50], Y[:50]), title="Scenes <of> digits")
    page = path.read_text()
    for text in ("Scenes &lt;of&gt; digits", "CIDEr", "Learning the words of captions", "Gallery", "Worst mistakes",
                 "nearest of training", "beam of 3", "greedy, log p -", "data:image/png;base64,"):  # fmt: skip
        assert text in page, text
    assert YT[0][0] in page and "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
    fitted.report(path, XT[:4], [[text] for text in fitted.predict(XT[:4])])
    assert "None: each caption equals a reference." in path.read_text() and "nearest" not in path.read_text()
    colours = np.random.default_rng(0).random((8, 12, 12, 3))
    tiny = model(**{**FEW, "epochs": 1}, beam=1).fit(colours, ["red", "blue"] * 4)
    tiny.report(path, colours, ["red", "blue"] * 4)
    assert "beam" not in path.read_text().split("<section")[2]
