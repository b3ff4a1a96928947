"""The report of a captioner: how it learnt, what it says of pictures, beside what people said."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import deepcore
from deepcore.viz.classifier import training_facts
from deepcore.viz.report import Exhibit, Report

if TYPE_CHECKING:
    from deepcore.estimators.caption_writer import CaptionWriter

Array = NDArray[Any]

_SHOWN = 16  # pictures of the gallery
_WORST = 12
_REFERENCES = 5
_BEAMS = 3
_HIDDEN = ("samples_per_second", "clipped", "clipped_share")


def caption_report(
    model: CaptionWriter, path: str | os.PathLike[str], x: Any, y: Any, *, training: tuple[Any, Any] | None = None,
    title: str | None = None,
) -> None:  # fmt: skip
    """Write the HTML page behind `Captioner.report`."""
    images = model._images(x, fitting=False)
    given = model._references(y, len(images))
    truth = model._words(given)
    width = int(model.beam)
    searched = f"beam of {width}" if width > 1 else "greedy"
    greedy, beams = list(model._found(images, 1, None)), list(model._found(images, None, None))
    said = [model._decoded(own[0]) for own in beams]
    found = {"greedy": [model._decoded(own[0]) for own in greedy], searched: said}
    features = model.encode(images)
    nearest: Array | None = None
    if training is not None:
        others = model._images(training[0], fitting=False)
        told = model._references(training[1], len(others))
        nearest = nearest_rows(model.encode(others), features)
        found["first caption of the nearest training picture"] = [model._words([[told[j][0]]])[0][0] for j in nearest]
    measured = {name: model._measured(truth, words) for name, words in found.items()}
    best = measured[searched]
    report = Report(
        title or "Captioner",
        f"{model._encoder['preset']}, {model.cell} {model.layers} x {model.hidden}, picture injected: {model.inject}; "
        f"deepcore {deepcore.__version__} on {deepcore.isa()}",
    )
    report.cards(
        {
            "BLEU-4": round(best["bleu4"], 4), "CIDEr": round(best["cider"], 3),
            "Exact matches": f"{100 * best['exact']:.1f} %", "Vocabulary": len(model.vocabulary_),
            **training_facts(model, model.pretrain_history_), "Test pictures": len(images),
        }
    )  # fmt: skip
    if model.pretrain_history_:
        report.learning_curves([_curves(r) for r in model.pretrain_history_], "Learning the words of captions")
    if model.history_:
        report.learning_curves([_curves(r) for r in model.history_])
    report.table(
        "Scores", [[n, f"{s['bleu4']:.4f}", f"{s['cider']:.3f}", f"{100 * s['exact']:.1f} %"] for n, s in
                   measured.items()], ("captions", "BLEU-4", "CIDEr-D", "exact"),
        "BLEU-4 of the corpus without smoothing; exact: the caption equals one of the references.",
    )  # fmt: skip

    def exhibit(i: int) -> Exhibit:
        pictures = {"picture": _shown(images[i])}
        lines = [(f"greedy, log p {greedy[i][0].log_probability:.2f}", model._caption(greedy[i][0]).text)]
        if width > 1:
            lines += [(f"beam {k + 1}, log p {b.log_probability:.2f}, score {b.score:.2f}", model._caption(b).text)
                      for k, b in enumerate(beams[i][:_BEAMS])]  # fmt: skip
        lines.append(("references", "\n".join(given[i][:_REFERENCES])))
        if nearest is not None:
            pictures["nearest of training"] = _shown(others[nearest[i]])
            lines.append(("of the nearest picture of training", told[nearest[i]][0]))
        return Exhibit(pictures, lines)

    spread = np.unique(np.linspace(0, len(images) - 1, min(_SHOWN, len(images))).round().astype(np.int64))
    note = "The more negative log p, the less sure; scores are log p over the length penalty."
    if nearest is not None:
        note += " Nearest: by the features that captions are made of."
    report.gallery("Gallery", [exhibit(int(i)) for i in spread], note)
    wrong = [i for i, (words, own) in enumerate(zip(said, truth)) if words not in own]
    if wrong:
        sure = [float((logs / lengths).max()) for logs, lengths in
                model._logs(features[wrong], [truth[i] for i in wrong])]  # fmt: skip
        worst = [wrong[k] for k in np.argsort(sure, kind="stable")[:_WORST]]
        report.gallery(
            "Worst mistakes", [exhibit(i) for i in worst],
            "Of the pictures whose caption equals no reference, those whose references the net finds least probable.",
        )  # fmt: skip
    else:
        report.text("Worst mistakes", "None: each caption equals a reference.")
    report.save(path)


def nearest_rows(known: Array, asked: Array) -> NDArray[np.int64]:
    """For each row of `asked` (m, f) the row of `known` (n, f) nearest to it, by Euclidean distance: (m,)."""
    a, b = known.astype(np.float64), asked.astype(np.float64)
    found: NDArray[np.int64] = ((a * a).sum(1)[None] - 2 * b @ a.T).argmin(1)
    return found


def _shown(image: Array) -> NDArray[np.uint8]:
    """Floats are stretched to the range of bytes; of other than one or three channels the mean is shown."""
    values = image if image.shape[2] in (1, 3) else image.mean(2, keepdims=True)
    if values.dtype == np.uint8:
        return values
    low, high = float(values.min()), float(values.max())
    scaled = (values.astype(np.float64) - low) / (high - low if high > low else 1.0)
    stretched: NDArray[np.uint8] = (255 * scaled).round().astype(np.uint8)
    return stretched


def _curves(record: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k not in _HIDDEN}


__all__ = ["caption_report", "nearest_rows"]
