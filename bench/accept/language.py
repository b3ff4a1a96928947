"""Language models of characters (tiny Shakespeare) and words (Penn Treebank), the test text read once at the end.

Hyper-parameters were chosen on the validation part: the last twentieth of the training text of the characters, the
official one of the words. The character model then learns from the whole training text. A limit of time that cuts the
last steps comes where the learning rate is near 0.
"""

from __future__ import annotations

import math
from typing import Any

from bench.accept import Context, Result, figure
from bench.accept.corpora import EOS, load_ptb, load_tinyshakespeare
from deepcore.estimators import LanguageModel


def sentences(words: list[str]) -> list[str]:
    """Lines of words as `LanguageModel(level="space")` reads them, from words with <eos> after each sentence."""
    return [line.strip() for line in " ".join(words).split(EOS)[:-1]]


def _course(model: LanguageModel) -> dict[str, Any]:
    """How far training came: a time limit may end it within an epoch."""
    last = model.history_[-1] if model.history_ else {}
    return {"epochs": len(model.history_), "train_loss": last.get("loss"), "stopped": model.trainer_.stop_reason}


@figure("lm-char", metric="nats per character", target=1.45, better="low", seconds=300)
def lm_char(context: Context) -> Result:
    """LSTM 2 x 256 on tiny Shakespeare; the last tenth is the test text."""
    text, test = load_tinyshakespeare(context.folder("tinyshakespeare"))
    model = LanguageModel(
        "char", embedding=64, hidden=256, layers=2, dropout=0.1, window=64, batch_size=32, epochs=9,
        learning_rate=4e-3, schedule="one-cycle", ema=0.99, validation_fraction=0.0, max_seconds=292,
        random_state=context.seed, verbose=True, device=context.device,
    )  # fmt: skip
    with context.timer:
        model.fit(text)
    nats = -model.score(test)
    return nats, {"bits_per_character": nats / math.log(2), **_course(model)}


@figure("lm-word", metric="test perplexity", target=108, better="low", seconds=720)
def lm_word(context: Context) -> Result:
    """LSTM 2 x 256 on the Penn Treebank, input and output tied, adaptive softmax, dropped weights, averaged weights."""
    train, valid, test = load_ptb(context.folder("ptb"))
    model = LanguageModel(
        "space", hidden=256, layers=2, tied=True, cutoffs=(1000, 4000), input_dropout=0.35, dropout=0.3,
        weight_drop=0.2, window=35, batch_size=20, epochs=12, learning_rate=3e-3, schedule="one-cycle", ema=0.998,
        validation_fraction=0.0, max_seconds=705, random_state=context.seed, verbose=True, device=context.device,
    )  # fmt: skip
    with context.timer:
        model.fit(sentences(train))
    validation = model.perplexity(sentences(valid))
    return model.perplexity(sentences(test)), {"validation": validation, **_course(model)}
