"""deepcore forecast: train on a table, continue it, refuse."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from deepcore import Forecaster
from deepcore.cli import main

Capture = pytest.CaptureFixture[str]
SMALL = ["--lookback", "24", "--horizon", "12", "--units", "8", "--quiet"]


def table(path: Path, n: int = 300, start: str = "2024-01-01T00") -> np.ndarray:
    """Two waves by the hour."""
    t = np.arange(n)
    values = np.stack([np.sin(t / 4), 5 + np.cos(t / 6)], 1)
    times = np.datetime64(start, "h") + t
    rows = "".join(f"{d},{a:.6f},{b:.6f}\n" for d, (a, b) in zip(times, values))
    path.write_text("date,load,wind\n" + rows)
    return values


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("waves")
    path, model = folder / "waves.csv", folder / "m.safetensors"
    table(path)
    assert main(["forecast", "train", str(path), "--time", "date", *SMALL, "--epochs", "60", "--lr", "0.02",
                 "--patience", "60", "--output", str(model)]) == 0  # fmt: skip
    return path, model


def test_predict(waves: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    path, model = waves
    capsys.readouterr()
    words = ["forecast", "predict", str(model), str(path), "--time", "date"]
    assert main([*words, "--coverage", "0.8"]) == 0
    rows = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert rows[0] == ["date", "load", "load_low", "load_high", "wind", "wind_low", "wind_high"]
    assert [row[0] for row in rows[1:3]] == ["2024-01-13T12", "2024-01-13T13"] and len(rows) == 13
    found = np.array([[float(cell) for cell in row[1:]] for row in rows[1:]])
    t = np.arange(300, 312)
    np.testing.assert_allclose(found[:, [0, 3]], np.stack([np.sin(t / 4), 5 + np.cos(t / 6)], 1), atol=0.5)
    assert (found[:, 1] <= found[:, 2]).all() and (found[:, 4] <= found[:, 5]).all()
    assert main([*words, "--horizon", "5", "--output", str(tmp_path / "o.csv")]) == 0
    more = list(csv.reader((tmp_path / "o.csv").read_text().splitlines()))
    assert not capsys.readouterr().out and more[0] == ["date", "load", "wind"]
    assert [row[1] for row in more[1:]] == [row[1] for row in rows[1:6]]
    assert main(["forecast", "predict", str(model), str(path), "--columns", "load", "wind", "--horizon", "2"]) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == ["step", "300", "301"]


def test_options_report_and_result(waves: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    words = ["forecast", "train", str(waves[0]), "--time", "date", "--columns", "wind", *SMALL, "--strategy", "segment",
             "--segment", "6", "--normalisation", "none", "--calendar", "hour", "--loss", "quantile", "--epochs", "1",
             "--channels", "joint", "--cell", "lstm", "--report", str(tmp_path / "r.html"), "--season", "24",
             "--output", str(tmp_path / "m")]  # fmt: skip
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["rows"] == 300 and result["columns"] == ["wind"] and "val_loss" in result["last"]
    params = Forecaster.load(tmp_path / "m").get_params()
    expected = {"strategy": "segment", "segment": 6, "normalisation": None, "calendar": ("hour",), "loss": "quantile",
                "channels": "joint", "cell": "lstm", "lookback": 24, "horizon": 12, "hidden": 8}  # fmt: skip
    assert {name: params[name] for name in expected} == expected
    assert "<svg" in (tmp_path / "r.html").read_text()
    assert main([*words, "--validation", "0.3"]) == 0
    out = capsys.readouterr().out
    assert "300 rows of wind in" in out and "best quantile of the rows held out" in out and "report -> " in out


def test_wrong_use_is_named(waves: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    path, model = map(str, waves)
    (tmp_path / "words.csv").write_text("date,load\n2024-01-01,a\n")
    (tmp_path / "clock.csv").write_text("date,load\nnoon,1\n")
    table(tmp_path / "short.csv", 20)
    gap = waves[0].read_text().splitlines()
    (tmp_path / "gap.csv").write_text("\n".join(gap[:40] + gap[41:]) + "\n")
    train, predict = ["forecast", "train"], ["forecast", "predict"]
    for words, message in (
        ([*train, str(tmp_path / "words.csv"), "--time", "date"], "expected a finite number, got 'a' in line 2"),
        ([*train, str(tmp_path / "clock.csv"), "--time", "date"], "expected timestamps in column 'date'"),
        ([*train, str(tmp_path / "short.csv"), "--time", "date", *SMALL], "expected at least"),
        ([*train, str(tmp_path / "gap.csv"), "--time", "date", *SMALL], "expected a step of 1 hours"),
        ([*train, path, "--time", "day"], "expected one column 'day'"),
        ([*train, path, "--time", "date", "--validation", "0", "--report", "r"], "--report needs --validation > 0"),
        ([*train, path, "--time", "date", "--season", "3"], "--season goes with --report"),
        ([*train, path, "--time", "date", "--calendar", "moon", *SMALL], "expected calendar None or periods"),
        ([*predict, model, path, "--time", "date", "--columns", "load"], "expected 2 channels as in fit, got 1"),
        ([*predict, model, str(tmp_path / "short.csv"), "--time", "date"], "a history of at least 24 rows, got 20"),
        ([*predict, model, path, "--time", "date", "--horizon", "99", "--coverage", "0.8"], "expected horizon <= 12"),
        ([*predict, path, path, "--time", "date"], "expected a whole safetensors file"),
    ):
        assert main(words) == 2, words
        assert message in capsys.readouterr().err, words
