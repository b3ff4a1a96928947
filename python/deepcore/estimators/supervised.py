"""The common training of all supervised estimators: split, loaders, optimizer, schedule, early stopping."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import optim, train
from deepcore.data import ArrayDataset, DataLoader, PairDataset, SequenceDataset, Subset, train_val_split
from deepcore.data.dataset import Dataset
from deepcore.device import resolve_device
from deepcore.errors import ArgumentError
from deepcore.estimators.base import Estimator
from deepcore.nn import Module
from deepcore.optim.schedule import Constant, Cosine, LinearDecay, OneCycle, Plateau, Schedule, WarmUp
from deepcore.tensor import as_tensor
from deepcore.train.trainer import Task

Array = npt.NDArray[Any]

_OPTIONS: dict[str, dict[str, Any]] = {"sgd": {"momentum": 0.9, "nesterov": True}, "asgd": {"start": "nonmonotone"}}


def make_schedule(name: str | Schedule | None, steps: int) -> Schedule | None:
    """A schedule by name for a run of `steps` optimizer steps."""
    if name is None or name == "constant" or isinstance(name, Constant):
        return None
    if isinstance(name, Schedule):
        return name
    if name == "cosine":
        warm = min(max(steps // 20, 1), 500)
        return WarmUp(warm, Cosine(max(steps - warm, 1)))
    if name == "one-cycle":
        return OneCycle(max(steps, 2))
    if name == "linear":
        return LinearDecay(max(steps, 1))
    if name == "plateau":
        return Plateau(0.3, 3)
    raise ArgumentError(
        f"expected schedule None, 'cosine', 'linear', 'one-cycle', 'plateau' or a Schedule, got {name!r}"
    )


class SupervisedEstimator(Estimator):
    """Subclasses provide the parameters named here, `_task()` and the net."""

    model_: Module
    history_: list[dict[str, Any]]
    trainer_: train.Trainer
    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: str
    weight_decay: float
    clip_norm: float | None
    schedule: Any
    validation_fraction: float
    early_stopping: bool
    patience: int
    random_state: int | None
    max_seconds: float | None
    ema: float | None
    verbose: bool
    device: str
    _optimizers: Mapping[str, Any] = optim.OPTIMIZERS
    _checked_together = 256  # samples of a batch in validation, unless batch_size is larger

    @abstractmethod
    def _task(self) -> Task:
        """What to train: loss and metrics."""

    def _callbacks(self) -> list[train.Callback]:
        """What watches the training, besides early stopping."""
        return []

    def _check_parameters(self) -> None:
        owner = type(self).__name__
        resolve_device(self.device)
        if not isinstance(self.epochs, (int, np.integer)) or self.epochs < 1:
            raise ArgumentError(f"{owner}: expected epochs >= 1, got {self.epochs!r}")
        if not isinstance(self.batch_size, (int, np.integer)) or self.batch_size < 1:
            raise ArgumentError(f"{owner}: expected batch_size >= 1, got {self.batch_size!r}")
        if self.optimizer not in self._optimizers:
            raise ArgumentError(f"{owner}: expected optimizer in {sorted(self._optimizers)}, got {self.optimizer!r}")
        if not 0 <= self.validation_fraction < 1:
            raise ArgumentError(f"{owner}: expected validation_fraction in [0, 1), got {self.validation_fraction}")

    def _make_optimizer(self) -> optim.Optimizer:
        # Decay shrinks weights, not biases and norms, which are vectors.
        matrices = [p for p in self.model_.parameters() if p.ndim > 1]
        vectors = [p for p in self.model_.parameters() if p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": self.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        return self._optimizer(groups)

    def _optimizer(self, groups: Sequence[dict[str, Any]]) -> optim.Optimizer:
        """The optimizer that the parameters ask for, of those groups that have members."""
        made: optim.Optimizer = self._optimizers[self.optimizer](
            [g for g in groups if g["params"]], lr=self.learning_rate, clip_norm=self.clip_norm,
            **_OPTIONS.get(self.optimizer, {}),
        )  # fmt: skip
        return made

    def _train(
        self, arrays: tuple[Array, ...], labels_for_split: Array | None, seed: int, *,
        validation: tuple[Array, ...] | None = None, transform: Any = None,
        checkpoint: str | os.PathLike[str] | None = None, resume: bool = False,
    ) -> None:  # fmt: skip
        """Train the net on arrays with a row per sample."""
        self._train_on(
            ArrayDataset(*arrays), labels_for_split, seed,
            validation=None if validation is None else ArrayDataset(*validation), transform=transform,
            checkpoint=checkpoint, resume=resume,
        )  # fmt: skip

    def _train_on(
        self, dataset: Dataset, labels_for_split: Array | None, seed: int, *, validation: Dataset | None = None,
        transform: Any = None, task: Task | None = None, callbacks: Sequence[train.Callback] = (),
        checkpoint: str | os.PathLike[str] | None = None, resume: bool = False,
    ) -> None:  # fmt: skip
        """Train the net on a data set; sequences meet others of similar length in a batch. task: None: `_task()`."""
        held = validation
        if held is None and self.validation_fraction > 0 and len(dataset) >= 10:
            stratify = labels_for_split
            dataset, held = train_val_split(dataset, self.validation_fraction, seed=seed, stratify=stratify)
        loader = DataLoader(dataset, min(int(self.batch_size), len(dataset)), True, seed, transform=transform,
                            prefetch=2 if transform is not None else 0, bucket_by=_lengths(dataset))  # fmt: skip
        checks: DataLoader | None = None
        if held is not None:
            checks = DataLoader(
                held, max(int(self.batch_size), self._checked_together), prefetch=0, bucket_by=_lengths(held)
            )
        self._train_in(loader, checks, self._task() if task is None else task, callbacks, self.max_seconds, checkpoint,
                       resume)  # fmt: skip

    def _train_in(
        self, loader: DataLoader, checks: DataLoader | None, task: Task, callbacks: Sequence[train.Callback],
        seconds: float | None, checkpoint: str | os.PathLike[str] | None, resume: bool,
    ) -> None:  # fmt: skip
        """Train the net in these batches."""
        watching = [*self._callbacks(), *callbacks]
        if self.early_stopping:
            if checks is None:
                raise ArgumentError(
                    f"{type(self).__name__}: early_stopping needs validation data (validation_fraction > 0)"
                )
            watching.append(self._stopping())
        self.trainer_ = train.Trainer(
            self.model_, self._make_optimizer(), task, callbacks=watching, ema=self.ema,
            schedule=make_schedule(self.schedule, len(loader) * int(self.epochs)),
            progress="auto" if self.verbose else "off",
        )  # fmt: skip
        self.history_ = self.trainer_.history
        self.trainer_.fit(loader, checks, epochs=int(self.epochs), max_seconds=seconds, checkpoint=checkpoint,
                          resume=resume)  # fmt: skip
        self.history_ = self.trainer_.history
        self.n_iter_ = len(self.history_)
        self.model_.eval()

    def _partial(self, arrays: tuple[Array, ...], seed: int) -> None:
        """One epoch over `arrays` with the optimizer of earlier calls."""
        self._partial_on(ArrayDataset(*arrays), seed)

    def _partial_on(self, dataset: Dataset, seed: int, *, transform: Any = None) -> None:
        """One epoch over a data set with the optimizer of earlier calls."""
        if not hasattr(self, "trainer_"):
            self.trainer_ = train.Trainer(self.model_, self._make_optimizer(), self._task(), progress="off",
                                          callbacks=self._callbacks())  # fmt: skip
            self.history_ = self.trainer_.history
        loader = DataLoader(dataset, min(int(self.batch_size), len(dataset)), True,
                            seed + self.trainer_.optimizer.steps, prefetch=0, transform=transform,
                            bucket_by=_lengths(dataset))  # fmt: skip
        self.trainer_.samples = 0
        self.trainer_.fit(loader, epochs=1)
        self.n_iter_ = len(self.history_)
        self.model_.eval()

    def _stopping(self) -> train.Callback:
        return train.EarlyStopping("val_loss", patience=self.patience)

    def _outputs(self, x: Array) -> Array:
        """The net's outputs (n, k) in inference mode, in batches."""
        from deepcore.autograd import no_grad

        self.model_.eval()
        size, n = 512, len(x)
        if x.ndim == 2 and n < 16:
            # Products with few rows sum in another order: with more rows a sample's result is the same in any company.
            x = np.concatenate([x, np.zeros((16 - n, x.shape[1]), x.dtype)])
        device = self.model_.device
        with no_grad():
            parts = [
                np.asarray(self.model_(as_tensor(x[i : i + size]).to(device)).numpy()) for i in range(0, len(x), size)
            ]
        outputs: Array = np.concatenate(parts) if len(parts) != 1 else parts[0]
        return outputs[:n]

    def __getstate__(self) -> dict[str, Any]:
        """Pickling keeps what was learnt; the trainer (open files, progress) stays behind."""
        return {k: v for k, v in self.__dict__.items() if k != "trainer_"}


def _lengths(data: Dataset) -> Array | None:
    """The lengths of sequences (n,), None for data of another kind."""
    if isinstance(data, Subset):
        whole = _lengths(data.dataset)
        return None if whole is None else whole[data.indices]
    return data.lengths if isinstance(data, (SequenceDataset, PairDataset)) else None


def softmax_rows(logits: Array) -> Array:
    """Row-wise softmax in float64."""
    z = logits.astype(np.float64)
    e = np.exp(z - z.max(1, keepdims=True))
    result: Array = e / e.sum(1, keepdims=True)
    return result
