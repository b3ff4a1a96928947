"""Counter-based random numbers (Philox4x32-10): every value is a function of (seed, stream, offset, element index).

The same numbers come out on every device, for every number of threads and in every order of calls with the same key.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from deepcore import _C
from deepcore.errors import ArgumentError
from deepcore.tensor import DTypeLike, Tensor

Key = tuple[int, int, int]


class Generator:
    """Hands out keys: (seed, stream, 0), (seed, stream + 1, 0), ... Its whole state is two integers."""

    def __init__(self, seed: int = 0, stream: int = 0) -> None:
        if not isinstance(seed, int) or not isinstance(stream, int):
            raise ArgumentError(f"Generator: expected integers, got seed {seed!r} and stream {stream!r}")
        self.seed = seed
        self.stream = stream
        self._lock = threading.Lock()

    def key(self) -> Key:
        """A key that this generator has not given before."""
        with self._lock:
            self.stream += 1
            return (self.seed, self.stream - 1, 0)

    def state_dict(self) -> dict[str, int]:
        """Seed and next stream."""
        return {"seed": self.seed, "stream": self.stream}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue where `state_dict` was taken."""
        self.seed, self.stream = int(state["seed"]), int(state["stream"])


# Streams of the default generator start high, clear of the small numbers users pass as streams.
_default = Generator(0, 1 << 48)


def seed(value: int) -> None:
    """Restart the default generator, used wherever no seed is given."""
    _default.seed, _default.stream = int(value), 1 << 48


def default_generator() -> Generator:
    """The generator used wherever no seed is given."""
    return _default


def _key(seed: int | None, stream: int) -> Key:
    return _default.key() if seed is None else (seed, stream, 0)


def _shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def uniform(
    shape: int | Sequence[int], low: float = 0.0, high: float = 1.0, *, dtype: DTypeLike = "float32",
    seed: int | None = None, stream: int = 0, device: str = "cpu",
) -> Tensor:  # fmt: skip
    """Independent uniform numbers in [low, high): 24 random bits in float32, 53 in float64."""
    return Tensor(_C.random_uniform(_key(seed, stream), _shape(shape), low, high, dtype, device))


def normal(
    shape: int | Sequence[int], mean: float = 0.0, deviation: float = 1.0, *, dtype: DTypeLike = "float32",
    seed: int | None = None, stream: int = 0, device: str = "cpu",
) -> Tensor:  # fmt: skip
    """Independent normal numbers (Box and Muller, 1958)."""
    return Tensor(_C.random_normal(_key(seed, stream), _shape(shape), mean, deviation, dtype, device))


def bernoulli(
    p: float | Tensor, shape: int | Sequence[int] | None = None, *, dtype: DTypeLike = "float32",
    seed: int | None = None, stream: int = 0, device: str = "cpu",
) -> Tensor:  # fmt: skip
    """1 with probability p, else 0: for one p over `shape`, or for a tensor of probabilities in its shape and place."""
    if isinstance(p, Tensor):
        if shape is not None and _shape(shape) != p.shape:
            raise ArgumentError(f"bernoulli: expected no shape or {p.shape} beside a tensor of probabilities")
        return Tensor(_C.random_bernoulli_each(_key(seed, stream), p.array))
    if shape is None:
        raise ArgumentError("bernoulli: expected a shape beside a single probability")
    return Tensor(_C.random_bernoulli(_key(seed, stream), _shape(shape), p, dtype, device))


def bits(shape: int | Sequence[int], *, seed: int | None = None, stream: int = 0, device: str = "cpu") -> Tensor:
    """Raw 32-bit words, as int32."""
    return Tensor(_C.random_bits(_key(seed, stream), _shape(shape), device))


def permutation(n: int, *, seed: int | None = None, stream: int = 0) -> npt.NDArray[Any]:
    """The numbers 0 .. n - 1 in random order (Fisher and Yates), int64."""
    return _C.random_permutation(_key(seed, stream), n).numpy()
