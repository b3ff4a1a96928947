"""Faces in pictures and videos: found by OpenCV (the `faces` extra) or given as boxes, cut out aligned."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deepcore import ops
from deepcore.data.images import SUFFIXES, read_image
from deepcore.data.video import VIDEO_SUFFIXES, read_video
from deepcore.errors import ArgumentError, DataError, ShapeError, counted
from deepcore.tensor import as_tensor

Pixels = npt.NDArray[np.uint8]

_MOST_SAMPLES = 16  # per side of a pixel, when a large face is cut out small
_EYE_TURN = 25.0  # degrees beyond which two "eyes" are not believed


class Placement(NamedTuple):
    """A square in a picture: its centre (x, y) and side in pixels, turned clockwise by `angle` degrees."""

    x: float
    y: float
    side: float
    angle: float = 0.0


Detector = Callable[[Pixels], list[Placement]]


def placement_of(box: Sequence[float]) -> Placement:
    """The square about the middle of a box (left, top, width, height[, angle]), as long as its longer side."""
    numbers = [float(v) for v in box]
    if len(numbers) not in (4, 5) or not all(map(math.isfinite, numbers)) or min(numbers[2:4]) <= 0:
        raise ArgumentError(f"face box: expected (left, top, width > 0, height > 0[, angle]), got {list(box)}")
    left, top, width, height = numbers[:4]
    return Placement(left + width / 2, top + height / 2, max(width, height), numbers[4] if len(numbers) == 5 else 0.0)


class FaceDetector:
    """Finds upright frontal faces with OpenCV's cascades (Viola and Jones, 2001); two eyes give the angle.

    Args:
        smallest: side of the smallest face as a share of the picture's shorter side.
        neighbours: how many overlapping finds make a face; more means fewer and surer ones.
        margin: how much longer the cut square is than the find, as a share.

    Raises:
        ImportError: OpenCV is missing, or is a version without cascades.
    """

    def __init__(self, smallest: float = 0.1, neighbours: int = 6, margin: float = 0.1) -> None:
        if not 0 < smallest <= 1 or neighbours < 1 or margin < 0:
            raise ArgumentError(
                f"FaceDetector: expected smallest in (0, 1], neighbours >= 1, margin >= 0, got {smallest}, "
                f"{neighbours}, {margin}"
            )
        try:
            cv2: Any = importlib.import_module("cv2")  # its types differ from version to version
        except ImportError as error:
            raise ImportError("finding faces needs OpenCV: pip install 'deepcore[faces]'; or give boxes") from error
        if not hasattr(cv2, "CascadeClassifier"):
            raise ImportError(
                f"finding faces needs OpenCV 4, which has cascades, this is {cv2.__version__}: "
                "pip install 'deepcore[faces]'; or give boxes"
            )
        self.smallest, self.neighbours, self.margin = smallest, neighbours, margin
        folder = Path(cv2.data.haarcascades)
        self._faces, self._eyes = (
            cv2.CascadeClassifier(str(folder / f"haarcascade_{name}.xml")) for name in ("frontalface_default", "eye")
        )

    def __call__(self, image: Pixels) -> list[Placement]:
        """Faces of a picture uint8 (h, w, 1 or 3), the largest first."""
        grey = np.ascontiguousarray(np.round(image.astype(np.float32).mean(-1)).astype(np.uint8))
        least = max(20, int(self.smallest * min(grey.shape)))
        if min(grey.shape) < least:
            return []
        found = self._faces.detectMultiScale(grey, 1.1, self.neighbours, minSize=(least, least))
        boxes = sorted(([int(v) for v in box] for box in found), key=lambda b: (-b[2], b))
        return [self._placed(grey, box) for box in boxes]

    def _placed(self, grey: Pixels, box: Sequence[int]) -> Placement:
        left, top, width, height = box
        upper = np.ascontiguousarray(grey[top : top + (3 * height) // 5, left : left + width])
        eyes = self._eyes.detectMultiScale(upper, 1.1, self.neighbours, minSize=(width // 8, width // 8))
        middles = sorted((x + w / 2, y + h / 2) for x, y, w, h in eyes)
        angle = 0.0
        for i, (x, y) in enumerate(middles):
            for u, v in middles[i + 1 :]:
                turn = math.degrees(math.atan2(v - y, u - x))
                if 0.25 * width < u - x < 0.65 * width and abs(turn) < _EYE_TURN:
                    angle = turn
        side = max(width, height) * (1 + self.margin)
        return Placement(left + width / 2, top + height / 2, side, angle)


def cut_face(image: Pixels, placement: Placement, size: int) -> Pixels:
    """The square `placement` of a picture uint8 (h, w, c), upright and scaled to (size, size, c).

    Each pixel is the mean of samples as dense as the picture's own pixels; outside lies its nearest pixel.
    """
    h, w = image.shape[:2]
    dense = min(max(1, math.ceil(placement.side / size)), _MOST_SAMPLES)
    turn, half = math.radians(placement.angle), placement.side / 2
    cos, sin = math.cos(turn) * half, math.sin(turn) * half
    theta = np.array(
        [[[2 * cos / w, -2 * sin / w, 2 * placement.x / w - 1], [2 * sin / h, 2 * cos / h, 2 * placement.y / h - 1]]],
        np.float32,
    )
    grid = ops.affine_grid(as_tensor(theta), size * dense)
    samples = ops.grid_sample(as_tensor(image[None].astype(np.float32)), grid, padding="border")
    face = ops.avg_pool2d(samples, dense) if dense > 1 else samples
    cut: Pixels = np.clip(np.round(face.numpy()[0]), 0, 255).astype(np.uint8)
    return cut


@dataclass
class FoundFaces:
    """Faces uint8 (n, size, size, c) with the file, the frame (0 for a picture) and the place of each.

    skipped: (file, reason) of each file that gave none.
    """

    faces: Pixels
    files: list[str] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    placements: list[Placement] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.faces)


def media_files(sources: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The files named, and the pictures and videos in the folders named, in sorted order below each.

    FileNotFoundError for a path that is not there.
    """
    found: list[Path] = []
    for source in map(Path, sources):
        if not source.exists():
            raise FileNotFoundError(f"{source}: no such file or folder")
        if source.is_dir():
            inside = sorted(p for p in source.rglob("*") if p.is_file() and not p.name.startswith("."))
            found += [p for p in inside if p.suffix.lower() in (*SUFFIXES, *VIDEO_SUFFIXES)]
        else:
            found.append(source)
    return found


def find_faces(
    sources: Iterable[str | os.PathLike[str]], size: int = 64, *, detector: Detector | None = None,
    boxes: Mapping[str, Sequence[Sequence[float]]] | None = None, grey: bool = False, largest: bool = False,
    every: int = 1, progress: Callable[[str], None] | None = None,
) -> FoundFaces:  # fmt: skip
    """Cut the faces out of pictures, videos and folders of them.

    Args:
        sources: files and folders.
        size: side of the faces in pixels.
        detector: finds the faces of a picture; default a `FaceDetector`.
        boxes: (left, top, width, height[, angle]) of the faces of each file by its name or path, instead of a detector.
            For a video they hold for every frame. Files without an entry are skipped.
        grey: one channel instead of three.
        largest: only the largest face of each picture or frame.
        every: look at each `every`th frame of a video.
        progress: told a line per file.

    A file that cannot be read, or shows no face, is skipped and named with its reason in the result.

    Raises:
        DataError: there is no face in all of the files.
        FileNotFoundError: a source is not there.
    """
    if size < 1 or every < 1:
        raise ArgumentError(f"find_faces: expected size, every >= 1, got {size}, {every}")
    if boxes is not None and detector is not None:
        raise ArgumentError("find_faces: expected a detector or boxes, got both")
    look: Detector = (lambda image: []) if boxes is not None else (detector or FaceDetector())
    result = FoundFaces(np.empty((0, size, size, 1 if grey else 3), np.uint8))
    cut: list[Pixels] = []
    files = media_files(sources)
    for path in files:
        before = len(cut)
        try:
            given = None if boxes is None else _given(path, boxes)
            frames = 0
            for number, image in _frames(path, grey):
                frames += 1
                if number % every:
                    continue
                places = look(image) if given is None else given
                for place in sorted(places, key=lambda p: -p.side)[: 1 if largest else None]:
                    cut.append(cut_face(image, place, size))
                    result.files.append(str(path))
                    result.frames.append(number)
                    result.placements.append(place)
            if len(cut) == before:
                seen = f"{frames} frames" if path.suffix.lower() in VIDEO_SUFFIXES else _extent(image)
                raise DataError(f"no face in {seen}")
        except (DataError, OSError) as error:
            # Frames before a damaged one were good: they stay, and the file is named all the same.
            result.skipped.append((str(path), str(error)))
        if progress is not None:
            progress(f"{path}: {counted(len(cut) - before, 'face')}")
    if not cut:
        reasons = "; ".join(f"{Path(name).name}: {reason}" for name, reason in result.skipped[:3])
        raise DataError(f"find_faces: expected faces, got none in {len(files)} files ({reasons or 'nothing to read'})")
    result.faces = np.stack(cut)
    return result


def _frames(path: Path, grey: bool) -> Iterable[tuple[int, Pixels]]:
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        yield 0, read_image(path, grey=grey)
        return
    for number, image in enumerate(read_video(path)):
        yield number, np.round(image.mean(-1, keepdims=True)).astype(np.uint8) if grey else image


def _given(path: Path, boxes: Mapping[str, Any]) -> list[Placement]:
    for key in (str(path), path.name):
        if key in boxes:
            return [placement_of(box) for box in boxes[key]]
    raise DataError("no boxes are given for it")


def _extent(image: Pixels) -> str:
    return f"a picture of {image.shape[1]} x {image.shape[0]}"


def load_faces(folder: str | os.PathLike[str], size: int | None = None, *, grey: bool = False) -> FoundFaces:
    """All pictures of a folder as faces: already cut and aligned. Unreadable ones are skipped, named and counted.

    size: side they are scaled to; None: that of the first, and all must agree.

    Raises:
        DataError: there is none, or their sizes differ.
    """
    result = FoundFaces(np.empty((0, 0, 0, 1 if grey else 3), np.uint8))
    faces: list[Pixels] = []
    for path in media_files([folder]):
        if path.suffix.lower() in VIDEO_SUFFIXES:
            continue
        try:
            face = read_image(path, size, grey=grey)
        except (DataError, OSError) as error:
            result.skipped.append((str(path), str(error)))
            continue
        if faces and face.shape != faces[0].shape:
            raise DataError(
                f"load_faces: expected pictures of {faces[0].shape[:2]}, got {face.shape[:2]} in {path}; give a size"
            )
        faces.append(face)
        result.files.append(str(path))
        result.frames.append(0)
        result.placements.append(Placement(face.shape[1] / 2, face.shape[0] / 2, max(face.shape[:2])))
    if not faces:
        raise DataError(f"load_faces: expected pictures in {os.fspath(folder)}, got none that can be read")
    result.faces = np.stack(faces)
    return result


def check_picture(op: str, image: Any) -> Pixels:
    """A picture uint8 (h, w, 1 or 3) with at least one pixel. ShapeError otherwise."""
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.size == 0:
        raise ShapeError(f"{op}: expected a picture uint8 (h, w, 1 or 3), got {pixels.dtype} {pixels.shape}")
    return pixels


__all__ = [
    "Detector", "FaceDetector", "FoundFaces", "Placement", "check_picture", "cut_face", "find_faces", "load_faces",
    "media_files", "placement_of",
]  # fmt: skip
