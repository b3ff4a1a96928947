"""DBN: deep belief nets trained layer by layer, generated from, and fine-tuned as classifiers or regressors."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import nn, train
from deepcore.data import ArrayDataset, DataLoader
from deepcore.device import resolve_device
from deepcore.errors import ArgumentError
from deepcore.estimators.base import Estimator, check_labels, check_lengths, check_matrix, encode
from deepcore.estimators.rbm import RBM
from deepcore.models import DeepBeliefNet
from deepcore.nn import partition
from deepcore.nn.mapping import mapped
from deepcore.optim import SGD, LinearDecay
from deepcore.tensor import as_tensor

Array = npt.NDArray[Any]
PathLike = str | os.PathLike[str]


class DBN(Estimator):
    """A deep belief net: each layer a restricted Boltzmann machine trained on the means of the one below (Hinton,
    Osindero, Teh, 2006).

    Args:
        layers: hidden units of each machine from the bottom.
        settings: one dict per layer of `RBM` arguments that differ from those below, or fewer.
        visible_units, variance, algorithm, k, learning_rate, momentum, weight_decay, schedule, batch_size, n_iter: of
            every layer, as in `RBM`. visible_units and variance concern the bottom.
        binarize: draw the data of each layer anew from its means at each step.
        fine_tune: None, or 'updown': the wake-sleep algorithm with weights up and down of their own.
        fine_tune_iter, fine_tune_rate: epochs and learning rate of that.
        keep_updates, random_state, verbose, device: as in `RBM`.

    Attributes:
        rbms_: the fitted `RBM` of each layer, whose modules are those of `model_` (`deepcore.models.DeepBeliefNet`).
        history_: one dict per epoch of each layer, with 'layer' (from 0, or 'updown').
        classes_: labels of the associative memory, when fit was given y.
    """

    _kind = "transformer"
    model_: DeepBeliefNet
    history_: list[dict[str, Any]]
    rbms_: list[RBM]
    n_features_in_: int

    def __init__(
        self, layers: Sequence[int] = (500, 500, 2000), *, settings: Sequence[Mapping[str, Any]] = (),
        visible_units: str = "bernoulli", variance: float | str = 1.0, algorithm: str = "cd", k: Any = 1,
        learning_rate: float = 0.1, momentum: Any = ((0, 0.5), (3, 0.9)), weight_decay: float = 2e-4,
        schedule: Any = None, batch_size: int = 100, n_iter: int = 10, binarize: bool = False,
        fine_tune: str | None = None, fine_tune_iter: int = 10, fine_tune_rate: float = 0.01,
        keep_updates: bool = False, random_state: int | None = None, verbose: bool | int = False, device: str = "auto",
    ) -> None:  # fmt: skip
        self.layers = layers
        self.settings = settings
        self.visible_units = visible_units
        self.variance = variance
        self.algorithm = algorithm
        self.k = k
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.binarize = binarize
        self.fine_tune = fine_tune
        self.fine_tune_iter = fine_tune_iter
        self.fine_tune_rate = fine_tune_rate
        self.keep_updates = keep_updates
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    def _check_parameters(self) -> None:
        resolve_device(self.device)
        if not len(self.layers) or any(not isinstance(n, (int, np.integer)) or n < 1 for n in self.layers):
            raise ArgumentError(f"DBN: expected layers of at least one unit, got {self.layers!r}")
        if len(self.settings) > len(self.layers):
            raise ArgumentError(f"DBN: expected settings for {len(self.layers)} layers, got {len(self.settings)}")
        if self.fine_tune not in (None, "updown"):
            raise ArgumentError(f"DBN: expected fine_tune None or 'updown', got {self.fine_tune!r}")
        if self.fine_tune and (self.fine_tune_iter < 1 or self.fine_tune_rate <= 0):
            raise ArgumentError(
                f"DBN: expected fine_tune_iter >= 1 and fine_tune_rate > 0, got {self.fine_tune_iter}, "
                f"{self.fine_tune_rate}"
            )

    def _machine(self, layer: int, choice: int, seed: int) -> RBM:
        options: dict[str, Any] = {
            "algorithm": self.algorithm, "k": self.k, "learning_rate": self.learning_rate, "momentum": self.momentum,
            "weight_decay": self.weight_decay, "schedule": self.schedule, "batch_size": self.batch_size,
            "n_iter": self.n_iter, "binarize": self.binarize, "keep_updates": self.keep_updates,
        }  # fmt: skip
        if layer == 0:
            options.update(visible_units=self.visible_units, variance=self.variance)
            if self.visible_units != "bernoulli":
                options["binarize"] = False
        if layer < len(self.settings):
            options.update(self.settings[layer])
        machine = RBM(int(self.layers[layer]), visible_choice=choice, random_state=seed + layer, verbose=self.verbose,
                      device=self.device, **options)  # fmt: skip
        machine._layer = layer
        return machine

    # ---- training ----
    def fit(self, X: Any, y: Any = None, *, checkpoint: PathLike | None = None, resume: bool = False) -> DBN:
        """Train layer after layer on X (n, features); with labels y (n,) they join the top layer. Returns self.

        checkpoint: a folder with one file per layer, written after each epoch; `resume` goes on at the layer and epoch
        that were reached, bit for bit.
        """
        self._check_parameters()
        x = check_matrix(X, self, fitting=True)
        encoded = None
        if y is not None:
            labels = check_labels(y, "DBN")
            check_lengths(x, labels)
            self.classes_, encoded = np.unique(labels, return_inverse=True)
            if len(self.classes_) < 2:
                raise ArgumentError(f"DBN: expected at least 2 classes, got one class: {self.classes_.tolist()}")
        else:
            self.__dict__.pop("classes_", None)
        seed = self._seed()
        folder = None if checkpoint is None else Path(checkpoint)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self.rbms_, self.history_ = [], []
        inputs = x
        for i in range(len(self.layers)):
            top = i == len(self.layers) - 1
            if top and encoded is not None:
                inputs = np.concatenate([inputs, np.eye(len(self.classes_), dtype=np.float32)[encoded]], 1)
            rbm = self._machine(i, len(self.classes_) if top and encoded is not None else 0, seed)
            rbm.fit(inputs, checkpoint=None if folder is None else folder / f"layer-{i}.safetensors", resume=resume)
            self.rbms_.append(rbm)
            self.history_ += [{"layer": i, **record} for record in rbm.history_]
            if not top:
                inputs = rbm.transform(inputs)
        self.model_ = DeepBeliefNet([r.model_ for r in self.rbms_], 0 if encoded is None else len(self.classes_))
        if self.fine_tune == "updown":
            self._updown(x, encoded, seed, folder, resume)
        self.n_iter_ = len(self.history_)
        self.model_.eval()
        return self

    def _updown(self, x: Array, encoded: Array | None, seed: int, folder: Path | None, resume: bool) -> None:
        if any(r.visible_units == "gaussian" or r.hidden_units != "bernoulli" for r in self.rbms_):
            raise ArgumentError("DBN: fine_tune='updown' needs Bernoulli units")
        self.model_.untie()
        task = train.UpDown(seed=seed)
        arrays = (x,) if encoded is None else (x, np.eye(len(self.classes_), dtype=np.float32)[encoded])
        loader = DataLoader(ArrayDataset(*arrays), min(int(self.batch_size), len(x)), True, seed, prefetch=0)
        trainer = train.Trainer(
            self.model_, SGD(self.model_.parameters(), self.fine_tune_rate), task,
            schedule=LinearDecay(len(loader) * int(self.fine_tune_iter)), callbacks=[task],
            progress="auto" if self.verbose else "off",
        )  # fmt: skip
        path = None if folder is None else folder / "updown.safetensors"
        trainer.fit(loader, epochs=int(self.fine_tune_iter), checkpoint=path, resume=resume)
        self.history_ += [{"layer": "updown", **record} for record in trainer.history]

    # ---- what was learnt ----
    def transform(self, X: Any) -> Array:
        """Means of the top hidden units given X (n, features) -> (n, layers[-1])."""
        self._check_fitted()
        return mapped(self.model_.forward, check_matrix(X, self, fitting=False), self.model_.device)

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """`fit`, then `transform`."""
        return self.fit(X, y).transform(X)

    def inverse_transform(self, H: Any) -> Array:
        """Means of the visible units given top hidden units (n, layers[-1]) -> (n, features)."""
        self._check_fitted()
        h = np.ascontiguousarray(H, dtype=np.float32)
        if h.ndim != 2 or h.shape[1] != self.layers[-1]:
            raise ArgumentError(f"DBN.inverse_transform: expected (n, {self.layers[-1]}), got {h.shape}")
        return mapped(self.model_.backward, h, self.model_.device)

    def reconstruct(self, X: Any) -> Array:
        """Means of the visible units after a way up and down: (n, features)."""
        self._check_fitted()
        return mapped(self.model_.reconstruct, check_matrix(X, self, fitting=False), self.model_.device)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the outputs of `transform`: dbn0, dbn1, ..."""
        self._check_fitted()
        return np.asarray([f"dbn{i}" for i in range(self.layers[-1])], dtype=object)

    def generate(self, label: Any = None, n: int = 1, *, steps: int = 500, init: Any = None) -> Array:
        """n pictures (n, features) from the associative memory at the top, held at `label` (a class, or n of them)."""
        self._check_fitted()
        labels = None
        if label is not None:
            if not hasattr(self, "classes_"):
                raise ArgumentError("DBN.generate: the net was trained without labels; give y to fit")
            labels = encode(np.broadcast_to(np.asarray(label), (n,)), self.classes_, "DBN.generate")
        start = None
        if init is not None:
            start = as_tensor(check_matrix(init, self, fitting=False)).to(self.model_.device)
        return np.array(self.model_.generate(n, labels=labels, steps=steps, init=start).numpy())

    def log_likelihood_bound(self, X: Any, *, samples: int = 10, log_z: float | None = None, **options: Any) -> Array:
        """A lower bound on log p(x) of each row in nats, (n,): `DeepBeliefNet.log_likelihood_bound`.

        log_z: of the top machine; estimated without it, with `options` of `RBM.log_partition`.
        """
        self._check_fitted()
        x = check_matrix(X, self, fitting=False)
        if log_z is None:
            log_z = partition.log_partition(self.model_.top, **options).log_z
        device = self.model_.device
        return np.concatenate([
            self.model_.log_likelihood_bound(as_tensor(np.ascontiguousarray(x[i : i + 1000])).to(device), log_z,
                                             samples=samples)
            for i in range(0, len(x), 1000)
        ])  # fmt: skip

    def to_mlp(self, outputs: int, **options: Any) -> nn.Sequential:
        """A perceptron whose hidden layers are the machines' own parameters: `DeepBeliefNet.to_mlp`."""
        self._check_fitted()
        return self.model_.to_mlp(outputs, **options)

    def unroll(self) -> list[tuple[Array, Array, Array]]:
        """(weight, hidden bias, visible bias) of each layer from the bottom, as `Autoencoder.from_dbn` takes them."""
        self._check_fitted()
        return self.model_.unroll()

    def report(
        self, path: PathLike, X: Any, y: Any = None, *, shape: tuple[int, ...] | None = None, title: str | None = None
    ) -> None:
        """Write one self-contained HTML file about this net on samples X (n, features): dreams of each label,
        reconstructions, and of every layer learning curves, filters, chains, histograms and activity; the map of codes
        (coloured by y). Needs the viz extra.

        shape: of a picture, (h, w) or (h, w, 3); None: a square where features make one; (): no pictures.
        """
        from deepcore.viz.boltzmann import dbn_report

        self._check_fitted()
        dbn_report(self, path, X, y, shape=shape, title=title)

    # ---- files ----
    def _fitted_meta(self) -> tuple[dict[str, Any], dict[str, Array]]:
        extra: dict[str, Any] = {"n_features": self.n_features_in_}
        if hasattr(self, "classes_"):
            extra.update(classes=self.classes_.tolist(), classes_dtype=self.classes_.dtype.str)
        updates = [(i, rbm._fitted_meta()[1]) for i, rbm in enumerate(self.rbms_)]
        return extra, {f"{i}.{name}": a for i, arrays in updates for name, a in arrays.items()}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.n_features_in_ = int(meta["n_features"])
        classes = 0
        if "classes" in meta:
            self.classes_ = np.asarray(meta["classes"], dtype=np.dtype(meta["classes_dtype"]))
            classes = len(self.classes_)
        self.rbms_ = []
        width = self.n_features_in_
        for i, units in enumerate(self.layers):
            top = i == len(self.layers) - 1
            rbm = self._machine(i, classes if top else 0, 0)
            rbm.n_features_in_ = width + (classes if top else 0)
            rbm._build(rbm.n_features_in_, 0)
            rbm.history_ = [{k: v for k, v in h.items() if k != "layer"} for h in self.history_ if h["layer"] == i]
            rbm.n_iter_ = len(rbm.history_)
            prefix = f"{i}.updates."
            if updates := {n[len(prefix) :]: a for n, a in arrays.items() if n.startswith(prefix)}:
                rbm.updates_ = updates
            self.rbms_.append(rbm)
            width = int(units)
        self.model_ = DeepBeliefNet([r.model_ for r in self.rbms_], classes)
        if self.fine_tune == "updown":
            self.model_.untie()
        self.n_iter_ = len(self.history_)
