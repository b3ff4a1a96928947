"""Seq2Seq: recurrent nets that turn one sequence of tokens into another."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import ops, train
from deepcore.autograd import no_grad
from deepcore.data import Vocabulary, pad_sequences, train_val_split
from deepcore.data.dataset import Dataset
from deepcore.data.text import BOS, EOS, PAD
from deepcore.device import resolve_device
from deepcore.errors import ArgumentError, counted
from deepcore.estimators.base import check_lengths
from deepcore.estimators.pairs import Candidate, Output, PairEstimator
from deepcore.models import Seq2SeqNet
from deepcore.models.attention import ATTENTIONS
from deepcore.models.beam import Hypothesis, LengthPenalty, beam_search, check_search
from deepcore.models.seq2seq import DecoderState
from deepcore.sequence_metrics import Bleu, bleu
from deepcore.tensor import Tensor, tensor

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

_ROWS = 256  # strings that grow side by side in a search
_TAUGHT = 64  # targets whose probabilities are computed at once


class Seq2Seq(PairEstimator):
    """An encoder-decoder: a recurrent net reads the source, another writes the target token by token, looking back at
    the source by attention (Sutskever et al., 2014; Bahdanau et al., 2015; Luong et al., 2015).

    Sources and targets are n texts each, or n lists of tokens. Targets are learnt with the true tokens as inputs of the
    decoder, or with a growing share of its own (`scheduled_sampling`); batches hold pairs of similar length.

    Args:
        level: how texts are cut: 'char', 'word' (words and marks, see `deepcore.data.Tokenizer`) or 'space'.
        target_level: of targets, None: `level`.
        shared: sources and targets have one vocabulary and one table of embeddings.
        min_count, max_size: of each vocabulary: rarer tokens, and those beyond so many, become '<unk>', which is never
            written. Without either, tokens outside the vocabulary are refused, unless training has '<unk>' itself.
        reverse: the encoder reads sources from their ends (Sutskever et al., 2014).
        embedding, hidden, layers, cell, bidirectional, attention, input_feeding, tied, embedding_dropout, dropout: of
            the net, see `deepcore.models.Seq2SeqNet`.
        scheduled_sampling: 'linear', 'exponential' or 'inverse-sigmoid' decay of the probability that the decoder reads
            the true token in training (Bengio et al., 2015), step by step; None: it always does.
        final_teaching: that probability at the end of training.
        beam: strings that the search keeps; 1 is greedy search.
        length_penalty: a of ((5 + n) / 6)^a (Wu et al., 2016), by which log-probabilities of n tokens are divided when
            beams are compared; 'mean': by n.
        max_length: tokens of an output at most, its end included; None: twice those of the longest target in training.
        label_smoothing, optimizer, learning_rate, weight_decay, clip_norm, schedule, batch_size, epochs,
        validation_fraction, early_stopping, patience, max_seconds, ema, random_state, verbose, device:
            as in `MLPClassifier`; batches are of pairs.

    Attributes:
        source_vocabulary_, target_vocabulary_: the tokens (`deepcore.data.Vocabulary`). model_: the net.
        history_: one dict per epoch: loss in nats per token; accuracy, the share of tokens, and exact, the share of
        targets, that are predicted right from the true tokens before. longest_: tokens of the longest
        target in training, its end included. n_iter_: epochs done.
    """

    _kind = "sequence to sequence"
    _rates = ("dropout", "embedding_dropout")

    def __init__(
        self, level: str = "char", *, target_level: str | None = None, shared: bool = False, min_count: int = 1,
        max_size: int | None = None, reverse: bool = False, embedding: int = 64, hidden: int = 128, layers: int = 1,
        cell: str = "lstm", bidirectional: bool = True, attention: str | None = "general",
        input_feeding: bool = False, tied: bool = False, embedding_dropout: float = 0.0, dropout: float = 0.1,
        scheduled_sampling: str | None = None, final_teaching: float = 0.5, beam: int = 1,
        length_penalty: LengthPenalty = 1.0, max_length: int | None = None, label_smoothing: float = 0.0,
        optimizer: str = "adam", learning_rate: float = 3e-3, weight_decay: float = 0.0,
        clip_norm: float | None = 1.0, schedule: Any = "one-cycle", batch_size: int = 64, epochs: int = 10,
        validation_fraction: float = 0.1, early_stopping: bool = False, patience: int = 3,
        max_seconds: float | None = None, ema: float | None = None, random_state: int | None = None,
        verbose: bool = False, device: str = "auto",
    ) -> None:  # fmt: skip
        self.level = level
        self.target_level = target_level
        self.shared = shared
        self.min_count = min_count
        self.max_size = max_size
        self.reverse = reverse
        self.embedding = embedding
        self.hidden = hidden
        self.layers = layers
        self.cell = cell
        self.bidirectional = bidirectional
        self.attention = attention
        self.input_feeding = input_feeding
        self.tied = tied
        self.embedding_dropout = embedding_dropout
        self.dropout = dropout
        self.scheduled_sampling = scheduled_sampling
        self.final_teaching = final_teaching
        self.beam = beam
        self.length_penalty = length_penalty
        self.max_length = max_length
        self.label_smoothing = label_smoothing
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.schedule = schedule
        self.batch_size = batch_size
        self.epochs = epochs
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.patience = patience
        self.max_seconds = max_seconds
        self.ema = ema
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    model_: Seq2SeqNet
    longest_: int

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.attention is not None and self.attention not in ATTENTIONS:
            raise ArgumentError(f"Seq2Seq: expected attention None or in {ATTENTIONS}, got {self.attention!r}")
        if self.scheduled_sampling is not None:
            train.SamplingDecay(self.scheduled_sampling, self.final_teaching, 1)
        check_search("Seq2Seq", self.beam, 1 if self.max_length is None else self.max_length, self.length_penalty)

    def _task(self) -> train.SequencePairs:
        return train.SequencePairs(self.target_vocabulary_[BOS], label_smoothing=self.label_smoothing)

    # ---- training ----
    def _begin(
        self, sources: list[list[str]], targets: list[list[str]], text: bool,
        vocabularies: tuple[Vocabulary, Vocabulary] | None = None,
    ) -> None:  # fmt: skip
        if vocabularies is not None:
            self._check_vocabularies(*vocabularies)
        for name in ("model_", "trainer_"):  # what fails from here on leaves no half of a fitted estimator
            self.__dict__.pop(name, None)
        self.source_vocabulary_, self.target_vocabulary_ = vocabularies or self._vocabularies(sources, targets)
        self.text_ = text
        self.longest_ = max(map(len, targets)) + 1
        self._check_beam(self.beam)

    def _build(self, seed: int) -> None:
        self.model_ = Seq2SeqNet(
            len(self.source_vocabulary_), len(self.target_vocabulary_), embedding=int(self.embedding),
            hidden=int(self.hidden), layers=int(self.layers), cell=self.cell, bidirectional=bool(self.bidirectional),
            attention=self.attention, input_feeding=bool(self.input_feeding), shared=bool(self.shared),
            tied=bool(self.tied), embedding_dropout=float(self.embedding_dropout), dropout=float(self.dropout),
            seed=seed,
        )  # fmt: skip
        self.model_.to(resolve_device(self.device))

    def _check_beam(self, beam: int) -> None:
        size = len(self.target_vocabulary_)
        if beam > size:
            raise ArgumentError(
                f"Seq2Seq: expected a beam no wider than the target vocabulary of {counted(size, 'token')}, got {beam}"
            )

    def fit(
        self, X: Any, y: Any, *, validation_data: tuple[Any, Any] | None = None,
        checkpoint: str | os.PathLike[str] | None = None, resume: bool = False,
    ) -> Seq2Seq:  # fmt: skip
        """Learn from n sources and their targets; returns self.

        Args:
            X: texts or lists of tokens, none of them empty.
            y: the same, n of them.
            validation_data: (sources, targets) for the val_... values of `history_`, instead of validation_fraction.
            checkpoint: file written after each epoch and on Ctrl-C.
            resume: go on from `checkpoint` if it exists, bit for bit.

        Raises:
            DataError: a source or target has no token, or one of the validation has a token outside the vocabulary.
            ArgumentError: an option is out of range, the beam wider than the vocabulary, or X and y differ in number.
            NumericalError: the loss has exploded; names the step.
        """
        self._check_parameters()
        sources, targets, text = self._pairs(X, y)
        seed = self._seed()
        self._begin(sources, targets, text)
        data: Dataset = self._data(sources, targets)
        held: Dataset | None = None
        if validation_data is not None:
            held = self._data(*self._pairs(*validation_data)[:2])
        elif self.validation_fraction > 0 and len(data) >= 10:
            data, held = train_val_split(data, self.validation_fraction, seed=seed)
        self._build(seed)
        decay = None
        if self.scheduled_sampling is not None:
            steps = math.ceil(len(data) / int(self.batch_size)) * int(self.epochs)
            decay = train.SamplingDecay(self.scheduled_sampling, self.final_teaching, steps)
        task = train.SequencePairs(
            self.target_vocabulary_[BOS], label_smoothing=self.label_smoothing, decay=decay, seed=seed
        )
        self._train_on(
            data, None, seed, validation=held, task=task,
            callbacks=[task], checkpoint=checkpoint, resume=resume,
        )  # fmt: skip
        return self

    def partial_fit(
        self, X: Any, y: Any, *, vocabularies: tuple[Vocabulary, Vocabulary] | None = None
    ) -> Seq2Seq:  # fmt: skip
        """One pass over X and y with the optimizer of earlier calls; the learning rate stays constant.

        vocabularies: of sources and targets, for the first call; the targets' has '<pad>', '<bos>' and '<eos>'. None:
        the tokens of its X and y. Later calls may not bring other tokens. ArgumentError with `scheduled_sampling`,
        which needs to know the number of steps.
        """
        self._check_parameters()
        if self.scheduled_sampling is not None:
            raise ArgumentError("Seq2Seq.partial_fit: expected scheduled_sampling None, whose decay ends with fit")
        sources, targets, text = self._pairs(X, y)
        seed = self._seed()
        if not hasattr(self, "model_"):
            self._begin(sources, targets, text, vocabularies)
        data = self._data(sources, targets)
        self.longest_ = max(self.longest_, int(data.targets.lengths.max()))
        if not hasattr(self, "model_"):
            self._build(seed)
        if not hasattr(self, "trainer_"):
            self.trainer_ = train.Trainer(self.model_, self._make_optimizer(), self._task(), progress="off",
                                          callbacks=self._callbacks())  # fmt: skip
            self.history_ = self.trainer_.history
        trainer = self.trainer_
        trainer.task, trainer.callbacks = self._task(), self._callbacks()
        trainer.schedule, trainer.optimizer.lr_factor = None, 1.0
        self._partial_on(data, seed)
        return self

    def _callbacks(self) -> list[train.Callback]:
        return [train.ExplodingLoss(len(self.target_vocabulary_), "Seq2Seq", "token")]

    def _check_vocabularies(self, source: Vocabulary, target: Vocabulary) -> None:
        missing = [s for s in (PAD, BOS, EOS) if s not in target.specials]
        if missing or PAD not in source.specials:
            raise ArgumentError(
                f"Seq2Seq: expected vocabularies with {PAD}, of targets {BOS} and {EOS} too, got {source.specials} and "
                f"{target.specials}"
            )
        if self.shared and source.tokens != target.tokens:
            raise ArgumentError(
                f"Seq2Seq: expected one vocabulary for both sides with shared=True, got {len(source)} and "
                f"{len(target)} tokens that differ"
            )

    # ---- writing ----
    def predict(self, X: Any) -> list[Output]:
        """The best output for each source, by greedy or beam search: texts or lists of tokens, as the targets were.

        DataError for tokens outside the vocabulary.
        """
        return [self._output(found[0].tokens) for found in self._search(X, int(self.beam), self.length_penalty)]

    def candidates(
        self, X: Any, *, beam: int | None = None, length_penalty: LengthPenalty | None = None
    ) -> list[list[Candidate]]:  # fmt: skip
        """Up to `beam` outputs for each source, best first: those that ended, then those cut off.

        beam, length_penalty: None: as the estimator has them. ArgumentError for a beam wider than the vocabulary.
        """
        beam = int(self.beam) if beam is None else beam
        penalty = self.length_penalty if length_penalty is None else length_penalty
        return [[Candidate(self._output(h.tokens), *h[1:]) for h in found] for found in self._search(X, beam, penalty)]

    def _search(self, x: Any, beam: int, length_penalty: LengthPenalty) -> list[list[Hypothesis]]:
        self._check_fitted()
        limit = 2 * self.longest_ if self.max_length is None else self.max_length
        check_search("Seq2Seq", beam, limit, length_penalty)
        self._check_beam(beam)
        ids = self._source_ids(self._sources(x))
        vocabulary = self.target_vocabulary_
        never = [vocabulary[s] for s in vocabulary.specials if s != EOS]

        def step(tokens: Ints, state: DecoderState) -> tuple[Array, DecoderState]:
            logs, new = self.model_.step(tensor(tokens).to(self.model_.device), state)
            found = np.array(logs.numpy())
            found[:, never] = -np.inf
            return found, new

        result: list[list[Hypothesis]] = [[] for _ in ids]
        with no_grad():
            for places, state in self._states(ids, max(1, _ROWS // beam)):
                first = np.full(len(places), vocabulary[BOS])
                found = beam_search(step, state, first, end=vocabulary[EOS], beam=beam, max_length=limit,
                                    length_penalty=length_penalty)  # fmt: skip
                for place, hypotheses in zip(places, found):
                    result[place] = hypotheses
        return result

    def _states(self, ids: Sequence[Ints], rows: int) -> Iterator[tuple[Ints, DecoderState]]:
        """(places, state of the decoder) of sources in batches, those of similar length together."""
        order = np.argsort([len(row) for row in ids], kind="stable")
        device = self.model_.device
        self.model_.eval()
        for i in range(0, len(order), rows):
            places = order[i : i + rows]
            padded, lengths = pad_sequences([ids[p] for p in places])
            yield places, self.model_.encode(tensor(padded).to(device), tensor(lengths).to(device))

    # ---- measuring ----
    def _taught(
        self, sources: list[list[str]], targets: list[list[str]]
    ) -> Iterator[tuple[Ints, Ints, Tensor, Tensor | None]]:  # fmt: skip
        """(places, padded targets with their ends (n, t), features, weights (n, t, s)) of pairs in batches."""
        ids, wanted = self._source_ids(sources), self._target_ids(targets)
        for places, state in self._states(ids, _TAUGHT):
            padded, _ = pad_sequences([wanted[p] for p in places])
            inputs = np.concatenate([np.full((len(places), 1), self.target_vocabulary_[BOS]), padded[:, :-1]], 1)
            yield places, padded, *self.model_.decode(tensor(inputs).to(self.model_.device), state)

    def log_probability(self, X: Any, y: Any) -> npt.NDArray[np.float64]:
        """Natural logarithm of p(y | X) of each pair, of the target's end too: (n,)."""
        self._check_fitted()
        sources, targets, _ = self._pairs(X, y)
        result = np.zeros(len(sources))
        with no_grad():
            for places, padded, features, _ in self._taught(sources, targets):
                wanted = tensor(padded).to(features.device)
                nats = ops.softmax_cross_entropy(self.model_.logits(features), wanted, reduction="none").numpy()
                for place, row in zip(places.tolist(), nats.astype(np.float64)):
                    result[place] = -row[: len(targets[place]) + 1].sum()
        return result

    def attention_weights(self, X: Any, y: Any = None) -> list[Array]:
        """Where each step of the decoder looks: for each pair (t + 1, s), rows that sum to 1, the last one for the end.

        y: None: the predictions. ArgumentError where the net has no attention.
        """
        self._check_fitted()
        if self.attention is None:
            raise ArgumentError("Seq2Seq.attention_weights: expected a net with attention, got attention=None")
        sources = self._sources(X)
        targets = self._predicted_tokens(sources) if y is None else self._targets(y)[0]
        check_lengths(sources, targets)  # type: ignore[arg-type]
        result: list[Array] = [np.zeros((0, 0))] * len(sources)
        with no_grad():
            for places, _, _, weights in self._taught(sources, targets):
                assert weights is not None
                for place, row in zip(places.tolist(), weights.numpy()):
                    own = row[: len(targets[place]) + 1, : len(sources[place])]
                    result[place] = np.array(own[:, ::-1] if self.reverse else own)
        return result

    def _predicted_tokens(self, x: Any) -> list[list[str]]:
        found = self._search(x, int(self.beam), self.length_penalty)
        return [self.target_vocabulary_.decode(list(hypotheses[0].tokens)) for hypotheses in found]

    def score(self, X: Any, y: Any) -> float:
        """Share of sources whose prediction is the target, token for token."""
        sources, targets, _ = self._pairs(X, y)
        return float(np.mean([said == true for said, true in zip(self._predicted_tokens(sources), targets)]))

    def bleu(self, X: Any, y: Any) -> Bleu:
        """BLEU of the predictions, by tokens (`deepcore.sequence_metrics.bleu`)."""
        sources, targets, _ = self._pairs(X, y)
        return bleu([[true] for true in targets], self._predicted_tokens(sources))

    def summary(self) -> str:
        """The net and its number of parameters."""
        self._check_fitted()
        return f"{self.model_!r}\n{sum(p.size for p in self.model_.parameters()):,} parameters"

    def report(self, path: str | os.PathLike[str], X: Any, y: Any, *, title: str | None = None) -> None:
        """Write one self-contained HTML file about this model on test pairs: scores, learning curves, exact matches by
        length, maps of attention, worst mistakes and beams. Needs the viz extra."""
        from deepcore.viz.seq2seq import seq2seq_report

        self._check_fitted()
        seq2seq_report(self, path, X, y, title=title)

    # ---- files ----
    def _fitted_meta(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return {"source": self.source_vocabulary_.state_dict(), "target": self.target_vocabulary_.state_dict(),
                "text": self.text_, "longest": self.longest_}, {}  # fmt: skip

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.target_vocabulary_ = Vocabulary.from_state(meta["target"])
        self.source_vocabulary_ = self.target_vocabulary_ if self.shared else Vocabulary.from_state(meta["source"])
        self.text_, self.longest_ = bool(meta["text"]), int(meta["longest"])
        self._build(0)
        self.n_iter_ = len(self.history_)


__all__ = ["Seq2Seq"]
