"""deepcore caption: train on a folder and a table, say what pictures show, refuse what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepcore import Captioner, data
from deepcore.cli import main

pytest.importorskip("PIL")

Capture = pytest.CaptureFixture[str]
SMALL = ["--size", "27", "--grey", "--model", "lenet5", "--width", "4", "--units", "24", "--min-count", "1", "--quiet",
         "--epochs", "2"]  # fmt: skip


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("album")
    (root / "scenes").mkdir()
    images, captions = data.digit_scenes(60, 0, 27, most=1, both=True)
    lines = []
    for i, (image, own) in enumerate(zip(images, captions)):
        data.write_image(root / "scenes" / f"{i:02d}.png", image)
        lines += [f"{i:02d}.png\t{text}" for text in own]
    (root / "captions.tsv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def trained(album: Path) -> Path:
    path = album / "m.safetensors"
    words = ["caption", "train", str(album / "scenes"), str(album / "captions.tsv"), *SMALL, "--output", str(path)]
    assert main(words) == 0
    return path


def test_train_says_what_it_did(album: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    report, out = tmp_path / "r.html", tmp_path / "m"
    words = ["caption", "train", str(album / "scenes"), str(album / "captions.tsv"), *SMALL, "--pretrain", "words",
             "--pretrain-epochs", "1", "--report", str(report), "--output", str(out)]  # fmt: skip
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["pictures"] == 54 and result["held_out"]["pictures"] == 6 and result["last"]["epoch"] == 2
    assert "Gallery" in report.read_text() and Captioner.load(out).image_shape_ == (27, 27, 1)
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "trained on 54 pictures" in text and "held out, 6 pictures: BLEU-4" in text and f"report {report}" in text


def test_predict(album: Path, trained: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["caption", "predict", str(trained), str(album / "scenes" / "03.png"), "--beam", "1"]) == 0
    name, tab, caption = capsys.readouterr().out.rstrip("\n").partition("\t")
    assert name.endswith("03.png") and tab
    image = data.read_image(album / "scenes" / "03.png", grey=True)[None]
    assert caption == Captioner.load(trained).predict(image, beam=1)[0]
    assert main(["caption", "predict", str(trained), str(album / "scenes"), "--top", "2", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 60 and all(len(r["captions"]) == 2 for r in rows)
    assert main(["caption", "predict", str(trained), str(album / "scenes" / "03.png"), "--top", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_wrong_input(album: Path, trained: Path, tmp_path: Path, capsys: Capture) -> None:
    scenes = str(album / "scenes")

    def failing(*words: str) -> str:
        assert main(["caption", *words]) == 2
        return capsys.readouterr().err

    table = tmp_path / "t.tsv"
    table.write_text("00.png\ta one\nno tab here\n")
    assert "line 2, got 'no tab here'" in failing("train", scenes, str(table))
    table.write_text("\n")
    assert "expected lines FILE<TAB>CAPTION, got none" in failing("train", scenes, str(table))
    table.write_bytes(b"00.png\t\xff\n")
    assert "expected text in UTF-8" in failing("train", scenes, str(table))
    table.write_text("none.png\ta one\n")
    assert "none.png" in failing("train", scenes, str(table))
    good = str(album / "captions.tsv")
    assert "--resume needs --checkpoint" in failing("train", scenes, good, "--resume")
    assert "--report needs --validation" in failing("train", scenes, good, "--validation", "0", "--report", "r.html")
    assert "there is no folder" in failing("train", scenes, good, "--output", str(tmp_path / "a" / "m"))
    assert "--size >= 1" in failing("train", scenes, good, "--size", "0")
    assert "--top from 1 to the beam of 3, got 4" in failing("predict", str(trained), scenes, "--top", "4")
    assert "vocabulary" in failing("predict", str(trained), scenes, "--beam", "99")
    (tmp_path / "empty").mkdir()
    assert "expected pictures, got none" in failing("predict", str(trained), str(tmp_path / "empty"))
