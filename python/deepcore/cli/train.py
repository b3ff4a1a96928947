"""deepcore train."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

from deepcore.cli import language, sources
from deepcore.cli.commands import check_files
from deepcore.errors import ArgumentError

MODELS = ("lenet5", "vgg-small", "resnet9", "resnet18", "mlp", "documents", language.MODEL)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    sources.add_arguments(parser)
    parser.add_argument(
        "--model",
        choices=MODELS,
        default=None,
        help="net (default: lenet5 for images, mlp for tables, documents for a column of texts, lm for a text file)",
    )
    parser.add_argument(
        "--hidden", default="256,128", metavar="SIZES", help="hidden layers of mlp (default: %(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--lr", type=float, help="learning rate (default: 0.001, lm 0.003)")
    parser.add_argument("--optimizer", default="adam", help="default: %(default)s")
    parser.add_argument("--schedule", choices=("constant", "cosine", "one-cycle", "plateau"), default="cosine")
    parser.add_argument("--dropout", type=float, default=None, help="probability (default: the net's own)")
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--augment", choices=("light", "flip", "strong"), help="random changes of images")
    parser.add_argument(
        "--validation", type=float, default=0.1, metavar="SHARE", help="held out (default: %(default)s)"
    )
    parser.add_argument("--early-stopping", action="store_true", help="stop and restore the best weights")
    parser.add_argument("--max-seconds", type=float, help="limit on the training time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--output", default="model.safetensors", metavar="FILE", help="default: %(default)s")
    parser.add_argument("--checkpoint", metavar="FILE", help="written after each epoch and on Ctrl-C")
    parser.add_argument("--resume", action="store_true", help="go on from --checkpoint")
    parser.add_argument(
        "--report", metavar="FILE", help="write an HTML report on the test split (lm: on what is held out)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON")
    language.add_training_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train and save; prints the accuracy on the test split if the data have one of their own."""
    from deepcore.estimators import DocumentClassifier, ImageClassifier, MLPClassifier

    check_files("train", options.resume, options.checkpoint, options.output, options.report)
    common: dict[str, Any] = {
        "optimizer": options.optimizer, "learning_rate": 1e-3 if options.lr is None else options.lr,
        "weight_decay": options.weight_decay,
        "schedule": options.schedule, "batch_size": options.batch_size, "epochs": options.epochs,
        "validation_fraction": options.validation, "early_stopping": options.early_stopping,
        "max_seconds": options.max_seconds, "random_state": options.seed, "verbose": not options.quiet,
        "device": options.device,
    }  # fmt: skip
    if options.model == language.MODEL or (options.model is None and options.data.endswith(".txt")):
        return _print(options, language.train(options, common))
    x, y = sources.load(options, "train")
    images, texts = x.ndim >= 3, x.ndim == 1
    model = options.model or ("lenet5" if images else "documents" if texts else "mlp")
    if (model == "documents") != texts:
        raise ArgumentError("train: --model documents and --text-column go together")
    estimator: Any
    if model == "mlp":
        if options.augment or options.report:
            raise ArgumentError("train: --augment and --report go with image models")
        try:
            hidden = tuple(int(n) for n in options.hidden.split(",") if n)
        except ValueError:
            raise ArgumentError(f"train: expected --hidden as sizes like 256,128, got {options.hidden!r}") from None
        estimator = MLPClassifier(hidden, dropout=options.dropout or 0.0, **common)
    elif texts:
        if options.augment:
            raise ArgumentError("train: --augment goes with image models")
        own = {} if options.dropout is None else {"dropout": options.dropout}
        estimator = DocumentClassifier(**own, **common)
    else:
        if not images:
            raise ArgumentError(f"train: {model} takes images, the data are {x.shape}")
        estimator = ImageClassifier(model, augment=options.augment, dropout=options.dropout, **common)
    prepare = sources.flat if model == "mlp" else np.asarray
    started = time.perf_counter()
    estimator.fit(prepare(x), y, checkpoint=options.checkpoint, resume=options.resume)
    seconds = time.perf_counter() - started
    estimator.save(options.output)
    result: dict[str, Any] = {"model": model, "samples": len(x), "seconds": seconds, "output": options.output,
                              "last": estimator.history_[-1] if estimator.history_ else {}}  # fmt: skip
    x_test, y_test = sources.load(options, "test")
    own_split = x_test.shape != x.shape or not np.array_equal(x_test, x)
    if own_split:
        result["test_accuracy"] = estimator.score(prepare(x_test), y_test)
    if options.report:
        estimator.report(options.report, x_test, y_test)
        result["report"] = options.report
    return _print(options, result)


def _print(options: argparse.Namespace, result: dict[str, Any]) -> int:
    if options.json:
        print(json.dumps(result))
    else:
        unit = "tokens" if result["model"] == language.MODEL else "samples"
        print(f"trained {result['model']} on {result['samples']:,} {unit} in {result['seconds']:.1f} s")
        if "test_accuracy" in result:
            print(f"test accuracy {100 * result['test_accuracy']:.2f} %")
        if "val_loss" in result["last"] and unit == "tokens":
            print(f"held out: {result['last']['val_loss']:.4f} nats per token")
        print(f"saved {options.output}" + (f", report {options.report}" if options.report else ""))
    return 0
