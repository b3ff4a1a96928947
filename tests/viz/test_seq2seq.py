"""Figures and the report of Seq2Seq."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore import Seq2Seq, data, viz
from deepcore.errors import DataError, ShapeError

pytest.importorskip("matplotlib")


def test_maps_of_attention() -> None:
    weights = [np.eye(3)[:2], np.full((1, 4), 0.25)]
    figure = viz.attention_maps(weights, ["abc", ["to", "be", "or", "not"]], ["xy", "z"], columns=2)
    first, second = figure.axes
    assert [t.get_text() for t in first.get_xticklabels()] == ["a", "b", "c"]
    assert [t.get_text() for t in first.get_yticklabels()] == ["x", "y"]
    np.testing.assert_array_equal(first.images[0].get_array(), weights[0])
    assert second.get_xticklabels()[1].get_rotation() == 90
    with pytest.raises(ShapeError, match=r"expected weights \(2, 3\), got \(3, 3\) at 0"):
        viz.attention_maps([np.eye(3)], ["abc"], ["xy"])
    with pytest.raises(DataError, match="rows that sum to 1, got others at 0"):
        viz.attention_maps([np.eye(3)[:2] * 2], ["abc"], ["xy"])
    with pytest.raises(DataError, match="for each pair, got 0 for 0 sources"):
        viz.attention_maps([], [], [])


def test_matches_by_length() -> None:
    axes = viz.matches_by_length([1, 1, 3], [True, False, True]).axes[0]
    assert [b.get_height() for b in axes.patches] == [50, 100]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "3"]
    assert [t.get_text() for t in axes.texts] == ["2", "1"]
    axes = viz.matches_by_length(np.arange(1, 26), np.ones(25, bool)).axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()][::8] == ["1–3", "25"]
    axes = viz.matches_by_length([1, 2, 2], {"a": [True, True, False], "b": [False, True, True]}).axes[0]
    assert [b.get_height() for b in axes.patches] == [100, 50, 0, 100]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["a", "b"]
    with pytest.raises(ShapeError, match=r"got \(2,\) and \(1,\)"):
        viz.matches_by_length([1, 2], [True])


@pytest.mark.parametrize(("options", "there", "missing"), [
    ({}, ["general attention", "greedy search", "Worst mistakes", "log p of the target"], []),
    ({"attention": None, "beam": 3, "level": "word", "target_level": "char"}, ["no attention", "beam of 3"],
     ["<h2>Attention"]),
])  # fmt: skip
def test_report(options: dict[str, Any], there: list[str], missing: list[str], tmp_path: Path) -> None:
    x, y = data.dates(120, seed=0)
    model = Seq2Seq(**{"hidden": 16, "embedding": 8, "epochs": 2, "random_state": 0, **options}).fit(x, y)
    model.report(tmp_path / "r.html", x[:30], y[:30], title="Dates & days")
    page = (tmp_path / "r.html").read_text()
    for text in ("<h1>Dates &amp; days</h1>", "Learning curves", "Exact matches by length", "BLEU-4", "Beams", *there):
        assert text in page, text
    assert not [text for text in missing if text in page]
    if model.attention:
        assert "<h2>Attention" in page and "the last 3 predictions are wrong" in page.lower()
    assert "http:" not in page.replace("http://www.w3.org", "")


def test_report_without_mistakes(tmp_path: Path) -> None:
    x = ["a", "b"] * 40
    model = Seq2Seq(hidden=16, embedding=8, epochs=12, learning_rate=0.03, batch_size=16, random_state=0).fit(x, x)
    model.report(tmp_path / "r.html", x[:20], x[:20])
    page = (tmp_path / "r.html").read_text()
    assert "100.00 %" in page and "<p>None.</p>" in page and "wrong" not in page
