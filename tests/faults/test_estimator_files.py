"""Files of estimators: full disks, kills while saving, damaged and foreign files; pickles and copies."""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore.errors import CheckpointError
from deepcore.train import load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def classifier() -> dc.MLPClassifier:
    x = np.random.default_rng(0).standard_normal((60, 4))
    fitted: dc.MLPClassifier = dc.MLPClassifier((6,), epochs=3, random_state=0).fit(x, x[:, 0] > 0)
    return fitted


@pytest.fixture(scope="module")
def images() -> dc.ImageClassifier:
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    fitted: dc.ImageClassifier = dc.ImageClassifier(epochs=1, random_state=0).fit(x, np.arange(40) % 3)
    return fitted


def test_save_where_nothing_can_be_written(
    classifier: dc.MLPClassifier, images: dc.ImageClassifier, tmp_path: Path
) -> None:
    for path in (tmp_path / "none" / "m", tmp_path, Path("/proc/self/m")):
        with pytest.raises(OSError) as caught:
            classifier.save(path)
        assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []
    pytest.importorskip("matplotlib")
    x = np.zeros((6, 8, 8), np.uint8)
    with pytest.raises(OSError) as caught:
        images.report(tmp_path / "none" / "r.html", x, np.arange(6) % 3)
    assert str(tmp_path / "none" / "r.html") in str(caught.value)


FULL_DISK = """
import resource, signal, sys
import numpy as np
import deepcore as dc
model, what, path = dc.ImageClassifier.load(sys.argv[1]), sys.argv[2], sys.argv[3]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
if what == "report":
    import matplotlib.pyplot  # its cache of fonts is written before the disk is full
    model.report(path + ".first", np.zeros((6, 8, 8), np.uint8), np.arange(6) % 3)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    model.save(path) if what == "save" else model.report(path, np.zeros((6, 8, 8), np.uint8), np.arange(6) % 3)
except OSError as error:
    print(error.errno, error.filename)
"""


@pytest.mark.parametrize("what", ["save", "report"])
def test_full_disk(what: str, images: dc.ImageClassifier, tmp_path: Path) -> None:
    if what == "report":
        pytest.importorskip("matplotlib")
    model, path = tmp_path / "m", tmp_path / "to" / "file"
    images.save(model)
    path.parent.mkdir()
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(model), what, str(path)], capture_output=True, text=True
    )
    assert done.stdout.split() == ["27", str(path)], done.stderr  # EFBIG
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir() if not p.name.endswith(".first")] == ["file"]


def test_kill_while_saving_an_estimator(classifier: dc.MLPClassifier, tmp_path: Path) -> None:
    """After each of 100 kills the file loads and predicts as one of the two estimators that were being saved."""
    x = np.random.default_rng(1).standard_normal((50, 4))
    other = dc.MLPClassifier((200, 200), epochs=1, random_state=1).fit(x, x[:, 1] > 0)
    answers = {e.predict_proba(x).tobytes() for e in (classifier, other)}
    assert len(answers) == 2
    path = tmp_path / "m"
    classifier.save(path)
    chance = random.Random(0)
    seen = set()
    for _ in range(100):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(writer, b"x")
                while True:
                    other.save(path)
                    classifier.save(path)
            finally:
                os._exit(1)
        os.read(reader, 1)
        time.sleep(chance.uniform(0, 0.01))
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        os.close(reader)
        os.close(writer)
        seen.add(dc.MLPClassifier.load(path).predict_proba(x).tobytes())
    assert seen <= answers and seen


def test_every_truncation_of_a_model_is_refused(classifier: dc.MLPClassifier, tmp_path: Path) -> None:
    path = tmp_path / "m"
    classifier.save(path)
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError):
            dc.MLPClassifier.load(path)


def _tampered(arrays: dict[str, Any], meta: dict[str, Any], change: str) -> None:
    weight = next(n for n in arrays if n.startswith("model.") and arrays[n].ndim == 2)
    if change == "class":
        meta["class"] = "ImageClassifier"
    elif change == "kind":
        meta["kind"] = "something else"
    elif change == "option":
        meta["params"]["layers"] = 7
    elif change == "hidden":
        meta["params"]["hidden_layer_sizes" if "hidden_layer_sizes" in meta["params"] else "hidden"] = [5]
    elif change == "activation":
        meta["params"]["activation"] = "explode"
    elif change == "missing weight":
        del arrays[weight]
    elif change == "unknown weight":
        arrays["model.more"] = np.zeros(3, np.float32)
    elif change == "shape":
        arrays[weight] = arrays[weight].T.copy()
    elif change == "no history":
        del meta["history"]
    elif change == "params":
        meta["params"] = [1, 2]
    else:
        meta["classes"] = {"a": 1}


@pytest.mark.parametrize(
    "change",
    ["class", "kind", "option", "hidden", "activation", "missing weight", "unknown weight", "shape", "no history",
     "params", "classes"],
)  # fmt: skip
def test_tampered_model(change: str, classifier: dc.MLPClassifier, tmp_path: Path) -> None:
    path = tmp_path / "m"
    classifier.save(path)
    arrays, meta = load_checkpoint(path)
    _tampered(arrays, meta, change)
    save_checkpoint(path, arrays, meta)
    with pytest.raises(CheckpointError, match=str(path)):
        dc.MLPClassifier.load(path)


def test_foreign_model_files(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "safetensors")
    (tmp_path / "pickle").write_bytes(pickle.dumps({"w": 1}))
    (tmp_path / "zip").write_bytes(b"PK\3\4" + bytes(200))
    for name in ("safetensors", "pickle", "zip"):
        with pytest.raises(CheckpointError, match=name):
            dc.MLPClassifier.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        dc.MLPClassifier.load(tmp_path / "none")


def test_estimators_pickle_and_copy(classifier: dc.MLPClassifier) -> None:
    x = np.random.default_rng(0).standard_normal((9, 4))
    for again in (pickle.loads(pickle.dumps(classifier)), copy.deepcopy(classifier)):
        assert again.predict_proba(x).tobytes() == classifier.predict_proba(x).tobytes()
        assert json.dumps(again.history_) == json.dumps(classifier.history_)
