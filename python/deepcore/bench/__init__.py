"""Kernel benchmarks: checked against numpy first, then timed in alternation with other libraries.

`deepcore bench` and `python -m bench` both call `deepcore.bench.run.main`. A case is data (`case.py`): arrays, a numpy
reference, one function per library, the operations and bytes it needs. Families of cases live in `families/`.
"""

from __future__ import annotations

from deepcore.bench.case import Built, Case, Target

__all__ = ["Built", "Case", "Target"]
