"""deepcore predict."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from deepcore.cli.evaluate import load_model
from deepcore.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("model", help="file written by deepcore train or save()")
    parser.add_argument("files", nargs="+", help="pictures, or .npy arrays of inputs")
    parser.add_argument("--top", type=int, default=1, metavar="K", help="classes to show per picture")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.set_defaults(run=run)


def _inputs(path: Path, estimator: Any) -> Any:
    from deepcore import data

    if path.suffix == ".npy":
        try:
            return np.load(path, allow_pickle=False)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error
    if not hasattr(estimator, "image_shape_"):
        raise DataError(f"{path}: this model takes .npy arrays (n, {estimator.n_features_in_})")
    h, w, c = estimator.image_shape_
    return data.read_image(path, size=(h, w), grey=c == 1)[None]


def run(options: argparse.Namespace) -> int:
    """One line per sample: file, label, probability."""
    estimator = load_model(options.model)
    for name in options.files:
        p = estimator.predict_proba(_inputs(Path(name), estimator))
        for i, row in enumerate(p):
            best = np.argsort(-row)[: max(options.top, 1)]
            found = [(estimator.classes_[k].item(), float(row[k])) for k in best]
            label = name if len(p) == 1 else f"{name}[{i}]"
            if options.json:
                print(json.dumps({"file": label, "classes": [{"label": k, "probability": v} for k, v in found]}))
            else:
                print(label + "  " + "  ".join(f"{k} ({100 * v:.1f} %)" for k, v in found))
    return 0
