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


def build(folder: Path, options: dict[str, str], targets: list[str], jobs: int) -> None:
    """Configure the project in `folder` for this Python, with Ninja and ccache where there are, and build targets."""
    import pybind11

    own = {"Python_EXECUTABLE": sys.executable, "pybind11_DIR": pybind11.get_cmake_dir()}
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), *[f"-D{k}={v}" for k, v in {**own, **options}.items()]]
    if not (folder / "CMakeCache.txt").exists():
        configure += ["-G", "Ninja"] if shutil.which("ninja") else []
        configure += ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", str(folder), "--parallel", str(jobs), "--target", *targets], check=True)


def put_beside(module: Path, package: Path) -> Path:
    """Copy an extension module into the package's folder, over what is there."""
    target = package / module.name
    target.unlink(missing_ok=True)
    shutil.copy2(module, target)
    return target


def main() -> int:
    """Configure, build, copy."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", choices=("plain", "hooks", "address"), default="plain")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    package = importlib.util.find_spec("deepcore._C")
    if package is None or package.origin is None:
        raise SystemExit("build_emulated: expected an importable deepcore; install it or set PYTHONPATH")
    folder = ROOT / f"build-emulated-{options.check}"
    settings = {
        "DEEPCORE_CUDA": "OFF",
        "DEEPCORE_CUDA_EMULATION": "ON",
        "DEEPCORE_EMULATION_HOOKS": "ON" if options.check == "hooks" else "OFF",
        "DEEPCORE_SANITIZE": "address" if options.check == "address" else "",
    }
    build(folder, settings, ["_cuda_emulated"], options.jobs)
    (module,) = (folder / "cuda").glob("_cuda_emulated*.so")
    print(f"build_emulated: {options.check} -> {put_beside(module, Path(package.origin).parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
