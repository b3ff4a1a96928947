"""DocumentClassifier: recurrent nets that classify texts, with scikit-learn's conventions."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import explain, ops, train
from deepcore.data import SequenceDataset, Tokenizer, Vocabulary
from deepcore.device import resolve_device
from deepcore.errors import ArgumentError
from deepcore.estimators.base import check_labels, check_lengths, check_sample_weight, class_factors, encode
from deepcore.estimators.supervised import softmax_rows
from deepcore.estimators.text_base import (
    SPECIALS,
    UNKNOWN,
    TextEstimator,
    WordDropout,
    check_sequences,
    check_tokens,
)  # fmt: skip
from deepcore.models.text import OUTPUTS, DocumentNet
from deepcore.nn import Module
from deepcore.staging import tensor_of
from deepcore.tensor import Tensor, as_tensor

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

TRUNCATIONS = ("first", "last", "both")


class _Task:
    """Batches (ids (b, t), lengths (b,), labels (b,)[, weights (b,)]): weighted softmax cross-entropy and accuracy."""

    def __init__(self, label_smoothing: float) -> None:
        self.label_smoothing = label_smoothing

    def step(self, model: Module, batch: tuple[Array, ...]) -> tuple[Tensor, dict[str, float]]:
        """Loss and accuracy of one batch."""
        device = model.device
        outputs = model(tensor_of(batch, 0, device), tensor_of(batch, 1, device))
        weight = tensor_of(batch, 3, device) if len(batch) > 3 else None
        loss = ops.softmax_cross_entropy(
            outputs, tensor_of(batch, 2, device), label_smoothing=self.label_smoothing, sample_weight=weight
        )
        return loss, {"accuracy": train.accuracy(np.asarray(outputs.numpy()), batch[2])}


class DocumentClassifier(TextEstimator):
    """A recurrent net that classifies documents: texts, or sequences of tokens.

    Texts are cut into tokens (`deepcore.data.Tokenizer`), each a row of a table of embeddings; a recurrent net reads
    them, and one dense layer decides. Tokens that training did not show are `<unk>`; a document without any token
    counts as one `<unk>`.

    Args:
        level, lower: of the tokenizer: 'word' or 'char', and whether upper case is lowered (also in tokens given).
        min_count, max_size: of the vocabulary: rarer tokens are left out, and how many are kept at most.
        max_length: a longer document is cut to so many tokens; None reads all.
        truncate: what is kept of it: its 'first' tokens, its 'last' ones, or 'both' ends, half each.
        embedding: size of the embeddings. embedding_dropout: probability of dropping each of their values.
        word_dropout: probability with which a word of a training document becomes `<unk>`.
        cell: a name in `deepcore.ops.rnn.CELLS`: 'lstm', 'gru', 'mgu', 'tanh', ...
        hidden, layers, bidirectional: of the recurrent net.
        output: what the decision rests on: 'last', the state after the last token, of both directions; 'max' or 'mean'
            over tokens; 'attention', a weighted mean (Yang et al., 2016).
        dropout: before the decision, and between layers.
        label_smoothing, class_weight, optimizer, learning_rate, weight_decay, clip_norm, schedule, batch_size, epochs,
        validation_fraction, early_stopping, patience, max_seconds, ema, random_state, verbose, device:
            as in `MLPClassifier`.

    Attributes:
        classes_ (k,): the labels. vocabulary_: the tokens it knows. history_: one dict per epoch. model_: the net.
    """

    _kind = "classifier"

    def __init__(
        self, *, level: str = "word", lower: bool = True, min_count: int = 2, max_size: int | None = 20000,
        max_length: int | None = 400, truncate: str = "both", embedding: int = 64, embedding_dropout: float = 0.2,
        word_dropout: float = 0.0, cell: str = "lstm", hidden: int = 64, layers: int = 1, bidirectional: bool = True,
        output: str = "max", dropout: float = 0.3, label_smoothing: float = 0.0, class_weight: Any = None,
        optimizer: str = "adam", learning_rate: float = 2e-3, weight_decay: float = 0.0, clip_norm: float | None = 1.0,
        schedule: Any = None, batch_size: int = 32, epochs: int = 10, validation_fraction: float = 0.0,
        early_stopping: bool = False, patience: int = 3, max_seconds: float | None = None, ema: float | None = None,
        random_state: int | None = None, verbose: bool = False, device: str = "auto",
    ) -> None:  # fmt: skip
        self.level = level
        self.lower = lower
        self.min_count = min_count
        self.max_size = max_size
        self.max_length = max_length
        self.truncate = truncate
        self.embedding = embedding
        self.embedding_dropout = embedding_dropout
        self.word_dropout = word_dropout
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.bidirectional = bidirectional
        self.output = output
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
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

    classes_: Array
    model_: DocumentNet

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.output not in OUTPUTS:
            raise ArgumentError(f"DocumentClassifier: expected output in {OUTPUTS}, got {self.output!r}")
        if self.truncate not in TRUNCATIONS:
            raise ArgumentError(f"DocumentClassifier: expected truncate in {TRUNCATIONS}, got {self.truncate!r}")
        if self.max_length is not None and self.max_length < 1:
            raise ArgumentError(f"DocumentClassifier: expected max_length >= 1 or None, got {self.max_length!r}")

    # ---- documents ----
    def _tokens(self, x: Any) -> list[list[str]]:
        """The tokens of each document that the net reads, as they come from the tokenizer."""
        owner = type(self).__name__
        tokenizer = Tokenizer(self.level, lower=self.lower)
        found = []
        for i, document in enumerate(check_sequences(x, owner, "document")):
            if isinstance(document, str):
                tokens = tokenizer(document)
            else:
                tokens = check_tokens(document, owner, "document", i)
                tokens = [t.lower() for t in tokens] if self.lower else tokens
            found.append(self._truncated(tokens))
        return found

    def _truncated(self, tokens: list[str]) -> list[str]:
        n = self.max_length
        if n is None or len(tokens) <= n:
            return tokens
        first = {"first": n, "last": 0, "both": (n + 1) // 2}[self.truncate]
        return tokens[:first] + tokens[len(tokens) - (n - first) :]

    def _encoded(self, documents: Sequence[list[str]]) -> list[Ints]:
        unknown = np.array([UNKNOWN], np.int64)
        return [self.vocabulary_.encode(tokens) if tokens else unknown for tokens in documents]

    def _task(self) -> _Task:
        return _Task(self.label_smoothing)

    def _begin(self, documents: Sequence[list[str]], seed: int) -> None:
        counts = Counter(token for tokens in documents for token in tokens)
        self.vocabulary_ = Vocabulary(
            counts, min_count=int(self.min_count), max_size=self.max_size, specials=SPECIALS
        )  # fmt: skip
        self.__dict__.pop("trainer_", None)
        self._build(seed)

    def _build(self, seed: int) -> None:
        self.model_ = DocumentNet(
            len(self.vocabulary_), int(self.embedding), int(self.hidden), len(self.classes_), output=self.output,
            seed=seed, **self._net_options(),
        )  # fmt: skip
        self.model_.to(resolve_device(self.device))

    def _transform(self, seed: int) -> WordDropout | None:
        if not self.word_dropout:
            return None
        return WordDropout(np.where(np.arange(len(self.vocabulary_)) > UNKNOWN, self.word_dropout, 0.0), seed)

    def _data(self, documents: Sequence[list[str]], encoded: Ints, sample_weight: Any) -> SequenceDataset:
        factors = class_factors(self.class_weight, self.classes_, encoded, type(self).__name__)
        targets = [encoded]
        if sample_weight is not None or factors is not None:
            weight = np.ones(len(encoded), np.float32)
            if sample_weight is not None:
                weight = check_sample_weight(sample_weight, len(encoded), type(self).__name__)
            if factors is not None:
                weight = weight * factors[encoded]
            targets.append((weight / weight.mean()).astype(np.float32))
        return SequenceDataset(self._encoded(documents), *targets)

    # ---- scikit-learn ----
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: tuple[Any, Any] | None = None,
        checkpoint: str | os.PathLike[str] | None = None, resume: bool = False,
    ) -> DocumentClassifier:  # fmt: skip
        """Train on n documents and labels y (n,); returns self.

        validation_data: (documents, labels) for val_loss and val_accuracy, instead of validation_fraction.
        checkpoint: file written after each epoch and on Ctrl-C; resume=True goes on from it.
        """
        self._check_parameters()
        owner = type(self).__name__
        documents = self._tokens(X)
        labels = check_labels(y, owner)
        check_lengths(documents, labels)  # type: ignore[arg-type]
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ArgumentError(f"{owner}: expected at least 2 classes, got one class: {self.classes_.tolist()}")
        encoded = encoded.astype(np.int64)
        seed = self._seed()
        self._begin(documents, seed)
        held = None
        if validation_data is not None:
            others = self._tokens(validation_data[0])
            truth = encode(check_labels(validation_data[1], owner), self.classes_, owner)
            check_lengths(others, truth)  # type: ignore[arg-type]
            held = SequenceDataset(self._encoded(others), truth)
        self._train_on(self._data(documents, encoded, sample_weight), encoded, seed, validation=held,
                    transform=self._transform(seed), checkpoint=checkpoint, resume=resume)  # fmt: skip
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> DocumentClassifier:
        """One more epoch on these documents; the first call needs all `classes`, and its documents make the vocabulary.

        Words that later calls bring are `<unk>`.
        """
        self._check_parameters()
        owner = type(self).__name__
        first = not hasattr(self, "model_")
        documents = self._tokens(X)
        labels = check_labels(y, owner)
        check_lengths(documents, labels)  # type: ignore[arg-type]
        seed = self._seed() if self.random_state is not None or first else 0
        if first:
            if classes is None:
                raise ArgumentError("classes must be passed on the first call to partial_fit.")
            self.classes_ = np.unique(check_labels(classes, owner))
            self._begin(documents, seed)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ArgumentError(f"{owner}: classes differ from those of the first call to partial_fit")
        encoded = encode(labels, self.classes_, owner)
        steps = self.trainer_.optimizer.steps if hasattr(self, "trainer_") else 0
        self._partial_on(self._data(documents, encoded, sample_weight), seed, transform=self._transform(seed + steps))
        return self

    def decision_function(self, X: Any) -> Array:
        """Scores before the softmax, (n, k)."""
        self._check_fitted()
        documents = self._encoded(self._tokens(X))
        scores = np.empty((len(documents), len(self.classes_)), np.float32)
        for places, _, outputs in self._in_batches(documents):
            scores[places] = outputs
        return scores

    def predict_proba(self, X: Any) -> Array:
        """Class probabilities (n, k) in the order of classes_."""
        return softmax_rows(self.decision_function(X))

    def predict_log_proba(self, X: Any) -> Array:
        """Logarithms of the class probabilities (n, k)."""
        return np.log(np.maximum(self.predict_proba(X), 1e-300))

    def predict(self, X: Any) -> Array:
        """The most probable label of each document, (n,)."""
        scores = self.decision_function(X)
        result: Array = self.classes_[scores.argmax(1)]
        return result

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy."""
        return float(np.average(self.predict(X) == np.asarray(y).reshape(-1), weights=sample_weight))

    # ---- looking inside ----
    def influence(self, X: Any, classes: Any = None) -> list[list[tuple[str, float]]]:
        """The tokens that the net reads of each document, each with its influence on the decision.

        The influence is gradient times embedding, summed over the embedding, of the score of a class minus the mean
        score of the others (Denil et al., 2014): positive speaks for the class. classes: a label for each document,
        default the predicted one.
        """
        self._check_fitted()
        documents = self._tokens(X)
        chosen = (
            None if classes is None else encode(check_labels(classes, type(self).__name__), self.classes_, "influence")
        )
        found = []
        device = self.model_.device
        for i, ids in enumerate(self._encoded(documents)):
            lengths = as_tensor(np.array([len(ids)])).to(device)
            weights = explain.token_influence(
                self.model_, as_tensor(ids[None]).to(device), lengths, None if chosen is None else chosen[i : i + 1]
            )  # fmt: skip
            found.append(list(zip(documents[i] or ["<unk>"], weights[0].tolist())))
        return found

    def report(self, path: str | os.PathLike[str], X: Any, y: Any, *, title: str | None = None) -> None:
        """Write one self-contained HTML file about this classifier on test documents: scores, learning curves,
        confusion matrix, worst mistakes, and words coloured by their influence. Needs the viz extra."""
        from deepcore.viz.documents import document_report

        self._check_fitted()
        document_report(self, path, X, y, title=title)

    # ---- files ----
    def _fitted_meta(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return {"classes": self.classes_.tolist(), "classes_dtype": self.classes_.dtype.str,
                "vocabulary": self.vocabulary_.state_dict()}, {}  # fmt: skip

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.classes_ = np.asarray(meta["classes"], dtype=np.dtype(meta["classes_dtype"]))
        self.vocabulary_ = Vocabulary.from_state(meta["vocabulary"])
        self._build(0)
        self.n_iter_ = len(self.history_)
