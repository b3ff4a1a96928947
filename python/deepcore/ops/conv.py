"""Two-dimensional convolution: three primitives that are each other's derivatives, and the transposed convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepcore import _C
from deepcore.autograd import defvjp, primitive
from deepcore.errors import ArgumentError, ShapeError
from deepcore.ops.matmul import ACTIVATIONS, before_activation
from deepcore.ops.reduce import sum as sum_
from deepcore.tensor import Tensor

Pair = tuple[int, int]
Sides = tuple[int, int, int, int]  # top, bottom, left, right


@primitive
def _conv2d(
    x: _C.Array, w: _C.Array, bias: _C.Array | None, *, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> _C.Array:
    return _C.conv2d(x, w, bias, stride, padding, dilation, groups, 0)


@primitive
def _conv2d_activated(
    x: _C.Array, w: _C.Array, bias: _C.Array | None, *, stride: Pair, padding: Sides, dilation: Pair, groups: int,
    activation: str,
) -> _C.Array:  # fmt: skip
    return _C.conv2d(x, w, bias, stride, padding, dilation, groups, ACTIVATIONS[activation])


@primitive
def _conv2d_grad_input(
    g: _C.Array, w: _C.Array, *, shape: tuple[int, ...], stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> _C.Array:
    return _C.conv2d_grad_input(g, w, shape, stride, padding, dilation, groups)


@primitive
def _conv2d_grad_weight(
    x: _C.Array, g: _C.Array, *, shape: tuple[int, ...], stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> _C.Array:
    return _C.conv2d_grad_weight(x, g, shape, stride, padding, dilation, groups)


def _rule_bias(g: Tensor, y: Any, x: Any, w: Any, bias: Any, **p: Any) -> Tensor:
    return sum_(g, (0, 1, 2))


def _rule_x(g: Tensor, y: Any, x: Any, w: Tensor, bias: Any, activation: str | None = None, **p: Any) -> Tensor:
    result: Tensor = _conv2d_grad_input(g, w, shape=x.shape, **p)
    return result


def _rule_w(g: Tensor, y: Any, x: Tensor, w: Any, bias: Any, activation: str | None = None, **p: Any) -> Tensor:
    result: Tensor = _conv2d_grad_weight(x, g, shape=w.shape, **p)
    return result


defvjp(_conv2d, _rule_x, _rule_w, _rule_bias, saves="x w")
defvjp(_conv2d_activated, _rule_x, _rule_w, _rule_bias, saves="x w y", before=before_activation)
# y of grad_input is shaped like x, so its cotangent c goes through the convolution.
defvjp(
    _conv2d_grad_input,
    lambda c, y, g, w, shape, **p: _conv2d(c, w, None, **p),
    lambda c, y, g, w, shape, **p: _conv2d_grad_weight(c, g, shape=w.shape, **p),
    saves="g w",
)
defvjp(
    _conv2d_grad_weight,
    lambda c, y, x, g, shape, **p: _conv2d_grad_input(g, c, shape=x.shape, **p),
    lambda c, y, x, g, shape, **p: _conv2d(x, c, None, **p),
    saves="x g",
)


def pair(op: str, name: str, value: int | Sequence[int]) -> Pair:
    """An int for both directions, or (rows, columns)."""
    if isinstance(value, int):
        return (value, value)
    if len(value) != 2:
        raise ArgumentError(f"{op}: expected {name} as an int or two, got {value!r}")
    return (int(value[0]), int(value[1]))


def sides(
    op: str, padding: int | str | Sequence[int], image: Pair, window: Pair, stride: Pair, dilation: Pair
) -> Sides:
    """(top, bottom, left, right) from an int, (rows, columns), four numbers, 'valid' or 'same'.

    'same' gives ceil(size / stride) outputs, the odd row at the bottom and the odd column at the right.
    """
    if isinstance(padding, str):
        if padding == "valid":
            return (0, 0, 0, 0)
        if padding != "same":
            raise ArgumentError(f"{op}: expected padding 'same', 'valid' or numbers, got {padding!r}")
        found: list[int] = []
        for size, filter_size, step, spread in zip(image, window, stride, dilation, strict=True):
            outputs = -(-size // step)
            total = max((outputs - 1) * step + (filter_size - 1) * spread + 1 - size, 0)
            found += [total // 2, total - total // 2]
        return (found[0], found[1], found[2], found[3])
    if isinstance(padding, int):
        return (padding,) * 4
    numbers = [int(p) for p in padding]
    if len(numbers) == 2:
        return (numbers[0], numbers[0], numbers[1], numbers[1])
    if len(numbers) != 4:
        raise ArgumentError(f"{op}: expected padding as an int, two or four numbers, got {padding!r}")
    return (numbers[0], numbers[1], numbers[2], numbers[3])


def conv2d(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    activation: str | None = None,
) -> Tensor:
    """activation(x * w + bias): y[n,p,q,k] = sum_{r,s,c} x[n, p stride - top + r dilation, ..., c] w[k,r,s,c].

    x (n, h, w, c), filters w (k, r, s, c / groups), bias (k) -> (n, p, q, k). `padding`: number, (rows, columns),
    (top, bottom, left, right), 'same' or 'valid'. activation: None, 'relu', 'sigmoid', 'tanh', applied in the same
    pass. ShapeError when ranks, channels or groups do not fit.
    """
    if x.ndim != 4 or w.ndim != 4:
        raise ShapeError(f"conv2d: expected x (n, h, w, c) and filters (k, r, s, c / groups), got {x.shape}, {w.shape}")
    if activation not in ACTIVATIONS:
        raise ArgumentError(f"conv2d: expected activation in {list(ACTIVATIONS)}, got {activation!r}")
    steps, spread = pair("conv2d", "stride", stride), pair("conv2d", "dilation", dilation)
    around = sides("conv2d", padding, x.shape[1:3], w.shape[1:3], steps, spread)  # type: ignore[arg-type]
    options: dict[str, Any] = {"stride": steps, "padding": around, "dilation": spread, "groups": groups}
    result: Tensor = (
        _conv2d(x, w, bias, **options)
        if activation is None
        else _conv2d_activated(x, w, bias, activation=activation, **options)
    )
    return result


def conv_transpose2d(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Transposed convolution, the adjoint of conv2d: x (n, p, q, k), filters (k, r, s, c / groups) -> (n, h, w, c).

    h = (p - 1) stride - top - bottom + (r - 1) dilation + 1 + output_padding; bias (c).
    """
    if x.ndim != 4 or w.ndim != 4:
        raise ShapeError(
            f"conv_transpose2d: expected x (n, p, q, k) and filters (k, r, s, c), got {x.shape}, {w.shape}"
        )
    steps, spread = pair("conv_transpose2d", "stride", stride), pair("conv_transpose2d", "dilation", dilation)
    extra = pair("conv_transpose2d", "output_padding", output_padding)
    around = sides("conv_transpose2d", padding, (0, 0), (1, 1), steps, spread)
    sizes = [
        (x.shape[1 + i] - 1) * steps[i] - around[2 * i] - around[2 * i + 1] + (w.shape[1 + i] - 1) * spread[i] + 1
        + extra[i]
        for i in range(2)
    ]  # fmt: skip
    if min(sizes) < 1 or any(not 0 <= e < max(s, d) for e, s, d in zip(extra, steps, spread, strict=True)):
        raise ShapeError(f"conv_transpose2d: no output of positive size for x {x.shape}, w {w.shape}, "
                         f"padding {padding}, output_padding {output_padding}")  # fmt: skip
    shape = (x.shape[0], sizes[0], sizes[1], w.shape[3] * groups)
    y: Tensor = _conv2d_grad_input(x, w, shape=shape, stride=steps, padding=around, dilation=spread, groups=groups)
    return y if bias is None else y + bias
