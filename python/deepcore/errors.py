"""Exceptions of deepcore. Every message names the operation, what was expected and what came."""

from __future__ import annotations


class Error(Exception):
    """Base class of all errors raised by deepcore."""


class ShapeError(Error, ValueError):
    """Rank, size or layout of an argument does not fit the operation."""


class DtypeError(Error, TypeError):
    """The element type of an argument does not fit the operation."""


class DeviceError(Error, RuntimeError):
    """A device is missing, or tensors live on different devices, or a kernel is not available there."""


class CudaError(DeviceError):
    """A CUDA call failed."""


class OutOfMemoryError(Error, MemoryError):
    """The device has no memory left for an array."""


class ArgumentError(Error, ValueError):
    """The value of an option or argument is out of its range."""


class GradientError(Error, RuntimeError):
    """A derivative was asked for that does not exist."""


class DataError(Error, ValueError):
    """A file or an array of data is damaged, lies about its size, or holds values that cannot be used."""


class CheckpointError(Error, ValueError):
    """A checkpoint or model file is damaged or does not fit the model."""


class NumericalError(Error, ArithmeticError):
    """NaN or infinity turned up where numbers must be finite."""


class NotFittedError(Error, ValueError, AttributeError):
    """An estimator was used before it was fitted."""


def counted(n: int, noun: str) -> str:
    """'1 face', '2 faces'."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


__all__ = [name for name, value in list(globals().items()) if isinstance(value, type)]
