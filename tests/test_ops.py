"""Values of every case against its numpy reference, on every instruction set, in both float types, on odd layouts."""

from __future__ import annotations

import numpy as np
import pytest

from deepcore.testing import all_cases, check_values
from deepcore.testing.case import Case

CASES = all_cases()


def layouts(a: np.ndarray) -> list[np.ndarray]:
    """The same values at an unaligned address, with steps between them, and with axes in another order."""
    if a.ndim == 0 or a.dtype.kind == "b":
        return [a]
    buffer = np.full(a.size + 1, np.nan if a.dtype.kind == "f" else 77, a.dtype)
    buffer[1:] = a.reshape(-1)
    spaced = np.full((*a.shape[:-1], a.shape[-1] * 2 + 1), np.nan if a.dtype.kind == "f" else 77, a.dtype)
    spaced[..., 1::2] = a
    fortran = np.asfortranarray(a)
    return [buffer[1:].reshape(a.shape), spaced[..., 1::2], fortran]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_values(case: Case, isa: str) -> None:
    arrays = case.inputs("float32")
    check_values(case, arrays, case.run(arrays), "float32")


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_values_float64(case: Case) -> None:
    arrays = case.inputs("float64")
    check_values(case, arrays, case.run(arrays), "float64")


@pytest.mark.parametrize("case", [c for c in CASES if c.views], ids=lambda c: c.name)
def test_layouts(case: Case) -> None:
    arrays = case.inputs("float32")
    variants = [layouts(a) for a in arrays]
    for i in range(max(len(v) for v in variants)):
        check_values(case, arrays, case.run(tuple(v[i % len(v)] for v in variants)), "float32")


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_same_bits_for_any_thread_count(case: Case) -> None:
    import deepcore as dc

    before = dc.get_num_threads()
    arrays = case.inputs("float32")
    try:
        results = []
        for threads in (1, 2, 3):
            dc.set_num_threads(threads)
            results.append([r.tobytes() for r in case.run(arrays)])
        assert results[0] == results[1] == results[2]
    finally:
        dc.set_num_threads(before)
