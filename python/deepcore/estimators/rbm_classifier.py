"""RBMClassifier: a restricted Boltzmann machine with class units."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import nn, ops, train
from deepcore.device import resolve_device
from deepcore.errors import ArgumentError
from deepcore.estimators.base import (
    check_labels,
    check_lengths,
    check_matrix,
    check_sample_weight,
    class_factors,
    encode,
)  # fmt: skip
from deepcore.estimators.supervised import SupervisedEstimator, softmax_rows
from deepcore.nn import Module
from deepcore.nn.mapping import mapped
from deepcore.staging import tensor_of
from deepcore.tensor import Tensor
from deepcore.train.contrastive import Contrastive, initial_visible_bias

Array = npt.NDArray[Any]
MODES = ("discriminative", "generative", "hybrid")


class _ClassTask:
    """Batches (x, label) or (x, label, weight): -log p(label | x), the energy gap of (x, label), or both."""

    def __init__(self, mode: str, share: float, k: Any) -> None:
        self.mode, self.share = mode, share
        self.contrast = Contrastive("cd", k=k)

    def step(self, model: Module, batch: tuple[Array, ...]) -> tuple[Tensor, dict[str, float]]:
        """Loss, and accuracy."""
        assert isinstance(model, nn.RBM)
        x, label = tensor_of(batch, 0, model.device), tensor_of(batch, 1, model.device)
        weight = tensor_of(batch, 2, model.device) if len(batch) > 2 else None
        scores = model.class_scores(x)
        accuracy = train.accuracy(np.asarray(scores.numpy()), batch[1])
        loss: Tensor | None = None
        if self.mode != "generative":
            loss = ops.softmax_cross_entropy(scores, label, sample_weight=weight)
        if self.mode != "discriminative" and model.training:
            joint = np.concatenate([batch[0], np.eye(model.units.choice, dtype=np.float32)[batch[1]]], 1)
            gap, _ = self.contrast.step(model, (joint,))
            gap = ops.multiply(gap, self.share if self.mode == "hybrid" else 1.0)
            loss = gap if loss is None else loss + gap
        if loss is None:
            loss = ops.softmax_cross_entropy(scores, label, sample_weight=weight)
        return loss, {"accuracy": accuracy}


class RBMClassifier(SupervisedEstimator):
    """A restricted Boltzmann machine of inputs and class units; p(y | x) is exact (Larochelle and Bengio, 2008).

    Args:
        n_components: hidden units.
        mode: 'discriminative' trains -log p(y | x), 'generative' contrastive divergence of (x, y), 'hybrid' both.
        generative_weight: share of the generative part in 'hybrid'.
        k: Gibbs steps of the generative part.
        scaling: 'minmax' maps each feature's training range to [0, 1] (values outside are clipped); None takes values
            in [0, 1] as they are.
        Others as in `MLPClassifier`.

    Attributes:
        classes_ (k,), n_features_in_, history_, n_iter_; model_: the `deepcore.nn.RBM`.
    """

    _kind = "classifier"
    n_features_in_: int
    classes_: Array

    def __init__(
        self, n_components: int = 256, *, mode: str = "hybrid", generative_weight: float = 0.01, k: int = 1,
        scaling: str | None = "minmax", class_weight: Any = None, optimizer: str = "adam", learning_rate: float = 2e-3,
        weight_decay: float = 0.0, clip_norm: float | None = None, schedule: Any = None, batch_size: int = 64,
        epochs: int = 30, validation_fraction: float = 0.0, early_stopping: bool = False, patience: int = 10,
        max_seconds: float | None = None, ema: float | None = None, random_state: int | None = None,
        verbose: bool = False, device: str = "auto",
    ) -> None:  # fmt: skip
        self.n_components = n_components
        self.mode = mode
        self.generative_weight = generative_weight
        self.k = k
        self.scaling = scaling
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

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.mode not in MODES:
            raise ArgumentError(f"RBMClassifier: expected mode in {list(MODES)}, got {self.mode!r}")
        if self.scaling not in ("minmax", None):
            raise ArgumentError(f"RBMClassifier: expected scaling 'minmax' or None, got {self.scaling!r}")
        if not isinstance(self.n_components, (int, np.integer)) or self.n_components < 1:
            raise ArgumentError(f"RBMClassifier: expected n_components >= 1, got {self.n_components!r}")
        if not self.generative_weight >= 0:
            raise ArgumentError(f"RBMClassifier: expected generative_weight >= 0, got {self.generative_weight}")

    def _task(self) -> train.trainer.Task:
        return _ClassTask(self.mode, self.generative_weight, self.k)

    def _set_scale(self, x: Array) -> None:
        low, high = np.zeros(x.shape[1], np.float32), np.ones(x.shape[1], np.float32)
        if self.scaling == "minmax":
            low, high = x.min(0), x.max(0)
        self.low_, self.range_ = low, np.where(high > low, high - low, 1).astype(np.float32)

    def _scaled(self, x: Array) -> Array:
        y: Array = (x - self.low_) / self.range_
        if self.scaling == "minmax":
            return np.clip(y, 0, 1)
        if y.min() < 0 or y.max() > 1:
            raise ArgumentError(f"RBMClassifier: expected values in [0, 1], got {y.min():g} to {y.max():g}")
        return y

    def _build(self, classes: int, seed: int) -> None:
        self.model_ = nn.RBM(self.n_features_in_ + classes, int(self.n_components), visible_choice=classes,
                             deviation=0.05, seed=seed)  # fmt: skip
        self.model_.to(resolve_device(self.device))

    def _weighted(self, x: Array, encoded: Array, sample_weight: Any) -> tuple[Array, ...]:
        factors = class_factors(self.class_weight, self.classes_, encoded, "RBMClassifier")
        if sample_weight is None and factors is None:
            return x, encoded
        weight = np.ones(len(encoded), np.float32)
        if sample_weight is not None:
            weight = check_sample_weight(sample_weight, len(encoded), "RBMClassifier")
        if factors is not None:
            weight = weight * factors[encoded]
        return x, encoded, (weight / weight.mean()).astype(np.float32)

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
    ) -> RBMClassifier:  # fmt: skip
        """Train on X (n, features) and labels y (n,); returns self. Sample weights concern the discriminative part."""
        self._check_parameters()
        x = check_matrix(X, self, fitting=True)
        labels = check_labels(y, "RBMClassifier")
        check_lengths(x, labels)
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ArgumentError(f"RBMClassifier: expected at least 2 classes, got one class: {self.classes_.tolist()}")
        seed = self._seed()
        self._set_scale(x)
        self.__dict__.pop("trainer_", None)
        self._build(len(self.classes_), seed)
        scaled, encoded = self._scaled(x), encoded.astype(np.int64)
        joint_mean = np.concatenate([scaled.mean(0), np.bincount(encoded) / len(encoded)])
        initial_visible_bias(self.model_, joint_mean)  # type: ignore[arg-type]
        self._train(self._weighted(scaled, encoded, sample_weight), encoded, seed, checkpoint=checkpoint, resume=resume)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> RBMClassifier:
        """One more epoch on this data; the first call needs all `classes`. Features are scaled as in the first."""
        self._check_parameters()
        first = not hasattr(self, "model_")
        x = check_matrix(X, self, fitting=first)
        labels = check_labels(y, "RBMClassifier")
        check_lengths(x, labels)
        seed = self._seed() if self.random_state is not None or first else 0
        if first:
            if classes is None:
                raise ArgumentError("classes must be passed on the first call to partial_fit.")
            self.classes_ = np.unique(check_labels(classes, "RBMClassifier"))
            self._set_scale(x)
            self._build(len(self.classes_), seed)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ArgumentError("RBMClassifier: classes differ from those of the first call to partial_fit")
        encoded = encode(labels, self.classes_, "RBMClassifier")
        self._partial(self._weighted(self._scaled(x), encoded, sample_weight), seed)
        return self

    def _scores(self, X: Any) -> Array:
        self._check_fitted()
        x = self._scaled(check_matrix(X, self, fitting=False))
        model: Any = self.model_
        return mapped(model.class_scores, x, model.device)

    def predict_proba(self, X: Any) -> Array:
        """p(y | x) (n, k) in the order of classes_."""
        return softmax_rows(self._scores(X))

    def predict_log_proba(self, X: Any) -> Array:
        """Logarithms of p(y | x) (n, k)."""
        return np.log(np.maximum(self.predict_proba(X), 1e-300))

    def predict(self, X: Any) -> Array:
        """The most probable label of each sample, (n,)."""
        scores = self._scores(X)
        result: Array = self.classes_[scores.argmax(1)]
        return result

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy."""
        return float(np.average(self.predict(X) == np.asarray(y).reshape(-1), weights=sample_weight))

    def _fitted_meta(self) -> tuple[dict[str, Any], dict[str, Array]]:
        extra = {"classes": self.classes_.tolist(), "classes_dtype": self.classes_.dtype.str,
                 "n_features": self.n_features_in_}  # fmt: skip
        return extra, {"low": self.low_, "range": self.range_}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.classes_ = np.asarray(meta["classes"], dtype=np.dtype(meta["classes_dtype"]))
        self.n_features_in_ = int(meta["n_features"])
        self.low_, self.range_ = arrays["low"], arrays["range"]
        self._build(len(self.classes_), 0)
        self.n_iter_ = len(self.history_)
