"""The runner of README examples must run what is marked, in order, and notice failures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUNNER = Path(__file__).resolve().parents[2] / "tools" / "run_readme.py"


def run(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "page.md").write_text(text)
    command = [sys.executable, str(RUNNER), str(tmp_path / "page.md")]
    return subprocess.run(command, capture_output=True, text=True)


def test_marked_blocks_run_in_order(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "<!-- run -->\n```python\nx = 2\n```\nand then\n\n<!-- run -->\n```python\nprint(x + 1)\n```\n\n"
        "<!-- run: output -->\n```\n3\n```\n```python\nraise SystemExit('not marked')\n```\n"
        "<!-- run -->\n```bash\ntest 1 = 1\n```\n",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 examples ran" in done.stdout


def test_failures_are_seen(tmp_path: Path) -> None:
    assert run(tmp_path, "<!-- run -->\n```python\n1 / 0\n```\n").returncode == 1
    assert run(tmp_path, "<!-- run -->\n```bash\nfalse\ntrue\n```\n").returncode == 1
    wrong = "<!-- run -->\n```python\nprint(4)\n```\n<!-- run: output -->\n```\n5\n```\n"
    assert run(tmp_path, wrong).returncode == 1
    assert run(tmp_path, "<!-- run -->\n```ruby\n```\n").returncode == 1
