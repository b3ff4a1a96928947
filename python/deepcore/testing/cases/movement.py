"""Cases of the movement family."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepcore import ops
from deepcore.autograd import alias
from deepcore.testing.case import Case


def _normal(*shapes: Any) -> Any:
    return lambda rng: tuple(rng.standard_normal(s) for s in shapes)


def _case(name: str, function: Any, reference: Any, *shapes: Any) -> Case:
    return Case(name, function, reference, _normal(*shapes), factor=0.0)


CASES = [
    _case("alias", alias, lambda x: x, (3, 4)),
    _case("reshape/flat", lambda x: ops.reshape(x, -1), lambda x: x.reshape(-1), (3, 4, 5)),
    _case("reshape/of view", lambda x: ops.reshape(x[:, ::2], 3, -1), lambda x: x[:, ::2].reshape(3, -1), (3, 4, 5)),
    _case("reshape/empty", lambda x: ops.reshape(x, 4, 0), lambda x: x.reshape(4, 0), (0, 3)),
    _case("transpose/all", ops.transpose, np.transpose, (3, 4, 5)),
    _case("transpose/axes", lambda x: ops.transpose(x, 1, 0, -1), lambda x: x.transpose(1, 0, 2), (3, 4, 5)),
    _case("contiguous/transposed", lambda x: ops.contiguous(ops.transpose(x)), lambda x: x.T.copy(), (33, 65)),
    _case("contiguous/batch", lambda x: ops.contiguous(ops.swap_axes(x, 1, 2)), lambda x: x.swapaxes(1, 2),
          (2, 17, 33)),
    _case("broadcast_to", lambda x: ops.broadcast_to(x, (4, 3, 5)), lambda x: np.broadcast_to(x, (4, 3, 5)), (3, 1)),
    _case("expand_dims", lambda x: ops.expand_dims(x, -1), lambda x: x[..., None], (3, 4)),
    _case("squeeze", lambda x: ops.squeeze(x, 1), lambda x: x[:, 0], (3, 1, 4)),
    _case("slice/steps", lambda x: x[1:5:2, ::-1, None, -1], lambda x: x[1:5:2, ::-1, None, -1], (6, 3, 4)),
    _case("slice/ellipsis", lambda x: x[..., 1:], lambda x: x[..., 1:], (2, 3, 4)),
    _case("slice/empty", lambda x: x[5:2], lambda x: x[5:2], (6, 3)),
    _case("narrow", lambda x: ops.narrow(x, 1, 1, 2), lambda x: x[:, 1:3], (3, 5)),
    _case("flip", lambda x: ops.flip(x, (0, 2)), lambda x: x[::-1, :, ::-1], (2, 3, 4)),
    _case("pad", lambda x: ops.pad(x, [(1, 2), (0, 3)]), lambda x: np.pad(x, [(1, 2), (0, 3)]), (3, 4)),
    _case("pad/crop", lambda x: ops.pad(x, [(-1, 2), (1, -2)]), lambda x: np.pad(x[1:, :2], [(0, 2), (1, 0)]), (3, 4)),
    _case("concatenate", lambda a, b, c: ops.concatenate([a, b, c], 1), lambda *x: np.concatenate(x, 1),
          (2, 3), (2, 1), (2, 4)),
    _case("concatenate/empty", lambda a, b: ops.concatenate([a, b]), lambda *x: np.concatenate(x), (0, 3), (2, 3)),
    _case("stack", lambda a, b: ops.stack([a, b], 1), lambda *x: np.stack(x, 1), (2, 3), (2, 3)),
    _case("stack/last", lambda a, b: ops.stack([a, b], -1), lambda *x: np.stack(x, -1), (2, 3), (2, 3)),
    _case("split", lambda x: tuple(ops.split(x, [1, 3], 1)), lambda x: (x[:, :1], x[:, 1:]), (2, 4)),
    Case("cast", lambda x: ops.astype(ops.astype(x, "float32"), "float64"), lambda x: x.astype("f4").astype("f8"),
         lambda rng: (rng.integers(-8, 8, (3, 5)) / 4.0,), factor=0.0, gradient=()),
]  # fmt: skip
