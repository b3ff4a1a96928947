"""Attention of a decoder over a memory: the outputs of an encoder, one for each step of a source."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from deepcore import nn, ops
from deepcore.errors import ArgumentError
from deepcore.tensor import Tensor, arange, tensor

ATTENTIONS = ("dot", "general", "additive")


class Memory(NamedTuple):
    """What is attended to, for n rows; rows of one source share what is in it."""

    values: Tensor  # (n, s, v)
    keys: Tensor  # (n, s, k): what queries are compared with
    valid: Tensor  # (n, 1, s) bool: steps within the lengths
    owners: npt.NDArray[np.int64]  # (n,): the source of each row

    def select(self, index: npt.NDArray[np.int64]) -> Memory:
        """The memory of the rows `index`."""
        owners = self.owners[index]
        if np.array_equal(owners, self.owners):  # rows moved within their sources
            return self
        at = tensor(np.asarray(index, np.int64)).to(self.values.device)
        values = ops.take(self.values, at)
        keys = values if self.keys is self.values else ops.take(self.keys, at)
        return Memory(values, keys, ops.take(self.valid, at), owners)


class Attention(nn.Module):
    """Means of values over the valid steps of a memory, weighted by softmax(score(query, value)).

    kind: 'dot', q v, and 'general', q W v (Luong et al., 2015); 'additive', u tanh(W q + V v + b) (Bahdanau et al.,
    2015), which takes memory for queries times steps times `query` numbers.

    Args:
        kind: of the score.
        query, value: sizes; equal for 'dot'.
        seed: of the initial weights.
    """

    def __init__(self, kind: str, query: int, value: int, *, seed: int = 0) -> None:
        super().__init__()
        if kind not in ATTENTIONS:
            raise ArgumentError(f"Attention: expected kind in {ATTENTIONS}, got {kind!r}")
        if kind == "dot" and query != value:
            raise ArgumentError(f"Attention: expected queries and values of one size for 'dot', got {query}, {value}")
        self.kind, base = kind, seed << 16
        self.keys = None
        if kind != "dot":
            self.keys = nn.Linear(value, query, bias=kind == "additive", init="glorot_uniform", seed=base)
        if kind == "additive":
            self.query = nn.Linear(query, query, bias=False, init="glorot_uniform", seed=base + 1)
            self.score = nn.Linear(query, 1, bias=False, init="glorot_uniform", seed=base + 2)

    def memory(self, values: Tensor, lengths: Tensor) -> Memory:
        """Values (n, s, v) of which the first `lengths` (n,) count, ready for queries."""
        n, steps = values.shape[:2]
        at = arange(steps, dtype=lengths.dtype, device=lengths.device)
        valid = ops.less(ops.reshape(at, 1, 1, -1), ops.reshape(lengths, -1, 1, 1))
        keys = values if self.keys is None else self.keys(values)
        return Memory(values, keys, valid, np.arange(n))

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Queries (n, t, q) -> means (n, t, v), weights (n, t, s), which sum to 1 and are 0 beyond the lengths."""
        if self.kind == "additive":
            hidden = ops.tanh(ops.expand_dims(self.query(query), 2) + ops.expand_dims(memory.keys, 1))
            scores = ops.squeeze(self.score(hidden), 3)
        else:
            scores = ops.matmul(query, ops.swap_axes(memory.keys, 1, 2))
        weights = ops.softmax(ops.where(memory.valid, scores, -1e30), -1)
        return ops.matmul(weights, memory.values), weights

    def extra_repr(self) -> str:
        """The options in the text of the module."""
        return repr(self.kind)


__all__ = ["ATTENTIONS", "Attention", "Memory"]
