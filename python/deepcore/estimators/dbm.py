"""DBM: a deep Boltzmann machine, the joint alternative to a deep belief net."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import optim, train
from deepcore.data import ArrayDataset, DataLoader
from deepcore.device import resolve_device
from deepcore.errors import ArgumentError
from deepcore.estimators.base import Estimator, check_matrix
from deepcore.estimators.supervised import make_schedule
from deepcore.models import DeepBoltzmann
from deepcore.nn.mapping import mapped
from deepcore.tensor import as_tensor

Array = npt.NDArray[Any]


class DBM(Estimator):
    """A deep Boltzmann machine: all layers trained together by mean field and persistent chains (Salakhutdinov and
    Hinton, 2009), centred (Montavon and Mueller, 2012), which makes layer-wise pre-training needless.

    Args:
        layers: hidden units from the bottom, two layers or more.
        chains, k, mean_field_steps: as in `deepcore.train.JointBoltzmann`.
        learning_rate, momentum, weight_decay, schedule, batch_size, n_iter: of the training, as in `RBM`.
        binarize: draw the data anew at each step from values in [0, 1].
        random_state, verbose, device: as in `RBM`.

    Attributes:
        model_: the `deepcore.models.DeepBoltzmann`. history_: one dict per epoch. n_features_in_, n_iter_.
    """

    _kind = "transformer"
    model_: DeepBoltzmann
    history_: list[dict[str, Any]]
    trainer_: train.Trainer
    n_features_in_: int

    def __init__(
        self, layers: Sequence[int] = (500, 500), *, chains: int = 100, k: int = 1, mean_field_steps: int = 10,
        learning_rate: float = 0.05, momentum: float = 0.0, weight_decay: float = 2e-4, schedule: Any = "linear",
        batch_size: int = 100, n_iter: int = 20, binarize: bool = False, random_state: int | None = None,
        verbose: bool | int = False, device: str = "auto",
    ) -> None:  # fmt: skip
        self.layers = layers
        self.chains = chains
        self.k = k
        self.mean_field_steps = mean_field_steps
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.binarize = binarize
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    def _rows(self, x: Any, *, fitting: bool) -> Array:
        values = check_matrix(x, self, fitting=fitting)
        if values.min() < 0 or values.max() > 1:
            at = int(np.argmax((values < 0) | (values > 1)))
            raise ArgumentError(
                f"DBM: expected values in [0, 1], got {values.reshape(-1)[at]:g} in sample {at // values.shape[1]}, "
                f"feature {at % values.shape[1]}"
            )
        return values

    def _build(self, features: int, seed: int) -> None:
        self.model_ = DeepBoltzmann(features, [int(n) for n in self.layers], seed=seed)
        self.model_.to(resolve_device(self.device))

    def fit(
        self, X: Any, y: Any = None, *, checkpoint: str | os.PathLike[str] | None = None, resume: bool = False
    ) -> DBM:
        """Train on X (n, features) in [0, 1]; y is ignored. Returns self. `checkpoint` is written after each epoch."""
        if not isinstance(self.n_iter, (int, np.integer)) or self.n_iter < 1 or self.batch_size < 1:
            raise ArgumentError(f"DBM: expected n_iter, batch_size >= 1, got {self.n_iter!r}, {self.batch_size!r}")
        x = self._rows(X, fitting=True)
        seed = self._seed()
        self._build(self.n_features_in_, seed)
        self.model_.start_from(x.mean(0))
        task = train.JointBoltzmann(chains=self.chains, k=self.k, mean_field_steps=self.mean_field_steps,
                                    binarize=self.binarize, seed=seed)  # fmt: skip
        loader = DataLoader(ArrayDataset(x), min(int(self.batch_size), len(x)), True, seed, prefetch=0)
        groups = [{"params": self.model_.weights, "weight_decay": self.weight_decay},
                  {"params": self.model_.biases, "weight_decay": 0.0}]  # fmt: skip
        self.trainer_ = train.Trainer(
            self.model_, optim.SGD(groups, self.learning_rate, momentum=self.momentum), task,
            schedule=make_schedule(self.schedule, len(loader) * int(self.n_iter)), callbacks=[task],
            progress="auto" if self.verbose else "off",
        )  # fmt: skip
        self.trainer_.fit(loader, epochs=int(self.n_iter), checkpoint=checkpoint, resume=resume)
        self.history_ = self.trainer_.history
        self.n_iter_ = len(self.history_)
        self.model_.eval()
        return self

    def transform(self, X: Any) -> Array:
        """Mean-field means of the top layer given X (n, features) -> (n, layers[-1])."""
        self._check_fitted()
        return mapped(self.model_.forward, self._rows(X, fitting=False), self.model_.device)

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """`fit`, then `transform`."""
        return self.fit(X, y).transform(X)

    def reconstruct(self, X: Any) -> Array:
        """Means of the visible units given the means of the first hidden layer: (n, features)."""
        self._check_fitted()
        return mapped(self.model_.reconstruct, self._rows(X, fitting=False), self.model_.device)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the outputs of `transform`: dbm0, dbm1, ..."""
        self._check_fitted()
        return np.asarray([f"dbm{i}" for i in range(self.layers[-1])], dtype=object)

    def sample(self, n: int = 1, *, steps: int = 1000) -> Array:
        """n samples (n, features) of chains of `steps` Gibbs steps."""
        self._check_fitted()
        if n < 1 or steps < 1:
            raise ArgumentError(f"DBM.sample: expected n and steps >= 1, got {n} and {steps}")
        return np.array(self.model_.gibbs(self.model_.noise(n), steps)[0].numpy())

    def log_likelihood_bound(self, X: Any, log_z: float | None = None) -> Array:
        """A lower bound on log p(x) of each row in nats, (n,). log_z: exact for small machines when not given."""
        self._check_fitted()
        x = self._rows(X, fitting=False)
        z = self.model_.log_partition() if log_z is None else log_z
        return self.model_.log_likelihood_bound(as_tensor(x).to(self.model_.device), z)

    def _fitted_meta(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return {"n_features": self.n_features_in_}, {}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.n_features_in_ = int(meta["n_features"])
        self._build(self.n_features_in_, 0)
        self.n_iter_ = len(self.history_)

    def __getstate__(self) -> dict[str, Any]:
        """Pickling keeps what was learnt; the trainer stays behind."""
        return {k: v for k, v in self.__dict__.items() if k != "trainer_"}
