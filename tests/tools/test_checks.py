"""The checks of layers and symbols must see the faults they are for."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("folder", "line", "allowed"),
    [
        ("cpu", "#include <vector>", False),
        ("cpu", "#include <math.h>", True),
        ("cpu", '#include "core/array.h"', False),
        ("cpu", '#include "ops/matmul.h"', False),
        ("cpu", '#include "kernels/matmul.h"', True),
        ("core", '#include "kernels/kernel.h"', False),
        ("ops", '#include "cpu/families.h"', False),
        ("ops", "#include <pybind11/pybind11.h>", False),
        ("bindings", "#include <pybind11/pybind11.h>", True),
        ("bindings", '#include "cpu/families.h"', False),
    ],
)
def test_includes(folder: str, line: str, allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = load("check_includes")
    monkeypatch.setattr(checks, "ROOT", tmp_path)
    for name in ("core/array.h", "kernels/kernel.h", "kernels/matmul.h", "ops/matmul.h", "cpu/families.h"):
        (tmp_path / "csrc" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "csrc" / name).write_text("")
    path = tmp_path / "csrc" / folder / "new.cpp"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"// a file\n{line}\n")
    assert bool(checks.breaches_of(path)) is not allowed


def test_extension_seen_from_above(tmp_path: Path) -> None:
    checks = load("check_includes")
    (tmp_path / "nn").mkdir()
    (tmp_path / "nn" / "linear.py").write_text("import math\nfrom deepcore import _C\n")
    (tmp_path / "device.py").write_text("from deepcore import _C\n")
    assert checks.python_breaches(tmp_path) == ["python/deepcore/nn/linear.py:2: this layer may not import deepcore._C"]


@pytest.mark.skipif(not shutil.which("g++") or not shutil.which("nm"), reason="needs g++ and nm")
def test_symbols(tmp_path: Path) -> None:
    source = tmp_path / "kernel.cpp"
    source.write_text(
        "inline int shared(int x) { return x + 1; }\n"
        "template <class T> struct Box { T x; __attribute__((noinline)) T get() { return x; } };\n"
        "namespace dc::avx2 { struct In {}; static int mine(int x) { return x * 3; }\n"
        "template <class T> __attribute__((noinline)) T twice(T x) { return x + x; }\n"
        "int table(int x) { Box<In*> b{nullptr}; b.get(); return shared(x) + mine(x) + twice(x); } }\n"
    )
    subprocess.run(["g++", "-std=c++20", "-O0", "-c", source, "-o", tmp_path / "kernel.o"], check=True)
    count, foreign = load("check_symbols").foreign_symbols(tmp_path / "kernel.o", "avx2")
    assert count == 4
    assert sorted(foreign) == ["kernel.o: W Box<dc::avx2::In*>::get()", "kernel.o: W shared(int)"]
