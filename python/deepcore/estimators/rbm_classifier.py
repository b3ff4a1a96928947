"""RBMClassifier: a restricted Boltzmann machine with class units."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import nn, ops, train
from deepcore.device import resolve_device
from deepcore.errors import ArgumentError
from deepcore.estimators.mlp import MLPClassifier
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


class RBMClassifier(MLPClassifier):
    """A restricted Boltzmann machine of inputs and class units; p(y | x) is exact (Larochelle and Bengio, 2008).

    Args:
        n_components: hidden units.
        mode: 'discriminative' trains -log p(y | x), 'generative' contrastive divergence of (x, y), 'hybrid' both.
        generative_weight: share of the generative part in 'hybrid'.
        k: Gibbs steps of the generative part.
        scaling: 'minmax' maps each feature's training range to [0, 1] (values outside are clipped); None takes values
            in [0, 1] as they are.
        Others as in `MLPClassifier`; sample weights concern the discriminative part.

    Attributes:
        classes_ (k,), n_features_in_, history_, n_iter_; model_: the `deepcore.nn.RBM`.
    """

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

    def _task(self) -> Any:
        return _ClassTask(self.mode, self.generative_weight, self.k)

    def _set_scale(self, x: Array) -> None:
        low, high = np.zeros(x.shape[1], np.float32), np.ones(x.shape[1], np.float32)
        if self.scaling == "minmax":
            low, high = x.min(0), x.max(0)
        self.mean_, self.scale_ = low, np.where(high > low, high - low, 1).astype(np.float32)

    def _scaled(self, x: Array) -> Array:
        y = super()._scaled(x)
        if self.scaling == "minmax":
            return np.clip(y, 0, 1)
        if y.min() < 0 or y.max() > 1:
            raise ArgumentError(f"RBMClassifier: expected values in [0, 1], got {y.min():g} to {y.max():g}")
        return y

    def _build(self, outputs: int, seed: int) -> None:
        self.model_ = nn.RBM(self.n_features_in_ + outputs, int(self.n_components), visible_choice=outputs,
                             deviation=0.05, seed=seed)  # fmt: skip
        self.model_.to(resolve_device(self.device))

    def _train(self, arrays: tuple[Array, ...], *split: Any, **options: Any) -> None:
        x, encoded = arrays[:2]
        joint_mean = np.concatenate([x.mean(0), np.bincount(encoded) / len(encoded)])
        initial_visible_bias(self.model_, joint_mean)  # type: ignore[arg-type]
        super()._train(arrays, *split, **options)

    def _outputs(self, x: Array) -> Array:
        model: Any = self.model_
        return mapped(model.class_scores, x, model.device)
