"""Beam search against the search of all strings, on models made up of tables."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import deepcore as dc
from deepcore.errors import ArgumentError, NumericalError, ShapeError
from deepcore.models.beam import Hypothesis, beam_search, length_factor
from deepcore.nn.rnn import RecurrentState

END = 0
PENALTIES: list[Any] = [0.0, 0.6, 1.0, 3.0, "mean"]


class Prefixes(NamedTuple):
    """The state of a model that looks at the whole string so far: a number for each."""

    codes: np.ndarray[Any, Any]

    def select(self, index: np.ndarray[Any, Any]) -> Prefixes:
        return Prefixes(self.codes[index])


class Table:
    """log p of the next token as a function of the input and of all tokens before it; `branch` of them are possible."""

    def __init__(self, vocabulary: int, branch: int | None = None, seed: int = 0, sharp: float = 1.5) -> None:
        self.vocabulary, self.branch, self.seed, self.sharp = vocabulary, branch, seed, sharp

    def row(self, code: int) -> np.ndarray[Any, Any]:
        rng = np.random.default_rng([self.seed, code])
        logits = self.sharp * rng.standard_normal(self.vocabulary)
        if self.branch is not None:
            allowed = np.r_[END, 1 + rng.permutation(self.vocabulary - 1)[: self.branch]]
            logits[np.setdiff1d(np.arange(self.vocabulary), allowed)] = -np.inf
        return np.asarray(logits - np.log(np.exp(logits).sum()))

    def step(self, tokens: np.ndarray[Any, Any], state: Prefixes) -> tuple[np.ndarray[Any, Any], Prefixes]:
        codes = state.codes * (self.vocabulary + 1) + tokens + 1
        return np.array([self.row(int(c)) for c in codes]), Prefixes(codes)

    def start(self, n: int) -> Prefixes:
        return Prefixes(np.arange(n) + 1000)

    def every(self, which: int, max_length: int, penalty: Any) -> list[Hypothesis]:
        """All strings of one input, ended ones first, by falling score."""
        found: list[Hypothesis] = []

        def grow(tokens: tuple[int, ...], total: float, state: Prefixes) -> None:
            logs, state = self.step(np.array([tokens[-1] if tokens else 1]), state)
            n = len(tokens) + 1
            for token in np.flatnonzero(logs[0] > -np.inf).tolist():
                summed = total + float(logs[0, token])
                score = summed / length_factor(n, penalty)
                if token == END:
                    found.append(Hypothesis(tokens, summed, score, True))
                elif n == max_length:
                    found.append(Hypothesis((*tokens, token), summed, score, False))
                else:
                    grow((*tokens, token), summed, state)

        grow((), 0.0, Prefixes(np.array([which + 1000])))
        return sorted(found, key=lambda h: (not h.finished, -h.score))


def search(table: Table, n: int, beam: int, max_length: int, penalty: Any = 1.0) -> list[list[Hypothesis]]:
    return beam_search(table.step, table.start(n), np.ones(n, np.int64), end=END, beam=beam, max_length=max_length,
                       length_penalty=penalty)  # fmt: skip


def assert_same(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [(h.tokens, h.finished) for h in found] == [(h.tokens, h.finished) for h in expected]
    np.testing.assert_allclose([h[1:3] for h in found], [h[1:3] for h in expected], rtol=1e-12)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_beam_that_holds_all_strings_finds_the_best_of_all(penalty: Any) -> None:
    table = Table(15, branch=2)  # two tokens or the end: 15 strings of at most 3 tokens
    for which, found in enumerate(search(table, 4, 15, 3, penalty)):
        assert_same(found, table.every(which, 3, penalty))


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("seed", range(5))
def test_no_beam_beats_the_best_of_all_and_wide_ones_find_it(penalty: Any, seed: int) -> None:
    table = Table(40, branch=3, seed=seed)  # 27 strings of 3 tokens grow
    best = [table.every(i, 4, penalty)[0].score for i in range(6)]
    scores = np.array([[h[0].score if h[0].finished else -np.inf for h in search(table, 6, beam, 4, penalty)]
                       for beam in (1, 4, 27, 40)])  # fmt: skip
    assert (scores <= np.array(best) + 1e-12).all()
    assert (scores[0] <= scores[2:] + 1e-12).all()
    np.testing.assert_allclose(scores[3], best, rtol=1e-12)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_beam_of_one_is_greedy_search(penalty: Any) -> None:
    table = Table(7, seed=3)
    for which, (found,) in enumerate(search(table, 20, 1, 12, penalty)):
        state, token, total, tokens = Prefixes(np.array([which + 1000])), 1, 0.0, []
        for n in range(1, 13):  # noqa: B007
            logs, state = table.step(np.array([token]), state)
            token = int(logs[0].argmax())
            total += logs[0, token]
            if token == END:
                break
            tokens.append(token)
        assert found == Hypothesis(tuple(tokens), total, total / length_factor(n, penalty), token == END)


def test_the_string_that_greedy_search_misses_is_found() -> None:
    found = [(search(Table(6, seed=s), 1, 1, 6)[0][0], search(Table(6, seed=s), 1, 6, 6)[0][0]) for s in range(40)]
    better = [wide.score > narrow.score + 1e-9 for narrow, wide in found if narrow.finished]
    assert sum(better) > 5


def test_inputs_do_not_meet() -> None:
    table = Table(6, seed=1)
    together = search(table, 5, 3, 8)
    for which in range(5):
        alone = beam_search(
            table.step, Prefixes(np.array([which + 1000])), [1], end=END, beam=3, max_length=8
        )  # fmt: skip
        assert alone[0] == together[which]


def test_search_goes_on_while_a_longer_string_can_still_win() -> None:
    # The end at once has p = 0.4; the string of four tokens has 0.6 in all and wins under every penalty but is found
    # only if the search does not stop at the first end.
    logs = np.full((4, 4), -np.inf)
    with np.errstate(divide="ignore"):
        logs[1] = np.log([0.4, 0, 0.6, 0])  # after the start
        logs[2] = np.log([0, 0, 0, 1.0])
        logs[3] = np.log([1.0, 0, 0, 0])
    steps = []

    def step(tokens: np.ndarray[Any, Any], state: Prefixes) -> tuple[np.ndarray[Any, Any], Prefixes]:
        steps.append(len(tokens))
        return logs[tokens], state

    state = Prefixes(np.zeros(1, int))
    (found,) = beam_search(step, state, [1], end=END, beam=2, max_length=9)
    assert [h.tokens for h in found] == [(2, 3), ()]
    assert len(steps) == 3  # and no step once two have ended that nothing can beat
    assert found[0].log_probability == pytest.approx(np.log(0.6))


def test_search_ends_as_soon_as_nothing_can_win() -> None:
    logs = np.log(np.array([[0.25, 0.25, 0.5], [0.9, 0.05, 0.05], [0.9, 0.05, 0.05]]))
    steps = []

    def step(tokens: np.ndarray[Any, Any], state: Prefixes) -> tuple[np.ndarray[Any, Any], Prefixes]:
        steps.append(len(tokens))
        return logs[tokens], state

    beam_search(step, Prefixes(np.zeros(1, int)), [1], end=END, beam=1, max_length=50, length_penalty=1.0)
    assert len(steps) == 1
    steps.clear()
    (found,) = beam_search(step, Prefixes(np.zeros(1, int)), [1], end=END, beam=2, max_length=50, length_penalty=0.0)
    assert len(steps) < 5
    assert all(h.finished for h in found)


def test_what_is_cut_off_says_so_and_comes_last() -> None:
    logs = np.log(np.array([[0.1, 0.9]]))
    (found,) = beam_search(
        lambda tokens, state: (np.repeat(logs, len(tokens), 0), state), Prefixes(np.zeros(1, int)), [1],
        end=END, beam=2, max_length=3,
    )  # fmt: skip
    # Two strings have ended, and the one that grows, 0.9 ** 3 by then, is dropped only at max_length.
    assert [h.finished for h in found] == [True, True]
    (found,) = beam_search(
        lambda tokens, state: (np.repeat(logs, len(tokens), 0), state), Prefixes(np.zeros(1, int)), [1],
        end=END, beam=1, max_length=3,
    )  # fmt: skip
    assert found[0].tokens == (1, 1, 1) and not found[0].finished
    assert found[0].score == pytest.approx(3 * np.log(0.9) / (8 / 6))


def test_ties_go_to_the_better_beginning_and_the_smaller_token() -> None:
    logs = np.log(np.full((1, 4), 0.25))
    (found,) = beam_search(
        lambda tokens, state: (np.repeat(logs, len(tokens), 0), state), Prefixes(np.zeros(1, int)), [3],
        end=3, beam=3, max_length=2, length_penalty=0.0,
    )  # fmt: skip
    assert [h.tokens for h in found] == [(0, 0), (0, 1), (0, 2)]


def test_a_recurrent_state_is_selected_by_sequence() -> None:
    h, c = np.arange(12.0).reshape(2, 3, 2), -np.arange(12.0).reshape(2, 3, 2)
    chosen = RecurrentState(dc.tensor(h), dc.tensor(c)).select(np.array([2, 0, 2, 1]))
    np.testing.assert_array_equal(chosen.h.numpy(), h[:, [2, 0, 2, 1]])
    assert chosen.c is not None
    np.testing.assert_array_equal(chosen.c.numpy(), c[:, [2, 0, 2, 1]])
    assert RecurrentState(dc.tensor(h)).select(np.array([1])).c is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 8}, "no wider than the vocabulary of 7 tokens, got 8"),
        ({"beam": 0}, "expected beam >= 1"),
        ({"beam": True}, "expected beam >= 1"),
        ({"max_length": 0}, "expected max_length >= 1"),
        ({"length_penalty": -1.0}, "expected length_penalty >= 0 or 'mean', got -1.0"),
        ({"length_penalty": float("nan")}, "expected length_penalty >= 0"),
        ({"length_penalty": "median"}, "expected length_penalty >= 0 or 'mean', got 'median'"),
        ({"end": 7}, "expected end in 0..6, got 7"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    table = Table(7)
    with pytest.raises(ArgumentError, match=message):
        beam_search(table.step, table.start(2), [1, 1], **{"end": END, "beam": 2, "max_length": 4, **options})


@pytest.mark.parametrize("bad", [np.nan, -np.inf, 0.5])
def test_what_are_no_log_probabilities_is_named(bad: float) -> None:
    logs = np.log(np.full((2, 4), 0.25))
    logs[1] = bad
    with pytest.raises(NumericalError, match="the largest of row 1"):
        beam_search(lambda t, s: (logs, s), Prefixes(np.zeros(2, int)), [1, 1], end=0, beam=2, max_length=3)


def test_shapes_are_named() -> None:
    table = Table(7)
    with pytest.raises(ShapeError, match=r"expected first tokens \(n,\)"):
        beam_search(table.step, table.start(1), [[1]], end=END, beam=2, max_length=3)
    with pytest.raises(ShapeError, match=r"expected log-probabilities \(1, vocabulary\) from step, got \(2, 7\)"):
        beam_search(lambda t, s: (np.zeros((2, 7)), s), table.start(1), [1], end=END, beam=2, max_length=3)
    assert beam_search(table.step, table.start(0), np.zeros(0, int), end=END, beam=2, max_length=3) == []
