"""Contrastive: what a training step of a restricted Boltzmann machine is, and the state it keeps between steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deepcore import ops, random
from deepcore.autograd import no_grad
from deepcore.errors import ArgumentError, NumericalError
from deepcore.nn.module import Module
from deepcore.nn.rbm import RBM
from deepcore.ops import inplace
from deepcore.ops.rbm import NOTHING_HELD, Chains, Hold, rbm_energy
from deepcore.staging import tensor_of
from deepcore.tensor import Tensor, tensor, zeros
from deepcore.train.callbacks import Callback

if TYPE_CHECKING:
    from deepcore.train.trainer import Trainer

Array = npt.NDArray[Any]
ALGORITHMS = ("cd", "pcd", "fpcd", "mean-field", "tempering")
Steps = int | Sequence[tuple[int, float]]


def at_epoch(schedule: Any, epoch: int) -> float:
    """A number, or of pairs (first epoch, number) the last one that has begun."""
    if isinstance(schedule, (int, float)):
        return schedule
    value = schedule[0][1]
    for first, number in schedule:
        if epoch >= first:
            value = number
    return float(value)


def check_schedule(owner: str, name: str, schedule: Any, low: float) -> None:
    """ArgumentError unless a number or pairs (first epoch, number), ascending from 0, with numbers >= low."""
    pairs = [(0, schedule)] if isinstance(schedule, (int, float, np.number)) else list(schedule)
    try:
        epochs, numbers = [p[0] for p in pairs], [float(p[1]) for p in pairs]
        good = epochs[:1] == [0] and epochs == sorted(set(epochs)) and all(n >= low for n in numbers)
    except (TypeError, IndexError, ValueError):
        good = False
    if not good:
        raise ArgumentError(
            f"{owner}: expected {name} >= {low:g} as a number or as pairs (first epoch, number) from epoch 0, got "
            f"{schedule!r}"
        )


class Contrastive(Callback):
    """The gradient of the log-likelihood of a `deepcore.nn.RBM`, its second term estimated by Gibbs chains.

    Give it to `Trainer` twice: as `task`, and among `callbacks`, where its chains and averages become part of
    checkpoints. Batches are (v,) or (v, known): v (n, visible), known 0 where an entry is missing (a softmax group is
    missing as a whole).

    Args:
        algorithm: 'cd' starts chains at the data (Hinton, 2002); 'pcd' lets them persist (Tieleman, 2008); 'fpcd'
            gives them fast weights besides (Tieleman and Hinton, 2009); 'mean-field' passes on means in place of
            samples (Welling and Hinton, 2002); 'tempering' runs chains at several temperatures that change places
            (Desjardins et al., 2010), of which the coldest counts.
        k: Gibbs steps per training step, or pairs (first epoch, k).
        momentum: None, or pairs (first epoch, momentum) for the optimizer.
        chains: how many persist; the batch's size by default.
        temperatures: of 'tempering', from 1 down to `hottest` (inverse temperatures, evenly spaced).
        fast_rate, fast_decay: of 'fpcd': learning rate and decay per step of the fast weights.
        centred: centre both sides on running means, which makes the gradient independent of which value of a unit is
            called 1 (Montavon and Mueller, 2012; Melchior, Fischer, Wiskott, 2016).
        visible_means: pass on means of visible units in place of samples.
        binarize: take v, in [0, 1], as probabilities, and draw the data anew at each step.
        sparsity_target, sparsity_cost, sparsity_decay: pull each hidden unit's running mean activity to the target
            (Lee, Ekanadham, Ng, 2008).
        dropout: share of hidden units left out for each sample (Srivastava et al., 2014); the others count 1 / (1 -
            dropout).
        l1: strength of the absolute weight decay (the squared one belongs to the optimizer).
        seed: of the data drawn and the units left out.
    """

    def __init__(
        self, algorithm: str = "cd", *, k: Steps = 1, momentum: Any = None, chains: int | None = None,
        temperatures: int = 10, hottest: float = 0.1, fast_rate: float = 0.01, fast_decay: float = 0.95,
        centred: bool = False, visible_means: bool = False, binarize: bool = False,
        sparsity_target: float | None = None, sparsity_cost: float = 0.1, sparsity_decay: float = 0.9,
        dropout: float = 0.0, l1: float = 0.0, seed: int = 0,
    ) -> None:  # fmt: skip
        owner = "Contrastive"
        if algorithm not in ALGORITHMS:
            raise ArgumentError(f"{owner}: expected algorithm in {list(ALGORITHMS)}, got {algorithm!r}")
        check_schedule(owner, "k", k, 1)
        if momentum is not None:
            check_schedule(owner, "momentum", momentum, 0)
        if chains is not None and chains < 1:
            raise ArgumentError(f"{owner}: expected chains >= 1, got {chains}")
        if algorithm == "tempering" and (temperatures < 2 or not 0 <= hottest < 1):
            raise ArgumentError(
                f"{owner}: expected temperatures >= 2 and hottest in [0, 1), got {temperatures}, {hottest}"
            )
        for name, value in (("fast_decay", fast_decay), ("sparsity_decay", sparsity_decay), ("dropout", dropout)):
            if not 0 <= value < 1:
                raise ArgumentError(f"{owner}: expected {name} in [0, 1), got {value}")
        if sparsity_target is not None and not 0 < sparsity_target < 1:
            raise ArgumentError(f"{owner}: expected sparsity_target in (0, 1), got {sparsity_target}")
        if min(fast_rate, sparsity_cost, l1) < 0:
            raise ArgumentError(
                f"{owner}: expected rates, costs and decays >= 0, got {fast_rate}, {sparsity_cost}, {l1}"
            )
        self.algorithm, self.k, self.momentum, self.chains = algorithm, k, momentum, chains
        self.levels = temperatures
        self.hottest = hottest
        self.fast_rate, self.fast_decay = fast_rate, fast_decay
        self.centred, self.visible_means, self.binarize = centred, visible_means, binarize
        self.sparsity = None if sparsity_target is None else (sparsity_target, sparsity_cost, sparsity_decay)
        self.dropout, self.l1, self.seed = dropout, l1, seed
        self.epoch = 0
        self.draws = 0  # batches and masks drawn so far
        self.sweeps = 0  # rounds of swaps
        self._kept: dict[str, Tensor] = {}  # chains, fast weights, running means

    # ---- a step ----
    def step(self, model: Module, batch: tuple[Array, ...]) -> tuple[Tensor, dict[str, float]]:
        """Mean energy of the data less that of the chains; its gradient is that of the mean log-likelihood."""
        if not isinstance(model, RBM):
            raise ArgumentError(f"Contrastive: expected an RBM, got {type(model).__name__}")
        with no_grad():
            v = tensor_of(batch, 0, model.device)
            known = tensor_of(batch, 1, model.device) if len(batch) > 1 else None
            if self.binarize:
                v = random.bernoulli(v, seed=self.seed, stream=self._draw())
            positive, negative = self._phases(model, v, known)
            variance = model.variance
            fed = [x if variance is None else ops.divide(x, variance) for x in (v, negative.v)]
            assert positive is not None
            raw = ops.rbm_statistics(fed[0], positive, fed[1], negative.h_mean)
            if self.algorithm == "fpcd":
                self._learn_fast(raw)
            statistics = self._shaped(model, raw, fed, (positive, negative.h_mean))
            log_variance = None
            if model.learns_variance:
                log_variance = _log_variance_gradient(model, (v, negative.v), (positive, negative.h_mean))
            error = ops.mean(ops.square(v - negative.v_mean)) if self.algorithm in ("cd", "mean-field") else None
        parameters = (model.weight, model.visible_bias, model.hidden_bias)
        loss = ops.rbm_energy_gap(*parameters, statistics)
        if log_variance is not None:
            loss = loss + ops.sum(ops.multiply(model.log_variance, log_variance))
        if variance is not None and not np.isfinite(float(loss.item())):
            raise _diverged(model)
        return loss, {} if error is None else {"reconstruction_error": float(error.item())}

    def _draw(self) -> int:
        self.draws += 1
        return (1 << 62) + self.draws  # clear of the streams of machines

    def _dropped(self, rows: int, model: RBM) -> Tensor | None:
        if not self.dropout:
            return None
        shape = (rows, model.weight.shape[0])
        kept = random.bernoulli(1 - self.dropout, shape, dtype=model.weight.dtype, seed=self.seed, stream=self._draw(),
                                device=model.device)  # fmt: skip
        return ops.multiply(kept, 1 / (1 - self.dropout))

    def _phases(self, model: RBM, v: Tensor, known: Tensor | None) -> tuple[Tensor | None, Chains]:
        k = int(at_epoch(self.k, self.epoch))
        keep = self._dropped(v.shape[0], model)
        sample_visible = not self.visible_means
        if known is not None and self.algorithm not in ("cd", "mean-field"):
            raise ArgumentError("Contrastive: missing entries need algorithm 'cd' or 'mean-field'")
        if self.algorithm in ("cd", "mean-field"):
            mean_field = self.algorithm == "mean-field"
            hold = NOTHING_HELD if known is None else Hold(keep=ops.astype(known, v.dtype))
            chains = model.gibbs(k, data=v, data_keep=keep, hidden_keep=keep, hold=hold,
                                 sample_visible=sample_visible and not mean_field,
                                 sample_hidden=not mean_field)  # fmt: skip
            return chains.data_mean, chains
        state = self._state(model, v)
        hidden_keep = self._dropped(state.shape[0], model)
        options: dict[str, Any] = {"hidden_keep": hidden_keep, "sample_visible": sample_visible}
        if self.algorithm == "pcd":
            chains = model.gibbs(k, data=v, state=state, data_keep=keep, **options)
        elif self.algorithm == "fpcd":
            data = model.gibbs(0, data=v, state=state, data_keep=keep)
            fast = [ops.add(p, self._kept[f"fast_{n}"]) for n, p in zip("wbc", _parameters(model), strict=True)]
            chains = model.gibbs(k, state=state, weights=(fast[0], fast[1], fast[2]), **options)
            chains = chains._replace(data_mean=data.data_mean)
        else:
            chains = model.gibbs(k, data=v, state=state, data_keep=keep, beta=self._kept["beta"], **options)
            copies = state.shape[0] // self.levels
            self._kept["state"] = self._swapped(model, chains, copies)
            return chains.data_mean, Chains(chains.v[:copies], chains.v_mean[:copies], chains.h[:copies],
                                            chains.h_mean[:copies], chains.data_mean)  # fmt: skip
        self._kept["state"] = chains.h
        return chains.data_mean, chains

    def _state(self, model: RBM, v: Tensor) -> Tensor:
        if "state" not in self._kept:
            n = self.chains or v.shape[0]
            if self.algorithm == "tempering":
                beta = np.repeat(np.linspace(1, self.hottest, self.levels), n).astype(model.weight.dtype)
                self._kept["beta"] = tensor(beta).to(model.device)
                n *= self.levels
            if self.algorithm == "fpcd":
                for name, p in zip("wbc", _parameters(model), strict=True):
                    self._kept[f"fast_{name}"] = zeros(p.shape, p.dtype).to(model.device)
            rows = ops.take(v, tensor(np.arange(n) % v.shape[0]).to(model.device), 0)
            self._kept["state"] = model.start(n, rows)
        return self._kept["state"]

    def _swapped(self, model: RBM, chains: Chains, copies: int) -> Tensor:
        energy = rbm_energy(chains.v, chains.h, *_parameters(model), variance=model.variance,
                            gaussian=model.units.visible == "gaussian")  # fmt: skip
        states = chains.h
        seed, layer, step = model.take_steps(1)
        states, _ = ops.rbm_swap(states, self._kept["beta"], energy, key=(seed, layer, step), copies=copies,
                                 parity=self.sweeps % 2)  # fmt: skip
        self.sweeps += 1
        return states

    def _learn_fast(self, statistics: Sequence[Tensor]) -> None:
        for name, g in zip("wbc", statistics, strict=True):
            old = self._kept[f"fast_{name}"]
            self._kept[f"fast_{name}"] = old * self.fast_decay - g * self.fast_rate

    # ---- what shapes the gradient ----
    def _shaped(
        self, model: RBM, statistics: tuple[Tensor, Tensor, Tensor], v: Sequence[Tensor], h: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        gw, gb, gc = statistics
        if self.centred:
            mu = self._running("visible_mean", ops.mean(v[0], 0), 0.99)
            la = self._running("hidden_mean", ops.mean(h[0], 0), 0.99)
            # cov(h, v) in place of h v^T: one product of two columns with two rows is both corrections.
            left = ops.stack([la, gc], 1)
            right = ops.stack([gb, mu], 0)
            gw = gw - ops.matmul(left, right)
            gb = gb - ops.matmul(la, gw)
            gc = gc - ops.matmul(gw, mu)
        if self.sparsity is not None:
            target, cost, decay = self.sparsity
            q = self._running("activity", ops.mean(h[0], 0), decay)
            pull = (q - target) * cost
            gc = gc + pull
            gw = gw + ops.matmul(ops.reshape(pull, -1, 1), ops.reshape(ops.mean(v[0], 0), 1, -1))
        if self.l1:
            gw = gw + ops.sign(model.weight) * self.l1
        return gw, gb, gc

    def _running(self, name: str, value: Tensor, decay: float) -> Tensor:
        old = self._kept.get(name)
        self._kept[name] = value if old is None else old * decay + value * (1 - decay)
        return self._kept[name]

    # ---- as a callback ----
    def on_fit_begin(self, trainer: Trainer) -> None:
        """Set what depends on the epoch."""
        self._begin_epoch(trainer, len(trainer.history))

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Set what depends on the epoch; stop with the cause when Gaussian units run away."""
        self._begin_epoch(trainer, len(trainer.history))
        _check_bounded(trainer)

    def _begin_epoch(self, trainer: Trainer, epoch: int) -> None:
        self.epoch = epoch
        if self.momentum is not None:
            trainer.optimizer.momentum = at_epoch(self.momentum, epoch)  # type: ignore[attr-defined]

    def state_dict(self) -> dict[str, Any]:
        """Counters."""
        return {"epoch": self.epoch, "draws": self.draws, "sweeps": self.sweeps}

    def arrays(self) -> dict[str, Array]:
        """Chains, fast weights, running means."""
        return {name: np.array(t.numpy()) for name, t in self._kept.items()}

    def load_state(self, state: dict[str, Any], arrays: dict[str, Array]) -> None:
        """Continue from a checkpoint."""
        self.epoch, self.draws, self.sweeps = (int(state[n]) for n in ("epoch", "draws", "sweeps"))
        self._kept = {name: tensor(a) for name, a in arrays.items()}


def _parameters(model: RBM) -> tuple[Tensor, Tensor, Tensor]:
    return model.weight, model.visible_bias, model.hidden_bias


def _log_variance_gradient(model: RBM, v: tuple[Tensor, Tensor], h: tuple[Tensor, Tensor]) -> Tensor:
    """Gradient of the mean energy of data less that of the chains for log s: E has (v - b)^2 / 2 s - v (w^T h) / s."""
    variance = model.variance
    assert variance is not None
    slopes = []
    for x, y in zip(v, h, strict=True):
        inner = ops.matmul(y, model.weight)
        slopes.append(ops.mean(x * inner - 0.5 * ops.square(x - model.visible_bias), 0))
    # d E / d log s = ((v (w^T h)) - (v - b)^2 / 2) / s; the loss takes data with a plus sign.
    return (slopes[0] - slopes[1]) / variance


def _diverged(model: RBM) -> NumericalError:
    weights, variance = np.abs(model.weight.numpy()), model.variance
    smallest = float("nan") if variance is None else variance.numpy().min()
    return NumericalError(
        f"Contrastive: the Gaussian machine diverges: largest weight {weights.max():.3g}, smallest variance "
        f"{smallest:.3g}. Scale the data to mean 0 and deviation 1, leave out features that do not vary, lower the "
        "learning rate (to 0.01 or less), or clip the gradients"
    )


def _check_bounded(trainer: Trainer) -> None:
    model = trainer.model
    if not isinstance(model, RBM) or model.units.visible != "gaussian":
        return
    w, variance = np.abs(model.weight.numpy()), model.variance
    assert variance is not None
    s = variance.numpy()
    if not np.isfinite(w).all() or w.max() > 1e4 or not np.isfinite(s).all() or s.min() < 1e-6:
        raise _diverged(model)


def initial_visible_bias(model: RBM, mean: Array, variance: Array | None = None) -> None:
    """Set the visible biases (and learnt log variances) so that the untrained machine has the means of the data."""
    kind = model.units.visible
    if kind == "bernoulli":
        p = np.clip(mean, 0.005, 0.995)
        values = np.log(p) - np.log1p(-p)
        if choice := model.units.choice:
            values[-choice:] = np.log(p[-choice:])
    elif kind == "softmax":
        values = np.log(np.clip(mean, 1e-3, None))
    else:
        values = mean
    inplace.copy_into(values.astype(np.float32), model.visible_bias)
    if model.learns_variance and variance is not None:
        inplace.copy_into(np.log(np.clip(variance, 1e-3, None)).astype(np.float32), model.log_variance)


__all__ = ["ALGORITHMS", "Contrastive", "at_epoch", "check_schedule", "initial_visible_bias"]
