"""Reconstruction: what one training step of an autoencoder is, with its penalties."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deepcore import ops
from deepcore.autograd import enable_grad, grad
from deepcore.errors import ArgumentError
from deepcore.staging import tensor_of
from deepcore.tensor import Tensor

LOSSES = ("squared", "cross_entropy")


class Net(Protocol):
    """What the task needs of a net: see `deepcore.models.AutoencoderNet`."""

    training: bool
    output: str
    variational: bool
    decoder: Any

    @property
    def device(self) -> str:
        """Where it lives."""
        ...

    def encode(self, x: Tensor) -> Tensor:
        """Codes (n, k)."""
        ...

    def distribution(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of variances of the codes."""
        ...

    def draw(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """Codes drawn from them."""
        ...

    def finish(self, values: Tensor) -> Tensor:
        """The output function."""
        ...


class Reconstruction:
    """Batches (x,) or (noisy x, x) -> loss and metrics of an autoencoder; numbers per sample, summed over values.

    Args:
        loss: 'squared' sum (y - x)^2, or 'cross_entropy' - sum x log y + (1 - x) log(1 - y) for outputs in 0..1.
        sparsity: target r of the mean activation q of each code unit over the batch: adds sparsity_weight times
            sum KL(r || q) (Ng, 2011). The code must lie in 0..1.
        contractive: weight of ||d code / d x||^2 (Frobenius), exact (Rifai et al., 2011).
        beta: weight of KL(code distribution || N(0, I)) for a variational net, whose loss is then minus the lower bound
            on the log-likelihood (up to a constant for 'squared': variance 1/2 per value).
    """

    def __init__(
        self, loss: str = "squared", *, sparsity: float | None = None, sparsity_weight: float = 1.0,
        contractive: float = 0.0, beta: float = 1.0,
    ) -> None:  # fmt: skip
        if loss not in LOSSES:
            raise ArgumentError(f"Reconstruction: expected loss in {LOSSES}, got {loss!r}")
        if sparsity is not None and not 0 < sparsity < 1:
            raise ArgumentError(f"Reconstruction: expected sparsity in (0, 1), got {sparsity}")
        if contractive < 0 or beta < 0 or sparsity_weight < 0:
            raise ArgumentError(
                f"Reconstruction: expected weights >= 0, got sparsity_weight {sparsity_weight}, contractive "
                f"{contractive}, beta {beta}"
            )
        self.loss, self.sparsity, self.sparsity_weight = loss, sparsity, sparsity_weight
        self.contractive, self.beta = contractive, beta

    def step(self, model: Any, batch: tuple[npt.NDArray[Any], ...]) -> tuple[Tensor, dict[str, float]]:
        """The mean loss of a batch (differentiable while recording) and 'squared_error' per sample."""
        net: Net = model
        x = tensor_of(batch, 0, net.device)
        target = tensor_of(batch, 1, net.device) if len(batch) > 1 else x
        n = x.shape[0]
        if self.contractive:
            x = Tensor(x.array, True)
        extra: list[Tensor] = []
        if net.variational:
            mean, log_variance = net.distribution(x)
            code = net.draw(mean, log_variance)
            extra.append(ops.sum(gaussian_divergence(mean, log_variance)) * (self.beta / n))
        else:
            code = net.encode(x)
        if self.sparsity is not None:
            extra.append(sparsity_penalty(code, self.sparsity) * self.sparsity_weight)
        if self.contractive:
            extra.append(self._contraction(net, x, code) * (self.contractive / n))
        values = net.decoder(code)
        loss, error = self.compare(net, values, target)
        total = ops.sum(loss) * (1.0 / n)
        for term in extra:
            total = total + term
        return total, {"squared_error": error}

    def compare(self, net: Net, values: Tensor, target: Tensor) -> tuple[Tensor, float]:
        """The loss of each value (decoder outputs before the output function), and the squared error per sample."""
        y = net.finish(values)
        squares = ops.square(y - target)
        error = float(ops.sum(squares).item()) / max(target.shape[0], 1)
        if self.loss == "squared":
            return squares, error
        return ops.bce_with_logits(values, target, reduction="none"), error

    def _contraction(self, net: Net, x: Tensor, code: Tensor) -> Tensor:
        """Sum over the batch of the squared Frobenius norm of the encoder's Jacobian."""
        if not code.requires_grad:  # evaluation, with recording off
            with enable_grad():
                code = net.encode(x)
        total: Tensor | None = None
        for j in range(code.shape[1]):
            # Samples do not mix in the encoder: one sweep gives row j of every sample's Jacobian.
            with enable_grad():
                unit = ops.sum(ops.narrow(code, 1, j, 1))
                (row,) = grad(unit, [x], create_graph=True)
                term = ops.sum(ops.square(row))
            total = term if total is None else total + term
        assert total is not None
        return total


def gaussian_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) of each entry."""
    return (ops.square(mean) + ops.exp(log_variance) - log_variance - 1.0) * 0.5


def sparsity_penalty(code: Tensor, target: float) -> Tensor:
    """Sum over units of KL(target || mean activation over the batch), of codes (n, k) in 0..1."""
    q = ops.clamp(ops.mean(code, 0), 1e-6, 1 - 1e-6)
    entropy = target * np.log(target) + (1 - target) * np.log(1 - target)
    cross = ops.log(q) * target + ops.log(1.0 - q) * (1 - target)
    return float(entropy) * code.shape[1] - ops.sum(cross)


__all__ = ["LOSSES", "Reconstruction", "gaussian_divergence", "sparsity_penalty"]
