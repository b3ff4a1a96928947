"""Residual connection."""

from __future__ import annotations

from deepcore import ops
from deepcore.nn.module import Module
from deepcore.tensor import Tensor


class Residual(Module):
    """relu(body(x) + shortcut(x)); shortcut defaults to x itself (He et al., 2016)."""

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Shape of body(x)."""
        return ops.relu(self.body(x) + (x if self.shortcut is None else self.shortcut(x)))
