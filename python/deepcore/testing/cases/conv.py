"""Cases of the convolution family, against plain loops over the filter taps."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepcore import ops
from deepcore.testing.case import Case


def reference_conv2d(
    x: Any, w: Any, bias: Any = None, *, stride: Any = (1, 1), padding: Any = (0, 0, 0, 0), dilation: Any = (1, 1),
    groups: int = 1,
) -> Any:  # fmt: skip
    """Convolution tap by tap: each filter position adds its products to all outputs."""
    n, h, wd, _ = x.shape
    k, r, s, cg = w.shape
    top, bottom, left, right = padding
    x = np.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)])
    p = (h + top + bottom - (r - 1) * dilation[0] - 1) // stride[0] + 1
    q = (wd + left + right - (s - 1) * dilation[1] - 1) // stride[1] + 1
    y = np.zeros((n, p, q, k))
    kg = k // groups
    for g in range(groups):
        for i in range(r):
            for j in range(s):
                rows = slice(i * dilation[0], i * dilation[0] + (p - 1) * stride[0] + 1, stride[0])
                columns = slice(j * dilation[1], j * dilation[1] + (q - 1) * stride[1] + 1, stride[1])
                patch = x[:, rows, columns, g * cg : (g + 1) * cg]
                y[..., g * kg : (g + 1) * kg] += patch @ w[g * kg : (g + 1) * kg, i, j].T
    return y if bias is None else y + bias


# x, w, options
SHAPES: list[tuple[Any, Any, dict[str, Any]]] = [
    ((2, 5, 6, 3), (4, 3, 3, 3), {}),
    ((1, 7, 7, 1), (2, 5, 5, 1), {"padding": (2, 2, 2, 2)}),
    ((2, 6, 5, 4), (3, 3, 2, 4), {"stride": (2, 1), "padding": (1, 0, 0, 1)}),
    ((1, 9, 8, 2), (3, 3, 3, 2), {"dilation": (2, 3), "padding": (2, 2, 3, 3)}),
    ((2, 4, 4, 6), (4, 3, 3, 3), {"groups": 2, "padding": (1, 1, 1, 1)}),
    ((1, 6, 6, 5), (5, 3, 3, 1), {"groups": 5, "padding": (1, 1, 1, 1)}),
    ((1, 6, 6, 3), (6, 3, 3, 1), {"groups": 3, "stride": (2, 2)}),
    ((3, 3, 3, 4), (5, 1, 1, 4), {}),
    ((3, 5, 5, 4), (5, 1, 1, 4), {"stride": (2, 2)}),
    ((2, 2, 2, 2), (3, 2, 2, 2), {}),
    ((0, 4, 4, 2), (3, 2, 2, 2), {}),
    ((1, 5, 5, 2), (0, 2, 2, 2), {}),
    # larger than the register tiles, with tails in every direction; values only
    ((2, 15, 17, 33), (35, 3, 3, 33), {"padding": (1, 1, 1, 1)}),
    ((1, 16, 33, 16), (40, 5, 5, 16), {"padding": (2, 2, 2, 2)}),
    ((2, 13, 12, 64), (32, 3, 3, 64), {"padding": (1, 1, 1, 1)}),
    ((2, 14, 14, 48), (33, 3, 3, 48), {"stride": (2, 2), "padding": (1, 1, 1, 1)}),
    ((3, 19, 18, 3), (16, 3, 3, 3), {"padding": (1, 1, 1, 1)}),
]


def _magnitude(f: Any) -> Any:
    return lambda *arrays: f(*[np.abs(a) for a in arrays])


def _cases() -> list[Case]:
    cases = []
    for xs, ws, options in SHAPES:
        name = f"{xs}{ws}{options}"
        small = int(np.prod(xs)) < 600
        # Winograd's transforms add and subtract inputs before they multiply: the error grows with the tile.
        factor = 16.0 if small else 128.0

        def conv(x: Any, w: Any, b: Any, o: Any = options) -> Any:
            return ops.conv2d(x, w, b, **o)

        def ref(x: Any, w: Any, b: Any, o: Any = options) -> Any:
            return reference_conv2d(x, w, b, **o)

        def make(rng: np.random.Generator, xs: Any = xs, ws: Any = ws) -> Any:
            return rng.standard_normal(xs), rng.standard_normal(ws), rng.standard_normal(ws[0])

        cases.append(Case(f"conv2d/{name}", conv, ref, make, magnitude=_magnitude(ref), factor=factor,
                          gradient=None if small else ()))  # fmt: skip
        y_shape = ref(np.zeros(xs), np.zeros(ws), np.zeros(ws[0])).shape

        def make_g(rng: np.random.Generator, y: Any = y_shape, ws: Any = ws) -> Any:
            return rng.standard_normal(y), rng.standard_normal(ws)

        def grad_input(g: Any, w: Any, xs: Any = xs, o: Any = options) -> Any:
            from deepcore.autograd import registry

            full = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1, **o}
            return registry["conv2d_grad_input"](g, w, shape=xs, **full)

        def ref_input(g: Any, w: Any, xs: Any = xs, o: Any = options) -> Any:
            # The adjoint, tap by tap: every output adds its filter to the window it came from.
            stride, dilation = o.get("stride", (1, 1)), o.get("dilation", (1, 1))
            groups, (top, bottom, left, right) = o.get("groups", 1), o.get("padding", (0, 0, 0, 0))
            n, h, wd, c = xs
            k, r, s, cg = w.shape
            kg = k // groups
            gx = np.zeros((n, h + top + bottom, wd + left + right, c))
            for group in range(groups):
                for i in range(r):
                    for j in range(s):
                        rows = slice(i * dilation[0], i * dilation[0] + (g.shape[1] - 1) * stride[0] + 1, stride[0])
                        cols = slice(j * dilation[1], j * dilation[1] + (g.shape[2] - 1) * stride[1] + 1, stride[1])
                        part = g[..., group * kg : (group + 1) * kg] @ w[group * kg : (group + 1) * kg, i, j]
                        gx[:, rows, cols, group * cg : (group + 1) * cg] += part
            return gx[:, top : top + h, left : left + wd]

        cases.append(Case(f"conv2d_grad_input/{name}", grad_input, ref_input, make_g, factor=factor,
                          magnitude=_magnitude(ref_input), gradient=None if small else ()))  # fmt: skip

        def make_w(rng: np.random.Generator, xs: Any = xs, y: Any = y_shape) -> Any:
            return rng.standard_normal(xs), rng.standard_normal(y)

        def grad_weight(x: Any, g: Any, ws: Any = ws, o: Any = options) -> Any:
            from deepcore.autograd import registry

            full = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1, **o}
            return registry["conv2d_grad_weight"](x, g, shape=ws, **full)

        def ref_weight(x: Any, g: Any, ws: Any = ws, o: Any = options) -> Any:
            stride, dilation = o.get("stride", (1, 1)), o.get("dilation", (1, 1))
            groups, (top, bottom, left, right) = o.get("groups", 1), o.get("padding", (0, 0, 0, 0))
            x = np.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)])
            k, r, s, cg = ws
            kg = k // groups
            gw = np.zeros(ws)
            for group in range(groups):
                for i in range(r):
                    for j in range(s):
                        rows = slice(i * dilation[0], i * dilation[0] + (g.shape[1] - 1) * stride[0] + 1, stride[0])
                        cols = slice(j * dilation[1], j * dilation[1] + (g.shape[2] - 1) * stride[1] + 1, stride[1])
                        patch = x[:, rows, cols, group * cg : (group + 1) * cg]
                        gw[group * kg : (group + 1) * kg, i, j] = np.einsum(
                            "npqk,npqc->kc", g[..., group * kg : (group + 1) * kg], patch
                        )
            return gw

        cases.append(Case(f"conv2d_grad_weight/{name}", grad_weight, ref_weight, make_w, factor=2 * factor,
                          magnitude=_magnitude(ref_weight), gradient=None if small else ()))  # fmt: skip
    for activation, f in (("relu", lambda y: np.maximum(y, 0)), ("tanh", np.tanh),
                          ("sigmoid", lambda y: 1 / (1 + np.exp(-y)))):  # fmt: skip
        cases.append(
            Case(f"conv2d_activated/{activation}",
                 lambda x, w, b, a=activation: ops.conv2d(x, w, b, padding="same", activation=a),
                 lambda x, w, b, f=f: f(reference_conv2d(x, w, b, padding=(1, 1, 1, 1))),
                 lambda rng: (rng.standard_normal((2, 4, 5, 3)), rng.standard_normal((4, 3, 3, 3)),
                              rng.standard_normal(4)), factor=128.0)
        )  # fmt: skip
    cases.append(
        Case("conv_transpose2d", lambda x, w, b: ops.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1),
             lambda x, w, b: _reference_transposed(x, w) + b,
             lambda rng: (rng.standard_normal((2, 3, 4, 3)), rng.standard_normal((3, 3, 3, 2)), rng.standard_normal(2)),
             factor=64.0)
    )  # fmt: skip
    return cases


def _reference_transposed(x: Any, w: Any) -> Any:
    n, p, q, _ = x.shape
    big = np.zeros((n, 2 * p + 2, 2 * q + 2, w.shape[3]))
    for i in range(3):
        for j in range(3):
            big[:, i : i + 2 * p : 2, j : j + 2 * q : 2] += x @ w[:, i, j]
    return big[:, 1 : 1 + 2 * p, 1 : 1 + 2 * q]


CASES = _cases()
