"""Beam search: the most probable strings of a model that gives one token after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from deepcore.errors import ArgumentError, NumericalError, ShapeError, counted

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
LengthPenalty = float | Literal["mean"]

_POSITIVE = 1e-3  # what rounding may add to a log-probability of 0


class Selectable(Protocol):
    """The state of a model for several rows, one for each string that grows; `RecurrentState` is one."""

    def select(self, index: Ints, /) -> Any:
        """The state whose row i is row index[i] of this one; rows may come twice or not at all."""
        ...


State = TypeVar("State", bound=Selectable)
Step = Callable[[Ints, State], tuple[npt.NDArray[Any], State]]


class Hypothesis(NamedTuple):
    """A string that `beam_search` found."""

    tokens: tuple[int, ...]  # without first and end
    log_probability: float  # of the tokens, and of the end if there is one
    score: float  # log_probability over the length penalty
    finished: bool  # False: cut off at max_length


def length_factor(n: int, length_penalty: LengthPenalty) -> float:
    """What the log-probability of n tokens is divided by: ((5 + n) / 6)^a (Wu et al., 2016, eq. 14); n for 'mean'."""
    return float(n) if length_penalty == "mean" else float(((5.0 + n) / 6.0) ** length_penalty)


def beam_search(
    step: Step[State], state: State, first: npt.ArrayLike, *, end: int, beam: int, max_length: int,
    length_penalty: LengthPenalty = 1.0,
) -> list[list[Hypothesis]]:  # fmt: skip
    """For each of n inputs up to `beam` strings, best first: those that ended by falling score, then those cut off.

    At each step all strings of an input that grow are continued by every token, and the `beam` most probable of these
    go on. Those that end are set aside. An input is done when `beam` strings have ended and none that grows could still
    get a better score than the worst of them, whatever comes: probabilities only fall, so the bound of a score is the
    present log-probability over the penalty at `max_length`. With beam=1 that is greedy search. Of equal strings the
    one whose beginning was better comes first, then that of the smaller token.
    Source: Wu et al., "Google's neural machine translation system", 2016, section 7; Graves, 2012.

    Args:
        step: tokens int64 (rows,) and the state -> log-probabilities (rows, vocabulary), float32 or float64, of the
            next token, and the new state. -inf forbids a token.
        state: with a row for each input.
        first: the token before the first one, of each input (n,).
        end: the token that ends a string.
        beam: how many strings of an input grow, and how many come back at most.
        max_length: tokens of a string at most, its end included.
        length_penalty: a of ((5 + n) / 6)^a, at least 0, by which log-probabilities of n tokens (the end included) are
            divided; 0 compares plain sums; 'mean' divides by n.

    Raises:
        ArgumentError: a number is out of range, or the beam wider than the vocabulary.
        ShapeError: `first` or what `step` gives has another shape.
        NumericalError: a row has no finite log-probability, or one above 0.
    """
    name = "beam_search"
    tokens = np.asarray(first)
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise ShapeError(f"{name}: expected first tokens (n,), whole numbers, got {tokens.dtype} {tokens.shape}")
    check_search(name, beam, max_length, length_penalty)
    tokens = tokens.astype(np.int64)
    done: list[list[Hypothesis]] = [[] for _ in tokens]
    owners = np.arange(len(tokens))  # the input of each row
    sums = np.zeros(len(tokens))
    strings = np.zeros((len(tokens), 0), np.int64)
    longest = length_factor(max_length, length_penalty)
    for n in range(1, max_length + 1):
        if not len(owners):
            break
        logs, state = step(tokens, state)
        logs = _checked(name, logs, len(owners), beam, end)
        parents, tokens, sums = _best(logs, sums, owners, beam)
        ended, factor = tokens == end, length_factor(n, length_penalty)
        for i in np.flatnonzero(ended):
            string, total = strings[parents[i]].tolist(), float(sums[i])
            kept = done[owners[parents[i]]]
            kept.append(Hypothesis(tuple(string), total, total / factor, True))
            kept.sort(key=lambda h: -h.score)  # stable: of equal scores the one that ended first
            del kept[beam:]
        inputs = owners[parents]
        # An infinite worst score keeps every input that has not yet enough strings.
        worst = np.array([kept[-1].score if len(kept) == beam else -np.inf for kept in done])
        best = np.full(len(done), -np.inf)
        np.maximum.at(best, inputs[~ended], sums[~ended] / longest)
        going = ~ended & (best > worst)[inputs]
        parents, tokens, sums, owners = parents[going], tokens[going], sums[going], inputs[going]
        strings = np.concatenate([strings[parents], tokens[:, None]], 1)
        if len(parents):
            state = state.select(parents)
    factor = length_factor(max_length, length_penalty)
    for owner, total, string in zip(owners.tolist(), sums.tolist(), strings.tolist()):  # rows stand best first
        if len(done[owner]) < beam:
            done[owner].append(Hypothesis(tuple(string), total, total / factor, False))
    return done


def check_search(name: str, beam: int, max_length: int, length_penalty: LengthPenalty) -> None:
    """ArgumentError, which begins with `name`, for options of `beam_search` out of range."""
    for what, value in (("beam", beam), ("max_length", max_length)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ArgumentError(f"{name}: expected {what} >= 1, a whole number, got {value!r}")
    number = isinstance(length_penalty, (int, float, np.number)) and not isinstance(length_penalty, bool)
    if length_penalty != "mean" and not (number and 0 <= float(length_penalty) < np.inf):
        raise ArgumentError(f"{name}: expected length_penalty >= 0 or 'mean', got {length_penalty!r}")


def _checked(name: str, logs: Any, rows: int, beam: int, end: int) -> Floats:
    found = np.asarray(logs, np.float64)
    if found.ndim != 2 or found.shape[0] != rows:
        raise ShapeError(f"{name}: expected log-probabilities ({rows}, vocabulary) from step, got {found.shape}")
    vocabulary = found.shape[1]
    if beam > vocabulary:
        raise ArgumentError(
            f"{name}: expected a beam no wider than the vocabulary of {counted(vocabulary, 'token')}, got {beam}"
        )
    if not 0 <= end < vocabulary:
        raise ArgumentError(f"{name}: expected end in 0..{vocabulary - 1}, got {end}")
    top = found.max(1)
    if not ((top > -np.inf) & (top <= _POSITIVE)).all():
        bad = int(np.flatnonzero(~((top > -np.inf) & (top <= _POSITIVE)))[0])
        raise NumericalError(
            f"{name}: expected log-probabilities from -inf to 0, a finite one in each row, got {top[bad]} as the "
            f"largest of row {bad}"
        )
    return found


def _best(logs: Floats, sums: Floats, owners: npt.NDArray[Any], beam: int) -> tuple[npt.NDArray[Any], Ints, Floats]:
    """(rows, tokens, sums) of the `beam` most probable continuations of each input, best first in each."""
    kept = np.partition(logs, -beam, axis=1)[:, -beam]  # no token below can be among the best of its input
    rows, tokens = np.nonzero((logs >= kept[:, None]) & (logs > -np.inf))
    totals = sums[rows] + logs[rows, tokens]
    order = np.lexsort((-totals, owners[rows]))  # stable: ties stay in the order of rows and tokens
    inputs = owners[rows[order]]
    starts = np.flatnonzero(np.r_[True, inputs[1:] != inputs[:-1]])
    rank = np.arange(len(inputs)) - np.repeat(starts, np.diff(np.r_[starts, len(inputs)]))
    order = order[rank < beam]
    return rows[order], tokens[order].astype(np.int64), totals[order]


__all__ = ["Hypothesis", "LengthPenalty", "Selectable", "beam_search", "check_search", "length_factor"]
