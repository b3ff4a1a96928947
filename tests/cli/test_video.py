"""Videos by the command: train on a folder of classes or an NPZ, predict files, clear refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore.cli import main
from tests.cli.arrays import write_npz

Capture = pytest.CaptureFixture[str]
SMALL = ["--width", "4", "--hidden", "16", "--lr", "0.01", "--quiet"]


def bars(n: int, seed: int, steps: int = 5) -> tuple[Any, Any]:
    """A bar that goes up or down, (n, steps, 8, 8): a single frame says nothing."""
    rng = np.random.default_rng(seed)
    down, row = rng.integers(0, 2, n), rng.integers(0, 8, n)
    x = np.zeros((n, steps, 8, 8), np.uint8)
    for t in range(steps):
        x[np.arange(n), t, (row + np.where(down == 1, t, -t)) % 8] = 255
    return x, down


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (x, y), (x_test, y_test) = bars(200, 0), bars(60, 1)
    path = tmp_path_factory.mktemp("video") / "bars.npz"
    return write_npz(path, x_train=x, y_train=y, x_test=x_test, y_test=y_test)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("av")
    from deepcore.data.video import VideoWriter

    root = tmp_path_factory.mktemp("clips")
    for name in ("down", "up"):
        (root / name).mkdir()
    x, y = bars(24, 2)
    for i, (clip, down) in enumerate(zip(x, y)):
        with VideoWriter(root / ("down" if down else "up") / f"{i:02d}.mp4", 10) as video:
            for frame in clip:
                video.write(np.repeat(frame[..., None], 3, -1).repeat(4, 0).repeat(4, 1))
    return root


@pytest.fixture(scope="module")
def watcher(folder: Path) -> Path:
    path = folder.parent / "watcher.safetensors"
    words = ["video", "train", str(folder), "--size", "8", "--grey", "--epochs", "40", *SMALL, "--batch-size", "8"]
    assert main([*words, "--output", str(path)]) == 0
    return path


def test_folder_of_videos(watcher: Path, folder: Path, capsys: Capture) -> None:
    videos = sorted(folder.glob("*/*.mp4"))
    capsys.readouterr()
    assert main(["video", "predict", str(watcher), *map(str, videos), "--json", "--top", "2"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["file"] for row in rows] == list(map(str, videos))
    right = [row["classes"][0]["label"] == path.parent.name for row, path in zip(rows, videos)]
    assert np.mean(right) > 0.9
    assert all(sum(c["probability"] for c in row["classes"]) == pytest.approx(1) for row in rows)
    assert main(["video", "predict", str(watcher), str(videos[0])]) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{videos[0]}  {rows[0]['classes'][0]['label']} (") and line.endswith(" %)\n")


def test_arrays_report_and_frames(arrays: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    model, report = tmp_path / "m.safetensors", tmp_path / "r.html"
    words = ["video", "train", str(arrays), "--decision", "frame", "--epochs", "15", *SMALL, "--report", str(report),
             "--output", str(model), "--validation", "0.1"]  # fmt: skip
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["samples"] == 200 and result["classes"] == [0, 1] and result["test_accuracy"] > 0.75
    assert "Accuracy over time" in report.read_text("utf-8")
    x, _ = bars(3, 5)
    new = write_npz(tmp_path / "new.npz", x=x, lengths=np.array([5, 2, 4]))
    assert main(["video", "predict", str(model), str(new), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [len(row["labels"]) for row in rows] == [5, 2, 4] and rows[1]["file"] == f"{new}[1]"
    assert main(["video", "predict", str(model), str(new)]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith(f"{new}[0]  1")
    assert main(["video", "train", str(arrays), "--epochs", "1", *SMALL, "--output", str(model)]) == 0
    out = capsys.readouterr().out
    assert "trained on 200 clips of 2 classes" in out and "test accuracy" in out and f"saved {model}" in out


def test_resume_goes_on(arrays: Path, tmp_path: Path, capsys: Capture) -> None:
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    common = ["video", "train", str(arrays), *SMALL, "--cell", "conv_gru", "--augment", "light", "--max-seconds"]
    checkpoint = ["--checkpoint", str(tmp_path / "c")]
    assert main([*common, "1e-9", "--epochs", "2", *checkpoint, "--output", str(paths[0])]) == 0
    assert main([*common, "999", "--epochs", "2", *checkpoint, "--resume", "--output", str(paths[0]), "--json"]) == 0
    resumed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert main([*common, "999", "--epochs", "2", "--output", str(paths[1]), "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert resumed["last"]["loss"] == whole["last"]["loss"] and resumed["test_accuracy"] == whole["test_accuracy"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"x": bars(4, 0)[0]}, "expected x and y, or x_train and y_train"),
        ({"x": np.zeros((4, 8, 8)), "y": np.arange(4)}, r"expected x \(n, t, h, w\[, c\]\)"),
        ({"x": bars(4, 0)[0], "y": np.arange(4) % 2, "lengths": np.array([5, 0, 1, 2])}, "got 0 for clip 1"),
        ({"x": bars(4, 0)[0], "y": np.arange(4) % 2, "lengths": np.array([5, 3, 1, 6])}, "got 6 for clip 3"),
        ({"x": bars(4, 0)[0], "y": np.arange(4) % 2, "lengths": np.array([5, 3])}, "expected 4 whole numbers"),
        ({"x_train": bars(4, 0)[0], "y_train": np.arange(4) % 2, "lengths": np.full(4, 5)}, "expected lengths_train"),
        ({"x": bars(4, 0)[0], "y": np.arange(3) % 2}, "inconsistent numbers of samples"),
    ],
)
def test_bad_arrays(content: dict[str, Any], text: str, tmp_path: Path, capsys: Capture) -> None:
    path = write_npz(tmp_path / "bad.npz", **content)
    assert main(["video", "train", str(path), "--output", str(tmp_path / "m")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("deepcore video: ") and re.search(text, error), error


def test_refusals(arrays: Path, watcher: Path, folder: Path, mlp: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"nothing of a video")
    (tmp_path / "empty").mkdir()
    plain = write_npz(tmp_path / "plain.npz", y=np.arange(3))
    output = ["--output", str(tmp_path / "m")]
    for words, text in (
        (["train", str(tmp_path / "none"), *output], "no such file or folder"),
        (["train", str(tmp_path / "broken.mp4"), *output], "expected a folder or an .npz"),
        (["train", str(tmp_path / "empty"), *output], "expected one folder per class"),
        (["train", str(arrays), "--resume", *output], "--resume needs --checkpoint"),
        (["train", str(arrays), "--output", str(tmp_path / "no" / "m")], "there is no folder"),
        (["train", str(folder), "--report", str(tmp_path / "r.html"), *output], "--report needs an .npz"),
        (["train", str(arrays), "--cell", "cell", *output], "expected cell in"),
        (["predict", str(watcher), str(tmp_path / "broken.mp4")], "broken.mp4"),
        (["predict", str(watcher), str(plain)], "expected x; it holds ['y']"),
        (["predict", str(watcher), str(arrays), "--top", "0"], "--top >= 1"),
        (["predict", str(mlp), str(arrays)], "expected a VideoClassifier, got MLPClassifier"),
    ):
        assert main(["video", *words]) == 2, words
        assert text in capsys.readouterr().err, words
    for words in (["predict", str(watcher), "a.png"], ["eval", str(watcher), str(arrays)]):
        assert main(words) == 2
        assert "goes with deepcore video predict" in capsys.readouterr().err
