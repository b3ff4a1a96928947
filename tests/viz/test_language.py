"""Gates of recurrent layers, their figures, and the report of language models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import explain, nn, viz
from deepcore.errors import ArgumentError, DataError
from deepcore.estimators import LanguageModel
from deepcore.viz import Report

pytest.importorskip("matplotlib")

CELLS: dict[str, dict[str, Any]] = {
    "lstm": {}, "peephole": {"cell": "lstm", "peephole": True}, "coupled": {}, "gru": {}, "gru_before": {}, "mgu": {},
    "steep": {"cell": "lstm", "slope": (2.0, 3.0, 0.5)}, "hard": {"cell": "gru", "gate": "hard"},
    "binary": {"cell": "mgu", "gate": "binary"}, "learned": {"cell": "lstm", "slope": "learned"},
    "both": {"cell": "lstm", "bidirectional": True}, "refined": {"cell": "coupled", "refine": True},
    "zoneout": {"cell": "gru", "zoneout": 0.25},
}  # fmt: skip


def layer(name: str) -> nn.Recurrent:
    options = {"cell": name, **CELLS[name]}
    made = nn.Recurrent(3, 5, layers=2, seed=0, **options)
    for n, p in made.named_parameters():  # peepholes start at 0, where they would hide
        if n.endswith(("peephole", "slope")):
            dc.ops.inplace.copy_into(np.random.default_rng(1).uniform(0.5, 2, p.shape), p)
    made.eval()
    return made


@pytest.mark.parametrize("name", CELLS)
def test_gates_make_the_states(name: str) -> None:
    """The states follow from the gates by the equations of the cell, layer by layer."""
    made, kind = layer(name), layer(name).cell
    x = np.random.default_rng(0).standard_normal((2, 6, 3)).astype(np.float32)
    gates = explain.gate_values(made, dc.tensor(x))
    _, last = made(dc.tensor(x))
    assert len(gates) == 2 * made.directions
    assert all(v.shape == (6, 2, 5) and ((v >= 0) & (v <= 1)).all() for g in gates for v in g.values())
    if made.directions == 2:  # the reverse direction reads the last step first
        w = {n: p.numpy() for n, p in made.named_parameters()}
        np.testing.assert_allclose(
            gates[1]["f"][-1], 1 / (1 + np.exp(-(x[:, -1] @ w["layer0_reverse.weight"][5:10].T
                                                  + w["layer0_reverse.bias"][5:10]))), rtol=1e-5)  # fmt: skip
        return
    part, g = made._parts[0][0], gates[0]
    w, u, b = (p.numpy().astype(np.float64) for p in (part.weight, part.recurrent_weight, part.bias))
    rows = {n: slice(5 * i, 5 * i + 5) for i, n in enumerate(part.cell.gates)}
    h, c = np.zeros((2, 5)), np.zeros((2, 5))

    def z(gate: str, t: int, state: np.ndarray) -> np.ndarray:
        return np.asarray(x[:, t] @ w[rows[gate]].T + b[rows[gate]] + state @ u[rows[gate]].T)

    for t in range(6):
        old = h
        if kind in ("lstm", "coupled", "refined"):
            c = g["f"][t] * c + (g["i"][t] if kind == "lstm" else 1 - g["f"][t]) * np.tanh(z("g", t, h))
            h = g["o"][t] * np.tanh(c)
        elif kind == "mgu":
            h = (1 - g["f"][t]) * h + g["f"][t] * np.tanh(z("n", t, g["f"][t] * h))
        elif kind == "gru_before":
            h = (1 - g["z"][t]) * np.tanh(z("n", t, g["r"][t] * h)) + g["z"][t] * h
        else:
            inner = h @ u[rows["n"]].T + part.bias_h.numpy()
            n = np.tanh(x[:, t] @ w[rows["n"]].T + b[rows["n"]] + g["r"][t] * inner)
            h = (1 - g["z"][t]) * n + g["z"][t] * h
        h = made.zoneout[0] * old + (1 - made.zoneout[0]) * h
    np.testing.assert_allclose(last.h.numpy()[0], h, rtol=1e-4, atol=1e-5)


def test_gates_go_on_from_a_state() -> None:
    made, x = layer("peephole"), np.random.default_rng(0).standard_normal((2, 6, 3)).astype(np.float32)
    whole = explain.gate_values(made, dc.tensor(x))
    _, state = made(dc.tensor(x[:, :4].copy()))
    rest = explain.gate_values(made, dc.tensor(x[:, 4:].copy()), state)
    for a, b in zip(whole, rest, strict=True):
        for name in a:
            np.testing.assert_allclose(a[name][4:], b[name], rtol=1e-5)
    with pytest.raises(ArgumentError, match="expected a cell with gates, got 'tanh'"):
        explain.gate_values(nn.SimpleRNN(3, 4, seed=0), dc.tensor(x))


def test_memory_lengths() -> None:
    keeps = np.full((7, 1, 3), 0.5) * [1.0, 1.8, 2.0]
    np.testing.assert_allclose(viz.memory_lengths([{"f": keeps}]), [[2, 10, 1e4]])
    np.testing.assert_allclose(viz.memory_lengths([{"r": keeps, "z": keeps}], "gru"), [[2, 10, 1e4]])
    np.testing.assert_allclose(viz.memory_lengths([{"f": 1 - keeps}], "mgu"), [[2, 10, 1e4]])
    with pytest.raises(DataError, match="forget or update gate"):
        viz.memory_lengths([{"o": keeps}])


def test_figures_of_gates() -> None:
    gates = explain.gate_values(layer("lstm"), dc.tensor(np.ones((2, 6, 3), np.float32)))
    assert len(viz.gate_histograms(gates).axes) == 6 and len(viz.saturation(gates).axes) == 3
    assert len(viz.memory(gates).axes[0].lines) == 2
    for wrong in ([], [{}], [{"f": np.ones(3)}], [{"f": np.full((2, 3), 1.5)}], [{"f": np.full((2, 3), np.nan)}]):
        for draw in (viz.gate_histograms, viz.saturation, viz.memory):
            with pytest.raises(DataError, match="expected"):
                draw(wrong)


@pytest.mark.parametrize(("options", "sections"), [
    ({"level": "char"}, ["Bits per character", "Gates", "Saturation of gates", "Memory"]),
    ({"level": "word", "cell": "mgu", "cutoffs": (4,)}, ["Nats per word", "Memory"]),
    ({"level": "char", "cell": "tanh"}, ["Surprise"]),
])  # fmt: skip
def test_report(options: dict[str, Any], sections: list[str], tmp_path: Path) -> None:
    text = ["<b>a dog</b> & a cat"] * 60
    model = LanguageModel(**{"hidden": 8, "epochs": 2, "window": 16, "batch_size": 4, "random_state": 0, **options})
    model.fit(text).report(tmp_path / "r.html", text[:9], title="Dogs & cats")
    page = (tmp_path / "r.html").read_text()
    for title in ("<h1>Dogs &amp; cats</h1>", "Learning curves", "Written by the model", "temperature 0.8",
                  "What surprises it", "⏎", *sections):  # fmt: skip
        assert title in page, title
    assert "<b>a dog" not in page and "http:" not in page.replace("http://www.w3.org", "")
    assert ("Memory" in page) == (model.cell != "tanh")


def test_coloured_text_is_escaped_and_checked() -> None:
    page = Report("t").coloured_text("c", ["<", "a\n"], [0.0, 3.0], most=2.0).html()
    assert '<span title="0.00" style="--heat:0.00">&lt;</span><span title="3.00" style="--heat:1.00">a\n</span>' in page
    for values in ([1.0], [1.0, -1.0], [1.0, np.inf]):
        with pytest.raises(ArgumentError, match="one for each token"):
            Report("t").coloured_text("c", ["a", "b"], values)
