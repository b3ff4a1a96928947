"""The packaged data set: 1,797 handwritten digits, real input without a download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepcore.data.idx import read_idx

TEST_EVERY = 5  # samples 0, 5, 10, ... are for testing

_FILES = Path(__file__).parent / "files"
_Pixels = NDArray[np.uint8]


def load_digits() -> tuple[_Pixels, _Pixels, _Pixels, _Pixels]:
    """Handwritten digits of 13 people: x_train (1437, 8, 8), y_train (1437,), x_test (360, 8, 8), y_test (360,), uint8.

    Pixels are 0 (paper) .. 16 (ink), labels 0..9. The order is that of the source; every fifth sample (0,
    5, 10, ...) is for testing, so that all writers are on both sides.

    Source: test part of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI Machine Learning
    Repository, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0. See files/DIGITS.txt.
    """
    x, y = read_idx(_FILES / "digits-images.idx.gz"), read_idx(_FILES / "digits-labels.idx.gz")
    test = np.arange(len(x)) % TEST_EVERY == 0
    return x[~test], y[~test], x[test], y[test]


__all__ = ["load_digits"]
