"""deepcore eval."""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from deepcore.cli import language, sources
from deepcore.errors import ArgumentError, CheckpointError, DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("model", help="file written by deepcore train or save()")
    sources.add_arguments(parser)
    parser.add_argument("--split", choices=("train", "test"), default="test", help="default: %(default)s")
    parser.add_argument("--report", metavar="FILE", help="write an HTML report (models of images and texts)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.set_defaults(run=run)


def load_model(path: str) -> Any:
    """The saved classifier or language model, whatever its class."""
    from deepcore import estimators
    from deepcore.train import load_checkpoint

    _, meta = load_checkpoint(path)
    name = meta.get("class")
    if meta.get("kind") != "deepcore estimator" or name not in estimators.__all__:
        raise CheckpointError(f"{path}: expected a saved estimator, got {meta.get('kind')!r}")
    estimator = getattr(estimators, str(name)).load(path)
    if isinstance(estimator, estimators.VideoClassifier):
        raise CheckpointError(f"{path}: a classifier of clips goes with deepcore video predict")
    classifies = hasattr(estimator, "predict_proba") and hasattr(estimator, "classes_")
    if not classifies and not hasattr(estimator, "generate"):
        raise CheckpointError(f"{path}: expected a classifier or a language model, got {name}")
    return estimator


def run(options: argparse.Namespace) -> int:
    """Accuracy, log loss and F1 of the model on the data, or perplexity of a text."""
    from deepcore import estimators, metrics

    estimator = load_model(options.model)
    if isinstance(estimator, estimators.LanguageModel):
        return language.evaluate(estimator, options)
    images, texts = hasattr(estimator, "image_shape_"), hasattr(estimator, "vocabulary_")
    if options.report and not (images or texts):
        raise ArgumentError(
            f"eval: --report goes with image models and documents, {options.model} is a {type(estimator).__name__}"
        )
    if texts != (options.text_column is not None):
        raise ArgumentError(f"eval: --text-column goes with documents, {options.model} is a {type(estimator).__name__}")
    x, y = sources.load(options, options.split)
    p = estimator.predict_proba(x if images or texts else sources.flat(x))
    guess = p.argmax(1)
    known = {label: i for i, label in enumerate(estimator.classes_.tolist())}
    labels = y.tolist()
    unknown = next((label for label in labels if label not in known), None)
    if unknown is not None:
        raise DataError(f"{options.data}: label {unknown!r} is unknown to the model, which has {list(known)[:10]}")
    encoded = np.array([known[label] for label in labels], np.int64)
    result = {
        "samples": len(labels), "accuracy": float(metrics.accuracy(encoded, guess)),
        "log_loss": float(metrics.log_loss(encoded, p)),
        "f1_macro": float(metrics.precision_recall_f1(encoded, guess, "macro")[2]),
    }  # fmt: skip
    if options.report:
        estimator.report(options.report, x, y)
        result["report"] = options.report
    if options.json:
        print(json.dumps(result))
    else:
        print(f"{result['samples']:,} samples  accuracy {100 * result['accuracy']:.2f} %  "
              f"log loss {result['log_loss']:.4f}  macro F1 {result['f1_macro']:.4f}")  # fmt: skip
    return 0
