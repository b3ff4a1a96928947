"""Text for nets: tokens, vocabularies, padded batches, streams of tokens in windows for truncated backpropagation."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepcore.data.source import open_source
from deepcore.errors import ArgumentError, CheckpointError, DataError, DtypeError, ShapeError, counted
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
        numbers = _whole("Vocabulary", ids)
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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file; a reader sees the old one or the whole new one."""
        content = {"format": _FORMAT, "specials": self.specials, "tokens": self.tokens, "counts": self.counts}
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
        tokens, counts, specials = (content.get(key) for key in ("tokens", "counts", "specials"))
        if not (
            isinstance(tokens, list) and isinstance(counts, list) and isinstance(specials, list)
            and all(isinstance(t, str) for t in tokens) and len(set(tokens)) == len(tokens) == len(counts)
            and all(type(c) is int and c >= 0 for c in counts)
            and specials == tokens[: len(specials)] and set(specials) <= set(SPECIALS)
        ):  # fmt: skip
            raise DataError(
                f"Vocabulary: expected tokens without repetition, specials first, with counts, in {os.fspath(path)}"
            )
        made = cls.__new__(cls)
        made._set(tokens, counts, tuple(specials))
        return made


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
        rows.append(_whole(name, row)[:max_length])
    lengths = np.array([len(row) for row in rows], np.int64)
    padded = np.full((len(rows), int(lengths.max())), padding, np.int64)
    for into, row in zip(padded, rows):
        into[: len(row)] = row
    return (padded if batch_first else np.ascontiguousarray(padded.T)), lengths


def batchify(tokens: ArrayLike, batch: int) -> Ints:
    """A long sequence of tokens (n,) cut into contiguous streams (batch, n // batch); the rest is left out.

    Raises:
        DataError: there are fewer than two tokens for a stream.
    """
    ids = _whole("batchify", tokens)
    if ids.ndim != 1:
        raise ShapeError(f"batchify: expected tokens of shape (n,), got {ids.shape}")
    if batch < 1:
        raise ArgumentError(f"batchify: expected batch >= 1, got {batch}")
    steps = len(ids) // batch
    if steps < 2:
        raise DataError(f"batchify: expected at least {2 * batch} tokens for {batch} streams, got {len(ids)}")
    return ids[: batch * steps].reshape(batch, steps)


class StreamLoader:
    """Iterate over windows (inputs (b, t), targets (b, t)) of streams (b, n); targets are the tokens one step later.

    Windows follow one another without a gap, so that the state of a recurrent net goes on from each to the next; it
    begins anew with an epoch, when `batch` was 0. The last window of an epoch may be shorter. An iteration that is left
    early starts its epoch anew next time, except after `load_state_dict`, which goes on exactly where the state was
    taken.

    Args:
        streams: tokens, as `batchify` gives them.
        steps: t, the length of a window.
        batch_first: False puts time first, (t, b).

    Raises:
        ShapeError: the streams have another rank.
        DataError: they have fewer than two steps.
        ArgumentError: steps < 1.
    """

    def __init__(self, streams: ArrayLike, steps: int, *, batch_first: bool = True) -> None:
        self.streams = _whole("StreamLoader", streams)
        if self.streams.ndim != 2:
            raise ShapeError(f"StreamLoader: expected streams of shape (b, n), got {self.streams.shape}")
        if self.streams.shape[0] < 1 or self.streams.shape[1] < 2:
            raise DataError(f"StreamLoader: expected streams of at least two steps, got shape {self.streams.shape}")
        if steps < 1:
            raise ArgumentError(f"StreamLoader: expected steps >= 1, got {steps}")
        self.steps = steps
        self.batch_first = batch_first
        self._epoch = 0
        self._batch = 0  # windows of this epoch that were handed out
        self._resume = 0  # where the next iteration begins

    def __len__(self) -> int:
        """Number of windows in an epoch."""
        positions: int = self.streams.shape[1] - 1
        return -(-positions // self.steps)

    @property
    def epoch(self) -> int:
        """The epoch of the next window: it goes up when the last window of an epoch is handed out."""
        return self._epoch

    @property
    def batch(self) -> int:
        """How many windows of this epoch were handed out."""
        return self._batch

    def __iter__(self) -> Iterator[tuple[Ints, Ints]]:
        """Yield the windows of the current epoch."""
        epoch, start = self._epoch, self._resume
        self._resume = self._batch = 0
        for number in range(start, len(self)):
            first = number * self.steps
            last = min(first + self.steps, self.streams.shape[1] - 1)
            inputs, targets = self.streams[:, first:last], self.streams[:, first + 1 : last + 1]
            if not self.batch_first:
                inputs, targets = inputs.T, targets.T
            # Before the window is handed out, so that a state taken while it is used counts it as used.
            self._epoch, self._batch = (epoch, number + 1) if number + 1 < len(self) else (epoch + 1, 0)
            yield np.ascontiguousarray(inputs), np.ascontiguousarray(targets)

    def state_dict(self) -> dict[str, Any]:
        """Epoch, windows handed out, and what their places depend on; JSON values."""
        return {"epoch": self._epoch, "batch": self._batch, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the window that was the last one when the state was taken.

        Raises:
            CheckpointError: the state comes from streams or windows of other sizes.
        """
        own = self._identity()
        other = {key: state.get(key) for key in own}
        if own != other:
            raise CheckpointError(f"StreamLoader: expected a state of a loader with {own}, got {other}")
        epoch, batch = state.get("epoch"), state.get("batch")
        if not isinstance(epoch, int) or not isinstance(batch, int) or epoch < 0 or not 0 <= batch < len(self):
            raise CheckpointError(
                f"StreamLoader: expected epoch >= 0 and batch in 0..{len(self) - 1}, got {epoch!r} and {batch!r}"
            )
        self._epoch, self._batch, self._resume = epoch, batch, batch

    def _identity(self) -> dict[str, Any]:
        return {"streams": self.streams.shape[0], "length": self.streams.shape[1], "steps": self.steps}


def _whole(name: str, value: ArrayLike) -> Ints:
    array = np.asarray(value)
    if array.dtype.kind not in "iu" and array.size > 0:
        raise DtypeError(f"{name}: expected whole numbers, got {array.dtype}")
    return array.astype(np.int64, copy=False)


__all__ = ["SPECIALS", "StreamLoader", "Tokenizer", "Vocabulary", "batchify", "pad_sequences"]
