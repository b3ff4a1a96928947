"""What tests that look into the emulated device share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deepcore as dc

emulated = pytest.mark.skipif(not dc.cuda.is_emulated(), reason="needs the emulated device (DEEPCORE_CUDA_EMULATE=1)")
two_devices = pytest.mark.skipif(dc.cuda.device_count() < 2, reason="needs two CUDA devices")


def device_module() -> Any:
    """The extension module of the emulated device, with its faults on request and its counters."""
    from deepcore import _cuda_emulated  # type: ignore[attr-defined]

    return _cuda_emulated


hooked = pytest.mark.skipif(
    not (dc.cuda.is_emulated() and device_module().hooks),
    reason="needs the emulated device with hooks: build_emulated.py --check hooks",
)


def tensor(*shape: int, seed: int = 0) -> dc.Tensor:
    """Normal numbers on the device."""
    return dc.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32)).cuda()


def labels(n: int, classes: int) -> dc.Tensor:
    """Classes of n samples on the device."""
    return dc.tensor(np.random.default_rng(1).integers(0, classes, n)).cuda()
