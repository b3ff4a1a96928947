"""Softmax and losses. Every loss reduces by 'mean', 'sum' or 'none'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepcore import _C
from deepcore.autograd import defvjp, fused, primitive
from deepcore.errors import ArgumentError, DtypeError, ShapeError
from deepcore.ops.elementwise import (
    absolute,
    clamp,
    divide,
    exp,
    greater,
    log,
    multiply,
    softplus,
    square,
    subtract,
    where,
)  # fmt: skip
from deepcore.ops.movement import astype, expand_dims, reshape
from deepcore.ops.reduce import logsumexp, mean
from deepcore.ops.reduce import sum as sum_
from deepcore.tensor import Tensor, arange, as_tensor


@primitive
def _softmax(x: _C.Array) -> _C.Array:
    return _C.softmax(x)


@primitive
def _log_softmax(x: _C.Array) -> _C.Array:
    return _C.log_softmax(x)


@primitive
def _softmax_grad(y: _C.Array, g: _C.Array) -> _C.Array:
    return _C.softmax_grad(y, g)


@primitive
def _log_softmax_grad(y: _C.Array, g: _C.Array) -> _C.Array:
    return _C.log_softmax_grad(y, g)


def _softmax_grad_rule_y(c: Tensor, r: Tensor, y: Tensor, g: Tensor) -> Tensor:
    # r = y (g - s), s = sum g y: dr/dy . c = c (g - s) - g sum(c y)
    s = sum_(g * y, -1, keepdims=True)
    return c * (g - s) - g * sum_(c * y, -1, keepdims=True)


defvjp(_softmax, lambda g, y, x: _softmax_grad(y, g), saves="y")
defvjp(_log_softmax, lambda g, y, x: _log_softmax_grad(y, g), saves="y")
defvjp(_softmax_grad, _softmax_grad_rule_y, lambda c, r, y, g: _softmax_grad(y, c), saves="y g")
defvjp(
    _log_softmax_grad,  # r = g - e^y sum g
    lambda c, r, y, g: -(c * exp(y) * sum_(g, -1, keepdims=True)),
    lambda c, r, y, g: c - sum_(c * exp(y), -1, keepdims=True),
    saves="y g",
)


def _last_axis(op: Any, x: Tensor, axis: int) -> Tensor:
    from deepcore.ops.movement import swap_axes

    if x.ndim == 0:
        raise ShapeError(f"{op.name}: expected at least one axis")
    if axis in (-1, x.ndim - 1):
        result: Tensor = op(x)
        return result
    return swap_axes(op(swap_axes(x, axis, -1)), axis, -1)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """e^x / sum e^x along `axis`."""
    return _last_axis(_softmax, x, axis)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """x - log sum e^x along `axis`, without overflow."""
    return _last_axis(_log_softmax, x, axis)


# ---- cross-entropy: one pass forward, one backward; the reference serves higher derivatives ----
def _one_hot_like(labels: Tensor, x: Tensor) -> Tensor:
    return astype(expand_dims(labels, -1) == arange(x.shape[-1], device=x.device), x.dtype)


def _cross_entropy(
    x: _C.Array,
    labels: _C.Array,
    weights: _C.Array | None,
    *,
    smoothing: float,
    ignore_label: int | None,
    total: float | None,
) -> tuple[_C.Array, _C.Array]:
    return _C.cross_entropy(x, labels, weights, smoothing, ignore_label, total)


def _cross_entropy_grad(
    g: _C.Array, lse: _C.Array, needed: Sequence[bool], x: _C.Array, labels: _C.Array, weights: _C.Array | None,
    *, smoothing: float, ignore_label: int | None, total: float | None,
) -> Sequence[_C.Array | None]:  # fmt: skip
    if len(needed) > 2 and needed[2]:
        raise ArgumentError("softmax_cross_entropy: class weights have no derivative")
    scale = 1.0 if total is None else total
    return _C.cross_entropy_grad(x, labels, weights, lse, g, scale, smoothing, ignore_label), None, None


def _cross_entropy_reference(
    x: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    *,
    smoothing: float,
    ignore_label: int | None,
    total: float | None,
) -> Tensor:
    c = x.shape[-1]
    target = _one_hot_like(labels, x) * (1.0 - smoothing) + smoothing / c
    if weights is not None:
        target = target * weights
    distance = logsumexp(x, -1, keepdims=True) - x
    loss = sum_(target * distance, -1)
    if ignore_label is not None:
        loss = loss * astype(labels != ignore_label, x.dtype)
    return loss if total is None else sum_(loss) * total


_cross_entropy_op = fused(_cross_entropy, _cross_entropy_grad, _cross_entropy_reference)


def _soft_cross_entropy(x: _C.Array, t: _C.Array, weights: _C.Array | None) -> tuple[_C.Array, _C.Array]:
    return _C.soft_cross_entropy(x, t, weights)


def _soft_cross_entropy_grad(
    g: _C.Array, lse: _C.Array, needed: Sequence[bool], x: _C.Array, t: _C.Array, weights: _C.Array | None
) -> Sequence[_C.Array | None]:
    gx, gt = _C.soft_cross_entropy_grad(x, t, weights, lse, g)
    return gx, gt, None


def _soft_cross_entropy_reference(x: Tensor, t: Tensor, weights: Tensor | None) -> Tensor:
    target = t if weights is None else t * weights
    return sum_(target * (logsumexp(x, -1, keepdims=True) - x), -1)


_soft_cross_entropy_op = fused(_soft_cross_entropy, _soft_cross_entropy_grad, _soft_cross_entropy_reference)


def _bce(
    x: _C.Array, t: _C.Array, pos_weight: _C.Array | None, *, total: float | None
) -> tuple[_C.Array, None]:  # fmt: skip
    loss = _C.bce_with_logits(x, t, pos_weight)
    return loss if total is None else _C.multiply(_C.sum(loss), _C.scalar(total, loss)), None


def _bce_grad(
    g: _C.Array, cache: None, needed: Sequence[bool], x: _C.Array, t: _C.Array, pos_weight: _C.Array | None, *,
    total: float | None,
) -> Sequence[_C.Array | None]:  # fmt: skip
    if total is not None:
        g = _C.broadcast_to(_C.multiply(g, _C.scalar(total, g)), x.shape)
    gx, gt = _C.bce_with_logits_grad(x, t, pos_weight, g, needed[0], needed[1])
    return gx, gt, None


def _bce_reference(x: Tensor, t: Tensor, pos_weight: Tensor | None, *, total: float | None) -> Tensor:
    positive = t * softplus(-x)
    if pos_weight is not None:
        positive = positive * pos_weight
    loss = positive + (1.0 - t) * softplus(x)
    return loss if total is None else sum_(loss) * total


_bce_op = fused(_bce, _bce_grad, _bce_reference)


def reduce_loss(op: str, loss: Tensor, reduction: str, sample_weight: Tensor | None, counted: float | None) -> Tensor:
    """`loss` per sample as one number: 'mean' divides by `counted` (default: number of losses), 'sum', or 'none'."""
    if sample_weight is not None:
        if sample_weight.shape != loss.shape[: sample_weight.ndim]:
            raise ShapeError(f"{op}: expected sample weights like {loss.shape}, got {sample_weight.shape}")
        loss = loss * reshape(sample_weight, sample_weight.shape + (1,) * (loss.ndim - sample_weight.ndim))
    if reduction == "none":
        return loss
    total = sum_(loss)
    if reduction == "sum":
        return total
    if reduction != "mean":
        raise ArgumentError(f"{op}: expected reduction 'mean', 'sum' or 'none', got {reduction!r}")
    return total * (1.0 / (loss.size if counted is None else counted)) if loss.size else total


def softmax_cross_entropy(
    x: Tensor,
    target: Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    ignore_label: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy of softmax(x) with integer labels (...) or distributions (..., c); x (..., c).

    loss = -sum_k w_k t_k log softmax(x)_k, with t = (1 - e) one_hot + e / c for label smoothing e (Szegedy et al.,
    2016). The mean divides by the total weight of the counted samples, as torch does without smoothing. Raises
    ArgumentError for a label outside [0, c), ShapeError or DtypeError for targets that do not fit.
    """
    op = "softmax_cross_entropy"
    counted: float | None = None
    if target.dtype in ("float32", "float64"):
        if label_smoothing or ignore_label is not None:
            raise ArgumentError(f"{op}: label_smoothing and ignore_label go with integer labels")
        loss: Tensor = _soft_cross_entropy_op(x, target, class_weight)
    else:
        if target.dtype == "bool":
            raise DtypeError(f"{op}: expected integer labels or float distributions, got bool")
        if reduction == "mean" and (class_weight is not None or ignore_label is not None):
            labels = target.numpy()
            kept = labels != ignore_label if ignore_label is not None else labels == labels
            if class_weight is None:
                counted = float(kept.sum())
            else:
                # Labels out of range are for the kernel to refuse.
                counted = float(class_weight.numpy().take(labels[kept], mode="clip").sum(dtype="float64"))
            counted = max(counted, 1e-30)
        options: dict[str, Any] = {"smoothing": float(label_smoothing), "ignore_label": ignore_label}
        if sample_weight is None and reduction in ("mean", "sum"):  # summed in the same pass
            scale = 1.0 if reduction == "sum" else 1.0 / (counted or max(target.size, 1))
            result: Tensor = _cross_entropy_op(x, target, class_weight, total=scale, **options)
            return result
        loss = _cross_entropy_op(x, target, class_weight, total=None, **options)
    return reduce_loss(op, loss, reduction, sample_weight, counted)


def bce_with_logits(
    x: Tensor,
    target: Tensor,
    *,
    pos_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross-entropy of sigmoid(x) with targets in [0, 1] of the same shape, stable for large |x|.

    loss = -(v t log s + (1 - t) log(1 - s)), v = pos_weight (one per entry of the last axis).
    """
    if target.dtype != x.dtype:
        target = astype(target, x.dtype)
    if sample_weight is None and reduction in ("mean", "sum"):  # summed in the same call
        result: Tensor = _bce_op(x, target, pos_weight, total=1.0 if reduction == "sum" else 1.0 / max(x.size, 1))
        return result
    loss = _bce_op(x, target, pos_weight, total=None)
    return reduce_loss("bce_with_logits", loss, reduction, sample_weight, None)


def _same_shape(op: str, x: Tensor, target: Tensor) -> None:
    if x.shape != target.shape:
        raise ShapeError(f"{op}: expected equal shapes, got {x.shape} and {target.shape}")


def mse_loss(x: Tensor, target: Tensor, *, sample_weight: Tensor | None = None, reduction: str = "mean") -> Tensor:
    """(x - target)^2."""
    _same_shape("mse_loss", x, target)
    return reduce_loss("mse_loss", square(subtract(x, target)), reduction, sample_weight, None)


def l1_loss(x: Tensor, target: Tensor, *, sample_weight: Tensor | None = None, reduction: str = "mean") -> Tensor:
    """|x - target|."""
    _same_shape("l1_loss", x, target)
    return reduce_loss("l1_loss", absolute(subtract(x, target)), reduction, sample_weight, None)


def huber_loss(
    x: Tensor, target: Tensor, delta: float = 1.0, *, sample_weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2), d = x - target (Huber, 1964)."""
    _same_shape("huber_loss", x, target)
    if not delta > 0:
        raise ArgumentError(f"huber_loss: expected delta > 0, got {delta}")
    d = subtract(x, target)
    near = clamp(d, -delta, delta)
    # near (d - near / 2) is d^2 / 2 inside and delta (|d| - delta / 2) outside.
    return reduce_loss("huber_loss", multiply(near, d - 0.5 * near), reduction, sample_weight, None)


def kl_div(p: Tensor, q: Tensor, *, reduction: str = "mean") -> Tensor:
    """KL(p || q) = sum p log(p / q) over the last axis of two arrays of distributions; 0 log 0 counts 0."""
    _same_shape("kl_div", p, q)
    positive = greater(p, 0)
    ratio = divide(where(positive, p, 1.0), where(positive, q, 1.0))
    return reduce_loss("kl_div", sum_(p * log(ratio), -1), reduction, None, None)


def as_targets(labels: Any) -> Tensor:
    """Labels as an int64 tensor."""
    return astype(as_tensor(labels), "int64")


__all__ = [
    "as_targets", "bce_with_logits", "huber_loss", "kl_div", "l1_loss", "log_softmax", "mean", "mse_loss",
    "softmax", "softmax_cross_entropy",
]  # fmt: skip
