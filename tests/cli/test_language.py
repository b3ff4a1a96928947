"""Language models by the command: train on a text, measure, let them write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepcore import LanguageModel
from deepcore.cli import main

Capture = pytest.CaptureFixture[str]
SMALL = ["--units", "24", "--layers", "1", "--window", "16", "--batch-size", "8", "--quiet"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "song.txt"
    path.write_text("row row row your boat gently down the stream\n" * 120)
    return path


@pytest.fixture(scope="module")
def singer(text: Path) -> Path:
    path = text.parent / "m.safetensors"
    assert main(["train", str(text), "--epochs", "12", "--lr", "0.02", *SMALL, "--output", str(path)]) == 0
    return path


def test_train_measure_and_write(singer: Path, text: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["eval", str(singer), str(text), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["tokens"] == len(text.read_text()) and result["perplexity"] < 1.2
    assert main(["eval", str(singer), str(text)]) == 0
    assert "nats per token  perplexity 1." in capsys.readouterr().out
    options = ["--prime", "row row row", "--length", "34", "--temperature", "0"]
    assert main(["predict", str(singer), *options]) == 0
    assert capsys.readouterr().out.startswith("row row row your boat gently down the stream")
    assert (
        main(["predict", str(singer), "--length", "9", "--seed", "3", "--top-k", "5", "--top-p", "0.9", "--json"]) == 0
    )
    assert len(json.loads(capsys.readouterr().out)["text"]) == 9


def test_words_report_and_result(text: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    report, model = tmp_path / "r.html", tmp_path / "m"
    words = ["train", str(text), "--model", "lm", "--level", "word", "--cell", "gru", "--epochs", "2", *SMALL,
             "--report", str(report), "--output", str(model)]  # fmt: skip
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["model"] == "lm" and result["samples"] == 9 * 120 and result["last"]["epoch"] == 2
    assert "What surprises it" in report.read_text() and LanguageModel.load(model).cell == "gru"
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "trained lm on 1,080 tokens" in out and "nats per token" in out and f"report {report}" in out


def test_refusals(singer: Path, text: Path, tmp_path: Path, capsys: Capture) -> None:
    latin = tmp_path / "l.txt"
    latin.write_bytes("für".encode("latin-1"))
    empty = tmp_path / "e.txt"
    empty.write_text("")
    for words, message in (
        (["train", str(latin)], "expected text in UTF-8"),
        (["train", str(empty)], "got an empty one"),
        (["train", str(tmp_path / "none.txt")], "No such file"),
        (["train", str(text), "--augment", "light"], "goes with image models"),
        (["train", str(text), "--validation", "0", "--report", "r.html"], "needs --validation > 0"),
        (["train", str(text), "--cell", "magic"], "got 'magic'"),
        (["predict", str(singer), "--prime", "Ü"], "got 'Ü' at 0"),
        (["predict", str(singer), "--top-k", "999"], "top_k from 1"),
        (["predict", str(singer), "picture.png"], "takes --prime and --length, not files like picture.png"),
        (["eval", str(singer), str(latin)], "expected text in UTF-8"),
    ):  # fmt: skip
        extra = [*SMALL, "--output", str(tmp_path / "m")] if words[0] == "train" else []
        assert main([*words, *extra]) == 2, words
        assert message in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
