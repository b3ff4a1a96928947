"""deepcore info."""

from __future__ import annotations

import argparse
import json
import platform
from typing import Any

import deepcore
from deepcore.device import supported_isas


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def facts() -> dict[str, Any]:
    """What is known about this installation and machine."""
    import numpy as np

    return {
        "version": deepcore.__version__, "python": platform.python_version(), "numpy": np.__version__,
        "machine": platform.machine(), "instruction_set": deepcore.isa(),
        "supported": supported_isas(), "threads": deepcore.get_num_threads(),
        "cuda": deepcore.cuda.is_available(), "cuda_reason": deepcore.cuda.reason(),
        "cuda_emulated": deepcore.cuda.is_emulated(),
        "cuda_devices": [
            deepcore.cuda.properties(f"cuda:{i}") for i in range(deepcore.cuda.device_count())
        ],
    }  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Print the facts."""
    values = facts()
    if options.json:
        print(json.dumps(values))
        return 0
    print(f"deepcore {values['version']}  (Python {values['python']}, numpy {values['numpy']}, {values['machine']})")
    print(f"instruction set  {values['instruction_set']}  (this machine: {', '.join(values['supported'])})")
    print(f"threads          {values['threads']}")
    if not values["cuda"]:
        print(f"cuda             no: {values['cuda_reason']}")
    elif values["cuda_emulated"]:
        print(
            "cuda             EMULATED: DEEPCORE_CUDA_EMULATE=1 runs kernels on the CPU one thread at a time; for tests"
        )
    for i, device in enumerate(values["cuda_devices"]):
        major, minor = device["compute_capability"]
        print(f"cuda:{i}           {device['name']}, compute capability {major}.{minor}, "
              f"{device['multiprocessors']} multiprocessors, {device['memory'] / 2**30:.0f} GiB")  # fmt: skip
    return 0
