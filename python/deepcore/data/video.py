"""Videos, frame by frame, through PyAV (the `video` extra)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.data.images import MAX_PIXELS
from deepcore.errors import ArgumentError, DataError, ShapeError
from deepcore.files import atomic_write

Pixels = npt.NDArray[np.uint8]

VIDEO_SUFFIXES = (".avi", ".mkv", ".mov", ".mp4", ".webm")
_FORMATS = {".avi": "avi", ".mkv": "matroska", ".mov": "mov", ".mp4": "mp4"}  # that can be written


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise ImportError("reading and writing videos needs PyAV: pip install 'deepcore[video]'") from error
    return av


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """The container and its first video stream; errors of the decoder become DataError."""
    av, where = _av(), os.fspath(path)
    with open(where, "rb"):
        pass  # a missing or unreadable file is an OSError with its name, not a damaged video
    try:
        with av.open(where) as container:
            if not container.streams.video:
                raise DataError(f"read_video: expected a video, got no picture stream in {where}")
            yield container
    except av.error.FFmpegError as error:
        raise DataError(f"read_video: expected a whole video, got {where}: {error}") from error


def read_video(path: str | os.PathLike[str]) -> Iterator[Pixels]:
    """The frames of the first video stream, uint8 (h, w, 3), one after the other.

    Raises:
        DataError: the file is damaged (frames before the damage were yielded), too large, or has no video.
        OSError: it cannot be opened.
        ImportError: PyAV is missing.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        if stream.width * stream.height > MAX_PIXELS:
            size = f"{stream.width} x {stream.height}"
            raise DataError(f"read_video: expected at most {MAX_PIXELS} pixels, got {size} in {os.fspath(path)}")
        for frame in container.decode(stream):
            yield frame.to_ndarray(format="rgb24")


def video_rate(path: str | os.PathLike[str]) -> Fraction:
    """Frames per second. DataError as in `read_video`."""
    with _opened(path) as container:
        rate = container.streams.video[0].average_rate
        return Fraction(25) if rate is None else Fraction(rate)


def video_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The container's metadata by lower-case name. DataError as in `read_video`."""
    with _opened(path) as container:
        return {name.lower(): text for name, text in container.metadata.items()}


class VideoWriter:
    """Writes frames to a video (.mp4, .mov, .mkv or .avi) that becomes `path` when the `with` block ends without error.

    H.264 where PyAV has an encoder for it, else MPEG-4. Sides of odd length gain a pixel, which both need even.

    Args:
        path: the file.
        rate: frames per second.
        metadata: of the container, such as {'comment': ...}.
    """

    def __init__(
        self, path: str | os.PathLike[str], rate: Fraction | int, metadata: Mapping[str, str] | None = None
    ) -> None:
        self.path, self.rate, self.metadata = Path(path), Fraction(rate), dict(metadata or {})
        if self.path.suffix.lower() not in _FORMATS:
            raise ArgumentError(f"VideoWriter: expected a file of {', '.join(_FORMATS)}, got {self.path}")
        if self.rate <= 0:
            raise ArgumentError(f"VideoWriter: expected a rate > 0, got {rate}")
        self._stack = contextlib.ExitStack()
        self._stream: Any = None
        self._shape: tuple[int, ...] = ()

    def __enter__(self) -> VideoWriter:
        av = _av()
        file = self._stack.enter_context(atomic_write(self.path))
        self._container = self._stack.enter_context(
            av.open(file, "w", format=_FORMATS[self.path.suffix.lower()])
        )  # fmt: skip
        self._container.metadata.update(self.metadata)
        return self

    def write(self, frame: Pixels) -> None:
        """Append a frame uint8 (h, w, 3); all must have one size."""
        av = _av()
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or (
            self._stream is not None and frame.shape != self._shape
        ):  # fmt: skip
            expected = self._shape or "(h, w, 3)"
            raise ShapeError(f"VideoWriter: expected frames uint8 {expected}, got {frame.dtype} {frame.shape}")
        h, w = frame.shape[0] + frame.shape[0] % 2, frame.shape[1] + frame.shape[1] % 2
        if self._stream is None:
            self._shape = frame.shape
            codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
            self._stream = self._container.add_stream(codec, rate=self.rate)
            self._stream.width, self._stream.height, self._stream.pix_fmt = w, h, "yuv420p"
            self._stream.options = {"crf": "18"} if codec == "libx264" else {"qscale": "2"}
        even = np.pad(frame, ((0, h - frame.shape[0]), (0, w - frame.shape[1]), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        for packet in self._stream.encode(picture):
            self._container.mux(packet)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None and self._stream is not None:
            for packet in self._stream.encode():
                self._container.mux(packet)
        self._stack.__exit__(kind, error, trace)


__all__ = ["VIDEO_SUFFIXES", "VideoWriter", "read_video", "video_metadata", "video_rate"]
