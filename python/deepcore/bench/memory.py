"""Peak memory of training LeNet above what importing the library takes, in a fresh process per library.

python -m deepcore.bench.memory LIBRARY THREADS
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from deepcore.bench.families import training
from deepcore.bench.libraries import library

NAME = "memory/LeNet training batch 64"
LIBRARIES = ("deepcore", "torch")
STEPS = 10


def resident(field: str) -> int:
    """Bytes of a field of /proc/self/status: VmRSS now, VmHWM at most since the last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def peak_of(name: str, threads: int) -> int:
    """Bytes above import that ten training steps need at most, in this process."""
    if name == "torch":
        library("torch").set_num_threads(threads)
    else:
        library("deepcore.nn")
        library("deepcore.optim")
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    arrays = training.lenet_arrays(np.random.default_rng(1))
    built = training.ours_step("lenet")(arrays) if name == "deepcore" else training.torch_step("lenet", arrays, True)
    for _ in range(STEPS):
        built.step()
    return resident("VmHWM") - before


def measure(names: list[str], threads: int, isa: str | None) -> dict[str, int]:
    """Bytes per library, each in a process of its own."""
    found: dict[str, int] = {}
    for name in names:
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), DEEPCORE_NUM_THREADS=str(threads))
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, (str(Path(__file__).resolve().parents[2]), environment.get("PYTHONPATH")))
        )
        if isa is not None:
            environment["DEEPCORE_ISA"] = isa
        command = [sys.executable, "-m", "deepcore.bench.memory", name, str(threads)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        found[name] = int(result["bytes"])
    return found


if __name__ == "__main__":
    print(json.dumps({"bytes": peak_of(sys.argv[1], int(sys.argv[2]))}))
