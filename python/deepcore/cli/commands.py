"""What the commands that train and predict have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from deepcore.errors import ArgumentError

Add = Callable[[str, str, str], argparse.ArgumentParser]


def actions_of(parser: argparse.ArgumentParser) -> Add:
    """A function add(name, what it does, example) that gives a command below this one its parser."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)

    def add(name: str, about: str, example: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=about, description=about, epilog=f"example:\n  {example}",
                                  formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip

    return add


def add_run_options(train: argparse.ArgumentParser, *, output: str, report: str) -> None:
    """How a training runs and what it writes. output: the default file. report: on what, for the help."""
    train.add_argument("--max-seconds", type=float, help="limit on the training time")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--device", default="auto", help="auto, cpu or cuda")
    train.add_argument("--output", default=output, metavar="FILE", help="default: %(default)s")
    train.add_argument("--checkpoint", metavar="FILE", help="written after each epoch and on Ctrl-C")
    train.add_argument("--resume", action="store_true", help="go on from --checkpoint")
    train.add_argument("--report", metavar="FILE", help=f"write an HTML report on {report}")
    train.add_argument("--quiet", action="store_true", help="no progress")
    train.add_argument("--json", action="store_true", help="print the result as one line of JSON")


def length_penalty_of(text: str) -> float | str:
    """The type of --length-penalty: a number, or 'mean'."""
    if text == "mean":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number or 'mean', got {text!r}") from None


def check_files(owner: str, resume: bool, checkpoint: str | None, *others: str | None) -> None:
    """Refuse, before a training, what would be lost after it.

    ArgumentError for `resume` without a checkpoint, FileNotFoundError for a file whose folder isn't there.
    """
    if resume and not checkpoint:
        raise ArgumentError(f"{owner}: --resume needs --checkpoint")
    for path in (*others, checkpoint):
        folder = Path(path or ".").absolute().parent
        if not folder.is_dir():
            raise FileNotFoundError(f"{path}: there is no folder {folder}")


def write_text(path: str | None, text: str) -> None:
    """Write to a file, all or nothing, or to standard output."""
    from deepcore.files import atomic_write

    if path is None:
        sys.stdout.write(text)
        return
    with atomic_write(Path(path)) as file:
        file.write(text.encode())
