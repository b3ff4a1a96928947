"""What one does with a fitted restricted Boltzmann machine: features, samples, completions, likelihoods, reports."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import nn
from deepcore.errors import ArgumentError
from deepcore.estimators.base import Estimator, check_matrix
from deepcore.estimators.monitor import pseudo_log_likelihood
from deepcore.estimators.sparse import SparseRows
from deepcore.nn import partition
from deepcore.nn.mapping import mapped
from deepcore.tensor import as_tensor

Array = npt.NDArray[Any]


class Machine(Estimator):
    """Base of `deepcore.RBM`, which trains it."""

    _kind = "transformer"
    model_: nn.RBM
    history_: list[dict[str, Any]]
    n_features_in_: int
    n_components: int
    random_state: Any

    @abstractmethod
    def _rows(self, x: Any, *, fitting: bool) -> tuple[Any, Array | None]:
        """Samples as float32 rows (a matrix, or `SparseRows`), and which entries are known (None: all)."""

    @abstractmethod
    def _check_range(self, values: Array) -> None:
        """ArgumentError for values outside the visible units' range."""

    @abstractmethod
    def fit(self, X: Any, y: Any = None) -> Machine:
        """Train on X."""

    # ---- what was learnt ----
    @property
    def components_(self) -> Array:
        """Weights (n_components, features)."""
        self._check_fitted()
        return np.array(self.model_.weight.numpy())

    @property
    def intercept_hidden_(self) -> Array:
        """Hidden biases (n_components,)."""
        self._check_fitted()
        return np.array(self.model_.hidden_bias.numpy())

    @property
    def intercept_visible_(self) -> Array:
        """Visible biases (features,)."""
        self._check_fitted()
        return np.array(self.model_.visible_bias.numpy())

    @property
    def kl_(self) -> float:
        """The last KL divergence of the history (nats, exact or per pixel)."""
        self._check_fitted()
        return float(self.history_[-1]["kl"])

    def _dense(self, x: Any) -> Array:
        rows, _ = self._rows(x, fitting=False)
        return rows[np.arange(len(rows))][0] if isinstance(rows, SparseRows) else rows

    def transform(self, X: Any) -> Array:
        """Means of the hidden units given X (n, features) -> (n, n_components)."""
        self._check_fitted()
        return mapped(self.model_.forward, self._dense(X), self.model_.device)

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """`fit`, then `transform`."""
        return self.fit(X, y).transform(X)

    def inverse_transform(self, H: Any) -> Array:
        """Means of the visible units given H (n, n_components) -> (n, features)."""
        self._check_fitted()
        h = np.ascontiguousarray(H, dtype=np.float32)
        if h.ndim != 2 or h.shape[1] != self.n_components:
            raise ArgumentError(f"RBM.inverse_transform: expected (n, {self.n_components}), got {h.shape}")
        return mapped(self.model_.backward, h, self.model_.device)

    def reconstruct(self, X: Any) -> Array:
        """Means of the visible units given the means of the hidden units given X: (n, features)."""
        self._check_fitted()
        return mapped(self.model_.reconstruct, self._dense(X), self.model_.device)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the outputs of `transform`: rbm0, rbm1, ..."""
        self._check_fitted()
        return np.asarray([f"rbm{i}" for i in range(self.n_components)], dtype=object)

    # ---- samples ----
    def sample(self, n: int = 1, *, steps: int = 1000, init: Any = None, mean: bool = False) -> Array:
        """n samples (n, features) of chains of `steps` Gibbs steps, from noise or from `init`; mean: probabilities."""
        self._check_fitted()
        start = None if init is None else as_tensor(self._dense(init)).to(self.model_.device)
        return np.array(self.model_.sample(n, steps=steps, init=start, mean=mean).numpy())

    def daydream(self, n: int = 1, *, init: Any = None, mean: bool = False) -> Iterator[Array]:
        """The machine running freely: visible states (n, features) of step after step, without end."""
        self._check_fitted()
        start = None if init is None else as_tensor(self._dense(init)).to(self.model_.device)
        for v in self.model_.daydream(n, init=start, mean=mean):
            yield np.array(v.numpy())

    def gibbs(self, v: Any) -> Array:
        """One Gibbs step from v (n, features): hidden sample, then visible sample."""
        self._check_fitted()
        x = as_tensor(self._dense(v)).to(self.model_.device)
        return np.array(self.model_.sample_visible(self.model_.sample_hidden(x)).numpy())

    def complete(self, X: Any, mask: Any, *, steps: int = 200, burn_in: int = 50) -> Array:
        """X with the entries where mask is False replaced by their expectation given the others, by clamped Gibbs.

        mask: (n, features) or (features,), True where an entry is known; entries elsewhere are ignored, NaN included.
        """
        self._check_fitted()
        values = np.asarray(X, dtype=np.float32)
        known = np.broadcast_to(np.asarray(mask, dtype=bool), values.shape)
        x = check_matrix(np.where(known, values, 0), self, fitting=False)
        self._check_range(x)
        device = self.model_.device
        filled = self.model_.complete(as_tensor(x).to(device), as_tensor(known.astype(np.float32)).to(device),
                                      steps=steps, burn_in=burn_in)  # fmt: skip
        return np.array(filled.numpy())

    # ---- likelihood ----
    def free_energy(self, X: Any) -> Array:
        """F(x) of each row, (n,): -log p(x) up to log Z."""
        self._check_fitted()
        return partition.free_energies(self.model_, self._dense(X))

    def anomaly_score(self, X: Any) -> Array:
        """The free energy: the higher, the less the machine expects x; (n,)."""
        return self.free_energy(X)

    def log_partition(self, method: str = "auto", **options: Any) -> partition.Partition:
        """log Z, as `deepcore.nn.partition.log_partition`; kept in `partition_` for `score_samples`."""
        self._check_fitted()
        self.partition_ = partition.log_partition(self.model_, method, **options)
        return self.partition_

    def score_samples(self, X: Any) -> Array:
        """log p(x) of each row in nats, (n,): exact where log Z can be enumerated (20 units), else by AIS (see
        `partition_` for its error)."""
        self._check_fitted()
        x = self._dense(X)
        if not hasattr(self, "partition_"):
            self.log_partition()
        return partition.log_likelihood(self.model_, x, self.partition_.log_z)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-likelihood in nats."""
        return float(self.score_samples(X).mean())

    def pseudo_log_likelihood(self, X: Any) -> float:
        """features times the mean log-probability of one random feature given the others (Besag, 1975), in nats."""
        self._check_fitted()
        return pseudo_log_likelihood(self.model_, self._dense(X), self._seed_of_scores())

    def _seed_of_scores(self) -> int:
        return int(self.random_state) if isinstance(self.random_state, (int, np.integer)) else 0

    def kl_divergence(self, X: Any) -> float:
        """Exact KL(X || machine) in nats, X with its frequencies. ArgumentError if the machine is too large."""
        self._check_fitted()
        return partition.kl_divergence(self.model_, self._dense(X))
