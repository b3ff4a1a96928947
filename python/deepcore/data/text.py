"""Text for nets: tokens, vocabularies, padded batches."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepcore.data.source import open_source
from deepcore.errors import ArgumentError, DataError, DtypeError, ShapeError, counted
from deepcore.files import atomic_write

Ints = NDArray[np.int64]

LEVELS = ("char", "word")
PAD, UNK, BOS, EOS = SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>")

_FORMAT = "deepcore vocabulary 1"
_MAX_BYTES = 1 << 30
_WORD = re.compile(
    r"""
    \d+(?:[.,:]\d+)*(?![^\W_])                    # 3  1,234.5  10:30
    | [^\W_]+?(?=n['’]t\b) | n['’]t\b             # do n't
    | ['’](?:s|m|d|ll|re|ve)\b                    # 's  'll
    | [^\W_]+(?:-[^\W_]+ | ['’](?!(?:s|m|d|ll|re|ve|t)\b)[^\W_]+)*  # word  well-known  o'clock
    | \.{2,} | -{2,} | \S
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NO_SPACE_BEFORE = re.compile(r"[.,;:!?%)\]}…]+|n['’]t|['’](?:s|m|d|ll|re|ve)", re.IGNORECASE)
_NO_SPACE_AFTER = frozenset("([{$£€")


class Tokenizer:
    """Cuts text into tokens.

    'char': every character is a token, and `join` gives the text back exactly. 'word': words, numbers and marks of
    punctuation are tokens, spaces are not; contractions come apart as in the Penn Treebank ("don't" is "do", "n't";
    "it's" is "it", "'s"), hyphenated words do not; composed characters are used (Unicode NFC).

    Args:
        level: 'char' or 'word'.
        lower: change to lower case first.

    Raises:
        ArgumentError: another level.
    """

    def __init__(self, level: str = "word", *, lower: bool = False) -> None:
        if level not in LEVELS:
            raise ArgumentError(f"Tokenizer: expected level in {LEVELS}, got {level!r}")
        self.level, self.lower = level, lower

    def __call__(self, text: str) -> list[str]:
        """The tokens of a text."""
        if not isinstance(text, str):
            raise DtypeError(f"Tokenizer: expected a text, got {type(text).__name__}")
        if self.lower:
            text = text.lower()
        return list(text) if self.level == "char" else _WORD.findall(unicodedata.normalize("NFC", text))

    def join(self, tokens: Iterable[str]) -> str:
        """A text of these tokens. Words: single spaces, but none before marks that end something or in contractions."""
        if self.level == "char":
            return "".join(tokens)
        pieces: list[str] = []
        for token in tokens:
            if pieces and not _NO_SPACE_BEFORE.fullmatch(token) and pieces[-1] not in _NO_SPACE_AFTER:
                pieces.append(" ")
            pieces.append(token)
        return "".join(pieces)


class Vocabulary:
    """The tokens that a net knows, numbered: specials first, then by falling count, equal counts in alphabetical order.

    Args:
        counts: how often each token occurs, or the tokens of a corpus, which are counted.
        min_count: leave out rarer tokens.
        max_size: keep at most so many tokens, specials included.
        specials: some of `SPECIALS`, '<pad>', '<unk>', '<bos>', '<eos>'. Without '<unk>' each token must be known.

    Raises:
        ArgumentError: a number is out of range, or a special is unknown or given twice.
        DtypeError: a token is no text, or a count no whole number.
    """

    def __init__(
        self, counts: Mapping[str, int] | Iterable[str], *, min_count: int = 1, max_size: int | None = None,
        specials: Sequence[str] = SPECIALS,
    ) -> None:  # fmt: skip
        if len(set(specials)) != len(specials) or not set(specials) <= set(SPECIALS):
            raise ArgumentError(f"Vocabulary: expected specials among {SPECIALS}, each once, got {tuple(specials)}")
        least = max(len(specials), 1)
        if min_count < 1 or (max_size is not None and max_size < least):
            raise ArgumentError(
                f"Vocabulary: expected min_count >= 1 and max_size >= {least}, got {min_count}, {max_size}"
            )
        table = dict(counts) if isinstance(counts, Mapping) else Counter(counts)
        for token, count in table.items():
            if not isinstance(token, str) or not isinstance(count, (int, np.integer)) or isinstance(count, bool):
                raise DtypeError(f"Vocabulary: expected texts and whole numbers, got {token!r}: {count!r}")
        words = [t for t, c in table.items() if c >= min_count and t not in specials]
        words.sort(key=lambda t: (-table[t], t))
        tokens = [*specials, *words][:max_size]
        self._set(tokens, [int(table.get(t, 0)) for t in tokens], tuple(specials))

    def _set(self, tokens: list[str], counts: list[int], specials: tuple[str, ...]) -> None:
        self.tokens, self.counts, self.specials = tokens, counts, specials
        self._ids = {token: i for i, token in enumerate(tokens)}

    def __len__(self) -> int:
        """Number of tokens."""
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def __getitem__(self, token: str) -> int:
        """The number of a token.

        Raises:
            DataError: it is not in the vocabulary.
        """
        if token not in self._ids:
            raise DataError(f"Vocabulary: expected one of {counted(len(self), 'token')}, got {token!r}")
        return self._ids[token]

    def encode(self, tokens: Iterable[str], *, bos: bool = False, eos: bool = False, unknown: bool = True) -> Ints:
        """Numbers (n,) of tokens, those outside the vocabulary as '<unk>'; `unknown` counts them.

        Args:
            tokens: n of them.
            bos: begin with '<bos>': one number more.
            eos: end with '<eos>'.
            unknown: False refuses tokens outside the vocabulary, as a vocabulary without '<unk>' always does.

        Raises:
            DataError: a token is outside and must not be.
        """
        other = self._ids.get(UNK) if unknown and UNK in self.specials else None
        ids = [self[BOS]] if bos else []
        for i, token in enumerate(tokens):
            number = self._ids.get(token, other)
            if number is None:
                raise DataError(
                    f"Vocabulary: expected tokens among the {len(self)} of the vocabulary, got {token!r} at {i}"
                )
            ids.append(number)
        if eos:
            ids.append(self[EOS])
        return np.array(ids, np.int64)

    def unknown(self, tokens: Iterable[str]) -> Counter[str]:
        """The tokens outside the vocabulary, and how often each occurs."""
        return Counter(token for token in tokens if token not in self._ids)

    def decode(self, ids: ArrayLike, *, specials: bool = True) -> list[str]:
        """The tokens of numbers (n,). specials=False leaves out '<pad>', '<bos>', '<eos>', and what follows an '<eos>'.

        Raises:
            DataError: a number is not one of a token.
        """
        numbers = whole_numbers("Vocabulary", ids)
        if numbers.ndim != 1:
            raise ShapeError(f"Vocabulary: expected numbers of shape (n,), got {numbers.shape}")
        bad = (numbers < 0) | (numbers >= len(self))
        if bad.any():
            where = int(bad.argmax())
            raise DataError(f"Vocabulary: expected numbers in 0..{len(self) - 1}, got {numbers[where]} at {where}")
        found = [self.tokens[i] for i in numbers.tolist()]
        if specials:
            return found
        if EOS in self.specials and EOS in found:
            found = found[: found.index(EOS)]
        return [t for t in found if t == UNK or t not in self.specials]

    def state_dict(self) -> dict[str, Any]:
        """Specials, tokens and counts, as JSON values."""
        return {"specials": list(self.specials), "tokens": self.tokens, "counts": self.counts}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Vocabulary:
        """The vocabulary that gave `state_dict`.

        Raises:
            DataError: it is damaged.
        """
        tokens, counts, specials = (state.get(key) for key in ("tokens", "counts", "specials"))
        if not (
            isinstance(tokens, list) and isinstance(counts, list) and isinstance(specials, list)
            and all(isinstance(t, str) for t in tokens) and len(set(tokens)) == len(tokens) == len(counts)
            and all(type(c) is int and c >= 0 for c in counts)
            and specials == tokens[: len(specials)] and set(specials) <= set(SPECIALS)
        ):  # fmt: skip
            raise DataError("Vocabulary: expected tokens without repetition, specials first, with counts")
        made = cls.__new__(cls)
        made._set(tokens, counts, tuple(specials))
        return made

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file; a reader sees the old one or the whole new one."""
        content = {"format": _FORMAT, **self.state_dict()}
        with atomic_write(path) as file:
            file.write(json.dumps(content).encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Read what `save` wrote.

        Raises:
            DataError: the file holds something else.
        """
        with open_source(path, _MAX_BYTES) as source:
            data = source.read()
        try:
            content = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise DataError(f"Vocabulary: expected JSON, got {error} in {os.fspath(path)}") from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise DataError(f"Vocabulary: expected the format {_FORMAT!r}, got another file: {os.fspath(path)}")
        try:
            return cls.from_state(content)
        except DataError as error:
            raise DataError(f"{error}, in {os.fspath(path)}") from None


def pad_sequences(
    sequences: Sequence[ArrayLike], *, padding: int = 0, max_length: int | None = None, batch_first: bool = True
) -> tuple[Ints, Ints]:
    """Sequences of b different lengths as one array: (padded (b, t), lengths (b,)), both int64.

    Args:
        sequences: whole numbers, each sequence (t_i,) with t_i >= 1.
        padding: what fills the ends.
        max_length: longer sequences lose their ends; default the longest.
        batch_first: False puts time first, (t, b).

    Raises:
        DataError: there is no sequence, or an empty one.
        ShapeError: a sequence has another rank.
        DtypeError: a sequence has other numbers than whole ones.
    """
    name = "pad_sequences"
    if max_length is not None and max_length < 1:
        raise ArgumentError(f"{name}: expected max_length >= 1, got {max_length}")
    if len(sequences) == 0:
        raise DataError(f"{name}: expected at least one sequence, got none")
    rows = []
    for i, sequence in enumerate(sequences):
        row = np.asarray(sequence)
        if row.ndim != 1:
            raise ShapeError(f"{name}: expected sequences of shape (t,), got {row.shape} at {i}")
        if len(row) == 0:
            raise DataError(f"{name}: expected at least one step, got none at {i}")
        rows.append(whole_numbers(name, row)[:max_length])
    lengths = np.array([len(row) for row in rows], np.int64)
    padded = np.full((len(rows), int(lengths.max())), padding, np.int64)
    for into, row in zip(padded, rows):
        into[: len(row)] = row
    return (padded if batch_first else np.ascontiguousarray(padded.T)), lengths


def whole_numbers(name: str, value: ArrayLike) -> Ints:
    """A value as int64; DtypeError, which begins with `name`, unless its numbers are whole."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu" and array.size > 0:
        raise DtypeError(f"{name}: expected whole numbers, got {array.dtype}")
    return array.astype(np.int64, copy=False)


__all__ = ["SPECIALS", "Tokenizer", "Vocabulary", "pad_sequences"]
