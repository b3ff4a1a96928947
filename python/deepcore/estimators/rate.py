"""Rate-distortion curves of methods to compare an autoencoder with: principal components and JPEG."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.errors import ArgumentError
from deepcore.estimators import codec

Array = npt.NDArray[Any]
Curve = list[tuple[int, float]]  # (bytes, PSNR in dB)


class PrincipalComponents:
    """The linear autoencoder of least squared error: x ~ codes V^T + mean.

    V: the right singular vectors of the centred samples, as eigenvectors of their products, which are fewer.
    """

    def __init__(self, x: Array, count: int) -> None:
        self.mean = x.mean(0, dtype=np.float64)
        centred = x - self.mean
        _, vectors = np.linalg.eigh(centred.T @ centred)
        self.vectors = vectors[:, ::-1][:, :count]

    def encode(self, x: Array) -> Array:
        """Samples (n, d) -> codes (n, k)."""
        codes: Array = (x - self.mean) @ self.vectors
        return codes

    def decode(self, codes: Array) -> Array:
        """Codes (n, j), j <= k -> samples (n, d), from the first j components."""
        x: Array = codes @ self.vectors[:, : codes.shape[1]].T + self.mean
        return x


def principal_curve(x: Array, source: Array, count: int, peak: float) -> Curve:
    """Samples x (n, d) by the first `count` components of `source`, with one step for all (best for equal weights)."""
    pca = PrincipalComponents(source, count)
    codes = pca.encode(x)
    offset = codes.mean(0)
    widest = float(codes.std(0).max()) or 1.0
    curve = []
    for exponent in np.arange(3.0, -7.5, -0.5):
        steps = np.full(codes.shape[1], widest * 2.0**exponent)
        levels = codec.quantise(codes, steps, offset)
        columns, body = codec.pack_levels(levels)
        header = {"samples": len(x), "steps": steps.tolist(), "offset": offset.tolist(), "columns": columns}
        y = pca.decode(codec.restore(levels, steps, offset).astype(np.float64))
        curve.append((len(codec.file_bytes(header, body)), codec.psnr_of(x, y, peak)))
    return curve


def jpeg_curve(images: Array) -> Curve:
    """Images (n, h, w, 1 or 3) in 0..1 on one JPEG sheet; each is padded to whole blocks of 8 x 8 by its edges."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ArgumentError("rate_distortion: jpeg needs the extra: pip install 'deepcore[viz]'") from error
    n, h, w, c = images.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    tall, wide = -(-h // 8) * 8, -(-w // 8) * 8
    tiles = np.zeros((rows * columns, tall, wide, c))
    tiles[:n] = np.pad(images, ((0, 0), (0, tall - h), (0, wide - w), (0, 0)), mode="edge")
    sheet = tiles.reshape(rows, columns, tall, wide, c).swapaxes(1, 2).reshape(rows * tall, columns * wide, c)
    if max(sheet.shape) > 65_500:  # the format's limit
        raise ArgumentError(f"rate_distortion: expected a sheet of at most 65500 pixels a side, got {sheet.shape}")
    pixels = np.rint(np.clip(sheet, 0, 1) * 255).astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if c == 1 else pixels)
    curve = []
    for quality in (1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 55, 70, 85, 95):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality, optimize=True)
        with Image.open(file) as opened:
            back = np.asarray(opened, np.float64).reshape(sheet.shape) / 255
        again = back.reshape(rows, tall, columns, wide, c).swapaxes(1, 2).reshape(-1, tall, wide, c)[:n, :h, :w]
        curve.append((file.tell(), codec.psnr_of(images, again, 1.0)))
    return curve


def at_size(curve: Curve, size: float) -> float:
    """The best PSNR in `size` bytes: between points along the logarithm of the size; NaN below the smallest file."""
    best: Curve = []
    for point in sorted(curve):
        if not best or point[1] > best[-1][1]:
            best.append(point)
    if size < best[0][0]:
        return math.nan
    return float(np.interp(math.log(size), [math.log(s) for s, _ in best], [p for _, p in best]))


__all__ = ["PrincipalComponents", "at_size", "jpeg_curve", "principal_curve"]
