"""Normalisation: (x - mean) / sqrt(var + epsilon) * gamma + beta. Channels are the last axis."""

from __future__ import annotations

from collections.abc import Sequence

from deepcore import _C
from deepcore.autograd import defvjp, fused, primitive
from deepcore.errors import ArgumentError, ShapeError
from deepcore.ops.elementwise import add, multiply, relu, rsqrt, subtract
from deepcore.ops.matmul import before_activation
from deepcore.ops.movement import reshape
from deepcore.ops.reduce import mean, var
from deepcore.ops.reduce import sum as sum_
from deepcore.tensor import Tensor

Moments = tuple[_C.Array, _C.Array]  # mean and 1 / sqrt(var + epsilon), kept for the gradient


def _affine(y: Tensor, gamma: Tensor | None, beta: Tensor | None) -> Tensor:
    if gamma is not None:
        y = multiply(y, gamma)
    return y if beta is None else add(y, beta)


def _normalised(x: Tensor, axes: tuple[int, ...], epsilon: float) -> Tensor:
    return multiply(subtract(x, mean(x, axes, keepdims=True)), rsqrt(add(var(x, axes, keepdims=True), epsilon)))


# ---- batch norm ----
def _batch_norm(
    x: _C.Array, gamma: _C.Array | None, beta: _C.Array | None, *, running: tuple[_C.Array, _C.Array] | None,
    momentum: float, epsilon: float, activation: str | None,
) -> tuple[_C.Array, Moments]:  # fmt: skip
    running_mean, running_var = running or (None, None)
    y, centre, rstd = _C.batch_norm(x, gamma, beta, running_mean, running_var, momentum, epsilon, activation == "relu")
    return y, (centre, rstd)


def _batch_norm_grad(
    g: _C.Array, cache: Moments, needed: Sequence[bool], x: _C.Array, gamma: _C.Array | None, beta: _C.Array | None,
    *, running: tuple[_C.Array, _C.Array] | None, momentum: float, epsilon: float, activation: str | None,
) -> Sequence[_C.Array | None]:  # fmt: skip
    return _C.slab_norm_grad(x, g, *cache, gamma, beta, False, activation == "relu", needed[0], needed[1] or needed[2])


def _batch_norm_reference(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, *, running: tuple[_C.Array, _C.Array] | None,
    momentum: float, epsilon: float, activation: str | None,
) -> Tensor:  # fmt: skip
    y = _affine(_normalised(x, tuple(range(x.ndim - 1)), epsilon), gamma, beta)
    return y if activation is None else relu(y)


_batch_norm_op = fused(_batch_norm, _batch_norm_grad, _batch_norm_reference)


@primitive
def _scale_shift(x: _C.Array, scale: _C.Array, shift: _C.Array, *, activation: str | None) -> _C.Array:
    return _C.scale_shift(x, scale, shift, activation == "relu")


defvjp(
    _scale_shift,
    lambda g, y, x, scale, shift, activation: multiply(g, scale),
    lambda g, y, x, scale, shift, activation: sum_(multiply(g, x), tuple(range(g.ndim - 1))),
    lambda g, y, x, scale, shift, activation: sum_(g, tuple(range(g.ndim - 1))),
    saves="x scale y",
    before=before_activation,
)


def batch_norm(
    x: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    *,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    training: bool = True,
    momentum: float = 0.1,
    epsilon: float = 1e-5,
    activation: str | None = None,
) -> Tensor:
    """Normalise every channel over all other axes: x (..., c), gamma and beta (c) (Ioffe and Szegedy, 2015).

    Training: statistics of x; the running ones, where given, move in place by `momentum` towards them (variance
    unbiased). Otherwise the running ones are used. activation: None or 'relu', applied in the same pass over memory.
    ShapeError when sizes differ, ArgumentError for one running statistic without the other or another activation.
    """
    if activation not in (None, "relu"):
        raise ArgumentError(f"batch_norm: expected activation None or 'relu', got {activation!r}")
    if training:
        running = None
        if running_mean is not None or running_var is not None:
            running = (None if running_mean is None else running_mean.array,
                       None if running_var is None else running_var.array)  # fmt: skip
        result: Tensor = _batch_norm_op(x, gamma, beta, running=running, momentum=float(momentum),
                                        epsilon=float(epsilon), activation=activation)  # fmt: skip
        return result
    if running_mean is None or running_var is None:
        raise ArgumentError("batch_norm: expected running_mean and running_var when not training")
    scale = rsqrt(add(running_var, epsilon))
    if gamma is not None:
        scale = multiply(scale, gamma)
    shift = -multiply(running_mean, scale) if beta is None else subtract(beta, multiply(running_mean, scale))
    shifted: Tensor = _scale_shift(x, scale, shift, activation=activation)
    return shifted


# ---- group and instance norm ----
def _group_norm(
    x: _C.Array, gamma: _C.Array | None, beta: _C.Array | None, *, groups: int, epsilon: float
) -> tuple[_C.Array, Moments]:
    y, centre, rstd = _C.group_norm(x, gamma, beta, groups, epsilon)
    return y, (centre, rstd)


def _group_norm_grad(
    g: _C.Array, cache: Moments, needed: Sequence[bool], x: _C.Array, gamma: _C.Array | None, beta: _C.Array | None,
    *, groups: int, epsilon: float,
) -> Sequence[_C.Array | None]:  # fmt: skip
    return _C.slab_norm_grad(x, g, *cache, gamma, beta, True, False, needed[0], needed[1] or needed[2])


def _group_norm_reference(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, *, groups: int, epsilon: float
) -> Tensor:
    grouped = reshape(x, *x.shape[:-1], groups, x.shape[-1] // groups)
    axes = (*range(1, x.ndim - 1), x.ndim)
    return _affine(reshape(_normalised(grouped, axes, epsilon), x.shape), gamma, beta)


_group_norm_op = fused(_group_norm, _group_norm_grad, _group_norm_reference)


def group_norm(
    x: Tensor, groups: int, gamma: Tensor | None = None, beta: Tensor | None = None, *, epsilon: float = 1e-5
) -> Tensor:
    """Normalise each sample over its pixels and the channels of each group: x (n, ..., c) (Wu and He, 2018).

    gamma, beta (c). ArgumentError unless `groups` divides c.
    """
    result: Tensor = _group_norm_op(x, gamma, beta, groups=int(groups), epsilon=float(epsilon))
    return result


def instance_norm(
    x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, *, epsilon: float = 1e-5
) -> Tensor:
    """Normalise each channel of each sample over its pixels: x (n, ..., c) (Ulyanov et al., 2016)."""
    if x.ndim < 2:
        raise ShapeError(f"instance_norm: expected x (n, ..., c), got {x.shape}")
    return group_norm(x, max(x.shape[-1], 1), gamma, beta, epsilon=epsilon)


# ---- layer norm ----
def _layer_norm(
    x: _C.Array, gamma: _C.Array | None, beta: _C.Array | None, *, axes: int, epsilon: float
) -> tuple[_C.Array, Moments]:
    y, centre, rstd = _C.layer_norm(x, gamma, beta, axes, epsilon)
    return y, (centre, rstd)


def _layer_norm_grad(
    g: _C.Array, cache: Moments, needed: Sequence[bool], x: _C.Array, gamma: _C.Array | None, beta: _C.Array | None,
    *, axes: int, epsilon: float,
) -> Sequence[_C.Array | None]:  # fmt: skip
    return _C.layer_norm_grad(x, g, *cache, gamma, axes, needed[0], needed[1] or needed[2])


def _layer_norm_reference(x: Tensor, gamma: Tensor | None, beta: Tensor | None, *, axes: int, epsilon: float) -> Tensor:
    return _affine(_normalised(x, tuple(range(x.ndim - axes, x.ndim)), epsilon), gamma, beta)


_layer_norm_op = fused(_layer_norm, _layer_norm_grad, _layer_norm_reference)


def layer_norm(
    x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, *, axes: int = 1, epsilon: float = 1e-5
) -> Tensor:
    """Normalise over the last `axes` axes; gamma and beta have their shape (Ba et al., 2016)."""
    result: Tensor = _layer_norm_op(x, gamma, beta, axes=int(axes), epsilon=float(epsilon))
    return result
