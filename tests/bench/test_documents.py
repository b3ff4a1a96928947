"""What the figures of text make of trees and reviews."""

from __future__ import annotations

from bench.accept import documents
from bench.accept.corpora import read_trees


def test_phrases_without_the_neutral() -> None:
    trees = list(read_trees("(3 (2 a) (4 (2 very) (3 fine)))\n(1 (2 a) (1 (0 bad) (2 a)))\n(2 (3 fine) (2 a))", "here"))
    words, labels = documents.phrases(trees, sentences=False)
    assert [" ".join(w) for w in words] == ["a very fine", "very fine", "fine", "a bad a", "bad a", "bad"]
    assert labels.tolist() == [1, 1, 1, 0, 0, 0]
    words, labels = documents.phrases([*trees, trees[0]], sentences=True)
    assert [" ".join(w) for w in words] == ["a very fine", "a bad a", "a very fine"] and labels.tolist() == [1, 0, 1]


def test_tags_without_traces() -> None:
    trees = list(read_trees("(S (NP (DT the) (NN dog)) (VP (VBZ barks) (NP (-NONE- *T*))))\n(S (-NONE- *))", "here"))
    assert documents.tagged([trees]) == ([["the", "dog", "barks"]], [["DT", "NN", "VBZ"]])


def test_reviews_without_marks_of_lines() -> None:
    assert documents.reviews(["one<br /><br />two"]) == ["one  two"]
