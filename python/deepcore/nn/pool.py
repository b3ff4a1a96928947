"""Pooling and resizing layers on NHWC images."""

from __future__ import annotations

from collections.abc import Sequence

from deepcore import ops
from deepcore.nn.module import Module
from deepcore.tensor import Tensor

Size = int | Sequence[int]


class _Window(Module):
    def __init__(self, size: Size, stride: Size | None = None, padding: int | str | Sequence[int] = 0) -> None:
        super().__init__()
        self.size, self.stride, self.padding = size, size if stride is None else stride, padding

    def extra_repr(self) -> str:
        text = f"{self.size}"
        text += f", stride={self.stride}" if self.stride != self.size else ""
        return text + (f", padding={self.padding!r}" if self.padding != 0 else "")


class MaxPool2d(_Window):
    """Largest value of each window; stride defaults to the window size."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> (n, p, q, c)."""
        return ops.max_pool2d(x, self.size, stride=self.stride, padding=self.padding)


class AvgPool2d(_Window):
    """Mean of each window; stride defaults to the window size."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> (n, p, q, c)."""
        return ops.avg_pool2d(x, self.size, stride=self.stride, padding=self.padding)


class LpPool2d(_Window):
    """(sum |x|^power)^(1 / power) of each window."""

    def __init__(self, power: float, size: Size, stride: Size | None = None) -> None:
        super().__init__(size, stride)
        self.power = power

    def forward(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> (n, p, q, c)."""
        return ops.lp_pool2d(x, self.power, self.size, stride=self.stride)


class AdaptiveAvgPool2d(Module):
    """Means of windows that cut the image into `size` rows and columns."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> (n, *size, c)."""
        return ops.adaptive_avg_pool2d(x, self.size)


class GlobalAvgPool2d(Module):
    """Mean over rows and columns: (n, h, w, c) -> (n, c)."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> (n, c)."""
        return ops.global_avg_pool2d(x)


class GlobalMaxPool2d(Module):
    """Maximum over rows and columns: (n, h, w, c) -> (n, c)."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> (n, c)."""
        return ops.global_max_pool2d(x)


class Upsample(Module):
    """Image enlarged by a factor: mode 'nearest' or 'bilinear'."""

    def __init__(self, factor: Size, mode: str = "nearest") -> None:
        super().__init__()
        self.factor, self.mode = factor, mode

    def forward(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> (n, h factor, w factor, c)."""
        return ops.upsample(x, self.factor, mode=self.mode)
