"""Checkpoints: named arrays and a JSON document in one safetensors file, written atomically, read without pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from deepcore.errors import ArgumentError, CheckpointError, DtypeError
from deepcore.files import atomic_write

Array = NDArray[Any]

_FORMAT = "deepcore"
_VERSION = 1
_DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "float16": "F16",
    "uint32": "U32",
    "int32": "I32",
    "float32": "F32",
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
}


def save_checkpoint(path: str | os.PathLike[str], arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
    """Write arrays and metadata to one safetensors file; a crash at any moment leaves the old file or the new one.

    Args:
        path: the file; its folder must exist.
        arrays: name -> array of a boolean, integer or float type, any shape.
        meta: what JSON can hold: dict with string keys, list, str, int, float, bool, None. Numpy scalars become
            numbers, tuples come back as lists.

    Raises:
        DtypeError: an array is of a type that the file cannot hold.
        ArgumentError: `meta` is not JSON, or a name is not usable.
        OSError: the path cannot be written or the disk is full; the old file is intact and no other is left.

    """
    header = {"format": _FORMAT, "version": str(_VERSION), "meta": _encode_meta(meta)}
    prepared = {name: _prepare(name, array) for name, array in arrays.items()}
    with atomic_write(path) as file:
        _write_safetensors(file, prepared, header)


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read what `save_checkpoint` wrote: (arrays, meta). The arrays own their memory.

    Raises:
        CheckpointError: the file is damaged, its sizes do not add up, or it is not a checkpoint of this version.
        OSError: the file cannot be opened.

    """
    import safetensors

    where = os.fspath(path)
    with open(where, "rb"):
        pass  # a missing or unreadable file is an OSError with its name, not a damaged checkpoint
    try:
        # The library maps the file and compares every offset with the file's size before it hands out an array.
        with safetensors.safe_open(where, framework="numpy") as file:
            header = file.metadata() or {}
            meta = _decode_meta(where, header)
            arrays = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, TypeError, AttributeError, MemoryError) as error:
        raise CheckpointError(f"load_checkpoint: expected a whole safetensors file, got {where}: {error}") from error
    return arrays, meta


def _encode_meta(meta: Mapping[str, Any]) -> str:
    _check_keys(meta)
    try:
        return json.dumps(meta, default=_plain_number, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(f"save_checkpoint: expected metadata that JSON can hold, got {error}") from error


def _check_keys(value: object) -> None:
    """JSON would turn a key 1 into "1" without a word."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ArgumentError(f"save_checkpoint: expected string keys in the metadata, got {key!r}")
            _check_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_keys(item)


def _plain_number(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a value of type {type(value).__name__}")


def _decode_meta(where: str, header: Mapping[str, str]) -> dict[str, Any]:
    if header.get("format") != _FORMAT or "meta" not in header:
        raise CheckpointError(f"load_checkpoint: expected a deepcore checkpoint, got another safetensors file: {where}")
    if header.get("version") != str(_VERSION):
        raise CheckpointError(
            f"load_checkpoint: expected version {_VERSION}, got {header.get('version')!r} in {where}; "
            "it needs another release of deepcore"
        )
    try:
        meta = json.loads(header["meta"])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"load_checkpoint: expected JSON metadata, got {error} in {where}") from error
    if not isinstance(meta, dict):
        raise CheckpointError(
            f"load_checkpoint: expected a JSON object as metadata, got {type(meta).__name__} in {where}"
        )
    return meta


def _prepare(name: str, array: Array) -> Array:
    if not isinstance(name, str) or name == "__metadata__":
        raise ArgumentError(f"save_checkpoint: expected a string other than '__metadata__' as name, got {name!r}")
    array = np.asarray(array)
    if array.dtype.name not in _DTYPES:
        raise DtypeError(f"save_checkpoint: expected {', '.join(_DTYPES)} in {name!r}, got {array.dtype}")
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _write_safetensors(file: BinaryIO, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """8 bytes length of the header, the header in JSON, the arrays; straight from their memory, without a copy.

    Wide types come first so that every array is aligned to its type.
    """
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for name in names:
        array = arrays[name]
        end = offset + array.nbytes
        header[name] = {"dtype": _DTYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for name in names:
        file.write(arrays[name].reshape(-1).view(np.uint8).data)


__all__ = ["load_checkpoint", "save_checkpoint"]
