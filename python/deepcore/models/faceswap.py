"""Autoencoders of several people's faces: one encoder for all with a decoder each, or an autoencoder each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import nn
from deepcore.errors import ArgumentError, ShapeError
from deepcore.tensor import Tensor, zeros

Shape = tuple[int, int, int]  # height, width, channels
Machine = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]  # weight (hidden, visible), hidden, visible bias

SMALLEST = 8  # sides are halved while they are at least this
LARGEST_BOTTOM = 12  # what halving must reach: beyond it, the dense layer would hold nearly all weights


def halvings(shape: Shape) -> int:
    """How often both sides can be halved; ArgumentError for sides below 16, or when more than 12 pixels are left.

    64, 96 and 128 are good sides; 100 is not, as it is odd after two halvings.
    """
    h, w, c = shape
    count = 0
    while min(h, w) >= SMALLEST and h % 2 == 0 and w % 2 == 0:
        h, w, count = h // 2, w // 2, count + 1
    if min(shape[:2]) < 16 or max(h, w) > LARGEST_BOTTOM or c not in (1, 3):
        raise ArgumentError(
            f"face net: expected pictures of 1 or 3 channels with sides of at least 16 that halve down to at most "
            f"{LARGEST_BOTTOM} pixels, such as 64, 96 or 128, got {shape}"
        )
    return count


def face_encoder(shape: Shape, *, code: int, width: int, seed: int) -> nn.Sequential:
    """(n, h, w, c) -> (n, code): convolutions of stride 2 and ReLU, channels doubling up to 8 times `width`."""
    h, w, c = shape
    layers: list[nn.Module] = []
    channels, out = c, width
    for i in range(halvings(shape)):
        size = 5 if i == 0 else 3
        layers.append(
            nn.Conv2d(channels, out, size, stride=2, padding=size // 2, activation="relu", seed=(seed << 16) + i)
        )
        channels, out, h, w = out, min(2 * out, 8 * width), h // 2, w // 2
    layers += [
        nn.Flatten(),
        nn.Linear(h * w * channels, code, init="glorot_uniform", seed=(seed << 16) + 100),
    ]  # fmt: skip
    return nn.Sequential(*layers)


def face_decoder(shape: Shape, *, code: int, width: int, seed: int) -> nn.Sequential:
    """(n, code) -> (n, h, w, c) in (0, 1): the encoder's mirror image; pixels are repeated, then convolved."""
    count = halvings(shape)
    h, w = shape[0] >> count, shape[1] >> count
    channels = min(width << (count - 1), 8 * width)
    layers: list[nn.Module] = [
        nn.Linear(code, h * w * channels, activation="relu", seed=(seed << 16) + 200),
        nn.Reshape(h, w, channels),
    ]  # fmt: skip
    for i in range(count):
        out = max(channels // 2, width // 2, 4)
        layers += [
            nn.Upsample(2),
            nn.Conv2d(channels, out, 3, padding=1, activation="relu", seed=(seed << 16) + 201 + i),
        ]  # fmt: skip
        channels = out
    layers.append(
        nn.Conv2d(channels, shape[2], 3, padding=1, activation="sigmoid", init="glorot_uniform",
                  seed=(seed << 16) + 300)
    )  # fmt: skip
    return nn.Sequential(*layers)


class FaceNet(nn.Module):
    """Encoders and decoders of `people` faces of `shape` (h, w, c).

    Args:
        shape: height, width, channels of all faces.
        people: number of decoders.
        code: length of the code.
        width: channels of the first convolution.
        shared: one encoder for all people, and decoders that start from the same weights, so that a code means the
            same to all of them; otherwise an encoder each, all weights different.
        seed: of the initial weights.

    Attributes:
        joined: while it is true, the first decoder stands for everyone's; `part` ends that.
        means (people, code): a running mean of each person's codes, kept by training; saved with the weights.
    """

    means: Tensor

    def __init__(
        self, shape: Shape, people: int, *, code: int = 256, width: int = 24, shared: bool = True, seed: int = 0
    ) -> None:
        super().__init__()
        if people < 2 or code < 1 or width < 1:
            raise ArgumentError(f"FaceNet: expected people >= 2 and code, width >= 1, got {people}, {code}, {width}")
        self.shape, self.people, self.shared, self.joined = shape, people, shared, False
        self.register_buffer("means", zeros((people, code)), host=True)
        self.encoders = nn.Sequential(
            *(face_encoder(shape, code=code, width=width, seed=seed + i) for i in range(1 if shared else people))
        )
        self.decoders = nn.Sequential(
            *(
                face_decoder(shape, code=code, width=width, seed=seed if shared else seed + i)
                for i in range(people)
            )
        )  # fmt: skip

    def part(self) -> list[tuple[nn.Parameter, nn.Parameter]]:
        """Give everyone a copy of the first decoder, to go on from; (weight, its copy) of all weights."""
        first = self.decoders[0]
        for decoder in self.decoders.layers[1:]:
            decoder.load_state_dict(first.state_dict())
        self.joined = False
        return [pair for d in self.decoders.layers[1:] for pair in zip(first.parameters(), d.parameters(), strict=True)]

    def encode(self, x: Tensor, who: int) -> Tensor:
        """Codes (n, code) of faces x (n, h, w, c), by person `who`'s encoder."""
        codes: Tensor = self.encoders[0 if self.shared else who](x)
        return codes

    def decode(self, codes: Tensor, who: int) -> Tensor:
        """Faces (n, h, w, c) of person `who` from codes (n, code)."""
        faces: Tensor = self.decoders[0 if self.joined else who](codes)
        return faces

    def forward(self, x: Tensor, who: int) -> Tensor:
        """Faces x (n, h, w, c) as person `who`'s autoencoder sees them."""
        return self.decode(self.encode(x, who), who)


def _dense(weight: npt.NDArray[Any], bias: npt.NDArray[Any], activation: str | None = "sigmoid") -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], activation=activation, seed=0)
    layer.load_state_dict({"weight": np.ascontiguousarray(weight), "bias": bias})
    return layer


class UnrolledFaces(nn.Module):
    """One stack of restricted Boltzmann machines unrolled into an autoencoder of its own for each of `people`.

    The encoder is the stack run upwards, sigmoid(w x + hidden bias) of each machine; the decoder the stack run
    downwards, sigmoid(w^T z + visible bias) (Hinton and Salakhutdinov, 2006). All people start from copies of the same
    weights, so that codes agree as long as fine-tuning is light.

    Args:
        shape: height, width, channels of all faces; the lowest machine has as many visible units as they have values.
        people: number of autoencoders.
        stack: (weight (hidden, visible), hidden bias, visible bias) of each machine, from the bottom.
        variance: None where the lowest visible units are Bernoulli; of Gaussian ones their variances (visible,), which
            divide what goes up, and nothing squashes what comes down.

    Raises:
        ShapeError: sizes do not follow on each other.
    """

    def __init__(
        self, shape: Shape, people: int, stack: Sequence[Machine], *, variance: npt.NDArray[Any] | None = None
    ) -> None:
        super().__init__()
        if people < 2 or not stack:
            raise ArgumentError(f"UnrolledFaces: expected people >= 2 and a machine, got {people} and {len(stack)}")
        below = int(np.prod(shape))
        for i, (weight, hidden, visible) in enumerate(stack):
            if weight.ndim != 2 or weight.shape != (len(hidden), len(visible)) or weight.shape[1] != below:
                raise ShapeError(
                    f"UnrolledFaces: expected machine {i} to have a weight (hidden, {below}) and biases to fit, got "
                    f"{weight.shape}, {hidden.shape}, {visible.shape}"
                )
            below = weight.shape[0]
        if variance is not None and variance.shape != (len(stack[0][2]),):
            raise ShapeError(f"UnrolledFaces: expected {len(stack[0][2])} variances, got shape {variance.shape}")
        self.shape, self.people, self.shared, self.joined = shape, people, False, False
        rising = [w if i or variance is None else w / variance for i, (w, _, _) in enumerate(stack)]
        out = "sigmoid" if variance is None else None

        def up() -> nn.Sequential:
            return nn.Sequential(nn.Flatten(), *(_dense(w, h) for w, (_, h, _) in zip(rising, stack, strict=True)))

        def down() -> nn.Sequential:
            layers = [_dense(w.T, v, "sigmoid" if i else out) for i, (w, _, v) in enumerate(stack)]
            return nn.Sequential(*reversed(layers), nn.Reshape(*shape))

        self.encoders = nn.Sequential(*(up() for _ in range(people)))
        self.decoders = nn.Sequential(*(down() for _ in range(people)))

    def encode(self, x: Tensor, who: int) -> Tensor:
        """Codes (n, top hidden units) of faces x (n, h, w, c), by person `who`'s encoder."""
        codes: Tensor = self.encoders[who](x)
        return codes

    def decode(self, codes: Tensor, who: int) -> Tensor:
        """Faces (n, h, w, c) of person `who` from codes; in (0, 1) but for Gaussian visible units."""
        faces: Tensor = self.decoders[who](codes)
        return faces

    def forward(self, x: Tensor, who: int) -> Tensor:
        """Faces x (n, h, w, c) as person `who`'s autoencoder sees them."""
        return self.decode(self.encode(x, who), who)


__all__ = ["FaceNet", "UnrolledFaces", "face_decoder", "face_encoder", "halvings"]
