from __future__ import annotations

import subprocess
import sys

import deepcore.data


def test_everything_named_is_there() -> None:
    for name in deepcore.data.__all__:
        assert getattr(deepcore.data, name) is not None


def test_nothing_slow_is_imported() -> None:
    script = (
        "import sys, deepcore.data\n"
        "slow = {'PIL', 'tqdm', 'matplotlib', 'safetensors', 'urllib.request', 'http.client'}\n"
        "print(sorted(slow & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
