"""Convolutional classifiers on NHWC images: LeNet-5, a small VGG, ResNet-9 and ResNet-18."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deepcore import nn
from deepcore.errors import ArgumentError

Shape = tuple[int, int, int]  # height, width, channels


class _Seeds:
    """A new seed for each layer, counted from the net's own."""

    def __init__(self, seed: int) -> None:
        self.next = seed << 16

    def __call__(self) -> int:
        self.next += 1
        return self.next


def _pool(kind: str) -> nn.Module:
    if kind not in ("max", "average"):
        raise ArgumentError(f"cnn: expected pooling 'max' or 'average', got {kind!r}")
    return nn.MaxPool2d(2) if kind == "max" else nn.AvgPool2d(2)


def _conv(
    inputs: int, outputs: int, seeds: _Seeds, size: int = 3, stride: int = 1, relu: bool = True
) -> list[nn.Module]:
    """Convolution, batch norm and ReLU."""
    return [
        nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False, init="he_normal", seed=seeds()),
        nn.BatchNorm(outputs, activation="relu" if relu else None),
    ]


def lenet5(
    shape: Shape, classes: int, *, pooling: str = "max", dropout: float = 0.5, width: int = 32, seed: int = 0
) -> nn.Sequential:
    """Two 5x5 convolutions with pooling and a hidden dense layer (after LeCun et al., 1998, with ReLU and dropout).

    width: channels of the first convolution; the second has twice as many, the dense layer 16 times.
    """
    h, w, c = shape
    if h < 4 or w < 4:
        raise ArgumentError(f"lenet5: expected images of at least 4 x 4, got {h} x {w}")
    s = _Seeds(seed)
    return nn.Sequential(
        nn.Conv2d(c, width, 5, padding=2, activation="relu", seed=s()), _pool(pooling),
        nn.Conv2d(width, 2 * width, 5, padding=2, activation="relu", seed=s()), _pool(pooling), nn.Flatten(),
        nn.Linear((h // 4) * (w // 4) * 2 * width, 16 * width, activation="relu", seed=s()),
        *([nn.Dropout(dropout, seed=s())] if dropout else []),
        nn.Linear(16 * width, classes, init="glorot_uniform", seed=s()),
    )  # fmt: skip


def vgg_small(
    shape: Shape, classes: int, *, pooling: str = "max", dropout: float = 0.3, width: int = 32, seed: int = 0
) -> nn.Sequential:
    """Pairs of 3x3 convolutions with batch norm, pooling after each pair, doubling widths (after VGG, 2014).

    As many pairs (at most three) as the image can be halved to 4 x 4; then the mean over the image and one dense layer.
    """
    h, w, c = shape
    s = _Seeds(seed)
    layers: list[nn.Module] = []
    channels, out = c, width
    for pair in range(3):
        layers += [*_conv(channels, out, s), *_conv(out, out, s)]
        channels, out = out, out * 2
        if pair == 2 or min(h, w) < 8:
            break
        layers.append(_pool(pooling))
        h, w = h // 2, w // 2
    layers.append(nn.GlobalAvgPool2d() if pooling == "average" else nn.GlobalMaxPool2d())
    if dropout:
        layers.append(nn.Dropout(dropout, seed=s()))
    layers.append(nn.Linear(channels, classes, init="glorot_uniform", seed=s()))
    return nn.Sequential(*layers)


def resnet(
    shape: Shape, classes: int, *, depth: int = 9, pooling: str = "max", dropout: float = 0.0, width: int = 64,
    seed: int = 0,
) -> nn.Sequential:  # fmt: skip
    """ResNet-9 (after D. Page, 2018) or ResNet-18 (He et al., 2016) for small images."""
    if depth not in (9, 18):
        raise ArgumentError(f"resnet: expected depth 9 or 18, got {depth}")
    s = _Seeds(seed)

    def block(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
        body = [*_conv(inputs, outputs, s, stride=stride), *_conv(outputs, outputs, s, relu=False)]
        shortcut = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False, init="he_normal", seed=s()),
                nn.BatchNorm(outputs),
            )
        return nn.Residual(nn.Sequential(*body), shortcut)

    w = width
    layers: list[nn.Module] = _conv(shape[2], w, s)
    if depth == 9:
        layers += [*_conv(w, 2 * w, s), _pool(pooling), block(2 * w, 2 * w), *_conv(2 * w, 4 * w, s), _pool(pooling),
                   *_conv(4 * w, 4 * w, s), _pool(pooling), block(4 * w, 4 * w)]  # fmt: skip
        channels = 4 * w
    else:
        channels = w
        for stage in range(4):
            out = w << stage
            layers += [block(channels, out, 1 if stage == 0 else 2), block(out, out)]
            channels = out
    layers.append(nn.GlobalMaxPool2d() if depth == 9 else nn.GlobalAvgPool2d())
    if dropout:
        layers.append(nn.Dropout(dropout, seed=s()))
    layers.append(nn.Linear(channels, classes, init="glorot_uniform", seed=s()))
    return nn.Sequential(*layers)


def _resnet9(shape: Shape, classes: int, **options: Any) -> nn.Sequential:
    return resnet(shape, classes, depth=9, **options)


def _resnet18(shape: Shape, classes: int, **options: Any) -> nn.Sequential:
    return resnet(shape, classes, depth=18, **options)


PRESETS: dict[str, Callable[..., nn.Sequential]] = {
    "lenet5": lenet5, "vgg-small": vgg_small, "resnet9": _resnet9, "resnet18": _resnet18,
}  # fmt: skip


def cnn(preset: str, shape: Shape, classes: int, **options: Any) -> nn.Sequential:
    """A classifier by name: 'lenet5', 'vgg-small', 'resnet9' or 'resnet18', for images of (height, width, channels)."""
    if preset not in PRESETS:
        raise ArgumentError(f"cnn: expected one of {sorted(PRESETS)}, got {preset!r}")
    return PRESETS[preset](shape, classes, **options)
