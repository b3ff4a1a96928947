"""Elementwise operations with their derivative rules. Operands broadcast; Python numbers take the tensor's type."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from deepcore import _C
from deepcore.autograd import Primitive, defvjp, nondifferentiable, primitive
from deepcore.errors import ArgumentError
from deepcore.ops.movement import astype, match
from deepcore.tensor import ArrayLike, Tensor, as_tensor

Unary = Callable[[ArrayLike], Tensor]
Binary = Callable[[ArrayLike, ArrayLike], Tensor]


def _operand(value: ArrayLike, like: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (int, float)):  # bool is an int
        if isinstance(value, float) and like.dtype not in ("float32", "float64"):
            return Tensor(_C.full((), value, "float32", like.device))
        return Tensor(_C.scalar(value, like.array))
    return as_tensor(value)


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[Tensor, Tensor]:
    if isinstance(a, Tensor):
        return a, b if isinstance(b, Tensor) else _operand(b, a)
    if isinstance(b, Tensor):
        return _operand(a, b), b
    a = as_tensor(a)
    return a, _operand(b, a)


def _float(x: ArrayLike) -> Tensor:
    x = as_tensor(x)
    return x if x.dtype in ("float32", "float64") else astype(x, "float32")


# ---- arithmetic ----
@primitive
def _add(a: _C.Array, b: _C.Array) -> _C.Array:
    return _C.add(a, b)


@primitive
def _subtract(a: _C.Array, b: _C.Array) -> _C.Array:
    return _C.subtract(a, b)


@primitive
def _multiply(a: _C.Array, b: _C.Array) -> _C.Array:
    return _C.multiply(a, b)


@primitive
def _divide(a: _C.Array, b: _C.Array) -> _C.Array:
    return _C.divide(a, b)


@primitive
def _power(a: _C.Array, b: _C.Array) -> _C.Array:
    return _C.power(a, b)


@primitive
def _maximum(a: _C.Array, b: _C.Array) -> _C.Array:
    return _C.maximum(a, b)


@primitive
def _minimum(a: _C.Array, b: _C.Array) -> _C.Array:
    return _C.minimum(a, b)


@primitive
def _where(condition: _C.Array, a: _C.Array, b: _C.Array) -> _C.Array:
    return _C.where(condition, a, b)


def _zeros_like(x: Tensor) -> Tensor:
    return Tensor(_C.full(x.shape, 0.0, x.dtype, x.device))


def _power_rule_b(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    # d a^b / db = a^b log a, and 0 where a = 0 < b, as the limit says.
    positive = greater(a, 0)
    return match(where(positive, g * y * log(where(positive, a, 1.0)), 0.0), b)


defvjp(_add, lambda g, y, a, b: match(g, a), lambda g, y, a, b: match(g, b))
defvjp(_subtract, lambda g, y, a, b: match(g, a), lambda g, y, a, b: match(-g, b))
defvjp(_multiply, lambda g, y, a, b: match(g * b, a), lambda g, y, a, b: match(g * a, b), saves="a b")
defvjp(_divide, lambda g, y, a, b: match(g / b, a), lambda g, y, a, b: match(-(g * a) / (b * b), b), saves="a b")
defvjp(_power, lambda g, y, a, b: match(g * b * power(a, b - 1.0), a), _power_rule_b, saves="a b y")
# Ties go to the first operand.
defvjp(
    _maximum,
    lambda g, y, a, b: match(where(greater_equal(a, b), g, 0.0), a),
    lambda g, y, a, b: match(where(greater_equal(a, b), 0.0, g), b),
    saves="a b",
)
defvjp(
    _minimum,
    lambda g, y, a, b: match(where(less_equal(a, b), g, 0.0), a),
    lambda g, y, a, b: match(where(less_equal(a, b), 0.0, g), b),
    saves="a b",
)
defvjp(
    _where,
    None,
    lambda g, y, condition, a, b: match(where(condition, g, 0.0), a),
    lambda g, y, condition, a, b: match(where(condition, 0.0, g), b),
    saves="condition",
)


def add(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a + b."""
    result: Tensor = _add(*_pair(a, b))
    return result


def subtract(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a - b."""
    result: Tensor = _subtract(*_pair(a, b))
    return result


def multiply(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a * b."""
    result: Tensor = _multiply(*_pair(a, b))
    return result


def divide(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a / b; integers become float32 first."""
    x, z = _pair(a, b)
    result: Tensor = _divide(_float(x), _float(z))
    return result


def power(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a to the power b; constant exponents 2, 1 and 0.5 use cheaper kernels."""
    if isinstance(b, (int, float)) and isinstance(a, Tensor):
        if b == 2:
            return square(a)
        if b == 1:
            return a
        if b == 0.5:
            return sqrt(a)
    x, z = _pair(a, b)
    result: Tensor = _power(_float(x), _float(z))
    return result


def maximum(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The larger of a and b; NaN if either is NaN."""
    result: Tensor = _maximum(*_pair(a, b))
    return result


def minimum(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The smaller of a and b; NaN if either is NaN."""
    result: Tensor = _minimum(*_pair(a, b))
    return result


def where(condition: ArrayLike, a: ArrayLike, b: ArrayLike) -> Tensor:
    """a where condition holds, else b."""
    x, z = _pair(a, b)
    result: Tensor = _where(astype(as_tensor(condition), "bool"), x, z)
    return result


# ---- comparisons (bool results, no derivative) ----
def _comparison(name: str, symbol: str) -> Binary:
    kernel = getattr(_C, name)

    def compare(a: ArrayLike, b: ArrayLike) -> Tensor:
        x, z = _pair(a, b)
        return Tensor(kernel(x.array, z.array))

    compare.__name__ = compare.__qualname__ = name
    compare.__doc__ = f"a {symbol} b, elementwise, as bool."
    return compare


equal: Binary = _comparison("equal", "==")
not_equal: Binary = _comparison("not_equal", "!=")
less: Binary = _comparison("less", "<")
less_equal: Binary = _comparison("less_equal", "<=")
greater: Binary = _comparison("greater", ">")
greater_equal: Binary = _comparison("greater_equal", ">=")


# ---- smooth functions of one argument ----
def _unary(name: str) -> Primitive:
    kernel = getattr(_C, name)

    def call(x: _C.Array) -> _C.Array:
        result: _C.Array = kernel(x)
        return result

    return Primitive(call, name)


_negative, _exp, _expm1, _log, _log1p = map(_unary, ("negative", "exp", "expm1", "log", "log1p"))
_sqrt, _rsqrt, _reciprocal, _square = map(_unary, ("sqrt", "rsqrt", "reciprocal", "square"))
_sin, _cos, _erf, _softplus = map(_unary, ("sin", "cos", "erf", "softplus"))

defvjp(_negative, lambda g, y, x: -g)
defvjp(_exp, lambda g, y, x: g * y, saves="y")
defvjp(_expm1, lambda g, y, x: g * (y + 1.0), saves="y")
defvjp(_log, lambda g, y, x: g / x, saves="x")
defvjp(_log1p, lambda g, y, x: g / (x + 1.0), saves="x")
defvjp(_sqrt, lambda g, y, x: 0.5 * g / y, saves="y")
defvjp(_rsqrt, lambda g, y, x: -0.5 * g * y / x, saves="x y")
defvjp(_reciprocal, lambda g, y, x: -g * square(y), saves="y")
defvjp(_square, lambda g, y, x: 2.0 * g * x, saves="x")
defvjp(_sin, lambda g, y, x: g * cos(x), saves="x")
defvjp(_cos, lambda g, y, x: -g * sin(x), saves="x")
defvjp(_erf, lambda g, y, x: g * (2.0 / math.sqrt(math.pi)) * exp(-square(x)), saves="x")
defvjp(_softplus, lambda g, y, x: g * sigmoid(x), saves="x")


def _public(op: Primitive, formula: str) -> Unary:
    def call(x: ArrayLike) -> Tensor:
        result: Tensor = op(_float(x))
        return result

    call.__name__ = call.__qualname__ = op.name
    call.__doc__ = formula
    return call


exp: Unary = _public(_exp, "e^x.")
expm1: Unary = _public(_expm1, "e^x - 1, precise near 0.")
log: Unary = _public(_log, "Natural logarithm; -inf at 0, NaN below.")
log1p: Unary = _public(_log1p, "log(1 + x), precise near 0.")
sqrt: Unary = _public(_sqrt, "Square root.")
rsqrt: Unary = _public(_rsqrt, "1 / sqrt(x).")
reciprocal: Unary = _public(_reciprocal, "1 / x.")
square: Unary = _public(_square, "x^2.")
sin: Unary = _public(_sin, "Sine of x in radians.")
cos: Unary = _public(_cos, "Cosine of x in radians.")
erf: Unary = _public(_erf, "Error function 2/sqrt(pi) * integral of exp(-t^2) from 0 to x.")
softplus: Unary = _public(_softplus, "log(1 + e^x) (Dugas et al., 2001).")


def negative(x: ArrayLike) -> Tensor:
    """-x."""
    x = as_tensor(x)
    if x.dtype not in ("float32", "float64"):
        return subtract(0, x)
    result: Tensor = _negative(x)
    return result


# ---- activations whose gradient is an operation of its own ----
def _with_grad(name: str, *, saves: str, second: Any = None, params: bool = False) -> Primitive:
    """The pair f, f_grad(g, saved): f's rule is f_grad; f_grad is linear in g (rule: itself) and `second` is its
    derivative with respect to the saved tensor (None: zero almost everywhere)."""
    kernel, grad_kernel = getattr(_C, name), getattr(_C, name + "_grad")
    if params:

        def forward(x: _C.Array, *, p0: float, p1: float = 0.0) -> _C.Array:
            result: _C.Array = kernel(x, p0, p1)
            return result

        def gradient(g: _C.Array, x: _C.Array, *, p0: float, p1: float = 0.0) -> _C.Array:
            result: _C.Array = grad_kernel(g, x, p0, p1)
            return result
    else:

        def forward(x: _C.Array) -> _C.Array:  # type: ignore[misc]
            result: _C.Array = kernel(x)
            return result

        def gradient(g: _C.Array, x: _C.Array) -> _C.Array:  # type: ignore[misc]
            result: _C.Array = grad_kernel(g, x)
            return result

    op, op_grad = Primitive(forward, name), Primitive(gradient, name + "_grad")
    defvjp(op, lambda g, y, x, **p: op_grad(g, y if saves == "y" else x, **p), saves=saves)
    zero = lambda c, y, g, x, **p: _zeros_like(x)  # noqa: E731
    defvjp(op_grad, lambda c, y, g, x, **p: op_grad(c, x, **p), second or zero, saves="g x" if second else "x")
    return op


_relu = _with_grad("relu", saves="y")
_abs = _with_grad("abs", saves="x")
_leaky_relu = _with_grad("leaky_relu", saves="x", params=True)
_clamp = _with_grad("clamp", saves="x", params=True)
_hard_sigmoid = _with_grad("hard_sigmoid", saves="x", params=True)
_elu = _with_grad(
    "elu", saves="x", params=True,
    second=lambda c, y, g, x, p0, p1=0.0: where(greater(x, 0), 0.0, c * g * p0 * exp(minimum(x, 0.0))),
)  # fmt: skip
_sigmoid = _with_grad("sigmoid", saves="y", second=lambda c, y, g, x: c * g * (1.0 - 2.0 * x))
_tanh = _with_grad("tanh", saves="y", second=lambda c, y, g, x: -2.0 * c * g * x)
_gelu = _with_grad(
    "gelu", saves="x",
    second=lambda c, y, g, x: c * g * (2.0 - square(x)) * exp(-0.5 * square(x)) * (1 / math.sqrt(2 * math.pi)),
)  # fmt: skip


def _silu_second(c: Tensor, y: Tensor, g: Tensor, x: Tensor) -> Tensor:
    s = sigmoid(x)
    return c * g * s * (1.0 - s) * (2.0 + x * (1.0 - 2.0 * s))


_silu = _with_grad("silu", saves="x", second=_silu_second)


def _softsign_second(c: Tensor, y: Tensor, g: Tensor, x: Tensor) -> Tensor:
    # d/dx 1 / (1 + |x|)^2 = -2 sign(x) / (1 + |x|)^3, written without sign, which has no derivative
    slope = 2.0 * c * g * power(absolute(x) + 1.0, -3.0)
    return where(greater(x, 0), -slope, where(less(x, 0), slope, 0.0))


_softsign = _with_grad("softsign", saves="x", second=_softsign_second)

relu: Unary = _public(_relu, "max(x, 0); derivative 0 at 0 (Nair and Hinton, 2010).")
sigmoid: Unary = _public(_sigmoid, "1 / (1 + e^-x).")
tanh: Unary = _public(_tanh, "Hyperbolic tangent.")
gelu: Unary = _public(_gelu, "x Phi(x), Phi the normal distribution function (Hendrycks and Gimpel, 2016).")
silu: Unary = _public(_silu, "x sigmoid(x) (Elfwing et al., 2017).")
softsign: Unary = _public(_softsign, "x / (1 + |x|); NaN at infinity (Bergstra et al., 2009).")


def absolute(x: ArrayLike) -> Tensor:
    """|x|; derivative 0 at 0."""
    x = as_tensor(x)
    if x.dtype not in ("float32", "float64"):
        return maximum(x, negative(x))
    result: Tensor = _abs(x)
    return result


def leaky_relu(x: ArrayLike, slope: float = 0.01) -> Tensor:
    """x for x > 0, else slope * x (Maas et al., 2013)."""
    result: Tensor = _leaky_relu(_float(x), p0=float(slope))
    return result


def elu(x: ArrayLike, alpha: float = 1.0) -> Tensor:
    """x for x > 0, else alpha (e^x - 1) (Clevert et al., 2015)."""
    result: Tensor = _elu(_float(x), p0=float(alpha))
    return result


def hard_sigmoid(x: ArrayLike, slope: float = 0.2, offset: float = 0.5) -> Tensor:
    """clip(slope * x + offset, 0, 1)."""
    result: Tensor = _hard_sigmoid(_float(x), p0=float(slope), p1=float(offset))
    return result


def clamp(x: ArrayLike, low: float = -math.inf, high: float = math.inf) -> Tensor:
    """x limited to [low, high]; the derivative is 1 inside and at the ends."""
    if not low <= high:
        raise ArgumentError(f"clamp: expected low <= high, got {low} and {high}")
    result: Tensor = _clamp(_float(x), p0=float(low), p1=float(high))
    return result


# ---- no derivative ----
@nondifferentiable
def _sign(x: _C.Array) -> _C.Array:
    return _C.sign(x)


@nondifferentiable
def _round(x: _C.Array) -> _C.Array:
    return _C.round(x)


@nondifferentiable
def _floor(x: _C.Array) -> _C.Array:
    return _C.floor(x)


@nondifferentiable
def _ceil(x: _C.Array) -> _C.Array:
    return _C.ceil(x)


@nondifferentiable
def _step(x: _C.Array) -> _C.Array:
    return _C.step(x)


sign: Unary = _public(_sign, "-1, 0 or 1. Not differentiable: asking raises.")
round: Unary = _public(_round, "Nearest integer, halves to even. Not differentiable: asking raises.")
floor: Unary = _public(_floor, "Largest integer <= x. Not differentiable: asking raises.")
ceil: Unary = _public(_ceil, "Smallest integer >= x. Not differentiable: asking raises.")
step: Unary = _public(_step, "1 for x > 0, else 0. Not differentiable: asking raises.")


def isfinite(x: ArrayLike) -> Tensor:
    """True where x is neither NaN nor infinite."""
    x = as_tensor(x).detach()
    # Infinity minus itself is NaN, and NaN equals nothing.
    return equal(x, x) if x.dtype == "bool" else equal(subtract(x, x), 0)
