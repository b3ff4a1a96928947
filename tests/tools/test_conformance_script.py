"""tools/conformance.py, rehearsed on the emulated device, and the report it writes."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("_C", "_cuda_emulated")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(
    shutil.which("cmake") is None or not all([*(ROOT / "python/deepcore").glob(f"{m}.*.so")] for m in MODULES),
    reason="needs cmake, and the modules beside python/deepcore: python tools/build_emulated.py",
)
def test_rehearsal(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "tools/conformance.py"),
        "--emulated",
        "--no-build",
        "--output",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "EMULATED DEVICE" in done.stdout
    report = json.loads((tmp_path / "emulated-device.json").read_text())
    assert [(s["step"], s["outcome"]) for s in report["steps"]] == [
        ("build", "skipped"), ("primitives", "passed"), ("tests", "passed"), ("sanitizer", "skipped"),
        ("accuracy", "skipped"), ("benchmarks", "passed"),
    ]  # fmt: skip
    assert len(report["benchmarks"]["rows"]) > 15
    text = (tmp_path / "emulated-device.md").read_text()
    assert "It says nothing about any GPU" in text and "nothing failed" in text and "| 96³ accurate | right |" in text


def test_report_of_a_card(tmp_path: Path) -> None:
    """What failed is named at the top and told in full below; times have three digits and a unit."""
    rows = [
        {"group": "Matrix products", "name": "512³ strict", "ours": 2e-5, "torch": 1e-5, "flops": 2.0 * 512**3},
        {"group": "Memory", "name": "add", "ours": 1e-4, "bytes": 1e8, "flops": 0},
        {"group": "Memory", "name": "exp", "problem": "result 0 differs"},
    ]
    steps = [
        {"step": "build", "outcome": "passed", "seconds": 61.25, "text": "built _C", "details": {}},
        {"step": "tests", "outcome": "failed", "seconds": 9.0, "text": "3 passed, 1 failed\na|b::c", "details": {}},
    ]
    card = {"name": "NVIDIA H100 80GB HBM3", "driver": "580.1", "cuda": "13.0.88", "capability": "9.0"}
    benchmarks = {"rows": rows, "torch": "2.9", "copy": 2e12, "left_out": ["Adam"]}
    report = {
        "emulated": False,
        "card": card,
        "commit": "abc",
        "date": "today",
        "steps": steps,
        "benchmarks": benchmarks,
    }
    paths = load("conformance_report").write(report, tmp_path / "new")
    assert [p.name for p in paths] == ["nvidia-h100-80gb-hbm3.json", "nvidia-h100-80gb-hbm3.md"]
    text = paths[1].read_text()
    for line in (
        "# NVIDIA H100 80GB HBM3",
        "| outcome | failed: tests |",
        "| tests | **failed** | 3 passed, 1 failed | 9.0 |",
        "a|b::c",
        "| 512³ strict | 20.0 µs | 10.0 µs | 0.50 | 13.4 TFLOP/s |",
        "| add | 100 µs | 50% of copy |",
        "| exp | – | wrong result |",
        "A copy on the device moves 2000 GB/s, reads and writes counted.",
        "Left out, for there was no time: Adam.",
    ):
        assert line in text.splitlines(), f"{line}\n\n{text}"
