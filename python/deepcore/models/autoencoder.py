"""Autoencoders: an encoder, a code, and a decoder that mirrors the encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from deepcore import nn, ops, random
from deepcore.errors import ArgumentError
from deepcore.models.mlp import FUSED
from deepcore.nn.module import buffer
from deepcore.tensor import Tensor, full

OUTPUTS = ("sigmoid", "linear")


class Noise(nn.Module):
    """In training adds normal numbers of a deviation; the numbers of call i are a function of (seed, i).

    The count of calls is a buffer, so a resumed training goes on with the same numbers.
    """

    def __init__(self, deviation: float, *, seed: int) -> None:
        super().__init__()
        if not 0 <= deviation < math.inf:
            raise ArgumentError(f"Noise: expected deviation >= 0, got {deviation}")
        self.deviation, self.seed = deviation, seed
        self.register_buffer("calls", buffer(0, "int64"), host=True)

    def draw(self, shape: tuple[int, ...], device: str) -> Tensor:
        """Normal numbers: the next ones in training, always the same in inference."""
        calls = self._buffers["calls"].numpy()
        call = 0
        if self.training:
            call = int(calls) + 1
            calls[...] = call
        return random.normal(shape, seed=self.seed, stream=call, device=device)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape; x itself in inference."""
        if not self.training or self.deviation == 0:
            return x
        return x + self.draw(x.shape, x.device) * self.deviation

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        return f"{self.deviation}"


class TiedLinear(nn.Module):
    """activation(x W + bias) with the weight W (inputs, outputs) of an encoder's layer: the transpose of its map.

    The weight is one parameter with two uses; it belongs to the encoder's layer.
    """

    def __init__(self, source: nn.Linear, activation: str | None = None) -> None:
        super().__init__()
        # Set past Module: a child would be listed, moved and saved a second time.
        object.__setattr__(self, "source", source)
        self.source: nn.Linear
        self.function = nn.Activation(activation) if activation else None
        self.bias = nn.Parameter(full((source.weight.shape[1],), 0.0))

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        y = ops.matmul(x, self.source.weight) + self.bias
        return self.function(y) if self.function is not None else y

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        inputs, outputs = self.source.weight.shape
        return f"{inputs}, {outputs}"


class AutoencoderNet(nn.Module):
    """x (n, ...) -> its reconstruction, of the same shape.

    Args:
        encoder: x -> code (n, k); for a variational net (n, 2 k), means beside logarithms of variances.
        decoder: code -> values (n, ...) before the output function.
        output: 'sigmoid' for values in 0..1, or 'linear'.
        variational: the code is a normal distribution (Kingma and Welling, 2014).
        seed: of the numbers drawn from it.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, *, output: str = "sigmoid", variational: bool = False,
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        if output not in OUTPUTS:
            raise ArgumentError(f"AutoencoderNet: expected output in {OUTPUTS}, got {output!r}")
        self.output, self.variational = output, variational
        self.encoder, self.decoder = encoder, decoder
        if variational:
            self.noise = Noise(1.0, seed=seed)

    def distribution(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of variances of the codes, (n, k) each. ArgumentError unless variational."""
        if not self.variational:
            raise ArgumentError("AutoencoderNet.distribution: the net is not variational")
        both = self.encoder(x)
        k = both.shape[1] // 2
        return ops.narrow(both, 1, 0, k), ops.narrow(both, 1, k, k)

    def draw(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """Codes mean + deviation * normal number: differentiable in both arguments."""
        return mean + ops.exp(log_variance * 0.5) * self.noise.draw(mean.shape, mean.device)

    def encode(self, x: Tensor) -> Tensor:
        """(n, ...) -> codes (n, k); the means for a variational net."""
        code: Tensor = self.distribution(x)[0] if self.variational else self.encoder(x)
        return code

    def decode(self, code: Tensor) -> Tensor:
        """Codes (n, k) -> (n, ...)."""
        return self.finish(self.decoder(code))

    def finish(self, values: Tensor) -> Tensor:
        """The output function."""
        return ops.sigmoid(values) if self.output == "sigmoid" else values

    def forward(self, x: Tensor) -> Tensor:
        """(n, ...) -> (n, ...)."""
        return self.decode(self.encode(x))


def dense_autoencoder(
    inputs: int, layers: Sequence[int], *, activation: str = "relu", code_activation: str = "identity",
    output: str = "sigmoid", tied: bool = False, variational: bool = False, code_noise: float = 0.0, seed: int = 0,
) -> AutoencoderNet:  # fmt: skip
    """(n, inputs) -> (n, inputs) through dense layers of the sizes `layers`, the last of them the code, and back.

    encoder and decoder are `Sequential`s with one module per layer. code_noise is the deviation of normal noise on the
    code before its activation, in training (Salakhutdinov and Hinton, 2009).
    """
    sizes = [inputs, *layers]
    if not layers or any(s < 1 for s in sizes):
        raise ArgumentError(f"dense_autoencoder: expected sizes >= 1 and at least one layer, got {sizes}")
    _check(tied, variational, activation, code_activation, code_noise)
    encoder = _dense(sizes, activation, code_activation, variational, code_noise, seed)
    last = len(layers) - 1
    decoder: list[nn.Module] = []
    for i, (o, n) in enumerate(reversed(list(pairwise(sizes)))):
        act = "identity" if i == last else activation
        if tied:
            function = None if act == "identity" else act
            decoder.append(TiedLinear(_linear_of(encoder[last - i]), function))
        else:
            decoder.append(_layer(n, o, act, _seed(seed, 100 + i)))
    return AutoencoderNet(nn.Sequential(*encoder), nn.Sequential(*decoder), output=output, variational=variational,
                          seed=_seed(seed, 999))  # fmt: skip


def conv_autoencoder(
    shape: tuple[int, int, int], channels: Sequence[int], layers: Sequence[int] = (), *, activation: str = "relu",
    code_activation: str = "identity", output: str = "sigmoid", variational: bool = False, code_noise: float = 0.0,
    seed: int = 0,
) -> AutoencoderNet:  # fmt: skip
    """Images (n, *shape) -> the same: 3 x 3 convolutions of stride 2 with `channels`, then dense `layers`, and back.

    Without layers the code is the last feature map, flattened.
    """
    h, w, c = shape
    if not channels or any(n < 1 for n in (*channels, *layers)):
        raise ArgumentError(f"conv_autoencoder: expected channels >= 1, got {channels} and layers {layers}")
    if not layers and (variational or code_noise or code_activation != "identity"):
        raise ArgumentError("conv_autoencoder: variational, code_noise and code_activation need dense layers")
    _check(False, variational, activation, code_activation, code_noise)
    sides = [(h, w)]
    encoder: list[nn.Module] = []
    for i, (m, n) in enumerate(pairwise([c, *channels])):
        encoder.append(_activated(nn.Conv2d(m, n, 3, stride=2, padding=1, init=_init(activation),
                                            seed=_seed(seed, 300 + i)), activation))  # fmt: skip
        sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
    encoder.append(nn.Flatten())
    decoder: list[nn.Module] = []
    flat = sides[-1][0] * sides[-1][1] * channels[-1]
    if layers:
        sizes = [flat, *layers]
        encoder += _dense(sizes, activation, code_activation, variational, code_noise, seed)
        decoder += [_layer(n, o, activation, _seed(seed, 100 + i))
                    for i, (o, n) in enumerate(reversed(list(pairwise(sizes))))]  # fmt: skip
    decoder.append(nn.Reshape(*sides[-1], channels[-1]))
    widths = [*channels[::-1], channels[0]]
    for i, (m, n) in enumerate(pairwise(widths)):
        small, large = sides[len(channels) - i], sides[len(channels) - i - 1]
        extra = [b - (2 * a - 1) for a, b in zip(small, large, strict=True)]
        up = nn.ConvTranspose2d(m, n, 3, stride=2, padding=1, output_padding=extra, init=_init(activation),
                                seed=_seed(seed, 400 + i))  # fmt: skip
        decoder.append(_activated(up, activation))
    decoder.append(nn.Conv2d(channels[0], c, 3, padding=1, init="glorot_uniform", seed=_seed(seed, 499)))
    return AutoencoderNet(nn.Sequential(*encoder), nn.Sequential(*decoder), output=output, variational=variational,
                          seed=_seed(seed, 999))  # fmt: skip


def _check(tied: bool, variational: bool, activation: str, code_activation: str, code_noise: float) -> None:
    for name in (activation, code_activation):
        nn.Activation(name)  # a net of one layer would not use both
    if variational and (tied or code_noise or code_activation != "identity"):
        raise ArgumentError("autoencoder: a variational code goes without tied, code_noise and code_activation")


def _dense(
    sizes: Sequence[int], activation: str, code_activation: str, variational: bool, code_noise: float, seed: int
) -> list[nn.Module]:
    """The encoder's dense layers, one module each."""
    modules: list[nn.Module] = []
    last = len(sizes) - 2
    for i, (m, n) in enumerate(pairwise(sizes)):
        if i < last:
            modules.append(_layer(m, n, activation, _seed(seed, i)))
        elif code_noise:
            linear = nn.Linear(m, n, init="glorot_uniform", seed=_seed(seed, i))
            modules.append(_activated(nn.Sequential(linear, Noise(code_noise, seed=_seed(seed, 998))), code_activation))
        else:
            modules.append(_layer(m, 2 * n if variational else n, code_activation, _seed(seed, i)))
    return modules


def _layer(inputs: int, outputs: int, activation: str, seed: int) -> nn.Module:
    if activation in FUSED or activation == "identity":
        act = None if activation == "identity" else activation
        return nn.Linear(inputs, outputs, activation=act, init=_init(activation), seed=seed)
    return _activated(nn.Linear(inputs, outputs, init=_init(activation), seed=seed), activation)


def _activated(layer: nn.Module, activation: str) -> nn.Module:
    return layer if activation == "identity" else nn.Sequential(layer, nn.Activation(activation))


def _init(activation: str) -> str:
    return "glorot_uniform" if activation in ("identity", "sigmoid", "tanh") else "he_uniform"


def _linear_of(layer: nn.Module) -> nn.Linear:
    while isinstance(layer, nn.Sequential):
        layer = layer[0]
    assert isinstance(layer, nn.Linear)
    return layer


def _seed(seed: int, position: int) -> int:
    """A seed of its own for each part of a net."""
    return (seed << 16) + position


__all__ = ["AutoencoderNet", "Noise", "TiedLinear", "conv_autoencoder", "dense_autoencoder"]
