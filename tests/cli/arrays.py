"""Files of arrays that tests of the commands write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

IMAGES = np.zeros((20, 8, 8), np.uint8)


def write_npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path
