"""This machine's ceilings, measured with the loops of csrc/cpu/peak.cpp."""

from __future__ import annotations

from typing import Any

from deepcore import _C

# Sizes that lie in the first, second, third level of cache and in memory on the machines of today.
SIZES = (32 << 10, 512 << 10, 8 << 20, 256 << 20)


def measure(seconds: float) -> dict[str, Any]:
    """{"flops": per second, "read": [[bytes, bytes per second], ...]} with the current threads and instruction set.

    `seconds` goes to each of the five measurements.
    """
    return {
        "flops": _C.measure_peak_flops(seconds),
        "read": [[size, _C.measure_read_bandwidth(size, seconds)] for size in SIZES],
    }


def bandwidth(peak: dict[str, Any], size: float) -> float:
    """Bytes per second of reading `size` bytes: that of the smallest level that holds them."""
    rates = [float(rate) for level, rate in peak["read"] if size <= level]
    return rates[0] if rates else float(peak["read"][-1][1])


def shortest_time(peak: dict[str, Any], flops: float, size: float) -> float:
    """Seconds that the work must take at least: the longer of its arithmetic and its memory traffic."""
    return max(flops / float(peak["flops"]), size / bandwidth(peak, size) if size else 0.0)
