"""SequenceTagger: recurrent nets that tag every token of a sentence."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deepcore import ops
from deepcore.data import SequenceDataset, Vocabulary
from deepcore.device import resolve_device
from deepcore.errors import ArgumentError, DataError, DtypeError
from deepcore.estimators.base import check_lengths
from deepcore.estimators.supervised import softmax_rows
from deepcore.estimators.text_base import (
    PADDING,
    SPECIALS,
    TextEstimator,
    WordDropout,
    check_sequences,
    check_tokens,
)  # fmt: skip
from deepcore.models.text import TaggerNet
from deepcore.nn import Module
from deepcore.staging import tensor_of
from deepcore.tensor import Tensor, as_tensor

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

_NO_TAG = -1
_FEATURE_COUNT = 2  # rarer prefixes, suffixes and shapes are unknown


class TagScores(NamedTuple):
    """Shares of tokens with the right tag, NaN where there are none, and how many of them were unknown."""

    accuracy: float
    known: float  # of tokens that the vocabulary holds
    unknown: float
    tokens: int
    unknown_tokens: int


class _Task:
    """Batches (ids (b, t, k + 1), lengths (b,)) with tag + 1 last and 0 as padding: the mean over valid tokens."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def step(self, model: Module, batch: tuple[Array, ...]) -> tuple[Tensor, dict[str, float]]:
        """Loss and share of right tags of one batch."""
        device = model.device
        features = batch[0].shape[2] - 1
        ids = ops.narrow(tensor_of(batch, 0, device), 2, 0, features)
        tags = np.ascontiguousarray(batch[0][..., features].T) - 1  # (t, b)
        outputs = model(ids, tensor_of(batch, 1, device))
        loss = ops.softmax_cross_entropy(
            outputs, as_tensor(tags).to(device), label_smoothing=self.label_smoothing, ignore_label=_NO_TAG
        )
        right = (np.asarray(outputs.numpy()).argmax(-1) == tags).sum()  # no tag is -1
        return loss, {"accuracy": float(right / max((tags != _NO_TAG).sum(), 1))}


def word_shape(word: str) -> str:
    """Case of the letters, digits, hyphen and dot of a word: one of a few dozen shapes.

    'x' for lower case, 'Xx' for one capital at the start, 'X' for capitals alone, 'XxX' and 'xX' for capitals elsewhere
    too, nothing without letters; then 'd' for digits beside letters and 'dd' for digits alone; then '-' and '.' if they
    are there and the word is not a mark alone.
    """
    letters = [c for c in word if c.isalpha()]
    capitals = sum(c.isupper() for c in letters)
    first = word[:1].isupper()
    if not capitals:
        case = "x" if letters else ""
    elif first and capitals == 1:
        case = "Xx"
    elif capitals == len(letters):
        case = "X"
    else:
        case = "XxX" if first else "xX"
    digits = any(c.isdigit() for c in word)
    marks = "".join(mark for mark in "-." if mark in word and len(word) > 1)
    return case + ("" if not digits else "d" if letters else "dd") + marks


class SequenceTagger(TextEstimator):
    """A bidirectional recurrent net that gives each token of a sentence a tag.

    A token is known by its word, its first and last letters and its shape (case, digits, hyphen, dot), each with an
    embedding of its own; after the net one dense layer with a softmax decides for each token. The loss is the mean over
    all tokens of a batch; padding counts nowhere. Words that training shows once become `<unk>` with the probability
    `word_dropout`, so that the net learns what to make of words that it doesn't know.

    Args:
        lower: whether words, prefixes and suffixes are lowered; the shape keeps the case.
        min_count, max_size: of the vocabulary: rarer words are left out, and how many are kept at most.
        prefixes, suffixes: lengths of the first and last letters that are features.
        shape: whether the shape is one.
        embedding, feature_embedding: sizes of the embedding of a word, and of each of the other features.
        embedding_dropout: probability of dropping each value of the embeddings.
        word_dropout: see above.
        cell: a name in `deepcore.ops.rnn.CELLS`: 'lstm', 'gru', 'mgu', 'tanh', ...
        hidden, layers, bidirectional: of the recurrent net.
        dropout: before the decision, and between layers.
        label_smoothing, optimizer, learning_rate, weight_decay, clip_norm, schedule, batch_size, epochs,
        validation_fraction, early_stopping, patience, max_seconds, ema, random_state, verbose, device:
            as in `MLPClassifier`; batches are of sentences.

    Attributes:
        tags_ (k,): the tags, sorted. vocabulary_: the words it knows. feature_vocabularies_: those of the other
        features. history_: one dict per epoch, whose accuracies are means over batches. model_: the net.
    """

    _kind = "tagger"

    def __init__(
        self, *, lower: bool = True, min_count: int = 1, max_size: int | None = None,
        prefixes: Sequence[int] = (1, 2, 3), suffixes: Sequence[int] = (1, 2, 3, 4), shape: bool = True,
        embedding: int = 64, feature_embedding: int = 16, embedding_dropout: float = 0.2, word_dropout: float = 0.5,
        cell: str = "lstm", hidden: int = 64, layers: int = 1, bidirectional: bool = True, dropout: float = 0.3,
        label_smoothing: float = 0.0, optimizer: str = "adam", learning_rate: float = 3e-3, weight_decay: float = 0.0,
        clip_norm: float | None = 5.0, schedule: Any = None, batch_size: int = 16, epochs: int = 10,
        validation_fraction: float = 0.0, early_stopping: bool = False, patience: int = 3,
        max_seconds: float | None = None, ema: float | None = None, random_state: int | None = None,
        verbose: bool = False, device: str = "auto",
    ) -> None:  # fmt: skip
        self.lower = lower
        self.min_count = min_count
        self.max_size = max_size
        self.prefixes = prefixes
        self.suffixes = suffixes
        self.shape = shape
        self.embedding = embedding
        self.feature_embedding = feature_embedding
        self.embedding_dropout = embedding_dropout
        self.word_dropout = word_dropout
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.schedule = schedule
        self.batch_size = batch_size
        self.epochs = epochs
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.patience = patience
        self.max_seconds = max_seconds
        self.ema = ema
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    tags_: Array
    model_: TaggerNet
    feature_vocabularies_: list[Vocabulary]

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in ("prefixes", "suffixes"):
            if any(not isinstance(n, (int, np.integer)) or n < 1 for n in getattr(self, name)):
                raise ArgumentError(f"SequenceTagger: expected {name} of lengths >= 1, got {getattr(self, name)!r}")
        if self.feature_embedding < 1:
            raise ArgumentError(f"SequenceTagger: expected feature_embedding >= 1, got {self.feature_embedding!r}")

    # ---- sentences ----
    def _sentences(self, x: Any) -> list[list[str]]:
        owner = type(self).__name__
        sentences = check_sequences(x, owner, "sentence")
        return [check_tokens(tokens, owner, "sentence", i) for i, tokens in enumerate(sentences)]

    def _tag_lists(self, sentences: list[list[str]], y: Any) -> list[list[Any]]:
        """The tags of each sentence, as many as it has tokens."""
        owner = type(self).__name__
        if y is None:
            raise ArgumentError(f"{owner}: requires y to be passed, but the target y is None")
        rows = check_sequences(y, owner, "list of tags")
        check_lengths(sentences, rows)  # type: ignore[arg-type]
        found: list[list[Any]] = []
        for i, (tokens, tags) in enumerate(zip(sentences, rows)):
            if isinstance(tags, str) or not hasattr(tags, "__len__"):
                raise DtypeError(f"{owner}: expected a sequence of tags for sentence {i}, got {type(tags).__name__}")
            if len(tags) != len(tokens):
                raise ArgumentError(
                    f"{owner}: expected {len(tokens)} tags, one for each token, got {len(tags)} for sentence {i}"
                )
            found.append(list(tags))
        return found

    def _words(self, tokens: Sequence[str]) -> list[str]:
        return [t.lower() for t in tokens] if self.lower else list(tokens)

    def _features(self, token: str) -> list[str]:
        """Prefixes, suffixes and shape of a token."""
        word = token.lower() if self.lower else token
        parts = [word[:n] for n in self.prefixes] + [word[-n:] for n in self.suffixes]
        return parts + [word_shape(token)] if self.shape else parts

    def _encoded(self, sentences: Sequence[Sequence[str]]) -> list[Ints]:
        """Numbers of words and features, (t, k) for each sentence."""
        known: dict[str, list[int]] = {}  # features of a token, looked up once

        def numbers(token: str) -> list[int]:
            if token not in known:
                values = zip(self.feature_vocabularies_, self._features(token))
                known[token] = [int(v.encode([f])[0]) for v, f in values]
            return known[token]

        return [
            np.column_stack([self.vocabulary_.encode(self._words(s)), np.array([numbers(t) for t in s], np.int64)])
            if s and self.feature_vocabularies_
            else self.vocabulary_.encode(self._words(s))[:, None]
            for s in sentences
        ]

    def _task(self) -> _Task:
        return _Task(self.label_smoothing)

    def _begin(self, sentences: list[list[str]], seed: int) -> None:
        counts = Counter(word for tokens in sentences for word in self._words(tokens))
        self.vocabulary_ = Vocabulary(
            counts, min_count=int(self.min_count), max_size=self.max_size, specials=SPECIALS
        )  # fmt: skip
        found: list[Counter[str]] = [Counter() for _ in self._features("")]
        for token, n in Counter(t for tokens in sentences for t in tokens).items():
            for feature, value in zip(found, self._features(token)):
                feature[value] += n
        self.feature_vocabularies_ = [Vocabulary(c, min_count=_FEATURE_COUNT, specials=SPECIALS) for c in found]
        self.__dict__.pop("trainer_", None)
        self._build(seed)

    def _build(self, seed: int) -> None:
        tables = [(len(self.vocabulary_), int(self.embedding))]
        tables += [(len(v), int(self.feature_embedding)) for v in self.feature_vocabularies_]
        self.model_ = TaggerNet(tables, int(self.hidden), len(self.tags_), seed=seed, **self._net_options())
        self.model_.to(resolve_device(self.device))

    def _transform(self, seed: int) -> WordDropout | None:
        if not self.word_dropout:
            return None
        once = np.array(self.vocabulary_.counts) == 1
        once[PADDING] = False
        return WordDropout(np.where(once, self.word_dropout, 0.0), seed)

    def _data(self, sentences: list[list[str]], tags: list[list[Any]]) -> SequenceDataset:
        """Sentences with their tags as last column, tag + 1, so that padding is 0 there too."""
        number = {tag: i + 1 for i, tag in enumerate(self.tags_.tolist())}
        rows = []
        for i, (ids, row) in enumerate(zip(self._encoded(sentences), tags)):
            if len(ids) == 0:
                raise DataError(
                    f"SequenceTagger: expected at least one token in each sentence, got none in sentence {i}"
                )
            unknown = [t for t in row if _plain(t) not in number]
            if unknown:
                raise ArgumentError(
                    f"SequenceTagger: tag {unknown[0]!r} of sentence {i} is not among {list(number)[:20]}"
                )
            rows.append(np.column_stack([ids, np.array([number[_plain(t)] for t in row], np.int64)]))
        return SequenceDataset(rows)

    # ---- scikit-learn ----
    def fit(
        self, X: Any, y: Any, *, validation_data: tuple[Any, Any] | None = None,
        checkpoint: str | os.PathLike[str] | None = None, resume: bool = False,
    ) -> SequenceTagger:  # fmt: skip
        """Train on n sentences, lists of tokens, and their tags, lists as long; returns self.

        validation_data: (sentences, tags) for val_loss and val_accuracy, instead of validation_fraction.
        checkpoint: file written after each epoch and on Ctrl-C; resume=True goes on from it.
        DataError names a sentence without tokens.
        """
        self._check_parameters()
        sentences = self._sentences(X)
        tags = self._tag_lists(sentences, y)
        self.tags_ = np.unique([_plain(t) for row in tags for t in row])
        if len(self.tags_) < 2:
            raise ArgumentError(f"SequenceTagger: expected at least 2 tags, got one: {self.tags_.tolist()}")
        seed = self._seed()
        self._begin(sentences, seed)
        held = None
        if validation_data is not None:
            others = self._sentences(validation_data[0])
            held = self._data(others, self._tag_lists(others, validation_data[1]))
        self._train_on(self._data(sentences, tags), None, seed, validation=held, transform=self._transform(seed),
                    checkpoint=checkpoint, resume=resume)  # fmt: skip
        return self

    def predict_proba(self, X: Any) -> list[Array]:
        """For each sentence probabilities (t, k) of the tags, in the order of tags_."""
        self._check_fitted()
        sentences = self._sentences(X)
        found: list[Array] = [np.zeros((0, len(self.tags_)))] * len(sentences)
        full = [i for i, s in enumerate(sentences) if s]
        if full:
            for places, lengths, outputs in self._in_batches(self._encoded([sentences[i] for i in full])):
                for column, (place, n) in enumerate(zip(places, lengths)):
                    found[full[place]] = softmax_rows(outputs[:n, column])
        return found

    def predict(self, X: Any) -> list[list[Any]]:
        """The most probable tag of each token, a list for each sentence; [] for a sentence without tokens."""
        return [self.tags_[p.argmax(1)].tolist() if len(p) else [] for p in self.predict_proba(X)]

    def score(self, X: Any, y: Any) -> float:
        """Share of tokens with the right tag."""
        return self.scores(X, y).accuracy

    def scores(self, X: Any, y: Any) -> TagScores:
        """Shares of right tags of all tokens, of those that the vocabulary holds, and of the others."""
        sentences = self._sentences(X)
        truth = self._tag_lists(sentences, y)
        right = np.array([a == b for s, t in zip(self.predict(sentences), truth) for a, b in zip(s, t)], np.bool_)
        known = np.array([w in self.vocabulary_ for s in sentences for w in self._words(s)], np.bool_)

        def share(chosen: Array) -> float:
            return float(right[chosen].mean()) if chosen.any() else float("nan")

        return TagScores(share(np.ones_like(known)), share(known), share(~known), len(right), int((~known).sum()))

    def report(self, path: str | os.PathLike[str], X: Any, y: Any, *, title: str | None = None) -> None:
        """Write one self-contained HTML file about this tagger on test sentences: scores, learning curves, confusion of
        tags, most frequent mistakes, and sentences with their tags. Needs the viz extra."""
        from deepcore.viz.documents import tagger_report

        self._check_fitted()
        tagger_report(self, path, X, y, title=title)

    def __sklearn_tags__(self) -> Any:
        """Facts for scikit-learn (only called by it)."""
        tags = super().__sklearn_tags__()
        tags.estimator_type = None
        return tags

    # ---- files ----
    def _fitted_meta(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return {"tags": self.tags_.tolist(), "tags_dtype": self.tags_.dtype.str,
                "vocabulary": self.vocabulary_.state_dict(),
                "features": [v.state_dict() for v in self.feature_vocabularies_]}, {}  # fmt: skip

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.tags_ = np.asarray(meta["tags"], dtype=np.dtype(meta["tags_dtype"]))
        self.vocabulary_ = Vocabulary.from_state(meta["vocabulary"])
        self.feature_vocabularies_ = [Vocabulary.from_state(v) for v in meta["features"]]
        self._build(0)
        self.n_iter_ = len(self.history_)


def _plain(tag: Any) -> Any:
    """A tag as Python has it: equal tags of numpy and Python are one."""
    return tag.item() if isinstance(tag, np.generic) else tag
