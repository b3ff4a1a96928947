"""Help, wrong use, interruption, facts about the installation."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import deepcore as dc
from deepcore import cli
from deepcore.cli import main

Capture = pytest.CaptureFixture[str]


def parsers(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command that has no commands below it."""
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not groups:
        yield path
    for name, below in (item for group in groups for item in group.choices.items()):
        yield from parsers(below, (*path, name))


@pytest.mark.parametrize("words", list(parsers(cli.build_parser())), ids=" ".join)
def test_help_shows_an_example_of_the_command(words: tuple[str, ...], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as done:
        main([*words, "--help"])
    assert done.value.code == 0
    text = capsys.readouterr().out
    assert f"example:\n  deepcore {' '.join(words)}" in text or (
        words[0] == "bench" and "example:\n  deepcore bench" in text
    )


def test_examples_in_help_parse(capsys: Capture) -> None:
    commands = list(parsers(cli.build_parser()))
    assert len(commands) >= 7
    for words in commands:
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        example = capsys.readouterr().out.split("example:\n  deepcore ")[1].splitlines()[0]
        options = cli.build_parser().parse_args(example.split())
        assert options.command == words[0]


def test_top_level_help_and_version(capsys: Capture) -> None:
    for words in (["--help"], ["--version"]):
        with pytest.raises(SystemExit) as done:
            main(words)
        assert done.value.code == 0
    text = capsys.readouterr().out
    for name in ("quickstart", "train", "eval", "predict", "bench", "data", "info"):
        assert re.search(rf"^ +{name}\s+\w", text, re.MULTILINE)
    assert f"deepcore {dc.__version__}" in text


@pytest.mark.parametrize(
    "words",
    [[], ["paint"], ["data"], ["data", "fetch", "imagenet"], ["train"], ["train", "digits", "--epochs", "many"],
     ["train", "digits", "--model", "vit"], ["eval", "model"], ["predict"], ["info", "extra"]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_use_exits_with_2(words: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as done:
        main(words)
    assert done.value.code == 2
    assert "usage: deepcore" in capsys.readouterr().err


def test_module_and_exit_codes_of_the_process(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "deepcore", *words], capture_output=True, text=True)

    done = run("info", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["version"] == dc.__version__
    done = run("eval", str(tmp_path / "none"), "digits")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("deepcore eval: ") and "Traceback" not in done.stderr


def test_reader_that_leaves_early() -> None:
    """`deepcore ... | head -0`: no traceback."""
    command = [sys.executable, "-c", "import time; time.sleep(0.3)\nfrom deepcore.cli import main\n"
               "raise SystemExit(main(['info', '--json']))"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout and running.stderr
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 1


def test_interrupt_is_130(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted() -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.info, "facts", interrupted)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_info(capsys: Capture) -> None:
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["version"] == dc.__version__
    assert facts["instruction_set"] == dc.isa() and dc.isa() in facts["supported"]
    assert facts["threads"] == dc.get_num_threads()
    assert facts["cuda"] is dc.cuda.is_available() and bool(facts["cuda_reason"]) is not facts["cuda"]
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert dc.isa() in text and "threads" in text
    assert f"no: {facts['cuda_reason']}" in text or facts["cuda"]
