"""Folders of pictures: one folder per class, read with Pillow (the `viz` extra)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

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
        self.paths, self.labels, self.classes, self.ignored = class_files("ImageFolder", root, "pictures", SUFFIXES)

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


class ClassFiles(NamedTuple):
    """Files by class: paths, positions of their classes (n,), names of the classes, and how many files were left."""

    paths: list[Path]
    labels: Indices
    classes: list[str]
    ignored: int


def class_files(owner: str, root: str | os.PathLike[str], what: str, suffixes: tuple[str, ...]) -> ClassFiles:
    """The files of root/CLASS/** with one of the suffixes, sorted; hidden files and folders are left out.

    DataError when there is no class or a class without such files; `what` names them in messages.
    """
    root = Path(root)
    classes = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise DataError(f"{owner}: expected one folder per class, got none in {root}")
    paths: list[Path] = []
    labels: list[int] = []
    ignored = 0
    for label, name in enumerate(classes):
        before = len(paths)
        for parent, folders, names in os.walk(root / name):
            folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
            visible = [file for file in sorted(names) if not file.startswith(".")]
            fitting = [file for file in visible if file.lower().endswith(suffixes)]
            paths += [Path(parent, file) for file in fitting]
            ignored += len(visible) - len(fitting)
        if len(paths) == before:
            raise DataError(f"{owner}: expected {what} ({', '.join(suffixes)}) in {root / name}, got none")
        labels += [label] * (len(paths) - before)
    return ClassFiles(paths, np.array(labels, dtype=np.int64), classes, ignored)


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
        picture = _resized(picture, size, fit)
    pixels = np.array(picture, dtype=np.uint8)
    return pixels.reshape(*pixels.shape[:2], 1 if grey else 3)


def resize_pixels(
    pixels: Pixels, size: int | tuple[int, int], fit: Literal["crop", "stretch"] = "crop"
) -> Pixels:  # fmt: skip
    """uint8 (h, w, c), c = 1 or 3, brought to a size as `read_image` does."""
    found = _pillow().fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
    resized = np.array(_resized(found, _checked_size("resize_pixels", size), fit), dtype=np.uint8)
    return resized.reshape(*resized.shape[:2], pixels.shape[2])


def _resized(picture: Image.Image, size: tuple[int, int], fit: str) -> Image.Image:
    from PIL import Image

    box = _middle(picture.size, size) if fit == "crop" else None
    return picture.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box)


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


__all__ = [
    "MAX_PIXELS", "SUFFIXES", "ClassFiles", "ImageFolder", "class_files", "encode_png", "read_image", "resize_pixels",
    "write_image",
]  # fmt: skip
