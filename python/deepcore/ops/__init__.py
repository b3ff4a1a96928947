"""Operations on tensors. Every one is differentiable to any order unless its documentation says otherwise."""

from __future__ import annotations

from typing import Any

from deepcore.ops.conv import conv2d, conv_transpose2d
from deepcore.ops.elementwise import (
    absolute,
    add,
    ceil,
    clamp,
    cos,
    divide,
    elu,
    equal,
    erf,
    exp,
    expm1,
    floor,
    gelu,
    greater,
    greater_equal,
    hard_sigmoid,
    isfinite,
    leaky_relu,
    less,
    less_equal,
    log,
    log1p,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    power,
    reciprocal,
    relu,
    round,
    rsqrt,
    sigmoid,
    sign,
    silu,
    sin,
    softplus,
    softsign,
    sqrt,
    square,
    step,
    subtract,
    tanh,
    where,
)  # fmt: skip
from deepcore.ops.image import (
    affine_grid,
    augment,
    grid_sample,
    mixup,
    resize,
    upsample,
)  # fmt: skip
from deepcore.ops.index import (
    argmax,
    argmin,
    argsort,
    cumsum,
    embedding,
    one_hot,
    scatter_add,
    sort,
    take,
    take_along,
    top_k,
)  # fmt: skip
from deepcore.ops.loss import (
    bce_with_logits,
    huber_loss,
    kl_div,
    l1_loss,
    log_softmax,
    mse_loss,
    softmax,
    softmax_cross_entropy,
)  # fmt: skip
from deepcore.ops.matmul import linear, matmul
from deepcore.ops.movement import (
    astype,
    broadcast_to,
    concatenate,
    contiguous,
    expand_dims,
    flip,
    getitem,
    iterate,
    narrow,
    pad,
    reshape,
    split,
    squeeze,
    stack,
    swap_axes,
    to,
    transpose,
)  # fmt: skip
from deepcore.ops.norm import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
)  # fmt: skip
from deepcore.ops.pool import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    global_avg_pool2d,
    global_max_pool2d,
    lp_pool2d,
    max_pool2d,
    max_pool2d_with_index,
    max_unpool2d,
    spread2d,
    sum_pool2d,
)  # fmt: skip
from deepcore.ops.random import dropout
from deepcore.ops.rbm import (
    rbm_anneal,
    rbm_energy,
    rbm_energy_gap,
    rbm_free_energy,
    rbm_gibbs,
    rbm_half_step,
    rbm_statistics,
    rbm_swap,
)
from deepcore.ops.reduce import logsumexp, max, maxout, mean, min, norm, prod, sum, var
from deepcore.ops.rnn import recurrent
from deepcore.ops.similarity import ssim
from deepcore.tensor import Tensor, as_tensor


def _attach() -> None:
    """Give Tensor its operators and methods."""
    methods: dict[str, Any] = {
        "__add__": add, "__radd__": lambda a, b: add(b, a), "__sub__": subtract,
        "__rsub__": lambda a, b: subtract(b, a), "__mul__": multiply, "__rmul__": lambda a, b: multiply(b, a),
        "__truediv__": divide, "__rtruediv__": lambda a, b: divide(b, a), "__pow__": power,
        "__rpow__": lambda a, b: power(b, a), "__matmul__": lambda a, b: matmul(a, as_tensor(b)),
        "__rmatmul__": lambda a, b: matmul(as_tensor(b), a), "__neg__": negative, "__abs__": absolute,
        "__eq__": equal, "__ne__": not_equal, "__lt__": less, "__le__": less_equal, "__gt__": greater,
        "__ge__": greater_equal, "__getitem__": getitem, "__iter__": iterate, "astype": astype, "to": to,
        "cpu": lambda x: to(x, "cpu"), "cuda": lambda x: to(x, "cuda"), "reshape": reshape,
        "transpose": transpose, "sum": sum, "mean": mean, "max": max, "min": min,
    }  # fmt: skip
    for name, function in methods.items():
        setattr(Tensor, name, function)
    Tensor.T = property(transpose)  # type: ignore[assignment]


_attach()

__all__ = [
    "absolute", "adaptive_avg_pool2d", "adaptive_max_pool2d", "add", "affine_grid", "argmax", "argmin", "argsort",
    "astype", "augment", "avg_pool2d", "batch_norm", "bce_with_logits", "broadcast_to", "ceil", "clamp", "concatenate",
    "contiguous", "conv2d", "conv_transpose2d", "cos", "cumsum", "divide", "dropout", "elu", "embedding", "equal",
    "erf", "exp", "expand_dims", "expm1", "flip", "floor", "gelu", "getitem", "global_avg_pool2d", "global_max_pool2d",
    "greater", "greater_equal", "grid_sample", "group_norm", "hard_sigmoid", "huber_loss", "instance_norm", "isfinite",
    "kl_div", "l1_loss", "layer_norm", "leaky_relu", "less", "less_equal", "linear", "log", "log1p", "log_softmax",
    "logsumexp", "lp_pool2d", "matmul", "max", "max_pool2d", "max_pool2d_with_index", "max_unpool2d", "maximum",
    "maxout", "mean", "min", "minimum", "mixup", "mse_loss", "multiply", "narrow", "negative", "norm", "not_equal",
    "one_hot", "pad", "power", "prod", "rbm_anneal", "rbm_energy", "rbm_energy_gap", "rbm_free_energy", "rbm_gibbs",
    "rbm_half_step", "rbm_statistics", "rbm_swap", "reciprocal", "recurrent", "relu", "reshape", "resize", "round",
    "rsqrt", "scatter_add", "sigmoid", "sign", "silu", "sin", "softmax", "softmax_cross_entropy", "softplus",
    "softsign", "sort", "split", "spread2d", "sqrt", "square", "squeeze", "ssim", "stack", "step", "subtract",
    "sum", "sum_pool2d", "swap_axes", "take", "take_along", "tanh", "to", "top_k", "transpose", "upsample", "var",
    "where",
]  # fmt: skip
