"""Loader and splits need only a permutation: where the compiled module is missing, numpy's stands in for it."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _permutation(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        import deepcore.random  # noqa: F401
    except ImportError:
        module = types.ModuleType("deepcore.random")
        vars(module)["permutation"] = lambda n, *, seed, stream: np.random.default_rng([seed, stream]).permutation(n)
        monkeypatch.setitem(sys.modules, "deepcore.random", module)
