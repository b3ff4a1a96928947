"""Recurrent nets that read tokens: one decision for a document, one for each token of a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from deepcore import nn, ops
from deepcore.errors import ArgumentError
from deepcore.tensor import Tensor, arange

OUTPUTS = ("last", "max", "mean", "attention")


class TokenEncoder(nn.Module):
    """Embeddings of tokens, side by side, and a recurrent net over them.

    Args:
        tables: (rows, size) of each embedding; tokens are rows of one table each.
        hidden, cell, layers, bidirectional: of `nn.Recurrent`; forget gates start open (Jozefowicz et al., 2015).
        dropout: on the outputs of every recurrent layer but the last. embedding_dropout: on the embeddings.
        seed: of weights and masks.
    """

    def __init__(
        self, tables: Sequence[tuple[int, int]], hidden: int, *, cell: str = "lstm", layers: int = 1,
        bidirectional: bool = True, dropout: float = 0.0, embedding_dropout: float = 0.0, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        base = seed << 16
        self.tables = nn.Sequential(*(nn.Embedding(n, size, seed=base + i) for i, (n, size) in enumerate(tables)))
        self.dropout = nn.Dropout(embedding_dropout, seed=base + 1000)
        self.recurrent = nn.Recurrent(
            sum(size for _, size in tables), hidden, cell=cell, layers=layers, bidirectional=bidirectional,
            dropout=dropout, gate_init=1.0 if cell in ("lstm", "coupled") else None, time_major=True, seed=base + 1001,
        )  # fmt: skip
        self.width = hidden * self.recurrent.directions

    def embed(self, ids: Tensor) -> Tensor:
        """Numbers of tokens (n, t), or of one token in every table (n, t, k): embeddings (t, n, sum of sizes)."""
        by_time = ops.contiguous(ops.swap_axes(ids, 0, 1))
        if by_time.ndim == 2:
            return self.tables[0](by_time)  # type: ignore[no-any-return]
        parts = [table(by_time[:, :, i]) for i, table in enumerate(self.tables)]
        return ops.concatenate(parts, -1)

    def forward(self, embedded: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (t, n, e) -> outputs (t, n, width), 0 beyond each length, and last states (n, width).

        The last state is that of the last valid step, and of the first one for the direction that reads from the end.
        """
        y, state = self.recurrent(self.dropout(embedded), lengths=lengths)
        layers = state.h.shape[0]
        last = [state.h[layers - d] for d in range(self.recurrent.directions, 0, -1)]
        return y, ops.concatenate(last, -1)


class StepAttention(nn.Module):
    """A mean of outputs (t, n, w) over valid steps, weighted by softmax(v tanh(W y + b)) (Yang et al., 2016)."""

    def __init__(self, width: int, *, seed: int = 0) -> None:
        super().__init__()
        base = seed << 16
        self.hidden = nn.Linear(width, width, activation="tanh", init="glorot_uniform", seed=base + 2000)
        self.score = nn.Linear(width, 1, bias=False, init="glorot_uniform", seed=base + 2001)

    def weights(self, y: Tensor, valid: Tensor) -> Tensor:
        """(t, n, 1), which sum to 1 over the valid steps of each sequence."""
        # Not by calling the layer, which sums one column in another order where it has few rows.
        scores = ops.linear(self.hidden(y), self.score.weight)
        return ops.softmax(ops.where(valid, scores, -1e30), 0)

    def forward(self, y: Tensor, valid: Tensor) -> Tensor:
        """(t, n, w) -> (n, w); valid (t, n, 1)."""
        return ops.sum(y * self.weights(y, valid), 0)


class DocumentNet(nn.Module):
    """Tokens (n, t) with lengths (n,) -> scores of classes (n, k).

    Args:
        tokens, embedding: rows and columns of the table of embeddings.
        classes: k.
        output: what is read of the recurrent net: 'last', the state after the last valid step, of both directions;
            'max' or 'mean' over valid steps; 'attention', a weighted mean (`StepAttention`).
        dropout: before the last layer, and between recurrent layers.
        Others: `TokenEncoder`.
    """

    def __init__(
        self, tokens: int, embedding: int, hidden: int, classes: int, *, output: str = "last", cell: str = "lstm",
        layers: int = 1, bidirectional: bool = True, dropout: float = 0.0, embedding_dropout: float = 0.0,
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        if output not in OUTPUTS:
            raise ArgumentError(f"DocumentNet: expected output in {OUTPUTS}, got {output!r}")
        self.output = output
        self.encoder = TokenEncoder(
            [(tokens, embedding)], hidden, cell=cell, layers=layers, bidirectional=bidirectional, dropout=dropout,
            embedding_dropout=embedding_dropout, seed=seed,
        )  # fmt: skip
        self.attention = StepAttention(self.encoder.width, seed=seed) if output == "attention" else None
        self.dropout = nn.Dropout(dropout, seed=(seed << 16) + 2002)
        self.head = nn.Linear(self.encoder.width, classes, init="glorot_uniform", seed=(seed << 16) + 2003)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """(n, t), (n,) -> (n, k)."""
        return self.classify(self.encoder.embed(ids), lengths)

    def classify(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """The scores (n, k) of embeddings (t, n, e)."""
        y, last = self.encoder(embedded, lengths)
        if self.output == "last":
            found = last
        elif self.output == "mean":  # outputs beyond the lengths are 0
            found = ops.sum(y, 0) / ops.reshape(ops.astype(lengths, y.dtype), -1, 1)
        else:
            valid = valid_steps(y.shape[0], lengths)
            found = ops.max(ops.where(valid, y, -1e30), 0) if self.attention is None else self.attention(y, valid)
        result: Tensor = self.head(self.dropout(found))
        return result


class TaggerNet(nn.Module):
    """Tokens by several features (n, t, k) with lengths (n,) -> scores of tags for each token (t, n, tags).

    Args:
        tables: (rows, size) of the embedding of each feature.
        tags: how many there are.
        dropout: before the last layer, and between recurrent layers.
        Others: `TokenEncoder`.
    """

    def __init__(
        self, tables: Sequence[tuple[int, int]], hidden: int, tags: int, *, cell: str = "lstm", layers: int = 1,
        bidirectional: bool = True, dropout: float = 0.0, embedding_dropout: float = 0.0, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder = TokenEncoder(
            tables, hidden, cell=cell, layers=layers, bidirectional=bidirectional, dropout=dropout,
            embedding_dropout=embedding_dropout, seed=seed,
        )  # fmt: skip
        self.dropout = nn.Dropout(dropout, seed=(seed << 16) + 2002)
        self.head = nn.Linear(self.encoder.width, tags, init="glorot_uniform", seed=(seed << 16) + 2003)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """(n, t, k), (n,) -> (t, n, tags)."""
        y, _ = self.encoder(self.encoder.embed(ids), lengths)
        result: Tensor = self.head(self.dropout(y))
        return result


def valid_steps(steps: int, lengths: Tensor) -> Tensor:
    """(steps, n, 1): whether a step is within the length of its sequence."""
    at = arange(steps, dtype=lengths.dtype, device=lengths.device)
    return ops.less(ops.reshape(at, -1, 1, 1), ops.reshape(lengths, 1, -1, 1))
