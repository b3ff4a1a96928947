"""Who may include whom in csrc, and who may import the extension in Python.

    python tools/check_includes.py

The layers are those of docs/architecture.md: core <- kernels <- cpu; core, kernels <- ops <- bindings. Files of
csrc/cpu are compiled once per instruction set, so a template or inline function of a shared header that they
instantiate could be the copy the linker keeps for everyone, with instructions the machine may lack. They therefore
include only plain declarations and C headers. Prints each breach; exit code 1 when there is one.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
SELECT = ("cpu_select.h", "cuda_backend.h")
# what each folder of csrc may include from csrc; "" is csrc itself
ALLOWED: dict[str, tuple[str, ...]] = {
    "core": ("core/",),
    "kernels": ("kernels/",),
    "cpu": ("kernels/", "cpu/", "core/machine.h", "core/parallel.h", "core/philox.h"),
    "ops": ("core/", "kernels/", "ops/", *SELECT),
    "bindings": ("core/", "kernels/", "ops/", "bindings/", *SELECT),
    "": ("core/", "kernels/", *SELECT),
}
# <...> headers for files that are compiled per instruction set
C_HEADERS = re.compile(r"(math|stddef|stdint|string|float|limits)\.h|(imm|arm_neon|arm_sve)\w*\.h|cstdint|cstddef")
# Python modules that may see the extension
SEES_EXTENSION = re.compile(
    r"(__init__|device|random|tensor|autograd|ops/\w+|optim/\w+|bench/\w+|graph|staging|testing/fuzz(_values|_targets)?)\.py"
)


def owner(path: Path) -> str:
    """The folder of csrc that a file belongs to."""
    parts = path.relative_to(ROOT / "csrc").parts
    return parts[0] if len(parts) > 1 else ""


def breaches_of(path: Path) -> list[str]:
    """The includes of one file of csrc that its folder does not allow."""
    found = []
    layer = owner(path)
    text = path.read_text()
    for match in INCLUDE.finditer(text):
        bracket, name = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        if bracket == "<":
            ok = (layer != "cpu" or C_HEADERS.fullmatch(name)) and ("pybind11" not in name or layer == "bindings")
        else:
            inside = (
                name if (ROOT / "csrc" / name).exists() else (path.parent / name).relative_to(ROOT / "csrc").as_posix()
            )
            ok = inside.startswith(ALLOWED[layer]) and (ROOT / "csrc" / inside).exists()
        if not ok:
            found.append(f"{path.relative_to(ROOT)}:{line}: {layer or 'csrc'} may not include {name}")
    return found


def python_breaches(package: Path) -> list[str]:
    """Modules that import deepcore._C though their layer should not."""
    found = []
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        text = path.read_text()
        if SEES_EXTENSION.fullmatch(name):
            continue
        if match := re.search(r"^\s*(from deepcore import .*\b_C\b|(from|import) deepcore\._C)", text, re.MULTILINE):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"python/deepcore/{name}:{line}: this layer may not import deepcore._C")
    return found


def main() -> int:
    files = [p for p in sorted((ROOT / "csrc").rglob("*")) if p.suffix in (".h", ".cpp")]
    found = [breach for path in files for breach in breaches_of(path)]
    found += python_breaches(ROOT / "python" / "deepcore")
    print("\n".join([*found, f"includes: {len(files)} files of csrc, {len(found)} breaches"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
