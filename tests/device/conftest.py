"""Tests that need a CUDA device: a GPU, or the emulated device where DEEPCORE_CUDA_EMULATE=1."""

from __future__ import annotations

import deepcore as dc

# Thousands of tests: without a device test_available.py alone is collected, and says why.
collect_ignore_glob = [] if dc.cuda.is_available() else ["test_[!a]*.py"]
