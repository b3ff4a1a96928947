"""Run the examples of Markdown files, so that they cannot rot.

    python tools/run_readme.py [FILE ...]        (default: README.md and docs/**/*.md)

A block runs when the line above its fence is `<!-- run -->`. Blocks of one file run in order, in one temporary
folder: ```python blocks share one interpreter, as a reader would paste them; ```bash blocks run with `set -e`.
`<!-- run: output -->` above a plain ``` block after it compares what the block printed. Prints what ran; exit code 1
at the first failure, with the block.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^<!-- run(: output)? -->\n+```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[int, str, str]]:
    """(line, kind, text) of each marked block: kind is python, bash or output."""
    found = []
    for match in BLOCK.finditer(text):
        kind = "output" if match[1] else match[2]
        if kind not in ("python", "bash", "output"):
            sys.exit(f"readme: expected a python or bash block after <!-- run -->, got {match[2]!r}")
        found.append((text.count("\n", 0, match.start(3)) + 1, kind, match[3]))
    return found


def groups(found: list[tuple[int, str, str]]) -> list[tuple[int, str, str, str | None]]:
    """Consecutive python blocks joined into one program; each with the output it must print, if stated."""
    joined: list[tuple[int, str, str, str | None]] = []
    for line, kind, text in found:
        if kind == "output":
            if not joined:
                sys.exit("readme: an output block stands before any example")
            at, of, code, before = joined[-1]
            joined[-1] = (at, of, code, (before or "") + text)
        elif kind == "python" and joined and joined[-1][1] == "python":
            at, of, code, expected = joined[-1]
            joined[-1] = (at, of, code + text, expected)
        else:
            joined.append((line, kind, text, None))
    return joined


def run_file(path: Path) -> int:
    """Run the marked blocks of one file; the number that ran."""
    name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    examples = groups(blocks(path.read_text()))
    with tempfile.TemporaryDirectory() as folder:
        for line, kind, code, expected in examples:
            command = [sys.executable, "-c", code] if kind == "python" else ["bash", "-euo", "pipefail", "-c", code]
            start = time.monotonic()
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            seconds = time.monotonic() - start
            if done.returncode != 0:
                print(f"{name}:{line}: the {kind} example failed\n{code}\n{done.stdout}{done.stderr}")
                sys.exit(1)
            if expected is not None and done.stdout.split() != expected.split():
                print(f"{name}:{line}: expected\n{expected}\ngot\n{done.stdout}")
                sys.exit(1)
            print(f"{name}:{line}: {kind} ok in {seconds:.1f} s", flush=True)
    return len(examples)


def main() -> int:
    paths = [Path(a).resolve() for a in sys.argv[1:]]
    paths = paths or [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    total = sum(run_file(path) for path in paths if path.exists())
    print(f"readme: {total} examples ran")
    return 0


if __name__ == "__main__":
    sys.exit(main())
