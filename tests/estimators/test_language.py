"""Language models: they learn, resume bit for bit, generate, save; clear refusals."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore.data import Vocabulary
from deepcore.errors import ArgumentError, CheckpointError, DataError, NotFittedError, NumericalError
from deepcore.estimators import LanguageModel
from deepcore.estimators.sampling import draw
from deepcore.optim import OneCycle


def sentences(n: int, seed: int = 0) -> list[str]:
    """Sentences of a small grammar: the verb agrees with the noun five words before."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        noun, verb = (("dog", "barks"), ("cats", "meow"), ("bird", "sings"))[rng.integers(3)]
        colour = ("red", "old", "small")[rng.integers(3)]
        made.append(f"the {noun} in the {colour} house {verb} .")
    return made


def model(**options: Any) -> LanguageModel:
    return LanguageModel(**{"level": "word", "hidden": 32, "window": 10, "batch_size": 8, "epochs": 12,
                            "learning_rate": 0.02, "random_state": 0, **options})  # fmt: skip


@pytest.fixture(scope="module")
def words() -> LanguageModel:
    return model().fit(sentences(400))


@pytest.fixture(scope="module")
def letters() -> LanguageModel:
    return model(level="char", hidden=48, window=32).fit(" ".join(sentences(400)))


def test_learns_a_grammar(words: LanguageModel) -> None:
    # One choice in three twice a sentence of nine tokens, everything else follows from it.
    assert words.score(sentences(60, seed=1)) == pytest.approx(-2 * np.log(3) / 9, abs=0.03)
    text = words.generate(27 * 5, seed=4)
    pairs = {("dog", "barks"), ("cats", "meow"), ("bird", "sings")}
    said = [(line.split()[1], line.split()[-1].rstrip(".")) for line in text.split("\n") if line.endswith(".")]
    assert len(said) > 10 and sum(p in pairs for p in said) > 0.9 * len(said)
    assert {"loss", "val_loss", "lr", "samples_per_second"} <= set(words.history_[-1]) and words.n_iter_ == 12


def test_learns_characters(letters: LanguageModel) -> None:
    assert letters.perplexity(" ".join(sentences(40, seed=1))) < 1.2
    assert set("".join(letters.vocabulary_.tokens)) == set(" ".join(sentences(400)))


@pytest.mark.parametrize("options", [
    {"cell": "gru"}, {"cell": "mgu", "layers": 1}, {"tied": True, "embedding": 16}, {"cutoffs": (6,)},
    {"cutoffs": (6, 10), "tied": True}, {"optimizer": "asgd", "learning_rate": 1.0}, {"ema": 0.9},
    {"recurrent": {"gate_init": "uniform", "slope": "steep"}}, {"dropout": 0.1, "input_dropout": 0.1,
    "weight_drop": 0.1},
])  # fmt: skip
def test_kinds_of_nets(options: dict[str, Any], tmp_path: Path) -> None:
    made = model(**{"epochs": 8, **options}).fit(sentences(400))
    assert made.score(sentences(40, seed=1)) > -0.5
    made.save(tmp_path / "m")
    assert np.array_equal(LanguageModel.load(tmp_path / "m").log_probs(sentences(9)), made.log_probs(sentences(9)))


def test_log_probs_are_those_of_step(letters: LanguageModel) -> None:
    text = sentences(12, seed=2)[3] * 8  # more than one inference call
    logs = letters.log_probs(text)
    assert logs.shape == (len(text) - 1,) and (logs < 0).all()
    ids, state = letters.vocabulary_.encode(text), None
    for i in range(len(text) - 1):
        with dc.no_grad():
            rows, state = letters.model_.step(dc.tensor(ids[i : i + 1]), state)
        assert rows.numpy()[0, ids[i + 1]] == pytest.approx(logs[i], rel=1e-4, abs=1e-6)
    assert letters.perplexity(text) == pytest.approx(np.exp(-letters.score(text)))


# ---- generation ----
def test_generated_text(letters: LanguageModel, words: LanguageModel) -> None:
    short, long = (letters.generate(n, "the dog", seed=3) for n in (20, 60))
    assert len(short) == 27 and long.startswith(short) and short.startswith("the dog")
    assert letters.generate(60, "the dog", seed=3) == long != letters.generate(60, "the dog", seed=4)
    greedy = letters.generate(40, "the cats in the", temperature=0)
    assert " house " in greedy and greedy == letters.generate(40, "the cats in the", top_k=1, seed=9)
    assert greedy == letters.generate(40, "the cats in the", top_p=1e-6, seed=8)
    assert len(letters.generate(30)) == 30 and letters.generate(0, "the") == "the"
    assert words.generate(7, temperature=0).startswith("the ")  # after an end of a text one begins


def test_hot_is_wilder_than_cold(letters: LanguageModel) -> None:
    texts = {t: letters.generate(300, "the ", temperature=t, seed=5) for t in (0.5, 3.0)}
    assert letters.score(texts[0.5]) > letters.score(texts[3.0]) + 0.5


def test_draw() -> None:
    p = np.array([0.1, 0.4, 0.2, 0.3])
    chances = (np.arange(10_000) + 0.5) / 10_000

    def shares(**options: Any) -> np.ndarray:
        full = {"temperature": 1.0, "top_k": None, "top_p": None, **options}
        drawn = [draw(np.log(p), float(c), **full) for c in chances]
        return np.bincount(drawn, minlength=4) / 10_000

    np.testing.assert_allclose(shares(), p, atol=1e-3)
    np.testing.assert_allclose(shares(top_k=2), [0, 4 / 7, 0, 3 / 7], atol=1e-3)
    np.testing.assert_allclose(shares(top_p=0.75), [0, 4 / 9, 2 / 9, 3 / 9], atol=1e-3)
    np.testing.assert_allclose(shares(top_p=0.4), [0, 1, 0, 0], atol=1e-3)
    np.testing.assert_allclose(shares(temperature=0.5), p**2 / (p**2).sum(), atol=1e-3)
    assert shares(temperature=0)[1] == 1


# ---- resuming ----
class Interrupting(OneCycle):
    """Ctrl-C while a step is computed."""

    def __init__(self, steps: int, at: int) -> None:
        super().__init__(steps)
        self.at = at

    def factor(self, step: int) -> float:
        if step == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        return super().factor(step)

    def state_dict(self) -> dict[str, Any]:
        return {"type": "OneCycle"}


@pytest.mark.parametrize("at", [0, 10, 23, 24, 57])
def test_resume_equals_uninterrupted(at: int, tmp_path: Path) -> None:
    text = sentences(220)  # 24 windows an epoch
    options = {"epochs": 3, "dropout": 0.2, "weight_drop": 0.1, "ema": 0.9, "early_stopping": True}
    whole = model(schedule=OneCycle(72), **options).fit(text)
    assert whole.trainer_.optimizer.steps == 72
    with pytest.raises(KeyboardInterrupt):
        model(schedule=Interrupting(72, at), **options).fit(text, checkpoint=tmp_path / "c")
    again = model(schedule=OneCycle(72), **options).fit(text, checkpoint=tmp_path / "c", resume=True)
    assert again.trainer_.optimizer.steps == 72
    for name, value in whole.model_.state_dict().items():
        assert np.array_equal(value, again.model_.state_dict()[name]), name
    assert [r["val_loss"] for r in whole.history_] == [r["val_loss"] for r in again.history_]


def test_checkpoint_of_another_text_is_refused(tmp_path: Path) -> None:
    model(epochs=1).fit(sentences(100), checkpoint=tmp_path / "c")
    with pytest.raises(CheckpointError, match="StreamLoader"):
        model(epochs=2).fit(sentences(120), checkpoint=tmp_path / "c", resume=True)


# ---- conventions ----
def test_equal_seeds_give_equal_bits_and_files_keep_them(words: LanguageModel, tmp_path: Path) -> None:
    again = model().fit(sentences(400))
    words.save(tmp_path / "m.safetensors")
    loaded = LanguageModel.load(tmp_path / "m.safetensors")
    for other in (again, loaded):
        assert other.generate(50, seed=1) == words.generate(50, seed=1)
        assert other.get_params() == words.get_params() and other.vocabulary_.tokens == words.vocabulary_.tokens
    assert loaded.history_ == words.history_ and loaded.n_iter_ == 12
    assert "parameters" in loaded.summary()


def test_clone_and_search() -> None:
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV

    made = model(epochs=1, hidden=8, validation_fraction=0)
    assert clone(made).get_params() == made.get_params()
    # Each fold has every word of the grammar.
    search = GridSearchCV(made, {"hidden": [1, 16]}, cv=2).fit(sentences(100))
    assert search.best_params_ == {"hidden": 16}


def test_partial_fit_goes_on() -> None:
    made = model(learning_rate=0.01)
    losses = []
    for i in range(8):
        made.partial_fit(sentences(100, seed=i))
        losses.append(made.history_[-1]["loss"])
    assert losses[-1] < 0.5 * losses[0] and made.n_iter_ == 8
    fitted = model(epochs=3, early_stopping=True).fit(sentences(100))
    before = fitted.model_.state_dict()
    fitted.partial_fit(sentences(100, seed=1))
    assert any((before[n] != v).any() for n, v in fitted.model_.state_dict().items() if n.startswith("recurrent"))
    assert fitted.n_iter_ == 4 and fitted.history_[-1]["lr"] == pytest.approx(0.02)
    named = model().partial_fit("a b a b", vocabulary=Vocabulary(["a", "b", "c"], specials=()))
    assert np.isfinite(named.log_probs("a c b")).all()


def test_validation_and_stopping_early() -> None:
    text = sentences(60)
    held = model(epochs=2).fit(text, validation=sentences(30, seed=1))
    assert held.history_[-1]["val_loss"] == pytest.approx(-held.score(sentences(30, seed=1)), abs=0.1)
    stopped = model(epochs=500, early_stopping=True, patience=1, learning_rate=0.05, schedule=None).fit(text)
    assert stopped.n_iter_ < 500
    assert "val_loss" not in model(epochs=1, validation_fraction=0.0).fit(text).history_[0]
    limited = model(epochs=100_000, max_seconds=0.2).fit(text)
    assert "time limit" in limited.trainer_.stop_reason


def test_rare_words_and_words_by_spaces() -> None:
    rare = model(epochs=1, min_count=2).fit([*sentences(50), "the platypus"])
    assert "<unk>" in rare.vocabulary_ and "platypus" not in rare.vocabulary_
    assert np.isfinite(rare.score("the xylophone"))
    by_space = model(level="space", epochs=1).fit(["mr. <unk> owns N %", "mr. <unk> owns it"] * 20)
    assert by_space.tokens(["a b."]) == ["a", "b.", "<eos>"]
    assert by_space.vocabulary_.tokens[:2] == ["<unk>", "<eos>"]
    assert np.isfinite(by_space.score("mr. nobody owns it"))
    assert model(lower=True, epochs=1).fit("The the THE the dog").tokens("THE") == ["the"]


def test_exploding_loss_names_the_step() -> None:
    with pytest.raises(NumericalError, match=r"at step \d+"):
        model(optimizer="sgd", learning_rate=1e6, clip_norm=None, schedule=None, epochs=50).fit(sentences(100))


def test_refusals(words: LanguageModel, letters: LanguageModel) -> None:
    with pytest.raises(NotFittedError):
        model().generate(3)
    for text in ("", [], "   "):
        with pytest.raises(DataError, match="got an empty one"):
            model().fit(text)
    with pytest.raises(DataError, match="at least 2 tokens, got 1"):
        model().fit("dog")
    with pytest.raises(DataError, match="expected texts, got int at 1"):
        model().fit(["dog", 3])  # type: ignore[list-item]
    with pytest.raises(DataError, match="got '£' at 4"):
        letters.log_probs("the £")
    with pytest.raises(DataError, match="got 'platypus' at 1"):
        words.generate(5, "the platypus")
    size = len(words.vocabulary_)
    for options, message in (
        ({"top_k": size + 1}, f"top_k from 1 to the {size} tokens of the vocabulary, got {size + 1}"),
        ({"top_k": 0}, "top_k from 1"), ({"top_p": 0.0}, "top_p in"), ({"top_p": 1.5}, "top_p in"),
        ({"temperature": -1.0}, "temperature >= 0"), ({"n": -1}, "n, temperature >= 0"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=message):
            words.generate(**{"n": 5, **options})
    for options, message in (
        ({"level": "letter"}, "level in"), ({"window": 0}, "window >= 1"), ({"optimizer": "magic"}, "optimizer in"),
        ({"epochs": 0}, "epochs >= 1"), ({"cell": "xyz"}, "cell in"), ({"cutoffs": (99,)}, "cutoffs that rise"),
        ({"validation_fraction": 0.0, "early_stopping": True}, "needs validation data"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=message):
            model(**options).fit(sentences(30))
