"""Seq2Seq: what it learns, that padding and company change nothing, resumption, files, errors by name."""

from __future__ import annotations

import copy
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import Seq2Seq, data
from deepcore.errors import ArgumentError, CheckpointError, DataError, DtypeError, NotFittedError, NumericalError
from deepcore.optim import OneCycle


class Interrupting(OneCycle):
    """Ctrl-C at a step."""

    def __init__(self, steps: int, at: int) -> None:
        super().__init__(steps)
        self.at = at

    def factor(self, step: int) -> float:
        if step == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        return super().factor(step)

    def state_dict(self) -> dict[str, Any]:
        return {"type": "OneCycle"}


SMALL: dict[str, Any] = {"embedding": 16, "hidden": 32, "random_state": 0}


def reversals(n: int, seed: int, letters: str = "abcdef", most: int = 7) -> tuple[list[str], list[str]]:
    """Strings and what they are backwards."""
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list(letters), rng.integers(1, most + 1))) for _ in range(n)]
    return words, [word[::-1] for word in words]


@pytest.fixture(scope="module")
def model() -> Seq2Seq:
    """A model of reversal that is good, not perfect."""
    return Seq2Seq(**SMALL, epochs=8, learning_rate=0.01, batch_size=32).fit(*reversals(1500, 0))


def test_dates_are_learnt() -> None:
    x, y = data.dates(3500, seed=0)
    model = Seq2Seq(cell="gru", attention="additive", epochs=6, batch_size=32, random_state=0).fit(x, y)
    test = data.dates(400, seed=1)
    assert model.score(*test) >= 0.95
    assert model.history_[-1]["val_exact"] >= 0.95
    assert model.bleu(*test).bleu4 > 0.97


@pytest.mark.parametrize("options", [
    {"attention": "dot", "cell": "gru"}, {"attention": "additive", "bidirectional": False, "reverse": True},
    {"layers": 2, "tied": True, "embedding": 24}, {"input_feeding": True, "cell": "mgu"}, {"shared": True},
    {"attention": None, "bidirectional": False, "tied": True, "cell": "lstm", "hidden": 48, "epochs": 16},
], ids=str)  # fmt: skip
def test_every_kind_of_net_learns_to_reverse(options: dict[str, Any]) -> None:
    x, y = reversals(1500, 0, "abcd", 5)
    model = Seq2Seq(**{**SMALL, "epochs": 8, "learning_rate": 0.01, "batch_size": 32, **options}).fit(x, y)
    assert model.score(*reversals(200, 1, "abcd", 5)) >= 0.9


@pytest.mark.parametrize("kind", ["linear", "exponential", "inverse-sigmoid"])
def test_scheduled_sampling_learns(kind: str) -> None:
    model = Seq2Seq(**SMALL, epochs=8, learning_rate=0.01, batch_size=32, scheduled_sampling=kind, final_teaching=0.3)
    model.fit(*reversals(1200, 0, "abcd", 5))
    assert model.score(*reversals(200, 1, "abcd", 5)) >= 0.9


def test_scheduled_sampling_is_a_function_of_the_seed() -> None:
    def fitted(**options: Any) -> np.ndarray[Any, Any]:
        model = Seq2Seq(**SMALL, epochs=1, scheduled_sampling="linear", final_teaching=0.1, dropout=0.0, **options)
        return np.array(model.fit(*reversals(300, 0)).model_.output.bias.numpy())

    assert (fitted() == fitted()).all()
    other = Seq2Seq(**SMALL, epochs=1, dropout=0.0).fit(*reversals(300, 0)).model_.output.bias.numpy()
    assert (fitted() != other).any()


def test_attention_is_a_distribution_over_the_source(model: Seq2Seq) -> None:
    x, y = reversals(40, 3)
    weights = model.attention_weights(x, y)
    assert [w.shape for w in weights] == [(len(b) + 1, len(a)) for a, b in zip(x, y)]
    for w in weights:
        assert (w >= 0).all()
        np.testing.assert_allclose(w.sum(1), 1, rtol=1e-5)  # nothing is left for padding
    long = [w for w in weights if w.shape[1] >= 5]
    hits = [w[:-1].argmax(1)[i] == w.shape[1] - 1 - i for w in long for i in range(w.shape[1])]
    assert np.mean(hits) > 0.8  # step i reads the letter that it writes
    for a, b in zip(model.attention_weights(x), model.attention_weights(x, model.predict(x))):
        np.testing.assert_array_equal(a, b)


def test_attention_of_reversed_sources_is_in_their_order() -> None:
    x, y = reversals(1500, 0)
    model = Seq2Seq(**SMALL, epochs=8, learning_rate=0.01, batch_size=32, reverse=True).fit(x, y)
    w = model.attention_weights(["abcdef"], ["fedcba"])[0]
    assert (w[:6].argmax(1) == np.arange(6)[::-1]).mean() > 0.8


@pytest.mark.parametrize("options", [{}, {"attention": "additive"}, {"attention": None}, {"input_feeding": True}],
                         ids=str)  # fmt: skip
def test_company_and_padding_change_rounding_at_most(options: dict[str, Any]) -> None:
    """Sums of a softmax over longer rows and of products with fewer rows go in another order: no equal bits."""
    x, y = reversals(60, 0, most=12)
    model = Seq2Seq(**SMALL, epochs=1, **options).fit(x, y)
    together = model.log_probability(x, y)
    alone = np.array([model.log_probability([a], [b])[0] for a, b in zip(x, y)])
    np.testing.assert_allclose(together, alone, rtol=2e-5, atol=2e-5)
    assert (together == model.log_probability(x, y)).all()
    if model.attention:
        for i, w in enumerate(model.attention_weights(x, y)):
            np.testing.assert_allclose(w, model.attention_weights([x[i]], [y[i]])[0], atol=2e-5)
    order = np.random.default_rng(0).permutation(len(x))
    mixed = model.log_probability([x[i] for i in order], [y[i] for i in order])
    np.testing.assert_allclose(mixed, together[order], rtol=2e-5, atol=2e-5)


def test_the_search_gives_the_probabilities_of_teaching(model: Seq2Seq) -> None:
    x, _ = reversals(30, 5)
    for beam in (1, 4):
        found = model.candidates(x, beam=beam)
        for rank in range(beam):
            sources = [a for a, c in zip(x, found) if c[rank].finished]
            chosen = [c[rank] for c in found if c[rank].finished]
            # Greedy search may end at once, yet an empty target cannot be asked for.
            pairs = [(a, c) for a, c in zip(sources, chosen) if c.output]
            logs = model.log_probability([a for a, _ in pairs], [str(c.output) for _, c in pairs])
            np.testing.assert_allclose([c.log_probability for _, c in pairs], logs, rtol=1e-4, atol=1e-4)


def test_beams(model: Seq2Seq) -> None:
    x, y = reversals(50, 6)
    greedy, wide = model.candidates(x, beam=1), model.candidates(x, beam=6)
    assert [c[0].output for c in greedy] == model.predict(x)
    assert all(len(c) == 6 for c in wide)
    for found in wide:
        scores = [c.score for c in found if c.finished]
        assert scores == sorted(scores, reverse=True)
        assert len({c.output for c in found}) == len(found)
    assert np.mean([a[0].score <= b[0].score + 1e-6 for a, b in zip(greedy, wide)]) > 0.95
    own = copy.deepcopy(model).set_params(beam=6)
    assert own.predict(x) == [c[0].output for c in wide]
    assert own.score(x, y) >= model.score(x, y) - 0.05
    plain = model.candidates(x[:1], beam=2, length_penalty=0.0)[0][0]
    assert plain.score == plain.log_probability
    mean = model.candidates(x[:1], beam=2, length_penalty="mean")[0][0]
    assert mean.score == pytest.approx(mean.log_probability / (len(mean.output) + 1))


def test_outputs_that_do_not_end_are_cut_off() -> None:
    model = Seq2Seq(**SMALL, epochs=9, max_length=3, learning_rate=0.02).fit(["a"] * 20, ["bbbbbbbb"] * 20)
    (found,) = model.candidates(["a"], beam=1)
    assert not found[0].finished and len(found[0].output) == 3
    assert model.predict(["a"]) == [found[0].output]
    assert len(model.set_params(max_length=None).candidates(["a"], beam=1)[0][0].output) <= 18 == 2 * model.longest_
    assert len(model.set_params(max_length=2).predict(["a"])[0]) == 2
    with pytest.raises(ArgumentError, match="expected max_length >= 1, a whole number, got 0"):
        model.set_params(max_length=0).predict(["a"])


def test_words_and_lists_of_tokens() -> None:
    rng = np.random.default_rng(0)
    numbers = ["one", "two", "three", "four"]
    x = [list(rng.choice(numbers, rng.integers(1, 4))) for _ in range(300)]
    y = [[str(numbers.index(t) + 1) for t in row] for row in x]
    options = {**SMALL, "epochs": 10, "learning_rate": 0.02, "batch_size": 16}
    lists = Seq2Seq(**options).fit(x, y)
    assert lists.predict([["two", "four"]]) == [["2", "4"]]
    texts = Seq2Seq("word", **options).fit([" ".join(r) for r in x], [" ".join(r) for r in y])
    assert texts.predict(["two four"]) == ["2 4"]
    mixed = Seq2Seq("space", target_level="char", **options).fit([" ".join(r) for r in x], ["".join(r) for r in y])
    assert mixed.predict(["two four"]) == ["24"]
    assert lists.score(x, y) == texts.score([" ".join(r) for r in x], [" ".join(r) for r in y]) == 1.0


@pytest.mark.parametrize("options", [
    {}, {"scheduled_sampling": "exponential", "final_teaching": 0.4},
    {"early_stopping": True, "ema": 0.9, "input_feeding": True, "layers": 2},
], ids=str)  # fmt: skip
def test_resumed_training_has_the_same_bits(options: dict[str, Any], tmp_path: Path) -> None:
    x, y = reversals(200, 0)  # 6 steps an epoch
    options = {**SMALL, "epochs": 3, "batch_size": 32, "dropout": 0.2, **options}
    whole = Seq2Seq(**options, schedule=OneCycle(18)).fit(x, y)
    with pytest.raises(KeyboardInterrupt):
        Seq2Seq(**options, schedule=Interrupting(18, 8)).fit(x, y, checkpoint=tmp_path / "c")
    resumed = Seq2Seq(**options, schedule=OneCycle(18)).fit(x, y, checkpoint=tmp_path / "c", resume=True)
    assert whole.trainer_.optimizer.steps == resumed.trainer_.optimizer.steps == 18
    a, b = whole.model_.state_dict(), resumed.model_.state_dict()
    assert all((a[name] == b[name]).all() for name in a)
    assert [r["loss"] for r in whole.history_] == [r["loss"] for r in resumed.history_]


def test_saved_and_loaded(model: Seq2Seq, tmp_path: Path) -> None:
    x, y = reversals(20, 7)
    model.save(tmp_path / "m")
    loaded = Seq2Seq.load(tmp_path / "m")
    assert loaded.get_params() == model.get_params() and loaded.history_ == model.history_
    assert loaded.predict(x) == model.predict(x)
    assert (loaded.log_probability(x, y) == model.log_probability(x, y)).all()
    assert loaded.longest_ == model.longest_
    with pytest.raises(CheckpointError, match="expected a LanguageModel, got Seq2Seq"):
        dc.LanguageModel.load(tmp_path / "m")
    options = {**SMALL, "epochs": 1, "length_penalty": "mean", "shared": True, "scheduled_sampling": "linear"}
    other = Seq2Seq(**options).fit([["a", "b"]] * 3, [["b", "a"]] * 3)
    other.save(tmp_path / "o")
    again = Seq2Seq.load(tmp_path / "o")
    assert again.get_params() == other.get_params() and again.predict([["a"]]) == other.predict([["a"]])
    assert again.source_vocabulary_ is again.target_vocabulary_


def test_partial_fit_learns_and_keeps_the_tokens() -> None:
    x, y = reversals(600, 0, "abcd", 4)
    model = Seq2Seq(**SMALL, learning_rate=0.01, batch_size=32)
    for _ in range(8):
        model.partial_fit(x, y)
    assert model.n_iter_ == 8 and model.score(*reversals(100, 1, "abcd", 4)) > 0.8
    with pytest.raises(DataError, match=r"source 0: .*got 'z' at 1"):
        model.partial_fit(["az"], ["a"])
    given = (
        data.Vocabulary("abcdz", specials=("<pad>",)),
        data.Vocabulary("abcdz", specials=("<pad>", "<bos>", "<eos>")),
    )
    started = Seq2Seq(**SMALL).partial_fit(x, y, vocabularies=given)
    assert started.partial_fit(["az"], ["za"]).n_iter_ == 2
    assert started.longest_ == 5 and started.partial_fit(["az"], ["zazazaz"]).longest_ == 8
    with pytest.raises(ArgumentError, match=r"one vocabulary for both sides with shared=True, got 6 and 8 tokens"):
        Seq2Seq(**SMALL, shared=True).partial_fit(x, y, vocabularies=given)
    with pytest.raises(ArgumentError, match="expected vocabularies with <pad>, of targets <bos> and <eos> too"):
        Seq2Seq(**SMALL).partial_fit(x, y, vocabularies=(given[0], given[0]))
    with pytest.raises(ArgumentError, match="expected scheduled_sampling None"):
        Seq2Seq(**SMALL, scheduled_sampling="linear").partial_fit(x, y)


def test_partial_fit_goes_on_from_fit() -> None:
    x, y = reversals(100, 0)
    model = Seq2Seq(**SMALL, epochs=2, scheduled_sampling="linear", early_stopping=True).fit(x, y)
    model.set_params(scheduled_sampling=None).partial_fit(x, y)
    assert model.n_iter_ == len(model.history_) == 3
    assert model.trainer_.task.decay is None and model.trainer_.schedule is None


def test_rare_tokens_are_read_and_never_written() -> None:
    x = [["a", "b"], ["b", "a"]] * 10 + [["a", "q"]]
    model = Seq2Seq(**SMALL, epochs=2, min_count=2).fit(x, x)
    assert "q" not in model.source_vocabulary_ and "<unk>" in model.target_vocabulary_
    found = model.candidates([["a", "never seen"]], beam=4)[0]
    assert all(token in "ab" for c in found for token in c.output)
    assert np.isfinite(model.log_probability([["q"]], [["q"]]))


def test_scikit_learn_clones_and_searches() -> None:
    base = pytest.importorskip("sklearn.base")
    selection = pytest.importorskip("sklearn.model_selection")
    x, y = reversals(60, 0)
    model = Seq2Seq(**SMALL, epochs=1, length_penalty="mean")
    assert base.clone(model).get_params() == model.get_params()
    search = selection.GridSearchCV(model, {"cell": ["lstm", "gru"]}, cv=2).fit(x, y)
    assert search.best_params_["cell"] in ("lstm", "gru")
    assert "hidden=32" in repr(model) and "parameters" in search.best_estimator_.summary()


@pytest.mark.parametrize(("options", "message"), [
    ({"beam": 10}, r"expected a beam no wider than the target vocabulary of 9 tokens, got 10"),
    ({"beam": 0}, "expected beam >= 1"), ({"max_length": 0}, "expected max_length >= 1"),
    ({"length_penalty": -1.0}, "expected length_penalty >= 0 or 'mean', got -1.0"),
    ({"level": "byte"}, "expected level in .*, got 'byte'"), ({"target_level": "byte"}, "expected target_level in"),
    ({"attention": "hard"}, "expected attention None or in .*, got 'hard'"), ({"cell": "qrnn"}, "expected cell in"),
    ({"hidden": 7}, "expected an even hidden for two directions, got 7"), ({"embedding": 0}, "expected embedding >= 1"),
    ({"dropout": 1.0}, r"expected dropout in \[0, 1\)"),
    ({"input_feeding": True, "attention": None}, "input_feeding goes with attention"),
    ({"scheduled_sampling": "cosine"}, "expected a decay in .*, got 'cosine'"),
    ({"scheduled_sampling": "exponential", "final_teaching": 0.0}, r"final probability in \(0, 1\)"),
    ({"epochs": 0}, "expected epochs >= 1"), ({"optimizer": "best"}, "expected optimizer in"),
    ({"early_stopping": True, "validation_fraction": 0.0}, "early_stopping needs validation data"),
])  # fmt: skip
def test_options_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Seq2Seq(**{**SMALL, **options}).fit(*reversals(20, 0))


def test_bad_data_are_named(model: Seq2Seq) -> None:
    fresh = Seq2Seq(**SMALL)
    with pytest.raises(DataError, match="expected at least one token in each source, got none in source 1"):
        fresh.fit(["a", ""], ["a", "b"])
    with pytest.raises(DataError, match="expected at least one token in each target, got none in target 0"):
        fresh.fit(["a", "b"], [[], ["b"]])
    with pytest.raises(ArgumentError, match="X has 2, y 1"):
        fresh.fit(["a", "b"], ["a"])
    with pytest.raises(ArgumentError, match="expected a sequence of sources, got str"):
        fresh.fit("ab", ["a"])
    with pytest.raises(ArgumentError, match="expected at least one source, got none"):
        fresh.fit([], [])
    with pytest.raises(ArgumentError, match="requires y to be passed"):
        fresh.fit(["a"], None)
    with pytest.raises(DtypeError, match="expected texts as tokens of source 0, got int: 3"):
        fresh.fit([[3]], ["a"])
    with pytest.raises(DataError, match="expected no token '<eos>', got it in target 0"):
        fresh.fit(["a"], [["a", "<eos>"]])
    with pytest.raises(DataError, match=r"source 1: Vocabulary: .*got 'z' at 2"):
        model.predict(["ab", "abz"])
    with pytest.raises(DataError, match=r"target 0: Vocabulary: .*got 'z' at 0"):
        model.log_probability(["ab"], ["z"])
    with pytest.raises(DataError, match="got none in source 0"):
        model.predict([""])
    with pytest.raises(ArgumentError, match="no wider than the target vocabulary of 9 tokens, got 50"):
        model.candidates(["ab"], beam=50)
    with pytest.raises(NotFittedError):
        fresh.predict(["a"])
    with pytest.raises(ArgumentError, match="expected a net with attention, got attention=None"):
        Seq2Seq(**SMALL, epochs=1, attention=None).fit(["a"], ["b"]).attention_weights(["a"])


def test_an_exploding_loss_is_named() -> None:
    with pytest.raises(NumericalError, match=r"Seq2Seq: the loss of .* at step \d+ is more than 20 times|not finite"):
        Seq2Seq(**SMALL, optimizer="sgd", learning_rate=1e4, clip_norm=None, schedule=None, epochs=20).fit(
            *reversals(300, 0)
        )


def test_threads_do_not_change_the_result() -> None:
    x, y = reversals(120, 0)
    before = dc.get_num_threads()
    try:
        found = []
        for threads in (1, 3):
            dc.set_num_threads(threads)
            found.append(Seq2Seq(**SMALL, epochs=1).fit(x, y).model_.state_dict())
    finally:
        dc.set_num_threads(before)
    assert all((found[0][name] == found[1][name]).all() for name in found[0])
