"""deepcore predict."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from deepcore.cli import language, sources
from deepcore.cli.evaluate import load_model
from deepcore.errors import ArgumentError, DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("model", help="file written by deepcore train or save()")
    parser.add_argument("files", nargs="*", help="pictures, texts (.txt), or .npy arrays of inputs")
    parser.add_argument("--top", type=int, default=1, metavar="K", help="classes to show per picture")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    group = parser.add_argument_group("language models, which write a text")
    group.add_argument("--prime", default="", metavar="TEXT", help="how it begins")
    group.add_argument("--length", type=int, default=300, metavar="N", help="tokens to write (default: %(default)s)")
    group.add_argument("--temperature", type=float, default=0.8, help="0: the most probable (default: %(default)s)")
    group.add_argument("--top-k", type=int, metavar="K", help="draw among the K most probable tokens")
    group.add_argument("--top-p", type=float, metavar="P", help="draw among the fewest tokens of this probability")
    group.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=run)


def _inputs(path: Path, estimator: Any) -> Any:
    from deepcore import data

    images = hasattr(estimator, "image_shape_")
    if hasattr(estimator, "vocabulary_"):
        if path.suffix != ".txt":
            raise DataError(f"{path}: this model takes texts in .txt files")
        try:
            return [path.read_text(encoding="utf-8")]
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: expected UTF-8, got {error}") from error
    if path.suffix == ".npy":
        try:  # mapped: a header that lies about its size is found before memory is taken
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise DataError(f"{path}: expected a whole .npy file, {error}") from error
        if values.ndim < 2:
            raise DataError(f"{path}: expected an array of samples (n, ...), got shape {values.shape}")
        return values if images else sources.flat(values)
    if not images:
        raise DataError(f"{path}: this model takes .npy arrays (n, {estimator.n_features_in_})")
    h, w, c = estimator.image_shape_
    return data.read_image(path, size=(h, w), grey=c == 1)[None]


def run(options: argparse.Namespace) -> int:
    """One line per sample: file, label, probability; or the text that a language model writes."""
    from deepcore.estimators import LanguageModel

    if options.top < 1:
        raise ArgumentError(f"predict: expected --top >= 1, got {options.top}")
    estimator = load_model(options.model)
    if isinstance(estimator, LanguageModel):
        return language.generate(estimator, options)
    if not options.files:
        raise ArgumentError("predict: expected pictures or .npy arrays to classify")
    for name in options.files:
        p = estimator.predict_proba(_inputs(Path(name), estimator))
        for i, row in enumerate(p):
            best = np.argsort(-row, kind="stable")[: options.top]
            found = [(estimator.classes_[k].item(), float(row[k])) for k in best]
            label = name if len(p) == 1 else f"{name}[{i}]"
            if options.json:
                print(json.dumps({"file": label, "classes": [{"label": k, "probability": v} for k, v in found]}))
            else:
                print(label + "  " + "  ".join(f"{k} ({100 * v:.1f} %)" for k, v in found))
    return 0
