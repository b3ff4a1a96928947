"""deepcore tagger."""

from __future__ import annotations

import argparse
import json
import sys
import time

from deepcore.cli.commands import actions_of, add_run_options, check_files, write_text
from deepcore.cli.language import read_text
from deepcore.errors import ArgumentError, DataError

Sentences = list[list[str]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two commands: train, predict."""
    add = actions_of(parser)
    train = add("train", "Learn tags of tokens: lines of token, tab, tag; an empty line after each sentence.",
                "deepcore tagger train train.tsv --test test.tsv --output tagger.safetensors")  # fmt: skip
    train.add_argument("file", help="tagged sentences")
    train.add_argument("--test", metavar="FILE", help="tagged sentences to measure on")
    train.add_argument("--cell", default="lstm", help="lstm, gru, mgu, ... (default: %(default)s)")
    train.add_argument("--embedding", type=int, default=64, help="size of a word's vector (default: %(default)s)")
    train.add_argument("--units", type=int, default=64, help="of each direction (default: %(default)s)")
    train.add_argument("--layers", type=int, default=1, help="default: %(default)s")
    train.add_argument("--dropout", type=float, default=0.3, help="probability (default: %(default)s)")
    train.add_argument("--case", action="store_true", help="words in upper and lower case are different words")
    train.add_argument("--epochs", type=int, default=10, help="default: %(default)s")
    train.add_argument("--batch-size", type=int, default=16, help="sentences (default: %(default)s)")
    train.add_argument("--lr", type=float, default=3e-3, help="learning rate (default: %(default)s)")
    train.add_argument("--validation", type=float, default=0.1, metavar="SHARE", help="held out (default: %(default)s)")
    train.add_argument("--early-stopping", action="store_true", help="stop and restore the best weights")
    add_run_options(train, output="tagger.safetensors", report="--test")
    train.set_defaults(run=run_train)

    predict = add("predict", "Tag sentences, one a line, their tokens parted by spaces.",
                  "deepcore tagger predict tagger.safetensors sentences.txt --output tagged.tsv")  # fmt: skip
    predict.add_argument("model", help="file written by deepcore tagger train")
    predict.add_argument("file", nargs="?", help="a text file with a sentence on each line, - for standard input")
    predict.add_argument("--text", action="append", default=[], metavar="TEXT", help="a sentence; may be given again")
    predict.add_argument("--device", help="auto, cpu or cuda (default: as trained)")
    predict.add_argument("--output", metavar="FILE", help="write there, not to standard output")
    predict.add_argument("--json", action="store_true", help="one JSON object a sentence")
    predict.set_defaults(run=run_predict)


def read_tagged(path: str) -> tuple[Sentences, Sentences]:
    """Tokens and tags of sentences. DataError names a line that is not token, tab, tag."""
    sentences: Sentences = [[]]
    tags: Sentences = [[]]
    for i, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            if sentences[-1]:
                sentences.append([])
                tags.append([])
            continue
        cells = line.split("\t")
        if len(cells) != 2 or not cells[0].strip() or not cells[1].strip():
            raise DataError(f"{path}, line {i}: expected token, tab, tag, got {line!r}")
        sentences[-1].append(cells[0].strip())
        tags[-1].append(cells[1].strip())
    if not sentences[-1]:
        sentences.pop()
        tags.pop()
    if not sentences:
        raise DataError(f"{path}: expected at least one tagged sentence, got none")
    return sentences, tags


def run_train(options: argparse.Namespace) -> int:
    """Train, save, measure on --test."""
    from deepcore.estimators import SequenceTagger

    check_files("tagger train", options.resume, options.checkpoint, options.output, options.report)
    if options.report and not options.test:
        raise ArgumentError("tagger train: --report needs --test")
    sentences, tags = read_tagged(options.file)
    test = read_tagged(options.test) if options.test else None
    estimator = SequenceTagger(
        lower=not options.case, embedding=options.embedding, cell=options.cell, hidden=options.units,
        layers=options.layers, dropout=options.dropout, learning_rate=options.lr, batch_size=options.batch_size,
        epochs=options.epochs, validation_fraction=options.validation, early_stopping=options.early_stopping,
        max_seconds=options.max_seconds, random_state=options.seed, verbose=not options.quiet, device=options.device,
    )  # fmt: skip
    started = time.perf_counter()
    estimator.fit(sentences, tags, checkpoint=options.checkpoint, resume=options.resume)
    seconds = time.perf_counter() - started
    estimator.save(options.output)
    result = {"sentences": len(sentences), "tags": len(estimator.tags_), "seconds": seconds, "output": options.output,
              "last": estimator.history_[-1]}  # fmt: skip
    if test:
        result["test"] = estimator.scores(*test)._asdict()
    if options.report and test:
        estimator.report(options.report, *test)
        result["report"] = options.report
    if options.json:
        print(json.dumps(result))
        return 0
    print(f"{len(sentences):,} sentences in {seconds:.1f} s -> {options.output}")
    if test:
        scores = estimator.scores(*test)
        unknown = f", unknown words {100 * scores.unknown:.2f} %" if scores.unknown_tokens else ""
        print(f"accuracy {100 * scores.accuracy:.2f} % of {scores.tokens:,} tokens{unknown}")
    if options.report:
        print(f"report -> {options.report}")
    return 0


def run_predict(options: argparse.Namespace) -> int:
    """Lines of token, tab, tag with an empty line after each sentence, as `train` reads them."""
    from deepcore.estimators import SequenceTagger

    if (options.file is None) == (not options.text):
        raise ArgumentError("tagger predict: expected a file of sentences or --text")
    estimator = SequenceTagger.load(options.model, device=options.device)
    lines = options.text
    if options.file is not None:
        lines = (sys.stdin.read() if options.file == "-" else read_text(options.file)).splitlines()
    sentences = [line.split() for line in lines]
    for i, tokens in enumerate(sentences, 1):
        if not tokens:
            raise DataError(f"{options.file or '--text'}, line {i}: expected a sentence, got an empty one")
    if not sentences:
        raise DataError(f"{options.file}: expected at least one sentence, got none")
    tagged = [list(zip(tokens, tags)) for tokens, tags in zip(sentences, estimator.predict(sentences))]
    if options.json:
        rows = [{"tokens": [w for w, _ in row], "tags": [t for _, t in row]} for row in tagged]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        text = "".join("".join(f"{w}\t{t}\n" for w, t in row) + "\n" for row in tagged)
    write_text(options.output, text)
    return 0
