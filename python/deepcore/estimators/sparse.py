"""Sparse rows (SciPy CSR) as a data set: only the rows of a batch become dense."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.errors import ArgumentError
from deepcore.estimators.base import Estimator

Array = npt.NDArray[Any]


def is_sparse(x: Any) -> bool:
    """Whether x is a SciPy sparse matrix or array."""
    return hasattr(x, "toarray") and hasattr(x, "nnz")


class SparseRows:
    """n rows of a CSR matrix; indexing gives a batch as a tuple of one dense float32 array."""

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    def __getitem__(self, indices: Any) -> tuple[Array]:
        return (np.ascontiguousarray(self.matrix[indices].toarray(), dtype=np.float32),)

    def rows(self, indices: Array) -> SparseRows:
        """Some of the rows."""
        return SparseRows(self.matrix[indices])

    def moments(self) -> tuple[Array, Array]:
        """Mean and variance of each column."""
        n = len(self)
        mean = np.asarray(self.matrix.sum(0), np.float64).reshape(-1) / n
        squares = np.asarray(self.matrix.multiply(self.matrix).sum(0), np.float64).reshape(-1) / n
        return mean, np.maximum(squares - mean**2, 0)


def check_rows(x: Any, estimator: Estimator, *, fitting: bool) -> SparseRows:
    """A sparse matrix as finite CSR rows; sets n_features_in_ on fit. ArgumentError otherwise."""
    owner = type(estimator).__name__
    if x.ndim != 2 or x.shape[0] == 0 or x.shape[1] == 0:
        raise ArgumentError(
            f"{owner}: Found array with {x.shape[0]} sample(s) and {x.shape[-1]} feature(s) (shape={x.shape}) while a "
            "minimum of 1 is required."
        )
    if x.dtype.kind not in "fiub":
        raise ArgumentError(f"{owner}: expected a sparse matrix of numbers, got {x.dtype}")
    matrix = x.tocsr().astype(np.float32)
    if not np.isfinite(matrix.data).all():
        raise ArgumentError(
            f"Input X contains NaN or infinity.\n{owner} does not accept missing values in sparse data."
        )
    if fitting:
        estimator.n_features_in_ = int(x.shape[1])  # type: ignore[attr-defined]
        estimator.__dict__.pop("feature_names_in_", None)
    elif x.shape[1] != estimator.n_features_in_:  # type: ignore[attr-defined]
        raise ArgumentError(
            f"X has {x.shape[1]} features, but {owner} is expecting {estimator.n_features_in_} features as input."  # type: ignore[attr-defined]
        )
    return SparseRows(matrix)
