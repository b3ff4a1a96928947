"""Matrix products and convolutions on a device in every precision: all tiles, layouts and direct kernels."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import ops
from deepcore.autograd import registry
from deepcore.testing.cases.conv import reference_conv2d

Values = np.ndarray[Any, Any]

# The error of a sum beside the root of its squared terms, at most; several standard deviations of each rounding.
ERRORS = {"strict": 5e-6, "accurate": 3e-6, "high": 7e-5, "tf32": 4e-3}


def module() -> Any:
    return importlib.import_module("deepcore._cuda_emulated" if dc.cuda.is_emulated() else "deepcore._cuda")


@pytest.fixture(params=list(ERRORS))
def precision(request: pytest.FixtureRequest) -> Iterator[str]:
    before = module().float32_precision()
    module().set_float32_precision(matmul=request.param, conv=request.param)
    yield request.param
    module().set_float32_precision(*before)


def close(actual: Values, expected: Values, squares: Values, most: float) -> None:
    assert actual.shape == expected.shape
    if expected.size:
        assert np.max(np.abs(actual - expected) / (np.sqrt(squares) + 1e-30)) < most


def same_kinds(actual: Values, float32: Values, exact: Values, squares: Values, most: float) -> None:
    """NaN and infinities where float32 has them, and finite numbers within their error."""
    finite, infinite = np.isfinite(float32), np.isinf(float32)
    assert np.array_equal(np.isnan(actual), np.isnan(float32))
    assert np.array_equal(actual[infinite], float32[infinite])
    close(actual[finite].astype(np.float64), exact[finite], squares[finite], most)


def check_product(rng: np.random.Generator, m: int, n: int, k: int, ta: bool, tb: bool, most: float,
                  dtype: str = "float32", lead: tuple[int, ...] = ()) -> None:  # fmt: skip
    a = rng.standard_normal((*lead, k, m) if ta else (*lead, m, k)).astype(dtype)
    b = rng.standard_normal((*lead, n, k) if tb else (*lead, k, n)).astype(dtype)

    def turned(x: Any, turn: bool) -> Any:
        return x.swapaxes(-1, -2) if turn else x

    axes = tuple(range(len(lead))) + (len(lead) + 1, len(lead))
    p, q = (ops.transpose(dc.tensor(x).cuda(), axes) if t else dc.tensor(x).cuda() for x, t in ((a, ta), (b, tb)))
    x, y = turned(a.astype(np.float64), ta), turned(b.astype(np.float64), tb)
    close(ops.matmul(p, q).numpy(), x @ y, (x * x) @ (y * y), most)


# 64 x 64, 128 x 64 and 128 x 128 tiles; aligned and not; a sum in parts.
SIZES = [(65, 130, 97), (128, 192, 64), (1030, 1023, 33), (1024, 1028, 16), (2049, 1028, 20), (70, 66, 1500)]


@pytest.mark.parametrize("turns", [(False, False), (False, True), (True, False), (True, True)], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_matmul(size: tuple[int, int, int], turns: tuple[bool, bool], precision: str) -> None:
    check_product(np.random.default_rng(0), *size, *turns, ERRORS[precision])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lead", [(), (3,)], ids=str)
@pytest.mark.parametrize("k", [8, 40, 63, 2500])
def test_few_rows_or_columns(k: int, lead: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(k)
    for m, n in [(1, 1), (1, 100), (3, 129), (4, 260), (100, 1), (31, 2), (261, 4)]:
        for ta, tb in [(False, False), (False, True), (True, False), (True, True)]:
            check_product(rng, m, n, k, ta, tb, 5e-6 if dtype == "float32" else 3e-14, dtype, lead)


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("columns", [128, 70])
@pytest.mark.parametrize("k", [64, 1200])
def test_linear_on_tensor_cores(k: int, columns: int, activation: str | None) -> None:
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((130, k)), rng.standard_normal((columns, k)) / k, rng.standard_normal(columns)
    p, q, r = (dc.tensor(v.astype(np.float32)).cuda() for v in (x, w, b))
    y = ops.linear(p, q, r, activation).numpy()
    expected = x @ w.T + b
    functions: dict[str | None, Any] = {
        None: lambda v: v, "relu": lambda v: np.maximum(v, 0), "tanh": np.tanh,
        "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    }  # fmt: skip
    assert np.max(np.abs(y - functions[activation](expected))) < 2e-6


@pytest.mark.parametrize("scales", [(1e-15, 1e-15), (1e15, 1e18), (1e-30, 1e30)], ids=str)
def test_accurate_keeps_the_exponents_of_float32(scales: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((96, 96)).astype(np.float32) * np.float32(scale) for scale in scales)
    product = ops.matmul(dc.tensor(a).cuda(), dc.tensor(b).cuda()).numpy()
    x, y = a.astype(np.float64), b.astype(np.float64)
    close(product, x @ y, (x * x) @ (y * y), 3e-6)


def test_largest_numbers_stay_finite() -> None:
    largest = np.full((64, 64), np.finfo(np.float32).max, np.float32)
    product = ops.matmul(dc.tensor(largest).cuda(), dc.tensor(np.eye(64, dtype=np.float32)).cuda()).numpy()
    assert np.array_equal(product, largest)


def test_nan_stays_in_its_row(precision: str) -> None:
    a = np.ones((96, 96), np.float32)
    a[5, 7] = np.nan
    product = ops.matmul(dc.tensor(a).cuda(), dc.tensor(np.ones((96, 96), np.float32)).cuda()).numpy()
    assert np.isnan(product[5]).all() and np.isfinite(np.delete(product, 5, 0)).all()


# Infinities, NaN and numbers that round to infinity, far enough from each other to meet in few sums.
PLANTED = [np.inf, -np.inf, np.nan, 3.4e38, -np.finfo(np.float32).max, np.inf]


def numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Normal ones that no rounding of an operand makes pass 1: products with the largest number overflow or do not."""
    x = rng.standard_normal(shape).astype(np.float32)
    x[np.abs(np.abs(x) - 1) < 0.01] = 0.5
    return x


def in_turn(a: Values, b: Values, dtype: type) -> Values:
    """a @ b, term by term."""
    sums = np.zeros((a.shape[0], b.shape[1]), dtype)
    for p in range(a.shape[1]):
        sums += a[:, p : p + 1].astype(dtype) * b[p].astype(dtype)
    return sums


# 64 x 64 tiles, not aligned; a sum in parts; 128 x 64; 128 x 128.
@pytest.mark.parametrize("turns", [(False, False), (False, True), (True, False), (True, True)], ids=str)
@pytest.mark.parametrize("size", [(65, 130, 97), (70, 68, 1500), (2049, 1028, 20), (1024, 1028, 16)], ids=str)
def test_products_of_infinities(size: tuple[int, int, int], turns: tuple[bool, bool], precision: str) -> None:
    m, n, k = size
    rng = np.random.default_rng(0)
    a, b = numbers(rng, (m, k)), numbers(rng, (k, n))
    for i, value in enumerate(PLANTED):
        a[(7 * i + 3) % m, (5 * i + 1) % k] = value
        b[(3 * i + 2) % k, n - 1 - 9 * i] = value
    a[40, [0, k - 1]] = np.inf, -np.inf
    b[1, 20:30] = 0  # beside the first infinity
    b[6, 30:40] = 1e-9
    p, q = (
        ops.transpose(dc.tensor(np.ascontiguousarray(x.T)).cuda(), (1, 0)) if turn else dc.tensor(x).cuda()
        for x, turn in zip((a, b), turns, strict=True)
    )
    with np.errstate(invalid="ignore", over="ignore"):
        expected, exact = in_turn(a, b, np.float32), in_turn(a, b, np.float64)
        squares = in_turn(a.astype(np.float64) ** 2, b.astype(np.float64) ** 2, np.float64)
    assert np.isnan(expected).any() and np.isposinf(expected).any() and np.isneginf(expected).any()
    assert (np.abs(expected[np.isfinite(expected)]) > 1e37).any()
    same_kinds(ops.matmul(p, q).numpy(), expected, exact, squares, ERRORS[precision])


def adjoints(x: Values, w: Values, g: Values, o: dict[str, Any]) -> tuple[Values, Values]:
    """Gradients of sum(g * conv(x, w)), tap by tap."""
    gx, gw = np.zeros_like(x), np.zeros_like(w)
    (sh, sw), (dh, dw), groups = o["stride"], o["dilation"], o["groups"]
    top, bottom, left, right = o["padding"]
    padded = np.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)])
    grown = np.zeros_like(padded)
    k, r, s, cg = w.shape
    kg = k // groups
    for i in range(r):
        for j in range(s):
            rows = slice(i * dh, i * dh + (g.shape[1] - 1) * sh + 1, sh)
            columns = slice(j * dw, j * dw + (g.shape[2] - 1) * sw + 1, sw)
            for f in range(groups):
                ours, theirs = slice(f * kg, (f + 1) * kg), slice(f * cg, (f + 1) * cg)
                gw[ours, i, j] = np.einsum("npqk,npqc->kc", g[..., ours], padded[:, rows, columns, theirs])
                grown[:, rows, columns, theirs] += g[..., ours] @ w[ours, i, j]
    gx[:] = grown[:, top : top + x.shape[1], left : left + x.shape[2]]
    return gx, gw


# x, w, stride, padding, dilation, groups
CONVOLUTIONS = [
    ((2, 17, 15, 20), (33, 3, 3, 20), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    ((2, 16, 14, 64), (64, 3, 3, 64), (2, 2), (1, 1, 1, 1), (1, 1), 1),
    ((1, 21, 18, 16), (24, 4, 3, 16), (3, 2), (2, 1, 0, 3), (2, 1), 1),
    ((1, 13, 14, 48), (40, 3, 3, 24), (1, 2), (1, 0, 1, 2), (1, 2), 2),
    ((2, 20, 22, 3), (40, 3, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),  # few terms
    ((3, 28, 28, 1), (70, 5, 5, 1), (2, 1), (2, 2, 2, 2), (1, 1), 1),
    ((1, 30, 31, 3), (64, 7, 7, 3), (2, 2), (3, 3, 3, 3), (1, 1), 1),
    ((2, 14, 13, 40), (40, 3, 3, 1), (1, 1), (1, 1, 1, 1), (1, 1), 40),  # depthwise
    ((2, 15, 14, 36), (36, 5, 3, 1), (2, 3), (2, 2, 1, 1), (3, 2), 36),
    ((1, 11, 12, 7), (21, 4, 4, 1), (2, 2), (1, 1, 2, 2), (1, 1), 7),
]


@pytest.mark.parametrize("shapes", CONVOLUTIONS, ids=lambda s: f"{s[0]}{s[1]}")
def test_convolutions(shapes: Any, precision: str) -> None:
    xs, ws, stride, padding, dilation, groups = shapes
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(xs), rng.standard_normal(ws)
    y = reference_conv2d(x, w, **options)
    g = rng.standard_normal(y.shape)
    x, w, g = (v.astype(np.float32).astype(np.float64) for v in (x, w, g))
    y, (gx, gw) = reference_conv2d(x, w, **options), adjoints(x, w, g, options)
    squares = reference_conv2d(x * x, w * w, **options), *adjoints(x * x, w * w, g * g, options)
    for dtype, most in (("float32", ERRORS[precision]), ("float64", 2e-14)):
        p, q, r = (dc.tensor(v.astype(dtype)).cuda() for v in (x, w, g))
        close(ops.conv2d(p, q, **options).numpy(), y, squares[0], most)
        close(registry["conv2d_grad_input"](r, q, shape=xs, **options).numpy(), gx, squares[1], most)
        close(registry["conv2d_grad_weight"](p, r, shape=ws, **options).numpy(), gw, squares[2], most)


# Convolutions on tensor cores, in all directions.
@pytest.mark.parametrize("shapes", CONVOLUTIONS[:4], ids=lambda s: f"{s[0]}{s[1]}")
def test_convolutions_of_infinities(shapes: Any, precision: str) -> None:
    xs, ws, stride, padding, dilation, groups = shapes
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    rng = np.random.default_rng(0)
    x, w = numbers(rng, xs), numbers(rng, ws)
    g = numbers(rng, reference_conv2d(x, w, **options).shape)
    odd_x, odd_w, odd_g = x.copy(), w.copy(), g.copy()
    # A sum that meets two of them is the same in any order: the number that may overflow lies apart from infinities.
    odd_x[-1, 0, 2, 3] = odd_g[-1, 0, 2, 3] = 3.4e38
    for i, value in enumerate([np.inf, -np.inf, np.nan]):
        odd_x[-1, 8 + 2 * i, 11 - 2 * i, i] = odd_g[-1, 4 + i % 2, 5 - i, 2 * i] = odd_w[6 * i, i, 2 - i, i] = value

    def gx_of(g: Values, w: Values) -> Values:
        return adjoints(np.zeros(xs), w, g, options)[0]

    def gw_of(x: Values, g: Values) -> Values:
        return adjoints(x, np.zeros(ws), g, options)[1]

    for on_device, by_numpy, operands in (
        (lambda x, w: ops.conv2d(x, w, **options), lambda x, w: reference_conv2d(x, w, **options), (odd_x, w)),
        (lambda x, w: ops.conv2d(x, w, **options), lambda x, w: reference_conv2d(x, w, **options), (x, odd_w)),
        (lambda g, w: registry["conv2d_grad_input"](g, w, shape=xs, **options), gx_of, (odd_g, w)),
        (lambda x, g: registry["conv2d_grad_weight"](x, g, shape=ws, **options), gw_of, (odd_x, g)),
        (lambda x, g: registry["conv2d_grad_weight"](x, g, shape=ws, **options), gw_of, (x, odd_g)),
    ):
        first, second = (v.astype(np.float64) for v in operands)
        with np.errstate(invalid="ignore", over="ignore"):
            exact, squares = by_numpy(first, second), by_numpy(first * first, second * second)
            float32 = exact.astype(np.float32)
        assert np.isnan(float32).any() and np.isinf(float32).any()
        result = on_device(*(dc.tensor(v).cuda() for v in operands)).numpy()
        same_kinds(result, float32, exact, squares, ERRORS[precision])


def test_precision_by_name() -> None:
    before = module().float32_precision()
    try:
        module().set_float32_precision(conv="tf32")
        assert module().float32_precision() == (before[0], "tf32")
        with pytest.raises(ValueError, match="'strict', 'accurate', 'high' or 'tf32', got 'half'"):
            module().set_float32_precision(matmul="strict", conv="half")
        assert module().float32_precision() == (before[0], "tf32")
    finally:
        module().set_float32_precision(*before)
