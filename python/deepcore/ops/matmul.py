"""Matrix products and the dense layer's fused product."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from deepcore import _C
from deepcore.autograd import Shadow, defvjp, primitive, registry
from deepcore.errors import ArgumentError
from deepcore.ops.movement import match, reshape, swap_axes
from deepcore.tensor import Tensor

ACTIVATIONS = {None: 0, "relu": 1, "sigmoid": 2, "tanh": 3}


@primitive
def _matmul(a: _C.Array, b: _C.Array) -> _C.Array:
    return _C.matmul(a, b)


def _matmul_rule_b(g: Tensor, y: Tensor, a: Tensor, b: Tensor | Shadow) -> Tensor:
    if b.ndim == 2 and a.ndim > 2:  # one matrix for a stack: a single tall product instead of a sum of products
        a, g = reshape(a, -1, a.shape[-1]), reshape(g, -1, g.shape[-1])
    return match(matmul(swap_axes(a, -1, -2), g), b)


defvjp(
    _matmul,
    lambda g, y, a, b: match(matmul(g, swap_axes(b, -1, -2)), a),
    _matmul_rule_b,
    saves="a b",
)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product: (..., m, k) x (..., k, n) -> (..., m, n); vectors count as one row (left) or column (right).

    Leading axes broadcast. Transposed operands are read in place. ShapeError when k differs.
    """
    if a.ndim == 1 or b.ndim == 1:
        left = reshape(a, 1, -1) if a.ndim == 1 else a
        right = reshape(b, -1, 1) if b.ndim == 1 else b
        y: Tensor = _matmul(left, right)
        shape = y.shape
        if b.ndim == 1:
            shape = shape[:-1]
        if a.ndim == 1:
            shape = shape[:-2] if b.ndim == 1 else (*shape[:-2], shape[-1])
            if b.ndim == 1:
                shape = y.shape[:-2]
        return reshape(y, shape)
    result: Tensor = _matmul(a, b)
    return result


@primitive
def _linear(x: _C.Array, w: _C.Array, bias: _C.Array | None, *, activation: str | None) -> _C.Array:
    return _C.linear(x, w, bias, ACTIVATIONS[activation])


def before_activation(g: Tensor, y: Tensor, activation: str | None, **_: Any) -> Tensor:
    """The cotangent of z where y = activation(z)."""
    return g if activation is None else registry[activation + "_grad"](g, y)


def _linear_rule_x(g: Tensor, y: Tensor, x: Tensor, w: Tensor, bias: Tensor | None, activation: str | None) -> Tensor:
    return matmul(g, w)


def _linear_rule_w(g: Tensor, y: Tensor, x: Tensor, w: Tensor, bias: Tensor | None, activation: str | None) -> Tensor:
    rows = prod(x.shape[:-1])  # not -1, which a width of 0 leaves open
    return matmul(swap_axes(reshape(g, rows, g.shape[-1]), 0, 1), reshape(x, rows, x.shape[-1]))


def _linear_rule_bias(g: Tensor, y: Tensor, x: Tensor, w: Tensor, bias: Tensor, activation: str | None) -> Tensor:
    return match(g, bias)


def _linear_grad(
    g: _C.Array, y: _C.Array, needed: Sequence[bool], x: _C.Array, w: _C.Array, bias: None, *, activation: str | None,
    step: _C.StepOptions | None = None,
) -> Sequence[_C.Array | None]:  # fmt: skip
    return _C.linear_grad(g, y, x, w, ACTIVATIONS[activation], needed[0], needed[1], needed[2], step)


defvjp(
    _linear, _linear_rule_x, _linear_rule_w, _linear_rule_bias, saves="x w y", before=before_activation,
    direct=_linear_grad, steps="w",
)  # fmt: skip


def linear(x: Tensor, w: Tensor, bias: Tensor | None = None, activation: str | None = None) -> Tensor:
    """activation(x w^T + bias) in one pass: x (..., c), w (k, c), bias (k) -> (..., k).

    activation: None, 'relu', 'sigmoid' or 'tanh'. ShapeError when sizes differ.
    """
    if activation not in ACTIVATIONS:
        raise ArgumentError(f"linear: expected activation in {list(ACTIVATIONS)}, got {activation!r}")
    result: Tensor = _linear(x, w, bias, activation=activation)
    return result


class PackedWeight:
    """The weights of a dense layer in the order the kernel reads them, kept over calls in inference.

    `of(w)` packs again whenever w has changed (its values, its memory or the instruction set).
    """

    __slots__ = ("_array", "_mark")

    def __init__(self) -> None:
        self._array: _C.Array | None = None
        self._mark: tuple[int, int, str] | None = None

    def __reduce__(self) -> tuple[type[PackedWeight], tuple[()]]:
        return PackedWeight, ()  # copies and pickles pack anew

    def of(self, w: Tensor) -> _C.Array:
        """The packed form of w (k, c)."""
        mark = (w.array.pointer, w.array.version, _C.isa())
        if self._array is None or mark != self._mark:
            self._array, self._mark = _C.pack_linear(w.array), mark
        return self._array


def linear_packed(
    x: Tensor, w: Tensor, packed: PackedWeight, bias: Tensor | None = None, activation: str | None = None
) -> Tensor:
    """`linear` outside the tape, with w packed once for many calls. Same sums as `linear` with several rows."""
    if activation not in ACTIVATIONS:
        raise ArgumentError(f"linear: expected activation in {list(ACTIVATIONS)}, got {activation!r}")
    bias_array = None if bias is None else bias.array
    return Tensor(_C.linear(x.array, w.array, bias_array, ACTIVATIONS[activation], packed.of(w)))
