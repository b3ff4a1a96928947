"""Cases of indexing, order and running sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepcore import ops
from deepcore.testing.case import Case


def reference_scatter(g: Any, index: Any, size: int, axis: int) -> Any:
    """Zeros with the slices of g added where index says."""
    moved = np.moveaxis(g, list(range(axis, axis + index.ndim)), list(range(index.ndim)))
    out = np.zeros((size, *moved.shape[index.ndim :]))
    np.add.at(out, index, moved)
    return np.moveaxis(out, 0, axis)


def reference_order(x: Any, axis: int, descending: bool) -> Any:
    """Stable order with NaN as the largest."""
    key = np.where(np.isnan(x), np.inf, x)
    nan = np.isnan(x).astype(int)
    places = np.lexsort((-key, -nan) if descending else (key, nan), axis=axis)
    return np.take_along_axis(x, places, axis), places


def _long_cases() -> list[Case]:
    """Axes that a device sorts, searches and adds up in parts."""
    cases: list[Case] = []
    shape: Any

    def make(shape: Any, values: int, nan: bool = True) -> Any:
        def of(rng: np.random.Generator) -> Any:
            x = rng.integers(-values, values + 1, shape).astype(float) / 8
            if nan:
                x.reshape(-1)[5::97] = np.nan
            return (x,)

        return of

    def make_terms(size: int, m: int, inner: int) -> Any:
        return lambda rng: (rng.standard_normal((m, inner)), rng.integers(0, size, m) // 2 * 2)

    def make_places(s: Any, axis: int, m: int) -> Any:
        return lambda rng: (rng.standard_normal(s), rng.integers(0, s[axis], (*s[:axis], m, *s[axis + 1 :])))

    for shape in ((1, 4097), (3, 5000), (1, 20001), (2, 4096)):
        for descending in (False, True):
            name = f"{shape} {descending}"
            # Many ties: what is equal must stay in order.
            cases.append(Case(f"sort/long {name}", lambda x, d=descending: ops.sort(x, descending=d),
                              lambda x, d=descending: reference_order(x, -1, d), make(shape, 300), factor=0.0,
                              gradient=(), views=False))  # fmt: skip
            for k in (3, 300, 1000, 1500):
                cases.append(
                    Case(f"top_k/long {name} {k}", lambda x, d=descending, k=k: ops.top_k(x, k, largest=d),
                         lambda x, d=descending, k=k: tuple(r[..., :k] for r in reference_order(x, -1, d)),
                         make(shape, 2000), factor=0.0, gradient=(), views=False)
                )  # fmt: skip
    searched: list[tuple[Any, int]] = [((70001,), 0), ((3, 1025), 1), ((2, 601, 5), 1), ((2, 40000), 1)]
    for shape, axis in searched:
        for values in (3, 10**6):
            for op, reference in ((ops.argmax, np.argmax), (ops.argmin, np.argmin)):
                cases.append(
                    Case(f"{reference.__name__}/long {shape} {values}", lambda x, f=op, a=axis: f(x, a),
                         lambda x, f=reference, a=axis: f(x, a), make(shape, values, nan=False), gradient=(),
                         views=False)
                )  # fmt: skip
    # Multiples of 1/8: every sum is exact, in any order.
    added: list[tuple[Any, int]] = [((2, 33001), 1), ((40000, 2), 0), ((512, 33, 32), 1),
                                     ((2, 70, 40), 1), ((3, 1100), 1)]  # fmt: skip
    for shape, axis in added:
        for reverse in (False, True):
            cases.append(
                Case(f"cumsum/long {shape} {reverse}", lambda x, a=axis, r=reverse: ops.cumsum(x, a, reverse=r),
                     lambda x, a=axis, r=reverse: np.flip(np.cumsum(np.flip(x, a), a), a) if r else np.cumsum(x, a),
                     make(shape, 100, nan=False), factor=0.0, gradient=(), views=False)
            )  # fmt: skip
    for size, m, inner in ((100, 6000, 8), (1000, 5000, 3)):
        cases.append(
            Case(f"scatter_add/long {size} {m} {inner}", lambda g, i, n=size: ops.scatter_add(g, i, n, 0),
                 lambda g, i, n=size: reference_scatter(g, i, n, 0),
                 make_terms(size, m, inner),
                 magnitude=lambda g, i, n=size: reference_scatter(np.abs(g), i, n, 0), factor=32.0, gradient=(),
                 views=False)
        )  # fmt: skip

    def gathered(x: Any, i: Any, axis: int) -> Any:
        x.requires_grad_()
        ops.sum(ops.square(ops.take_along(x, i, axis))).backward()
        return x.grad

    def reference_gathered(x: Any, i: Any, axis: int) -> Any:
        out = np.zeros_like(x)
        places = list(np.indices(i.shape))
        places[axis] = i
        np.add.at(out, tuple(places), 2 * np.take_along_axis(x, i, axis))
        return out

    collected: list[tuple[Any, int, int]] = [((2, 300, 40), 1, 200), ((3, 7000), 1, 5000)]
    for shape, axis, m in collected:
        cases.append(
            Case(f"take_along_grad/long {shape} {m}", lambda x, i, a=axis: gathered(x, i, a),
                 lambda x, i, a=axis: reference_gathered(x, i, a), make_places(shape, axis, m),
                 factor=64.0, gradient=(), views=False)
        )  # fmt: skip
    return cases


def _cases() -> list[Case]:
    cases = []
    for shape, axis, index_shape in (((5, 3), 0, (4,)), ((5, 3), 1, (2, 2)), ((2, 4, 3), 1, (5,)), ((7,), 0, (3, 2)),
                                     ((4, 2), 0, (0,)), ((300, 40), 0, (500,)), ((6, 50, 17), -2, (70,))):  # fmt: skip

        def make(rng: np.random.Generator, s: Any = shape, a: int = axis, i: Any = index_shape) -> Any:
            return rng.standard_normal(s), rng.integers(-s[a], s[a], i)

        small = None if int(np.prod(shape)) < 200 else ()
        cases.append(Case(f"take/{shape} axis {axis} {index_shape}", lambda x, i, a=axis: ops.take(x, i, a),
                          lambda x, i, a=axis: np.take(x, i, a), make, factor=0.0, gradient=small))  # fmt: skip
        cases.append(Case(f"take_grad/squared {shape} axis {axis} {index_shape}",
                          lambda x, i, a=axis: ops.square(ops.take(x, i, a)),
                          lambda x, i, a=axis: np.take(x, i, a) ** 2, make, gradient=small))  # fmt: skip

        def make_g(rng: np.random.Generator, s: Any = shape, a: int = axis, i: Any = index_shape) -> Any:
            a %= len(s)
            return rng.standard_normal((*s[:a], *i, *s[a + 1 :])), rng.integers(0, s[a], i)

        size, position = shape[axis], axis % len(shape)
        cases.append(
            Case(f"scatter_add/{shape} axis {axis} {index_shape}",
                 lambda g, i, n=size, a=position: ops.square(ops.scatter_add(g, i, n, a)),
                 lambda g, i, n=size, a=position: reference_scatter(g, i, n, a) ** 2, make_g, gradient=small,
                 magnitude=lambda g, i, n=size, a=position: reference_scatter(np.abs(g), i, n, a) ** 2, factor=32.0)
        )  # fmt: skip
    for shape, axis, m in (((4, 3), 1, 5), ((4, 3), 0, 2), ((2, 5, 3), 1, 4), ((40, 30, 9), 1, 50)):

        def make_along(rng: np.random.Generator, s: Any = shape, a: int = axis, m: int = m) -> Any:
            return rng.standard_normal(s), rng.integers(-s[a], s[a], (*s[:a], m, *s[a + 1 :]))

        small = None if int(np.prod(shape)) < 200 else ()
        cases.append(Case(f"take_along/{shape} axis {axis}", lambda x, i, a=axis: ops.take_along(x, i, a),
                          lambda x, i, a=axis: np.take_along_axis(x, i, a), make_along, factor=0.0,
                          gradient=small))  # fmt: skip
        cases.append(Case(f"take_along_grad/squared {shape} axis {axis}",
                          lambda x, i, a=axis: ops.square(ops.take_along(x, i, a)),
                          lambda x, i, a=axis: np.take_along_axis(x, i, a) ** 2, make_along,
                          gradient=small))  # fmt: skip
    cases.append(Case("embedding/rows", ops.embedding, lambda w, i: w[i],
                      lambda rng: (rng.standard_normal((6, 3)), rng.integers(0, 6, (2, 4)))))  # fmt: skip
    cases.append(Case("one_hot/3", lambda i: ops.one_hot(i, 3, on=2.0, off=0.5),
                      lambda i: np.where(i[..., None] == np.arange(3), 2.0, 0.5),
                      lambda rng: (rng.integers(0, 3, (4, 2)),), gradient=()))  # fmt: skip
    for shape, axis in (((5,), 0), ((4, 6), 1), ((4, 6), 0), ((3, 40, 5), 1), ((7, 100), -1), ((2, 33, 17), 1)):
        for values in ("normal", "ties"):

            def make_values(rng: np.random.Generator, s: Any = shape, v: str = values) -> Any:
                return (rng.standard_normal(s) if v == "normal" else rng.integers(-2, 3, s).astype(float),)

            def make_nan(rng: np.random.Generator, m: Any = make_values) -> Any:
                x = m(rng)[0]
                x.reshape(-1)[3::5] = np.nan
                return (x,)

            name = f"{shape} axis {axis} {values}"
            for op, reference in ((ops.argmax, np.argmax), (ops.argmin, np.argmin)):
                for label, maker in (("", make_values), (" nan", make_nan)):
                    for keepdims in (False, True):
                        cases.append(
                            Case(f"{reference.__name__}/{name}{label} {keepdims}",
                                 lambda x, f=op, a=axis, k=keepdims: f(x, a, k),
                                 lambda x, f=reference, a=axis, k=keepdims: f(x, a, keepdims=k), maker, gradient=())
                        )  # fmt: skip
            for descending in (False, True):
                gradient = None if values == "normal" and int(np.prod(shape)) < 100 else ()

                def ordered(x: Any, a: int = axis, d: bool = descending) -> Any:
                    return ops.sort(x, a, descending=d)

                def ordered_reference(x: Any, a: int = axis, d: bool = descending) -> Any:
                    return reference_order(x, a, d)

                cases.append(Case(f"sort/{name} {descending}", ordered, ordered_reference, make_values, factor=0.0,
                                  gradient=gradient))  # fmt: skip
                cases.append(Case(f"sort/nan {name} {descending}", ordered, ordered_reference, make_nan, factor=0.0,
                                  gradient=()))  # fmt: skip
                for k in (0, 1, 4):
                    cases.append(
                        Case(f"top_k/{name} {descending} {k}",
                             lambda x, a=axis, d=descending, k=k: ops.top_k(x, k, a, largest=d),
                             lambda x, a=axis, d=descending, k=k: tuple(
                                 np.take(r, np.arange(k), a) for r in reference_order(x, a, d)),
                             make_values, factor=0.0, gradient=gradient if k else ())
                    )  # fmt: skip
                cases.append(
                    Case(f"cumsum/{name} {descending}",
                         lambda x, a=axis, d=descending: ops.square(ops.cumsum(x, a, reverse=d)),
                         lambda x, a=axis, d=descending: (np.flip(np.cumsum(np.flip(x, a), a), a) if d
                                                          else np.cumsum(x, a)) ** 2,
                         make_values, factor=64.0, magnitude=lambda x, a=axis: np.abs(x).sum(a, keepdims=True) ** 2,
                         gradient=gradient)
                )  # fmt: skip
    cases += _long_cases()
    cases.append(Case("argmax/flat", lambda x: ops.argmax(x), lambda x: np.argmax(x),
                      lambda rng: (rng.standard_normal((5, 7)),), gradient=()))  # fmt: skip
    return cases


CASES = _cases()
