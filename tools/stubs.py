"""Write python/deepcore/_C.pyi from the built extension; `--check` only compares.

    python tools/stubs.py [--check]

What pybind11 leaves vague is made exact: shapes come back as tuples, numbers are int and float, arrays are numpy's.
The names that different releases of pybind11 use for the same types are folded into one spelling, so that the file
does not depend on the release.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

STUB = Path(__file__).resolve().parent.parent / "python" / "deepcore" / "_C.pyi"
HEAD = '"""Kernels and arrays of deepcore. Private: use the Python package. Written by tools/stubs.py."""\n'
IMPORTS = """
from __future__ import annotations

from collections.abc import Sequence
from typing import Any
"""
SPELLINGS = [
    (r'typing\.Annotated\[([^"]*), "FixedSize\(\d+\)"\]', r"\1"),
    (r"typing\.SupportsFloat( \| typing\.SupportsIndex)?", "float"),
    (r"typing\.SupportsInt( \| typing\.SupportsIndex)?", "int"),
    (r"(collections\.abc|typing)\.Sequence\b", "Sequence"),
    (r"typing\.Any\b", "Any"),
    (r"\btyping\.Callable\b", "Callable"),
    (r"-> Sequence\[int\]:", "-> tuple[int, ...]:"),
    (r"numpy\.ndarray\b(\[[^]]*\])?", "numpy.typing.NDArray[Any]"),
    (r"-> dict:", "-> dict[str, Any]:"),
    (r"-> tuple:", "-> tuple[Any, ...]:"),
]


def generate() -> str:
    """The text of the stub of the `deepcore._C` that Python finds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pybind11_stubgen", "deepcore._C", "-o", folder, "--exit-code"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"stubs: pybind11-stubgen failed:\n{done.stdout}{done.stderr}")
        text = (Path(folder) / "deepcore" / "_C.pyi").read_text()
    text = re.sub(r'\A""".*?"""\n', "", text, flags=re.DOTALL)
    text = re.sub(r"^(import|from) .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^__all__.*\n", "", text, flags=re.MULTILINE)
    for pattern, spelling in SPELLINGS:
        text = re.sub(pattern, spelling, text)
    text = re.sub(r"^__version__: str = .*$", "__version__: str", text, flags=re.MULTILINE)
    if "__version__" not in text:
        text = "__version__: str\n" + text
    imports = [
        "from __future__ import annotations",
        "",
        "from collections.abc import Sequence",
        "from typing import Any",
    ]
    if "numpy.typing" in text:
        imports += ["", "import numpy.typing"]
    text = HEAD + "\n" + "\n".join(imports) + "\n\n" + text
    ruff = [
        sys.executable,
        "-m",
        "ruff",
        "format",
        "--config",
        str(STUB.parents[2] / "pyproject.toml"),
        "--stdin-filename",
        "_C.pyi",
        "-",
    ]
    return subprocess.run(ruff, input=text, capture_output=True, text=True, check=True, cwd=STUB.parent).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail when the checked-in stub differs")
    options = parser.parse_args()
    if importlib.util.find_spec("pybind11_stubgen") is None:
        sys.exit("stubs: pybind11-stubgen is not installed: pip install '.[dev]'")
    text = generate()
    if not options.check:
        STUB.write_text(text)
        print(f"wrote {STUB}")
        return 0
    old = STUB.read_text() if STUB.exists() else ""
    if old == text:
        print("stubs: _C.pyi is up to date")
        return 0
    diff = difflib.unified_diff(old.splitlines(True), text.splitlines(True), "checked in", "built", n=1)
    sys.stdout.writelines(diff)
    print("stubs: _C.pyi is out of date: run `python tools/stubs.py`")
    return 1


if __name__ == "__main__":
    sys.exit(main())
