"""Kernels under nvcc: those of this folder and of the back end compile without spills and without stack frames.

No GPU is needed and none is used. nvcc is $DEEPCORE_NVCC, or on PATH, or in this Python's packages:
pip install nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96
nvidia-cuda-cccl==13.0.85.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCES = ("conformance", "environment", "launch", "lint", "matrix", "planted_bugs", "primitives", "reductions")
INCLUDES = ("-I", str(ROOT / "cuda"), "-I", str(ROOT / "csrc"))
# What a build compiles for by default.
ARCHITECTURES = ("-gencode", "arch=compute_80,code=sm_80", "-gencode", "arch=compute_90a,code=sm_90a", "--threads", "2")
# Families with tensor cores have other code for 12.0.
PRODUCTS = ("matmul", "conv", "rbm")


def find_tool(name: str) -> str | None:
    """Where a tool of the CUDA toolkit is: $DEEPCORE_NVCC for nvcc, then PATH, then this Python's packages; or None.

    A path that was given and does not exist is an error, not a reason to skip.
    """
    if name == "nvcc" and (given := os.environ.get("DEEPCORE_NVCC")):
        assert Path(given).is_file(), f"DEEPCORE_NVCC={given}: no such file"
        return given
    if on_path := shutil.which(name):
        return on_path
    packages = importlib.util.find_spec("nvidia")
    for folder in packages.submodule_search_locations or [] if packages else []:
        if (tool := Path(folder) / "cu13" / "bin" / name).is_file():
            return str(tool)
    return None


NVCC = find_tool("nvcc")
pytestmark = pytest.mark.skipif(
    NVCC is None, reason="needs nvcc: set DEEPCORE_NVCC, or pip install nvidia-cuda-nvcc==13.0.88 and its set"
)


def compile_with(*options: str) -> str:
    """What nvcc printed."""
    command = [str(NVCC), "-std=c++20", *options, *INCLUDES]
    done = subprocess.run(command, capture_output=True, text=True)
    text = done.stdout + done.stderr
    assert done.returncode == 0, f"{' '.join(command)}\n{text[-4000:]}"
    return text


@pytest.mark.parametrize("source", SOURCES)
def test_kernels_compile_without_spills(source: str, tmp_path: Path) -> None:
    text = compile_with(
        *ARCHITECTURES, "-Xptxas", "-v", "-c", str(HERE / f"{source}.cu"), "-o", str(tmp_path / "kernels.o")
    )
    entries = re.findall(r"Compiling entry function '(\w+)' for '(sm_\w+)'", text)
    frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", text)
    kernels = "".join(path.read_text() for path in HERE.glob(f"{source}*.cu*")).count("DC_KERNEL void")
    assert entries and {architecture for _, architecture in entries} == {"sm_80", "sm_90a"}, text
    assert kernels > 0 and len(frames) >= len(entries)
    assert set(frames) == {("0", "0", "0")}, text
    assert "warning" not in text.lower(), text


# Families whose kernels may keep something on the stack, and why.
STACK = {"elementwise": "CUDA's sin and cos keep the digits of 2 / pi there for arguments beyond 1e5; no spills"}


@pytest.mark.parametrize("source", sorted((ROOT / "cuda" / "families").glob("*.cu")), ids=lambda p: p.stem)
def test_families_keep_within_their_registers(source: Path, tmp_path: Path) -> None:
    """No spills, no stack, and registers for the threads that the launch bounds promise."""
    targets = ["sm_80", "sm_90a", *(["sm_120"] if source.stem in PRODUCTS else [])]
    more = ("-gencode", "arch=compute_120,code=sm_120") if "sm_120" in targets else ()
    text = compile_with(
        *ARCHITECTURES, *more, "-Xptxas", "-v", "--expt-relaxed-constexpr", "-DDC_ISA=cuda", "-diag-suppress=20014",
        "-c", str(source), "-o", str(tmp_path / "family.o"),
    )  # fmt: skip
    assert "warning" not in text.lower(), text
    assert not re.search(r"C75\d\d", text), text
    frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", text)
    assert all((stores, loads) == ("0", "0") for _, stores, loads in frames), text
    assert source.stem in STACK or all(stack == "0" for stack, *_ in frames), text
    registers = [int(n) for n in re.findall(r"Used (\d+) registers", text)]
    assert all(n <= 255 for n in registers)
    if "DC_KERNEL" in source.read_text():
        entries = re.findall(r"Compiling entry function '(\w+)' for '(sm_\w+)'", text)
        kernels = {of: sorted(name for name, target in entries if target == of) for of in targets}
        assert kernels["sm_80"] and all(names == kernels["sm_80"] for names in kernels.values())
        assert len(registers) == len(entries) and len(frames) >= len(entries)


@pytest.mark.parametrize("family", PRODUCTS)
def test_machine_code_of_tensor_core_kernels(family: str, tmp_path: Path) -> None:
    """Tensor cores, asynchronous copies and matrix loads are in the machine code; local memory is in no kernel."""
    nvdisasm = find_tool("nvdisasm")
    if nvdisasm is None:
        pytest.skip("needs nvdisasm: pip install nvidia-cuda-nvdisasm")
    cubin = tmp_path / "family.cubin"
    compile_with(
        "-gencode", "arch=compute_80,code=sm_80", "--expt-relaxed-constexpr", "-DDC_ISA=cuda", "-diag-suppress=20014",
        "-cubin", "-o", str(cubin), str(ROOT / "cuda" / "families" / f"{family}.cu"),
    )  # fmt: skip
    text = subprocess.run([nvdisasm, "-c", str(cubin)], capture_output=True, text=True, check=True).stdout
    parts = re.split(r"\n\s*\.section\s+\.text\.(\S+?),", text)
    code = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert len(code) > 10
    for name, body in code.items():
        assert not re.search(r"\b(LDL|STL)\b", body), f"{name} uses local memory"
    products = {name: body for name, body in code.items() if "mma_product" in name}
    assert len(products) >= 12
    for name, body in products.items():
        assert re.search(r"\bHMMA\b", body) and re.search(r"\bLDGSTS\b", body), name
    # ldmatrix serves operands that lie along k; it cannot turn those of 32 bits that lie across.
    assert sum(bool(re.search(r"\bLDSM\b", body)) for body in products.values()) >= len(products) // 3


def test_matrix_kernels_use_tensor_cores(tmp_path: Path) -> None:
    """The primitives become the instructions they stand for."""
    target = tmp_path / "matrix.ptx"
    compile_with("-arch=compute_80", "-ptx", str(HERE / "matrix.cu"), "-o", str(target))
    ptx = target.read_text()
    for instruction in (
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32",
        "ldmatrix.sync.aligned.m8n8.x4.shared.b16",
        "ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16",
        "cp.async.cg.shared.global",
        "cp.async.wait_group",
        "cvt.rna.tf32.f32",
    ):
        assert instruction in ptx, instruction


def test_launches_compile_for_the_host(tmp_path: Path) -> None:
    """The host's side of a launch: conversions of arguments, shared memory, cooperative launches."""
    source = tmp_path / "host.cu"
    source.write_text(
        '#include "device/block.cuh"\n'
        "namespace dc {\n"
        "template <class T> DC_KERNEL void scale(T* x, T by, long long n) {\n"
        "  const long long i = static_cast<long long>(block_index().x) * block_size().x + thread_index().x;\n"
        "  if (i < n) x[i] *= by;\n"
        "}\n"
        "Status run(float* x, Stream s) { return launch(scale<float>, 4, dim3(32, 2), 60000, s, x, 2.0, 100); }\n"
        "Status run_coop(double* x) { return launch_coop(scale<double>, 4, 64, 0, nullptr, x, 2, 100); }\n"
        "}\n"
    )
    text = compile_with("-arch=sm_80", "-c", str(source), "-o", str(tmp_path / "host.o"))
    assert "error" not in text
