"""Tensor: an array of the kernel layer plus its place on the derivative tape; operators come from `deepcore.ops`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deepcore import _C
from deepcore.errors import ArgumentError, DtypeError, GradientError, ShapeError

if TYPE_CHECKING:
    from deepcore.autograd import Node

DTypeLike = npt.DTypeLike
DTYPES = ("float32", "float64", "int32", "int64", "uint8", "bool")
ArrayLike = Any  # Tensor, numpy array, number, nested sequence, or an object with __dlpack__ or the buffer protocol


class Tensor:
    """An n-dimensional array with derivatives.

    Element types: float32, float64, int32, int64, uint8, bool. Images are (n, h, w, c), filters (k, r, s, c).
    Make one with `deepcore.tensor`, `zeros`, `ones`, `full`, `arange`, `from_dlpack`, or an operation.

    Attributes:
        requires_grad: whether operations on this tensor are recorded for derivatives.
        grad: gradient accumulated by `backward`, for tensors made by the user (leaves); None before.
    """

    __array_priority__ = 1000  # numpy arrays on the left leave the operation to us
    __slots__ = ("__weakref__", "array", "grad", "hooks", "node", "requires_grad", "slot")

    def __init__(self, array: _C.Array, requires_grad: bool = False) -> None:
        self.array = array
        self.requires_grad = requires_grad
        self.grad: Tensor | None = None
        self.node: Node | None = None
        self.slot = 0
        self.hooks: list[Callable[[Tensor], Tensor | None]] | None = None

    # ---- facts ----
    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.array.shape

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps between neighbours along each axis, in elements."""
        return self.array.strides

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.array.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.array.size

    @property
    def dtype(self) -> str:
        """Name of the element type, for example 'float32'."""
        return self.array.dtype

    @property
    def device(self) -> str:
        """Where the memory lives: 'cpu' or 'cuda:0'."""
        return self.array.device

    @property
    def is_leaf(self) -> bool:
        """True for tensors that no recorded operation has made."""
        return self.node is None

    # ---- out of deepcore ----
    def numpy(self) -> npt.NDArray[Any]:
        """The values as a numpy array: it shares memory with a tensor of the CPU and is a copy of one of a device."""
        return self.array.numpy()

    def item(self) -> float | int | bool:
        """The single element as a Python number; ShapeError when there is not exactly one."""
        value: float | int | bool = self.array.item()
        return value

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self.array.numpy().tolist()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        values = self.array.numpy()
        if dtype is not None and np.dtype(dtype) != values.dtype:
            if copy is False:
                raise ValueError("__array__: a conversion of the element type needs a copy")
            return values.astype(dtype)
        return values.copy() if copy else values

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        if self.requires_grad:
            raise GradientError("__dlpack__: the tensor requires a gradient; export tensor.detach()")
        here = self.__dlpack_device__()
        if dl_device is not None and tuple(dl_device) != here:
            if tuple(dl_device) != (1, 0) or copy is False:
                raise BufferError(f"__dlpack__: expected device {here}, got {dl_device}")
            array = _C.to_device(self.array, "cpu")
        else:
            array = _C.copy(self.array) if copy else self.array
            if here[0] == 2:
                self._ready_on(stream)
        if array.readonly and (max_version is None or max_version[0] < 1):
            raise BufferError("__dlpack__: the memory is read-only, which the consumer's DLPack version cannot express")
        return array.__dlpack__(max_version=max_version)

    def _ready_on(self, stream: Any) -> None:
        """Let the consumer's stream wait for the values. Without a stream the host waits; -1 asks for no wait."""
        if stream is None:
            _C.synchronize(self.device)
        elif stream != -1:
            _C.let_stream_wait(self.device, _stream_handle("__dlpack__", stream))

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0) if self.device == "cpu" else (2, int(self.device.split(":")[1]))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.device == "cpu":
            raise AttributeError("__cuda_array_interface__: a tensor of the CPU")
        if self.requires_grad:
            raise GradientError("__cuda_array_interface__: the tensor requires a gradient; export tensor.detach()")
        _C.synchronize(self.device)
        kind = np.dtype(self.dtype)
        return {
            "shape": self.shape, "strides": tuple(s * kind.itemsize for s in self.strides), "typestr": kind.str,
            "data": (self.array.pointer, self.array.readonly), "version": 3, "stream": None,
        }  # fmt: skip

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (np.array(self.array.numpy()), self.requires_grad, self.device)

    def __copy__(self) -> Tensor:
        return Tensor(self.array, self.requires_grad and self.node is None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        result = Tensor(_C.copy(self.array), self.requires_grad)
        memo[id(self)] = result
        return result

    # ---- derivatives ----
    def detach(self) -> Tensor:
        """The same values, outside the tape."""
        return Tensor(self.array)

    def requires_grad_(self, flag: bool = True) -> Tensor:
        """Switch recording for a leaf; returns self. GradientError for the result of a recorded operation."""
        if self.node is not None and not flag:
            raise GradientError("requires_grad_: this tensor was made by a recorded operation; use detach()")
        if flag and self.dtype not in ("float32", "float64"):
            raise GradientError(f"requires_grad_: expected float32 or float64, got {self.dtype}")
        self.requires_grad = flag
        return self

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call `hook(gradient)` when the gradient of this tensor is known; a returned tensor replaces it.

        Returns a function that removes the hook. GradientError when the tensor does not require a gradient.
        """
        if not self.requires_grad:
            raise GradientError("register_hook: the tensor does not require a gradient")
        if self.node is not None:
            hooks = self.node.hooks_for(self.slot)
        else:
            if self.hooks is None:
                self.hooks = []
            hooks = self.hooks
        hooks.append(hook)

        def remove() -> None:
            if hook in hooks:
                hooks.remove(hook)

        return remove

    def backward(self, gradient: Tensor | None = None, *, create_graph: bool = False) -> None:
        """Add the gradient of this tensor to `.grad` of every leaf it depends on. See `deepcore.backward`."""
        from deepcore.autograd import backward

        backward(self, gradient, create_graph=create_graph)

    # ---- Python protocol ----
    def __len__(self) -> int:
        shape = self.array.shape
        if not shape:
            raise TypeError("len() of a tensor without axes")
        return shape[0]

    def __bool__(self) -> bool:
        if self.array.size != 1:
            raise ShapeError(f"bool: expected one element, got shape {self.shape}")
        return bool(self.array.item())

    def __float__(self) -> float:
        return float(self.array.item())

    def __int__(self) -> int:
        return int(self.array.item())

    def __index__(self) -> int:
        value = self.array.item()
        if not isinstance(value, int):
            raise TypeError(f"index: expected an integer tensor, got {self.dtype}")
        return value

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        body = np.array2string(self.array.numpy(), separator=", ", prefix="tensor(", threshold=200, precision=5)
        extra = "" if self.dtype == "float32" else f", dtype={self.dtype}"
        return f"tensor({body}{extra}{', requires_grad=True' if self.requires_grad else ''})"

    if TYPE_CHECKING:  # attached by deepcore.ops
        T: Tensor

        def __add__(self, other: ArrayLike) -> Tensor: ...
        def __radd__(self, other: ArrayLike) -> Tensor: ...
        def __sub__(self, other: ArrayLike) -> Tensor: ...
        def __rsub__(self, other: ArrayLike) -> Tensor: ...
        def __mul__(self, other: ArrayLike) -> Tensor: ...
        def __rmul__(self, other: ArrayLike) -> Tensor: ...
        def __truediv__(self, other: ArrayLike) -> Tensor: ...
        def __rtruediv__(self, other: ArrayLike) -> Tensor: ...
        def __pow__(self, other: ArrayLike) -> Tensor: ...
        def __rpow__(self, other: ArrayLike) -> Tensor: ...
        def __matmul__(self, other: ArrayLike) -> Tensor: ...
        def __rmatmul__(self, other: ArrayLike) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __eq__(self, other: object) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: object) -> Tensor: ...  # type: ignore[override]
        def __lt__(self, other: ArrayLike) -> Tensor: ...
        def __le__(self, other: ArrayLike) -> Tensor: ...
        def __gt__(self, other: ArrayLike) -> Tensor: ...
        def __ge__(self, other: ArrayLike) -> Tensor: ...
        def __getitem__(self, key: Any) -> Tensor: ...
        def __iter__(self) -> Iterator[Tensor]: ...
        def astype(self, dtype: DTypeLike) -> Tensor: ...
        def to(self, device: str) -> Tensor: ...
        def cpu(self) -> Tensor: ...
        def cuda(self) -> Tensor: ...
        def reshape(self, *shape: Any) -> Tensor: ...
        def transpose(self, *axes: Any) -> Tensor: ...
        def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def max(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def min(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...


def _rebuild(values: npt.NDArray[Any], requires_grad: bool, device: str = "cpu") -> Tensor:
    return Tensor(_C.to_device(_C.from_numpy(values), device), requires_grad)


def tensor(
    data: ArrayLike,
    dtype: DTypeLike | None = None,
    *,
    requires_grad: bool = False,
    device: str | None = None,
    copy: bool = True,
) -> Tensor:
    """A tensor with its own copy of `data` (numbers, nested sequences, numpy arrays, tensors).

    Without `dtype`, Python floats become float32, Python integers int64; arrays keep their type. With
    `copy=False` numpy arrays of a known type are shared, not copied. Without `device`, tensors stay where they are and
    everything else goes to the CPU.
    """
    if isinstance(data, Tensor):
        array = data.array if dtype is None else _C.cast(data.array, dtype)
        if device is not None:
            array = _C.to_device(array, device)
        # A cast or a move that changes nothing returns the same memory.
        array = _C.copy(array) if copy and array.pointer == data.array.pointer else array
    else:
        values = np.asarray(data)
        if dtype is None and not isinstance(data, (np.ndarray, np.generic)) and values.dtype == np.float64:
            dtype = "float32"
        if dtype is not None:
            if values.dtype.kind not in "biuf" or np.dtype(dtype).name not in DTYPES:
                raise DtypeError(f"tensor: expected numbers as {', '.join(DTYPES)}, got {values.dtype} as {dtype}")
            values = values.astype(dtype, copy=False)
        array = _C.from_numpy(values)
        # np.asarray of a foreign object may share its memory; only a list or number is ours already.
        if copy and isinstance(data, (np.ndarray, np.generic)) and array.pointer == data.__array_interface__["data"][0]:
            array = _C.copy(array)
        if device is not None:
            array = _C.to_device(array, device)
    result = Tensor(array)
    return result.requires_grad_() if requires_grad else result


def as_tensor(data: ArrayLike, dtype: DTypeLike | None = None) -> Tensor:
    """`data` itself if it is a tensor, else a tensor sharing its memory where possible."""
    if isinstance(data, Tensor) and dtype is None:
        return data
    return tensor(data, dtype, copy=False)


def from_dlpack(data: Any) -> Tensor:
    """A tensor sharing the memory of any object with `__dlpack__` (torch, jax, numpy, ...) or with
    `__cuda_array_interface__`, without a copy.

    On a GPU the tensor is on the device where the memory lies, and work on it waits for the producer's stream. When the
    last tensor lets go of the memory the host waits for that work, as the owner may use the memory at once.

    Raises:
        TypeError: `data` has neither.
        DtypeError: other element types than those of tensors.
        DeviceError: memory of another kind of device, or of none.
        ArgumentError: the interface names stream 0, which may mean either default stream.

    """
    if not hasattr(data, "__dlpack__") and hasattr(data, "__cuda_array_interface__"):
        return _from_cuda_array_interface(data)
    return Tensor(_C.from_dlpack(data))


def _from_cuda_array_interface(data: Any) -> Tensor:
    facts = data.__cuda_array_interface__
    if facts.get("mask") is not None:
        raise DtypeError("from_dlpack: __cuda_array_interface__ with a mask")
    kind = np.dtype(facts["typestr"])
    shape = tuple(int(n) for n in facts["shape"])
    steps = facts.get("strides")
    if steps is None:
        steps, size = [], kind.itemsize
        for n in reversed(shape):
            steps.insert(0, size)
            size *= n
    if any(s % kind.itemsize for s in steps):
        raise DtypeError(f"from_dlpack: expected strides in whole elements of {kind}, got {tuple(steps)} bytes")
    pointer, readonly = facts["data"]
    strides = tuple(int(s) // kind.itemsize for s in steps)
    stream = facts.get("stream")  # since version 3; without one the values are ready
    handle = None if stream is None else _stream_handle("from_dlpack", stream)
    result = Tensor(_C.from_cuda_pointer(pointer, shape, strides, kind, bool(readonly), data))
    if handle is not None:
        _C.wait_for_stream(result.device, handle)
    return result


def _stream_handle(op: str, stream: Any) -> int:
    """A stream as DLPack and the CUDA array interface name it: 1 legacy, 2 of this thread, else a handle."""
    if not isinstance(stream, int) or isinstance(stream, bool) or stream < 1:
        raise ArgumentError(f"{op}: expected a stream of 1 (legacy), 2 (per thread) or a handle, got {stream!r}")
    return stream


def full(shape: int | Sequence[int], value: float, dtype: DTypeLike = "float32", *, device: str = "cpu") -> Tensor:
    """A tensor of `shape` with every element equal to `value`."""
    return Tensor(_C.full((shape,) if isinstance(shape, int) else tuple(shape), value, dtype, device))


def zeros(shape: int | Sequence[int], dtype: DTypeLike = "float32", *, device: str = "cpu") -> Tensor:
    """A tensor of zeros."""
    return full(shape, 0.0, dtype, device=device)


def ones(shape: int | Sequence[int], dtype: DTypeLike = "float32", *, device: str = "cpu") -> Tensor:
    """A tensor of ones."""
    return full(shape, 1.0, dtype, device=device)


def arange(
    start: float, stop: float | None = None, step: float = 1, dtype: DTypeLike | None = None, *, device: str = "cpu"
) -> Tensor:
    """Values start, start + step, ... below stop; int64 for integers, else float32."""
    if stop is None:
        start, stop = 0, start
    if dtype is None:
        dtype = "int64" if all(isinstance(v, int) for v in (start, stop, step)) else "float32"
    return Tensor(_C.arange(start, stop, step, dtype, device))
