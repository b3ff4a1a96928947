"""Captioner: nets that say in words what pictures show, with scikit-learn's conventions."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import nn, ops, optim, train
from deepcore.data import ArrayDataset, DataLoader, Vocabulary, train_val_split
from deepcore.data.text import BOS
from deepcore.errors import ArgumentError
from deepcore.estimators.caption_writer import BATCH, METRICS, CaptionWriter
from deepcore.estimators.captioning import PADDING, Captioning, Words, encoded, presence, references, specials
from deepcore.estimators.cnn import ImageClassifier
from deepcore.estimators.supervised import make_schedule
from deepcore.models import PRESETS
from deepcore.models.beam import LengthPenalty, check_search
from deepcore.models.captioner import INJECTS, CaptionNet
from deepcore.ops import inplace
from deepcore.ops.rnn import CELLS
from deepcore.tensor import Tensor

Array = npt.NDArray[Any]

ENCODERS = ("train", "frozen")
MONITORS = (*METRICS, "loss")


class Captioner(CaptionWriter):
    """A convolutional net that looks at a picture and a recurrent net that writes a caption, word by word.

    Images are (n, h, w, c) or (n, h, w), uint8 or float; captions are texts, or lists of several texts of an image.

    Args:
        inject: where the picture enters the recurrent net: 'every' step, as the 'first' input, or as the state that it
            starts from ('init'); see `deepcore.models.CaptionNet` with the sources.
        encoder: 'train' trains the convolutional net too; 'frozen' keeps it as `backbone` or `pretrain` made it.
        preset, pooling, width: of the convolutional net, as in `ImageClassifier`; its last layer is left out.
        grid: its global pooling becomes one over each of grid x grid cells, so that captions can say where things are;
            None keeps it.
        pretrain: None, or 'words': first the convolutional net learns which words are in the captions of an image.
        pretrain_epochs: how long. encoder_rate: its learning rate afterwards, in units of `learning_rate`.
        min_count, max_size: of the vocabulary: rarer words, and those beyond so many, become '<unk>', which is never
            written. Without either each word must be known. lower: change captions to lower case.
        embedding, hidden, layers, cell, tied, dropout: of the recurrent net.
        augment: None, 'light', 'flip', 'strong' or a dict, as in `ImageClassifier`, without mixup. A mirrored picture
            has its left on the right: not for captions that tell them apart.
        test_augment: as in `ImageClassifier`: the features of the views of an image are averaged.
        beam, length_penalty: of `predict`, see `deepcore.models.beam.beam_search`.
        max_length: words of a caption at most; None: as many as the longest one that was learnt.
        metric: what `score` gives: 'cider' (CIDEr-D), 'bleu4' (of the corpus, without smoothing), or 'exact', the share
            of captions that equal one of their references.
        monitor: what early stopping looks at: a metric or 'loss' of the validation.
        label_smoothing, optimizer, learning_rate, weight_decay, clip_norm, schedule, batch_size, epochs,
        validation_fraction, early_stopping, patience, max_seconds, ema, random_state, verbose, device:
            as in `MLPClassifier`; batches are of images, with all their captions; max_seconds is for `pretrain` too.

    Attributes:
        vocabulary_: the words it knows. image_shape_: (h, w, c). max_length_: see max_length. model_: the net.
        history_: one dict per epoch; losses in nats per word; with validation also val_bleu4, val_cider and val_exact
            of greedy captions. pretrain_history_: of `pretrain`.
    """

    _kind = "captioner"

    def __init__(
        self, inject: str = "init", *, encoder: str = "train", preset: str = "vgg-small", pooling: str = "max",
        width: int | None = None, grid: int | None = None, pretrain: str | None = None, pretrain_epochs: int = 10,
        encoder_rate: float = 1.0, min_count: int = 1, max_size: int | None = None, lower: bool = True,
        embedding: int = 128, hidden: int = 256, layers: int = 1, cell: str = "lstm", tied: bool = False,
        dropout: float = 0.3, augment: Any = None, test_augment: str | None = None, beam: int = 3,
        length_penalty: LengthPenalty = 1.0, max_length: int | None = None, metric: str = "cider",
        monitor: str = "cider", label_smoothing: float = 0.0, optimizer: str = "adam", learning_rate: float = 1e-3,
        weight_decay: float = 0.0, clip_norm: float | None = 1.0, schedule: Any = "cosine", batch_size: int = 32,
        epochs: int = 10, validation_fraction: float = 0.0, early_stopping: bool = False, patience: int = 5,
        max_seconds: float | None = None, ema: float | None = None, random_state: int | None = None,
        verbose: bool = False, device: str = "auto",
    ) -> None:  # fmt: skip
        self.inject = inject
        self.encoder = encoder
        self.preset = preset
        self.pooling = pooling
        self.width = width
        self.grid = grid
        self.pretrain = pretrain
        self.pretrain_epochs = pretrain_epochs
        self.encoder_rate = encoder_rate
        self.min_count = min_count
        self.max_size = max_size
        self.lower = lower
        self.embedding = embedding
        self.hidden = hidden
        self.layers = layers
        self.cell = cell
        self.tied = tied
        self.dropout = dropout
        self.augment = augment
        self.test_augment = test_augment
        self.beam = beam
        self.length_penalty = length_penalty
        self.max_length = max_length
        self.metric = metric
        self.monitor = monitor
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

    def _check_parameters(self) -> None:
        super()._check_parameters()
        self._check_test_augment()
        for name, allowed in (("inject", INJECTS), ("encoder", ENCODERS), ("preset", tuple(sorted(PRESETS))),
                              ("pretrain", (None, "words")), ("cell", tuple(CELLS)), ("metric", METRICS),
                              ("monitor", MONITORS)):  # fmt: skip
            if getattr(self, name) not in allowed:
                raise ArgumentError(f"Captioner: expected {name} in {allowed}, got {getattr(self, name)!r}")
        for name in ("embedding", "hidden", "layers", "min_count", "pretrain_epochs"):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ArgumentError(f"Captioner: expected {name} >= 1, got {value!r}")
        for name in ("dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ArgumentError(f"Captioner: expected {name} in [0, 1), got {getattr(self, name)!r}")
        if not 0 < self.encoder_rate <= 1:
            raise ArgumentError(f"Captioner: expected encoder_rate in (0, 1], got {self.encoder_rate!r}")
        if isinstance(self.augment, Mapping) and self.augment.get("mixup"):
            raise ArgumentError("Captioner: expected augment without mixup, captions cannot be mixed")
        check_search("Captioner", self.beam, 1 if self.max_length is None else self.max_length, self.length_penalty)

    # ---- words ----
    def _begin(self, words: Sequence[Sequence[Words]], images: Array, backbone: ImageClassifier | None) -> None:
        counts = Counter(w for own in words for caption in own for w in caption)
        unknown = self.min_count > 1 or self.max_size is not None
        self.vocabulary_ = Vocabulary(counts, min_count=int(self.min_count), max_size=self.max_size,
                                      specials=specials(unknown=unknown))  # fmt: skip
        self._check_beam(self.beam)
        longest = max(len(caption) for own in words for caption in own) + 1
        self.max_length_ = longest if self.max_length is None else int(self.max_length)
        self.image_shape_ = tuple(int(n) for n in images.shape[1:])  # type: ignore[assignment]
        self.__dict__.pop("trainer_", None)
        if backbone is None:
            self._set_scale(images)
            self._encoder = {"preset": self.preset, "pooling": self.pooling, "width": self.width, "grid": self.grid}
        else:
            self.mean_, self.scale_ = backbone.mean_, backbone.scale_
            self._encoder = {"preset": backbone.preset, "pooling": backbone.pooling, "width": backbone.width,
                             "grid": self.grid}  # fmt: skip

    def _check_backbone(self, backbone: Any, images: Array) -> None:
        if self.encoder == "frozen" and backbone is None and self.pretrain is None:
            raise ArgumentError("Captioner: encoder='frozen' needs a backbone or pretrain='words'")
        if backbone is None:
            return
        if not isinstance(backbone, ImageClassifier):
            raise ArgumentError(f"Captioner: expected an ImageClassifier as backbone, got {type(backbone).__name__}")
        backbone._check_fitted()
        if backbone.image_shape_ != images.shape[1:]:
            raise ArgumentError(
                f"Captioner: expected a backbone for images of {images.shape[1:]}, got {backbone.image_shape_}"
            )

    # ---- training ----
    def fit(
        self, X: Any, y: Any, *, validation_data: tuple[Any, Any] | None = None,
        backbone: ImageClassifier | None = None, checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
    ) -> Captioner:  # fmt: skip
        """Learn from n images and their captions, a text or a list of texts for each; returns self.

        Args:
            X: images.
            y: captions.
            validation_data: (images, captions) for val_loss and the scores, instead of validation_fraction.
            backbone: a fitted classifier of images of this size whose convolutional net, without its last layer, and
                whose scaling of pixels are taken over (copied); preset, pooling and width are then its own.
            checkpoint: file written after each epoch and on Ctrl-C; `pretrain` has one of its own, with '.words' added.
            resume: go on from it, bit for bit.

        Raises:
            ArgumentError: an option or the number of captions is wrong, or the beam wider than the vocabulary.
            DataError: a caption is empty, or one of the validation has a word outside a vocabulary without '<unk>'.
            NumericalError: the loss has exploded; names the step.
        """
        self._check_parameters()
        owner = type(self).__name__
        images = self._images(X, fitting=True)
        words = self._words(references(y, len(images), owner))
        self._check_backbone(backbone, images)
        seed = self._seed()
        self._begin(words, images, backbone)
        held: Array | None = None
        truth: list[list[Words]] = []
        if validation_data is not None:
            held = self._images(validation_data[0], fitting=False)
            truth = self._words(references(validation_data[1], len(held), owner))
        elif self.validation_fraction > 0:
            kept, out = train_val_split(len(images), self.validation_fraction, seed=seed)
            held, truth = images[out], [words[i] for i in out]
            images, words = images[kept], [words[i] for i in kept]
        if held is not None and len(held) < 2:
            raise ArgumentError("Captioner: expected at least 2 images of validation, CIDEr needs them; got 1")
        if held is None and self.early_stopping:
            raise ArgumentError("Captioner: early_stopping needs validation data (validation_fraction > 0)")
        ids = encoded(self.vocabulary_, words, owner)
        checks = None if held is None else (self._scaled(held), encoded(self.vocabulary_, truth, owner))
        self._build(seed)
        if backbone is not None:
            taken = backbone.model_.state_dict()
            self.model_.encoder.load_state_dict({k: taken[k] for k in self.model_.encoder.state_dict()})
        # Training starts from how often words occur, not from all being equally likely (Karpathy and Fei-Fei, 2015).
        often = np.bincount(ids[ids != PADDING], minlength=len(self.vocabulary_)) + 0.5
        inplace.copy_into(np.log(often / often.sum()).astype(np.float32), self.model_.output.bias)
        self.pretrain_history_ = []
        seconds = self.max_seconds
        if self.pretrain is not None:
            spent = self._pretrain(images, ids, checks, seed, checkpoint, resume)
            seconds = None if seconds is None else max(seconds - spent, 0.0)
        self._train_captions(images, ids, checks, truth, seed, seconds, checkpoint, resume)
        return self

    def _loader(self, images: Array, *targets: Array, seed: int) -> DataLoader:
        """Batches of training: images, changed at random where `augment` says so, and targets."""
        size = min(int(self.batch_size), len(images))
        if self.augment is None:
            return DataLoader(ArrayDataset(self._scaled(images) if images.ndim == 4 else images, *targets), size, True,
                              seed, prefetch=0)  # fmt: skip
        return DataLoader(ArrayDataset(images, *targets), size, True, seed, transform=self._augmentation(seed))

    def _checks(self, checks: tuple[Array, Array], *targets: Array) -> DataLoader:
        return DataLoader(ArrayDataset(checks[0], *targets), max(int(self.batch_size), BATCH), prefetch=0)

    def _pretrain(
        self, images: Array, ids: Array, checks: tuple[Array, Array] | None, seed: int,
        checkpoint: str | os.PathLike[str] | None, resume: bool,
    ) -> float:  # fmt: skip
        """Let the convolutional net learn which words are in the captions of a picture; the seconds that it took."""
        encoder = self.model_.encoder.unfreeze()
        head = nn.Linear(self.model_.features, len(self.vocabulary_), init="glorot_uniform", seed=(seed << 16) + 5000)
        words = presence(ids, self.vocabulary_)
        share = (words.sum(0) + 0.5) / (len(words) + 1)
        assert head.bias is not None
        inplace.copy_into(np.log(share / (1 - share)).astype(np.float32), head.bias)
        net = nn.Sequential(encoder, nn.Dropout(float(self.dropout), seed=(seed << 16) + 5001), head)
        net.to(self.model_.device)

        def loss(outputs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
            return ops.bce_with_logits(outputs, target) * float(target.shape[1])  # summed over words

        loader = self._loader(images, words, seed=seed + 1)
        held = None if checks is None else self._checks(checks, presence(checks[1], self.vocabulary_))
        trainer = train.Trainer(
            net, self._optimizer_of(net, 1.0), train.Supervised(loss, {}),
            schedule=make_schedule(copy.deepcopy(self.schedule), len(loader) * int(self.pretrain_epochs)),
            progress="auto" if self.verbose else "off",
        )  # fmt: skip
        trainer.fit(loader, held, epochs=int(self.pretrain_epochs), max_seconds=self.max_seconds, resume=resume,
                    checkpoint=None if checkpoint is None else f"{os.fspath(checkpoint)}.words")  # fmt: skip
        self.pretrain_history_ = trainer.history
        if self.encoder == "frozen":
            encoder.freeze()
        net.zero_grad()
        return trainer.seconds

    def _train_captions(
        self, images: Array, ids: Array, checks: tuple[Array, Array] | None, truth: list[list[Words]], seed: int,
        seconds: float | None, checkpoint: str | os.PathLike[str] | None, resume: bool,
    ) -> None:  # fmt: skip
        if self.encoder == "frozen" and self.augment is None:  # features stay the same: once is enough
            images = self._features(self._scaled(images))
        if self.encoder == "frozen" and checks is not None:
            checks = self._features(checks[0]), checks[1]
        task = self._task(truth)
        callbacks = [task, train.ExplodingLoss(len(self.vocabulary_), "Captioner", "token")]
        loader = self._loader(images, ids, seed=seed)
        held = None if checks is None else self._checks(checks, checks[1], np.arange(len(truth)))
        self._train_in(loader, held, task, callbacks, seconds, checkpoint, resume)

    def _stopping(self) -> train.Callback:
        mode = "min" if self.monitor == "loss" else "max"
        return train.EarlyStopping(f"val_{self.monitor}", patience=self.patience, mode=mode)

    def partial_fit(self, X: Any, y: Any) -> Captioner:
        """One more epoch on these images and captions; the first call makes the vocabulary and the scale of pixels."""
        self._check_parameters()
        first = not hasattr(self, "model_")
        images = self._images(X, fitting=first)
        words = self._words(references(y, len(images), type(self).__name__))
        seed = self._seed() if self.random_state is not None or first else 0
        if first:
            if self.encoder == "frozen" or self.pretrain is not None:
                raise ArgumentError("Captioner: the first partial_fit needs encoder='train' and pretrain=None")
            self._begin(words, images, None)
            self._build(seed)
            self.pretrain_history_ = []
        self._partial((self._scaled(images), encoded(self.vocabulary_, words, type(self).__name__)), seed)
        return self

    def _task(self, truth: Sequence[Sequence[Words]] = ()) -> Captioning:
        def greedy(model: CaptionNet, features: Tensor) -> list[Words]:
            return [self._decoded(own[0]) for own in self._search(features, 1, 0.0)]

        return Captioning(self.vocabulary_[BOS], float(self.label_smoothing), greedy, truth)

    def _make_optimizer(self) -> optim.Optimizer:
        return self._optimizer_of(self.model_, float(self.encoder_rate))

    def _optimizer_of(self, net: nn.Module, encoder_rate: float) -> optim.Optimizer:
        """An optimizer of what is trained; weights decay, biases and norms do not; the encoder has its own rate."""
        own = {id(p) for p in self.model_.encoder.parameters()}
        groups = []
        for inside in (False, True):
            for matrices in (True, False):
                members = [p for p in net.parameters()
                           if p.requires_grad and (id(p) in own) == inside and (p.ndim > 1) == matrices]  # fmt: skip
                groups.append({"params": members, "weight_decay": self.weight_decay if matrices else 0.0,
                               "lr": self.learning_rate * (encoder_rate if inside else 1.0)})  # fmt: skip
        return self._optimizer(groups)


__all__ = ["Captioner"]
