"""The report of a face swap: how it learnt, what it makes of faces, where their codes lie."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import deepcore
from deepcore.viz.autoencoder import code_map, picture_rows
from deepcore.viz.report import Report

if TYPE_CHECKING:
    from deepcore.estimators.faceswap import FaceSwap

Array = NDArray[Any]

_SHOWN = 4  # faces of each person
_FILTERS = 64


def faceswap_report(
    model: FaceSwap, path: str | os.PathLike[str], X: Any, y: Any, *, title: str | None = None
) -> None:  # fmt: skip
    """Write the HTML page behind `FaceSwap.report`."""
    faces, labels = np.asarray(X), np.asarray(y)
    people = model.classes_.tolist()
    seconds = sum(r.get("seconds", 0.0) for r in (*model.pretrain_history_, *model.history_))
    report = Report(
        title or "Face swap",
        f"faces of {' x '.join(map(str, model.image_shape_))}, {len(people)} people; deepcore {deepcore.__version__} "
        f"on {deepcore.isa()}",
    )
    report.cards(
        {
            "Similarity of reconstructions": round(model.score(faces, labels), 3), "Code size": model.code,
            "Parameters": sum(q.size for q in model.model_.parameters()), "Steps": model.n_iter_,
            "Training time": f"{seconds:.1f} s", "Test faces": len(faces),
        }
    )  # fmt: skip
    for layer in sorted({r["layer"] for r in model.pretrain_history_}):
        own = [r for r in model.pretrain_history_ if r["layer"] == layer]
        report.learning_curves([_curves(r) for r in own], f"Machine {layer + 1} of the stack")
    report.learning_curves([_curves(r) for r in model.history_])
    picked = np.concatenate([np.flatnonzero(labels == p)[:_SHOWN] for p in people])
    shown, whose = faces[picked], labels[picked]
    rows: dict[str, Array] = {"source": shown, "reconstruction": model.reconstruct(shown, whose)}
    for person in people:
        swapped = np.empty_like(shown)
        for source in np.unique(whose):
            swapped[whose == source] = model.swap(shown[whose == source], person, source=source)
        rows[f"as {person}"] = swapped
    scale = 255 if faces.dtype == np.uint8 else 1
    report.figure("Swaps", picture_rows({name: r / scale for name, r in rows.items()}),
                  "Each column is a face; a face as the same person passes through its own decoder.")  # fmt: skip
    codes = np.concatenate([model.transform(faces[labels == p], source=p) for p in people])
    owners = np.concatenate([labels[labels == p] for p in people])
    report.figure("Map of codes", code_map(codes, owners), "The first two principal components; each face by the "
                  "encoder of its person.")  # fmt: skip
    if model.share == "rbm":
        first = model.model_.parameters()[0].numpy()
        strongest = np.argsort(-np.linalg.norm(first, axis=1), kind="stable")[:_FILTERS]
        report.filters(first[strongest].reshape(-1, *model.image_shape_), "Strongest filters of the lowest machine, "
                       f"as {people[0]}'s encoder has them now")  # fmt: skip
    report.save(path)


def _curves(record: dict[str, Any]) -> dict[str, Any]:
    hidden = ("samples_per_second", "clipped", "layer", "kl_exact")
    return {k: v for k, v in record.items() if k not in hidden}


__all__ = ["faceswap_report"]
