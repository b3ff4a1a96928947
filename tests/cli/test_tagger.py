"""deepcore tagger: train on tagged sentences, predict, refuse."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from deepcore import SequenceTagger
from deepcore.cli import main

Capture = pytest.CaptureFixture[str]


def tagged(n: int, seed: int) -> str:
    """Numbers and words, and which of them are which."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(n):
        for _ in range(rng.integers(2, 6)):
            number = rng.random() < 0.5
            token = str(rng.integers(100)) if number else rng.choice(["dog", "cat", "man"])
            lines.append(f"{token}\t{'CD' if number else 'NN'}")
        lines.append("")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    folder = tmp_path_factory.mktemp("tags")
    train, test, model = folder / "train.tsv", folder / "test.tsv", folder / "m.safetensors"
    train.write_text(tagged(120, 0))
    test.write_text(tagged(30, 1))
    assert main(["tagger", "train", str(train), "--units", "8", "--embedding", "8", "--epochs", "5", "--lr", "0.02",
                 "--quiet", "--output", str(model)]) == 0  # fmt: skip
    return train, test, model


def test_train_measures_and_reports(files: tuple[Path, Path, Path], tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    train, test, _ = files
    words = ["tagger", "train", str(train), "--test", str(test), "--cell", "gru", "--units", "8", "--layers", "2",
             "--embedding", "8", "--dropout", "0.1", "--epochs", "4", "--lr", "0.02", "--case", "--quiet",
             "--report", str(tmp_path / "r.html"), "--output", str(tmp_path / "m")]  # fmt: skip
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["sentences"] == 120 and result["tags"] == 2 and result["test"]["accuracy"] > 0.95
    params = SequenceTagger.load(tmp_path / "m").get_params()
    assert (params["lower"], params["cell"], params["layers"], params["dropout"]) == (False, "gru", 2, 0.1)
    assert "Sentences with most mistakes" in (tmp_path / "r.html").read_text()
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "120 sentences in" in out and "% of" in out and "report -> " in out


def test_predict(
    files: tuple[Path, Path, Path], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    model = str(files[2])
    capsys.readouterr()
    (tmp_path / "s.txt").write_text("dog 7\n8 cat man\n")
    expected = "dog\tNN\n7\tCD\n\n8\tCD\ncat\tNN\nman\tNN\n\n"
    assert main(["tagger", "predict", model, str(tmp_path / "s.txt")]) == 0
    assert capsys.readouterr().out == expected
    monkeypatch.setattr("sys.stdin", io.StringIO("dog 7\n8 cat man"))
    assert main(["tagger", "predict", model, "-", "--output", str(tmp_path / "o.tsv")]) == 0
    assert (tmp_path / "o.tsv").read_text() == expected and not capsys.readouterr().out
    assert main(["tagger", "predict", model, "--text", "dog 7", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"tokens": ["dog", "7"], "tags": ["NN", "CD"]}
    assert main(["tagger", "train", str(tmp_path / "o.tsv"), "--epochs", "1", "--units", "4", "--quiet",
                 "--output", str(tmp_path / "m")]) == 0  # fmt: skip


def test_wrong_use_is_named(files: tuple[Path, Path, Path], tmp_path: Path, capsys: Capture) -> None:
    train, _, model = map(str, files)
    (tmp_path / "bad.tsv").write_text("dog\tNN\ncat\n")
    (tmp_path / "none.tsv").write_text("\n\n")
    (tmp_path / "gap.txt").write_text("dog\n\n")
    for words, message in (
        (["train", str(tmp_path / "bad.tsv")], "bad.tsv, line 2: expected token, tab, tag, got 'cat'"),
        (["train", str(tmp_path / "none.tsv")], "expected at least one tagged sentence, got none"),
        (["train", train, "--report", "r"], "--report needs --test"),
        (["train", train, "--epochs", "0"], "expected epochs >= 1"),
        (["train", str(tmp_path / "missing")], "No such file"),
        (["predict", model], "expected a file of sentences or --text"),
        (["predict", model, train, "--text", "a"], "expected a file of sentences or --text"),
        (["predict", model, str(tmp_path / "gap.txt")], "gap.txt, line 2: expected a sentence, got an empty one"),
        (["predict", train, "--text", "a"], "expected a whole safetensors file"),
    ):
        assert main(["tagger", *words]) == 2, words
        assert message in capsys.readouterr().err, words
