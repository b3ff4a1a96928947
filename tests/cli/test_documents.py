"""The commands on texts in a table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import deepcore as dc
from deepcore.cli import main

Capture = pytest.CaptureFixture[str]


def write(path: Path, n: int, seed: int) -> Path:
    """Reviews with commas, quotes and ends of lines; 'fine' and 'awful' decide."""
    rng = np.random.default_rng(seed)
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "review", "stars"])
        for i in range(n):
            good = bool(rng.integers(2))
            middle = " ".join(rng.choice(["a", "film,", "with", '"music"', "and\nactors"], 4))
            table.writerow([i, f"{middle} {'fine' if good else 'awful'} story", "many" if good else "few"])
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("documents")
    table, model = write(folder / "reviews.csv", 150, 0), folder / "m.safetensors"
    words = ["train", str(table), "--model", "documents", "--text-column", "review", "--label-column", "stars"]
    assert main([*words, "--epochs", "4", "--lr", "0.01", "--quiet", "--output", str(model)]) == 0
    return table, model


def test_train_and_eval(trained: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    _, model = trained
    assert isinstance(dc.DocumentClassifier.load(model), dc.DocumentClassifier)
    other = write(tmp_path / "other.csv", 60, 1)
    assert main(["eval", str(model), str(other), "--text-column", "review", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["samples"] == 60 and result["accuracy"] > 0.95


def test_columns_by_number_and_report(trained: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    table, _ = trained
    report, model = tmp_path / "r.html", tmp_path / "m"
    words = ["train", str(table), "--text-column", "1", "--target", "-1", "--epochs", "1", "--quiet"]
    assert main([*words, "--output", str(model), "--report", str(report)]) == 0
    assert "trained documents on 150 samples" in capsys.readouterr().out
    assert "Words behind decisions" in report.read_text()


def test_predict(trained: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    _, model = trained
    text = tmp_path / "new.txt"
    text.write_text("a film, with music and a fine story\n")
    assert main(["predict", str(model), str(text)]) == 0
    assert capsys.readouterr().out.startswith(f"{text}  many (")
    text.write_bytes(b"\xff\xfe")
    for name, message in ((str(text), "expected UTF-8"), (str(model), "takes texts in .txt files")):
        assert main(["predict", str(model), name]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "documents"], "--model documents and --text-column go together"),
        (["--text-column", "review", "--model", "mlp"], "--model documents and --text-column go together"),
        (["--text-column", "review", "--augment", "light"], "--augment goes with image models"),
        (["--text-column", "text"], "expected one column 'text', got the columns ['id', 'review', 'stars']"),
        (["--text-column", "7"], "expected a column in 0..2, got 7"),
    ],
)
def test_train_refuses(
    words: list[str], message: str, trained: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    numbers = tmp_path / "numbers.csv"
    numbers.write_text("a,b\n1,0\n2,1\n")
    source = trained[0] if "--text-column" in words else numbers
    assert main(["train", str(source), *words, "--quiet", "--output", str(tmp_path / "m")]) == 2
    assert message in capsys.readouterr().err


def test_eval_needs_the_column(trained: tuple[Path, Path], mlp: Path, digits: Path, capsys: Capture) -> None:
    table, model = trained
    assert main(["eval", str(model), str(table)]) == 2
    assert "--text-column goes with documents" in capsys.readouterr().err
    assert main(["train", str(digits), "--text-column", "x", "--output", str(model)]) == 2
    assert "expected a .csv with --text-column" in capsys.readouterr().err
    assert main(["eval", str(mlp), str(table), "--text-column", "review"]) == 2
    assert "--text-column goes with documents" in capsys.readouterr().err


def test_a_tagger_is_no_classifier(tmp_path: Path, capsys: Capture) -> None:
    tagger = dc.SequenceTagger(epochs=1, hidden=4, embedding=4).fit([["a", "b"]] * 4, [["X", "Y"]] * 4)
    tagger.save(tmp_path / "t")
    assert main(["predict", str(tmp_path / "t"), "x.txt"]) == 2
    assert "expected a classifier or a language model, got SequenceTagger" in capsys.readouterr().err
