"""The reports of a classifier of documents and of a tagger."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

import deepcore
from deepcore import metrics
from deepcore.viz.classes import worst_indices
from deepcore.viz.classifier import add_curves, class_scores, training_facts
from deepcore.viz.report import Report

if TYPE_CHECKING:
    from deepcore.estimators.documents import DocumentClassifier
    from deepcore.estimators.tagger import SequenceTagger

_SHOWN = 6  # documents of a kind with coloured words
_MISTAKES = 15
_SENTENCES = 12
_TAGS = 30  # in the confusion matrix


def document_report(
    classifier: DocumentClassifier, path: str | os.PathLike[str], x: Any, y: Any, *, title: str | None = None
) -> None:
    """Write the HTML page behind `DocumentClassifier.report`."""
    documents = list(x)
    names = [str(c) for c in classifier.classes_]
    truth = np.array([names.index(str(label)) for label in np.asarray(y).reshape(-1)], np.int64)
    p = classifier.predict_proba(documents)
    said = p.argmax(1)
    report = Report(
        title or "Document classifier",
        f"{len(names)} classes; {classifier.cell}, output {classifier.output}; deepcore {deepcore.__version__} on "
        f"{deepcore.isa()}",
    )  # fmt: skip
    read = classifier._tokens(documents)
    unknown = sum(sum(classifier.vocabulary_.unknown(tokens).values()) for tokens in read)
    total = sum(map(len, read))
    report.cards(
        {
            "Test accuracy": f"{100 * metrics.accuracy(truth, said):.2f} %",
            "Log loss": float(metrics.log_loss(truth, p)),
            "Calibration error": f"{100 * metrics.expected_calibration_error(truth, p):.1f} %",
            "Vocabulary": len(classifier.vocabulary_), "Unknown words": f"{100 * unknown / max(total, 1):.1f} %",
            **training_facts(classifier), "Test documents": len(documents),
        }
    )  # fmt: skip
    add_curves(report, classifier.history_)
    report.confusion(metrics.confusion_matrix(truth, said, len(names)), names)
    report.table(
        "Scores by class", class_scores(truth, said, names), ("class", "precision", "recall", "F1", "documents")
    )
    worst = worst_indices(truth, p, _SHOWN).tolist() if (said != truth).any() else []
    note = (
        "Orange words speak for the decision, blue ones against it: gradient times embedding, by the largest of each."
    )
    _coloured(report, "Worst mistakes", classifier, documents, worst, truth, p, names,
              note + " Look here for wrong labels.")  # fmt: skip
    right = np.flatnonzero(said == truth)
    sure = right[np.argsort(-p[right, truth[right]], kind="stable")]
    shown = [int(i) for k in range(len(names)) for i in sure[truth[sure] == k][: max(1, _SHOWN // len(names))]]
    _coloured(report, "Words behind decisions", classifier, documents, shown[: 2 * _SHOWN], truth, p, names, note)
    report.save(path)


def tagger_report(
    tagger: SequenceTagger, path: str | os.PathLike[str], x: Any, y: Any, *, title: str | None = None
) -> None:
    """Write the HTML page behind `SequenceTagger.report`."""
    sentences = tagger._sentences(x)
    truth = tagger._tag_lists(sentences, y)
    said = tagger.predict(sentences)
    scores = tagger.scores(sentences, truth)
    report = Report(
        title or "Sequence tagger",
        f"{len(tagger.tags_)} tags; {tagger.cell}; deepcore {deepcore.__version__} on {deepcore.isa()}",
    )
    report.cards(
        {
            "Accuracy": f"{100 * scores.accuracy:.2f} %", "Known words": f"{100 * scores.known:.2f} %",
            "Unknown words": f"{100 * scores.unknown:.2f} %" if scores.unknown_tokens else "none",
            "Vocabulary": len(tagger.vocabulary_), **training_facts(tagger), "Test tokens": scores.tokens,
        }
    )  # fmt: skip
    add_curves(report, tagger.history_)
    pairs = Counter((str(a), str(b)) for t, s in zip(truth, said) for a, b in zip(t, s))
    frequent = Counter(a for (a, _), n in pairs.items() for _ in range(n)).most_common()
    names = [a for a, _ in frequent[:_TAGS]]
    counts = np.array([[pairs[a, b] for b in names] for a in names], np.int64)
    report.confusion(counts, names, "Confusion of the most frequent tags")
    wrong = Counter({pair: n for pair, n in pairs.items() if pair[0] != pair[1]}).most_common(_MISTAKES)
    examples = {}
    for tokens, t, s in zip(sentences, truth, said):
        for i, (a, b) in enumerate(zip(t, s)):
            if a != b and (str(a), str(b)) not in examples:
                around = [*tokens[max(i - 3, 0) : i], f"[{tokens[i]}]", *tokens[i + 1 : i + 4]]
                examples[str(a), str(b)] = " ".join(around)
    if wrong:
        report.table(
            "Most frequent mistakes", [[a, b, n, examples[a, b]] for (a, b), n in wrong],
            ("true", "predicted", "tokens", "for example"),
        )  # fmt: skip
    order = sorted(range(len(sentences)), key=lambda i: -sum(a != b for a, b in zip(truth[i], said[i])))
    rows = []
    for i in order[:_SENTENCES]:
        missed = sum(a != b for a, b in zip(truth[i], said[i]))
        words = [
            (f"{w}/{b}" if a == b else f"{w}/{b} not {a}", 0.0 if a == b else 1.0)
            for w, a, b in zip(sentences[i], truth[i], said[i])
        ]
        rows.append((f"{missed} of {len(words)} tags wrong", words))
    report.words("Sentences with most mistakes", rows, "Word/predicted tag; orange where the true tag is another.")
    report.save(path)


def _coloured(
    report: Report, title: str, classifier: DocumentClassifier, documents: list[Any], chosen: list[int], truth: Any,
    p: Any, names: list[str], note: str,
) -> None:  # fmt: skip
    """Documents with their words coloured by what they speak for."""
    rows = []
    influence = classifier.influence([documents[i] for i in chosen]) if chosen else []
    for i, words in zip(chosen, influence):
        k = int(p[i].argmax())
        verdict = f"{names[k]} ({100 * p[i, k]:.0f} %)"
        rows.append((verdict if k == truth[i] else f"{verdict}, labelled {names[truth[i]]}", words))
    if rows:
        report.words(title, rows, note)
    else:
        report.text(title, "None.")
