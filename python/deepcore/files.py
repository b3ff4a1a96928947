"""Writing files so that a reader sees the old file or the new one, never a mixture."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_STALE_SECONDS = 3600.0


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file that becomes `path` only when the `with` block ends without an error.

    The bytes go to a hidden file in the same folder; it is flushed to the disk, renamed over `path`, and the folder is
    flushed too. If the block raises, the hidden file is removed and `path` is as it was. A process killed in the block
    leaves its hidden file behind; a later write of the same path removes it once it is an hour old.

    Raises:
        OSError: the folder cannot be written or the disk is full; `filename` is always set.

    """
    target = Path(os.path.realpath(path))
    try:
        _remove_stale(target)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
        file = open(temporary, "xb")  # noqa: SIM115  (closed in every branch below)
    except OSError as error:
        error.filename = os.fspath(path)
        error.filename2 = None
        raise
    try:
        with file:
            yield file
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(file.fileno(), target.stat().st_mode & 0o7777)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and (error.filename is None or Path(error.filename) == temporary):
            error.filename = os.fspath(path)
            error.filename2 = None
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems without this notion
            raise
    finally:
        os.close(descriptor)


def _remove_stale(target: Path) -> None:
    """Remove what killed writers of `target` left behind; a living writer keeps its file's time fresh."""
    prefix = f".{target.name}."
    with os.scandir(target.parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.name.endswith(".tmp"):
                with contextlib.suppress(OSError):
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE_SECONDS:
                        os.unlink(entry.path)


__all__ = ["atomic_write"]
