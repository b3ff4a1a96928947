"""Autoencoder: codes, reconstructions, denoising, compression and anomalies, with scikit-learn's conventions."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deepcore import nn, train
from deepcore.data import ArrayDataset, Corruption, DataLoader, train_val_split
from deepcore.data.corrupt import make_corruption
from deepcore.device import resolve_device
from deepcore.errors import ArgumentError, DataError, ShapeError
from deepcore.estimators.base import check_matrix
from deepcore.estimators.coding import Coding
from deepcore.estimators.fine_tuning import activations, layerwise, line_searches, unrolled
from deepcore.models import AutoencoderNet, conv_autoencoder, dense_autoencoder
from deepcore.optim import Adam, OneCycle, Optimizer

if TYPE_CHECKING:
    from deepcore.estimators.dbn import DBN

Array = npt.NDArray[Any]
Weights = Sequence[tuple[Array, Array, Array]]

SCALINGS = ("auto", "unit", "standard", None)
METHODS = ("lbfgs", "cg", "adam")


class Autoencoder(Coding):
    """A net that learns short codes from which its inputs can be rebuilt.

    Inputs are vectors (n, features) or images (n, h, w) or (n, h, w, c); reconstructions have their shape.

    Args:
        layers: sizes of the encoder's dense layers; the last is the code. The decoder is their mirror image.
        channels: for images: channels of convolutions of stride 2 before the dense layers, mirrored by transposed
            ones. With layers=() the code is the last feature map.
        activation, code_activation: names as in `deepcore.nn.Activation`, or 'identity'.
        tied: the decoder's weights are the transposes of the encoder's: one parameter for both.
        output: 'sigmoid' (values in 0..1), 'linear', or 'auto': sigmoid where the scaled data lie in 0..1.
        loss: 'squared' or 'cross_entropy' (sigmoid outputs), summed over values.
        scaling: 'unit' (one shift and factor to 0..1), 'standard' (mean 0 and deviation 1 for each feature, or for all
            pixels alike), None, or 'auto': None for data in 0..1, 'unit' for bytes, else 'standard'.
        corruption: None, a kind ('masking', 'salt-and-pepper', 'gaussian', 'block') or a dict of options of
            `deepcore.data.Corruption`: the net learns to rebuild inputs from noisy ones. It acts on scaled data.
        sparsity, sparsity_weight: target of the mean activation of each code unit, with code_activation 'sigmoid', and
            weight of its KL divergence.
        contractive: weight of the squared norm of the encoder's Jacobian.
        variational, beta: codes are normal distributions; weight of their divergence from N(0, I).
        code_noise: deviation of noise on the code before its activation, in training, which drives logistic codes to 0
            and 1 and lets codes stand coarse quantisation.
        pretrain, pretrain_epochs: 'layerwise' trains each layer and its mirror image first, on the codes of the one
            below, for so many epochs.
        optimizer, learning_rate, weight_decay, clip_norm, schedule, batch_size, epochs, validation_fraction,
        early_stopping, patience, max_seconds, ema, random_state, verbose, device: as in `MLPClassifier`.

    Attributes:
        model_: the net (`deepcore.models.AutoencoderNet`). n_features_in_: values of a sample. sample_shape_: shape of
        a sample. history_: one dict per epoch with loss and squared_error (per sample, of scaled values).
        pretrain_history_: the same for each layer. shift_, scale_: scaled = (x - shift_) / scale_.
    """

    _kind = "transformer"

    def __init__(
        self, layers: Sequence[int] = (512, 128, 32), *, channels: Sequence[int] = (), activation: str = "elu",
        code_activation: str = "identity", tied: bool = False, output: str = "auto", loss: str = "squared",
        scaling: str | None = "auto", corruption: str | Mapping[str, Any] | None = None, sparsity: float | None = None,
        sparsity_weight: float = 1.0, contractive: float = 0.0, variational: bool = False, beta: float = 1.0,
        code_noise: float = 0.0, pretrain: str | None = None, pretrain_epochs: int = 5, optimizer: str = "adam",
        learning_rate: float = 1e-3, weight_decay: float = 0.0, clip_norm: float | None = None, schedule: Any = None,
        batch_size: int = 128, epochs: int = 20, validation_fraction: float = 0.0, early_stopping: bool = False,
        patience: int = 10, max_seconds: float | None = None, ema: float | None = None,
        random_state: int | None = None, verbose: bool = False, device: str = "auto",
    ) -> None:  # fmt: skip
        self.layers = layers
        self.channels = channels
        self.activation = activation
        self.code_activation = code_activation
        self.tied = tied
        self.output = output
        self.loss = loss
        self.scaling = scaling
        self.corruption = corruption
        self.sparsity = sparsity
        self.sparsity_weight = sparsity_weight
        self.contractive = contractive
        self.variational = variational
        self.beta = beta
        self.code_noise = code_noise
        self.pretrain = pretrain
        self.pretrain_epochs = pretrain_epochs
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
        if self.scaling not in SCALINGS:
            raise ArgumentError(f"Autoencoder: expected scaling in {SCALINGS}, got {self.scaling!r}")
        if self.output not in ("auto", "sigmoid", "linear"):
            raise ArgumentError(f"Autoencoder: expected output 'auto', 'sigmoid' or 'linear', got {self.output!r}")
        if self.pretrain not in (None, "layerwise"):
            raise ArgumentError(f"Autoencoder: expected pretrain None or 'layerwise', got {self.pretrain!r}")
        if self.pretrain and (self.channels or self.variational or self.code_noise):
            raise ArgumentError("Autoencoder: pretrain='layerwise' goes without channels, variational and code_noise")
        if self.pretrain and self.pretrain_epochs < 1:
            raise ArgumentError(f"Autoencoder: expected pretrain_epochs >= 1, got {self.pretrain_epochs!r}")
        if self.sparsity is not None and (self.code_activation != "sigmoid" or self.variational):
            raise ArgumentError("Autoencoder: sparsity needs code_activation='sigmoid', whose codes lie in 0..1")
        if self.tied and self.channels:
            raise ArgumentError("Autoencoder: tied weights are for dense layers, not for channels")
        if self.corruption is not None:
            self._corruption(0)
        self._task()

    # ---- samples ----
    def _samples(self, x: Any, *, fitting: bool) -> Array:
        """float32 (n, features), or (n, h, w, c) for a convolutional net, not yet scaled."""
        values = np.asarray(x)
        if values.ndim not in (3, 4):
            flat = check_matrix(x, self, fitting=fitting)
            shape: tuple[int, ...] = flat.shape[1:]
        else:
            if values.dtype.kind not in "fiub":
                raise ArgumentError(f"Autoencoder: expected numeric images, got {values.dtype}")
            shape = values.shape[1:]
            flat = check_matrix(values.reshape(len(values), int(np.prod(shape))), self, fitting=fitting)
        if fitting:
            self.sample_shape_ = tuple(int(n) for n in shape)
        if shape not in (self.sample_shape_, (self.n_features_in_,)):
            raise ShapeError(f"Autoencoder: expected samples of {self.sample_shape_}, got {shape}")
        if not self.channels:
            return flat
        if len(self.sample_shape_) < 2:
            raise ShapeError(f"Autoencoder: channels need images (n, h, w) or (n, h, w, c), got {values.shape}")
        return flat.reshape(len(flat), *self._image_shape())

    def _image_shape(self) -> tuple[int, int, int]:
        h, w, c = (*self.sample_shape_, 1)[:3]
        return h, w, c

    def _set_scale(self, x: Array, bytes_given: bool) -> None:
        scaling = self.scaling
        within = bool(x.min() >= 0 and x.max() <= 1)
        if scaling == "auto":
            scaling = "unit" if bytes_given else None if within else "standard"
        shift, scale = np.zeros(1, np.float32), np.ones(1, np.float32)
        if scaling == "unit":
            low, high = float(x.min()), float(x.max())
            shift[:], scale[:] = low, high - low if high > low else 1.0
        elif scaling == "standard":
            if self.output == "sigmoid":
                raise ArgumentError("Autoencoder: output 'sigmoid' needs data in 0..1, standardised data are not")
            axis = 0 if len(self.sample_shape_) == 1 else None
            shift = np.atleast_1d(x.mean(axis, dtype=np.float64)).astype(np.float32)
            deviation = np.atleast_1d(x.std(axis, dtype=np.float64)).astype(np.float32)
            scale = np.where(deviation > 1e-7 * np.abs(shift) + 1e-30, deviation, 1).astype(np.float32)
        elif not within and self.output == "sigmoid":
            raise DataError(f"Autoencoder: output 'sigmoid' needs data in 0..1, got {x.min():.4g}..{x.max():.4g}")
        self.shift_, self.scale_ = shift, scale
        self.output_ = self.output
        if self.output == "auto":
            self.output_ = "linear" if scaling == "standard" or not (within or scaling == "unit") else "sigmoid"
        if self.loss == "cross_entropy" and self.output_ != "sigmoid":
            raise ArgumentError("Autoencoder: loss 'cross_entropy' needs data in 0..1 and output 'sigmoid'")

    def _scaled(self, x: Array) -> Array:
        result: Array = (x - self.shift_) / self.scale_
        return result

    def _inputs(self, x: Any) -> Array:
        self._check_fitted()
        return self._scaled(self._samples(x, fitting=False))

    # ---- the net ----
    def _build(self, seed: int) -> None:
        options: dict[str, Any] = {
            "activation": self.activation, "code_activation": self.code_activation, "output": self.output_,
            "variational": self.variational, "code_noise": self.code_noise, "seed": seed,
        }  # fmt: skip
        if self.channels:
            self.model_ = conv_autoencoder(self._image_shape(), tuple(self.channels), tuple(self.layers), **options)
        else:
            self.model_ = dense_autoencoder(self.n_features_in_, tuple(self.layers), tied=self.tied, **options)
        self.model_.to(resolve_device(self.device))

    def _task(self) -> train.Reconstruction:
        return train.Reconstruction(self.loss, sparsity=self.sparsity, sparsity_weight=self.sparsity_weight,
                                    contractive=self.contractive, beta=self.beta)  # fmt: skip

    def _corruption(self, seed: int) -> Corruption | None:
        return None if self.corruption is None else make_corruption(self.corruption, seed)

    def _begin(self, X: Any, seed: int) -> Array:
        x = self._samples(X, fitting=True)
        self._set_scale(x, np.asarray(X).dtype == np.uint8)
        self.__dict__.pop("trainer_", None)
        self._build(seed)
        return self._scaled(x)

    # ---- training ----
    def fit(
        self, X: Any, y: Any = None, *, checkpoint: str | os.PathLike[str] | None = None, resume: bool = False
    ) -> Autoencoder:
        """Train on samples X; y is not used. Returns self.

        checkpoint: file written after each epoch and on Ctrl-C; resume=True goes on from it.
        """
        self._check_parameters()
        seed = self._seed()
        x = self._begin(X, seed)
        noise = self._corruption(seed)
        validation: tuple[Array, ...] | None = None
        if noise is not None and self.validation_fraction > 0 and len(x) >= 10:
            kept, held = train_val_split(ArrayDataset(x), self.validation_fraction, seed=seed)
            (x,), (clean,) = kept[np.arange(len(kept))], held[np.arange(len(held))]
            validation = (noise.apply(clean, epoch=1 << 20), clean)
        self.pretrain_history_: list[list[dict[str, Any]]] = []
        if self.pretrain and not (resume and checkpoint is not None and os.path.exists(checkpoint)):
            self._pretrain(x, noise, seed)
        self._train((x,), None, seed, validation=validation, transform=noise, checkpoint=checkpoint, resume=resume)
        return self

    def _pretrain(self, x: Array, noise: Corruption | None, seed: int) -> None:
        def encode(pair: AutoencoderNet, x: Array) -> Array:
            return self._batched(pair.encode, x)

        self.pretrain_history_ = layerwise(
            self._net, x, loss=self.loss, noise=noise, epochs=int(self.pretrain_epochs),
            batch_size=int(self.batch_size), seed=seed, make_optimizer=self._optimizer_of, encode=encode,
            progress="auto" if self.verbose else "off",
        )  # fmt: skip

    def _optimizer_of(self, module: nn.Module) -> Optimizer:
        whole, self.model_ = self.model_, module
        try:
            return self._make_optimizer()
        finally:
            self.model_ = whole

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """Fit, then the codes of the same samples."""
        return self.fit(X, y).transform(X)

    def partial_fit(self, X: Any, y: Any = None) -> Autoencoder:
        """One more epoch on these samples, scaled by the first call's statistics. Returns self."""
        self._check_parameters()
        first = not hasattr(self, "model_")
        seed = self._seed() if self.random_state is not None or first else 0
        x = self._begin(X, seed) if first else self._scaled(self._samples(X, fitting=False))
        noise = self._corruption(seed)
        steps = self.trainer_.optimizer.steps if hasattr(self, "trainer_") else 0
        earlier = [] if hasattr(self, "trainer_") or first else self.history_
        self._partial((x,) if noise is None else (noise.apply(x, epoch=steps), x), seed)
        self.history_[:0] = earlier  # of a run whose trainer is gone: after `load` and `fine_tune`
        self.n_iter_ = len(self.history_)
        return self

    def fine_tune(
        self, X: Any, method: str = "lbfgs", *, epochs: int = 1, batch_size: int | None = None, iterations: int = 3,
        learning_rate: float | None = None, callback: Callable[[int, float], None] | None = None,
    ) -> Autoencoder:  # fmt: skip
        """Train the fitted net further, as a rule by a second-order method. Returns self.

        Args:
            X: samples as for `fit`.
            method: 'lbfgs', 'cg' (non-linear conjugate gradients; Hinton and Salakhutdinov, 2006) or 'adam'.
            epochs: passes over the data.
            batch_size: samples of a batch; None: all at once ('adam': the estimator's).
            iterations: line searches on each batch ('lbfgs' and 'cg'); history and curvature are kept between the
                iterations on one batch only.
            learning_rate: for 'adam', along a one-cycle schedule; None: the estimator's.
            callback: called as callback(count, loss) after each line search.

        Raises:
            ArgumentError: an unknown method, or a second-order method for a net whose loss is random (code_noise,
                variational); or options of one method with another.
        """
        if method not in METHODS:
            raise ArgumentError(f"Autoencoder.fine_tune: expected method in {METHODS}, got {method!r}")
        if epochs < 1 or iterations < 1 or (batch_size is not None and batch_size < 1):
            raise ArgumentError(
                f"Autoencoder.fine_tune: expected epochs, iterations, batch_size >= 1, got {epochs}, {iterations}, "
                f"{batch_size}"
            )
        x = self._inputs(X)
        seed = self._seed() if self.random_state is not None else 0
        noise = self._corruption(seed)
        progress = "auto" if self.verbose else "off"
        if method == "adam":
            if callback is not None or iterations != 3:
                raise ArgumentError("Autoencoder.fine_tune: callback and iterations are for 'lbfgs' and 'cg'")
            loader = DataLoader(ArrayDataset(x), min(batch_size or int(self.batch_size), len(x)), True, seed + 1,
                                transform=noise, prefetch=0 if noise is None else 2)  # fmt: skip
            rate = self.learning_rate if learning_rate is None else learning_rate
            schedule = OneCycle(max(2, len(loader) * epochs))
            trainer = train.Trainer(self.model_, Adam(self.model_.parameters(), lr=rate), self._task(),
                                    schedule=schedule, progress=progress)  # fmt: skip
            found = trainer.fit(loader, epochs=epochs)
        else:
            if learning_rate is not None or self.code_noise or self.variational:
                raise ArgumentError(f"Autoencoder.fine_tune: {method!r} takes no learning_rate and no random code")
            self.model_.train()
            found = line_searches(
                self.model_, self._task(), x, method, epochs=epochs, batch_size=batch_size or len(x),
                iterations=iterations, noise=noise, seed=seed + 1, callback=callback,
            )  # fmt: skip
        self.__dict__.pop("trainer_", None)  # the moments of its optimizer belong to other weights
        done = len(self.history_)
        self.history_ = [*self.history_, *({**record, "epoch": done + record["epoch"]} for record in found)]
        self.n_iter_ = len(self.history_)
        self.model_.eval()
        return self

    @classmethod
    def from_layers(cls, weights: Weights, *, code_activation: str = "identity", **options: Any) -> Autoencoder:
        """An autoencoder unrolled from a stack of layers, such as restricted Boltzmann machines: fine-tune it next.

        Args:
            weights: from the bottom, (weight (out, in), bias of the layer (out,), bias of its inputs (in,)). The
                decoder starts from the transposes. Hidden units are logistic unless options name an activation.
            code_activation: of the code; 'identity' as Hinton and Salakhutdinov (2006) have it.
            options: other parameters; inputs are vectors in 0..1 (scaling None, output 'sigmoid') by default.

        Raises:
            ShapeError: sizes that do not fit together.
        """
        chosen = {"activation": "sigmoid", "scaling": None, "output": "sigmoid", **options}
        (inputs, *layers), values = unrolled(weights, bool(chosen.get("tied", False)))
        model = cls(layers, code_activation=code_activation, **chosen)
        model._check_parameters()
        if model.channels or model.variational or model.code_noise or model.scaling is not None:
            raise ArgumentError("Autoencoder.from_layers: goes without channels, variational, code_noise and scaling")
        model.n_features_in_, model.sample_shape_ = inputs, (inputs,)
        model._set_scale(np.zeros((1, inputs), np.float32), False)
        model._build(model._seed())
        names = [name for name, _ in model.model_.named_parameters()]
        model.model_.load_state_dict(dict(zip(names, values, strict=True)))
        model.model_.eval()
        model.history_, model.pretrain_history_, model.n_iter_ = [], [], 0
        return model

    @classmethod
    def from_dbn(cls, dbn: DBN, **options: Any) -> Autoencoder:
        """An autoencoder unrolled from a fitted `DBN`: `fine_tune` it next (Hinton and Salakhutdinov, "Reducing the
        dimensionality of data with neural networks", 2006, who give the top machine Gaussian hidden units).

        It is the net's way up and down with means, but for a code that is linear unless `code_activation` says else.
        Labels are left out; after wake-sleep the weights up are taken for both ways.

        Args:
            dbn: Bernoulli or rectified hidden units throughout, any at the top; Gaussian inputs of variance 1 give
                linear outputs.
            options: of `from_layers`.

        Raises:
            ArgumentError: other units.
        """
        weights = dbn.unroll()
        options = {**activations([machine.units for machine in dbn.model_.machines]), **options}
        if any(m.variance is not None and (m.variance.numpy() != 1).any() for m in dbn.model_.machines):
            raise ArgumentError("Autoencoder.from_dbn: expected Gaussian visible units of variance 1")
        return cls.from_layers(weights, **options)

    def report(self, path: str | os.PathLike[str], X: Any, y: Any = None, *, title: str | None = None) -> None:
        """Write one self-contained HTML file about this autoencoder on test samples: learning curves, reconstructions,
        traversals, filters, the map of codes (coloured by y). Needs the viz extra."""
        from deepcore.viz.autoencoder import autoencoder_report

        self._check_fitted()
        autoencoder_report(self, path, X, y, title=title)

    # ---- files ----
    def _fitted_meta(self) -> tuple[dict[str, Any], dict[str, Array]]:
        extra = {"n_features": self.n_features_in_, "sample_shape": list(self.sample_shape_), "output": self.output_,
                 "pretrain_history": self.pretrain_history_}  # fmt: skip
        return extra, {"shift": self.shift_, "scale": self.scale_}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.n_features_in_, self.output_ = int(meta["n_features"]), str(meta["output"])
        self.sample_shape_ = tuple(int(n) for n in meta["sample_shape"])
        self.shift_, self.scale_ = arrays["shift"], arrays["scale"]
        self.pretrain_history_ = list(meta["pretrain_history"])
        self._build(0)
        self.n_iter_ = len(self.history_)
