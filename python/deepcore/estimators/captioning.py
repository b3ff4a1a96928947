"""What training a captioner is made of: captions as they come in, the loss, scores of the captions it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import ops, train
from deepcore.data import Vocabulary, pad_sequences
from deepcore.data.text import BOS, EOS, PAD, UNK
from deepcore.errors import ArgumentError, DataError, DtypeError, counted
from deepcore.models.captioner import CaptionNet
from deepcore.nn import Module
from deepcore.sequence_metrics import bleu, cider
from deepcore.staging import tensor_of
from deepcore.tensor import Tensor, as_tensor

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Words = list[str]

PADDING = 0


def references(captions: Any, n: int, owner: str) -> list[list[str]]:
    """The captions of n pictures, a list for each, from texts or lists of texts.

    Raises:
        ArgumentError: there are not n, or a picture has none.
        DtypeError: something else than texts came.
    """
    if isinstance(captions, (str, bytes)) or not hasattr(captions, "__iter__") or not hasattr(captions, "__len__"):
        raise DtypeError(f"{owner}: expected a list of captions, got {type(captions).__name__}")
    if len(captions) != n:
        raise ArgumentError(f"{owner}: expected captions of {counted(n, 'image')}, got {len(captions)}")
    found: list[list[str]] = []
    for i, own in enumerate(captions):
        texts = [own] if isinstance(own, str) else own
        if not hasattr(texts, "__iter__") or isinstance(texts, bytes):
            raise DtypeError(f"{owner}: expected a caption or several of image {i}, got {type(own).__name__}")
        texts = list(texts)
        if not texts:
            raise ArgumentError(f"{owner}: expected at least one caption of image {i}, got none")
        for text in texts:
            if not isinstance(text, str):
                raise DtypeError(f"{owner}: expected texts as captions of image {i}, got {type(text).__name__}")
        found.append([str(t) for t in texts])
    return found


def specials(*, unknown: bool) -> list[str]:
    """The special tokens of captions; '<pad>' is number 0."""
    return [PAD, *([UNK] if unknown else []), BOS, EOS]


def encoded(vocabulary: Vocabulary, captions: Sequence[Sequence[Words]], owner: str) -> Ints:
    """Numbers (n, most captions of a picture, longest), '<eos>' after each caption and '<pad>' where nothing is.

    DataError naming the image for a word outside a vocabulary without '<unk>'.
    """
    rows = []
    for i, own in enumerate(captions):
        for words in own:
            unknown = vocabulary.unknown(words)
            if unknown and UNK not in vocabulary:
                raise DataError(
                    f"{owner}: expected words among the {counted(len(vocabulary), 'token')} of the vocabulary, got "
                    f"{next(iter(unknown))!r} in a caption of image {i}"
                )
            rows.append(vocabulary.encode(words, eos=True))
    padded, _ = pad_sequences(rows, padding=PADDING)
    result = np.full((len(captions), max(map(len, captions)), padded.shape[1]), PADDING, np.int64)
    at = 0
    for into, own in zip(result, captions):
        into[: len(own)] = padded[at : at + len(own)]
        at += len(own)
    return result


def presence(ids: Ints, vocabulary: Vocabulary) -> npt.NDArray[np.float32]:
    """(n, tokens): 1 where a word, specials aside, is in a caption of a picture; ids as `encoded` gives them."""
    flat = ids.reshape(len(ids), -1)
    found = np.zeros((len(ids), len(vocabulary)), np.float32)
    found[np.arange(len(ids))[:, None], flat] = 1
    found[:, [vocabulary[s] for s in vocabulary.specials]] = 0
    return found


def caption_logs(net: CaptionNet, features: Tensor, ids: Ints, begin: int, smoothing: float | None = 0.0) -> Tensor:
    """The mean cross-entropy of the tokens of captions ids (n, r, t), with label smoothing; or, with smoothing=None, of
    each one: (tokens,) in the order of captions, then of steps."""
    real = ids[:, :, 0] != PADDING
    owner, targets = np.nonzero(real)[0], ids[real]
    longest = int((targets != PADDING).sum(1).max())
    targets = targets[:, :longest]
    inputs = np.concatenate([np.full((len(targets), 1), begin), targets[:, :-1]], 1)
    device = features.device

    def there(values: Ints) -> Tensor:
        return as_tensor(np.ascontiguousarray(values, np.int64)).to(device)

    h = net(features, there(inputs.T), there(owner))
    steps, n, k = h.shape
    caption, step = np.nonzero(targets != PADDING)
    rows = ops.take(ops.reshape(h, steps * n, k), there(step * n + caption), 0)
    wanted = there(targets[caption, step])
    if smoothing is None:
        return ops.softmax_cross_entropy(net.logits(rows), wanted, reduction="none")
    return ops.softmax_cross_entropy(net.logits(rows), wanted, label_smoothing=smoothing)


class Captioning(train.Callback):
    """Batches (images or features, captions (b, r, t), numbers of the pictures (b,)) -> mean loss of a token.

    All captions of a picture are learnt at once, so that the encoder runs once for them. In evaluation it also lets
    the net caption the pictures; given to `Trainer` as a callback too, it enters their scores into the history:
    val_bleu4, val_cider and val_exact (`scores`).

    Args:
        begin: number of '<bos>'.
        label_smoothing: in training.
        caption: net and features (n, f) -> the words of a caption for each.
        truth: the captions of the pictures of the validation, by their numbers.
    """

    def __init__(
        self, begin: int, label_smoothing: float, caption: Callable[[CaptionNet, Tensor], list[Words]],
        truth: Sequence[Sequence[Words]],
    ) -> None:  # fmt: skip
        self.begin, self.label_smoothing, self.caption, self.truth = begin, label_smoothing, caption, truth
        self._found: dict[int, Words] = {}

    def step(self, model: Module, batch: tuple[Array, ...]) -> tuple[Tensor, dict[str, float]]:
        """The loss of one batch."""
        assert isinstance(model, CaptionNet)
        images = tensor_of(batch, 0, model.device)
        features = images if images.ndim == 2 else model.encode(images)
        if not model.training and self.truth:
            self._found.update(zip(batch[2].tolist(), self.caption(model, features)))
        smoothing = self.label_smoothing if model.training else 0.0
        return caption_logs(model, features, batch[1], self.begin, smoothing), {}

    def on_epoch_end(self, trainer: train.Trainer, record: dict[str, Any]) -> None:
        """Scores of the captions that the evaluation gave."""
        if self._found:
            found = scores(self.truth, [self._found[i] for i in range(len(self.truth))])
            record.update({f"val_{name}": value for name, value in found.items()})
            self._found = {}


def scores(truth: Sequence[Sequence[Words]], found: Sequence[Words]) -> dict[str, float]:
    """BLEU-4 of the corpus without smoothing, CIDEr-D, and the share of captions that equal one of their references."""
    exact = sum(words in [list(t) for t in own] for words, own in zip(found, truth)) / len(found)
    return {"bleu4": bleu(truth, found).bleu4, "cider": cider(truth, found), "exact": exact}


__all__ = [
    "PADDING", "Captioning", "Words", "caption_logs", "encoded", "presence", "references", "scores", "specials",
]  # fmt: skip
