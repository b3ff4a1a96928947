"""Build the emulated CUDA device and put it beside the deepcore that Python imports.

    python tools/build_emulated.py                 plain
    python tools/build_emulated.py --check hooks   with access hooks: races, accesses out of bounds, traffic per line
    python tools/build_emulated.py --check address with AddressSanitizer; run Python under LD_PRELOAD=libasan.so

Needs cmake, a C++20 compiler and pybind11. DEEPCORE_CUDA_EMULATE=1 selects the device afterwards.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Configure, build, copy."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", choices=("plain", "hooks", "address"), default="plain")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    import pybind11

    package = importlib.util.find_spec("deepcore._C")
    if package is None or package.origin is None:
        raise SystemExit("build_emulated: expected an importable deepcore; install it or set PYTHONPATH")
    folder = ROOT / f"build-emulated-{options.check}"
    configure = [
        "cmake", "-S", str(ROOT), "-B", str(folder), "-DDEEPCORE_CUDA=OFF", "-DDEEPCORE_CUDA_EMULATION=ON",
        f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        f"-DDEEPCORE_EMULATION_HOOKS={'ON' if options.check == 'hooks' else 'OFF'}",
        f"-DDEEPCORE_SANITIZE={'address' if options.check == 'address' else ''}",
    ]  # fmt: skip
    if not (folder / "CMakeCache.txt").exists():
        configure += ["-G", "Ninja"] if shutil.which("ninja") else []
        configure += ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    build = ["cmake", "--build", str(folder), "--target", "_cuda_emulated", "--parallel", str(options.jobs)]
    subprocess.run(build, check=True)
    (module,) = (folder / "cuda").glob("_cuda_emulated*.so")
    target = Path(package.origin).parent / module.name
    target.unlink(missing_ok=True)
    shutil.copy2(module, target)
    print(f"build_emulated: {options.check} -> {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
