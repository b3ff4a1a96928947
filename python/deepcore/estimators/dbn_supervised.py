"""DBNClassifier and DBNRegressor: perceptrons that start from a deep belief net and are fine-tuned by gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import nn
from deepcore.device import resolve_device
from deepcore.errors import ArgumentError
from deepcore.estimators.base import check_matrix
from deepcore.estimators.dbn import DBN
from deepcore.estimators.mlp import MLPClassifier, MLPRegressor
from deepcore.models import DeepBeliefNet

Array = npt.NDArray[Any]


class _Pretrained:
    """Builds `model_` from a deep belief net. Beside an MLP estimator, whose `_build` it takes the place of."""

    layers: Sequence[int]
    pretrain: bool
    pretraining: Mapping[str, Any] | None
    n_features_in_: int
    model_: nn.Module
    _data: Array | None = None
    _unlabelled: Any = None

    def _set_scale(self, x: Array) -> None:
        super()._set_scale(x)  # type: ignore[misc]
        more, self._unlabelled = self._unlabelled, None
        if more is None:
            self._data = x
            return
        owner: Any = self
        values = check_matrix(more, owner, fitting=False)
        self._data = np.concatenate([x, values])
        super()._set_scale(self._data)  # type: ignore[misc]

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, unlabelled: Any = None, **files: Any) -> Any:
        """Pre-train on X and `unlabelled` (m, features), then train on X (n, features) and y; returns self.

        Other arguments as in `MLPClassifier.fit`.
        """
        self._unlabelled = unlabelled
        return super().fit(X, y, sample_weight, **files)  # type: ignore[misc]

    def _dbn(self, seed: int) -> DBN:
        owner: Any = self
        options: dict[str, Any] = {"verbose": owner.verbose, "device": owner.device, **(self.pretraining or {})}
        if "layers" in options or "random_state" in options:
            raise ArgumentError(f"{type(self).__name__}: layers and random_state are arguments of their own")
        if owner.standardize and "visible_units" not in options:
            options["visible_units"] = "gaussian"
        return DBN(self.layers, random_state=seed, **options)

    def _build(self, outputs: int, seed: int) -> None:
        owner: Any = self
        dbn = self._dbn(seed)
        dbn._check_parameters()
        data, self._data = self._data, None
        if self.pretrain and data is not None:
            dbn.fit(owner._scaled(data))
            net = dbn.model_
            self.pretrain_history_ = dbn.history_
        else:
            machines: list[nn.RBM] = []
            width = self.n_features_in_
            for i, units in enumerate(self.layers):
                machine = dbn._machine(i, 0, seed)
                machine._build(width, seed + i)
                # A net that starts from random weights gets those of a perceptron, not a machine's tiny ones.
                machine.model_.weight = nn.Parameter(nn.init.glorot_uniform((int(units), width), (seed, i, 0)))
                machines.append(machine.model_)
                width = int(units)
            net = DeepBeliefNet(machines)
            self.pretrain_history_ = []
        self.model_ = net.to_mlp(outputs, dropout=owner.dropout, input_dropout=owner.input_dropout,
                                 max_norm=owner.max_norm, seed=seed)  # fmt: skip
        self.model_.to(resolve_device(owner.device))


class DBNClassifier(_Pretrained, MLPClassifier):
    """A classifier pre-trained as a deep belief net and fine-tuned by back propagation of the cross-entropy.

    Source: Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks", 2006.

    Args:
        layers: hidden units of each layer.
        pretrain: False starts the same net from random weights.
        pretraining: arguments of `DBN` for the pre-training ('n_iter', 'learning_rate', 'settings', ...).
        standardize: shift and scale features to mean 0 and deviation 1; the bottom machine then has Gaussian units.
            Without it features lie in [0, 1].
        Others as in `MLPClassifier`; they concern the fine-tuning.

    Attributes:
        pretrain_history_: `DBN.history_` of the pre-training. Others as in `MLPClassifier`.
    """

    def __init__(
        self, layers: Sequence[int] = (500, 500, 2000), *, pretrain: bool = True,
        pretraining: Mapping[str, Any] | None = None, dropout: float = 0.0, input_dropout: float = 0.0,
        max_norm: float | None = None, label_smoothing: float = 0.0, class_weight: Any = None, optimizer: str = "adam",
        learning_rate: float = 1e-3, weight_decay: float = 0.0, clip_norm: float | None = None, schedule: Any = None,
        batch_size: int = 100, epochs: int = 20, validation_fraction: float = 0.0, early_stopping: bool = False,
        patience: int = 10, standardize: bool = False, max_seconds: float | None = None, ema: float | None = None,
        random_state: int | None = None, verbose: bool = False, device: str = "auto",
    ) -> None:  # fmt: skip
        super().__init__(
            (), dropout=dropout, input_dropout=input_dropout, max_norm=max_norm, label_smoothing=label_smoothing,
            class_weight=class_weight, optimizer=optimizer, learning_rate=learning_rate, weight_decay=weight_decay,
            clip_norm=clip_norm, schedule=schedule, batch_size=batch_size, epochs=epochs,
            validation_fraction=validation_fraction, early_stopping=early_stopping, patience=patience,
            standardize=standardize, max_seconds=max_seconds, ema=ema, random_state=random_state, verbose=verbose,
            device=device,
        )  # fmt: skip
        self.layers = layers
        self.pretrain = pretrain
        self.pretraining = pretraining


class DBNRegressor(_Pretrained, MLPRegressor):
    """A regressor pre-trained as a deep belief net and fine-tuned by back propagation of the error.

    Args:
        layers: hidden units of each layer.
        pretrain: False starts the same net from random weights.
        pretraining: arguments of `DBN` for the pre-training ('n_iter', 'learning_rate', 'settings', ...).
        standardize: shift and scale features to mean 0 and deviation 1; the bottom machine then has Gaussian units.
            Without it features lie in [0, 1].
        loss: 'squared', 'absolute' or 'huber', of standardised targets.
        Others as in `MLPClassifier`; they concern the fine-tuning.

    Attributes:
        pretrain_history_: `DBN.history_` of the pre-training. Others as in `MLPRegressor`.
    """

    def __init__(
        self, layers: Sequence[int] = (200, 100), *, pretrain: bool = True,
        pretraining: Mapping[str, Any] | None = None, dropout: float = 0.0, input_dropout: float = 0.0,
        max_norm: float | None = None, loss: str = "squared", optimizer: str = "adam", learning_rate: float = 1e-3,
        weight_decay: float = 0.0, clip_norm: float | None = None, schedule: Any = None, batch_size: int = 100,
        epochs: int = 20, validation_fraction: float = 0.0, early_stopping: bool = False, patience: int = 10,
        standardize: bool = False, max_seconds: float | None = None, ema: float | None = None,
        random_state: int | None = None, verbose: bool = False, device: str = "auto",
    ) -> None:  # fmt: skip
        super().__init__(
            (), dropout=dropout, input_dropout=input_dropout, max_norm=max_norm, loss=loss, optimizer=optimizer,
            learning_rate=learning_rate, weight_decay=weight_decay, clip_norm=clip_norm, schedule=schedule,
            batch_size=batch_size, epochs=epochs, validation_fraction=validation_fraction,
            early_stopping=early_stopping, patience=patience, standardize=standardize, max_seconds=max_seconds, ema=ema,
            random_state=random_state, verbose=verbose, device=device,
        )  # fmt: skip
        self.layers = layers
        self.pretrain = pretrain
        self.pretraining = pretraining
