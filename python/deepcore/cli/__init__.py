"""The `deepcore` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import deepcore
from deepcore.cli import (
    caption,
    data,
    evaluate,
    faceswap,
    forecast,
    info,
    predict,
    quickstart,
    seq2seq,
    tagger,
    train,
    video,
)  # fmt: skip
from deepcore.errors import Error

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)

    def add_argument(self, action: argparse.Action) -> None:
        """As in argparse, with room for the indent of the commands, which it forgets."""
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += 2


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="deepcore", description="The classical deep nets, small, fast and complete.", formatter_class=_Help,
        epilog="Start with:  deepcore quickstart",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"deepcore {deepcore.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)

    def add(name: str, about: str, example: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=about, description=about, formatter_class=_Help,
                                   epilog=f"example:\n  {example}")  # fmt: skip

    quickstart.add_arguments(
        add("quickstart", "Train a convolutional net on the packaged digits and show what it learnt.",
            "deepcore quickstart --output digits")
    )  # fmt: skip
    train.add_arguments(
        add("train", "Train a classifier on images, texts or a table, or a language model on a text.",
            "deepcore train mnist --model lenet5 --epochs 5 --augment light --output mnist.safetensors")
    )  # fmt: skip
    evaluate.add_arguments(
        add(
            "eval",
            "Measure a saved classifier on labelled data, or a language model on a text.",
            "deepcore eval mnist.safetensors mnist --json",
        )
    )
    predict.add_arguments(
        add(
            "predict",
            "Classify pictures or texts with a saved classifier, or let a language model write.",
            "deepcore predict mnist.safetensors digit.png",
        )
    )
    faceswap.add_arguments(
        add("faceswap", "Swap the faces of two people: extract, train, convert.",
            "deepcore faceswap train faces/ann faces/bob --output swap.safetensors")
    )  # fmt: skip
    seq2seq.add_arguments(
        add("seq2seq", "Turn sequences into sequences: train on pairs of texts, predict.",
            "deepcore seq2seq train dates.tsv --output dates.safetensors")
    )  # fmt: skip
    tagger.add_arguments(
        add("tagger", "Tag the tokens of sentences: train on tagged ones, predict.",
            "deepcore tagger train train.tsv --output tagger.safetensors")
    )  # fmt: skip
    forecast.add_arguments(
        add("forecast", "Continue time series: train on a CSV file, predict.",
            "deepcore forecast train load.csv --time date --output load.safetensors")
    )  # fmt: skip
    video.add_arguments(
        add("video", "Classify videos, or each of their frames: train, predict.",
            "deepcore video train clips/ --size 64 --stride 2 --output video.safetensors")
    )  # fmt: skip
    caption.add_arguments(
        add("caption", "Say in words what pictures show: train, predict.",
            "deepcore caption train photos captions.tsv --output captions.safetensors")
    )  # fmt: skip
    bench = add("bench", "Measure the kernels on this machine against numpy.", "deepcore bench gemm conv --json")
    bench.add_argument("arguments", nargs=argparse.REMAINDER, help="families and options; see deepcore bench --list")
    data.add_arguments(add("data", "Fetch public data sets, or list what is there.", "deepcore data fetch mnist"))
    info.add_arguments(add("info", "Version, instruction set, threads, CUDA.", "deepcore info --json"))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 1 failed, 2 wrong use or input, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["bench"] and arguments[1:] not in (["-h"], ["--help"]):
        from deepcore.bench.run import main as bench_main

        return bench_main(arguments[1:])
    options = build_parser().parse_args(arguments)
    try:
        result: int = options.run(options)
        sys.stdout.flush()
        return result
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader is gone: what is still buffered must not raise again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (Error, OSError, ImportError) as error:
        print(f"deepcore {options.command}: {error}", file=sys.stderr)
        return USAGE if isinstance(error, (ValueError, TypeError, FileNotFoundError)) else FAILED
