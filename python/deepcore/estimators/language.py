"""LanguageModel: recurrent models of characters or words, with scikit-learn's conventions."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import optim, random, train
from deepcore.autograd import no_grad
from deepcore.data import StreamLoader, Vocabulary, batchify
from deepcore.data.text import EOS, UNK
from deepcore.device import resolve_device
from deepcore.errors import ArgumentError, DataError, counted
from deepcore.estimators.sampling import draw
from deepcore.estimators.supervised import SupervisedEstimator, make_schedule
from deepcore.estimators.text_base import LEVELS, cutter, joiner
from deepcore.models import LanguageNet
from deepcore.nn.rnn import RecurrentState
from deepcore.optim import ASGD
from deepcore.sequence_metrics import perplexity
from deepcore.tensor import tensor

Array = npt.NDArray[Any]
Texts = str | Sequence[str]

OPTIMIZERS: dict[str, Any] = {**optim.OPTIMIZERS, "asgd": ASGD}

_EVALUATED = 256  # tokens of one inference call


class LanguageModel(SupervisedEstimator):
    """A model of the next character or word: an embedding, stacked recurrent layers and a softmax over the vocabulary
    (Mikolov et al., 2010), trained by truncated backpropagation through time (Williams and Peng, 1990).

    A text is cut into `batch_size` streams that are read side by side, `window` tokens a step; the state of the
    recurrent layers goes on from window to window. Each text of a list ends with the token '<eos>'.

    Args:
        level: 'char', 'word' (words and marks, see `deepcore.data.Tokenizer`) or 'space' (whatever white space parts,
            for texts that are cut into tokens already).
        lower: change texts to lower case.
        min_count, max_size: rarer tokens, and those beyond so many, become '<unk>'. Without either, tokens outside the
            vocabulary are refused, unless the training text has '<unk>' itself.
        cell, hidden, layers, embedding, tied, cutoffs, tail_factor, input_dropout, dropout, weight_drop: of the net,
            see `deepcore.models.LanguageNet`.
        recurrent: dict of further options of the recurrent layers (`deepcore.nn.Recurrent`): gate_init, slope, ...
        window: tokens through which gradients go back.
        batch_size: number of streams.
        epochs: passes over the text.
        optimizer: 'adam', 'sgd' (Nesterov momentum 0.9), 'adamw', ..., or 'asgd', which averages its weights from the
            first setback of the validation on (NT-ASGD, Merity et al., 2018).
        learning_rate, weight_decay, clip_norm, schedule, ema, max_seconds, random_state, verbose, device: as in
            `MLPClassifier`.
        validation_fraction: share of the tokens at the end that is held out for val_loss in `history_`.
        early_stopping, patience: stop when val_loss does not improve and restore the best weights.

    Attributes:
        vocabulary_: the tokens (`deepcore.data.Vocabulary`). model_: the net. history_: one dict per epoch, losses in
        nats per token. n_iter_: epochs done.
    """

    _kind = "language model"

    def __init__(
        self, level: str = "char", *, lower: bool = False, min_count: int = 1, max_size: int | None = None,
        cell: str = "lstm", hidden: int = 256, layers: int = 2, embedding: int | None = None, tied: bool = False,
        cutoffs: Sequence[int] = (), tail_factor: float | None = None, input_dropout: float = 0.0,
        dropout: float = 0.0, weight_drop: float = 0.0, recurrent: Mapping[str, Any] | None = None, window: int = 64,
        batch_size: int = 32, epochs: int = 10, optimizer: str = "adam", learning_rate: float = 3e-3,
        weight_decay: float = 0.0, clip_norm: float | None = 1.0, schedule: Any = "one-cycle",
        ema: float | None = None, validation_fraction: float = 0.05, early_stopping: bool = False, patience: int = 3,
        max_seconds: float | None = None, random_state: int | None = None, verbose: bool = False,
        device: str = "auto",
    ) -> None:  # fmt: skip
        self.level = level
        self.lower = lower
        self.min_count = min_count
        self.max_size = max_size
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.embedding = embedding
        self.tied = tied
        self.cutoffs = cutoffs
        self.tail_factor = tail_factor
        self.input_dropout = input_dropout
        self.dropout = dropout
        self.weight_drop = weight_drop
        self.recurrent = recurrent
        self.window = window
        self.batch_size = batch_size
        self.epochs = epochs
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.schedule = schedule
        self.ema = ema
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.patience = patience
        self.max_seconds = max_seconds
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    model_: LanguageNet
    vocabulary_: Vocabulary
    _optimizers = OPTIMIZERS

    def __sklearn_tags__(self) -> Any:
        """Facts for scikit-learn (only called by it)."""
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(estimator_type=None, target_tags=TargetTags(required=False),
                    input_tags=InputTags(string=True, two_d_array=False))  # fmt: skip

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.level not in LEVELS:
            raise ArgumentError(f"LanguageModel: expected level in {LEVELS}, got {self.level!r}")
        if not isinstance(self.window, (int, np.integer)) or self.window < 1:
            raise ArgumentError(f"LanguageModel: expected window >= 1, got {self.window!r}")

    def _task(self) -> train.NextToken:
        return train.NextToken()

    def _explosion(self) -> train.ExplodingLoss:
        return train.ExplodingLoss(len(self.vocabulary_), type(self).__name__, "token")

    # ---- text ----
    def tokens(self, text: Texts) -> list[str]:
        """The tokens of a text, or of the texts of a list with '<eos>' after each. DataError if there is none."""
        single = isinstance(text, str)
        cut = cutter(self.level)
        found: list[str] = []
        for i, part in enumerate([text] if single else text):
            if not isinstance(part, str):
                raise DataError(f"LanguageModel: expected texts, got {type(part).__name__} at {i}")
            found += cut(part.lower() if self.lower else part)
            if not single:
                found.append(EOS)
        if not found:
            raise DataError("LanguageModel: expected a text, got an empty one")
        return found

    def _text(self, tokens: Sequence[str]) -> str:
        lines: list[list[str]] = [[]]
        for token in tokens:
            if token == EOS:
                lines.append([])
            else:
                lines[-1].append(token)
        return "\n".join(map(joiner(self.level), lines))

    def _ids(self, text: Texts, least: int = 2) -> Array:
        return self._encoded(self.tokens(text), least)

    def _encoded(self, tokens: Sequence[str], least: int = 2) -> Array:
        ids = self.vocabulary_.encode(tokens)
        if len(ids) < least:
            raise DataError(f"LanguageModel: expected at least {least} tokens, got {len(ids)}")
        return ids

    # ---- training ----
    def _build(self, tokens: Sequence[str], vocabulary: Vocabulary | None, seed: int) -> None:
        unknown = self.min_count > 1 or self.max_size is not None or UNK in tokens
        self.vocabulary_ = vocabulary or Vocabulary(
            tokens, min_count=self.min_count, max_size=self.max_size,
            specials=[s for s, there in ((UNK, unknown), (EOS, EOS in tokens)) if there],
        )  # fmt: skip
        self._make_net(seed)

    def _make_net(self, seed: int) -> None:
        self.model_ = LanguageNet(
            len(self.vocabulary_), embedding=self.embedding, hidden=self.hidden, layers=self.layers, cell=self.cell,
            tied=self.tied, cutoffs=tuple(self.cutoffs), tail_factor=self.tail_factor,
            input_dropout=self.input_dropout, dropout=self.dropout, weight_drop=self.weight_drop, seed=seed,
            **dict(self.recurrent or {}),
        )  # fmt: skip
        self.model_.to(resolve_device(self.device))

    def _loader(self, ids: Array) -> StreamLoader:
        streams = max(1, min(int(self.batch_size), len(ids) // 2))
        return StreamLoader(batchify(ids, streams), int(self.window), batch_first=False)

    def fit(
        self, X: Texts, y: Any = None, *, validation: Texts | None = None,
        checkpoint: str | os.PathLike[str] | None = None, checkpoint_every: int | None = None, resume: bool = False,
    ) -> LanguageModel:  # fmt: skip
        """Learn from a text or a list of texts.

        Args:
            X: what to learn.
            y: not used.
            validation: what val_loss is measured on, in place of a share of X.
            checkpoint: file written after each epoch, at the end and on Ctrl-C, recurrent state included.
            checkpoint_every: also write it every so many windows.
            resume: go on from `checkpoint` if it exists, bit for bit.

        Raises:
            DataError: the text is empty, or the validation has a token outside the vocabulary.
            NumericalError: the loss has exploded; names the step.
        """
        self._check_parameters()
        tokens = self.tokens(X)
        seed = self._seed()
        self.__dict__.pop("trainer_", None)
        self._build(tokens, None, seed)
        ids = self._encoded(tokens)
        held: Array | None = None
        if validation is not None:
            held = self._ids(validation)
        elif self.validation_fraction > 0 and len(ids) >= 20:
            kept = len(ids) - max(2, int(len(ids) * self.validation_fraction))
            ids, held = ids[:kept], ids[kept:]
        task = self._task()
        callbacks: list[train.Callback] = [task, self._explosion()]
        if self.early_stopping:
            if held is None:
                raise ArgumentError("LanguageModel: early_stopping needs validation data (validation_fraction > 0)")
            callbacks.append(train.EarlyStopping(patience=self.patience))
        loader = self._loader(ids)
        self.trainer_ = train.Trainer(
            self.model_, self._make_optimizer(), task, callbacks=callbacks, ema=self.ema,
            schedule=make_schedule(self.schedule, len(loader) * int(self.epochs)),
            progress="auto" if self.verbose else "off",
        )  # fmt: skip
        self.history_ = self.trainer_.history
        self.trainer_.fit(
            loader, None if held is None else self._loader(held), epochs=int(self.epochs),
            max_seconds=self.max_seconds, checkpoint=checkpoint, checkpoint_every=checkpoint_every, resume=resume,
        )  # fmt: skip
        self._finish()
        return self

    def partial_fit(self, X: Texts, y: Any = None, *, vocabulary: Vocabulary | None = None) -> LanguageModel:
        """One pass over X with the optimizer of earlier calls; the learning rate stays constant.

        vocabulary: for the first call; None: the tokens of its X. Later calls may not bring other tokens.
        """
        self._check_parameters()
        tokens = self.tokens(X)
        if not hasattr(self, "model_"):
            self._build(tokens, vocabulary, self._seed())
        loader = self._loader(self._encoded(tokens))
        if not hasattr(self, "trainer_"):
            task = self._task()
            self.trainer_ = train.Trainer(self.model_, self._make_optimizer(), task, progress="off",
                                          callbacks=[task, self._explosion()])  # fmt: skip
        trainer = self.trainer_
        trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, train.EarlyStopping)]
        trainer.samples, trainer.schedule, trainer.optimizer.lr_factor = 0, None, 1.0
        trainer.fit(loader, epochs=1)
        self._finish()
        return self

    def _finish(self) -> None:
        self.history_ = self.trainer_.history
        self.n_iter_ = len(self.history_)
        self.model_.eval()

    # ---- measuring ----
    def log_probs(self, text: Texts) -> npt.NDArray[np.float64]:
        """log p of each token given those before, (n - 1,) for n tokens: the first one is given.

        DataError for a text of fewer than two tokens and for tokens outside the vocabulary.
        """
        self._check_fitted()
        ids = self._ids(text)
        self.model_.eval()
        device, state, parts = self.model_.device, None, []
        with no_grad():
            for i in range(0, len(ids) - 1, _EVALUATED):
                window = ids[i : i + _EVALUATED + 1].reshape(-1, 1)
                x, y = (tensor(np.ascontiguousarray(part)).to(device) for part in (window[:-1], window[1:]))
                nats, state = self.model_.nats(x, y, state)
                parts.append(-nats[:, 0].astype(np.float64))
        return np.concatenate(parts)

    def perplexity(self, text: Texts) -> float:
        """exp of the mean of -log p over the tokens of a text."""
        return perplexity(self.log_probs(text))

    def score(self, X: Texts, y: Any = None) -> float:
        """Mean log p of a token: minus the nats per token, the larger the better."""
        return float(self.log_probs(X).mean())

    # ---- sampling ----
    def generate(
        self, n: int, prime: str = "", *, temperature: float = 1.0, top_k: int | None = None,
        top_p: float | None = None, seed: int = 0,
    ) -> str:  # fmt: skip
        """A text that begins with `prime` and goes on for n tokens, drawn one after the other.

        Token i is a function of (seed, i) and what is before it: longer texts begin like shorter ones.

        Args:
            n: how many tokens to draw.
            prime: how the text begins; '': as after an end of a text ('<eos>'), or with a token drawn by its frequency
                where the vocabulary has no such end.
            temperature: divides log p before it is normalised again; 0 takes the most probable token each time.
            top_k: draw among the k most probable tokens only.
            top_p: draw among the fewest tokens that have this probability together (Holtzman et al., 2020).
            seed: of the numbers drawn.

        Raises:
            DataError: a token of `prime` is outside the vocabulary.
            ArgumentError: an option is out of range.
        """
        self._check_fitted()
        size, words = len(self.vocabulary_), self.vocabulary_
        if n < 0 or not 0 <= temperature < math.inf:
            raise ArgumentError(f"LanguageModel.generate: expected n, temperature >= 0, got {n}, {temperature}")
        if top_k is not None and not 1 <= top_k <= size:
            raise ArgumentError(
                f"LanguageModel.generate: expected top_k from 1 to the {counted(size, 'token')} of the vocabulary, "
                f"got {top_k}"
            )
        if top_p is not None and not 0 < top_p <= 1:
            raise ArgumentError(f"LanguageModel.generate: expected top_p in (0, 1], got {top_p}")
        given = [int(i) for i in self._ids(prime, 1)] if prime else []
        drawn: list[int] = []
        chances = random.uniform(max(n, 1), dtype="float64", seed=seed).numpy()
        self.model_.eval()
        device = self.model_.device
        state: RecurrentState | None = None
        logs = np.log(np.maximum(np.asarray(words.counts, np.float64), 1e-300))
        with no_grad():
            read = given or ([words[EOS]] if EOS in words else [])
            while True:
                for token in read:
                    rows, state = self.model_.step(tensor(np.array([token])).to(device), state)
                if read:
                    logs = rows.numpy()[0].astype(np.float64)
                if len(drawn) == n:
                    break
                read = [draw(logs, float(chances[len(drawn)]), temperature, top_k, top_p)]
                drawn += read
        return self._text(words.decode(given + drawn))

    def summary(self) -> str:
        """The net and its number of parameters."""
        self._check_fitted()
        return f"{self.model_!r}\n{sum(p.size for p in self.model_.parameters()):,} parameters"

    def report(self, path: str | os.PathLike[str], X: Texts, y: Any = None, *, title: str | None = None) -> None:
        """Write one self-contained HTML file about this model on a test text: learning curves, generated text, the text
        coloured by what surprised the model, gates and how long they remember. Needs the viz extra."""
        from deepcore.viz.language import language_report

        self._check_fitted()
        language_report(self, path, X, title=title)

    # ---- files ----
    def _fitted_meta(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return {"vocabulary": self.vocabulary_.state_dict()}, {}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.vocabulary_ = Vocabulary.from_state(meta["vocabulary"])
        self._make_net(0)
        self.n_iter_ = len(self.history_)
