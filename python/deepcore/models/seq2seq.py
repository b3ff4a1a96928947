"""Encoder and decoder: a sequence of tokens becomes another of another length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deepcore import nn, ops
from deepcore.errors import ArgumentError, ShapeError
from deepcore.models.adaptive import Softmax
from deepcore.models.attention import Attention, Memory
from deepcore.models.language import FORGET_BIAS
from deepcore.nn.rnn import RecurrentState
from deepcore.tensor import Tensor, full, tensor

Choose = Callable[[int, Tensor], Tensor | None]


class DecoderState(NamedTuple):
    """What the decoder carries from token to token, for n rows."""

    recurrent: RecurrentState
    memory: Memory | None
    feed: Tensor | None  # (n, k): the features of the step before, with input feeding

    def select(self, index: npt.NDArray[np.int64]) -> DecoderState:
        """The state of the rows `index`, as `beam_search` asks for it."""
        feed = self.feed
        if feed is not None:
            feed = ops.take(feed, tensor(np.asarray(index, np.int64)).to(feed.device))
        memory = None if self.memory is None else self.memory.select(index)
        return DecoderState(self.recurrent.select(index), memory, feed)


class Seq2SeqNet(nn.Module):
    """An encoder reads the source, a decoder that starts from its last state writes the target (Sutskever et al., 2014;
    Cho et al., 2014), looking back at the outputs of the encoder by attention (Bahdanau et al., 2015).

    With attention the features of a step are tanh(W [c; h]), h the output of the recurrent layers and c the mean of the
    encoder's outputs that h attends to (Luong et al., 2015, eq. 5); without it they are h. A softmax over the target's
    tokens stands on the features. All arrays have the batch first.

    Args:
        sources, targets: numbers of tokens.
        embedding: size of the vectors of tokens.
        hidden, layers, cell: of the recurrent layers of encoder and decoder, see `deepcore.nn.Recurrent`.
        bidirectional: the encoder reads in both directions, with hidden / 2 units each; dense layers make its last
            states those that the decoder starts from. Otherwise the decoder starts from them as they are.
        attention: 'dot', 'general', 'additive' (`deepcore.models.attention.Attention`) or None.
        input_feeding: the decoder reads the features of the step before beside the token (Luong et al., 2015, 3.3).
            Then it goes step by step in training too, which takes longer.
        shared: sources and targets are tokens of one vocabulary with one table of embeddings.
        tied: the table of the target's embeddings is the output's weights too (Press and Wolf, 2017).
        embedding_dropout: on the vectors of tokens.
        dropout: on the outputs of every recurrent layer but the last and on the features.
        seed: of initial weights and masks.
    """

    def __init__(
        self, sources: int, targets: int, *, embedding: int = 64, hidden: int = 128, layers: int = 1,
        cell: str = "lstm", bidirectional: bool = True, attention: str | None = "general",
        input_feeding: bool = False, shared: bool = False, tied: bool = False, embedding_dropout: float = 0.0,
        dropout: float = 0.0, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        if min(sources, targets, embedding, hidden, layers) < 1:
            raise ArgumentError(
                f"Seq2SeqNet: expected sources, targets, embedding, hidden, layers >= 1, got {sources}, {targets}, "
                f"{embedding}, {hidden}, {layers}"
            )
        if bidirectional and hidden % 2:
            raise ArgumentError(f"Seq2SeqNet: expected an even hidden for two directions, got {hidden}")
        if shared and sources != targets:
            raise ArgumentError(f"Seq2SeqNet: expected one vocabulary with shared, got {sources} and {targets} tokens")
        if input_feeding and attention is None:
            raise ArgumentError("Seq2SeqNet: input_feeding goes with attention")
        seeds = [(seed << 16) + 64 * i for i in range(10)]
        self.targets = targets
        self.embedding = nn.Embedding(targets, embedding, seed=seeds[0])
        self.source_embedding = None if shared else nn.Embedding(sources, embedding, seed=seeds[1])
        self.embedding_dropout = nn.Dropout(embedding_dropout, seed=seeds[2])
        features = embedding if tied else hidden
        options: dict[str, Any] = {
            "cell": cell,
            "layers": layers,
            "dropout": dropout,
            "gate_init": FORGET_BIAS.get(cell),
        }
        self.encoder = nn.Recurrent(
            embedding, hidden // 2 if bidirectional else hidden, bidirectional=bidirectional, seed=seeds[3], **options
        )
        self.decoder = nn.Recurrent(embedding + (features if input_feeding else 0), hidden, seed=seeds[4], **options)

        def bridge(activation: str | None, at: int) -> nn.Sequential | None:
            dense = (nn.Linear(hidden, hidden, activation=activation, init="glorot_uniform", seed=at + i)
                     for i in range(layers))  # fmt: skip
            return nn.Sequential(*dense) if bidirectional else None

        self.bridge_h = bridge("tanh", seeds[5])
        self.bridge_c = bridge(None, seeds[5] + 32) if self.encoder.initial_state(1).c is not None else None
        self.attention = None if attention is None else Attention(attention, hidden, hidden, seed=(seed << 4) + 1)
        self.combine: nn.Linear | None = None
        if attention is not None:
            self.combine = nn.Linear(2 * hidden, features, activation="tanh", init="glorot_uniform", seed=seeds[7])
        elif features != hidden:
            self.combine = nn.Linear(hidden, features, init="glorot_uniform", seed=seeds[7])
        self.dropout = nn.Dropout(dropout, seed=seeds[8])
        self.output = Softmax(features, targets, table=self.embedding if tied else None, seed=seeds[9])
        self.features, self.input_feeding = features, input_feeding

    # ---- encoder ----
    def encode(self, source: Tensor, lengths: Tensor) -> DecoderState:
        """Sources (n, s) of `lengths` (n,) each -> the state that the decoder starts from.

        ArgumentError for a length of 0.
        """
        if source.ndim != 2:
            raise ShapeError(f"Seq2SeqNet: expected sources (n, s), got {source.shape}")
        least = int(lengths.numpy().min(initial=1))
        if least < 1:
            raise ArgumentError(f"Seq2SeqNet: expected lengths >= 1, got {least}")
        table = self.embedding if self.source_embedding is None else self.source_embedding
        values, last = self.encoder(self.embedding_dropout(table(source)), lengths=lengths)
        h, c = last
        start = RecurrentState(self._bridged(h, self.bridge_h), None if c is None else self._bridged(c, self.bridge_c))
        memory = None if self.attention is None else self.attention.memory(values, lengths)
        n = source.shape[0]
        feed = full((n, self.features), 0.0, values.dtype, device=values.device) if self.input_feeding else None
        return DecoderState(start, memory, feed)

    def _bridged(self, state: Tensor, dense: nn.Sequential | None) -> Tensor:
        """States of the encoder (layers * directions, n, units) as those of the decoder (layers, n, hidden)."""
        if dense is None:
            return state
        layers, n, units = state.shape[0] // 2, *state.shape[1:]
        both = ops.swap_axes(ops.reshape(state, layers, 2, n, units), 1, 2)
        rows = ops.reshape(ops.contiguous(both), layers, n, 2 * units)
        return ops.stack([dense[i](rows[i]) for i in range(layers)])

    # ---- decoder ----
    def decode(
        self, inputs: Tensor, state: DecoderState, choose: Choose | None = None
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Tokens before each target (n, t) -> features (n, t, k) and, with attention, its weights (n, t, s).

        choose: called as choose(i, features of step i - 1 (n, k)) before each step i >= 1; the tokens that it gives
            (n,) take the place of inputs[:, i]; None leaves them. Then, and with input feeding, the decoder goes step
            by step.
        """
        if choose is None and not self.input_feeding:
            h, _ = self.decoder(self._embedded(inputs), state=state.recurrent)
            return self._features(h, state.memory)
        found: list[Tensor] = []
        looks: list[Tensor] = []
        feed, recurrent = state.feed, state.recurrent
        for i in range(inputs.shape[1]):
            tokens = inputs[:, i]
            if choose is not None and i > 0:
                chosen = choose(i, found[-1])
                tokens = tokens if chosen is None else chosen
            features, weights, recurrent = self._advance(tokens, recurrent, state.memory, feed)
            feed = features if self.input_feeding else None
            found.append(features)
            if weights is not None:
                looks.append(weights)
        return ops.stack(found, 1), ops.stack(looks, 1) if looks else None

    def _advance(
        self, tokens: Tensor, recurrent: RecurrentState, memory: Memory | None, feed: Tensor | None
    ) -> tuple[Tensor, Tensor | None, RecurrentState]:  # fmt: skip
        """Features (n, k), weights (n, s) and state after the tokens (n,)."""
        x = self._embedded(tokens)
        if feed is not None:
            x = ops.concatenate([x, feed], -1)
        if self.training:  # masks of dropout are drawn for each step
            h, new = self.decoder(ops.expand_dims(x, 1), state=recurrent)
        else:
            h, new = self.decoder.step(x, recurrent)
            h = ops.expand_dims(h, 1)
        features, weights = self._features(h, memory)
        return ops.squeeze(features, 1), None if weights is None else ops.squeeze(weights, 1), new

    def _embedded(self, tokens: Tensor) -> Tensor:
        return self.embedding_dropout(self.embedding(tokens))  # type: ignore[no-any-return]

    def _features(self, h: Tensor, memory: Memory | None) -> tuple[Tensor, Tensor | None]:
        weights: Tensor | None = None
        if self.attention is not None:
            assert memory is not None
            context, weights = self.attention(h, memory)
            h = ops.concatenate([context, h], -1)
        if self.combine is not None:
            h = self.combine(h)
        return self.dropout(h), weights

    def logits(self, features: Tensor) -> Tensor:
        """Features (..., k) -> logits (..., targets)."""
        return ops.reshape(self.output(ops.reshape(features, -1, self.features)), *features.shape[:-1], self.targets)

    def forward(self, source: Tensor, lengths: Tensor, inputs: Tensor, choose: Choose | None = None) -> Tensor:
        """Sources (n, s), their lengths (n,), the tokens before each target (n, t) -> logits (n, t, targets)."""
        features, _ = self.decode(inputs, self.encode(source, lengths), choose)
        return self.logits(features)

    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """One step: tokens (n,) -> log p of each next token (n, targets), and the state.

        ArgumentError in training with dropout, whose masks differ from call to call.
        """
        if self.training and self.dropout.p + self.embedding_dropout.p > 0:
            raise ArgumentError("Seq2SeqNet: expected eval mode for step() with dropout")
        features, _, recurrent = self._advance(tokens, state.recurrent, state.memory, state.feed)
        feed = features if self.input_feeding else None
        return self.output.log_probs(features), DecoderState(recurrent, state.memory, feed)


__all__ = ["DecoderState", "Seq2SeqNet"]
