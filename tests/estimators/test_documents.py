"""DocumentClassifier: it learns what words mean together, keeps to lengths, saves, resumes, refuses bad input."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore.errors import ArgumentError, CheckpointError, DtypeError, NotFittedError
from deepcore.estimators import DocumentClassifier, MLPClassifier
from deepcore.models.text import OUTPUTS
from deepcore.train import load_checkpoint, save_checkpoint

FILLERS = [
    "the",
    "film",
    "was",
    "and",
    "it",
    "that",
    "plot",
    "of",
    "a",
    "in",
    "actor",
    "scene",
    "with",
    "on",
    "music",
    "story",
]


def negated(n: int, seed: int) -> tuple[list[str], Any]:
    """Texts where 'not' before 'good' or 'bad' turns the label; every word alone says nothing."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(n):
        word, no = rng.choice(["good", "bad"]), bool(rng.integers(2))
        words = list(rng.choice(FILLERS, rng.integers(2, 9)))
        if not no:  # 'not' is there too, yet elsewhere
            words.insert(0, "not")
        place = int(rng.integers(1, len(words) + 1))
        words[place:place] = ["not", word] if no else [word]
        if not no and place == 1:
            words.insert(1, "the")
        texts.append(" ".join(words))
        labels.append("pos" if (word == "good") != no else "neg")
    return texts, np.array(labels)


def model(**options: Any) -> DocumentClassifier:
    return DocumentClassifier(
        **{"embedding": 16, "hidden": 16, "epochs": 12, "learning_rate": 0.01, "min_count": 1, "embedding_dropout": 0.0,
           "dropout": 0.0, "batch_size": 16, "random_state": 0, **options}
    )  # fmt: skip


X, Y = negated(400, 0)
XT, YT = negated(200, 1)
FEW = {"epochs": 2, "hidden": 8, "embedding": 8}


@pytest.mark.parametrize("output", OUTPUTS)
def test_negation(output: str) -> None:
    fitted = model(output=output).fit(X, Y)
    assert fitted.score(XT, YT) > 0.95
    p = fitted.predict_proba(XT)
    np.testing.assert_allclose(p.sum(1), 1)
    assert p.shape == (200, 2) and fitted.classes_.tolist() == ["neg", "pos"]
    np.testing.assert_allclose(fitted.predict_log_proba(XT), np.log(p))


@pytest.mark.parametrize("options", [{"cell": "gru"}, {"cell": "mgu"}, {"cell": "coupled", "layers": 2},
                                     {"bidirectional": False, "output": "last"}])  # fmt: skip
def test_cells_and_layers(options: dict[str, Any]) -> None:
    assert model(**options).fit(X, Y).score(XT, YT) > 0.9


def test_order_of_words() -> None:
    """'dog bites man' against 'man bites dog': bags of words are equal."""
    rng = np.random.default_rng(0)
    texts, labels = [], []
    for _ in range(300):
        first, second = ("dog", "man") if rng.integers(2) else ("man", "dog")
        gap = [list(rng.choice(FILLERS, rng.integers(0, 4))) for _ in range(3)]
        texts.append([*gap[0], first, *gap[1], "bites", *gap[2], second])
        labels.append(int(first == "dog"))
    assert model().fit(texts[:200], labels[:200]).score(texts[200:], labels[200:]) > 0.95


def test_padding_does_not_count() -> None:
    fitted = model(**FEW, output="mean").fit(X, Y)
    together = fitted.decision_function([*XT, " ".join(XT[:30])])
    for output in OUTPUTS:
        fitted = model(**FEW, output=output).fit(X, Y)
        together = fitted.decision_function([*XT[:20], " ".join(XT[:30])])
        for i in range(20):
            np.testing.assert_allclose(fitted.decision_function([XT[i]])[0], together[i], rtol=1e-4, atol=1e-5)


def test_reproducible_and_save_load(tmp_path: Path) -> None:
    options = {"word_dropout": 0.2, "embedding_dropout": 0.2, "dropout": 0.2, "output": "attention", **FEW}
    a = model(**options, class_weight={"pos": 2.0}).fit(X, Y)
    b = model(**options, class_weight={"pos": 2.0}).fit(X, Y)
    np.testing.assert_array_equal(a.predict_proba(XT), b.predict_proba(XT))
    path = tmp_path / "m.safetensors"
    a.save(path)
    again = DocumentClassifier.load(path)
    np.testing.assert_array_equal(again.predict_proba(XT), a.predict_proba(XT))
    assert again.get_params() == a.get_params() and again.history_ == a.history_
    assert again.vocabulary_.tokens == a.vocabulary_.tokens
    with pytest.raises(CheckpointError, match="expected a MLPClassifier"):
        MLPClassifier.load(path)


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    model(**FEW).fit(X, Y).save(path)
    arrays, meta = load_checkpoint(path)
    tokens, counts = meta["vocabulary"]["tokens"], meta["vocabulary"]["counts"]
    for vocabulary in (
        {"tokens": tokens[::-1], "counts": counts},
        {"tokens": tokens[:-1], "counts": counts[:-1]},
        {"tokens": tokens, "counts": counts[:-1]},
        {"tokens": [*tokens[:-1], 7], "counts": counts},
        {"tokens": tokens},
        "the film",
    ):
        save_checkpoint(path, arrays, {**meta, "vocabulary": vocabulary})
        with pytest.raises(CheckpointError, match="expected a whole DocumentClassifier"):
            DocumentClassifier.load(path)


def test_pickle() -> None:
    a = model(**FEW).fit(X, Y)
    copy = pickle.loads(pickle.dumps(a))
    np.testing.assert_array_equal(copy.predict(XT), a.predict(XT))


def test_resume_equals_the_whole_run(tmp_path: Path) -> None:
    options = {**FEW, "word_dropout": 0.3, "dropout": 0.3}
    whole = model(**{**options, "epochs": 4}).fit(X, Y)
    path = tmp_path / "c.safetensors"
    model(**options).fit(X, Y, checkpoint=path)
    rest = model(**{**options, "epochs": 4}).fit(X, Y, checkpoint=path, resume=True)
    np.testing.assert_array_equal(rest.predict_proba(XT), whole.predict_proba(XT))


def test_truncation() -> None:
    tokens = list("abcdefgh")
    for truncate, kept in (("first", "abcde"), ("last", "defgh"), ("both", "abcgh")):
        assert "".join(model(max_length=5, truncate=truncate)._tokens([tokens])[0]) == kept
    assert model(max_length=None)._tokens([tokens]) == [tokens]
    assert model(max_length=1, truncate="both")._tokens([tokens]) == [["a"]]
    assert model(max_length=8, truncate="first")._tokens([tokens]) == [tokens]


def test_unknown_words_and_empty_documents() -> None:
    fitted = model(**FEW, min_count=3).fit([*X, "", "  "], [*Y, "pos", "neg"])
    p = fitted.predict_proba(["", "zyzzyva", "   ", "zyzzyva", []])
    np.testing.assert_allclose(p, np.repeat(p[:1], 5, 0), rtol=1e-6)  # each is one <unk>
    assert "zyzzyva" not in fitted.vocabulary_
    small = model(**FEW, max_size=5).fit(X, Y)
    assert len(small.vocabulary_) == 5 and small.predict(["the film"]).shape == (1,)


def test_columns_of_texts() -> None:
    fitted = model(**FEW).fit(np.array(X, dtype=object)[:, None], Y)
    expected = model(**FEW).fit(X, Y).decision_function(XT)
    np.testing.assert_array_equal(fitted.decision_function(np.array(XT)), expected)

    class Table:
        columns, shape = ("a", "b"), (1, 2)

        def __len__(self) -> int:
            return 1

        def __iter__(self) -> Any:
            return iter(self.columns)

    with pytest.raises(ArgumentError, match="expected one column of documents, got 2"):
        fitted.predict(Table())


def test_lower_and_levels() -> None:
    fitted = model(**FEW).fit(X, Y)
    np.testing.assert_array_equal(fitted.decision_function([XT[0].upper()]), fitted.decision_function([XT[0]]))
    np.testing.assert_allclose(fitted.decision_function([XT[0].split()]), fitted.decision_function([XT[0]]), rtol=1e-6)
    letters = model(**FEW, level="char").fit(X, Y)
    assert "g" in letters.vocabulary_ and "good" not in letters.vocabulary_


def test_weights_move_decisions() -> None:
    rng = np.random.default_rng(0)
    texts = [["a"] if rng.random() < 0.5 else ["b"] for _ in range(200)]
    y = np.array([int(rng.random() < (0.4 if t == ["a"] else 0.05)) for t in texts])
    probe = [["a"]]
    plain = model(**FEW).fit(texts, y).predict_proba(probe)[0, 1]
    balanced = model(**FEW, class_weight="balanced").fit(texts, y).predict_proba(probe)[0, 1]
    heavy = model(**FEW).fit(texts, y, sample_weight=np.where(y == 1, 20.0, 1.0)).predict_proba(probe)[0, 1]
    assert heavy > balanced > plain


def test_partial_fit_and_early_stopping() -> None:
    fitted = model()
    with pytest.raises(ArgumentError, match="classes must be passed"):
        fitted.partial_fit(X[:50], Y[:50])
    for _ in range(12):
        fitted.partial_fit(X, Y, classes=["neg", "pos"])
    assert fitted.score(XT, YT) > 0.9 and fitted.n_iter_ == 12
    fitted.partial_fit(["new words come"], ["pos"])
    assert "new" not in fitted.vocabulary_
    noisy = np.where(np.random.default_rng(0).random(len(Y)) < 0.3, "pos", Y)
    stopped = model(epochs=60, early_stopping=True, validation_fraction=0.2, patience=1).fit(X, noisy)
    assert len(stopped.history_) < 60 and "val_accuracy" in stopped.history_[0]
    held = model(**FEW, ema=0.9, schedule="one-cycle").fit(X, Y, validation_data=(XT, YT))
    assert "val_loss" in held.history_[-1]
    assert len(model(epochs=500, max_seconds=0.1).fit(X, Y).history_) < 500


def test_influence_names_the_words_that_decide() -> None:
    plain = [t.replace("not ", "") for t in X]
    fitted = model(output="mean").fit(plain, ["pos" if "good" in t else "neg" for t in plain])
    words = fitted.influence(["the film was good and the actor", "the bad film was with the actor", ""])
    for found, word in zip(words, ("good", "bad")):
        assert max(found, key=lambda pair: pair[1])[0] == word
    assert [w for w, _ in words[0]] == ["the", "film", "was", "good", "and", "the", "actor"] and words[2][0][
        0
    ] == "<unk>"
    one, other = (fitted.influence(["the film was good"], [label])[0] for label in ("pos", "neg"))
    np.testing.assert_allclose([v for _, v in one], [-v for _, v in other], rtol=1e-5)  # two classes
    # To first order the influence is the change of the score when all embeddings grow by the same share.
    table = fitted.model_.encoder.tables[0].weight
    scores = []
    for factor in (0.999, 1.001):
        before = np.array(table.numpy())
        fitted.model_.load_state_dict(
            {**fitted.model_.state_dict(), "encoder.tables.0.weight": before * np.float32(factor)}
        )
        s = fitted.decision_function(["the film was good"])[0].astype(np.float64)
        scores.append(s[1] - s[0])
        fitted.model_.load_state_dict({**fitted.model_.state_dict(), "encoder.tables.0.weight": before})
    assert sum(v for _, v in one) == pytest.approx((scores[1] - scores[0]) / 0.002, rel=0.05)


def test_report(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    texts = [t.replace("film", "<film> &") for t in XT]
    fitted = model(**FEW).fit(X, Y)
    fitted.report(tmp_path / "r.html", texts, YT)
    page = (tmp_path / "r.html").read_text()
    for word in ("Learning curves", "Confusion matrix", "Worst mistakes", "Words behind decisions", "rgba("):
        assert word in page
    assert "&lt;" in page and "<film" not in page and "<script" not in page


@pytest.mark.parametrize(
    ("x", "y", "error", "text"),
    [
        ("one text", [1], ArgumentError, "expected a sequence of documents, got str"),
        (["a", 7, "b"], [0, 1, 0], DtypeError, "as document 1, got int"),
        (["a", ["b", 3]], [0, 1], DtypeError, "tokens of document 1, got int: 3"),
        (["a", None], [0, 1], DtypeError, "as document 1, got NoneType"),
        ([], [], ArgumentError, "at least one document"),
        (["a", "b"], [0], ArgumentError, "inconsistent numbers of samples"),
        (["a", "b"], [1, 1], ArgumentError, "one class"),
        (["a", "b"], None, ArgumentError, "requires y"),
    ],
)
def test_bad_documents(x: Any, y: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        model(**FEW).fit(x, y)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"cell": "gruu"}, "expected cell in"),
        ({"output": "first"}, "expected output in"),
        ({"truncate": "middle"}, "expected truncate in"),
        ({"max_length": 0}, "max_length >= 1"),
        ({"hidden": 0}, "hidden >= 1"),
        ({"min_count": 0}, "min_count >= 1"),
        ({"word_dropout": 1.0}, r"word_dropout in \[0, 1\)"),
        ({"level": "line"}, "expected level in"),
        ({"epochs": 0}, "epochs >= 1"),
    ],
)
def test_bad_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        model(**options).fit(X, Y)


def test_not_fitted_and_labels() -> None:
    with pytest.raises(NotFittedError, match="not fitted"):
        model().predict(X)
    fitted = model(**FEW).fit(X, Y)
    with pytest.raises(ArgumentError, match="are not in classes"):
        fitted.partial_fit(X[:2], ["pos", "maybe"])
    assert fitted.score(XT, YT, sample_weight=(YT == "pos").astype(float)) <= 1


def test_scikit_learn() -> None:
    pytest.importorskip("sklearn")
    from sklearn.base import clone, is_classifier
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    base = model(**FEW)
    assert clone(base).get_params() == base.get_params() and is_classifier(base)
    pipeline = make_pipeline(FunctionTransformer(lambda texts: [t + " ." for t in texts]), base)
    assert 0.4 < cross_val_score(pipeline, X, Y, cv=2).mean() <= 1
    search = GridSearchCV(base, {"output": ["max", "last"]}, cv=2).fit(np.array(X, dtype=object), Y)
    assert search.best_params_["output"] in OUTPUTS and search.best_estimator_.predict(XT).shape == (200,)
