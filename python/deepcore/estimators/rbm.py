"""RBM: a restricted Boltzmann machine with scikit-learn's conventions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import nn, optim, train
from deepcore.data import ArrayDataset, DataLoader
from deepcore.device import resolve_device
from deepcore.errors import ArgumentError
from deepcore.estimators.base import check_matrix
from deepcore.estimators.machine import Machine
from deepcore.estimators.monitor import Monitor, Settled, Updates
from deepcore.estimators.sparse import SparseRows, check_rows, is_sparse
from deepcore.estimators.supervised import make_schedule
from deepcore.train.contrastive import Contrastive, at_epoch, check_schedule, initial_visible_bias

Array = npt.NDArray[Any]


class RBM(Machine):
    """A restricted Boltzmann machine: learns the distribution of its inputs, and features of them.

    Takes the place of scikit-learn's BernoulliRBM in a Pipeline; `n_components`, `learning_rate`, `batch_size`,
    `n_iter`, `verbose` and `random_state` mean the same.

    Args:
        n_components: hidden units.
        visible_units, hidden_units, visible_group, hidden_group, visible_choice, variance, exact: as in
            `deepcore.nn.RBM`. Bernoulli inputs lie in [0, 1]; softmax inputs are one-hot in groups, or NaN for a whole
            group that is missing.
        algorithm, k, chains, temperatures, hottest, fast_rate, fast_decay, centred, visible_means, binarize,
        sparsity_target, sparsity_cost, dropout, l1: as in `deepcore.train.Contrastive`.
        learning_rate: of plain gradient ascent.
        schedule: None, 'linear' (down to 0), 'cosine', 'one-cycle' or a `deepcore.optim.Schedule`.
        momentum: a number, or pairs (first epoch, momentum) such as ((0, 0.5), (5, 0.9)).
        weight_decay: squared weight decay of the weights.
        max_norm: limit on the norm of each hidden unit's weights.
        clip_norm: limit on the norm of the gradient.
        deviation: of the initial weights.
        bias_from_data: start with visible biases that give the means of the data.
        batch_size, n_iter: samples of a step, passes over the data.
        validation_fraction: share of the data held out; `history_` then has the free-energy gap.
        settle: stop when the KL divergence in the history has changed by less than `tolerance` (relative) for so many
            epochs; None goes on to the end.
        max_seconds: limit on the training time.
        keep_updates: keep what the last epoch changed, for `report` (a copy of the parameters an epoch).
        random_state, verbose, device: seed, progress, 'auto', 'cpu' or 'cuda'.

    Attributes:
        components_ (n_components, features), intercept_hidden_, intercept_visible_: the parameters.
        model_: the `deepcore.nn.RBM`. n_features_in_: features.
        history_: one dict per epoch: loss (energy gap), kl, pseudo_log_likelihood, reconstruction_error, and with
            validation data free_energy_gap (validation less training). kl is the exact divergence of data and machine
            in nats ('kl_exact': True) where the machine has at most 16 units on one side and 1,000 distinct samples at
            most are looked at, else the divergence of inputs and reconstructions per pixel.
        kl_: the last kl. n_iter_: epochs run.
        updates_: with keep_updates, name -> what the last epoch changed in weight, visible_bias, hidden_bias (and
            log_variance).
    """

    _kind = "transformer"
    _takes_sparse = True
    _layer = 0  # of a stack: its machines draw different random numbers
    model_: nn.RBM
    history_: list[dict[str, Any]]
    trainer_: train.Trainer
    updates_: dict[str, Array]
    n_features_in_: int

    def __init__(
        self, n_components: int = 256, *, visible_units: str = "bernoulli", hidden_units: str = "bernoulli",
        visible_group: int = 1, hidden_group: int = 1, visible_choice: int = 0, variance: float | str = 1.0,
        algorithm: str = "pcd", k: Any = 1, chains: int | None = None, temperatures: int = 10, hottest: float = 0.1,
        fast_rate: float = 0.01, fast_decay: float = 0.95, centred: bool = False, visible_means: bool = False,
        binarize: bool = False, sparsity_target: float | None = None, sparsity_cost: float = 0.1, dropout: float = 0.0,
        l1: float = 0.0, learning_rate: float = 0.05, schedule: Any = None, momentum: Any = 0.0,
        weight_decay: float = 0.0, max_norm: float | None = None, clip_norm: float | None = None,
        deviation: float = 0.01, bias_from_data: bool = True, exact: bool = False, batch_size: int = 100,
        n_iter: int = 10, validation_fraction: float = 0.0, settle: int | None = None, tolerance: float = 1e-3,
        max_seconds: float | None = None, keep_updates: bool = False, random_state: int | None = None,
        verbose: bool | int = False, device: str = "auto",
    ) -> None:  # fmt: skip
        self.n_components = n_components
        self.visible_units = visible_units
        self.hidden_units = hidden_units
        self.visible_group = visible_group
        self.hidden_group = hidden_group
        self.visible_choice = visible_choice
        self.variance = variance
        self.algorithm = algorithm
        self.k = k
        self.chains = chains
        self.temperatures = temperatures
        self.hottest = hottest
        self.fast_rate = fast_rate
        self.fast_decay = fast_decay
        self.centred = centred
        self.visible_means = visible_means
        self.binarize = binarize
        self.sparsity_target = sparsity_target
        self.sparsity_cost = sparsity_cost
        self.dropout = dropout
        self.l1 = l1
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.max_norm = max_norm
        self.clip_norm = clip_norm
        self.deviation = deviation
        self.bias_from_data = bias_from_data
        self.exact = exact
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.validation_fraction = validation_fraction
        self.settle = settle
        self.tolerance = tolerance
        self.max_seconds = max_seconds
        self.keep_updates = keep_updates
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    # ---- building ----
    def _check_parameters(self) -> None:
        resolve_device(self.device)
        for name, low in (("n_components", 1), ("batch_size", 1), ("n_iter", 1)):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < low:
                raise ArgumentError(f"RBM: expected {name} >= {low}, got {value!r}")
        if not 0 <= self.validation_fraction < 1:
            raise ArgumentError(f"RBM: expected validation_fraction in [0, 1), got {self.validation_fraction}")
        if self.settle is not None and (self.settle < 1 or self.tolerance <= 0):
            raise ArgumentError(f"RBM: expected settle >= 1 and tolerance > 0, got {self.settle}, {self.tolerance}")
        check_schedule("RBM", "momentum", self.momentum, 0)

    def _rows(self, x: Any, *, fitting: bool) -> tuple[Any, Array | None]:
        """Samples as float32 rows (a matrix, or `SparseRows`), and which entries are known (None: all)."""
        if is_sparse(x):
            rows = check_rows(x, self, fitting=fitting)
            self._check_range(rows.matrix.data)
            return rows, None
        known = None
        if self.visible_units == "softmax":
            x = np.asarray(x, np.float32)
            missing = np.isnan(x)
            if missing.any():
                known = (~missing).astype(np.float32)
                x = np.where(missing, 0, x)
        values = check_matrix(x, self, fitting=fitting)
        self._check_range(values)
        if self.visible_units == "softmax":
            self._check_groups(values, known)
        return values, known

    def _check_range(self, values: Array) -> None:
        kind = self.visible_units
        low, high = {"bernoulli": (0, 1), "softmax": (0, 1), "relu": (0, np.inf)}.get(kind, (-np.inf, np.inf))
        if values.size and (values.min() < low or values.max() > high):
            at = np.argmax((values < low) | (values > high))
            where = "" if values.ndim == 1 else f" in sample {at // values.shape[1]}, feature {at % values.shape[1]}"
            value = values.reshape(-1)[at]
            raise ArgumentError(
                f"RBM: expected values in [{low}, {high}] for {kind} visible units, got {value:g}{where}"
            )

    def _check_groups(self, values: Array, known: Array | None) -> None:
        group = self.visible_group
        if group < 2 or values.shape[1] % group:
            raise ArgumentError(f"RBM: expected softmax features in groups of {group}, got {values.shape[1]}")
        sums = values.reshape(len(values), -1, group).sum(2)
        if known is not None:
            shares = known.reshape(len(values), -1, group).mean(2)
            if ((shares > 0) & (shares < 1)).any():
                raise ArgumentError("RBM: expected a group of softmax features to be NaN as a whole or not at all")
            sums = np.where(shares == 0, 1, sums)
        if not np.allclose(sums, 1, atol=1e-4):
            row, place = np.argwhere(np.abs(sums - 1) > 1e-4)[0]
            raise ArgumentError(
                f"RBM: expected each group of softmax features to sum to 1, got {sums[row, place]:g} in sample {row}, "
                f"group {place}"
            )

    def _build(self, features: int, seed: int) -> None:
        self.model_ = nn.RBM(
            features, int(self.n_components), visible_units=self.visible_units, hidden_units=self.hidden_units,
            visible_group=self.visible_group, hidden_group=self.hidden_group, visible_choice=self.visible_choice,
            variance=self.variance, layer=self._layer, deviation=self.deviation, exact=self.exact, seed=seed,
        )  # fmt: skip
        self.model_.weight.max_norm = self.max_norm
        self.model_.to(resolve_device(self.device))

    def _task(self, seed: int) -> Contrastive:
        return Contrastive(
            self.algorithm, k=self.k, momentum=None if isinstance(self.momentum, (int, float)) else self.momentum,
            chains=self.chains, temperatures=self.temperatures, hottest=self.hottest, fast_rate=self.fast_rate,
            fast_decay=self.fast_decay, centred=self.centred, visible_means=self.visible_means, binarize=self.binarize,
            sparsity_target=self.sparsity_target, sparsity_cost=self.sparsity_cost, dropout=self.dropout, l1=self.l1,
            seed=seed,
        )  # fmt: skip

    def _optimizer(self) -> optim.SGD:
        numbers = [self.momentum] if isinstance(self.momentum, (int, float)) else [m for _, m in self.momentum]
        decayed = [self.model_.weight]
        rest = [p for p in self.model_.parameters() if p is not self.model_.weight]
        groups = [{"params": decayed, "weight_decay": self.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        rule = optim.SGD(groups, self.learning_rate, momentum=max(float(max(numbers)), 0.0), clip_norm=self.clip_norm)
        rule.momentum = at_epoch(self.momentum, 0)
        return rule

    # ---- training ----
    def fit(
        self, X: Any, y: Any = None, *, checkpoint: str | os.PathLike[str] | None = None, resume: bool = False
    ) -> RBM:
        """Train on X (n, features), dense or SciPy CSR; y is ignored. Returns self.

        `checkpoint` is written after each epoch; `resume` goes on from it bit for bit. ArgumentError for values outside
        the units' range; NumericalError when a Gaussian machine diverges, with the cause.
        """
        self._check_parameters()
        x, known = self._rows(X, fitting=True)
        seed = self._seed()
        self.__dict__.pop("trainer_", None)
        self.__dict__.pop("partition_", None)
        self._build(self.n_features_in_, seed)
        n = len(x)
        order = np.random.default_rng(seed).permutation(n)
        held = order[: int(n * self.validation_fraction)]
        kept = np.sort(order[len(held) :]) if len(held) else None
        if kept is not None:
            validation, _ = _subset(x, known, np.sort(held))
            x, known = _subset(x, known, kept)
        else:
            validation = None
        if self.bias_from_data:
            initial_visible_bias(self.model_, *_moments(x, known, self.model_.learns_variance))
        task = self._task(seed)
        loader = self._loader(x, known, seed)
        monitor = Monitor(_head(x, known), None if validation is None else _head(validation, None)[0], seed)
        callbacks: list[train.Callback] = [task, monitor]
        if self.settle is not None:
            callbacks.append(Settled(self.settle, self.tolerance))
        if self.keep_updates:
            callbacks.append(Updates())
        self.trainer_ = train.Trainer(
            self.model_, self._optimizer(), task, schedule=make_schedule(self.schedule, len(loader) * int(self.n_iter)),
            callbacks=callbacks, progress="auto" if self.verbose else "off",
        )  # fmt: skip
        self.history_ = self.trainer_.history
        self.trainer_.fit(loader, epochs=int(self.n_iter), max_seconds=self.max_seconds, checkpoint=checkpoint,
                          resume=resume)  # fmt: skip
        self._finish()
        return self

    def partial_fit(self, X: Any, y: Any = None) -> RBM:
        """One pass over X with the chains and the optimizer of earlier calls; the learning rate stays constant."""
        self._check_parameters()
        first = not hasattr(self, "model_")
        x, known = self._rows(X, fitting=first)
        seed = self._seed() if self.random_state is not None or first else 0
        self.__dict__.pop("partition_", None)
        if first:
            self._build(self.n_features_in_, seed)
            if self.bias_from_data:
                initial_visible_bias(self.model_, *_moments(x, known, self.model_.learns_variance))
        if not hasattr(self, "trainer_"):
            task = self._task(seed)
            callbacks: list[train.Callback] = [task, Updates()] if self.keep_updates else [task]
            self.trainer_ = train.Trainer(self.model_, self._optimizer(), task, callbacks=callbacks, progress="off")
        self.trainer_.samples = 0
        self.trainer_.fit(self._loader(x, known, seed + self.trainer_.optimizer.steps), epochs=1)
        self._finish()
        return self

    def _loader(self, x: Any, known: Array | None, seed: int) -> DataLoader:
        dataset: Any = x if isinstance(x, SparseRows) else ArrayDataset(x) if known is None else ArrayDataset(x, known)
        return DataLoader(dataset, min(int(self.batch_size), len(x)), True, seed, prefetch=0)

    def _finish(self) -> None:
        self.history_ = self.trainer_.history
        self.n_iter_ = len(self.history_)
        self.__dict__.pop("updates_", None)
        for callback in self.trainer_.callbacks:
            if isinstance(callback, Updates) and callback.changes:
                self.updates_ = callback.changes
        self.model_.eval()

    def report(
        self, path: str | os.PathLike[str], X: Any, y: Any = None, *, shape: tuple[int, ...] | None = None,
        title: str | None = None,
    ) -> None:  # fmt: skip
        """Write one self-contained HTML file about this machine on samples X (n, features): learning curves, filters,
        reconstructions, chains, histograms of parameters (and updates, with keep_updates), hidden activity and the map
        of hidden states (coloured by y). Needs the viz extra.

        shape: of a picture, (h, w) or (h, w, 3); None: a square where features make one; (): no pictures.
        """
        from deepcore.viz.boltzmann import rbm_report

        self._check_fitted()
        rbm_report(self, path, X, y, shape=shape, title=title)

    # ---- files ----
    def _fitted_meta(self) -> tuple[dict[str, Any], dict[str, Array]]:
        updates = {f"updates.{name}": a for name, a in getattr(self, "updates_", {}).items()}
        return {"n_features": self.n_features_in_}, updates

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.n_features_in_ = int(meta["n_features"])
        if arrays:
            self.updates_ = {name[8:]: a for name, a in arrays.items()}
        self._build(self.n_features_in_, 0)
        self.n_iter_ = len(self.history_)

    def __getstate__(self) -> dict[str, Any]:
        """Pickling keeps what was learnt; the trainer stays behind."""
        return {k: v for k, v in self.__dict__.items() if k != "trainer_"}


def _subset(x: Any, known: Array | None, rows: Array) -> tuple[Any, Array | None]:
    picked = x.rows(rows) if isinstance(x, SparseRows) else x[rows]
    return picked, None if known is None else known[rows]


def _head(x: Any, known: Array | None, n: int = 1000) -> tuple[Array, Array | None]:
    rows = np.arange(min(n, len(x)))
    values = x[rows][0] if isinstance(x, SparseRows) else x[rows]
    return values, None if known is None else known[rows]


def _moments(x: Any, known: Array | None, spread: bool) -> tuple[Array, Array | None]:
    """Mean and, if asked for (it costs three passes), variance of each feature over its known entries."""
    if isinstance(x, SparseRows):
        return x.moments()
    if known is None:
        return x.mean(0, dtype=np.float64), x.var(0, dtype=np.float64) if spread else None
    count = np.maximum(known.sum(0, dtype=np.float64), 1)
    mean = x.sum(0, dtype=np.float64) / count
    return mean, (known * (x - mean) ** 2).sum(0, dtype=np.float64) / count if spread else None


__all__: Sequence[str] = ["RBM"]
