"""Recurrent language models: tokens in, distributions over the next token out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import nn, ops
from deepcore.errors import ArgumentError, ShapeError
from deepcore.models.adaptive import AdaptiveSoftmax, Softmax, SplitEmbedding, checked_edges, padded_rows
from deepcore.nn.rnn import RecurrentState
from deepcore.tensor import Tensor

FORGET_BIAS = {"lstm": 1.0, "coupled": 1.0}  # Jozefowicz et al., 2015


class LanguageNet(nn.Module):
    """Embedding, stacked recurrent layers, softmax: p(next token | tokens so far) (Mikolov et al., 2010).

    Tokens are numbered; all arrays have time first.

    Args:
        vocabulary: number of tokens.
        embedding: size of a token's vector; None: `hidden`.
        hidden, layers, cell: of the recurrent layers, see `deepcore.nn.Recurrent`.
        tied: the embedding's table is the output's weights too; a projection comes between where sizes differ (Press
            and Wolf, 2017; Inan et al., 2017).
        cutoffs: an adaptive softmax with these cutoffs for tokens numbered by falling frequency (Grave et al., 2017).
        tail_factor: by how much its clusters are narrower each; None: 4, or 1 where tied.
        input_dropout: on the vectors of tokens.
        dropout: on the outputs of every recurrent layer.
        weight_drop: of recurrent weights (Merity et al., 2018).
        seed: of initial weights and masks.
        recurrent: further options of the recurrent layers.
    """

    def __init__(
        self, vocabulary: int, *, embedding: int | None = None, hidden: int = 256, layers: int = 2, cell: str = "lstm",
        tied: bool = False, cutoffs: Sequence[int] = (), tail_factor: float | None = None, input_dropout: float = 0.0,
        dropout: float = 0.0, weight_drop: float = 0.0, seed: int = 0, **recurrent: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        size = hidden if embedding is None else int(embedding)
        if vocabulary < 1 or size < 1:
            raise ArgumentError(f"LanguageNet: expected vocabulary, embedding >= 1, got {vocabulary}, {size}")
        if tail_factor is not None and not cutoffs:
            raise ArgumentError("LanguageNet: tail_factor goes with cutoffs")
        edges = checked_edges(vocabulary, cutoffs)
        seeds = [(seed << 16) + i for i in range(6)]
        split = tied and len(edges) > 2
        self.embedding: nn.Module = (
            SplitEmbedding(edges, size, seed=seeds[0]) if split else nn.Embedding(vocabulary, size, seed=seeds[0])
        )
        self.input_dropout = nn.Dropout(input_dropout, seed=seeds[1])
        recurrent.setdefault("gate_init", FORGET_BIAS.get(cell) if recurrent.get("bias", True) else None)
        self.recurrent = nn.Recurrent(
            size, hidden, cell=cell, layers=layers, dropout=dropout, weight_drop=weight_drop, time_major=True,
            seed=seeds[2], **recurrent,
        )  # fmt: skip
        self.dropout = nn.Dropout(dropout, seed=seeds[3])
        narrowed = tied and hidden != size
        self.projection = nn.Linear(hidden, size, init="glorot_uniform", seed=seeds[4]) if narrowed else None
        table: Any = self.embedding if tied else None
        features = size if narrowed else hidden
        factor = tail_factor if tail_factor is not None else 1.0 if tied else 4.0
        self.output: Softmax | AdaptiveSoftmax = (
            AdaptiveSoftmax(features, edges, factor=factor, table=table, seed=seeds[5])
            if len(edges) > 2
            else Softmax(features, vocabulary, table=table, seed=seeds[5])
        )
        self.vocabulary = vocabulary

    def forward(self, ids: Tensor, state: RecurrentState | None = None) -> tuple[Tensor, RecurrentState]:
        """Tokens (steps, n) -> features for the output (steps, n, k), state."""
        if ids.ndim != 2:
            raise ShapeError(f"LanguageNet: expected tokens (steps, n), got {ids.shape}")
        h, new = self.recurrent(self.input_dropout(self.embedding(ids)), state=state)
        return self._projected(self.dropout(h)), new

    def _projected(self, h: Tensor) -> Tensor:
        if self.projection is None:
            return h
        rows = ops.reshape(h, -1, h.shape[-1])
        narrowed = ops.narrow(self.projection(padded_rows(rows)), 0, 0, rows.shape[0])
        return ops.reshape(narrowed, *h.shape[:-1], -1)

    def loss(
        self, ids: Tensor, targets: Tensor, state: RecurrentState | None = None
    ) -> tuple[Tensor, RecurrentState]:  # fmt: skip
        """Mean cross-entropy of the targets (steps, n), the tokens one step later, and the state."""
        h, new = self(ids, state)
        y = ops.reshape(targets, -1)
        terms = self.output.losses(ops.reshape(h, y.shape[0], -1), y, "sum")
        total = terms[0][1]
        for _, term in terms[1:]:
            total = total + term
        return total * (1.0 / max(y.shape[0], 1)), new

    def nats(
        self, ids: Tensor, targets: Tensor, state: RecurrentState | None = None
    ) -> tuple[npt.NDArray[np.float32], RecurrentState]:  # fmt: skip
        """-log p of each target (steps, n), and the state."""
        h, new = self(ids, state)
        y = ops.reshape(targets, -1)
        terms = self.output.losses(ops.reshape(h, y.shape[0], -1), y, "none")
        result = np.array(terms[0][1].numpy())
        for rows, term in terms[1:]:
            assert rows is not None
            result[rows] += term.numpy()
        return result.reshape(targets.shape), new

    def log_probs(self, ids: Tensor, state: RecurrentState | None = None) -> tuple[Tensor, RecurrentState]:
        """Tokens (steps, n) -> log p of every next token (steps, n, vocabulary), and the state."""
        h, new = self(ids, state)
        steps, n, k = h.shape
        rows = self.output.log_probs(padded_rows(ops.reshape(h, steps * n, k)))
        return ops.reshape(ops.narrow(rows, 0, 0, steps * n), steps, n, self.vocabulary), new

    def step(self, ids: Tensor, state: RecurrentState | None = None) -> tuple[Tensor, RecurrentState]:
        """One step: tokens (n,) -> log p (n, vocabulary) and the state, the bits that `log_probs` of the whole gives.

        ArgumentError in training with dropout, whose masks differ from call to call.
        """
        if self.training and self.dropout.p + self.input_dropout.p > 0:
            raise ArgumentError("LanguageNet: expected eval mode for step() with dropout")
        h, new = self.recurrent.step(self.embedding(ids), state)
        return ops.narrow(self.output.log_probs(padded_rows(self._projected(h))), 0, 0, ids.shape[0]), new


__all__ = ["LanguageNet"]
