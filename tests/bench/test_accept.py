"""The harness of acceptance figures: one JSON line, the verdict in the exit code, clear refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import deepcore as dc
from bench import accept

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(accept, "FIGURES", {})
    monkeypatch.setattr(accept, "load", lambda: accept.FIGURES)

    def one(value: float, better: str = "low", timed: bool = True) -> None:
        @accept.figure("toy", metric="error", target=0.5, better=better)
        def toy(context: accept.Context) -> accept.Result:
            assert context.folder("mnist").name == "mnist"
            context.progress("training")
            if timed:
                with context.timer:
                    time.sleep(0.02)
            return value, {"epochs": 3}

    return one


def run(tmp_path: Path, *more: str) -> int:
    (tmp_path / "mnist").mkdir(exist_ok=True)
    return accept.main(["toy", "--data", str(tmp_path), *more])


@pytest.mark.parametrize(
    ("value", "better", "ok"),
    [(0.4, "low", True), (0.5, "low", True), (0.6, "low", False), (0.6, "high", True), (0.4, "high", False),
     (float("nan"), "low", False)],
)  # fmt: skip
def test_verdict(
    value: float, better: str, ok: bool, register: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register(value, better)
    assert run(tmp_path, "--seed", "7") == (0 if ok else 1)
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 1
    result = json.loads(out)
    seconds = result.pop("seconds")
    assert 0.02 <= seconds < 1
    assert result == {"name": "toy", "metric": "error", "value": None if value != value else value, "target": 0.5,
                      "ok": ok, "seed": 7, "device": "cpu", "threads": dc.get_num_threads(),
                      "also": {"epochs": 3}}  # fmt: skip


def test_refusals(register: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    register(0.1)
    assert accept.main(["other", "--data", str(tmp_path)]) == 2
    assert "expected one of toy, got other" in capsys.readouterr().err
    assert accept.main(["toy"]) == 2
    assert accept.main(["toy", "--data", str(tmp_path / "none")]) == 2
    capsys.readouterr()
    assert accept.main(["toy", "--data", str(tmp_path)]) == 2
    assert "expected the data set mnist" in capsys.readouterr().err


@pytest.mark.parametrize("second", [True, False])
def test_ok_needs_every_demand(second: bool) -> None:
    def measured(context: accept.Context) -> accept.Result:
        with context.timer:
            return 0.1, {"demands": {"first": True, "second": second}}

    toy = accept.Figure("toy", "error", 0.5, "low", measured)
    assert accept.measure(toy, accept.Context(Path("."), 0, "cpu"))["ok"] is second


@pytest.mark.skipif(dc.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_is_refused_with_the_reason(register: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    register(0.1)
    assert run(tmp_path, "--device", "cuda") == 2
    assert dc.cuda.reason() in capsys.readouterr().err


def test_the_command_without_a_device(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    command = [sys.executable, "-m", "bench", "accept", "cnn-mnist-quick", "--data", str(tmp_path), "--device", "cuda"]
    hidden = {"CUDA_VISIBLE_DEVICES": "-1", "DEEPCORE_EMULATE_DEVICES": "0"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **hidden}, timeout=60)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("accept: --device cuda: ") and len(done.stderr.splitlines()) == 1
    assert "use device='cpu'" in done.stderr


def test_training_outside_the_timer_is_a_mistake(register: Any, tmp_path: Path) -> None:
    register(0.1, timed=False)
    with pytest.raises(RuntimeError, match=r"inside context\.timer"):
        run(tmp_path)


def test_list(register: Any, capsys: pytest.CaptureFixture[str]) -> None:
    register(0.1)
    assert accept.main(["--list"]) == 0
    assert capsys.readouterr().out.split() == ["toy", "error", "<=", "0.5"]


def test_every_figure_loads() -> None:
    for name, figure in accept.load().items():
        assert name == figure.name
