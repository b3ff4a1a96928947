"""What estimators of text share: tokens as they come in, word dropout, batches by length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.autograd import no_grad
from deepcore.data import SequenceDataset, Tokenizer, Vocabulary
from deepcore.data.loader import Place
from deepcore.errors import ArgumentError, DtypeError
from deepcore.estimators.supervised import SupervisedEstimator
from deepcore.ops.rnn import CELLS
from deepcore.tensor import as_tensor

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

LEVELS = ("char", "word", "space")  # how a text is cut into tokens; "space": at white space
SPECIALS = ("<pad>", "<unk>")
PADDING, UNKNOWN = 0, 1
_BATCH = 128  # sequences of a batch in inference


class WordDropout:
    """A transform of batches: in training a word becomes `<unk>` with a probability of its own.

    The draws of a batch are a function of seed, epoch and number of the batch. Words are batch[0] (b, t), or its first
    column (b, t, k) where a token has several numbers.

    Args:
        rates: probability of each word of the vocabulary.
        seed: of the draws.
    """

    def __init__(self, rates: Array, seed: int) -> None:
        self.rates, self.seed = rates.astype(np.float32), seed

    def __call__(self, batch: tuple[Array, ...], place: Place) -> tuple[Array, ...]:
        """The batch with words left out; the arrays that came stay as they were."""
        ids = np.array(batch[0])
        words = ids if ids.ndim == 2 else ids[..., 0]
        key = [self.seed & (2**64 - 1), (place.epoch << 32) + place.batch]
        drawn = np.random.Generator(np.random.Philox(key=key)).random(words.shape, dtype=np.float32)
        words[drawn < self.rates[words]] = UNKNOWN
        return (ids, *batch[1:])


def cutter(level: str) -> Callable[[str], list[str]]:
    """What cuts a text into tokens at one of `LEVELS`."""
    return str.split if level == "space" else Tokenizer(level)


def joiner(level: str) -> Callable[[Iterable[str]], str]:
    """What makes a text of tokens of one of `LEVELS`."""
    return " ".join if level == "space" else Tokenizer(level).join


class TextEstimator(SupervisedEstimator):
    """Subclasses provide the parameters named here and read sequences of tokens."""

    _rates: tuple[str, ...] = ("dropout", "embedding_dropout", "word_dropout")

    embedding: int
    embedding_dropout: float
    word_dropout: float
    cell: str
    hidden: int
    layers: int
    bidirectional: bool
    dropout: float
    min_count: int
    max_size: int | None

    vocabulary_: Vocabulary

    def _check_parameters(self) -> None:
        super()._check_parameters()
        owner = type(self).__name__
        if self.cell not in CELLS:
            raise ArgumentError(f"{owner}: expected cell in {list(CELLS)}, got {self.cell!r}")
        for name in ("embedding", "hidden", "layers", "min_count"):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ArgumentError(f"{owner}: expected {name} >= 1, got {value!r}")
        for name in self._rates:
            if not 0 <= getattr(self, name) < 1:
                raise ArgumentError(f"{owner}: expected {name} in [0, 1), got {getattr(self, name)!r}")

    def _net_options(self) -> dict[str, Any]:
        """What the nets of `deepcore.models.text` have in common."""
        return {"cell": self.cell, "layers": int(self.layers), "bidirectional": bool(self.bidirectional),
                "dropout": float(self.dropout), "embedding_dropout": float(self.embedding_dropout)}  # fmt: skip

    def _in_batches(self, sequences: Sequence[Ints]) -> Iterator[tuple[Ints, Ints, Array]]:
        """(places, lengths, outputs of the net) in inference mode; sequences of similar length come together."""
        data = SequenceDataset(sequences)
        order = np.argsort(data.lengths, kind="stable")
        device = self.model_.device
        self.model_.eval()
        with no_grad():
            for i in range(0, len(order), _BATCH):
                places = order[i : i + _BATCH]
                ids, lengths = data[places]
                outputs = self.model_(as_tensor(ids).to(device), as_tensor(lengths).to(device))
                yield places, lengths, np.asarray(outputs.numpy())

    def __sklearn_tags__(self) -> Any:
        """Facts for scikit-learn (only called by it): inputs are texts, not a matrix."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


def check_sequences(x: Any, owner: str, what: str) -> list[Any]:
    """n texts or sequences of tokens as a list; `what` names one of them in messages.

    ArgumentError for one text in place of many, none, or a table of several columns.
    """
    if isinstance(x, (str, bytes)) or not hasattr(x, "__len__") or not hasattr(x, "__iter__"):
        raise ArgumentError(f"{owner}: expected a sequence of {what}s, got {type(x).__name__}")
    if hasattr(x, "columns") or (what == "document" and getattr(x, "ndim", 1) == 2 and x.shape[1] == 1):
        if x.shape[1] != 1:
            raise ArgumentError(f"{owner}: expected one column of {what}s, got {x.shape[1]}")
        x = np.asarray(x).ravel()
    found = list(x)
    if not found:
        raise ArgumentError(f"{owner}: expected at least one {what}, got none (0 sample(s))")
    return found


def check_tokens(tokens: Any, owner: str, what: str, place: int) -> list[str]:
    """The tokens of a sequence of texts. DtypeError naming the sequence for other things."""
    if isinstance(tokens, (list, tuple, np.ndarray)):
        found = [t for t in tokens if isinstance(t, str)]
        if len(found) == len(tokens):
            return [str(t) for t in found]
        got = next(t for t in tokens if not isinstance(t, str))
        raise DtypeError(f"{owner}: expected texts as tokens of {what} {place}, got {type(got).__name__}: {got!r}")
    raise DtypeError(f"{owner}: expected a sequence of tokens as {what} {place}, got {type(tokens).__name__}")
