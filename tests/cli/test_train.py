"""`deepcore train`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import deepcore as dc
from deepcore import data
from deepcore.cli import main
from deepcore.train import load_checkpoint

Capture = pytest.CaptureFixture[str]


def test_train_prints_and_saves(digits: Path, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "m.safetensors"
    assert main(["train", str(digits), "--epochs", "1", "--quiet", "--json", "--output", str(path)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["model"] == "lenet5" and result["samples"] == 600 and result["output"] == str(path)
    assert 0 <= result["test_accuracy"] <= 1 and result["last"]["epoch"] == 1
    assert isinstance(dc.ImageClassifier.load(path), dc.ImageClassifier)


def test_train_learns(lenet: Path, mlp: Path, digits: Path, capsys: Capture) -> None:
    for path, at_least in ((lenet, 0.8), (mlp, 0.8)):
        assert main(["eval", str(path), str(digits), "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["samples"] == 100 and result["accuracy"] > at_least
        assert result["log_loss"] > 0 and 0 < result["f1_macro"] <= 1


def test_train_on_the_packaged_digits_with_augmentation(tmp_path: Path, capsys: Capture) -> None:
    output = ["--output", str(tmp_path / "m")]
    assert main(["train", "digits", "--epochs", "1", "--augment", "light", *output]) == 0
    out = capsys.readouterr().out
    assert "trained lenet5 on 1,4" in out or "trained lenet5 on 1," in out
    assert "test accuracy" in out and f"saved {tmp_path / 'm'}" in out


def test_train_on_a_table(tmp_path: Path, capsys: Capture) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3))
    lines = [f"{a},{b},{c},{'yes' if a + b > 0 else 'no'}" for a, b, c in x]
    table = tmp_path / "t.csv"
    table.write_text("a,b,c,answer\n" + "\n".join(lines) + "\n")
    for target in ("answer", "-1", "3"):
        code = main(["train", str(table), "--target", target, "--epochs", "30", "--lr", "0.01", "--quiet",
                     "--output", str(tmp_path / "m")])  # fmt: skip
        assert code == 0, capsys.readouterr().err
    text = capsys.readouterr().out
    assert "trained mlp on 200 samples" in text and "test accuracy" not in text  # no split of its own
    assert main(["eval", str(tmp_path / "m"), str(table), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] > 0.9


def test_train_on_a_folder_of_pictures(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("PIL")
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name, level in (("dark", 40), ("light", 200)):
            folder = tmp_path / "set" / split / name
            folder.mkdir(parents=True)
            for i in range(12):
                pixels = np.clip(rng.normal(level, 20, (12, 12, 3)), 0, 255).astype(np.uint8)
                data.write_image(folder / f"{i}.png", pixels)
    where = [str(tmp_path / "set"), "--size", "12"]
    model = str(tmp_path / "m")
    code = main(["train", *where, "--epochs", "20", "--lr", "0.01", "--batch-size", "8", "--quiet", "--output", model])
    assert code == 0, capsys.readouterr().err
    assert main(["eval", model, *where, "--split", "train", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["accuracy"] == 1.0
    picture = str(tmp_path / "set" / "test" / "light" / "3.png")
    assert main(["predict", model, picture]) == 0
    assert capsys.readouterr().out.startswith(f"{picture}  light (")


def test_train_writes_the_report(digits: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    model, report = str(tmp_path / "m"), tmp_path / "r.html"
    words = ["train", str(digits), "--epochs", "1", "--quiet", "--json", "--output", model, "--report", str(report)]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["report"] == str(report)
    assert report.read_text().startswith("<!DOCTYPE html>")


def test_report_without_the_extra_keeps_the_model(
    digits: Path, tmp_path: Path, capsys: Capture, no_matplotlib: None
) -> None:
    model = tmp_path / "m"
    words = ["train", str(digits), "--epochs", "1", "--quiet", "--output", str(model), "--report", str(tmp_path / "r")]
    assert main(words) == 1
    assert "pip install 'deepcore[viz]'" in capsys.readouterr().err
    assert isinstance(dc.ImageClassifier.load(model), dc.ImageClassifier)


def test_ctrl_c_leaves_a_checkpoint_and_resume_goes_on(digits: Path, tmp_path: Path, capsys: Capture) -> None:
    checkpoint, model = tmp_path / "c", tmp_path / "m"
    words = ["train", str(digits), "--model", "mlp", "--hidden", "16", "--epochs", "60", "--quiet",
             "--checkpoint", str(checkpoint), "--output", str(model)]  # fmt: skip
    with subprocess.Popen([sys.executable, "-m", "deepcore", *words, "--epochs", "1000000"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:  # fmt: skip
        end = time.monotonic() + 60
        while not checkpoint.exists() and time.monotonic() < end:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert err.splitlines()[-1] == "interrupted" and "Traceback" not in err and out == ""
    assert not model.exists()
    _, meta = load_checkpoint(checkpoint)
    assert meta["history"] is not None
    done = len(meta["history"])
    words += ["--resume", "--epochs", str(done + 2), "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["last"]["epoch"] == done + 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume"], "--resume needs --checkpoint"),
        (["--model", "mlp", "--hidden", "12,many"], "--hidden as sizes like 256,128, got '12,many'"),
        (["--model", "mlp", "--hidden", "0"], "hidden sizes >= 1"),
        (["--model", "mlp", "--augment", "light"], "go with image models"),
        (["--model", "mlp", "--report", "r.html"], "go with image models"),
        (["--optimizer", "magic"], "got 'magic'"),
        (["--epochs", "0"], "epochs >= 1"),
        (["--batch-size", "0"], "batch_size >= 1"),
        (["--validation", "1.5"], "validation_fraction"),
        (["--lr", "-1"], "lr"),
        (["--dropout", "2"], "got 2"),
        (["--device", "tpu"], "device"),
        (["--output", "/no/such/folder/m"], "there is no folder /no/such/folder"),
        (["--checkpoint", "/no/such/folder/c"], "there is no folder /no/such/folder"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_train_refuses(
    words: list[str], message: str, digits: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(digits), "--quiet", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("deepcore train: ") and message in err
    assert list(tmp_path.iterdir()) == []


def test_device_cuda_says_why_not(digits: Path, tmp_path: Path, capsys: Capture) -> None:
    if dc.cuda.is_available():
        pytest.skip("this build has CUDA")
    assert main(["train", str(digits), "--device", "cuda", "--output", str(tmp_path / "m")]) == 1
    assert dc.cuda.reason() in capsys.readouterr().err
