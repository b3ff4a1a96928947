"""Multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence

from deepcore import nn
from deepcore.errors import ArgumentError

FUSED = ("relu", "sigmoid", "tanh")


def mlp(
    inputs: int, hidden: Sequence[int], outputs: int, *, activation: str = "relu", dropout: float = 0.0,
    input_dropout: float = 0.0, batch_norm: bool = False, max_norm: float | None = None, seed: int = 0,
) -> nn.Sequential:  # fmt: skip
    """(n, inputs) -> (n, outputs): dense layers with an activation after each hidden one.

    activation: any name of `deepcore.nn.Activation`, or 'maxout'. dropout follows every hidden layer, input_dropout
    comes before the first. max_norm limits the incoming weights of each hidden unit. Weights, seeds and dropout masks
    are functions of `seed`.
    """
    if any(h < 1 for h in hidden):
        raise ArgumentError(f"mlp: expected hidden sizes >= 1, got {list(hidden)}")
    layers: list[nn.Module] = []
    if input_dropout:
        layers.append(nn.Dropout(input_dropout, seed=_seed(seed, 1000)))
    init = "he_uniform" if activation not in ("sigmoid", "tanh") else "glorot_uniform"
    size = inputs
    for i, width in enumerate(hidden):
        fused = activation if activation in FUSED and not batch_norm else None
        in_norm = activation if activation == "relu" and batch_norm else None
        if activation == "maxout":
            layers.append(nn.Maxout(size, width, seed=_seed(seed, i)))
        else:
            layers.append(
                nn.Linear(size, width, bias=not batch_norm, activation=fused, init=init, max_norm=max_norm,
                          seed=_seed(seed, i))
            )  # fmt: skip
        if batch_norm:
            layers.append(nn.BatchNorm(width, activation=in_norm))
        if not (fused or in_norm) and activation not in ("maxout", "identity"):
            layers.append(nn.Activation(activation))
        if dropout:
            layers.append(nn.Dropout(dropout, seed=_seed(seed, 1001 + i)))
        size = width
    layers.append(nn.Linear(size, outputs, init="glorot_uniform", seed=_seed(seed, 999)))
    return nn.Sequential(*layers)


def _seed(seed: int, position: int) -> int:
    """A seed of its own for each part of a net."""
    return (seed << 16) + position
