"""What a fitted captioner does: captions of pictures, greedy and by beams, their probabilities, scores, files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from deepcore.autograd import no_grad
from deepcore.data import Tokenizer, Vocabulary
from deepcore.data.text import BOS, EOS
from deepcore.device import resolve_device
from deepcore.errors import ArgumentError, DataError, DtypeError, counted
from deepcore.estimators.captioning import PADDING, Words, caption_logs, encoded, references, scores
from deepcore.estimators.image_base import ImageEstimator, views
from deepcore.models.beam import Hypothesis, LengthPenalty, beam_search, check_search
from deepcore.models.captioner import CaptionNet, CaptionState, cnn_encoder
from deepcore.tensor import Tensor, as_tensor

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

METRICS = ("cider", "bleu4", "exact")
BATCH = 128  # pictures of one inference call
_LEAST = 16  # fewer rows are multiplied in another order: with more, a picture has the same bits in any company


class Caption(NamedTuple):
    """A text, its log-probability with the end, the score that beams are compared by, whether it ended by itself."""

    text: str
    log_probability: float
    score: float
    finished: bool


class CaptionWriter(ImageEstimator):
    """Subclasses provide the parameters named here and train the net."""

    inject: str
    encoder: str
    embedding: int
    hidden: int
    layers: int
    cell: str
    tied: bool
    dropout: float
    lower: bool
    beam: int
    length_penalty: LengthPenalty
    metric: str

    vocabulary_: Vocabulary
    model_: CaptionNet
    max_length_: int
    pretrain_history_: list[dict[str, Any]]
    _encoder: dict[str, Any]  # what the convolutional net is made of

    def _build(self, seed: int) -> None:
        known = {k: v for k, v in self._encoder.items() if v is not None}
        encoder, features = cnn_encoder(known.pop("preset"), self.image_shape_, dropout=0.0, seed=seed, **known)
        self.model_ = CaptionNet(
            encoder, features, len(self.vocabulary_), inject=self.inject, embedding=int(self.embedding),
            hidden=int(self.hidden), layers=int(self.layers), cell=self.cell, tied=bool(self.tied),
            dropout=float(self.dropout), frozen=self.encoder == "frozen", seed=seed,
        )  # fmt: skip
        self.model_.to(resolve_device(self.device))

    def _words(self, captions: Sequence[Sequence[str]]) -> list[list[Words]]:
        cut = Tokenizer("word", lower=self.lower)
        found = [[cut(text) for text in own] for own in captions]
        for i, own in enumerate(found):
            if not all(own):
                raise DataError(f"{type(self).__name__}: expected words in each caption, got an empty one of image {i}")
        return found

    def _decoded(self, found: Hypothesis) -> Words:
        return self.vocabulary_.decode(np.asarray(found.tokens, np.int64))

    def _caption(self, found: Hypothesis) -> Caption:
        text = Tokenizer("word").join(self._decoded(found))
        return Caption(text, found.log_probability, found.score, found.finished)

    def _references(self, captions: Any, n: int) -> list[list[str]]:
        return references(captions, n, type(self).__name__)

    @staticmethod
    def _measured(truth: Sequence[Sequence[Words]], found: Sequence[Words]) -> dict[str, float]:
        return scores(truth, found)

    # ---- features ----
    def _features(self, scaled: Array) -> npt.NDArray[np.float32]:
        """Features (n, f) of images that are scaled already."""
        self.model_.eval()
        device, parts = self.model_.device, []
        with no_grad():
            for i in range(0, len(scaled), BATCH):
                part = scaled[i : i + BATCH]
                n = len(part)
                if n < _LEAST:
                    part = np.concatenate([part, np.zeros((_LEAST - n, *part.shape[1:]), part.dtype)])
                parts.append(np.asarray(self.model_.encode(as_tensor(part).to(device)).numpy())[:n])
        return np.concatenate(parts)

    def encode(self, X: Any) -> npt.NDArray[np.float32]:
        """The features (n, f) of images that captions are made of; with test_augment, means over views."""
        self._check_fitted()
        self._check_test_augment()
        found = [self._features(self._scaled(v)) for v in views(self._images(X, fitting=False), self.test_augment)]
        mean: npt.NDArray[np.float32] = sum(found[1:], found[0]) / np.float32(len(found))
        return mean

    # ---- search ----
    def _check_beam(self, beam: int) -> None:
        if beam > len(self.vocabulary_):
            raise ArgumentError(
                f"{type(self).__name__}: expected a beam no wider than the vocabulary of "
                f"{counted(len(self.vocabulary_), 'token')}, got {beam}"
            )

    def _search(self, features: Tensor, beam: int, length_penalty: LengthPenalty) -> list[list[Hypothesis]]:
        """Captions of features (n, f), in inference mode; '<pad>', '<unk>' and '<bos>' are never written."""
        begin, end = self.vocabulary_[BOS], self.vocabulary_[EOS]
        never = [i for i in range(len(self.vocabulary_.specials)) if i != end]
        device = features.device

        def step(tokens: npt.NDArray[np.int64], state: CaptionState) -> tuple[Array, CaptionState]:
            logs, new = self.model_.step(as_tensor(tokens).to(device), state)
            found = np.array(logs.numpy())
            found[:, never] = -np.inf
            return found, new

        with no_grad():
            return beam_search(
                step, self.model_.start(features), np.full(features.shape[0], begin, np.int64), end=end, beam=beam,
                max_length=self.max_length_, length_penalty=length_penalty,
            )  # fmt: skip

    def _found(self, x: Any, beam: int | None, length_penalty: LengthPenalty | None) -> Iterator[list[Hypothesis]]:
        self._check_fitted()
        width = self.beam if beam is None else beam
        penalty = self.length_penalty if length_penalty is None else length_penalty
        check_search(type(self).__name__, width, self.max_length_, penalty)
        self._check_beam(width)
        features = self.encode(x)
        for i in range(0, len(features), BATCH):
            yield from self._search(as_tensor(features[i : i + BATCH]).to(self.model_.device), int(width), penalty)

    def beams(
        self, X: Any, *, beam: int | None = None, length_penalty: LengthPenalty | None = None
    ) -> list[list[Caption]]:  # fmt: skip
        """Up to `beam` captions of each image, best first; arguments as in `predict`."""
        return [[self._caption(h) for h in own] for own in self._found(X, beam, length_penalty)]

    @overload
    def predict(
        self, X: Any, *, beam: int | None = None, length_penalty: LengthPenalty | None = None,
        return_scores: Literal[False] = False,
    ) -> list[str]: ...  # fmt: skip
    @overload
    def predict(
        self, X: Any, *, beam: int | None = None, length_penalty: LengthPenalty | None = None,
        return_scores: Literal[True],
    ) -> tuple[list[str], Floats]: ...  # fmt: skip
    def predict(
        self, X: Any, *, beam: int | None = None, length_penalty: LengthPenalty | None = None,
        return_scores: bool = False,
    ) -> list[str] | tuple[list[str], Floats]:  # fmt: skip
        """A caption of each image.

        Args:
            X: n images.
            beam: captions that grow side by side; 1 is greedy. None: the parameter.
            length_penalty: see `deepcore.models.beam.beam_search`. None: the parameter.
            return_scores: give (captions, log-probabilities (n,)) instead, the end of a caption included.

        Raises:
            ArgumentError: a number is out of range, or the beam wider than the vocabulary.
            ShapeError: the images have another shape than those of `fit`.
        """
        best = [own[0] for own in self.beams(X, beam=beam, length_penalty=length_penalty)]
        texts = [caption.text for caption in best]
        return (texts, np.array([caption.log_probability for caption in best])) if return_scores else texts

    def log_probability(self, X: Any, captions: Sequence[str]) -> Floats:
        """log p (n,) of one caption for each of n images, with its end.

        A word that is `<unk>` counts with the probability of that token. DataError where the vocabulary has none.
        """
        self._check_fitted()
        features = self.encode(X)
        given = self._references(captions, len(features))
        if any(not isinstance(own, str) for own in captions):
            raise DtypeError(f"{type(self).__name__}.log_probability: expected one text for each image, got lists")
        return np.array([logs[0] for logs, _ in self._logs(features, self._words(given))])

    def _logs(self, features: npt.NDArray[np.float32], words: list[list[Words]]) -> Iterator[tuple[Floats, Floats]]:
        """For each of n pictures log p of its captions (r,), and how many words each has, the end included (r,)."""
        ids = encoded(self.vocabulary_, words, type(self).__name__)
        self.model_.eval()
        with no_grad():
            for i in range(0, len(features), BATCH):
                own = ids[i : i + BATCH]
                part = as_tensor(features[i : i + BATCH]).to(self.model_.device)
                nats = caption_logs(self.model_, part, own, self.vocabulary_[BOS], None).numpy().astype(np.float64)
                lengths = (own != PADDING).sum(2)
                many = lengths[lengths > 0]
                logs = -np.add.reduceat(nats, np.concatenate([[0], np.cumsum(many)[:-1]]))
                at = 0
                for counts in lengths:
                    r = int((counts > 0).sum())
                    yield logs[at : at + r], counts[:r].astype(np.float64)
                    at += r

    # ---- measuring ----
    def scores(
        self, X: Any, y: Any, *, beam: int | None = None, length_penalty: LengthPenalty | None = None
    ) -> dict[str, float]:  # fmt: skip
        """BLEU-4 ('bleu4', of the corpus, without smoothing), CIDEr-D ('cider') and exact matches ('exact') of
        predictions for n >= 2 images and their captions, a text or several for each."""
        found = [own[0] for own in self._found(X, beam, length_penalty)]
        truth = self._words(self._references(y, len(found)))
        return self._measured(truth, [self._decoded(h) for h in found])

    def score(self, X: Any, y: Any) -> float:
        """The parameter `metric` of predictions for n >= 2 images: the larger the better."""
        if self.metric not in METRICS:
            raise ArgumentError(f"{type(self).__name__}: expected metric in {METRICS}, got {self.metric!r}")
        return self.scores(X, y)[self.metric]

    def summary(self) -> str:
        """The net and its number of parameters."""
        self._check_fitted()
        return f"{self.model_!r}\n{sum(p.size for p in self.model_.parameters()):,} parameters"

    def report(
        self, path: str | os.PathLike[str], X: Any, y: Any, *, training: tuple[Any, Any] | None = None,
        title: str | None = None,
    ) -> None:  # fmt: skip
        """Write one self-contained HTML file about this captioner on test images and their captions: learning curves,
        pictures with references, greedy captions and beams, and the worst mistakes. Needs the viz extra.

        training: (images, captions) that it learnt from: then each picture shows its nearest one of them too.
        """
        from deepcore.viz.captions import caption_report

        self._check_fitted()
        caption_report(self, path, X, y, training=training, title=title)

    # ---- files ----
    def _fitted_meta(self) -> tuple[dict[str, Any], dict[str, Array]]:
        extra = {"vocabulary": self.vocabulary_.state_dict(), "image_shape": list(self.image_shape_),
                 "encoder": self._encoder, "max_length": self.max_length_,
                 "pretrain_history": self.pretrain_history_}  # fmt: skip
        return extra, {"mean": self.mean_, "scale": self.scale_}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.vocabulary_ = Vocabulary.from_state(meta["vocabulary"])
        self.image_shape_ = tuple(int(n) for n in meta["image_shape"])  # type: ignore[assignment]
        self._encoder, self.max_length_ = dict(meta["encoder"]), int(meta["max_length"])
        self.pretrain_history_ = list(meta["pretrain_history"])
        self.mean_, self.scale_ = arrays["mean"], arrays["scale"]
        self._build(0)
        self.n_iter_ = len(self.history_)


__all__ = ["BATCH", "METRICS", "Caption", "CaptionWriter"]
