"""Normalisation layers; channels are the last axis."""

from __future__ import annotations

from deepcore import ops
from deepcore.errors import ArgumentError
from deepcore.nn.module import Module, Parameter, buffer
from deepcore.tensor import Tensor, full


class BatchNorm(Module):
    """Batch normalisation over all axes but the last (Ioffe and Szegedy, 2015).

    In training with the statistics of the batch, which also move the running ones by `momentum`; in inference with the
    running statistics. activation: None or 'relu', applied in the same pass over memory.
    """

    def __init__(
        self, channels: int, *, momentum: float = 0.1, epsilon: float = 1e-5, activation: str | None = None
    ) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ArgumentError(f"BatchNorm: expected momentum in [0, 1], got {momentum}")
        if activation not in (None, "relu"):
            raise ArgumentError(f"BatchNorm: expected activation None or 'relu', got {activation!r}")
        self.momentum, self.epsilon, self.activation = momentum, epsilon, activation
        self.gamma = Parameter(full((channels,), 1.0))
        self.beta = Parameter(full((channels,), 0.0))
        self.register_buffer("running_mean", buffer([0.0] * channels))
        self.register_buffer("running_variance", buffer([1.0] * channels))

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) -> same shape."""
        return ops.batch_norm(
            x, self.gamma, self.beta, running_mean=self._buffers["running_mean"],
            running_var=self._buffers["running_variance"], training=self.training,
            momentum=self.momentum, epsilon=self.epsilon, activation=self.activation,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        return f"{self.gamma.shape[0]}" + (f", activation={self.activation!r}" if self.activation else "")


class LayerNorm(Module):
    """Normalisation of each vector along the last axis (Ba et al., 2016)."""

    def __init__(self, channels: int, *, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.gamma = Parameter(full((channels,), 1.0))
        self.beta = Parameter(full((channels,), 0.0))

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) -> same shape."""
        return ops.layer_norm(x, self.gamma, self.beta, epsilon=self.epsilon)


class GroupNorm(Module):
    """Normalisation per sample and group of channels (Wu and He, 2018)."""

    def __init__(self, groups: int, channels: int, *, epsilon: float = 1e-5) -> None:
        super().__init__()
        if groups < 1 or channels % groups:
            raise ArgumentError(f"GroupNorm: groups {groups} do not divide {channels} channels")
        self.groups, self.epsilon = groups, epsilon
        self.gamma = Parameter(full((channels,), 1.0))
        self.beta = Parameter(full((channels,), 0.0))

    def forward(self, x: Tensor) -> Tensor:
        """(n, ..., channels) -> same shape."""
        return ops.group_norm(x, self.groups, self.gamma, self.beta, epsilon=self.epsilon)


class InstanceNorm(Module):
    """Normalisation per sample and channel (Ulyanov et al., 2016)."""

    def __init__(self, channels: int, *, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.gamma = Parameter(full((channels,), 1.0))
        self.beta = Parameter(full((channels,), 0.0))

    def forward(self, x: Tensor) -> Tensor:
        """(n, ..., channels) -> same shape."""
        return ops.instance_norm(x, self.gamma, self.beta, epsilon=self.epsilon)
