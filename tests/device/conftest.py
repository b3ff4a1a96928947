"""Tests that need a CUDA device: a GPU, or the emulated device where DEEPCORE_CUDA_EMULATE=1."""

from __future__ import annotations

from pathlib import Path

import pytest

import deepcore as dc

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if dc.cuda.is_available():
        return
    skip = pytest.mark.skip(reason=f"needs a CUDA device: {dc.cuda.reason()}")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(skip)
