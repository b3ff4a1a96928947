"""Sequence to sequence: maps of attention, exact matches by length, and the report."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import deepcore
from deepcore.errors import DataError, ShapeError
from deepcore.sequence_metrics import bleu
from deepcore.viz.report import Report
from deepcore.viz.style import INK, MUTED, PALETTE, SMALL, new_figure, sequential, style_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from deepcore.estimators.seq2seq import Seq2Seq

_MAPS = 6
_MISTAKES = 12
_BEAMS = 4  # sources whose beams are shown
_WIDTH = 5  # of these beams
_BARS = 12  # groups of lengths at most
_CELL = 0.2  # inches of a token in a map
_MANY = 40  # tokens beyond which a map is left out
_HIDDEN = ("samples_per_second", "clipped", "clipped_share", "grad_norm")
_END = "⏎"


def attention_maps(
    weights: Sequence[npt.ArrayLike], sources: Sequence[Sequence[str]], targets: Sequence[Sequence[str]],
    columns: int = 3,
) -> Figure:  # fmt: skip
    """Where each step of a decoder looks: a map for each pair, its source from left to right, its target downwards.

    Args:
        weights: for each pair (t, s), each row a distribution.
        sources: their tokens, s of each.
        targets: theirs, t of each.
        columns: maps side by side.

    Raises:
        DataError: no pair, or weights that are no distributions.
        ShapeError: weights do not fit the tokens.
    """
    arrays = [np.asarray(w, np.float64) for w in weights]
    if not arrays or len(arrays) != len(sources) or len(arrays) != len(targets):
        raise DataError(
            f"attention_maps: expected weights for each pair, got {len(arrays)} for {len(sources)} sources and "
            f"{len(targets)} targets"
        )
    for i, (array, source, target) in enumerate(zip(arrays, sources, targets)):
        if array.shape != (len(target), len(source)):
            raise ShapeError(
                f"attention_maps: expected weights ({len(target)}, {len(source)}), got {array.shape} at {i}"
            )
        if not ((array >= 0).all() and np.allclose(array.sum(1), 1, atol=1e-3)):
            raise DataError(f"attention_maps: expected rows that sum to 1, got others at {i}")
    columns = min(columns, len(arrays))
    rows = math.ceil(len(arrays) / columns)
    # One size of cells for all maps: columns and rows are as large as the largest map in them.
    across = [max(len(s) for s in sources[k::columns]) for k in range(columns)]
    down = [max(len(t) for t in targets[k * columns : (k + 1) * columns]) for k in range(rows)]
    figure = new_figure(sum(across) * _CELL + 0.5 * columns, sum(down) * _CELL + 0.5 * rows)
    grid = figure.add_gridspec(rows, columns, width_ratios=across, height_ratios=down)
    for i, (array, source, target) in enumerate(zip(arrays, sources, targets)):
        row, column = divmod(i, columns)
        axes = figure.add_subplot(grid[row, column])
        axes.imshow(array, cmap=sequential(), vmin=0, vmax=1, aspect="equal", interpolation="nearest")
        long = max(map(len, source)) > 1
        axes.set_xticks(range(len(source)), source, rotation=90 if long else 0, fontsize=SMALL, color=INK)
        axes.set_yticks(range(len(target)), target, fontsize=SMALL, color=INK)
        axes.tick_params(length=0, pad=3)
        axes.xaxis.tick_top()
        for side in axes.spines.values():
            side.set_visible(False)
        axes.set_xlim(-0.5, across[column] - 0.5)
        axes.set_ylim(down[row] - 0.5, -0.5)
        axes.set_facecolor("none")
    return figure


def matches_by_length(
    lengths: npt.ArrayLike, exact: npt.ArrayLike | Mapping[str, npt.ArrayLike], x: str = "tokens of the source"
) -> Figure:  # fmt: skip
    """Shares of exact matches by length, with the number of pairs above; lengths near each other may share a bar.

    lengths: (n,). exact: (n,), or those of several models by name, whose bars stand side by side. ShapeError for other
    shapes.
    """
    n = np.asarray(lengths, np.int64)
    named = {name: np.asarray(values, np.bool_) for name, values in exact.items()} if isinstance(exact, Mapping) else {}
    named = named or {"": np.asarray(exact, np.bool_)}
    for right in named.values():
        if n.ndim != 1 or n.shape != right.shape or not len(n):
            raise ShapeError(f"matches_by_length: expected lengths and matches (n,), got {n.shape} and {right.shape}")
    low, high = int(n.min()), int(n.max())
    width = math.ceil((high - low + 1) / _BARS)
    group = (n - low) // width
    count = np.bincount(group)
    figure = new_figure(6.0, 3.2)
    axes = figure.add_subplot()
    style_axes(axes, "", x, "exact matches")
    shown = np.flatnonzero(count)
    wide, top = 0.75 / len(named), np.zeros(len(count))
    for k, (name, right) in enumerate(named.items()):
        share = 100 * np.bincount(group, right) / np.maximum(count, 1)
        axes.bar(shown + wide * (k - (len(named) - 1) / 2), share[shown], color=PALETTE[k % len(PALETTE)], width=wide,
                 label=name)  # fmt: skip
        top = np.maximum(top, share)
    for i in shown:
        axes.annotate(f"{count[i]:,}", (i, top[i]), xytext=(0, 3), textcoords="offset points", ha="center",
                      fontsize=SMALL, color=MUTED)  # fmt: skip
    starts = low + shown * width
    ends = np.minimum(starts + width - 1, high)
    names = [f"{a}" if a == b else f"{a}–{b}" for a, b in zip(starts, ends)]
    axes.set_xticks(shown, names)
    axes.set_ylim(0, 112)
    axes.set_yticks(range(0, 101, 25))
    axes.yaxis.set_major_formatter("{x:.0f} %")
    axes.grid(False, axis="x")
    if len(named) > 1:
        axes.legend(frameon=False, fontsize=SMALL, labelcolor=INK, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
    return figure


def seq2seq_report(
    model: Seq2Seq, path: str | os.PathLike[str], x: Any, y: Any, *, title: str | None = None
) -> None:  # fmt: skip
    """Write the HTML page behind `Seq2Seq.report`."""
    sources, truth, _ = model._pairs(x, y)
    said = model._predicted_tokens(sources)
    exact = np.array([a == b for a, b in zip(said, truth)])
    logs = model.log_probability(sources, truth)
    steps = sum(len(t) + 1 for t in truth)
    scores = bleu([[t] for t in truth], said)
    seconds = sum(r.get("seconds", 0.0) for r in model.history_)
    attention = f"{model.attention} attention" if model.attention else "no attention"
    report = Report(
        title or "Sequence to sequence",
        f"{model.cell} {model.layers} x {model.hidden}, {attention}, "
        f"{'greedy search' if model.beam == 1 else f'beam of {model.beam}'}; deepcore {deepcore.__version__} on "
        f"{deepcore.isa()}",
    )  # fmt: skip
    report.cards(
        {
            "Exact matches": f"{100 * exact.mean():.2f} %", "BLEU-4": f"{scores.bleu4:.4f}",
            "Nats per token": float(-logs.sum() / steps),
            "Vocabularies": f"{len(model.source_vocabulary_)}, {len(model.target_vocabulary_)}",
            "Parameters": sum(q.size for q in model.model_.parameters()), "Epochs": len(model.history_),
            "Training time": f"{seconds:.1f} s", "Test pairs": len(sources),
        }
    )  # fmt: skip
    if model.history_:
        report.learning_curves([{k: v for k, v in r.items() if k not in _HIDDEN} for r in model.history_])
    report.figure("Exact matches by length", matches_by_length([len(s) for s in sources], exact),
                  "Above each bar the number of pairs.")  # fmt: skip
    if model.attention:
        _maps(report, model, sources, said, exact)
    _mistakes(report, model, sources, truth, said, exact, logs)
    _beams(report, model, sources, truth, exact)
    report.save(path)


def _maps(
    report: Report, model: Seq2Seq, sources: list[list[str]], said: list[list[str]], exact: npt.NDArray[np.bool_]
) -> None:  # fmt: skip
    """Maps of predictions, right ones and wrong ones, of different lengths."""
    fits = np.array([len(s) <= _MANY and 0 < len(t) <= _MANY for s, t in zip(sources, said)])
    order = np.argsort([len(s) for s in sources], kind="stable")
    chosen: list[int] = []
    for right in (True, False):  # a row of the figure each, if there are enough
        found = [int(i) for i in order if fits[i] and exact[i] == right]
        places = np.linspace(0, max(len(found) - 1, 0), min(_MAPS // 2, len(found))).astype(int).tolist()
        chosen += [found[i] for i in dict.fromkeys(places)]
    if not chosen:
        report.text("Attention", f"No pair of at most {_MANY} tokens each.")
        return
    weights = model.attention_weights([sources[i] for i in chosen], [said[i] for i in chosen])
    shown = [[_visible(t) for t in sources[i]] for i in chosen]
    written = [[*map(_visible, said[i]), _END] for i in chosen]
    marks = sum(not exact[i] for i in chosen)
    note = (
        "Each row is a step of the decoder, which writes the token at the left, and its colours are the weights of the "
        f"source's tokens, 0 (pale) to 1 (dark). {_END} is the end."
    )
    if marks:
        note += f" The last {marks} predictions are wrong." if marks > 1 else " The last prediction is wrong."
    report.figure("Attention", attention_maps(weights, shown, written), note)


def _mistakes(
    report: Report, model: Seq2Seq, sources: list[list[str]], truth: list[list[str]], said: list[list[str]],
    exact: npt.NDArray[np.bool_], logs: npt.NDArray[np.float64],
) -> None:  # fmt: skip
    wrong = np.flatnonzero(~exact)
    if not len(wrong):
        report.text("Worst mistakes", "None.")
        return
    worst = wrong[np.argsort(logs[wrong], kind="stable")][:_MISTAKES]
    rows = [
        [_joined(sources[i]), _joined(truth[i]), _joined(said[i]), f"{logs[i]:.2f}"] for i in worst
    ]  # fmt: skip
    report.table(
        "Worst mistakes", rows, ("source", "target", "prediction", "log p of the target"),
        f"{len(wrong):,} of {len(exact):,} predictions are wrong; those whose target is least probable come first.",
    )  # fmt: skip


def _beams(
    report: Report, model: Seq2Seq, sources: list[list[str]], truth: list[list[str]], exact: npt.NDArray[np.bool_]
) -> None:  # fmt: skip
    wrong, right = np.flatnonzero(~exact).tolist(), np.flatnonzero(exact).tolist()
    chosen = [*wrong[: _BEAMS // 2], *right][:_BEAMS] if right else wrong[:_BEAMS]
    beam = min(_WIDTH, len(model.target_vocabulary_))
    rows = []
    for i, found in zip(chosen, model._search([sources[i] for i in chosen], beam, model.length_penalty)):
        for rank, candidate in enumerate(found):
            tokens = model.target_vocabulary_.decode(list(candidate.tokens))
            rows.append(
                [_joined(sources[i]) if rank == 0 else "", _joined(tokens) + ("" if candidate.finished else " …"),
                 "✓" if tokens == truth[i] else "", f"{candidate.score:.3f}", f"{candidate.log_probability:.3f}"]
            )  # fmt: skip
    report.table(
        "Beams", rows, ("source", "output", "", "score", "log p"),
        f"The outputs of a beam of {beam}, best first; the score is log p over the length penalty "
        f"({model.length_penalty}). … marks outputs cut off, ✓ the target.",
    )  # fmt: skip


def _joined(tokens: Sequence[str]) -> str:
    return ("" if all(len(t) == 1 for t in tokens) else " ").join(tokens)


def _visible(token: str) -> str:
    return {" ": "␣", "\n": "⏎", "\t": "⇥"}.get(token, token)


__all__ = ["attention_maps", "matches_by_length", "seq2seq_report"]
