"""The program that a GPU is held against (tools/conformance.py): on the emulated device its files never depend on the
order of threads or the time of copies, and no kernel of it has a race."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.cuda.test_emulation import built
from tests.cuda.test_nvcc import INCLUDES, NVCC

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODES = ("forward late", "reverse late", "random:1 early", "random:2 late")

needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake to build the emulated device")


@pytest.fixture(scope="module")
def arrays() -> ModuleType:
    spec = importlib.util.spec_from_file_location("conformance_arrays", ROOT / "tools" / "conformance_arrays.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written(kind: str, mode: str, path: Path) -> Path:
    order, copies = mode.split()
    done = subprocess.run(
        [str(built(kind) / "conformance"), str(path)], capture_output=True, text=True, timeout=300,
        env={**os.environ, "DEEPCORE_EMULATE_ORDER": order, "DEEPCORE_EMULATE_ASYNC": copies},
    )  # fmt: skip
    assert done.returncode == 0 and "emulated device, 0 failures" in done.stdout, done.stdout + done.stderr
    return path


@needs_cmake
@pytest.mark.parametrize("kind", ("plain", "hooks"))
def test_orders_agree(kind: str, tmp_path: Path, arrays: ModuleType) -> None:
    first = arrays.read(written(kind, MODES[0], tmp_path / "first"))
    assert arrays.problems_of(first) == []
    assert len(first) > 50
    for mode in MODES[1:]:
        assert arrays.compare(first, arrays.read(written(kind, mode, tmp_path / "other"))) == [], mode


@needs_cmake
def test_results_are_those_of_numpy(tmp_path: Path, arrays: ModuleType) -> None:
    """A few that are easily known; the rest is in the tests of the primitives."""
    got = arrays.read(written("plain", MODES[0], tmp_path / "file"))
    lanes = np.arange(32)
    for kind in ("i4", "u4", "u8", "f4", "f8"):
        rows = got[f"shuffles/{kind}"].reshape(20, 32)
        assert (rows[0] == ((lanes * 7 + 5) % 32) ** 2 + 3).all()
        assert (rows[3] == (lanes ^ 1) ** 2 + 3).all()
    for kind in ("i4", "u4", "u8"):
        cells, befores = got[f"atomics/global/{kind}"], np.arange(384)
        assert cells[0] == 100 + 2 * 384 and cells[5] == 100 + (100 + 2 * befores).sum()
        assert cells[4] == 100 + 3 * 384 and cells[7] == 100 + 5 * 384 and cells[8] == 100 + (100 + 5 * befores).sum()
    assert (got["flags/turns/i4"] == 128).all()
    assert (got["flags/data/i4"] == got["flags/data/u8"]).all()
    for name in ("mma/bf16", "mma/tf32"):
        assert (got[name] == np.round(got[name])).all() and np.abs(got[name]).max() > 100
    assert (got["mma/tf32"] == got["mma/tf32, lower 13 bits set"]).all()


def test_differences_are_seen(arrays: ModuleType) -> None:
    x = np.linspace(-4, 4, 64, dtype=np.float32)
    p = np.abs(x) + np.float32(0.125)
    right = [np.exp(x), np.log(p), np.tanh(x), 1 / (1 + np.exp(-x)), x / p, 1 / np.sqrt(p)]
    file = {"math/x": x, "math/results": np.concatenate(right), "a": np.arange(4, dtype="<u4")}
    assert arrays.problems_of(file) == [] and arrays.compare(file, file) == []
    for k in range(6):
        wrong = np.concatenate(right)
        wrong[64 * k + 60] *= np.float32(1.001)
        assert len(arrays.problems_of({**file, "math/results": wrong})) == 1
    unwritten = np.array([0, 0xEEEEEEEE], "<u4")
    assert arrays.problems_of({**file, "a": unwritten}) == ["a: 1 of 2 elements were never written"]
    negative = {"a": np.array([-0.0, np.nan], "<f4")}
    assert arrays.compare(negative, negative) == []
    (text,) = arrays.compare(negative, {"a": np.array([0.0, np.nan], "<f4")}, text=str)
    assert text == "a: 1 of 2 differ, first [0]: -0.0, 0.0"
    assert arrays.compare({}, negative) == ["a: in one file only"]


@pytest.mark.skipif(NVCC is None, reason="needs nvcc: set DEEPCORE_NVCC")
def test_program_for_a_gpu_is_built(tmp_path: Path) -> None:
    """Compiled and linked as tools/conformance.py does; where there is no GPU the program says so."""
    program = tmp_path / "conformance"
    runtime = ROOT / "cuda" / "runtime"
    sources = (HERE / "conformance.cu", runtime / "gpu_cuda.cu", runtime / "diagnosis.cpp")
    command = [str(NVCC), "-std=c++20", "-arch=sm_80", *INCLUDES, *map(str, sources), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    if "cannot find -lcudart" in done.stderr:
        pytest.skip("this nvcc came without its libraries")
    assert done.returncode == 0, done.stdout + done.stderr
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    ran = subprocess.run([str(program), str(tmp_path / "file")], capture_output=True, text=True, env=environment)
    assert ran.returncode == 2 and ("no NVIDIA driver" in ran.stderr or "no CUDA device" in ran.stderr), ran.stderr
