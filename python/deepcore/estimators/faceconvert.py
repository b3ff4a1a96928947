"""FaceConverter: the faces of whole pictures and videos swapped by a trained FaceSwap, and named as synthetic."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.data.compose import COLOURS, face_mask, match_colours, paste_face
from deepcore.data.faces import (
    Detector,
    FaceDetector,
    Placement,
    check_picture,
    cut_face,
    media_files,
    placement_of,
)  # fmt: skip
from deepcore.data.images import read_image
from deepcore.data.provenance import mark_synthetic, notice_text, provenance, write_synthetic
from deepcore.data.video import VIDEO_SUFFIXES, VideoWriter, read_video, video_rate
from deepcore.errors import ArgumentError, DataError, counted
from deepcore.estimators.faceswap import FaceSwap
from deepcore.train.faceswap import unit_pixels

Pixels = npt.NDArray[np.uint8]
Boxes = Mapping[str, Sequence[Sequence[float]]]

_STILLS = (".jpeg", ".jpg", ".png")


@dataclass
class Converted:
    """What became of many files.

    done: (file, faces swapped). skipped: (file, reason), nothing was written for it.
    """

    done: list[tuple[str, int]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


class FaceConverter:
    """Finds faces in pictures, swaps them, and puts them back.

    Args:
        swapper: a fitted `FaceSwap`.
        to: the person whose face appears.
        source: whose faces the pictures show; of two people the other one by default.
        strength: 0 leaves the picture as it is, 1 shows the swap alone where the mask is opaque.
        mask: 'ellipse' or 'box'.
        cover: the share of the cut square's sides that the mask spans.
        feather: the share of the mask over which it fades out.
        colour: 'reinhard', 'histogram' or None, as in `deepcore.data.compose.match_colours`.
        detector: finds faces; None for a `FaceDetector`, made when first needed; 'whole': the pictures are cut faces.
        largest: swap only the largest face of a picture or frame.
        mark: draw the word SYNTHETIC into each picture.
        notice: write into each file that it is synthetic, by what, and the SHA-256 of its source.
    """

    def __init__(
        self, swapper: FaceSwap, to: Any, *, source: Any = None, strength: float = 1.0, mask: str = "ellipse",
        cover: float = 0.9, feather: float = 0.25, colour: str | None = "reinhard",
        detector: Detector | str | None = None, largest: bool = False, mark: bool = True, notice: bool = True,
    ) -> None:  # fmt: skip
        swapper._check_fitted()
        for person in (to, source):
            if person is not None and person not in swapper.classes_.tolist():
                raise ArgumentError(
                    f"FaceConverter: expected a person in {swapper.classes_.tolist()}, got {person!r}"
                )  # fmt: skip
        swapper._source(source, swapper._person(to))  # whether it is clear whose faces they are
        if not 0 <= strength <= 1:
            raise ArgumentError(f"FaceConverter: expected strength in [0, 1], got {strength}")
        if colour not in COLOURS:
            raise ArgumentError(f"FaceConverter: expected colour in {list(COLOURS)}, got {colour!r}")
        if isinstance(detector, str) and detector != "whole":
            raise ArgumentError(f"FaceConverter: expected a detector, None or 'whole', got {detector!r}")
        h, w, channels = swapper.image_shape_
        if h != w:
            raise ArgumentError(f"FaceConverter: expected a FaceSwap of square faces, got {h} x {w}")
        self.swapper, self.to, self.source, self.strength, self.colour = swapper, to, source, strength, colour
        self.largest, self.mark, self.notice = largest, mark, notice
        self._detector = detector
        self._size, self._grey = h, channels == 1
        self._mask = face_mask(h, mask, cover=cover, feather=feather)

    def _places(self, image: Pixels) -> list[Placement]:
        if self._detector == "whole":
            h, w = image.shape[:2]
            return [Placement(w / 2, h / 2, float(max(h, w)))]
        if self._detector is None:
            self._detector = FaceDetector()
        assert not isinstance(self._detector, str)  # __init__ allows one word, met above
        return self._detector(image)

    def convert(self, image: Any, places: Sequence[Placement] | None = None) -> tuple[Pixels, int]:
        """A picture uint8 (h, w, c) with its faces swapped, and how many there were.

        places: where they are; None asks the detector. The mark is drawn if there was a face.
        """
        picture = check_picture("FaceConverter", image)
        found = self._places(picture) if places is None else list(places)
        found = sorted(found, key=lambda p: -p.side)[: 1 if self.largest else None]
        if not found:
            return picture, 0
        originals = np.stack([cut_face(picture, place, self._size) for place in found])
        swapped = self.swapper.swap(unit_pixels(originals), self.to, source=self.source)
        for original, face, place in zip(originals, swapped, found, strict=True):
            matched = match_colours(face, unit_pixels(original), self._mask, self.colour)
            picture = paste_face(picture, matched, self._mask, place, self.strength)
        return (mark_synthetic(picture) if self.mark else picture), len(found)

    def _record(self, source: Path) -> dict[str, Any] | None:
        return provenance(source, swapped_to=str(self.to), strength=self.strength) if self.notice else None

    def convert_file(
        self, source: str | os.PathLike[str], target: str | os.PathLike[str], *, boxes: Sequence[Any] | None = None
    ) -> int:
        """Convert a picture (to .png or .jpg) or a video (to .mp4, .mov, .mkv or .avi); returns the faces swapped.

        boxes: (left, top, width, height[, angle]) of its faces, for a video in every frame. The sound of a video is not
        carried over.

        Raises:
            DataError: the file is damaged or shows no face; nothing is written.
            ArgumentError: the target is the source.
        """
        path, out = Path(source), Path(target)
        if path.resolve() == out.resolve():
            raise ArgumentError(f"FaceConverter: expected a target other than the source {path}")
        places = None if boxes is None else [placement_of(box) for box in boxes]
        if path.suffix.lower() in VIDEO_SUFFIXES:
            return self._video(path, out, places)
        image = read_image(path, grey=self._grey)
        converted, count = self.convert(image, places)
        if count == 0:
            raise DataError(f"no face in a picture of {image.shape[1]} x {image.shape[0]}")
        write_synthetic(out, converted, self._record(path))
        return count

    def _video(self, path: Path, out: Path, places: list[Placement] | None) -> int:
        record = self._record(path)
        count = frames = 0
        with VideoWriter(out, video_rate(path), {} if record is None else {"comment": notice_text(record)}) as writer:
            for frame in read_video(path):
                image = np.round(frame.mean(-1, keepdims=True)).astype(np.uint8) if self._grey else frame
                converted, faces = self.convert(image, places)
                writer.write(np.repeat(converted, 3, -1) if self._grey else converted)
                count, frames = count + faces, frames + 1
            if count == 0:
                raise DataError(f"no face in {frames} frames")
        return count

    def convert_all(
        self, sources: Iterable[str | os.PathLike[str]], folder: str | os.PathLike[str], *, boxes: Boxes | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> Converted:  # fmt: skip
        """Convert files and folders of them into `folder`, under their own names (pictures other than .jpg as .png).

        boxes: those of each file by its name or path; files without an entry are skipped. A file that cannot be read or
        shows no face is skipped, and named with its reason in the result.
        """
        out = Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        result = Converted()
        taken: set[str] = set()
        for path in media_files(sources):
            try:
                own = None if boxes is None else boxes.get(str(path), boxes.get(path.name))
                if boxes is not None and own is None:
                    raise DataError("no boxes are given for it")
                target = out / _target_name(path)
                if target.name in taken:
                    raise DataError(f"another file was converted to {target.name}")
                count = self.convert_file(path, target, boxes=own)
                taken.add(target.name)
                result.done.append((str(path), count))
                line = f"{path}: {counted(count, 'face')}"
            except (DataError, OSError) as error:
                result.skipped.append((str(path), str(error)))
                line = f"{path}: skipped, {error}"
            if progress is not None:
                progress(line)
        return result


def _target_name(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return path.name if suffix != ".webm" else f"{path.stem}.mp4"
    return path.name if suffix in _STILLS else f"{path.stem}.png"


__all__ = ["Converted", "FaceConverter"]
