"""Data that `deepcore train` cannot use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore.cli import main
from tests.cli.arrays import IMAGES, write_npz

Capture = pytest.CaptureFixture[str]


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda p: p / "none", "no such file or folder, and not one of digits, mnist"),
    "kind": (lambda p: (p / "a.dat").write_text("x") and p / "a.dat", "expected a folder, .npz or .csv"),
    "names": (lambda p: write_npz(p / "a.npz", a=IMAGES), "expected x_train and y_train, or x and y; it holds ['a']"),
    "truncated": (lambda p: (p / "a.npz").write_bytes(b"PK\3\4" + b"\0" * 40) and p / "a.npz", "whole .npz"),
    "lengths": (lambda p: write_npz(p / "a.npz", x=IMAGES, y=np.arange(19)), "expected 20 labels, got shape (19,)"),
    "scalar": (lambda p: write_npz(p / "a.npz", x=np.float32(1), y=np.arange(1)), "got shape ()"),
    "empty": (lambda p: write_npz(p / "a.npz", x=IMAGES[:0], y=np.arange(0)), "got shape (0, 8, 8)"),
    "one class": (lambda p: write_npz(p / "a.npz", x=IMAGES, y=np.ones(20, int)), "expected at least 2 classes"),
    "NaN": (
        lambda p: write_npz(p / "a.npz", x=np.where(np.arange(20) == 7, np.nan, 0.0)[:, None, None] + IMAGES,
                         y=np.arange(20) % 2),
        "image 7 holds NaN",
    ),
    "NaN in a row": (
        lambda p: write_npz(p / "a.npz", x=np.where(np.arange(20) == 7, np.nan, 0.0)[:, None] + np.ones((20, 3)),
                         y=np.arange(20) % 2),
        "in sample 7",
    ),
    "csv": (lambda p: (p / "a.csv").write_text("a,b\n1,x\nmany,y\n") and p / "a.csv", "'many' in line 3, column 'a'"),
    "empty folder": (lambda p: p, "expected one folder per class"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_data(name: str, tmp_path: Path, capsys: Capture) -> None:
    make, message = BAD[name]
    assert main(["train", str(make(tmp_path)), "--quiet", "--output", str(tmp_path / "m")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("deepcore train: ") and message in err
    assert not (tmp_path / "m").exists()


def test_mnist_that_is_not_there(tmp_path: Path, capsys: Capture) -> None:
    assert main(["train", "mnist", "--data-dir", str(tmp_path), "--output", str(tmp_path / "m")]) == 2
    assert "deepcore data fetch mnist" in capsys.readouterr().err
