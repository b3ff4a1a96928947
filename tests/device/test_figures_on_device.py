"""The recipes of `python -m bench accept --device cuda` on made images: every operation they need works there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import accept
from bench.accept import classifiers
from deepcore.data import write_idx
from deepcore.estimators import ImageClassifier, MLPClassifier


def pictures(n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Bright squares on noise, one place for each of ten classes."""
    y = (np.arange(n) % 10).astype(np.uint8)
    x = np.random.default_rng(n).integers(0, 60, (n, 28, 28)).astype(np.uint8)
    for image, label in zip(x, y, strict=True):
        row, column = divmod(int(label), 4)
        image[7 * row : 7 * row + 6, 7 * column : 7 * column + 6] += 180
    return x, y


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("mnist", "fashion_mnist"):
        (tmp_path / name).mkdir()
        for part, n in (("train", 20), ("t10k", 4)):
            x, y = pictures(n)
            write_idx(tmp_path / name / f"{part}-images-idx3-ubyte", x)
            write_idx(tmp_path / name / f"{part}-labels-idx1-ubyte", y)
    return tmp_path


def run(name: str, folder: Path, device: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert accept.main([name, "--data", str(folder), "--device", device]) in (0, 1)
    result: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return result


def test_the_figure_of_the_conformance_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole, three epochs of one step each, and near the CPU's loss."""
    cpu, cuda = (run("cnn-mnist-quick", folder, device, capsys) for device in ("cpu", "cuda"))
    assert cuda["device"] == "cuda" and cuda["also"]["epochs"] == 3
    assert cuda["also"]["train_loss"] == pytest.approx(cpu["also"]["train_loss"], rel=1e-3)
    assert cuda["value"] == pytest.approx(cpu["value"], abs=0.26)  # one of the four images may be near a border


@pytest.mark.parametrize("name", ["mlp-mnist", "cnn-mnist", "cnn-fashion"])
def test_recipes(name: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One epoch of one step: augmentation, averaged weights, predictions averaged over shifts and mirror images."""
    for kind in (ImageClassifier, MLPClassifier):
        monkeypatch.setattr(classifiers, kind.__name__, lambda *a, kind=kind, **o: kind(*a, **{**o, "epochs": 1}))
    cpu, cuda = (run(name, folder, device, capsys) for device in ("cpu", "cuda"))
    assert cuda["also"]["epochs"] == 1
    assert cuda["also"]["train_loss"] == pytest.approx(cpu["also"]["train_loss"], rel=1e-3)
