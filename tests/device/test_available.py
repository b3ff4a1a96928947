"""Whether there is a device for the tests of this folder."""

from __future__ import annotations

import pytest

import deepcore as dc


def test_a_device_can_be_used() -> None:
    if not dc.cuda.is_available():
        pytest.skip(f"tests/device needs a CUDA device or DEEPCORE_CUDA_EMULATE=1: {dc.cuda.reason()}")
    assert dc.cuda.device_count() > 0
