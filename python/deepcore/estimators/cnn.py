"""ImageClassifier: convolutional nets with scikit-learn's conventions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import nn, ops, train
from deepcore.data.augment import Augment
from deepcore.device import resolve_device
from deepcore.errors import ArgumentError
from deepcore.estimators.base import check_labels, check_lengths, check_sample_weight, class_factors, encode
from deepcore.estimators.image_base import ImageEstimator, views
from deepcore.estimators.supervised import softmax_rows
from deepcore.models import PRESETS, cnn
from deepcore.tensor import Tensor

Array = npt.NDArray[Any]


class ImageClassifier(ImageEstimator):
    """A convolutional net that classifies images (n, h, w, c) or (n, h, w), uint8 or float.

    Args:
        preset: 'lenet5', 'vgg-small', 'resnet9' or 'resnet18'.
        pooling: 'max' or 'average'.
        width: channels of the first layer; None for the preset's own.
        dropout: before the last layer(s); None for the preset's own.
        augment: None, 'light' (shift, rotate, scale), 'flip' (shift, mirror), 'strong' (and cutout), or a dict of
            options of `deepcore.data.Augment`.
        test_augment: None, or which views of an image prediction averages over: 'mirror' (it and its mirror image),
            'shift' (it and it moved by a pixel up, down, left and right) or 'mirror+shift' (all ten).
        label_smoothing, class_weight, optimizer, learning_rate, weight_decay, clip_norm, schedule, batch_size, epochs,
        validation_fraction, early_stopping, patience, max_seconds, ema, random_state, verbose, device:
            as in `MLPClassifier`.

    Attributes:
        classes_ (k,): the labels. image_shape_: (h, w, c). history_: one dict per epoch. model_: the net.
    """

    _kind = "classifier"

    def __init__(
        self, preset: str = "lenet5", *, pooling: str = "max", width: int | None = None, dropout: float | None = None,
        augment: Any = None, test_augment: str | None = None, label_smoothing: float = 0.0,
        class_weight: Any = None, optimizer: str = "adam",
        learning_rate: float = 1e-3, weight_decay: float = 0.0, clip_norm: float | None = None,
        schedule: Any = "cosine",
        batch_size: int = 64, epochs: int = 10, validation_fraction: float = 0.0, early_stopping: bool = False,
        patience: int = 5, max_seconds: float | None = None, ema: float | None = None,
        random_state: int | None = None, verbose: bool = False, device: str = "auto",
    ) -> None:  # fmt: skip
        self.preset = preset
        self.pooling = pooling
        self.width = width
        self.dropout = dropout
        self.augment = augment
        self.test_augment = test_augment
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

    def _transform(self, seed: int) -> Augment:
        return self._augmentation(seed, classes=len(self.classes_))

    def _build(self, seed: int) -> None:
        options: dict[str, Any] = {"pooling": self.pooling, "seed": seed}
        if self.width is not None:
            options["width"] = self.width
        if self.dropout is not None:
            options["dropout"] = self.dropout
        self.model_ = cnn(self.preset, self.image_shape_, len(self.classes_), **options)
        self.model_.to(resolve_device(self.device))

    def _task(self) -> train.Supervised:
        smoothing, classes = self.label_smoothing, len(self.classes_)

        def loss(outputs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
            if target.ndim == 2:  # mixed labels
                if smoothing:
                    target = target * (1 - smoothing) + smoothing / classes
                return ops.softmax_cross_entropy(outputs, target, sample_weight=weight)
            return ops.softmax_cross_entropy(outputs, target, label_smoothing=smoothing, sample_weight=weight)

        return train.Supervised(loss, {"accuracy": train.accuracy})

    def _weight(self, encoded: Array, sample_weight: Any) -> tuple[Array, ...]:
        factors = class_factors(self.class_weight, self.classes_, encoded, type(self).__name__)
        if sample_weight is None and factors is None:
            return ()
        weight = np.ones(len(encoded), np.float32)
        if sample_weight is not None:
            weight = check_sample_weight(sample_weight, len(encoded), type(self).__name__)
        if factors is not None:
            weight = weight * factors[encoded]
        return ((weight / weight.mean()).astype(np.float32),)

    # ---- scikit-learn ----
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: tuple[Any, Any] | None = None,
        checkpoint: str | os.PathLike[str] | None = None, resume: bool = False,
    ) -> ImageClassifier:  # fmt: skip
        """Train on images and labels y (n,); returns self.

        validation_data: (images, labels) for val_loss and val_accuracy, instead of validation_fraction.
        checkpoint: file written after each epoch and on Ctrl-C; resume=True goes on from it.
        """
        self._check_parameters()
        self._check_test_augment()
        if self.preset not in PRESETS:
            raise ArgumentError(f"ImageClassifier: expected preset in {sorted(PRESETS)}, got {self.preset!r}")
        owner = type(self).__name__
        images = self._images(X, fitting=True)
        labels = check_labels(y, owner)
        check_lengths(images, labels)
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ArgumentError(f"{owner}: expected at least 2 classes, got one class: {self.classes_.tolist()}")
        encoded = encoded.astype(np.int64)
        self.image_shape_ = tuple(int(n) for n in images.shape[1:])  # type: ignore[assignment]
        seed = self._seed()
        self._set_scale(images)
        self.__dict__.pop("trainer_", None)
        self._build(seed)
        validation: tuple[Array, ...] | None = None
        if validation_data is not None:
            held = self._images(validation_data[0], fitting=False)
            truth = encode(check_labels(validation_data[1], owner), self.classes_, owner)
            check_lengths(held, truth)
            validation = (self._scaled(held), truth)
        weight = self._weight(encoded, sample_weight)
        if self.augment is None:
            self._train((self._scaled(images), encoded, *weight), encoded, seed, validation=validation,
                        checkpoint=checkpoint, resume=resume)  # fmt: skip
            return self
        arrays: tuple[Array, ...] = (images, encoded, *weight)
        if validation is None and self.validation_fraction > 0:
            from deepcore.data import ArrayDataset, train_val_split

            kept, held_out = train_val_split(
                ArrayDataset(*arrays), self.validation_fraction, seed=seed, stratify=encoded
            )
            parts = held_out[np.arange(len(held_out))]
            validation = (self._scaled(parts[0]), *parts[1:])
            arrays = kept[np.arange(len(kept))]
        self._train(arrays, encoded, seed, validation=validation, transform=self._transform(seed),
                    checkpoint=checkpoint, resume=resume)  # fmt: skip
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> ImageClassifier:
        """One more epoch on these images; the first call needs all `classes`."""
        self._check_parameters()
        owner = type(self).__name__
        first = not hasattr(self, "model_")
        images = self._images(X, fitting=first)
        labels = check_labels(y, owner)
        check_lengths(images, labels)
        seed = self._seed() if self.random_state is not None or first else 0
        if first:
            if classes is None:
                raise ArgumentError("classes must be passed on the first call to partial_fit.")
            self.classes_ = np.unique(check_labels(classes, owner))
            self.image_shape_ = tuple(int(n) for n in images.shape[1:])  # type: ignore[assignment]
            self._set_scale(images)
            self._build(seed)
        encoded = encode(labels, self.classes_, owner)
        self._partial((self._scaled(images), encoded, *self._weight(encoded, sample_weight)), seed)
        return self

    def decision_function(self, X: Any) -> Array:
        """Outputs before the softmax, (n, k); with test_augment their mean over the views."""
        self._check_fitted()
        self._check_test_augment()
        images = self._images(X, fitting=False)
        outputs = [self._outputs(self._scaled(view)) for view in views(images, self.test_augment)]
        mean: Array = sum(outputs[1:], outputs[0]) / np.float32(len(outputs))
        return mean

    def predict_proba(self, X: Any) -> Array:
        """Class probabilities (n, k) in the order of classes_."""
        return softmax_rows(self.decision_function(X))

    def predict(self, X: Any) -> Array:
        """The most probable label of each image, (n,)."""
        self._check_fitted()
        result: Array = self.classes_[self.predict_proba(X).argmax(1)]
        return result

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy."""
        return float(np.average(self.predict(X) == np.asarray(y).reshape(-1), weights=sample_weight))

    def summary(self) -> str:
        """The table of layers for one image."""
        self._check_fitted()
        return self.model_.summary((1, *self.image_shape_))

    def report(self, path: str | os.PathLike[str], X: Any, y: Any, *, title: str | None = None) -> None:
        """Write one self-contained HTML file about this classifier on test images: scores, learning curves, confusion
        matrix, filters, feature maps, Grad-CAM, worst mistakes. Needs the viz extra."""
        from deepcore.viz.classifier import classifier_report

        self._check_fitted()
        classifier_report(self, path, X, y, title=title)

    def first_convolution(self) -> nn.Conv2d:
        """The first convolution layer of the net."""
        self._check_fitted()
        return next(m for _, m in self.model_.named_modules() if isinstance(m, nn.Conv2d))

    # ---- files ----
    def _fitted_meta(self) -> tuple[dict[str, Any], dict[str, Array]]:
        extra = {"classes": self.classes_.tolist(), "classes_dtype": self.classes_.dtype.str,
                 "image_shape": list(self.image_shape_)}  # fmt: skip
        return extra, {"mean": self.mean_, "scale": self.scale_}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.classes_ = np.asarray(meta["classes"], dtype=np.dtype(meta["classes_dtype"]))
        self.image_shape_ = tuple(int(n) for n in meta["image_shape"])  # type: ignore[assignment]
        self.mean_, self.scale_ = arrays["mean"], arrays["scale"]
        self._build(0)
        self.n_iter_ = len(self.history_)
