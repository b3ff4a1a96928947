from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import cli, data
from deepcore.cli import main
from deepcore.train import load_checkpoint, save_checkpoint

Capture = pytest.CaptureFixture[str]


def parsers(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command that has no commands below it."""
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not groups:
        yield path
    for name, below in (item for group in groups for item in group.choices.items()):
        yield from parsers(below, (*path, name))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz of a small share of the packaged digits, with a split of its own."""
    x_train, y_train, x_test, y_test = data.load_digits()
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(path, x_train=x_train[:600], y_train=y_train[:600], x_test=x_test[:100], y_test=y_test[:100])
    return path


@pytest.fixture(scope="module")
def lenet(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LeNet-5 trained by the command."""
    path = tmp_path_factory.mktemp("lenet") / "lenet.safetensors"
    assert main(["train", str(digits), "--epochs", "6", "--lr", "0.004", "--quiet", "--output", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
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


# ---- help and wrong use ----
@pytest.mark.parametrize("words", list(parsers(cli.build_parser())), ids=" ".join)
def test_help_shows_an_example_of_the_command(words: tuple[str, ...], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as done:
        main([*words, "--help"])
    assert done.value.code == 0
    text = capsys.readouterr().out
    assert f"example:\n  deepcore {' '.join(words)}" in text or (
        words[0] == "bench" and "example:\n  deepcore bench" in text
    )


def test_examples_in_help_parse(capsys: Capture) -> None:
    commands = list(parsers(cli.build_parser()))
    assert len(commands) >= 7
    for words in commands:
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        example = capsys.readouterr().out.split("example:\n  deepcore ")[1].splitlines()[0]
        options = cli.build_parser().parse_args(example.split())
        assert options.command == words[0]


def test_top_level_help_and_version(capsys: Capture) -> None:
    for words in (["--help"], ["--version"]):
        with pytest.raises(SystemExit) as done:
            main(words)
        assert done.value.code == 0
    text = capsys.readouterr().out
    for name in ("quickstart", "train", "eval", "predict", "bench", "data", "info"):
        assert re.search(rf"^ +{name}\s+\w", text, re.MULTILINE)
    assert f"deepcore {dc.__version__}" in text


@pytest.mark.parametrize(
    "words",
    [[], ["paint"], ["data"], ["data", "fetch", "imagenet"], ["train"], ["train", "digits", "--epochs", "many"],
     ["train", "digits", "--model", "vit"], ["eval", "model"], ["predict", "model"], ["info", "extra"]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_use_exits_with_2(words: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as done:
        main(words)
    assert done.value.code == 2
    assert "usage: deepcore" in capsys.readouterr().err


def test_module_and_exit_codes_of_the_process(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "deepcore", *words], capture_output=True, text=True)

    done = run("info", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["version"] == dc.__version__
    done = run("eval", str(tmp_path / "none"), "digits")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("deepcore eval: ") and "Traceback" not in done.stderr


def test_reader_that_leaves_early() -> None:
    """`deepcore ... | head -0`: no traceback."""
    command = [sys.executable, "-c", "import time; time.sleep(0.3)\nfrom deepcore.cli import main\n"
               "raise SystemExit(main(['info', '--json']))"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout and running.stderr
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 1


# ---- info ----
def test_info(capsys: Capture) -> None:
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["version"] == dc.__version__
    assert facts["instruction_set"] == dc.isa() and dc.isa() in facts["supported"]
    assert facts["threads"] == dc.get_num_threads()
    assert facts["cuda"] is dc.cuda.is_available() and bool(facts["cuda_reason"]) is not facts["cuda"]
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert dc.isa() in text and "threads" in text
    assert f"no: {facts['cuda_reason']}" in text or facts["cuda"]


# ---- quickstart ----
def test_quickstart(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    folder = tmp_path / "new" / "quick"
    assert main(["quickstart", "--epochs", "2", "--output", str(folder), "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert sorted(result) == ["accuracy", "model", "report", "seconds"]
    assert result["accuracy"] > 0.5 and result["seconds"] > 0
    assert "Test accuracy" in err and "Try next" in err
    report = Path(result["report"]).read_text()
    assert report.startswith("<!DOCTYPE html>") and "Handwritten digits" in report
    _, _, x_test, y_test = data.load_digits()
    assert dc.ImageClassifier.load(result["model"]).score(x_test, y_test) == result["accuracy"]


def test_quickstart_without_the_extra(tmp_path: Path, capsys: Capture, no_matplotlib: None) -> None:
    assert main(["quickstart", "--epochs", "1", "--output", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "Test accuracy" in text and "pip install 'deepcore[viz]'" in text
    assert [p.name for p in tmp_path.iterdir()] == ["digits.safetensors"]


def test_quickstart_checks_before_training(tmp_path: Path, capsys: Capture) -> None:
    assert main(["quickstart", "--epochs", "0", "--output", str(tmp_path)]) == 2
    assert "epochs >= 1, got 0" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["quickstart", "--output", str(tmp_path / "file")]) == 1
    assert "Training" not in capsys.readouterr().out


# ---- train ----
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


# ---- data that cannot be used ----
def _write(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


IMAGES = np.zeros((20, 8, 8), np.uint8)
BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda p: p / "none", "no such file or folder, and not one of digits, mnist"),
    "kind": (lambda p: (p / "a.txt").write_text("x") and p / "a.txt", "expected a folder, .npz or .csv"),
    "names": (lambda p: _write(p / "a.npz", a=IMAGES), "expected x_train and y_train, or x and y; it holds ['a']"),
    "truncated": (lambda p: (p / "a.npz").write_bytes(b"PK\3\4" + b"\0" * 40) and p / "a.npz", "whole .npz"),
    "lengths": (lambda p: _write(p / "a.npz", x=IMAGES, y=np.arange(19)), "expected 20 labels, got shape (19,)"),
    "scalar": (lambda p: _write(p / "a.npz", x=np.float32(1), y=np.arange(1)), "got shape ()"),
    "empty": (lambda p: _write(p / "a.npz", x=IMAGES[:0], y=np.arange(0)), "got shape (0, 8, 8)"),
    "one class": (lambda p: _write(p / "a.npz", x=IMAGES, y=np.ones(20, int)), "expected at least 2 classes"),
    "NaN": (
        lambda p: _write(p / "a.npz", x=np.where(np.arange(20) == 7, np.nan, 0.0)[:, None, None] + IMAGES,
                         y=np.arange(20) % 2),
        "image 7 holds NaN",
    ),
    "NaN in a row": (
        lambda p: _write(p / "a.npz", x=np.where(np.arange(20) == 7, np.nan, 0.0)[:, None] + np.ones((20, 3)),
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


# ---- eval ----
def test_eval_text_and_report(lenet: Path, digits: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    report = tmp_path / "r.html"
    assert main(["eval", str(lenet), str(digits), "--report", str(report)]) == 0
    assert capsys.readouterr().out.startswith("100 samples  accuracy ")
    assert report.read_text().startswith("<!DOCTYPE html>")


def test_eval_refuses_what_does_not_fit(lenet: Path, mlp: Path, digits: Path, tmp_path: Path, capsys: Capture) -> None:
    others = _write(tmp_path / "o.npz", x=IMAGES, y=np.arange(20) + 5)
    words = _write(tmp_path / "w.npz", x=IMAGES, y=np.array(["a", "b"] * 10))
    larger = _write(tmp_path / "l.npz", x=np.zeros((4, 9, 9), np.uint8), y=np.arange(4))
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
        (_regressor, "expected a classifier, got MLPRegressor"),
    ],
    ids=["text", "empty", "foreign", "checkpoint", "class", "hollow", "regressor"],
)
def test_wrong_model_file(make: Callable[[Path], Any], message: str, tmp_path: Path, capsys: Capture) -> None:
    make(tmp_path / "m")
    for words in (["eval", str(tmp_path / "m"), "digits"], ["predict", str(tmp_path / "m"), "a.png"]):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"deepcore {words[0]}: ") and message in err


# ---- predict ----
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


# ---- data ----
def test_data_list(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPCORE_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"")
    assert main(["data", "list", "--json"]) == 0
    rows = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert {name: row["here"] for name, row in rows.items()} == {"digits": True, "mnist": True, "fashion-mnist": False}
    assert rows["fashion-mnist"]["where"] == str(tmp_path / "fashion_mnist")
    assert main(["data", "list"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["digits", "yes"], ["mnist", "yes"], ["fashion-mnist", "no"]]  # fmt: skip


def test_data_fetch(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip
    import hashlib
    import http.server
    import threading

    from deepcore.data import download

    content = bytes(range(256)) * 40
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.gz").write_bytes(gzip.compress(content))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "served"))

        def log_message(self, *arguments: object) -> None:
            pass

    file = download._File("a.gz", len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(download, "_SETS", {"mnist": download._Set("mnist", ("http://127.0.0.1:9/",), (file,))})
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        try:
            words = ["data", "fetch", "mnist", "--dest", str(tmp_path / "to")]
            assert main([*words, "--base-url", url]) == 0
            out, err = capsys.readouterr()
            assert out == f"{tmp_path / 'to'}\n" and "a.gz" in err
            assert gzip.decompress((tmp_path / "to" / "a.gz").read_bytes()) == content
            assert main([*words, "--base-url", url, "--quiet"]) == 0
            assert capsys.readouterr().err == ""
        finally:
            server.shutdown()
            thread.join()
    os.unlink(tmp_path / "to" / "a.gz")
    assert main(words) == 1  # the port is closed
    assert "is this machine online" in capsys.readouterr().err


# ---- bench ----
def test_interrupt_is_130(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted() -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.info, "facts", interrupted)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
