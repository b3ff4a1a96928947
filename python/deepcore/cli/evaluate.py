"""deepcore eval."""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from deepcore.cli import sources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("model", help="file written by deepcore train or save()")
    sources.add_arguments(parser)
    parser.add_argument("--split", choices=("train", "test"), default="test", help="default: %(default)s")
    parser.add_argument("--report", metavar="FILE", help="write an HTML report (image models)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.set_defaults(run=run)


def load_model(path: str) -> Any:
    """The saved estimator, whatever its class."""
    from deepcore import estimators
    from deepcore.errors import CheckpointError
    from deepcore.train import load_checkpoint

    _, meta = load_checkpoint(path)
    name = meta.get("class")
    if meta.get("kind") != "deepcore estimator" or name not in estimators.__all__:
        raise CheckpointError(f"{path}: expected a saved estimator, got {meta.get('kind')!r}")
    return getattr(estimators, str(name)).load(path)


def run(options: argparse.Namespace) -> int:
    """Accuracy, log loss and F1 of the model on the data."""
    from deepcore import metrics
    from deepcore.cli.train import flat

    estimator = load_model(options.model)
    x, y = sources.load(options, options.split)
    inputs = x if hasattr(estimator, "image_shape_") else flat(x)
    truth = np.asarray(y).reshape(-1)
    p = estimator.predict_proba(inputs)
    guess = p.argmax(1)
    encoded = np.searchsorted(estimator.classes_, truth)
    known = (encoded < len(estimator.classes_)) & (
        estimator.classes_[np.minimum(encoded, len(estimator.classes_) - 1)] == truth
    )
    if not known.all():
        from deepcore.errors import DataError

        raise DataError(f"{options.data}: label {truth[~known][0]!r} is unknown to the model")
    result = {
        "samples": len(truth), "accuracy": float(metrics.accuracy(encoded, guess)),
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
