"""Cases of recurrent layers, against loops over sequences and steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deepcore.ops.rnn import CELLS, recurrent
from deepcore.testing.case import Case

NAMES = ("x", "w", "u", "bias", "bias_h", "peephole", "h0", "c0")
REASON = "errors of a step's sums and functions travel through the steps that follow"


def gate_value(kind: str, slope: float, z: Any) -> Any:
    """One of the three kinds of gate."""
    if kind == "sigmoid":
        return 1 / (1 + np.exp(-slope * z))
    return np.clip(slope * z / 4 + 0.5, 0, 1) if kind == "hard" else (z > 0).astype(float)


def one_step(cell: str, gate: str, slopes: Sequence[float], x: Any, h: Any, c: Any, p: dict[str, Any]) -> Any:
    """The next h and c of one sequence."""
    hidden = len(h)
    names = CELLS[cell].gates
    at = {g: slice(i * hidden, (i + 1) * hidden) for i, g in enumerate(names)}
    inner = {g: p["u"][at[g]] @ h for g in names}
    z = {g: p["w"][at[g]] @ x + p.get("bias", np.zeros(hidden * len(names)))[at[g]] for g in names}

    def opened(name: str, total: Any) -> Any:
        return gate_value(gate, slopes[CELLS[cell].sloped.index(name)], total)

    def seen(name: str, state: Any) -> Any:
        return p["peephole"][CELLS[cell].peepholes.index(name)] * state if "peephole" in p else 0.0

    if cell in ("tanh", "relu"):
        total = z["h"] + inner["h"]
        return (np.tanh(total) if cell == "tanh" else np.maximum(total, 0)), c
    if cell in ("lstm", "coupled"):
        f = opened("f", z["f"] + inner["f"] + seen("f", c))
        i = 1 - f if cell == "coupled" else opened("i", z["i"] + inner["i"] + seen("i", c))
        new = f * c + i * np.tanh(z["g"] + inner["g"])
        return opened("o", z["o"] + inner["o"] + seen("o", new)) * np.tanh(new), new
    if cell == "mgu":
        f = opened("f", z["f"] + inner["f"])
        return (1 - f) * h + f * np.tanh(z["n"] + p["u"][at["n"]] @ (f * h)), c
    r, update = opened("r", z["r"] + inner["r"]), opened("z", z["z"] + inner["z"])
    if cell == "gru":
        n = np.tanh(z["n"] + r * (inner["n"] + p.get("bias_h", 0.0)))
    else:
        n = np.tanh(z["n"] + p["u"][at["n"]] @ (r * h))
    return (1 - update) * n + update * h, c


def reference(
    cell: str, gate: str, slopes: Sequence[float], lengths: Sequence[int] | None, reverse: bool, p: dict[str, Any]
) -> tuple[Any, ...]:
    """Outputs, last h and, for cells with one, last c."""
    steps, batch, _ = p["x"].shape
    hidden = p["u"].shape[1]
    y, h, c = (np.zeros(shape) for shape in ((steps, batch, hidden), (batch, hidden), (batch, hidden)))
    for b in range(batch):
        h_now, c_now = p["h0"][b] if "h0" in p else h[b], p["c0"][b] if "c0" in p else c[b]
        inside = range(steps if lengths is None else lengths[b])
        for t in reversed(inside) if reverse else inside:
            h_now, c_now = one_step(cell, gate, slopes, p["x"][t, b], h_now, c_now, p)
            y[t, b] = h_now
        h[b], c[b] = h_now, c_now
    return (y, h, c) if CELLS[cell].has_c else (y, h)


def _shapes(cell: str, steps: int, batch: int, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """What the cell can take, with its shapes."""
    gates, holes = len(CELLS[cell].gates), len(CELLS[cell].peepholes)
    shapes: dict[str, tuple[int, ...]] = {
        "x": (steps, batch, inputs), "w": (gates * hidden, inputs), "u": (gates * hidden, hidden),
        "bias": (gates * hidden,), "h0": (batch, hidden),
    }  # fmt: skip
    if cell == "gru":
        shapes["bias_h"] = (hidden,)
    if CELLS[cell].has_c:
        shapes |= {"c0": (batch, hidden), "peephole": (holes, hidden)}
    return {name: shapes[name] for name in NAMES if name in shapes}


def _case(
    cell: str, sizes: tuple[int, int, int, int], *, without: Sequence[str] = (), lengths: Sequence[int] | None = None,
    reverse: bool = False, gate: str = "sigmoid", slope: float | Sequence[float] = 1.0,
    gradient: tuple[int, ...] | None = None, order: int = 2,
) -> Case:  # fmt: skip
    """A case of steps x batch x inputs x hidden with everything the cell can take but what is named."""
    shapes = {name: shape for name, shape in _shapes(cell, *sizes).items() if name not in without}
    slopes = [float(slope)] * 3 if isinstance(slope, (int, float)) else list(slope)

    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        arrays = {name: rng.uniform(-1, 1, shape) for name, shape in shapes.items()}
        # Kinks of relu lie at 0, those of hard gates at 2 / slope: sums stay far from both.
        arrays["w"] *= 0.3 / np.sqrt(sizes[2])
        arrays["u"] *= 0.6 / np.sqrt(sizes[3])
        if "bias" in arrays and (cell == "relu" or gate == "hard"):
            far = rng.choice([-1.0, 1.0] if cell == "relu" else [-1.0, 0.0, 1.0], shapes["bias"])
            arrays["bias"] = 0.2 * arrays["bias"] + 4 * far
        return tuple(arrays.values())

    def run(*tensors: Any) -> Any:
        return recurrent(**dict(zip(shapes, tensors, strict=True)), cell=cell, lengths=lengths, gate=gate, slope=slope,
                         reverse=reverse)  # fmt: skip

    parts = [f"recurrent/{cell} {'x'.join(map(str, sizes))}", *(f"without {name}" for name in without)]
    parts += [f"lengths {list(lengths)}"] if lengths is not None else []
    parts += ["reverse"] if reverse else []
    parts += [f"{gate} {slope}"] if gate != "sigmoid" or slope != 1.0 else []
    return Case(
        ", ".join(parts), run,
        lambda *a: reference(cell, gate, slopes, lengths, reverse, dict(zip(shapes, a, strict=True))), make,
        gradient=gradient, factor=64, order=order, reason=REASON,
    )  # fmt: skip


def _cases(cell: str) -> list[Case]:
    kind = CELLS[cell]
    optional = [name for name in _shapes(cell, 1, 1, 1, 1) if name not in ("x", "w", "u")]
    # relu's bias keeps sums away from its kink.
    bare = [name for name in optional if not (cell == "relu" and name == "bias")]
    many = (3, 0, 2, 3, 1, *[(5 * b) % 4 for b in range(14)])
    cases = [
        _case(cell, (2, 2, 2, 3)),
        _case(cell, (3, 3, 2, 2), lengths=(1, 3, 0)),
        _case(cell, (3, 3, 2, 2), lengths=(2, 0, 3), reverse=True),
        _case(cell, (2, 2, 3, 2), without=bare, reverse=True),
        _case(cell, (1, 1, 1, 1)),
        _case(cell, (3, 19, 5, 37), order=1),
        _case(cell, (3, 19, 5, 37), lengths=many, reverse=True, order=1),
        _case(cell, (4, 9, 3, 64), lengths=(4, 4, 0, 1, 2, 3, 3, 2, 4), without=bare, order=1),
        _case(cell, (2, 35, 4, 20), gradient=()),
        _case(cell, (0, 3, 2, 4), gradient=()),
        _case(cell, (3, 0, 2, 4), gradient=()),
        *[_case(cell, (2, 2, 2, 3), without=(name,), order=1) for name in optional if (cell, name) != ("relu", "bias")],
    ]
    if kind.sloped:
        each = (1.3, 0.8, 0.9)[: len(kind.sloped)]
        cases += [
            _case(cell, (2, 2, 2, 3), slope=each),
            _case(cell, (2, 2, 2, 3), gate="hard", slope=each),
            _case(cell, (3, 17, 5, 33), gate="hard", reverse=True, order=1),
            *[_case(cell, (4, 17, 5, 33), gate="binary", slope=each, reverse=r, gradient=()) for r in (False, True)],
        ]
    return cases


CASES = [case for cell in CELLS for case in _cases(cell)]
