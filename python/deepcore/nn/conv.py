"""Convolution layers on NHWC images."""

from __future__ import annotations

from collections.abc import Sequence

from deepcore import ops
from deepcore.errors import ArgumentError
from deepcore.nn.init import Initializer, generator_for, initial
from deepcore.nn.module import Module, Parameter
from deepcore.ops.conv import pair
from deepcore.tensor import Tensor, full


class Conv2d(Module):
    """activation(x * w + bias): (n, h, w, inputs) -> (n, p, q, outputs); filters (outputs, r, s, inputs / groups).

    Args:
        inputs, outputs: channels.
        size: filter height and width.
        stride, padding, dilation, groups, activation: as in `deepcore.ops.conv2d`; padding may be 'same'.
        bias: whether to add one; leave it out before a norm layer.
        init, max_norm, seed: as in `Linear`.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int | Sequence[int], *, stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0, dilation: int | Sequence[int] = 1, groups: int = 1, bias: bool = True,
        activation: str | None = None, init: str | Initializer = "he_uniform", max_norm: float | None = None,
        seed: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if groups < 1 or inputs % groups or outputs % groups:
            raise ArgumentError(f"Conv2d: groups {groups} do not divide channels {inputs} and {outputs}")
        r, s = pair("Conv2d", "size", size)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.activation = activation
        self.weight = Parameter(initial(init, (outputs, r, s, inputs // groups), generator_for(seed)), max_norm)
        self.bias = Parameter(full((outputs,), 0.0)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(n, h, w, inputs) -> (n, p, q, outputs)."""
        return ops.conv2d(
            x, self.weight, self.bias, stride=self.stride, padding=self.padding, dilation=self.dilation,
            groups=self.groups, activation=self.activation,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        k, r, s, cg = self.weight.shape
        text = f"{cg * self.groups}, {k}, ({r}, {s})"
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1), ("activation", None)):
            value = getattr(self, name)
            if value != default:
                text += f", {name}={value!r}"
        return text


class ConvTranspose2d(Module):
    """The adjoint of a convolution: (n, p, q, inputs) -> (n, h, w, outputs).

    Filters: (inputs, r, s, outputs / groups). init and seed as in `Linear`.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int | Sequence[int], *, stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0, output_padding: int | Sequence[int] = 0, groups: int = 1, bias: bool = True,
        init: str | Initializer = "he_uniform", seed: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if groups < 1 or inputs % groups or outputs % groups:
            raise ArgumentError(f"ConvTranspose2d: groups {groups} do not divide channels {inputs} and {outputs}")
        r, s = pair("ConvTranspose2d", "size", size)
        self.stride, self.padding, self.output_padding, self.groups = stride, padding, output_padding, groups
        self.weight = Parameter(initial(init, (inputs, r, s, outputs // groups), generator_for(seed)))
        self.bias = Parameter(full((outputs,), 0.0)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(n, p, q, inputs) -> (n, h, w, outputs)."""
        return ops.conv_transpose2d(
            x, self.weight, self.bias, stride=self.stride, padding=self.padding, output_padding=self.output_padding,
            groups=self.groups,
        )  # fmt: skip
