"""deepcore seq2seq: train on pairs of texts, predict, refuse."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from deepcore import Seq2Seq, data
from deepcore.cli import main

Capture = pytest.CaptureFixture[str]
SMALL = ["--units", "48", "--embedding", "24", "--cell", "gru", "--batch-size", "16", "--lr", "0.01", "--quiet"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "dates.tsv"
    path.write_text("".join(f"{a}\t{b}\n" for a, b in zip(*data.dates(700, seed=0))))
    return path


@pytest.fixture(scope="module")
def model(pairs: Path) -> Path:
    path = pairs.parent / "m.safetensors"
    assert main(["seq2seq", "train", str(pairs), "--epochs", "6", *SMALL, "--output", str(path)]) == 0
    return path


def test_predict(model: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    capsys.readouterr()
    texts = data.dates(5, seed=1)[0]
    expected = Seq2Seq.load(model).predict(texts)
    (tmp_path / "s.txt").write_text("\n".join(texts) + "\n")
    assert main(["seq2seq", "predict", str(model), str(tmp_path / "s.txt")]) == 0
    assert capsys.readouterr().out.splitlines() == expected
    assert main(["seq2seq", "predict", str(model), "--text", texts[0], "--text", texts[1]]) == 0
    assert capsys.readouterr().out.splitlines() == expected[:2]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(texts)))
    assert main(["seq2seq", "predict", str(model), "-", "--output", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out").read_text().splitlines() == expected and not capsys.readouterr().out
    words = ["seq2seq", "predict", str(model), "--text", texts[0], "--best", "3", "--length-penalty", "mean"]
    assert main(words) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == [texts[0]] * 3 and float(rows[0][2]) >= float(rows[1][2])
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["source"] == texts[0] and [o["output"] for o in found["outputs"]] == [row[1] for row in rows]
    assert set(found["outputs"][0]) == {"output", "log_probability", "score", "finished"}


def test_two_files_options_and_report(pairs: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    sources, targets = zip(*(line.split("\t") for line in pairs.read_text().splitlines()[:120]))
    (tmp_path / "a.txt").write_text("\n".join(sources))
    (tmp_path / "b.txt").write_text("\n".join(targets))
    words = [
        "seq2seq", "train", str(tmp_path / "a.txt"), str(tmp_path / "b.txt"), "--level", "word",
        "--target-level", "char", "--min-count", "2", "--one-way", "--reverse", "--attention", "additive",
        "--input-feeding", "--epochs", "1",
        "--scheduled-sampling", "linear", "--final-teaching", "0.7", "--beam", "3", "--length-penalty", "mean",
        "--units", "8", "--layers", "2", "--quiet", "--output", str(tmp_path / "m"),
        "--report", str(tmp_path / "r.html"),
    ]  # fmt: skip
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["pairs"] == 108 and result["held_out"] == 12 and 0 <= result["exact"] <= 1
    params = Seq2Seq.load(tmp_path / "m").get_params()
    expected = {
        "level": "word", "target_level": "char", "min_count": 2, "bidirectional": False, "reverse": True,
        "attention": "additive", "input_feeding": True, "scheduled_sampling": "linear", "final_teaching": 0.7,
        "beam": 3, "length_penalty": "mean", "hidden": 8, "layers": 2,
    }  # fmt: skip
    assert {name: params[name] for name in expected} == expected
    assert "Exact matches by length" in (tmp_path / "r.html").read_text()
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "108 pairs in" in out and "of 12 pairs held out" in out and "report -> " in out


def test_wrong_use_is_named(model: Path, pairs: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "tabs.tsv").write_text("a\tb\na b\n")
    (tmp_path / "side.tsv").write_text("a\tb\n \tb\n")
    (tmp_path / "none.tsv").write_text("\n\n")
    (tmp_path / "latin.tsv").write_bytes(b"\xe9\tb\n")
    (tmp_path / "gap.txt").write_text("3 may 1999\n\n")
    train, predict = ["seq2seq", "train"], ["seq2seq", "predict"]
    for words, message in (
        ([*train, str(tmp_path / "tabs.tsv")], "tabs.tsv, line 2: expected source, tab, target, got 0 tabs"),
        ([*train, str(tmp_path / "side.tsv")], "side.tsv, line 2: expected a text, got an empty one"),
        ([*train, str(tmp_path / "none.tsv")], "expected at least one pair, got none"),
        ([*train, str(tmp_path / "latin.tsv")], "expected text in UTF-8"),
        ([*train, str(pairs), str(tmp_path / "gap.txt")], "expected as many lines as"),
        ([*train, str(pairs), str(pairs), str(pairs)], "expected a TSV file or two text files, got 3 files"),
        ([*train, str(tmp_path / "missing.tsv")], "No such file"),
        ([*train, str(pairs), "--validation", "1"], "expected --validation in [0, 1), got 1.0"),
        ([*train, str(pairs), "--validation", "0", "--report", "r"], "--report needs --validation > 0"),
        ([*train, str(pairs), "--beam", "99"], "no wider than the target vocabulary"),
        ([*predict, str(model)], "expected a file of sources or --text"),
        ([*predict, str(model), str(pairs), "--text", "a"], "expected a file of sources or --text"),
        ([*predict, str(model), "--text", "~"], "source 0: Vocabulary"),
        ([*predict, str(model), "--text", "may", "--beam", "99"], "no wider than the target vocabulary"),
        ([*predict, str(model), "--text", "may", "--best", "0"], "expected --best >= 1, got 0"),
        ([*predict, str(model), "--text", "may", "--best", "3", "--beam", "2"], "expected --best <= --beam 2, got 3"),
        ([*predict, str(model), str(tmp_path / "gap.txt")], "gap.txt, line 2: expected a text, got an empty one"),
        ([*predict, str(tmp_path / "gap.txt"), "--text", "may"], "expected a whole safetensors file"),
    ):
        assert main(words) == 2, words
        assert message in capsys.readouterr().err, words
    with pytest.raises(SystemExit):
        main([*train, str(pairs), "--length-penalty", "most"])
    assert "--length-penalty: expected a number or 'mean', got 'most'" in capsys.readouterr().err
