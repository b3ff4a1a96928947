"""SequenceTagger: tags that depend on neighbours, letters and shape; lengths, unknown words, files, bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore.errors import ArgumentError, DataError, DtypeError, NotFittedError
from deepcore.estimators import SequenceTagger
from deepcore.estimators.tagger import word_shape

Sentences = list[list[str]]
NOUNS, VERBS, BOTH = ["dog", "man", "house", "tree"], ["sees", "likes", "finds"], ["walks", "plays", "runs"]


def corpus(n: int, seed: int) -> tuple[Sentences, Sentences]:
    """Words that are nouns after 'the' and verbs after a noun: the neighbour decides."""
    rng = np.random.default_rng(seed)
    sentences, tags = [], []
    for _ in range(n):
        words, row = [], []
        for part in ["N", "V", "N"] * int(rng.integers(1, 4)):
            if part == "N":
                words += ["the", str(rng.choice(NOUNS + BOTH))]
                row += ["D", "N"]
            else:
                words.append(str(rng.choice(VERBS + BOTH)))
                row.append("V")
        sentences.append(words)
        tags.append(row)
    return sentences, tags


def model(**options: Any) -> SequenceTagger:
    return SequenceTagger(
        **{"embedding": 12, "feature_embedding": 4, "hidden": 12, "epochs": 8, "learning_rate": 0.02, "dropout": 0.0,
           "embedding_dropout": 0.0, "random_state": 0, **options}
    )  # fmt: skip


X, Y = corpus(120, 0)
XT, YT = corpus(60, 1)
FEW = {"epochs": 1, "hidden": 6, "embedding": 6}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_neighbours_decide(cell: str) -> None:
    fitted = model(cell=cell).fit(X, Y)
    assert fitted.score(XT, YT) > 0.98
    assert fitted.tags_.tolist() == ["D", "N", "V"]
    assert [len(t) for t in fitted.predict(XT)] == [len(t) for t in YT]
    for p, tags in zip(fitted.predict_proba(XT), YT):
        assert p.shape == (len(tags), 3)
        np.testing.assert_allclose(p.sum(1), 1)


def test_what_follows_decides() -> None:
    """The tag of a word is the next word: only the direction from the end can know."""
    rng = np.random.default_rng(0)
    x = [[str(w) for w in rng.choice(["a", "b", "c"], rng.integers(2, 9))] for _ in range(200)]
    y = [[*row[1:], "end"] for row in x]
    both = model(prefixes=(), suffixes=(), shape=False, epochs=12).fit(x[:150], y[:150])
    assert both.feature_vocabularies_ == [] and both.score(x[150:], y[150:]) > 0.97
    one = model(prefixes=(), suffixes=(), shape=False, bidirectional=False).fit(x[:150], y[:150])
    assert one.score(x[150:], y[150:]) < 0.7


def endings(n: int, seed: int) -> tuple[Sentences, Sentences]:
    """Words of random letters whose ending, or capital, or digits say the tag; nearly all of them occur once."""
    rng = np.random.default_rng(seed)
    sentences, tags = [], []
    for _ in range(n):
        row, own = [], []
        for _ in range(int(rng.integers(3, 8))):
            stem = "".join(rng.choice(list("bcdfglmnpr"), 5))
            tag = str(rng.choice(["VBG", "RB", "NNP", "CD"]))
            row.append(
                {"VBG": stem + "ing", "RB": stem + "ly", "NNP": stem.title(), "CD": str(rng.integers(1, 10**6))}[tag]
            )
            own.append(tag)
        sentences.append(row)
        tags.append(own)
    return sentences, tags


def test_unknown_words_by_letters_and_shape() -> None:
    x, y = endings(150, 0)
    xt, yt = endings(60, 1)
    scores = model(epochs=6).fit(x, y).scores(xt, yt)
    assert scores.unknown_tokens > 0.9 * scores.tokens and scores.unknown > 0.97
    words_only = model(epochs=6, prefixes=(), suffixes=(), shape=False).fit(x, y).scores(xt, yt)
    assert words_only.unknown < 0.6


def test_word_dropout_teaches_unknown_words() -> None:
    """Rare words are always of one tag: an unknown word is one of them, which only dropped words can teach."""
    rng = np.random.default_rng(0)

    def part(n: int, kind: str) -> tuple[Sentences, Sentences]:
        rows = [[f"{kind}{k}{i}" if rng.random() < 0.3 else str(rng.choice(["x", "y"])) for i in range(6)]
                for k in range(n)]  # fmt: skip
        return rows, [["RARE" if len(w) > 1 else w for w in row] for row in rows]

    x, y = part(100, "p")
    xt, yt = part(40, "q")
    options = {"prefixes": (), "suffixes": (), "shape": False}
    assert model(**options, word_dropout=0.5).fit(x, y).scores(xt, yt).unknown > 0.95


def test_scores_count_known_and_unknown() -> None:
    fitted = model().fit(X, Y)
    scores = fitted.scores([["the", "dog"], ["the", "Xyzzy", "likes"]], [["D", "N"], ["D", "N", "V"]])
    assert scores.tokens == 5 and scores.unknown_tokens == 1 and scores.known == 1.0
    assert scores.accuracy == pytest.approx((4 * scores.known + scores.unknown) / 5)
    assert np.isnan(fitted.scores([["the"]], [["D"]]).unknown)


def test_padding_does_not_count() -> None:
    fitted = model(**FEW).fit(X, Y)
    together = fitted.predict_proba([*XT[:10], XT[0] * 9])
    for i in range(10):
        np.testing.assert_allclose(fitted.predict_proba([XT[i]])[0], together[i], rtol=1e-4, atol=1e-6)
    from deepcore.estimators.tagger import _Task

    data = fitted._data(fitted._sentences(XT[:4]), YT[:4])
    batch = data[np.arange(4)]
    wide = (np.pad(batch[0], ((0, 0), (0, 7), (0, 0))), batch[1])
    one, other = (_Task().step(fitted.model_, b) for b in (batch, wide))
    assert float(one[0].item()) == pytest.approx(float(other[0].item()), rel=1e-5)
    assert one[1]["accuracy"] == pytest.approx(other[1]["accuracy"])
    p = np.concatenate(fitted.predict_proba(XT[:4]))
    truth = np.searchsorted(fitted.tags_, np.concatenate([np.array(t) for t in YT[:4]]))
    assert float(one[0].item()) == pytest.approx(-np.log(p[np.arange(len(p)), truth]).mean(), rel=1e-4)


def test_save_load_and_reproducible(tmp_path: Path) -> None:
    a, b = model(**FEW, embedding_dropout=0.2).fit(X, Y), model(**FEW, embedding_dropout=0.2).fit(X, Y)
    a.save(tmp_path / "t")
    for other in (b, SequenceTagger.load(tmp_path / "t")):
        for p, q in zip(a.predict_proba(XT), other.predict_proba(XT)):
            np.testing.assert_array_equal(p, q)
        assert other.get_params() == a.get_params()
    numbers = model(**FEW).fit(X, [["DNV".index(t) for t in row] for row in Y])
    assert isinstance(numbers.predict(XT[:1])[0][0], int)


def test_resume_equals_the_whole_run(tmp_path: Path) -> None:
    x, y = endings(60, 0)
    options = {**FEW, "dropout": 0.2, "word_dropout": 0.5}
    whole = model(**{**options, "epochs": 3}).fit(x, y)
    model(**options).fit(x, y, checkpoint=tmp_path / "c")
    rest = model(**{**options, "epochs": 3}).fit(x, y, checkpoint=tmp_path / "c", resume=True)
    for p, q in zip(rest.predict_proba(x[:9]), whole.predict_proba(x[:9])):
        np.testing.assert_array_equal(p, q)


def test_validation_and_early_stopping() -> None:
    held = model(**FEW, schedule="one-cycle").fit(X, Y, validation_data=(XT, YT))
    assert "val_accuracy" in held.history_[0]
    rng = np.random.default_rng(0)
    noisy = [["N" if rng.random() < 0.3 else t for t in row] for row in Y]
    stopped = model(epochs=60, early_stopping=True, validation_fraction=0.2, patience=1).fit(X, noisy)
    assert len(stopped.history_) < 60


def test_shapes_of_words() -> None:
    words = ["Paris", "U.S.", "well-known", "3.5", "1990s", "IBM", "A", "--", "mid-1980s", "McDonald", "eBay", ",", ""]
    shapes = ["Xx", "X.", "x-", "dd.", "xd", "X", "Xx", "-", "xd-", "XxX", "xX", "", ""]
    assert [word_shape(w) for w in words] == shapes


def test_empty_sentences() -> None:
    fitted = model(**FEW).fit(X, Y)
    assert fitted.predict([[], ["the"], []])[::2] == [[], []]
    assert fitted.predict_proba([[]])[0].shape == (0, 3)
    with pytest.raises(DataError, match="got none in sentence 2"):
        model(**FEW).fit([*X[:2], [], *X[2:]], [*Y[:2], [], *Y[2:]])


@pytest.mark.parametrize(
    ("x", "y", "error", "text"),
    [
        ([["a", "b"], ["c"]], [["X", "Y"], ["X", "Y"]], ArgumentError, "expected 1 tags, .* got 2 for sentence 1"),
        ([["a"]], [["X"], ["Y"]], ArgumentError, "inconsistent numbers"),
        (["a text"], [["X"]], DtypeError, "expected a sequence of tokens as sentence 0, got str"),
        ([["a", 5]], [["X", "Y"]], DtypeError, "tokens of sentence 0, got int"),
        ([["a"]], ["X"], DtypeError, "sequence of tags for sentence 0, got str"),
        ([["a", "b"]], [["X", "X"]], ArgumentError, "at least 2 tags"),
        ([["a"]], None, ArgumentError, "requires y"),
        ([], [], ArgumentError, "at least one sentence"),
    ],
)
def test_bad_sentences(x: Any, y: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        model(**FEW).fit(x, y)


def test_bad_options() -> None:
    for options, text in (({"prefixes": (0,)}, "prefixes of lengths >= 1"), ({"cell": "no"}, "expected cell"),
                          ({"feature_embedding": 0}, "feature_embedding >= 1")):  # fmt: skip
        with pytest.raises(ArgumentError, match=text):
            model(**options).fit(X, Y)
    with pytest.raises(NotFittedError):
        model().predict(X)
    with pytest.raises(ArgumentError, match="tag 'Z' of sentence 0"):
        model(**FEW).fit(X, Y, validation_data=([["the"]], [["Z"]]))


def test_report(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    fitted = model(**FEW).fit(X, Y)
    fitted.report(tmp_path / "r.html", [*XT, ["the", "<b>"]], [*YT, ["D", "N"]])
    page = (tmp_path / "r.html").read_text()
    for word in ("Confusion of the most frequent tags", "Most frequent mistakes", "Sentences with most mistakes"):
        assert word in page
    assert "<b>" not in page


def test_scikit_learn() -> None:
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV

    base = model(**FEW)
    assert clone(base).get_params() == base.get_params()
    search = GridSearchCV(base, {"hidden": [6, 12]}, cv=2).fit(X, Y)
    assert search.best_params_["hidden"] in (6, 12) and len(search.predict(XT)) == len(XT)
