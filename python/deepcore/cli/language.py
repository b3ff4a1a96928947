"""What the commands do with language models and text files."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepcore.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from deepcore.estimators import LanguageModel

MODEL = "lm"


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of training that language models alone have."""
    group = parser.add_argument_group("language models (--model lm, or a .txt file)")
    group.add_argument("--level", choices=("char", "word", "space"), default="char", help="default: %(default)s")
    group.add_argument("--cell", default="lstm", help="lstm, gru, mgu, ... (default: %(default)s)")
    group.add_argument("--units", type=int, default=256, help="size of each recurrent layer (default: %(default)s)")
    group.add_argument("--layers", type=int, default=2, help="default: %(default)s")
    group.add_argument("--window", type=int, default=64, help="tokens that gradients go back (default: %(default)s)")


def read_text(path: str) -> str:
    """The text of a file. DataError unless it is UTF-8."""
    try:
        return Path(path).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected text in UTF-8, {error}") from error


def train(options: argparse.Namespace, common: dict[str, Any]) -> dict[str, Any]:
    """Train on the text, save, write the report on the part held out; the result that the command prints."""
    from deepcore.estimators import LanguageModel

    if options.augment:
        raise ArgumentError("train: --augment goes with image models")
    text = read_text(options.data)
    held = int(len(text) * options.validation)
    if options.report and held < 2:
        raise ArgumentError("train: --report of a language model needs --validation > 0")
    estimator = LanguageModel(
        options.level, cell=options.cell, hidden=options.units, layers=options.layers, window=options.window,
        dropout=options.dropout or 0.0, **{**common, "learning_rate": 3e-3 if options.lr is None else options.lr},
    )  # fmt: skip
    started = time.perf_counter()
    estimator.fit(text, checkpoint=options.checkpoint, resume=options.resume)
    seconds = time.perf_counter() - started
    estimator.save(options.output)
    result = {"model": MODEL, "samples": len(estimator.tokens(text)), "seconds": seconds, "output": options.output,
              "last": estimator.history_[-1] if estimator.history_ else {}}  # fmt: skip
    if options.report:
        estimator.report(options.report, text[-held:])
        result["report"] = options.report
    return result


def evaluate(estimator: LanguageModel, options: argparse.Namespace) -> int:
    """Perplexity of a text."""
    text = read_text(options.data)
    logs = estimator.log_probs(text)
    result = {"tokens": len(logs) + 1, "nats": -float(logs.mean()), "perplexity": estimator.perplexity(text)}
    if options.report:
        estimator.report(options.report, text)
        result["report"] = options.report
    if options.json:
        print(json.dumps(result))
    else:
        print(
            f"{result['tokens']:,} tokens  {result['nats']:.4f} nats per token  perplexity {result['perplexity']:.4g}"
        )
    return 0


def generate(estimator: LanguageModel, options: argparse.Namespace) -> int:
    """Print a text that the model writes."""
    if options.files:
        raise ArgumentError(f"predict: a language model takes --prime and --length, not files like {options.files[0]}")
    text = estimator.generate(options.length, options.prime, temperature=options.temperature, top_k=options.top_k,
                              top_p=options.top_p, seed=options.seed)  # fmt: skip
    print(json.dumps({"text": text}) if options.json else text)
    return 0
