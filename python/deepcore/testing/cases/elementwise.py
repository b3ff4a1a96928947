"""Cases of the elementwise family."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from deepcore import ops
from deepcore.testing.case import Case

_erf = np.vectorize(math.erf, otypes=[float])


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _away(rng: np.random.Generator, shape: Any, low: float = 0.1, high: float = 3.0) -> Any:
    """Random signs, sizes in [low, high]: away from the kink at 0."""
    return rng.uniform(low, high, shape) * rng.choice([-1.0, 1.0], shape)


# name -> (operation, numpy formula, lowest input or None for both signs)
UNARY: dict[str, tuple[Any, Any, float | None]] = {
    "negative": (ops.negative, lambda x: -x, None),
    "absolute": (ops.absolute, np.abs, None),
    "exp": (ops.exp, np.exp, None),
    "expm1": (ops.expm1, np.expm1, None),
    "log": (ops.log, np.log, 0.1),
    "log1p": (ops.log1p, np.log1p, 0.1),
    "sqrt": (ops.sqrt, np.sqrt, 0.1),
    "rsqrt": (ops.rsqrt, lambda x: 1 / np.sqrt(x), 0.1),
    "reciprocal": (ops.reciprocal, lambda x: 1 / x, None),
    "square": (ops.square, np.square, None),
    "sin": (ops.sin, np.sin, None),
    "cos": (ops.cos, np.cos, None),
    "erf": (ops.erf, _erf, None),
    "tanh": (ops.tanh, np.tanh, None),
    "sigmoid": (ops.sigmoid, _sigmoid, None),
    "softplus": (ops.softplus, lambda x: np.logaddexp(0, x), None),
    "relu": (ops.relu, lambda x: np.maximum(x, 0), None),
    "leaky_relu": (lambda x: ops.leaky_relu(x, 0.2), lambda x: np.where(x < 0, 0.2 * x, x), None),
    "elu": (lambda x: ops.elu(x, 1.5), lambda x: np.where(x < 0, 1.5 * np.expm1(np.minimum(x, 0)), x), None),
    "gelu": (ops.gelu, lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))), None),
    "silu": (ops.silu, lambda x: x * _sigmoid(x), None),
    "softsign": (ops.softsign, lambda x: x / (1 + np.abs(x)), None),
    "hard_sigmoid": (ops.hard_sigmoid, lambda x: np.clip(0.2 * x + 0.5, 0, 1), None),
    "clamp": (lambda x: ops.clamp(x, -1.05, 2.05), lambda x: np.clip(x, -1.05, 2.05), None),
}
STEPWISE: dict[str, tuple[Any, Any]] = {
    "sign": (ops.sign, np.sign),
    "round": (ops.round, np.rint),
    "floor": (ops.floor, np.floor),
    "ceil": (ops.ceil, np.ceil),
    "step": (ops.step, lambda x: (x > 0) * 1.0),
}
BINARY: dict[str, tuple[Any, Any]] = {
    "add": (ops.add, np.add),
    "subtract": (ops.subtract, np.subtract),
    "multiply": (ops.multiply, np.multiply),
    "divide": (ops.divide, np.divide),
    "maximum": (ops.maximum, np.maximum),
    "minimum": (ops.minimum, np.minimum),
}
COMPARE: dict[str, tuple[Any, Any]] = {
    "equal": (ops.equal, np.equal),
    "not_equal": (ops.not_equal, np.not_equal),
    "less": (ops.less, np.less),
    "less_equal": (ops.less_equal, np.less_equal),
    "greater": (ops.greater, np.greater),
    "greater_equal": (ops.greater_equal, np.greater_equal),
}
SHAPES = [(), (0,), (1,), (3,), (15,), (16,), (17,), (130,), (2, 0, 3), (3, 5, 7)]
BROADCASTS = [((3, 5), (5,)), ((4, 1, 3), (2, 1)), ((), (7,)), ((2, 3, 1), (2, 3, 9)), ((0, 3), (3,)), ((17,), (17,))]


def _unary_cases() -> list[Case]:
    cases = []
    for name, (function, reference, low) in UNARY.items():
        for shape in SHAPES:

            def make(rng: np.random.Generator, shape: Any = shape, low: float | None = low) -> Any:
                return (_away(rng, shape) if low is None else rng.uniform(low, 3.0, shape),)

            cases.append(Case(f"{name}/{shape}", function, reference, make))
    for name, (function, reference) in STEPWISE.items():
        cases.append(Case(f"{name}/(3, 17)", function, reference, lambda rng: (_away(rng, (3, 17)),), gradient=()))
    return cases


def _binary_cases() -> list[Case]:
    cases = []
    for name, (function, reference) in {**BINARY, **COMPARE}.items():
        for a, b in BROADCASTS:

            def make(rng: np.random.Generator, a: Any = a, b: Any = b) -> Any:
                return _away(rng, a), _away(rng, b)

            gradient = () if name in COMPARE else None
            cases.append(Case(f"{name}/{a}{b}", function, reference, make, gradient=gradient))
    for a, b in BROADCASTS:

        def make_power(rng: np.random.Generator, a: Any = a, b: Any = b) -> Any:
            return rng.uniform(0.2, 2.0, a), rng.uniform(-2, 2, b)

        def make_where(rng: np.random.Generator, a: Any = a, b: Any = b) -> Any:
            return rng.uniform(size=a) < 0.5, rng.standard_normal(a), rng.standard_normal(b)

        cases.append(Case(f"power/{a}{b}", ops.power, np.power, make_power))
        cases.append(Case(f"where/{a}{b}", ops.where, np.where, make_where))
    return cases


CASES = _unary_cases() + _binary_cases()
