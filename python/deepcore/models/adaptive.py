"""Adaptive softmax: a large vocabulary in clusters by frequency, so that most tokens need few of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import nn, ops
from deepcore.errors import ArgumentError
from deepcore.nn.init import generator_for, initial
from deepcore.tensor import Tensor, full, tensor

Rows = npt.NDArray[np.int64]
ROWS = 16  # products with fewer rows sum in another order


def padded_rows(h: Tensor) -> Tensor:
    """h (n, k) with rows of zeros up to `ROWS`: then a row's products have the same bits in any company."""
    n, k = h.shape
    return h if n >= ROWS else ops.concatenate([h, full((ROWS - n, k), 0.0, h.dtype, device=h.device)])


def checked_edges(vocabulary: int, cutoffs: Sequence[int]) -> list[int]:
    """[0, *cutoffs, vocabulary]. ArgumentError unless the cutoffs rise between the ends."""
    edges = [0, *(int(c) for c in cutoffs), vocabulary]
    if any(a >= b for a, b in pairwise(edges)):
        raise ArgumentError(f"expected cutoffs that rise between 1 and {vocabulary - 1}, got {list(cutoffs)}")
    return edges


class SplitEmbedding(nn.Module):
    """An embedding whose table is in pieces, one parameter for each cluster of tokens: indices (...) -> (..., size)."""

    def __init__(self, edges: Sequence[int], size: int, *, seed: int | None = None) -> None:
        super().__init__()
        generator = generator_for(seed)
        self.pieces: list[nn.Parameter] = []
        for i, (a, b) in enumerate(pairwise(edges)):
            piece = nn.Parameter(initial("lecun_normal", (b - a, size), generator))
            setattr(self, f"weight{i}", piece)
            self.pieces.append(piece)

    def forward(self, index: Tensor) -> Tensor:
        """Indices (...) -> (..., size)."""
        return ops.embedding(ops.concatenate(self.pieces), index)

    def extra_repr(self) -> str:
        """The sizes in the text of the module."""
        return f"{[p.shape[0] for p in self.pieces]}, {self.pieces[0].shape[1]}"


class Softmax(nn.Module):
    """Features (n, inputs) -> a distribution over tokens: one row of weights for each.

    table: the embedding whose table serves as weights too (Press and Wolf, 2017; Inan et al., 2017).
    """

    def __init__(self, inputs: int, vocabulary: int, *, table: nn.Embedding | None = None, seed: int = 0) -> None:
        super().__init__()
        object.__setattr__(self, "table", table)  # set past Module: it belongs to the embedding
        self.table: nn.Embedding | None
        if table is None:
            self.weight = nn.Parameter(initial("glorot_uniform", (vocabulary, inputs), generator_for(seed)))
        self.bias = nn.Parameter(full((vocabulary,), 0.0))

    def forward(self, h: Tensor) -> Tensor:
        """Logits (n, vocabulary)."""
        return ops.linear(h, self.weight if self.table is None else self.table.weight, self.bias)

    def log_probs(self, h: Tensor) -> Tensor:
        """Logarithms of probabilities (n, vocabulary)."""
        return ops.log_softmax(self(h))

    def losses(self, h: Tensor, targets: Tensor, reduction: str) -> list[tuple[Rows | None, Tensor]]:
        """Cross-entropies: (rows that they belong to, or None for all, their sum or each of them)."""
        return [(None, ops.softmax_cross_entropy(self(h), targets, reduction=reduction))]

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        return f"{self.bias.shape[0]}" + ("" if self.table is None else ", tied")


class AdaptiveSoftmax(nn.Module):
    """Features (n, inputs) -> a distribution over tokens that are numbered by falling frequency (Grave et al., 2017).

    The head holds the tokens before the first cutoff and one entry for each cluster behind; the probability of a token
    in a cluster is that of the cluster times that within it. Training computes a cluster only for the tokens in it.

    Args:
        inputs: size of the features.
        edges: where the clusters begin, from 0 to the size of the vocabulary.
        factor: cluster i has features of size inputs / factor^i, i = 1, 2, ..., through a projection; 1 has none.
        table: the embedding whose table serves as weights too; needs factor 1.
        seed: of the initial weights.
    """

    def __init__(
        self, inputs: int, edges: Sequence[int], *, factor: float = 4.0, table: SplitEmbedding | None = None,
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        if not factor >= 1 or (table is not None and factor != 1):
            raise ArgumentError(f"AdaptiveSoftmax: expected factor >= 1, and 1 for a tied output, got {factor}")
        object.__setattr__(self, "table", table)
        self.table: SplitEmbedding | None
        self.edges = list(edges)
        generator = generator_for(seed)
        self.clusters = nn.Parameter(initial("glorot_uniform", (len(edges) - 2, inputs), generator))
        self.pieces: list[nn.Parameter] = [] if table is None else table.pieces
        self.projections: list[nn.Parameter | None] = []
        self.biases: list[nn.Parameter] = []
        for i, (a, b) in enumerate(pairwise(edges)):
            width = max(1, int(inputs / factor**i))
            narrower = nn.Parameter(initial("glorot_uniform", (width, inputs), generator)) if width < inputs else None
            if narrower is not None:
                setattr(self, f"projection{i}", narrower)
            self.projections.append(narrower)
            if table is None:
                piece = nn.Parameter(initial("glorot_uniform", (b - a, width), generator))
                setattr(self, f"weight{i}", piece)
                self.pieces.append(piece)
            bias = nn.Parameter(full((b - a + (len(edges) - 2 if i == 0 else 0),), 0.0))
            setattr(self, f"bias{i}", bias)
            self.biases.append(bias)

    def head(self, h: Tensor) -> Tensor:
        """Logits of the frequent tokens and, behind them, of the clusters."""
        return ops.linear(h, ops.concatenate([self.pieces[0], self.clusters]), self.biases[0])

    def tail(self, i: int, h: Tensor) -> Tensor:
        """Logits of the tokens of cluster i = 1, 2, ..."""
        narrower = self.projections[i]
        return ops.linear(h if narrower is None else ops.linear(h, narrower), self.pieces[i], self.biases[i])

    def log_probs(self, h: Tensor) -> Tensor:
        """Logarithms of probabilities (n, vocabulary)."""
        first = self.edges[1]
        head = ops.log_softmax(self.head(h))
        parts = [ops.narrow(head, 1, 0, first)]
        for i in range(1, len(self.pieces)):
            parts.append(ops.log_softmax(self.tail(i, h)) + ops.narrow(head, 1, first + i - 1, 1))
        return ops.concatenate(parts, 1)

    def losses(self, h: Tensor, targets: Tensor, reduction: str) -> list[tuple[Rows | None, Tensor]]:
        """Cross-entropies: (rows that they belong to, or None for all, their sum or each of them)."""
        return [(rows, ops.softmax_cross_entropy(logits, tensor(labels).to(h.device), reduction=reduction))
                for rows, logits, labels in self._terms(h, np.asarray(targets.numpy()))]  # fmt: skip

    def _terms(self, h: Tensor, y: Any) -> Iterator[tuple[Rows | None, Tensor, Rows]]:
        first = self.edges[1]
        cluster = np.searchsorted(self.edges[1:-1], y, "right")
        yield None, self.head(h), np.where(cluster > 0, first + cluster - 1, y)
        for i in range(1, len(self.pieces)):
            rows = np.flatnonzero(cluster == i)
            if len(rows):
                yield rows, self.tail(i, ops.take(h, tensor(rows).to(h.device))), y[rows] - self.edges[i]

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        return f"{self.edges}" + ("" if self.table is None else ", tied")


__all__ = ["AdaptiveSoftmax", "Softmax", "SplitEmbedding", "checked_edges", "padded_rows"]
