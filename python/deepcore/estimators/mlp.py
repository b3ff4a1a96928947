"""MLPClassifier and MLPRegressor: multi-layer perceptrons with scikit-learn's conventions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import ops, train
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
from deepcore.models import mlp
from deepcore.tensor import Tensor

Array = npt.NDArray[Any]


class _MLP(SupervisedEstimator):
    def __init__(
        self, hidden: Sequence[int] = (128,), *, activation: str = "relu", dropout: float = 0.0,
        input_dropout: float = 0.0, batch_norm: bool = False, max_norm: float | None = None,
        optimizer: str = "adam", learning_rate: float = 1e-3, weight_decay: float = 0.0, clip_norm: float | None = None,
        schedule: Any = None, batch_size: int = 64, epochs: int = 50, validation_fraction: float = 0.0,
        early_stopping: bool = False, patience: int = 10, standardize: bool = True, max_seconds: float | None = None,
        ema: float | None = None, random_state: int | None = None, verbose: bool = False, device: str = "auto",
    ) -> None:  # fmt: skip
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.batch_norm = batch_norm
        self.max_norm = max_norm
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
        self.standardize = standardize
        self.max_seconds = max_seconds
        self.ema = ema
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    def _build(self, outputs: int, seed: int) -> None:
        self.model_ = mlp(
            self.n_features_in_, tuple(self.hidden), outputs, activation=self.activation, dropout=self.dropout,
            input_dropout=self.input_dropout, batch_norm=self.batch_norm, max_norm=self.max_norm, seed=seed,
        )  # fmt: skip
        self.model_.to(resolve_device(self.device))

    n_features_in_: int

    def _set_scale(self, x: Array) -> None:
        if self.standardize:
            self.mean_ = x.mean(0, dtype=np.float64).astype(np.float32)
            deviation = x.std(0, dtype=np.float64).astype(np.float32)
            self.scale_ = np.where(deviation > 1e-7 * np.abs(self.mean_) + 1e-30, deviation, 1).astype(np.float32)
        else:
            self.mean_, self.scale_ = np.zeros(x.shape[1], np.float32), np.ones(x.shape[1], np.float32)

    def _scaled(self, x: Array) -> Array:
        result: Array = (x - self.mean_) / self.scale_
        return result

    def _inputs(self, x: Any) -> Array:
        self._check_fitted()
        return self._scaled(check_matrix(x, self, fitting=False))


class MLPClassifier(_MLP):
    """A multi-layer perceptron that classifies vectors, trained by softmax cross-entropy.

    Args:
        hidden: sizes of the hidden layers.
        activation: 'relu', 'tanh', 'sigmoid', 'leaky_relu', 'elu', 'gelu', 'silu', 'softplus', 'maxout', ...
        dropout, input_dropout: probabilities of dropping hidden units and inputs in training.
        batch_norm: normalise before each activation.
        max_norm: limit on the norm of each hidden unit's incoming weights.
        label_smoothing: e in (1 - e) one_hot + e / classes.
        class_weight: None, 'balanced' or {label: weight}.
        optimizer: 'adam', 'sgd' (Nesterov momentum 0.9), 'adamw', 'rmsprop', 'lion', ...
        learning_rate, weight_decay, clip_norm: of the optimizer.
        schedule: None, 'cosine', 'one-cycle', 'plateau' or a `deepcore.optim.Schedule`.
        batch_size, epochs: of training.
        validation_fraction: share of the data held out for val_loss and val_accuracy in `history_`.
        early_stopping, patience: stop when val_loss does not improve and restore the best weights.
        standardize: shift and scale each feature to mean 0 and deviation 1 first.
        max_seconds: limit on the training time.
        ema: decay of an average of the weights to use instead of the last ones.
        random_state: seed; None differs from run to run.
        verbose: show progress.
        device: 'auto', 'cpu' or 'cuda'.

    Attributes:
        classes_ (k,): the labels. n_features_in_: features. history_: one dict per epoch. model_: the net.
    """

    _kind = "classifier"

    def __init__(
        self, hidden: Sequence[int] = (128,), *, activation: str = "relu", dropout: float = 0.0,
        input_dropout: float = 0.0, batch_norm: bool = False, max_norm: float | None = None,
        label_smoothing: float = 0.0, class_weight: Any = None, optimizer: str = "adam", learning_rate: float = 1e-3,
        weight_decay: float = 0.0, clip_norm: float | None = None, schedule: Any = None, batch_size: int = 64,
        epochs: int = 50, validation_fraction: float = 0.0, early_stopping: bool = False, patience: int = 10,
        standardize: bool = True, max_seconds: float | None = None, ema: float | None = None,
        random_state: int | None = None, verbose: bool = False, device: str = "auto",
    ) -> None:  # fmt: skip
        super().__init__(
            hidden, activation=activation, dropout=dropout, input_dropout=input_dropout, batch_norm=batch_norm,
            max_norm=max_norm, optimizer=optimizer, learning_rate=learning_rate, weight_decay=weight_decay,
            clip_norm=clip_norm, schedule=schedule, batch_size=batch_size, epochs=epochs,
            validation_fraction=validation_fraction, early_stopping=early_stopping, patience=patience,
            standardize=standardize, max_seconds=max_seconds, ema=ema, random_state=random_state, verbose=verbose,
            device=device,
        )  # fmt: skip
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight

    classes_: Array

    def _task(self) -> train.Supervised:
        smoothing = self.label_smoothing

        def loss(outputs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
            return ops.softmax_cross_entropy(outputs, target, label_smoothing=smoothing, sample_weight=weight)

        return train.Supervised(loss, {"accuracy": train.accuracy})

    def _weighted(self, arrays: tuple[Array, ...], encoded: Array, sample_weight: Any) -> tuple[Array, ...]:
        factors = class_factors(self.class_weight, self.classes_, encoded, type(self).__name__)
        if sample_weight is None and factors is None:
            return arrays
        weight = np.ones(len(encoded), np.float32)
        if sample_weight is not None:
            weight = check_sample_weight(sample_weight, len(encoded), type(self).__name__)
        if factors is not None:
            weight = weight * factors[encoded]
        return (*arrays, (weight / weight.mean()).astype(np.float32))

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
    ) -> MLPClassifier:  # fmt: skip
        """Train on X (n, features) and labels y (n,); returns self. `checkpoint` is written after each epoch."""
        self._check_parameters()
        x = check_matrix(X, self, fitting=True)
        labels = check_labels(y, type(self).__name__)
        check_lengths(x, labels)
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ArgumentError(
                f"{type(self).__name__}: expected at least 2 classes, got one class: {self.classes_.tolist()}"
            )
        seed = self._seed()
        self._set_scale(x)
        self.__dict__.pop("trainer_", None)
        self._build(len(self.classes_), seed)
        encoded = encoded.astype(np.int64)
        arrays = self._weighted((self._scaled(x), encoded), encoded, sample_weight)
        self._train(arrays, encoded, seed, checkpoint=checkpoint, resume=resume)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> MLPClassifier:
        """One more epoch on this data; the first call needs all `classes`. Features are scaled as in the first."""
        self._check_parameters()
        first = not hasattr(self, "model_")
        x = check_matrix(X, self, fitting=first)
        labels = check_labels(y, type(self).__name__)
        check_lengths(x, labels)
        seed = self._seed() if self.random_state is not None or first else 0
        if first:
            if classes is None:
                raise ArgumentError("classes must be passed on the first call to partial_fit.")
            self.classes_ = np.unique(check_labels(classes, type(self).__name__))
            self._set_scale(x)
            self._build(len(self.classes_), seed)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ArgumentError(f"{type(self).__name__}: classes differ from those of the first call to partial_fit")
        encoded = encode(labels, self.classes_, type(self).__name__)
        self._partial(self._weighted((self._scaled(x), encoded), encoded, sample_weight), seed)
        return self

    def predict_proba(self, X: Any) -> Array:
        """Class probabilities (n, k) in the order of classes_."""
        return softmax_rows(self._outputs(self._inputs(X)))

    def predict_log_proba(self, X: Any) -> Array:
        """Logarithms of the class probabilities (n, k)."""
        return np.log(np.maximum(self.predict_proba(X), 1e-300))

    def predict(self, X: Any) -> Array:
        """The most probable label of each sample, (n,)."""
        result: Array = (
            self.classes_[self.predict_proba(X).argmax(1)] if self.__sklearn_is_fitted__() else self._inputs(X)
        )
        return result

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy."""
        return float(np.average(self.predict(X) == np.asarray(y).reshape(-1), weights=sample_weight))

    def _fitted_meta(self) -> tuple[dict[str, Any], dict[str, Array]]:
        extra = {"classes": self.classes_.tolist(), "classes_dtype": self.classes_.dtype.str,
                 "n_features": self.n_features_in_}  # fmt: skip
        return extra, {"mean": self.mean_, "scale": self.scale_}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.classes_ = np.asarray(meta["classes"], dtype=np.dtype(meta["classes_dtype"]))
        self.n_features_in_ = int(meta["n_features"])
        self.mean_, self.scale_ = arrays["mean"], arrays["scale"]
        self._build(len(self.classes_), 0)
        self.n_iter_ = len(self.history_)


class MLPRegressor(_MLP):
    """A multi-layer perceptron that predicts numbers, trained by the mean squared error of standardised targets.

    Arguments as in `MLPClassifier`, and loss: 'squared', 'absolute' or 'huber'.
    """

    _kind = "regressor"

    def __init__(
        self, hidden: Sequence[int] = (128,), *, activation: str = "relu", dropout: float = 0.0,
        input_dropout: float = 0.0, batch_norm: bool = False, max_norm: float | None = None, loss: str = "squared",
        optimizer: str = "adam", learning_rate: float = 1e-3, weight_decay: float = 0.0, clip_norm: float | None = None,
        schedule: Any = None, batch_size: int = 64, epochs: int = 50, validation_fraction: float = 0.0,
        early_stopping: bool = False, patience: int = 10, standardize: bool = True, max_seconds: float | None = None,
        ema: float | None = None, random_state: int | None = None, verbose: bool = False, device: str = "auto",
    ) -> None:  # fmt: skip
        super().__init__(
            hidden, activation=activation, dropout=dropout, input_dropout=input_dropout, batch_norm=batch_norm,
            max_norm=max_norm, optimizer=optimizer, learning_rate=learning_rate, weight_decay=weight_decay,
            clip_norm=clip_norm, schedule=schedule, batch_size=batch_size, epochs=epochs,
            validation_fraction=validation_fraction, early_stopping=early_stopping, patience=patience,
            standardize=standardize, max_seconds=max_seconds, ema=ema, random_state=random_state, verbose=verbose,
            device=device,
        )  # fmt: skip
        self.loss = loss

    def _task(self) -> train.Supervised:
        losses = {"squared": ops.mse_loss, "absolute": ops.l1_loss, "huber": ops.huber_loss}
        if self.loss not in losses:
            raise ArgumentError(f"MLPRegressor: expected loss in {sorted(losses)}, got {self.loss!r}")
        chosen: Any = losses[self.loss]

        def loss(outputs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
            result: Tensor = chosen(outputs, target, sample_weight=weight)
            return result

        return train.Supervised(loss, {})

    def _targets(self, y: Any) -> Array:
        if y is None:
            raise ArgumentError("MLPRegressor: requires y to be passed, but the target y is None")
        values = np.asarray(y)
        if values.dtype.kind == "c":
            raise ArgumentError("Complex data not supported\n: y")
        values = values.astype(np.float64)
        if values.ndim not in (1, 2):
            raise ArgumentError(f"MLPRegressor: expected y (n,) or (n, outputs), got shape {values.shape}")
        if not np.isfinite(values).all():
            raise ArgumentError("Input y contains NaN or infinity.")
        return values

    def _begin(self, x: Array, values: Array, seed: int) -> None:
        self._flat = values.ndim == 1
        columns = values.reshape(len(values), -1)
        self._set_scale(x)
        self.target_mean_ = columns.mean(0)
        deviation = columns.std(0)
        self.target_scale_ = np.where(deviation > 0, deviation, 1.0)
        self._build(columns.shape[1], seed)

    def _arrays(self, x: Array, values: Array, sample_weight: Any) -> tuple[Array, ...]:
        columns = values.reshape(len(values), -1)
        targets = ((columns - self.target_mean_) / self.target_scale_).astype(np.float32)
        if sample_weight is None:
            return self._scaled(x), targets
        weight = check_sample_weight(sample_weight, len(x), type(self).__name__)
        return self._scaled(x), targets, (weight / weight.mean()).astype(np.float32)

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
    ) -> MLPRegressor:  # fmt: skip
        """Train on X (n, features) and targets y (n,) or (n, outputs); returns self."""
        self._check_parameters()
        x = check_matrix(X, self, fitting=True)
        values = self._targets(y)
        check_lengths(x, values)
        seed = self._seed()
        self.__dict__.pop("trainer_", None)
        self._begin(x, values, seed)
        self._train(self._arrays(x, values, sample_weight), None, seed, checkpoint=checkpoint, resume=resume)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """One more epoch on this data, scaled by the first call's statistics."""
        self._check_parameters()
        first = not hasattr(self, "model_")
        x = check_matrix(X, self, fitting=first)
        values = self._targets(y)
        check_lengths(x, values)
        seed = self._seed() if self.random_state is not None or first else 0
        if first:
            self._begin(x, values, seed)
        self._partial(self._arrays(x, values, sample_weight), seed)
        return self

    def predict(self, X: Any) -> Array:
        """Predictions (n,) or (n, outputs), as y was."""
        outputs = self._outputs(self._inputs(X)).astype(np.float64) * self.target_scale_ + self.target_mean_
        result: Array = outputs[:, 0] if self._flat else outputs
        return result

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2: 1 - squared error / variance."""
        truth = np.asarray(y, dtype=np.float64).reshape(len(np.asarray(y)), -1)
        guess = self.predict(X).reshape(truth.shape)
        weight = np.ones(len(truth)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        mean = np.average(truth, axis=0, weights=weight)
        residual = (weight[:, None] * (truth - guess) ** 2).sum(0)
        total = (weight[:, None] * (truth - mean) ** 2).sum(0)
        return float(np.mean(np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), (residual == 0) * 1.0)))

    def _fitted_meta(self) -> tuple[dict[str, Any], dict[str, Array]]:
        extra = {"n_features": self.n_features_in_, "flat": self._flat, "outputs": len(self.target_mean_)}
        return extra, {"mean": self.mean_, "scale": self.scale_, "target_mean": self.target_mean_,
                       "target_scale": self.target_scale_}  # fmt: skip

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.n_features_in_, self._flat = int(meta["n_features"]), bool(meta["flat"])
        self.mean_, self.scale_ = arrays["mean"], arrays["scale"]
        self.target_mean_, self.target_scale_ = arrays["target_mean"], arrays["target_scale"]
        self._build(int(meta["outputs"]), 0)
        self.n_iter_ = len(self.history_)
