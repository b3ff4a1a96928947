"""Peak memory of training nets above what importing the library takes, in a fresh process per net and library.

python -m deepcore.bench.memory NET LIBRARY THREADS
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from deepcore.bench.case import Built
from deepcore.bench.families import rnn, training
from deepcore.bench.libraries import library

NETS = {"lenet": "LeNet training batch 64", "character": f"character LSTM training batch {rnn.STREAMS}"}
LIBRARIES = ("deepcore", "torch")
STEPS = 10


def resident(field: str) -> int:
    """Bytes of a field of /proc/self/status: VmRSS now, VmHWM at most since the last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def _build(net: str, name: str) -> Built:
    rng = np.random.default_rng(1)
    if net == "character":
        return (rnn.ours_char if name == "deepcore" else rnn.torch_char)(rnn.char_arrays(rng))
    arrays = training.lenet_arrays(rng)
    return training.ours_step(net)(arrays) if name == "deepcore" else training.torch_step(net, arrays, True)


def peak_of(net: str, name: str, threads: int) -> int:
    """Bytes above import that ten training steps of a net need at most, in this process."""
    if name == "torch":
        library("torch").set_num_threads(threads)
    else:
        library("deepcore.nn")
        library("deepcore.optim")
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    built = _build(net, name)
    for _ in range(STEPS):
        built.step()
    return resident("VmHWM") - before


def measure(net: str, names: list[str], threads: int, isa: str | None) -> dict[str, int]:
    """Bytes per library for a net, each in a process of its own."""
    found: dict[str, int] = {}
    for name in names:
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), DEEPCORE_NUM_THREADS=str(threads))
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, (str(Path(__file__).resolve().parents[2]), environment.get("PYTHONPATH")))
        )
        if isa is not None:
            environment["DEEPCORE_ISA"] = isa
        command = [sys.executable, "-m", "deepcore.bench.memory", net, name, str(threads)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        found[name] = int(result["bytes"])
    return found


if __name__ == "__main__":
    print(json.dumps({"bytes": peak_of(sys.argv[1], sys.argv[2], int(sys.argv[3]))}))
