"""What tests of the commands share: a data set and two models that the commands trained."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from deepcore import data
from deepcore.cli import main


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz of a small share of the packaged digits, with a split of its own."""
    x_train, y_train, x_test, y_test = data.load_digits()
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(path, x_train=x_train[:600], y_train=y_train[:600], x_test=x_test[:100], y_test=y_test[:100])
    return path


@pytest.fixture(scope="session")
def lenet(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LeNet-5 trained by the command."""
    path = tmp_path_factory.mktemp("lenet") / "lenet.safetensors"
    assert main(["train", str(digits), "--epochs", "6", "--lr", "0.004", "--quiet", "--output", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def mlp(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLP trained by the command on the same images, as rows."""
    path = tmp_path_factory.mktemp("mlp") / "mlp.safetensors"
    arguments = ["--model", "mlp", "--hidden", "32", "--epochs", "10", "--lr", "0.01", "--quiet", "--output", str(path)]
    assert main(["train", str(digits), *arguments]) == 0
    return path


@pytest.fixture
def no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """The viz extra is not installed."""
    for name in [n for n in sys.modules if n.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
