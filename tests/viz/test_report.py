from __future__ import annotations

import html.parser
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from deepcore.errors import ArgumentError
from deepcore.viz import Report, histogram


class Page(html.parser.HTMLParser):
    """Reads a page; what is opened must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name in ("href", "src", "xlink:href"):
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def report() -> Report:
    rng = np.random.default_rng(0)
    y = np.arange(30) % 3
    p = rng.dirichlet(np.ones(3), 30)
    return (
        Report("A <b>title</b>", "under & over")
        .cards({"Accuracy": "98.9 %", "Parameters": 61706, "Loss": 0.04321987})
        .learning_curves({"loss": [2.0, 1.0], "val_loss": [2.0, 1.5], "lr": [0.1, 0.1]})
        .confusion([[3, 1], [0, 4]], ["<x>", "y"])
        .table("Layers", [["conv", 12, 0.5], ["dense", 3456, 1.0]], ["layer", "parameters", "share"])
        .filters(rng.normal(size=(8, 3, 3, 1)))
        .feature_maps(rng.normal(size=(6, 6, 8)))
        .heatmaps(rng.random((3, 8, 8)), rng.random((3, 4, 4)))
        .worst_mistakes(rng.random((30, 8, 8)), y, p)
        .figure("Weights", histogram([1.0, 2.0]))
        .text("Notes", "one\n\ntwo")
    )


def test_page_is_whole_and_self_contained(report: Report) -> None:
    text = report.html()
    page = Page(text)
    assert len(page.ids) == len(set(page.ids)) > 50
    for link in page.links:
        assert link.startswith("data:image/png;base64,") or link[1:] in page.ids, link
    for reference in re.findall(r"url\(#([^)]*)\)", text):
        assert reference in page.ids
    assert "@import" not in text and "<script" not in text and "<link" not in text
    assert "default-src 'none'" in text


def test_text_is_shown_as_it_is(report: Report) -> None:
    page = Page(report.html())
    for wanted in ("A <b>title</b>", "under & over", "98.9 %", "61,706", "0.04322", "3,456", "Worst mistakes", "two"):
        assert wanted in page.text


def test_figures_follow_the_mode_of_the_reader(report: Report) -> None:
    text = report.html()
    figures = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert "currentColor" in figures and "var(--grid)" in figures and "#1f2937" not in figures
    assert "prefers-color-scheme: dark" in text


def test_save(report: Report, tmp_path: Path) -> None:
    report.save(tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text("utf-8") == report.html()
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_empty_report() -> None:
    assert "<nav>" not in Report("x").html()


def test_uneven_table() -> None:
    with pytest.raises(ArgumentError, match="expected 2 cells"):
        Report("x").table("t", [[1]], ["a", "b"])
    Page(Report("x").table("t", [[1, "b"]]).html())
