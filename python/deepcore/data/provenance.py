"""What tells a synthetic picture from a photograph: a visible mark, and a notice in the file that names its origin."""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.data.faces import check_picture
from deepcore.data.images import _pillow
from deepcore.errors import ArgumentError, DataError
from deepcore.files import atomic_write

Pixels = npt.NDArray[np.uint8]

NOTICE = "Synthetic picture: faces in it were swapped by deepcore. It does not show what happened."
_KEY = "deepcore-provenance"
_JPEG = (".jpeg", ".jpg")
# 5 x 7 dots of each letter, row by row from the top, the left dot the highest of five bits.
_LETTERS = {
    "S": (15, 16, 16, 14, 1, 1, 30), "Y": (17, 17, 10, 4, 4, 4, 4), "N": (17, 25, 21, 19, 17, 17, 17),
    "T": (31, 4, 4, 4, 4, 4, 4), "H": (17, 17, 17, 31, 17, 17, 17), "E": (31, 16, 16, 30, 16, 16, 31),
    "I": (14, 4, 4, 4, 4, 4, 14), "C": (14, 17, 16, 16, 16, 17, 14),
}  # fmt: skip
_WORD = "SYNTHETIC"


def _word() -> npt.NDArray[np.bool_]:
    rows = [
        "0".join("".join(f"{_LETTERS[letter][row]:05b}") for letter in _WORD) for row in range(7)
    ]  # fmt: skip
    dots = np.array([[c == "1" for c in row] for row in rows])
    padded: npt.NDArray[np.bool_] = np.pad(dots, 1)
    return padded


def mark_synthetic(image: Pixels) -> Pixels:
    """A copy of a picture uint8 (h, w, c) with the word SYNTHETIC on a dark strip at its lower left.

    The strip is about a third of the width. A picture too small for the word gets a chequered lowest row or two.
    """
    marked: Pixels = check_picture("mark_synthetic", image).copy()
    h, w = marked.shape[:2]
    dots = _word()
    scale = max(1, w // (3 * dots.shape[1]))
    if dots.shape[1] > w or dots.shape[0] > h:
        rows = min(h, 2)
        board = (np.arange(rows)[:, None] + np.arange(w)) % 2 == 0
        marked[h - rows :] = np.where(board, 255, 0)[..., None]
        return marked
    scale = min(scale, h // dots.shape[0])
    large = dots.repeat(scale, 0).repeat(scale, 1)
    corner = marked[h - large.shape[0] :, : large.shape[1]]
    corner[:] = np.where(large[..., None], 255, corner // 4)
    return marked


def provenance(source: str | os.PathLike[str] | bytes, **facts: Any) -> dict[str, Any]:
    """The notice, the version of deepcore, the SHA-256 of the source (a file or its bytes), and further facts."""
    import deepcore

    digest = hashlib.sha256()
    if isinstance(source, bytes):
        digest.update(source)
    else:
        with open(source, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return {
        "notice": NOTICE, "tool": f"deepcore {deepcore.__version__}", "source_sha256": digest.hexdigest(), **facts
    }  # fmt: skip


def notice_text(record: dict[str, Any]) -> str:
    """The record as ASCII: the notice for people, then the whole of it for programs."""
    return f"{NOTICE} {_KEY}: {json.dumps(record, sort_keys=True)}"


def write_synthetic(path: str | os.PathLike[str], image: Pixels, record: dict[str, Any] | None) -> None:
    """Write a picture uint8 (h, w, 1 or 3) as .png or .jpg, atomically, with the record in it (None: without one).

    PNG holds it as text, JPEG as a comment. ArgumentError for another kind of file, which could not hold it.
    """
    pixels = check_picture("write_synthetic", image)
    suffix = Path(path).suffix.lower()
    Image = _pillow()
    picture = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
    out = io.BytesIO()
    if suffix == ".png":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        if record is not None:
            info.add_text("Comment", notice_text(record))
        picture.save(out, format="PNG", pnginfo=info)
        data = out.getvalue()
    elif suffix in _JPEG:
        picture.save(out, format="JPEG", quality=95, subsampling=0)
        data = out.getvalue()
        if record is not None:
            text = notice_text(record).encode("ascii")
            # a comment segment right after the start of the image; its length counts itself
            data = data[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + data[2:]
    else:
        raise ArgumentError(f"write_synthetic: expected a file .png or .jpg, which hold the notice, got {path}")
    with atomic_write(path) as file:
        file.write(data)


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The record in a picture or video written by deepcore, or None. DataError for a damaged file."""
    from deepcore.data.video import VIDEO_SUFFIXES, video_metadata

    if Path(path).suffix.lower() in VIDEO_SUFFIXES:
        text = video_metadata(path).get("comment", "")
    else:
        try:
            with _pillow().open(path, formats=("PNG", "JPEG")) as picture:
                picture.load()
                text = picture.info.get("Comment", picture.info.get("comment", b""))
        except Exception as error:  # the parsers raise many kinds on damaged bytes
            if isinstance(error, OSError) and error.filename is not None:
                raise
            raise DataError(f"read_provenance: expected a whole picture, got {os.fspath(path)}: {error}") from error
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    _, found, rest = text.partition(f"{_KEY}: ")
    if not found:
        return None
    try:
        record: dict[str, Any] = json.loads(rest)
    except ValueError as error:
        raise DataError(f"read_provenance: expected a record in {os.fspath(path)}, got {error}") from error
    return record


__all__ = ["NOTICE", "mark_synthetic", "notice_text", "provenance", "read_provenance", "write_synthetic"]
