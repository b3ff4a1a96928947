"""Clips and their labels as they come: arrays, lists of arrays, paths of video files; labels of clips or of frames."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deepcore.data.clips import read_clip, read_frames
from deepcore.errors import ArgumentError, DataError, DtypeError, ShapeError
from deepcore.estimators.base import check_labels, check_lengths

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

NO_LABEL = -1


class FileOptions(NamedTuple):
    """How video files are read, see `deepcore.data.read_clip`."""

    size: int | tuple[int, int] | None
    grey: bool
    stride: int
    frames: int | None


class Clips(NamedTuple):
    """Clips (t, h, w, c), uint8 or float32, what each is called in messages, and whether they came as one array."""

    clips: list[Array]
    names: list[str]
    array: bool


def is_path(x: Any) -> bool:
    """Whether x names a file."""
    return isinstance(x, (str, os.PathLike))


def read_clips(owner: str, x: Any, options: FileOptions) -> Clips:
    """Clips from an array (n, t, h, w[, c]), or a sequence of arrays (t, h, w[, c]) and paths of video files.

    Raises:
        DataError: a file is damaged or without frames, or a clip has no frame, or holds NaN or infinity.
        ShapeError: ranks do not fit, or frames of clips differ in size.
        DtypeError: no numbers, or uint8 and other numbers mixed.
        ArgumentError: one path or nothing in place of clips.
    """
    if is_path(x) or isinstance(x, bytes) or not hasattr(x, "__len__") or not hasattr(x, "__iter__"):
        raise ArgumentError(f"{owner}: expected clips (n, t, h, w, c) or a sequence of clips or paths, got {x!r:.80}")
    array = isinstance(x, np.ndarray) and x.dtype != object
    if array and x.ndim not in (4, 5):
        raise ShapeError(f"{owner}: expected clips (n, t, h, w[, c]), got shape {x.shape}")
    if len(x) == 0:
        raise ArgumentError(f"{owner}: expected at least one clip, got none (0 sample(s))")
    clips, names = [], []
    for i, item in enumerate(x):
        name = f"clip {i}"
        if is_path(item):
            name = os.fspath(item)
            item = read_clip(item, options.size, grey=options.grey, stride=options.stride, frames=options.frames)
        clips.append(_checked(owner, name, np.asarray(item)))
        names.append(name)
    for clip, name in zip(clips, names):
        if clip.shape[1:] != clips[0].shape[1:]:
            raise ShapeError(
                f"{owner}: expected frames of one size, got {clip.shape[1:]} in {name} and {clips[0].shape[1:]} in "
                f"{names[0]}"
            )
        if clip.dtype != clips[0].dtype:
            raise DtypeError(
                f"{owner}: expected uint8 frames throughout, or other numbers throughout, got {clip.dtype} in {name} "
                f"and {clips[0].dtype} in {names[0]}"
            )
    return Clips(clips, names, array)


def read_stream(owner: str, source: Any, options: FileOptions) -> Iterator[Array]:
    """Frames (h, w[, c]) of an iterable, or of a video file, of which `options.frames` cannot choose."""
    if not is_path(source):
        yield from source
        return
    if options.frames is not None:
        raise ArgumentError(f"{owner}: expected frames=None for the stream of a file, got {options.frames}")
    yield from read_frames(source, options.size, grey=options.grey, stride=options.stride)


def _checked(owner: str, name: str, clip: Array) -> Array:
    if clip.dtype.kind not in "fiub":
        raise DtypeError(f"{owner}: expected numbers as {name}, got {clip.dtype}")
    if clip.ndim == 3:
        clip = clip[..., None]
    if clip.ndim != 4:
        raise ShapeError(f"{owner}: expected (t, h, w) or (t, h, w, c) as {name}, got shape {clip.shape}")
    if len(clip) == 0:
        raise DataError(f"{owner}: expected at least one frame in {name}, got none")
    if 0 in clip.shape:
        raise ShapeError(f"{owner}: expected frames with pixels in {name}, got shape {clip.shape}")
    if clip.dtype == np.uint8:
        return clip
    clip = clip.astype(np.float32)
    finite = np.isfinite(clip).reshape(len(clip), -1).all(1)
    if not finite.all():
        raise DataError(f"{owner}: frame {int(np.argmin(finite))} of {name} holds NaN or infinity")
    return clip


def read_labels(owner: str, y: Any, clips: Clips, per_frame: bool) -> list[Any]:
    """The label of each clip; with `per_frame` a list of labels for each clip, one for each frame, None for none.

    Labels of frames are (n, t), or a sequence for each clip; NO_LABEL and None mean none, and beyond the last frame of
    a clip no other stands. With `per_frame` labels (n,) hold for all frames of their clips.

    ArgumentError for other numbers of labels, labels of frames where those of clips are wanted, and none at all.
    """
    if y is None:
        raise ArgumentError(f"{owner}: requires y to be passed, but the target y is None")
    if per_frame and _of_frames(y):
        rows = [list(row.tolist() if isinstance(row, np.ndarray) else row) for row in y]
        check_lengths(clips.clips, rows)  # type: ignore[arg-type]
        found = []
        for row, clip, name in zip(rows, clips.clips, clips.names):
            plain = [label.item() if isinstance(label, np.generic) else label for label in row]
            own = [None if _is_none(label) else label for label in plain]
            t = len(clip)
            if len(own) < t or any(label is not None for label in own[t:]):
                raise ArgumentError(f"{owner}: expected {t} labels, one for each frame, got {len(own)} for {name}")
            found.append(own[:t])
        return found
    labels = check_labels(y, owner)
    check_lengths(clips.clips, labels)  # type: ignore[arg-type]
    plain_labels = labels.tolist()
    return [[label] * len(clip) for label, clip in zip(plain_labels, clips.clips)] if per_frame else plain_labels


def _is_none(label: Any) -> bool:
    return label is None or (not isinstance(label, (str, bool)) and label == NO_LABEL)


def _of_frames(y: Any) -> bool:
    if isinstance(y, np.ndarray) and y.dtype != object:
        return y.ndim == 2
    return len(y) > 0 and hasattr(y[0], "__len__") and not isinstance(y[0], (str, bytes))


def shifted(labels: Sequence[Any], ahead: int) -> list[Any]:
    """The label `ahead` frames later at each frame; None at the last ones."""
    return [*labels[ahead:], *[None] * min(ahead, len(labels))]


def encoded_frames(rows: Sequence[Sequence[Any]], position: dict[Any, int], owner: str, names: Sequence[str]) -> Ints:
    """Positions of labels in the classes (n, longest), NO_LABEL where there is none. ArgumentError for others."""
    found = np.full((len(rows), max(map(len, rows))), NO_LABEL, np.int64)
    for i, row in enumerate(rows):
        for t, label in enumerate(row):
            if label is None:
                continue
            if label not in position:
                raise ArgumentError(
                    f"{owner}: label {label!r} of {names[i]} is not in classes {list(position)[:20]}"
                )  # fmt: skip
            found[i, t] = position[label]
    return found
