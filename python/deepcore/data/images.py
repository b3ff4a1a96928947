"""Folders of pictures: one folder per class, read with Pillow (the `viz` extra)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepcore.data.dataset import Batch, Indices
from deepcore.errors import ArgumentError, DataError, DtypeError, ShapeError

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # the parsers that foreign bytes may reach
MAX_PIXELS = 1 << 26


class ImageFolder:
    """A data set of root/CLASS/**/PICTURE: a batch is (x uint8 (b, h, w, c), y int64 (b,)).

    Classes are the names of the folders in sorted order; pictures are the files with one of `SUFFIXES`, hidden files
    and folders are left out, and `ignored` counts the other files. Pictures are decoded when they are asked for.

    Args:
        root: the folder of the class folders.
        size: (h, w) or one number for both; every picture is brought to it.
        grey: c = 1 instead of 3.
        fit: "crop" keeps the proportions and cuts what stands out around the middle, "stretch" changes them.
        max_pixels: a picture that claims more is refused before it is decoded; Pillow's own limit holds too.

    Raises:
        DataError: there is no class, a class has no picture, or, when it is read, a picture is damaged or too large.
        ImportError: Pillow is missing.

    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        size: int | tuple[int, int],
        *,
        grey: bool = False,
        fit: Literal["crop", "stretch"] = "crop",
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.root = Path(root)
        self.size = _checked_size("ImageFolder", size)
        self.grey = grey
        if fit not in ("crop", "stretch"):
            raise ArgumentError(f"ImageFolder: expected fit 'crop' or 'stretch', got {fit!r}")
        self.fit = fit
        self.max_pixels = max_pixels
        self.ignored = 0
        self.paths: list[Path] = []
        labels: list[int] = []
        self.classes = sorted(p.name for p in self.root.iterdir() if p.is_dir() and not p.name.startswith("."))
        if not self.classes:
            raise DataError(f"ImageFolder: expected one folder per class, got none in {self.root}")
        for label, name in enumerate(self.classes):
            found = self._pictures(self.root / name)
            if not found:
                raise DataError(
                    f"ImageFolder: expected pictures ({', '.join(SUFFIXES)}) in {self.root / name}, got none"
                )
            self.paths += found
            labels += [label] * len(found)
        self.labels = np.array(labels, dtype=np.int64)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.paths)

    def __getitem__(self, indices: Indices) -> Batch:
        """Decoded pictures (b, h, w, c) and their classes (b,)."""
        x = np.empty((len(indices), *self.size, 1 if self.grey else 3), dtype=np.uint8)
        for row, index in enumerate(indices):
            x[row] = read_image(self.paths[index], self.size, grey=self.grey, fit=self.fit, max_pixels=self.max_pixels)
        return x, self.labels[indices]

    def arrays(self) -> tuple[Pixels, Indices]:
        """All pictures (n, h, w, c) and classes (n,) in memory."""
        x, y = self[np.arange(len(self), dtype=np.int64)]
        return x, y

    def _pictures(self, folder: Path) -> list[Path]:
        found = []
        for parent, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if name.startswith("."):
                    continue
                if name.lower().endswith(SUFFIXES):
                    found.append(Path(parent, name))
                else:
                    self.ignored += 1
        return found


def read_image(
    path: str | os.PathLike[str],
    size: int | tuple[int, int] | None = None,
    *,
    grey: bool = False,
    fit: Literal["crop", "stretch"] = "crop",
    max_pixels: int = MAX_PIXELS,
) -> Pixels:
    """Read a picture as uint8 (h, w, c), c = 1 or 3, upright as its EXIF says; transparency lies on white.

    Raises:
        DataError: the file is damaged, of an unknown format, or claims more than `max_pixels`.
        OSError: it cannot be opened.

    """
    Image = _pillow()
    where = os.fspath(path)
    with open(where, "rb") as file:
        try:
            with Image.open(file, formats=_FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise DataError(
                        f"read_image: expected at most {max_pixels} pixels, got {width} x {height} in {where}"
                    )
                pixels = _decode(image, None if size is None else _checked_size("read_image", size), grey, fit)
        except (DataError, ArgumentError, MemoryError):
            raise
        except Exception as error:  # the parsers raise many kinds on damaged bytes
            raise DataError(f"read_image: expected a whole picture, got {where}: {error}") from error
    return pixels


def write_image(path: str | os.PathLike[str], image: NDArray[Any]) -> None:
    """Write uint8 (h, w), (h, w, 1) or (h, w, 3) as PNG, atomically."""
    from deepcore.files import atomic_write

    with atomic_write(path) as file:
        file.write(encode_png(image))


def encode_png(image: NDArray[Any]) -> bytes:
    """The bytes of a PNG of uint8 (h, w), (h, w, 1) or (h, w, 3)."""
    import io

    array = np.asarray(image)
    if array.dtype != np.uint8:
        raise DtypeError(f"encode_png: expected uint8, got {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3) or array.size == 0:
        raise ShapeError(f"encode_png: expected (h, w), (h, w, 1) or (h, w, 3), got {np.shape(image)}")
    out = io.BytesIO()
    _pillow().fromarray(np.ascontiguousarray(array)).save(out, format="PNG", optimize=True)
    return out.getvalue()


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("reading pictures needs Pillow: pip install 'deepcore[viz]'") from error
    return Image


def _decode(image: Image.Image, size: tuple[int, int] | None, grey: bool, fit: str) -> Pixels:
    from PIL import Image, ImageOps

    mode = "L" if grey else "RGB"
    if size is not None and image.format == "JPEG" and not image.getexif().get(0x0112):
        image.draft(mode, (2 * size[1], 2 * size[0]))  # decodes at a fraction of the size, never below the one asked
    picture: Image.Image = ImageOps.exif_transpose(image)
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if "A" in picture.getbands() or "transparency" in picture.info:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    picture = picture.convert(mode)
    if size is not None:
        box = _middle(picture.size, size) if fit == "crop" else None
        picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box)
    pixels = np.array(picture, dtype=np.uint8)
    return pixels.reshape(*pixels.shape[:2], 1 if grey else 3)


def _middle(width_height: tuple[int, int], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest box around the middle with the proportions of `size` (h, w)."""
    width, height = width_height
    h, w = size
    scale = min(width / w, height / h)
    left, top = (width - w * scale) / 2.0, (height - h * scale) / 2.0
    return max(left, 0.0), max(top, 0.0), min(left + w * scale, width), min(top + h * scale, height)


def _checked_size(name: str, size: int | tuple[int, int]) -> tuple[int, int]:
    h, w = (size, size) if isinstance(size, int) else size
    if h < 1 or w < 1:
        raise ArgumentError(f"{name}: expected a size (h, w) >= 1, got {size}")
    return h, w


__all__ = ["MAX_PIXELS", "SUFFIXES", "ImageFolder", "encode_png", "read_image", "write_image"]
