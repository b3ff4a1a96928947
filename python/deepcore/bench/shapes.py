"""Named shapes of real networks. Others count too: a kernel tuned to these alone has missed the point."""

from __future__ import annotations

from typing import NamedTuple


class Conv(NamedTuple):
    """Images (n, h, w, c), k filters of r x r."""

    n: int
    h: int
    w: int
    c: int
    k: int
    r: int
    stride: int
    padding: int

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the result."""
        return tuple((size + 2 * self.padding - self.r) // self.stride + 1 for size in (self.h, self.w))  # type: ignore[return-value]


CONVOLUTIONS = {
    "lenet1": Conv(64, 28, 28, 1, 32, 5, 1, 2),
    "lenet2": Conv(64, 14, 14, 32, 64, 5, 1, 2),
    "resnet56": Conv(32, 56, 56, 64, 64, 3, 1, 1),
    "resnet28": Conv(32, 28, 28, 128, 128, 3, 1, 1),
    "resnet14": Conv(32, 14, 14, 256, 256, 3, 1, 1),
    "stride2": Conv(32, 28, 28, 128, 256, 3, 2, 1),
    "pointwise": Conv(32, 14, 14, 256, 512, 1, 1, 0),
    "cifar": Conv(128, 32, 32, 64, 64, 3, 1, 1),
}

# (m, k, n)
GEMMS = {
    **{f"{n}": (n, n, n) for n in (128, 256, 512, 1024, 2048)},
    "64x784x512": (64, 784, 512),
    "128x1024x1024": (128, 1024, 1024),
    "256x4096x1024": (256, 4096, 1024),
    "1x1024x4096": (1, 1024, 4096),
    "1024x64x1024": (1024, 64, 1024),
}

# pooling, ReLU, batch norm, dropout
IMAGES = {"in cache": (64, 28, 28, 32), "in memory": (64, 56, 56, 64)}
LOGITS = {"128x10": (128, 10), "1024x1000": (1024, 1000)}
ACTIVATIONS = {"128x1024": (128, 1024), "1024x4096": (1024, 4096)}
