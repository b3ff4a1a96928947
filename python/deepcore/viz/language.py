"""The report of a language model: how it learnt, what it writes, what surprises it, how long its gates remember."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

import deepcore
from deepcore import explain
from deepcore.autograd import no_grad
from deepcore.ops.rnn import CELLS
from deepcore.tensor import tensor
from deepcore.viz.classifier import training_facts
from deepcore.viz.curves import histogram
from deepcore.viz.recurrent import gate_histograms, memory, memory_lengths, saturation
from deepcore.viz.report import Report

if TYPE_CHECKING:
    from deepcore.estimators.language import LanguageModel

_WRITTEN = {"char": 400, "word": 90, "space": 90}  # tokens of a sample
_COLOURED = {"char": 900, "word": 180, "space": 180}
_WATCHED = 2000  # tokens whose gates are looked at
_SURPRISE = 6.0  # nats of full colour
_TEMPERATURES = (0.5, 0.8, 1.0)


def language_report(
    model: LanguageModel, path: str | os.PathLike[str], text: Any, *, title: str | None = None
) -> None:  # fmt: skip
    """Write the HTML page behind `LanguageModel.report`."""
    tokens = model.tokens(text)
    logs = model.log_probs(text)
    size = len(model.vocabulary_)
    unit = "character" if model.level == "char" else "word"
    report = Report(
        title or "Language model",
        f"{model.cell} {model.layers} x {model.hidden}, {size:,} {unit}s; deepcore {deepcore.__version__} on "
        f"{deepcore.isa()}",
    )
    cards: dict[str, Any] = {"Perplexity": float(np.exp(-logs.mean())), f"Nats per {unit}": float(-logs.mean())}
    if model.level == "char":
        cards["Bits per character"] = float(-logs.mean() / np.log(2))
    report.cards(
        {
            **cards, **training_facts(model), f"Test {unit}s": len(tokens),
        }
    )  # fmt: skip
    if model.history_:
        hidden = ("samples_per_second", "clipped", "clipped_share")
        report.learning_curves([{k: v for k, v in r.items() if k not in hidden} for r in model.history_])
    n = _WRITTEN[model.level]
    written = {f"temperature {t:g}": model.generate(n, temperature=t, seed=1).strip() for t in _TEMPERATURES}
    written["temperature 1, the most probable tokens of 0.9 together"] = model.generate(n, top_p=0.9, seed=1).strip()
    report.texts("Written by the model", written,
                 "Drawn one token after the other: the colder, the safer.")  # fmt: skip
    n = _COLOURED[model.level]
    shown = [_shown(t, model.level) for t in tokens[1 : n + 1]]
    report.coloured_text(
        "What surprises it", shown, np.maximum(-logs[:n], 0), most=_SURPRISE,
        note=f"Test text; the stronger the colour, the less probable the {unit} was, up to {_SURPRISE:g} nats.",
    )  # fmt: skip
    surprise = histogram(-logs, x=f"nats per {unit}")
    gates = _gates(model, tokens) if CELLS[model.cell].sloped else []
    if gates:
        report.figure(
            "Gates", gate_histograms(gates), f"Over the first {min(len(tokens), _WATCHED):,} tokens of the test text."
        )
        report.figure("Saturation of gates", saturation(gates),
                      "A point is a unit: how often its gate is open (> 0.9) and how often shut (< 0.1).")  # fmt: skip
    report.figure("Surprise", surprise, "-log p of every token of the test text.")
    if gates:
        mean = memory_lengths(gates, model.cell).mean()
        report.figure("Memory", memory(gates, model.cell),
                      "The mean of 1 / (1 - f) over tokens, f what a step keeps of a unit's value; over all units "
                      f"{mean:.3g} steps.")  # fmt: skip
    report.save(path)


def _shown(token: str, level: str) -> str:
    from deepcore.data.text import EOS

    if token == EOS:
        return "⏎\n"
    return token if level == "char" else token + " "


def _gates(model: LanguageModel, tokens: list[str]) -> list[dict[str, Any]]:
    net = model.model_
    net.eval()
    ids = model.vocabulary_.encode(tokens[:_WATCHED]).reshape(-1, 1)
    with no_grad():
        return explain.gate_values(net.recurrent, net.embedding(tensor(ids).to(net.device)))


__all__ = ["language_report"]
