"""Cases of recurrent layers, against loops over sequences and steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from deepcore.ops.rnn import CELLS, Norms, recurrent
from deepcore.tensor import Tensor, tensor
from deepcore.testing.case import Case

GAINS = ("gain_x", "shift_x", "gain_h", "shift_h", "gain_c", "shift_c")
NAMES = ("x", "w", "u", "bias", "bias_h", "peephole", "projection", *GAINS, "h0", "c0")
REASON = "errors of a step's sums and functions travel through the steps that follow"


def gate_value(kind: str, slope: float, z: Any) -> Any:
    """One of the three kinds of gate."""
    if kind == "sigmoid":
        return 1 / (1 + np.exp(-slope * z))
    return np.clip(slope * z / 4 + 0.5, 0, 1) if kind == "hard" else (z > 0).astype(float)


def normal(v: Any, gain: Any, shift: Any) -> Any:
    """Layer norm of one vector."""
    return gain * (v - v.mean()) / np.sqrt(v.var() + 1e-5) + shift


class Around(NamedTuple):
    """What stands around the cell: the size of a projection, norms, dropout of h, zoneout (shares, or drawn)."""

    projection: int | None = None
    norm: bool = False
    mask: bool = False
    zoneout: tuple[float, float] | str = (0.0, 0.0)

    def draws(self, cell: str, steps: int, batch: int, hidden: int) -> tuple[Any, tuple[Any, Any]]:
        """The mask of h, if any, and what zoneout is given as."""
        rng, size = np.random.default_rng(5), self.projection or hidden
        mask = rng.integers(0, 2, (batch, size)) * 1.5 if self.mask else None
        if mask is not None:
            mask[:, :1] = 1.5  # the norm of nothing is too steep for finite differences
        if not isinstance(self.zoneout, str):
            return mask, self.zoneout
        of_h = rng.integers(0, 2, (steps, batch, size)) * 1.25
        return mask, (of_h, rng.integers(0, 3, (steps, batch, hidden)) * 1.0 if CELLS[cell].has_c else 0.0)


ALONE = Around()


def one_step(
    cell: str, gate: str, slopes: Sequence[float], x: Any, h: Any, c: Any, p: dict[str, Any], mask: Any
) -> Any:  # fmt: skip
    """The next h and c of one sequence, before zoneout."""
    names = CELLS[cell].gates
    hidden = len(p["w"]) // len(names)
    at = {g: slice(i * hidden, (i + 1) * hidden) for i, g in enumerate(names)}
    fed = h if mask is None else h * mask
    outer, all_inner = p["w"] @ x, p["u"] @ fed
    if "gain_h" in p:
        outer = normal(outer, p["gain_x"], p["shift_x"])
        all_inner = normal(all_inner, p["gain_h"], p["shift_h"])
    inner = {g: all_inner[at[g]] for g in names}
    z = {g: outer[at[g]] + p.get("bias", np.zeros(hidden * len(names)))[at[g]] for g in names}

    def opened(name: str, total: Any) -> Any:
        return gate_value(gate, slopes[CELLS[cell].sloped.index(name)], total)

    def seen(name: str, state: Any) -> Any:
        return p["peephole"][CELLS[cell].peepholes.index(name)] * state if "peephole" in p else 0.0

    if cell in ("tanh", "relu"):
        total = z["h"] + inner["h"]
        return (np.tanh(total) if cell == "tanh" else np.maximum(total, 0)), c
    if CELLS[cell].has_c:
        f = opened("f", z["f"] + inner["f"] + seen("f", c))
        if cell == "refined":  # between f^2 and 1 - (1 - f)^2
            r = gate_value("sigmoid", 1.0, z["r"] + inner["r"])
            f = (1 - r) * f**2 + r * (1 - (1 - f) ** 2)
        i = opened("i", z["i"] + inner["i"] + seen("i", c)) if cell == "lstm" else 1 - f
        new = f * c + i * np.tanh(z["g"] + inner["g"])
        shown = normal(new, p["gain_c"], p["shift_c"]) if "gain_c" in p else new
        out = opened("o", z["o"] + inner["o"] + seen("o", new)) * np.tanh(shown)
        return (p["projection"] @ out if "projection" in p else out), new
    if cell == "mgu":
        f = opened("f", z["f"] + inner["f"])
        return (1 - f) * h + f * np.tanh(z["n"] + p["u"][at["n"]] @ (f * fed)), c
    r, update = opened("r", z["r"] + inner["r"]), opened("z", z["z"] + inner["z"])
    if cell == "gru":
        n = np.tanh(z["n"] + r * (inner["n"] + p.get("bias_h", 0.0)))
    else:
        n = np.tanh(z["n"] + p["u"][at["n"]] @ (r * fed))
    return (1 - update) * n + update * h, c


def zoned(zoneout: Any, at: tuple[int, int], old: Any, new: Any) -> Any:
    """Shares of the old value and the new, or the old one where the draw is 0."""
    if isinstance(zoneout, float):
        return zoneout * old + (1 - zoneout) * new
    return np.where(zoneout[at] == 0, old, new)


def reference(
    cell: str, gate: str, slopes: Sequence[float], lengths: Sequence[int] | None, reverse: bool, around: Around,
    p: dict[str, Any],
) -> tuple[Any, ...]:  # fmt: skip
    """Outputs, last h and, for cells with one, last c."""
    steps, batch, _ = p["x"].shape
    hidden, size = len(p["w"]) // len(CELLS[cell].gates), p["u"].shape[1]
    mask, (zone_h, zone_c) = around.draws(cell, steps, batch, hidden)
    y, h, c = (np.zeros(shape) for shape in ((steps, batch, size), (batch, size), (batch, hidden)))
    for b in range(batch):
        h_now, c_now = p["h0"][b] if "h0" in p else h[b], p["c0"][b] if "c0" in p else c[b]
        inside = range(steps if lengths is None else lengths[b])
        for t in reversed(inside) if reverse else inside:
            own = None if mask is None else mask[b]
            new_h, new_c = one_step(cell, gate, slopes, p["x"][t, b], h_now, c_now, p, own)
            h_now, c_now = zoned(zone_h, (t, b), h_now, new_h), zoned(zone_c, (t, b), c_now, new_c)
            y[t, b] = h_now
        h[b], c[b] = h_now, c_now
    return (y, h, c) if CELLS[cell].has_c else (y, h)


def _shapes(
    cell: str, steps: int, batch: int, inputs: int, hidden: int, around: Around
) -> dict[str, tuple[int, ...]]:  # fmt: skip
    """What the cell can take, with its shapes."""
    gates, holes, size = len(CELLS[cell].gates), len(CELLS[cell].peepholes), around.projection or hidden
    shapes: dict[str, tuple[int, ...]] = {
        "x": (steps, batch, inputs), "w": (gates * hidden, inputs), "u": (gates * hidden, size),
        "bias": (gates * hidden,), "h0": (batch, size),
    }  # fmt: skip
    if around.projection:
        shapes["projection"] = (size, hidden)
    if around.norm:
        shapes |= {name: (gates * hidden,) for name in GAINS[:4]}
        shapes |= {name: (hidden,) for name in GAINS[4:] if CELLS[cell].has_c}
    if cell == "gru":
        shapes["bias_h"] = (hidden,)
    if CELLS[cell].has_c:
        shapes |= {"c0": (batch, hidden)} | ({} if around.norm else {"peephole": (holes, hidden)})
    return {name: shapes[name] for name in NAMES if name in shapes}


def _case(
    cell: str, sizes: tuple[int, int, int, int], *, without: Sequence[str] = (), lengths: Sequence[int] | None = None,
    reverse: bool = False, gate: str = "sigmoid", slope: float | Sequence[float] = 1.0,
    around: Around = ALONE, gradient: tuple[int, ...] | None = None, order: int = 2,
) -> Case:  # fmt: skip
    """A case of steps x batch x inputs x hidden with everything the cell can take but what is named."""
    shapes = {name: shape for name, shape in _shapes(cell, *sizes, around).items() if name not in without}
    slopes = [float(slope)] * 3 if isinstance(slope, (int, float)) else list(slope)

    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        arrays = {name: rng.uniform(-1, 1, shape) for name, shape in shapes.items()}
        # Kinks of relu lie at 0, those of hard gates at 2 / slope: sums stay far from both.
        arrays["w"] *= 0.3 / np.sqrt(sizes[2])
        arrays["u"] *= 0.6 / np.sqrt(shapes["u"][1])
        if "bias" in arrays and (cell == "relu" or gate == "hard"):
            far = rng.choice([-1.0, 1.0] if cell == "relu" else [-1.0, 0.0, 1.0], shapes["bias"])
            arrays["bias"] = 0.2 * arrays["bias"] + 4 * far
        if around.norm:  # sums with deviations of about 1, which become those of the gains
            arrays |= {"w": 10 * arrays["w"], "u": 5 * arrays["u"]}
            arrays |= {name: 0.2 * arrays[name] for name in ("gain_x", "gain_h", "gain_c") if name in arrays}
            off_zero = [name for name in ("x", "h0", "c0") if name in arrays]
            arrays |= {name: arrays[name] + 0.7 * np.sign(arrays[name]) for name in off_zero}
        return tuple(arrays.values())

    def run(*tensors: Any) -> Any:
        given: dict[str, Any] = dict(zip(shapes, tensors, strict=True))
        x: Tensor = given["x"]

        def like_x(a: Any) -> Any:
            return tensor(a.astype(str(x.dtype))).to(x.device) if isinstance(a, np.ndarray) else a

        mask, zoneout = around.draws(cell, sizes[0], sizes[1], sizes[3])
        gains = [given.pop(name, None) for name in GAINS]
        if around.norm:
            of_c = (gains[4], gains[5]) if CELLS[cell].has_c else None
            given["norms"] = Norms((gains[0], gains[1]), (gains[2], gains[3]), of_c)
        return recurrent(**given, cell=cell, lengths=lengths, gate=gate, slope=slope, reverse=reverse,
                         h_mask=like_x(mask), zoneout=(like_x(zoneout[0]), like_x(zoneout[1])))  # fmt: skip

    parts = [f"recurrent/{cell} {'x'.join(map(str, sizes))}", *(f"without {name}" for name in without)]
    parts += [f"lengths {list(lengths)}"] if lengths is not None else []
    parts += ["reverse"] if reverse else []
    parts += [f"{gate} {slope}"] if gate != "sigmoid" or slope != 1.0 else []
    parts += [f"{name} {value}" for name, value in around._asdict().items() if value != getattr(ALONE, name)]
    return Case(
        ", ".join(parts), run,
        lambda *a: reference(cell, gate, slopes, lengths, reverse, around, dict(zip(shapes, a, strict=True))), make,
        gradient=gradient, factor=64, order=order, reason=REASON,
    )  # fmt: skip


def _cases(cell: str) -> list[Case]:
    kind = CELLS[cell]
    optional = [name for name in _shapes(cell, 1, 1, 1, 1, ALONE) if name not in ("x", "w", "u")]
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
    return cases + _cases_around(cell)


def _cases_around(cell: str) -> list[Case]:
    some, many = (2, 0, 3), (3, 0, 2, 3, 1, *[(5 * b) % 4 for b in range(14)])
    kind = CELLS[cell]
    shares = (0.3, 0.2) if kind.has_c else (0.3, 0.0)
    kinds = [Around(zoneout=shares), Around(mask=True, zoneout="drawn")]
    if kind.has_c:
        kinds.append(Around(3, False, True, "drawn"))
    if cell not in ("gru_before", "mgu"):
        kinds.append(Around(None, True, True, "drawn"))
    if kind.has_c:
        kinds.append(Around(3, True, True, "drawn"))
    if cell == "lstm":  # each alone
        kinds += [Around(mask=True), Around(zoneout="drawn"), Around(2), Around(None, True)]
        kinds.append(Around(2, True, False, shares))
    cases = []
    for around in kinds:
        wide = around._replace(projection=21) if around.projection else around
        # From a state of 0 norms are too steep for finite differences.
        less = ["bias_h"] if cell == "gru" else ["c0"] if kind.has_c else [] if around.norm else ["h0"]
        cases += [
            _case(cell, (3, 3, 2, 7), around=around),
            _case(cell, (3, 3, 2, 7), around=around, lengths=some, reverse=True, without=less),
            _case(cell, (3, 19, 5, 37), around=wide, lengths=many, order=1),
        ]
        if cell in ("lstm", "gru"):
            cases += [
                _case(cell, (3, 1, 5, 37), around=wide, reverse=True, gradient=()),
                _case(cell, (2, 35, 4, 64), around=wide, gradient=()),
            ]
    return cases


CASES = [case for cell in CELLS for case in _cases(cell)]
