from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore.data import SPECIALS, StreamLoader, Tokenizer, Vocabulary, batchify, pad_sequences
from deepcore.errors import ArgumentError, CheckpointError, DataError, DtypeError, ShapeError

# Tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I don't think it's so.", ["I", "do", "n't", "think", "it", "'s", "so", "."]),
        ("They'll say we’ve won't", ["They", "'ll", "say", "we", "’ve", "wo", "n't"]),
        ("O'Brien's o'clock rock'n'roll", ["O'Brien", "'s", "o'clock", "rock'n'roll"]),
        ("3,000.50 at 10:30, not 1990s 3rd", ["3,000.50", "at", "10:30", ",", "not", "1990s", "3rd"]),
        ("1, 2. (3)", ["1", ",", "2", ".", "(", "3", ")"]),
        ("well-known -- yes... no!?", ["well-known", "--", "yes", "...", "no", "!", "?"]),
        ("CAN'T a_b", ["CA", "N'T", "a", "_", "b"]),
        ("cafe\u0301 ça", ["café", "ça"]),
        (" \n\t", []),
    ],
)
def test_words(text: str, tokens: list[str]) -> None:
    assert Tokenizer("word")(text) == tokens
    assert "".join(tokens) == "".join(__import__("unicodedata").normalize("NFC", text).split())


def test_lower_case_and_joining() -> None:
    tokenizer = Tokenizer(lower=True)
    text = "well, it isn't (quite) $5: 'no' 50%."
    assert tokenizer("Well, IT") == ["well", ",", "it"]
    assert tokenizer.join(tokenizer(text)) == text.replace("'no'", "' no '")
    assert tokenizer(tokenizer.join(tokenizer(text))) == tokenizer(text)


def test_characters_come_back() -> None:
    text = "Don't\n  stop\u0301 \U0001f600"
    tokenizer = Tokenizer("char")
    assert tokenizer(text) == list(text) and tokenizer.join(tokenizer(text)) == text
    assert Tokenizer("char", lower=True)("AB") == ["a", "b"]


def test_tokenizer_refuses() -> None:
    with pytest.raises(ArgumentError, match="got 'line'"):
        Tokenizer("line")
    with pytest.raises(DtypeError, match="expected a text, got list"):
        Tokenizer()(["a"])  # type: ignore[arg-type]


# Vocabularies


def test_order_limits_and_specials() -> None:
    text = ["b", "b", "a", "a", "c", "c", "c", "d", "<unk>"]
    vocabulary = Vocabulary(text)
    assert vocabulary.tokens == [*SPECIALS, "c", "a", "b", "d"]
    assert vocabulary.counts == [0, 1, 0, 0, 3, 2, 2, 1]
    assert vocabulary.tokens == Vocabulary(Counter(text)).tokens == Vocabulary(reversed(text)).tokens
    assert Vocabulary(text, min_count=2).tokens == [*SPECIALS, "c", "a", "b"]
    assert Vocabulary(text, max_size=6).tokens == [*SPECIALS, "c", "a"]
    assert Vocabulary("hello", specials=()).tokens == ["l", "e", "h", "o"]
    assert len(vocabulary) == 8 and "a" in vocabulary and "z" not in vocabulary and vocabulary["<eos>"] == 3


def test_encode_and_decode() -> None:
    vocabulary = Vocabulary(["a", "a", "b"])
    text = ["a", "z", "b", "y", "z"]
    ids = vocabulary.encode(text, bos=True, eos=True)
    assert ids.dtype == np.int64 and ids.tolist() == [2, 4, 1, 5, 1, 1, 3]
    assert vocabulary.unknown(text) == {"z": 2, "y": 1}
    assert vocabulary.decode(ids) == ["<bos>", "a", "<unk>", "b", "<unk>", "<unk>", "<eos>"]
    assert vocabulary.decode([2, 4, 1, 3, 4, 0], specials=False) == ["a", "<unk>"]
    assert vocabulary.encode([]).shape == (0,) and vocabulary.decode([]) == []
    with pytest.raises(DataError, match=r"expected tokens among the 6 of the vocabulary, got 'z' at 1"):
        vocabulary.encode(text, unknown=False)
    with pytest.raises(DataError, match="got 'x' at 2"):
        Vocabulary("ab", specials=("<pad>",)).encode("abx")
    with pytest.raises(DataError, match="got '<bos>'"):
        Vocabulary("ab", specials=()).encode("ab", bos=True)
    with pytest.raises(DataError, match=r"expected numbers in 0\.\.5, got 6 at 1"):
        vocabulary.decode([0, 6])
    with pytest.raises(DtypeError, match="got float64"):
        vocabulary.decode([0.5])
    with pytest.raises(ShapeError, match=r"got \(1, 2\)"):
        vocabulary.decode([[0, 1]])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Vocabulary("ab", specials=("<s>",)), ArgumentError, "expected specials among"),
        (lambda: Vocabulary("ab", specials=("<pad>", "<pad>")), ArgumentError, "each once"),
        (lambda: Vocabulary("ab", min_count=0), ArgumentError, "min_count >= 1"),
        (lambda: Vocabulary("ab", max_size=3), ArgumentError, "max_size >= 4"),
        (lambda: Vocabulary({"a": 1.5}), DtypeError, "'a': 1.5"),  # type: ignore[dict-item]
        (lambda: Vocabulary([1, 2]), DtypeError, "1: 1"),  # type: ignore[list-item]
    ],
)
def test_vocabulary_refuses(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_vocabulary_file(tmp_path: Path) -> None:
    vocabulary = Vocabulary(["é", "\n", '"', "\ud800", "é"], specials=("<unk>", "<eos>"))
    vocabulary.save(tmp_path / "v.json")
    again = Vocabulary.load(tmp_path / "v.json")
    assert (again.tokens, again.counts, again.specials) == (vocabulary.tokens, vocabulary.counts, vocabulary.specials)
    assert again.encode(["\n", "?"]).tolist() == vocabulary.encode(["\n", "?"]).tolist()
    content = json.loads((tmp_path / "v.json").read_text())
    for changes in ({"format": "x"}, {"tokens": ["<unk>", "<eos>", "a", "a", "b", "c"]}, {"counts": [1]},
                    {"specials": ["<eos>", "<unk>"]}, {"specials": [[]]}, {"tokens": None}, {"counts": [1.5] * 6},
                    {"counts": [-1] * 6}):  # fmt: skip
        (tmp_path / "bad.json").write_text(json.dumps({**content, **changes}))
        with pytest.raises(DataError, match=r"expected .*bad\.json"):
            Vocabulary.load(tmp_path / "bad.json")
    for data in (b"", b"\xff", b"[" * 100_000, b"[1]", (tmp_path / "v.json").read_bytes()[:-1]):
        (tmp_path / "bad.json").write_bytes(data)
        with pytest.raises(DataError, match=r"expected .*bad\.json"):
            Vocabulary.load(tmp_path / "bad.json")


# Padding and streams


def test_padding() -> None:
    padded, lengths = pad_sequences([[1, 2, 3], np.array([4], np.uint8)], padding=9)
    assert padded.dtype == lengths.dtype == np.int64
    assert padded.tolist() == [[1, 2, 3], [4, 9, 9]] and lengths.tolist() == [3, 1]
    padded, lengths = pad_sequences([[1, 2, 3], [4]], batch_first=False, max_length=2)
    assert padded.tolist() == [[1, 4], [2, 0]] and lengths.tolist() == [2, 1] and padded.flags.c_contiguous


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pad_sequences([]), DataError, "at least one sequence"),
        (lambda: pad_sequences([[1], []]), DataError, "got none at 1"),
        (lambda: pad_sequences([[1], [[2]]]), ShapeError, r"got \(1, 1\) at 1"),
        (lambda: pad_sequences([[1.5]]), DtypeError, "got float64"),
        (lambda: pad_sequences([[1]], max_length=0), ArgumentError, "max_length >= 1"),
        (lambda: batchify(np.arange(5), 3), DataError, "expected at least 6 tokens for 3 streams, got 5"),
        (lambda: batchify(np.arange(5), 0), ArgumentError, "batch >= 1"),
        (lambda: batchify([[1, 2]], 1), ShapeError, r"got \(1, 2\)"),
        (lambda: StreamLoader([1, 2], 1), ShapeError, r"got \(2,\)"),
        (lambda: StreamLoader([[1], [2]], 1), DataError, "at least two steps"),
        (lambda: StreamLoader([[1, 2]], 0), ArgumentError, "steps >= 1"),
    ],
)
def test_padding_and_streams_refuse(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_streams_are_contiguous_and_windows_leave_no_gap() -> None:
    streams = batchify(np.arange(23), 2)
    assert streams.tolist() == [list(range(11)), list(range(11, 22))]
    loader = StreamLoader(streams, 4)
    windows = list(loader)
    assert len(windows) == len(loader) == 3 and [x.shape for x, _ in windows] == [(2, 4), (2, 4), (2, 2)]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in windows], 1), streams[:, :-1])
    np.testing.assert_array_equal(np.concatenate([y for _, y in windows], 1), streams[:, 1:])
    x, y = next(iter(StreamLoader(streams, 4, batch_first=False)))
    assert x.tolist() == [[0, 11], [1, 12], [2, 13], [3, 14]] and x.flags.c_contiguous and y.flags.c_contiguous
    assert (y == x + 1).all()
    assert [x.shape[1] for x, _ in StreamLoader(streams, 5)] == [5, 5]


@pytest.mark.parametrize("stop", range(1, 8))
def test_resuming_is_exact(stop: int) -> None:
    def run(loader: StreamLoader, windows: int) -> list[list[Any]]:
        found: list[list[Any]] = []
        while len(found) < windows:
            for x, y in loader:
                found.append([x.tolist(), y.tolist(), loader.epoch, loader.batch])
                if len(found) == windows:
                    break
        return found

    streams = batchify(np.arange(23), 2)
    whole = run(StreamLoader(streams, 4), 9)
    first = StreamLoader(streams, 4)
    assert run(first, stop) == whole[:stop]
    state = json.loads(json.dumps(first.state_dict()))
    second = StreamLoader(streams, 4)
    second.load_state_dict(state)
    assert run(second, 9 - stop) == whole[stop:]


def test_an_iteration_left_early_starts_anew() -> None:
    loader = StreamLoader([[1, 2, 3, 4]], 1)
    first = [next(iter(loader))[0].item() for _ in range(2)]
    assert first == [1, 1] and len(list(loader)) == 3 and loader.epoch == 1


def test_states_of_other_streams_are_refused() -> None:
    loader = StreamLoader([[1, 2, 3, 4]], 1)
    for changes in ({"steps": 2}, {"length": 5}, {"streams": 2}, {"batch": 3}, {"batch": -1}, {"epoch": "0"}):
        with pytest.raises(CheckpointError, match="expected"):
            loader.load_state_dict({**loader.state_dict(), **changes})


def test_windows_for_training_tell_which_is_first() -> None:
    loader = StreamLoader(batchify(np.arange(40), 4), 4, batch_first=False)
    assert loader.samples == 36 and len(loader) == 3
    batches = list(loader.batches())
    assert [b[2].tolist() for b in batches] == [[True], [False], [False]]
    assert [loader.count(b) for b in batches] == [16, 16, 4] and loader.epoch == 1
    assert next(loader.batches())[2].tolist() == [True]  # left early: the epoch begins anew
    assert next(loader.batches())[2].tolist() == [True]
    state = loader.state_dict()
    again = StreamLoader(loader.streams, 4, batch_first=False)
    again.load_state_dict(state)
    x, y, first = next(again.batches())
    assert first.tolist() == [False] and x[0].tolist() == [4, 14, 24, 34] and y[0].tolist() == [5, 15, 25, 35]


def test_vocabulary_from_its_state() -> None:
    made = Vocabulary(["a", "b", "a", "c"], specials=("<unk>",))
    again = Vocabulary.from_state(made.state_dict())
    assert again.tokens == made.tokens and again.counts == made.counts and again.encode(["z"]).tolist() == [0]
    for damaged in ({}, {**made.state_dict(), "counts": [1]}, {**made.state_dict(), "specials": ["a"]}):
        with pytest.raises(DataError, match="tokens without repetition"):
            Vocabulary.from_state(damaged)
