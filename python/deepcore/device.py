"""Devices, threads, instruction sets and memory."""

from __future__ import annotations

import importlib
from typing import Any

from deepcore import _C
from deepcore.errors import ArgumentError


def check_device(name: str) -> str:
    """The device's full name. DeviceError when it is missing, ArgumentError when there is no such kind."""
    return _C.check_device(name)


def resolve_device(name: str) -> str:
    """`check_device` of a name, where 'auto' is 'cuda' if a GPU can be used (never the emulated one), else 'cpu'."""
    if name != "auto":
        return check_device(name)
    return check_device("cuda") if cuda.is_available() and not cuda.is_emulated() else "cpu"


def supported_isas() -> list[str]:
    """The instruction sets that this machine can run, best first."""
    return _C.supported_isas().split()


def isa() -> str:
    """The instruction set in use: 'avx512', 'avx2' or 'scalar' (DEEPCORE_ISA forces one)."""
    return _C.isa()


def get_num_threads() -> int:
    """Threads used by kernels; DEEPCORE_NUM_THREADS sets the default. Results never depend on it."""
    return _C.num_threads()


def set_num_threads(threads: int) -> None:
    """Set the number of threads used by kernels. ArgumentError unless 1 <= threads <= 1024."""
    if not isinstance(threads, int) or isinstance(threads, bool):
        raise ArgumentError(f"set_num_threads: expected an int, got {threads!r}")
    _C.set_num_threads(threads)


class memory:
    """Statistics of the caching allocator of a device."""

    @staticmethod
    def statistics(device: str = "cpu") -> dict[str, int]:
        """Bytes: current, peak, cached; counts: allocations, cache_hits."""
        return _C.memory_statistics(device)

    @staticmethod
    def reset_peak(device: str = "cpu") -> None:
        """Start the peak anew from the bytes in use now."""
        _C.reset_peak_memory(device)

    @staticmethod
    def empty_cache(device: str = "cpu") -> None:
        """Give cached blocks back to the system."""
        _C.empty_cache(device)


_PRECISIONS = ("strict", "accurate", "high", "tf32")


def _back_end() -> Any:
    """The extension module of CUDA devices; DeviceError where there is none."""
    check_device("cuda")
    return importlib.import_module("deepcore._cuda_emulated" if _C.cuda_emulated() else "deepcore._cuda")


class cuda:
    """State of the CUDA back end."""

    @staticmethod
    def is_available() -> bool:
        """Whether device='cuda' can be used."""
        return _C.cuda_reason() == ""

    @staticmethod
    def device_count() -> int:
        """Number of CUDA devices that can be used."""
        return _C.cuda_device_count()

    @staticmethod
    def properties(device: str = "cuda:0") -> dict[str, Any]:
        """name, compute_capability, multiprocessors and memory (bytes) of a device."""
        return _C.cuda_properties(device)

    @staticmethod
    def is_emulated() -> bool:
        """Whether 'cuda' is the emulated device of the tests (DEEPCORE_CUDA_EMULATE=1)."""
        return _C.cuda_emulated()

    @staticmethod
    def synchronize(device: str = "cuda") -> None:
        """Wait for the work of a device; raises what its kernels found wrong, such as an index out of range."""
        _C.synchronize(device)

    @staticmethod
    def memory_stats(device: str = "cuda") -> dict[str, int]:
        """As `deepcore.memory.statistics`."""
        return memory.statistics(device)

    @staticmethod
    def empty_cache(device: str = "cuda") -> None:
        """Give cached blocks back to the device."""
        memory.empty_cache(device)

    @staticmethod
    def set_float32_precision(matmul: str | None = None, conv: str | None = None) -> None:
        """How products of float32 are computed on CUDA devices from now on, in the whole process; None changes nothing.

        'strict': float32 multiply-adds; 'accurate' (default): tensor cores with the error of float32; 'high': tensor
        cores, relative error 2^-17 per term; 'tf32': 2^-11 per term. ArgumentError for any other word, DeviceError
        where there is no CUDA device.
        """
        for what, value in (("matmul", matmul), ("conv", conv)):
            if value is not None and value not in _PRECISIONS:
                raise ArgumentError(f"set_float32_precision: expected {what} in {list(_PRECISIONS)}, got {value!r}")
        _back_end().set_float32_precision(matmul, conv)

    @staticmethod
    def float32_precision() -> dict[str, str]:
        """Precision of 'matmul' and 'conv', as `set_float32_precision` takes it."""
        matmul, conv = _back_end().float32_precision()
        return {"matmul": matmul, "conv": conv}

    @staticmethod
    def reason() -> str:
        """Why CUDA cannot be used, with the remedy; empty when it can."""
        return _C.cuda_reason()
