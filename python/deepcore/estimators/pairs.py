"""What an estimator of pairs of token sequences knows of tokens: reading, two vocabularies, numbers and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deepcore.data import PairDataset, Vocabulary
from deepcore.data.text import BOS, EOS, PAD, UNK
from deepcore.errors import ArgumentError, DataError
from deepcore.estimators.base import check_lengths
from deepcore.estimators.text_base import LEVELS, TextEstimator, check_sequences, check_tokens, cutter, joiner

Ints = npt.NDArray[np.int64]
Output = str | list[str]

_RESERVED = (PAD, BOS, EOS)  # tokens that texts cannot have


class Candidate(NamedTuple):
    """One of the outputs of a beam search."""

    output: Output  # a text or a list of tokens, as the targets in training
    log_probability: float  # natural logarithm of p(output | source), of its end too
    score: float  # log_probability over the length penalty
    finished: bool  # False: cut off at the highest length


class PairEstimator(TextEstimator):
    """Subclasses provide the parameters named here and learn targets from sources."""

    level: str
    target_level: str | None
    shared: bool
    reverse: bool

    source_vocabulary_: Vocabulary
    target_vocabulary_: Vocabulary
    text_: bool  # whether targets are texts, not lists of tokens

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name, level in (("level", self.level), ("target_level", self._target_level)):
            if level not in LEVELS:
                raise ArgumentError(f"{type(self).__name__}: expected {name} in {LEVELS}, got {level!r}")

    @property
    def _target_level(self) -> str:
        return self.level if self.target_level is None else self.target_level

    # ---- reading ----
    def _sources(self, x: Any) -> list[list[str]]:
        return self._read(x, "source", self.level)[0]

    def _targets(self, y: Any) -> tuple[list[list[str]], bool]:
        if y is None:
            raise ArgumentError(f"{type(self).__name__}: requires y to be passed, but the target y is None")
        return self._read(y, "target", self._target_level)

    def _read(self, values: Any, what: str, level: str) -> tuple[list[list[str]], bool]:
        """The tokens of n texts or lists of tokens, and whether they were texts."""
        owner = type(self).__name__
        rows = check_sequences(values, owner, what)
        cut, found = cutter(level), []
        for i, row in enumerate(rows):
            found.append(cut(row) if isinstance(row, str) else check_tokens(row, owner, what, i))
            if not found[-1]:
                raise DataError(f"{owner}: expected at least one token in each {what}, got none in {what} {i}")
            reserved = [t for t in found[-1] if t in _RESERVED]
            if reserved:
                raise DataError(f"{owner}: expected no token {reserved[0]!r}, got it in {what} {i}")
        return found, isinstance(rows[0], str)

    def _pairs(self, x: Any, y: Any) -> tuple[list[list[str]], list[list[str]], bool]:
        """Tokens of n sources and of their targets, and whether the targets were texts."""
        sources, (targets, text) = self._sources(x), self._targets(y)
        check_lengths(sources, targets)  # type: ignore[arg-type]
        return sources, targets, text

    # ---- numbers ----
    def _vocabularies(self, sources: list[list[str]], targets: list[list[str]]) -> tuple[Vocabulary, Vocabulary]:
        def made(rows: list[list[str]], specials: Sequence[str]) -> Vocabulary:
            counts = Counter(token for row in rows for token in row)
            unknown = self.min_count > 1 or self.max_size is not None or UNK in counts
            return Vocabulary(counts, min_count=int(self.min_count), max_size=self.max_size,
                              specials=[s for s in specials if s != UNK or unknown])  # fmt: skip

        if self.shared:
            both = made(sources + targets, (PAD, UNK, BOS, EOS))
            return both, both
        return made(sources, (PAD, UNK)), made(targets, (PAD, UNK, BOS, EOS))

    def _encoded(self, rows: Sequence[Sequence[str]], vocabulary: Vocabulary, what: str, eos: bool) -> list[Ints]:
        found = []
        for i, tokens in enumerate(rows):
            try:
                found.append(vocabulary.encode(tokens, eos=eos))
            except DataError as error:
                raise DataError(f"{type(self).__name__}: {what} {i}: {error}") from None
        return found

    def _source_ids(self, rows: Sequence[Sequence[str]]) -> list[Ints]:
        ids = self._encoded(rows, self.source_vocabulary_, "source", False)
        return [np.ascontiguousarray(row[::-1]) for row in ids] if self.reverse else ids

    def _target_ids(self, rows: Sequence[Sequence[str]]) -> list[Ints]:
        return self._encoded(rows, self.target_vocabulary_, "target", True)

    def _output(self, ids: Sequence[int]) -> Output:
        tokens = self.target_vocabulary_.decode(list(ids))
        return joiner(self._target_level)(tokens) if self.text_ else tokens

    def _data(self, sources: list[list[str]], targets: list[list[str]]) -> PairDataset:
        return PairDataset(self._source_ids(sources), self._target_ids(targets))


__all__ = ["Candidate", "Output", "PairEstimator"]
