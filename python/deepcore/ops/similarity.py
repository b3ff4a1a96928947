"""How alike two pictures are: structural similarity."""

from __future__ import annotations

import numpy as np

from deepcore.errors import ArgumentError, ShapeError
from deepcore.ops.elementwise import divide, multiply, square
from deepcore.ops.loss import reduce_loss
from deepcore.ops.matmul import matmul
from deepcore.ops.movement import concatenate, narrow, reshape
from deepcore.ops.reduce import mean
from deepcore.tensor import Tensor, tensor

K1, K2 = 0.01, 0.03  # of Wang et al.


def _blur_matrix(size: int, window: int, sigma: float) -> np.ndarray:
    """Gaussian means of every window that fits into `size` pixels: (size - window + 1, size)."""
    at = np.arange(window) - (window - 1) / 2
    weights = np.exp(-(at**2) / (2 * sigma**2))
    matrix = np.zeros((size - window + 1, size))
    for row in range(len(matrix)):
        matrix[row, row : row + window] = weights / weights.sum()
    return matrix


def _like(matrix: np.ndarray, x: Tensor) -> Tensor:
    return tensor(matrix.astype(x.dtype), device=x.device, copy=False)


def ssim(
    x: Tensor, y: Tensor, *, window: int = 11, sigma: float = 1.5, value_range: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """Structural similarity of pictures x and y (n, h, w, c): 1 for equal ones (Wang et al., 2004).

    (2 mx my + c1) (2 sxy + c2) / ((mx^2 + my^2 + c1) (sx^2 + sy^2 + c2)) in every window that fits into the picture,
    with means, variances and covariance weighted by a Gaussian, c1 = (0.01 range)^2 and c2 = (0.03 range)^2; then the
    mean over windows and channels.

    Args:
        x: pictures of a float type.
        y: pictures of the same shape and type.
        window: side of the window in pixels.
        sigma: deviation of its Gaussian in pixels.
        value_range: the difference of the largest and the smallest value that a pixel may have.
        reduction: 'mean' over the pictures, their 'sum', or 'none' for one number per picture (n,).

    Raises:
        ShapeError: the shapes differ, are not (n, h, w, c), or are smaller than the window.
        ArgumentError: window, sigma or value_range is not positive.
    """
    if x.ndim != 4 or x.shape != y.shape:
        raise ShapeError(f"ssim: expected two arrays (n, h, w, c) of one shape, got {x.shape} and {y.shape}")
    if not (window >= 1 and sigma > 0 and value_range > 0):
        raise ArgumentError(f"ssim: expected window, sigma, value_range > 0, got {window}, {sigma}, {value_range}")
    n, h, w, c = x.shape
    if min(h, w) < window or c < 1:
        raise ShapeError(f"ssim: expected pictures of at least {window} x {window} pixels, got {x.shape}")
    # Five pictures blurred in one go: along rows, then along columns with the channels kept apart.
    stacked = concatenate([x, y, square(x), square(y), multiply(x, y)], 0)
    rows = _blur_matrix(h, window, sigma)
    columns = np.kron(_blur_matrix(w, window, sigma), np.eye(c)).T
    down = matmul(_like(rows, x), reshape(stacked, 5 * n, h, w * c))
    p, q = rows.shape[0], columns.shape[1]
    across = matmul(reshape(down, 5 * n * p, w * c), _like(columns, x))
    means = reshape(across, 5, n, p * q)
    mx, my, xx, yy, xy = (reshape(narrow(means, 0, i, 1), n, p * q) for i in range(5))
    mxx, myy, mxy = square(mx), square(my), multiply(mx, my)
    c1, c2 = (K1 * value_range) ** 2, (K2 * value_range) ** 2
    index = divide(
        multiply(2.0 * mxy + c1, 2.0 * (xy - mxy) + c2), multiply(mxx + myy + c1, (xx - mxx) + (yy - myy) + c2)
    )
    return reduce_loss("ssim", mean(index, 1), reduction, None, None)


__all__ = ["ssim"]
