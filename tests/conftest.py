from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import deepcore as dc
from deepcore import _C


@pytest.fixture(params=_C.supported_isas().split())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set of this machine in turn."""
    before = dc.isa()
    _C.select_isa(request.param)
    yield request.param
    _C.select_isa(before)


@pytest.fixture
def data_dir() -> Path:
    """The folder of real data sets; the test is skipped where there is none."""
    path = os.environ.get("DEEPCORE_DATA")
    if not path or not Path(path).is_dir():
        pytest.skip("needs real data: set DEEPCORE_DATA to the folder that holds mnist/, fashion_mnist/, ...")
    return Path(path)
