"""`deepcore eval` and `deepcore predict`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import data
from deepcore.cli import main
from deepcore.train import save_checkpoint
from tests.cli.arrays import IMAGES, write_npz

Capture = pytest.CaptureFixture[str]


def test_eval_text_and_report(lenet: Path, digits: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    report = tmp_path / "r.html"
    assert main(["eval", str(lenet), str(digits), "--report", str(report)]) == 0
    assert capsys.readouterr().out.startswith("100 samples  accuracy ")
    assert report.read_text().startswith("<!DOCTYPE html>")


def test_eval_refuses_what_does_not_fit(lenet: Path, mlp: Path, digits: Path, tmp_path: Path, capsys: Capture) -> None:
    others = write_npz(tmp_path / "o.npz", x=IMAGES, y=np.arange(20) + 5)
    words = write_npz(tmp_path / "w.npz", x=IMAGES, y=np.array(["a", "b"] * 10))
    larger = write_npz(tmp_path / "l.npz", x=np.zeros((4, 9, 9), np.uint8), y=np.arange(4))
    for model, source, extra, message in (
        (lenet, others, [], "label 10 is unknown to the model"),
        (lenet, words, [], "label 'a' is unknown to the model"),
        (lenet, larger, [], "expected images of (8, 8, 1), got (9, 9, 1)"),
        (mlp, larger, [], "81 features"),
        (mlp, digits, ["--report", str(tmp_path / "r")], "--report goes with image models"),
    ):
        assert main(["eval", str(model), str(source), *extra]) == 2
        assert message in capsys.readouterr().err


def _foreign(path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(3, np.float32)}, path)


def _regressor(path: Path) -> None:
    x = np.arange(20.0)[:, None]
    dc.MLPRegressor((4,), epochs=1).fit(x, x[:, 0]).save(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_text("hello"), "whole safetensors file"),
        (lambda p: p.write_bytes(b""), "whole safetensors file"),
        (_foreign, "another safetensors file"),
        (lambda p: save_checkpoint(p, {}, {"kind": "trainer"}), "expected a saved estimator, got 'trainer'"),
        (lambda p: save_checkpoint(p, {}, {"kind": "deepcore estimator", "class": "os"}), "expected a saved estimator"),
        (lambda p: save_checkpoint(p, {}, {"kind": "deepcore estimator", "class": "MLPClassifier"}), "whole MLPClass"),
        (_regressor, "expected a classifier or a language model, got MLPRegressor"),
    ],
    ids=["text", "empty", "foreign", "checkpoint", "class", "hollow", "regressor"],
)
def test_wrong_model_file(make: Callable[[Path], Any], message: str, tmp_path: Path, capsys: Capture) -> None:
    make(tmp_path / "m")
    for words in (["eval", str(tmp_path / "m"), "digits"], ["predict", str(tmp_path / "m"), "a.png"]):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"deepcore {words[0]}: ") and message in err


def test_predict_pictures_and_arrays(lenet: Path, mlp: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("PIL")
    _, _, x_test, _ = data.load_digits()
    images = np.asarray(x_test[:3])
    data.write_image(tmp_path / "a.png", images[0])
    np.save(tmp_path / "b.npy", images)
    picture, array = str(tmp_path / "a.png"), str(tmp_path / "b.npy")
    expected = dc.ImageClassifier.load(lenet).predict_proba(images)

    assert main(["predict", str(lenet), picture, array, "--top", "3", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["file"] for row in rows] == [picture, *(f"{array}[{i}]" for i in range(3))]
    for row, p in zip(rows, [expected[0], *expected], strict=True):
        assert [c["label"] for c in row["classes"]] == np.argsort(-p, kind="stable")[:3].tolist()
        np.testing.assert_allclose([c["probability"] for c in row["classes"]], np.sort(p)[::-1][:3], rtol=1e-5)

    assert main(["predict", str(lenet), picture]) == 0
    assert capsys.readouterr().out == f"{picture}  {expected[0].argmax()} ({100 * expected[0].max():.1f} %)\n"

    # the MLP gets the images as rows, scaled as in training
    assert main(["predict", str(mlp), array, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    scaled = images.reshape(3, -1).astype(np.float32) / 255
    assert [row["classes"][0]["label"] for row in rows] == dc.MLPClassifier.load(mlp).predict(scaled).tolist()


def _lying_npy(path: Path) -> None:
    np.save(path, np.zeros((4, 8, 8), np.uint8))
    honest = path.read_bytes()
    path.write_bytes(honest.replace(b"(4, 8, 8), }" + b" " * 11, b"(400000000000, 8, 8), }"))
    assert path.stat().st_size == len(honest) != 0 and path.read_bytes() != honest


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.npy", lambda p: p.write_bytes(b""), "expected a whole .npy file"),
        ("a.npy", lambda p: p.write_bytes(b"\x93NUMPY\1\0" + b"\0" * 9), "expected a whole .npy file"),
        ("a.npy", _lying_npy, "expected a whole .npy file"),
        ("a.npy", lambda p: np.save(p, np.array([None]), allow_pickle=True), "expected a whole .npy file"),
        ("a.npy", lambda p: np.save(p, np.float32(3)), "got shape ()"),
        ("a.npy", lambda p: np.save(p, np.zeros((2, 5, 5))), "expected images of (8, 8, 1), got (5, 5, 1)"),
        ("a.npy", lambda p: np.save(p, np.full((2, 8, 8), np.nan)), "image 0 holds NaN"),
        ("a.png", lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 30), "expected a whole picture"),
        ("a.png", lambda p: None, "No such file"),
    ],
)
def test_predict_refuses(
    name: str, make: Callable[[Path], Any], message: str, lenet: Path, tmp_path: Path, capsys: Capture
) -> None:
    pytest.importorskip("PIL")
    make(tmp_path / name)
    assert main(["predict", str(lenet), str(tmp_path / name)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("deepcore predict: ") and message in err


def test_predict_options(lenet: Path, mlp: Path, capsys: Capture) -> None:
    assert main(["predict", str(lenet), "a.png", "--top", "0"]) == 2
    assert "expected --top >= 1, got 0" in capsys.readouterr().err
    assert main(["predict", str(mlp), "a.png"]) == 2
    assert "this model takes .npy arrays (n, 64)" in capsys.readouterr().err
