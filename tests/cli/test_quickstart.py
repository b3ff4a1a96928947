"""`deepcore quickstart`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import deepcore as dc
from deepcore import data
from deepcore.cli import main

Capture = pytest.CaptureFixture[str]


def test_quickstart(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    folder = tmp_path / "new" / "quick"
    assert main(["quickstart", "--epochs", "2", "--output", str(folder), "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert sorted(result) == ["accuracy", "model", "report", "seconds"]
    assert result["accuracy"] > 0.5 and result["seconds"] > 0
    assert "Test accuracy" in err and "Try next" in err
    report = Path(result["report"]).read_text()
    assert report.startswith("<!DOCTYPE html>") and "Handwritten digits" in report
    _, _, x_test, y_test = data.load_digits()
    assert dc.ImageClassifier.load(result["model"]).score(x_test, y_test) == result["accuracy"]


def test_quickstart_without_the_extra(tmp_path: Path, capsys: Capture, no_matplotlib: None) -> None:
    assert main(["quickstart", "--epochs", "1", "--output", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "Test accuracy" in text and "pip install 'deepcore[viz]'" in text
    assert [p.name for p in tmp_path.iterdir()] == ["digits.safetensors"]


def test_quickstart_checks_before_training(tmp_path: Path, capsys: Capture) -> None:
    assert main(["quickstart", "--epochs", "0", "--output", str(tmp_path)]) == 2
    assert "epochs >= 1, got 0" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["quickstart", "--output", str(tmp_path / "file")]) == 1
    assert "Training" not in capsys.readouterr().out
