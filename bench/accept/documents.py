"""Recurrent nets that read text: reviews, sentences, words with their tags; a run touches its test set once, last.

Hyper-parameters were chosen on two blocks of a fifth of the training reviews (reviews of a film stand together: a
random part would share its films), on the official dev part of SST, and on the last 40 of the treebank's training
files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.accept import Context, Result, corpora, figure
from deepcore.estimators import DocumentClassifier, SequenceTagger

_TEST_FILES = 20  # of the treebank
_MEMBERS = 8  # nets whose probabilities of tags are averaged
_NEUTRAL = 2

Sentences = tuple[list[list[str]], list[list[str]]]
Phrases = tuple[list[list[str]], corpora.Array]


def reviews(texts: Sequence[str]) -> list[str]:
    """Reviews with spaces in place of marks of line ends."""
    return [text.replace("<br />", " ") for text in texts]


def phrases(trees: Sequence[corpora.Tree], *, sentences: bool) -> Phrases:
    """Tokens and polarity, 0 or 1, of all that is not neutral: sentences, or every node once (Socher et al., 2013)."""
    found: dict[tuple[str, ...], int] = {}
    words: list[list[str]] = []
    labels: list[int] = []
    for tree in trees:
        for node in [tree] if sentences else tree.nodes():
            tokens = tuple(node.tokens())
            if int(node.label) != _NEUTRAL and (sentences or tokens not in found):
                found[tokens] = int(int(node.label) > _NEUTRAL)
                words.append(list(tokens))
                labels.append(found[tokens])
    return words, np.array(labels, np.int64)


def tagged(files: Sequence[Sequence[corpora.Tree]]) -> Sentences:
    """Words and part-of-speech tags of sentences; traces and other empty elements (-NONE-) are left out."""
    words: list[list[str]] = []
    tags: list[list[str]] = []
    for trees in files:
        for tree in trees:
            leaves = [n for n in tree.nodes() if n.token is not None and n.label != "-NONE-"]
            if leaves:
                words.append([str(n.token) for n in leaves])
                tags.append([n.label for n in leaves])
    return words, tags


def _tf_idf(train: tuple[Any, Any], test: tuple[Any, Any]) -> float | None:
    """Accuracy of logistic regression on tf-idf of words and pairs of words; None without scikit-learn."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        return None
    vectors = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = LogisticRegression(C=10.0, max_iter=1000).fit(vectors.fit_transform(train[0]), train[1])
    return float(model.score(vectors.transform(test[0]), test[1]))


@figure("documents-imdb", metric="test accuracy", target=0.84, better="high", seconds=360)
def documents_imdb(context: Context) -> Result:
    """A bidirectional LSTM of 64 units over both ends of each review, by the mean of its outputs."""
    train, test = corpora.load_imdb(context.folder("imdb_subset"))
    texts, test_texts = reviews(train.texts), reviews(test.texts)
    model = DocumentClassifier(
        output="mean", min_count=5, max_size=8000, embedding_dropout=0.5, dropout=0.5, word_dropout=0.4,
        schedule="one-cycle", learning_rate=4e-3, epochs=5, random_state=context.seed, verbose=True,
        device=context.device,
    )  # fmt: skip
    with context.timer:
        model.fit(texts, train.labels)
    accuracy = model.score(test_texts, test.labels)
    also = {"epochs": len(model.history_), "train_loss": model.history_[-1]["loss"],
            "vocabulary": len(model.vocabulary_),
            "logistic_regression_tf_idf": _tf_idf((texts, train.labels), (test_texts, test.labels))}  # fmt: skip
    return accuracy, also


@figure("documents-sst", metric="test accuracy", target=0.79, better="high", seconds=360)
def documents_sst(context: Context) -> Result:
    """SST-2: a bidirectional LSTM by its last states, on the phrases of the training trees, without outside vectors."""
    train, _, test = corpora.load_sst(context.folder("sst"))
    words, labels = phrases(train, sentences=False)
    test_words, truth = phrases(test, sentences=True)
    model = DocumentClassifier(
        output="last", min_count=1, embedding_dropout=0.5, dropout=0.5, word_dropout=0.1, schedule="cosine",
        learning_rate=2e-3, batch_size=64, epochs=3, random_state=context.seed, verbose=True, device=context.device,
    )  # fmt: skip
    with context.timer:
        model.fit(words, labels)
    also = {"phrases": len(words), "sentences": len(test_words), "epochs": len(model.history_),
            "train_loss": model.history_[-1]["loss"]}  # fmt: skip
    return model.score(test_words, truth), also


@figure("tagger-treebank", metric="test accuracy of tags", target=0.968, better="high", seconds=240)
def tagger_treebank(context: Context) -> Result:
    """The mean of bidirectional LSTMs of 96 units on the Penn Treebank sample, whose last 20 files are the test."""
    files = corpora.load_treebank(context.folder("treebank"))
    names = sorted(files)
    words, tags = tagged([files[n] for n in names[:-_TEST_FILES]])
    test_words, truth = tagged([files[n] for n in names[-_TEST_FILES:]])
    members = [
        SequenceTagger(
            hidden=96, embedding_dropout=0.4, dropout=0.5, schedule="cosine", learning_rate=5e-3, ema=0.998,
            batch_size=8, epochs=8, random_state=context.seed * _MEMBERS + i, verbose=True, device=context.device,
        )
        for i in range(_MEMBERS)
    ]  # fmt: skip
    with context.timer:
        for member in members:
            member.fit(words, tags)
    first = members[0]
    given = [sum(p) for p in zip(*(m.predict_proba(test_words) for m in members), strict=True)]
    found = [first.tags_[p.argmax(1)].tolist() for p in given]
    right = np.array([a == b for own, true in zip(found, truth) for a, b in zip(own, true, strict=True)])
    known = np.array([w.lower() in first.vocabulary_ for sentence in test_words for w in sentence])
    also = {
        "known_words": float(right[known].mean()), "unknown_words": float(right[~known].mean()),
        "unknown": int((~known).sum()), "tokens": len(right), "sentences": len(words), "nets": _MEMBERS,
        "one_net": first.score(test_words, truth), "epochs": len(first.history_),
    }  # fmt: skip
    return float(right.mean()), also
