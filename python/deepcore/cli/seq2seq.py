"""deepcore seq2seq."""

from __future__ import annotations

import argparse
import json
import sys
import time

from deepcore.cli.commands import actions_of, add_run_options, check_files, length_penalty_of, write_text
from deepcore.cli.language import read_text
from deepcore.errors import ArgumentError, DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two commands: train, predict."""
    add = actions_of(parser)
    train = add("train", "Learn targets from sources: the lines of a TSV file, or of two text files.",
                "deepcore seq2seq train dates.tsv --epochs 6 --output dates.safetensors --report d.html")  # fmt: skip
    train.add_argument("files", nargs="+", metavar="FILE",
                       help="lines of source, tab, target; or a file of sources and one of targets")  # fmt: skip
    train.add_argument("--level", choices=("char", "word", "space"), default="char", help="default: %(default)s")
    train.add_argument("--target-level", choices=("char", "word", "space"), help="of targets (default: --level)")
    train.add_argument("--min-count", type=int, default=1, metavar="N", help="rarer tokens are unknown")
    train.add_argument("--cell", default="lstm", help="lstm, gru, mgu, ... (default: %(default)s)")
    train.add_argument("--embedding", type=int, default=64, help="size of a token's vector (default: %(default)s)")
    train.add_argument("--units", type=int, default=128, help="size of each recurrent layer (default: %(default)s)")
    train.add_argument("--layers", type=int, default=1, help="default: %(default)s")
    train.add_argument("--one-way", action="store_true", help="the encoder reads in one direction")
    train.add_argument("--reverse", action="store_true", help="the encoder begins at the end of the source")
    train.add_argument("--attention", choices=("dot", "general", "additive", "none"), default="general",
                       help="default: %(default)s")  # fmt: skip
    train.add_argument("--input-feeding", action="store_true", help="the decoder reads what it attended to before")
    train.add_argument("--dropout", type=float, default=0.1, help="probability (default: %(default)s)")
    train.add_argument("--scheduled-sampling", choices=("linear", "exponential", "inverse-sigmoid"),
                       help="how the share of true tokens falls that the decoder reads")  # fmt: skip
    train.add_argument("--final-teaching", type=float, default=0.5, metavar="SHARE",
                       help="of true tokens at the end of training (default: %(default)s)")  # fmt: skip
    train.add_argument("--epochs", type=int, default=10, help="default: %(default)s")
    train.add_argument("--batch-size", type=int, default=64, help="default: %(default)s")
    train.add_argument("--lr", type=float, default=3e-3, help="learning rate (default: %(default)s)")
    train.add_argument("--validation", type=float, default=0.1, metavar="SHARE", help="held out (default: %(default)s)")
    train.add_argument("--early-stopping", action="store_true", help="stop and restore the best weights")
    _search(train, beam=1, length_penalty=1.0)
    add_run_options(train, output="seq2seq.safetensors", report="the pairs held out")
    train.set_defaults(run=run_train)

    predict = add("predict", "Write the target of each source, one a line.",
                  "deepcore seq2seq predict dates.safetensors sources.txt --beam 4")  # fmt: skip
    predict.add_argument("model", help="file written by deepcore seq2seq train")
    predict.add_argument("file", nargs="?", help="a text file with a source on each line, - for standard input")
    predict.add_argument("--text", action="append", default=[], metavar="TEXT", help="a source; may be given again")
    _search(predict, beam=None, length_penalty=None)
    predict.add_argument("--best", type=int, default=1, metavar="N",
                         help="outputs to show, with scores where N > 1 (default: %(default)s)")  # fmt: skip
    predict.add_argument("--device", help="auto, cpu or cuda (default: as trained)")
    predict.add_argument("--output", metavar="FILE", help="write there, not to standard output")
    predict.add_argument("--json", action="store_true", help="one JSON object a line")
    predict.set_defaults(run=run_predict)


def _search(parser: argparse.ArgumentParser, beam: int | None, length_penalty: float | None) -> None:
    own = "default: as trained" if beam is None else "default: %(default)s"
    parser.add_argument("--beam", type=int, default=beam, metavar="N", help=f"strings that are kept ({own})")
    parser.add_argument("--length-penalty", type=length_penalty_of, default=length_penalty, metavar="A",
                        help=f"exponent of the length penalty, or 'mean' ({own})")  # fmt: skip


def read_pairs(files: list[str]) -> tuple[list[str], list[str]]:
    """Sources and targets of a TSV file or of two text files; empty lines of a TSV file are passed over.

    DataError names a line without its tab, an empty side, or files of different length.
    """
    if len(files) == 2:
        sources, targets = (read_text(name).splitlines() for name in files)
        if len(sources) != len(targets):
            raise DataError(
                f"{files[1]}: expected as many lines as {files[0]} has, {len(sources)}, got {len(targets)}"
            )  # fmt: skip
        for name, lines in zip(files, (sources, targets)):
            _filled(name, _numbered(lines))
    elif len(files) == 1:
        rows = [(i, line.split("\t")) for i, line in _numbered(read_text(files[0]).splitlines()) if line]
        for i, row in rows:
            if len(row) != 2:
                raise DataError(f"{files[0]}, line {i}: expected source, tab, target, got {len(row) - 1} tabs")
        sources, targets = [row[0] for _, row in rows], [row[1] for _, row in rows]
        for side in (0, 1):
            _filled(files[0], [(i, row[side]) for i, row in rows])
    else:
        raise ArgumentError(f"seq2seq train: expected a TSV file or two text files, got {len(files)} files")
    if not sources:
        raise DataError(f"{files[0]}: expected at least one pair, got none")
    return sources, targets


def _numbered(lines: list[str]) -> list[tuple[int, str]]:
    return list(enumerate(lines, 1))


def _filled(name: str, lines: list[tuple[int, str]]) -> None:
    for i, line in lines:
        if not line.strip():
            raise DataError(f"{name}, line {i}: expected a text, got an empty one")


def run_train(options: argparse.Namespace) -> int:
    """Train on pairs, save, report; prints exact matches of the pairs held out."""
    from deepcore import data
    from deepcore.estimators import Seq2Seq

    check_files("seq2seq train", options.resume, options.checkpoint, options.output, options.report)
    sources, targets = read_pairs(options.files)
    if not 0 <= options.validation < 1:
        raise ArgumentError(f"seq2seq train: expected --validation in [0, 1), got {options.validation}")
    held = options.validation > 0 and len(sources) >= 10
    if options.report and not held:
        raise ArgumentError("seq2seq train: --report needs --validation > 0 and at least 10 pairs")
    train, validation = list(range(len(sources))), []
    if held:
        train, validation = (
            p.tolist() for p in data.train_val_split(len(sources), options.validation, seed=options.seed)
        )
    pairs = [([sources[i] for i in part], [targets[i] for i in part]) for part in (train, validation)]
    estimator = Seq2Seq(
        options.level, target_level=options.target_level, min_count=options.min_count, reverse=options.reverse,
        embedding=options.embedding, hidden=options.units, layers=options.layers, cell=options.cell,
        bidirectional=not options.one_way, attention=None if options.attention == "none" else options.attention,
        input_feeding=options.input_feeding, dropout=options.dropout, scheduled_sampling=options.scheduled_sampling,
        final_teaching=options.final_teaching, beam=options.beam,
        length_penalty=options.length_penalty,
        learning_rate=options.lr, batch_size=options.batch_size, epochs=options.epochs, validation_fraction=0.0,
        early_stopping=options.early_stopping, max_seconds=options.max_seconds, random_state=options.seed,
        verbose=not options.quiet, device=options.device,
    )  # fmt: skip
    started = time.perf_counter()
    estimator.fit(*pairs[0], validation_data=pairs[1] if held else None, checkpoint=options.checkpoint,
                  resume=options.resume)  # fmt: skip
    seconds = time.perf_counter() - started
    estimator.save(options.output)
    result = {"pairs": len(train), "seconds": seconds, "output": options.output, "last": estimator.history_[-1]}
    if held:
        result["held_out"] = len(validation)
        result["exact"] = estimator.score(*pairs[1])
    if options.report:
        estimator.report(options.report, *pairs[1])
        result["report"] = options.report
    if options.json:
        print(json.dumps(result))
        return 0
    print(f"{len(train):,} pairs in {seconds:.1f} s -> {options.output}")
    if held:
        print(f"exact matches {100 * result['exact']:.2f} % of {len(validation):,} pairs held out")
    if options.report:
        print(f"report -> {options.report}")
    return 0


def run_predict(options: argparse.Namespace) -> int:
    """One line per source: its target; with --best > 1 the outputs of a beam, a line each."""
    from deepcore.estimators import Seq2Seq

    if (options.file is None) == (not options.text):
        raise ArgumentError("seq2seq predict: expected a file of sources or --text")
    if options.best < 1:
        raise ArgumentError(f"seq2seq predict: expected --best >= 1, got {options.best}")
    estimator = Seq2Seq.load(options.model, device=options.device)
    beam = max(estimator.beam, options.best) if options.beam is None else options.beam
    if options.best > beam:
        raise ArgumentError(f"seq2seq predict: expected --best <= --beam {beam}, got {options.best}")
    penalty = estimator.length_penalty if options.length_penalty is None else options.length_penalty
    sources = options.text
    name = "--text"
    if options.file is not None:
        name = options.file
        text = sys.stdin.read() if options.file == "-" else read_text(options.file)
        sources = text.splitlines()
        if not sources:
            raise DataError(f"{name}: expected at least one source, got none")
    _filled(name, _numbered(sources))
    lines = []
    found = estimator.candidates(sources, beam=beam, length_penalty=penalty)
    for source, candidates in zip(sources, found):
        best = candidates[: options.best]
        outputs = [c.output if isinstance(c.output, str) else " ".join(c.output) for c in best]
        if options.json:
            facts = [{"output": o, "log_probability": c.log_probability, "score": c.score, "finished": c.finished}
                     for o, c in zip(outputs, best)]  # fmt: skip
            lines.append(json.dumps({"source": source, "outputs": facts}, ensure_ascii=False))
        elif options.best == 1:
            lines.append(outputs[0])
        else:
            lines += [f"{source}\t{o}\t{c.score:.4f}" for o, c in zip(outputs, best)]
    text = "\n".join(lines) + "\n"
    write_text(options.output, text)
    return 0
