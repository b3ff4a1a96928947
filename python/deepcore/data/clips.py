"""Clips for nets: some frames of a video file, at one size, as an array (PyAV and Pillow, the `video` extra)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deepcore.data.images import class_files, resize_pixels
from deepcore.data.video import VIDEO_SUFFIXES, read_video
from deepcore.errors import ArgumentError, DataError

Pixels = npt.NDArray[np.uint8]

MAX_BYTES = 1 << 32  # of one clip in memory
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luma of ITU-R BT.601


def read_clip(
    path: str | os.PathLike[str], size: int | tuple[int, int] | None = None, *, grey: bool = False, stride: int = 1,
    frames: int | None = None,
) -> Pixels:  # fmt: skip
    """Frames of a video as uint8 (t, h, w, c), c = 1 or 3.

    Args:
        path: the file.
        size: (h, w) or one number for both; what stands out around the middle is cut. None: as they are.
        grey: c = 1.
        stride: keep each stride-th frame, beginning with the first.
        frames: of these keep so many at equal distances; all where there are fewer.

    Raises:
        DataError: the file is damaged, has no frame, or gives more than 4 GiB; it is named.
        ArgumentError: an option is out of range.
        OSError: it cannot be opened.
        ImportError: PyAV or Pillow is missing.
    """
    if frames is not None and frames < 1:
        raise ArgumentError(f"read_clip: expected frames >= 1 or None, got {frames}")
    kept: list[Pixels] = []
    for frame in read_frames(path, size, grey=grey, stride=stride):
        kept.append(frame)
        if len(kept) * frame.nbytes > MAX_BYTES:
            raise DataError(f"read_clip: expected at most {MAX_BYTES} bytes, got more in {os.fspath(path)}: choose "
                            "size and stride")  # fmt: skip
    if not kept:
        raise DataError(f"read_clip: expected at least one frame, got none in {os.fspath(path)}")
    if frames is not None and len(kept) > frames:
        kept = [kept[(2 * i + 1) * len(kept) // (2 * frames)] for i in range(frames)]
    return np.stack(kept)


def read_frames(
    path: str | os.PathLike[str], size: int | tuple[int, int] | None = None, *, grey: bool = False, stride: int = 1
) -> Iterator[Pixels]:  # fmt: skip
    """The frames that `read_clip` reads, uint8 (h, w, c), one after the other. Raises what it raises."""
    if stride < 1:
        raise ArgumentError(f"read_clip: expected stride >= 1, got {stride}")
    for i, frame in enumerate(read_video(path)):
        if i % stride:
            continue
        if grey:
            frame = np.rint(frame @ _GREY).astype(np.uint8)[:, :, None]
        yield frame if size is None else resize_pixels(frame, size)


def video_folder(root: str | os.PathLike[str]) -> tuple[list[Path], npt.NDArray[np.str_]]:
    """The video files of root/CLASS/** and their classes (n,), in sorted order.

    DataError when there is no class or a class without videos.
    """
    found = class_files("video_folder", root, "videos", VIDEO_SUFFIXES)
    return found.paths, np.asarray(found.classes)[found.labels]


__all__ = ["MAX_BYTES", "read_clip", "read_frames", "video_folder"]
