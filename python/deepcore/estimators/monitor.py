"""What is looked at after each epoch of a restricted Boltzmann machine, and when to stop."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import nn
from deepcore.autograd import no_grad
from deepcore.nn import partition
from deepcore.tensor import as_tensor
from deepcore.train import Callback, Trainer

Array = npt.NDArray[Any]
EXACT_UNITS = 16  # on one side: 65,536 states an epoch


def reconstruction_kl(rbm: nn.RBM, v: Array, known: Array | None = None) -> tuple[float, float]:
    """KL divergence of inputs and their reconstructions per (known) pixel in nats, and their mean squared error.

    Bernoulli units: of the distributions that input and reconstruction are the means of; softmax units: of their
    choices; Gaussian units: of normal distributions with the units' variances; relu units: as with variance 1.
    """
    with no_grad():
        x = as_tensor(np.ascontiguousarray(v)).to(rbm.device)
        r = np.asarray(rbm.reconstruct(x).numpy())
        variance = rbm.variance
    weight = np.ones_like(r) if known is None else known
    count = max(float(weight.sum(dtype=np.float64)), 1.0)
    gap = v - r
    error = float((weight * gap * gap).sum(dtype=np.float64) / count)
    kind = rbm.units.visible
    if kind == "bernoulli":
        q = np.clip(r, 1e-7, 1 - 1e-7, dtype=r.dtype)
        terms = _entropy(v) + _entropy(1 - v) - v * np.log(q) - (1 - v) * np.log1p(-q)
    elif kind == "softmax":
        terms = _entropy(v) - v * np.log(np.maximum(r, 1e-7))
    else:
        terms = gap * gap / (2 * (1.0 if variance is None else np.asarray(variance.numpy())))
    return float((weight * terms).sum(dtype=np.float64) / count), error


def _entropy(p: Array) -> Array:
    """p log p, 0 at 0."""
    result: Array = p * np.log(np.maximum(p, 1e-30))
    return result


def pseudo_log_likelihood(rbm: nn.RBM, v: Array, seed: int = 0) -> float:
    """features x mean log p(one random feature | the others) (Besag, 1975); Bernoulli units only, NaN for others.

    Values between 0 and 1 are rounded first; units of a choice are given, never asked for.
    """
    if rbm.units.visible != "bernoulli" or rbm.units.hidden == "relu":
        return float("nan")
    x = (np.asarray(v) >= 0.5).astype(np.float32)
    flipped = x.copy()
    rows = np.arange(len(x))
    free = x.shape[1] - rbm.units.choice
    columns = np.random.default_rng(seed).integers(0, free, len(x))
    flipped[rows, columns] = 1 - flipped[rows, columns]
    gap = partition.free_energies(rbm, flipped) - partition.free_energies(rbm, x)
    return float(-free * np.logaddexp(0, -gap).mean())


class Monitor(Callback):
    """Adds kl, pseudo_log_likelihood, reconstruction_error and free_energy_gap to the history."""

    def __init__(self, head: tuple[Array, Array | None], validation: Array | None, seed: int) -> None:
        self.head, self.known = head
        self.validation = validation
        self.seed = seed

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Look at the machine."""
        model = trainer.model
        assert isinstance(model, nn.RBM)
        kl, error = reconstruction_kl(model, self.head, self.known)
        record["reconstruction_error"] = error
        record["kl"], record["kl_exact"] = kl, False
        binary = bool(np.isin(self.head, (0, 1)).all())
        if model.units.visible == "bernoulli" and binary:
            side = partition.enumerable(model)
            if side is not None and min(model.weight.shape) <= EXACT_UNITS:
                record["kl"], record["kl_exact"] = partition.kl_divergence(model, self.head), True
        pll = pseudo_log_likelihood(model, self.head, self.seed)
        if np.isfinite(pll):
            record["pseudo_log_likelihood"] = pll
        if self.validation is not None and "relu" not in model.units[:2]:
            training = partition.free_energies(model, self.head).mean()
            record["free_energy_gap"] = float(partition.free_energies(model, self.validation).mean() - training)


class Settled(Callback):
    """Stops training when kl has changed by less than `tolerance` (relative) from epoch to epoch `patience` times."""

    def __init__(self, patience: int, tolerance: float) -> None:
        self.patience, self.tolerance = patience, tolerance
        self.calm = 0
        self.last: float | None = None

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Compare with the epoch before."""
        kl = float(record["kl"])
        still = self.last is not None and abs(kl - self.last) < self.tolerance * abs(self.last)
        self.calm = self.calm + 1 if still else 0
        self.last = kl
        if self.calm >= self.patience:
            trainer.stop(f"kl has settled at {kl:.4g}")

    def state_dict(self) -> dict[str, Any]:
        """How long it has been calm, and the last value."""
        return {"calm": self.calm, "last": self.last}

    def load_state(self, state: dict[str, Any], arrays: dict[str, Array]) -> None:
        """Continue from a checkpoint."""
        self.calm, self.last = state["calm"], state["last"]


class Updates(Callback):
    """Keeps what the last epoch changed in each parameter, for a copy of the parameters and one an epoch."""

    def __init__(self) -> None:
        self.changes: dict[str, Array] = {}
        self.before: dict[str, Array] = {}

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Remember where the epoch begins, unless a checkpoint has told."""
        if not self.before:
            self.before = _parameters(trainer)

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Take the difference."""
        now = _parameters(trainer)
        self.changes = {name: value - self.before[name] for name, value in now.items()}
        self.before = now

    def arrays(self) -> dict[str, Array]:
        """The parameters at the beginning of the epoch, and the last changes."""
        return {**{f"before.{n}": a for n, a in self.before.items()},
                **{f"changes.{n}": a for n, a in self.changes.items()}}  # fmt: skip

    def load_state(self, state: dict[str, Any], arrays: dict[str, Array]) -> None:
        """Continue from a checkpoint."""
        self.before = {n[7:]: a for n, a in arrays.items() if n.startswith("before.")}
        self.changes = {n[8:]: a for n, a in arrays.items() if n.startswith("changes.")}


def _parameters(trainer: Trainer) -> dict[str, Array]:
    return {name: np.array(p.numpy()) for name, p in trainer.model.named_parameters()}
