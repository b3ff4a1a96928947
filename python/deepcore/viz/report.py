"""A report as one HTML file that needs nothing else: styles, figures and pictures lie inside it."""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepcore.errors import ArgumentError
from deepcore.files import atomic_write
from deepcore.viz import classes, curves, images
from deepcore.viz.style import GRID, INK, MUTED, to_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Value = str | int | float


class Exhibit(NamedTuple):
    """One entry of a gallery: pictures uint8 (h, w[, 1 or 3]) by their names, and lines of (name, text)."""

    pictures: Mapping[str, NDArray[Any]]
    lines: Sequence[tuple[str, str]]


class Report:
    """Collects sections in the order of the calls; `save` writes them. Each method returns the report.

    >>> report = Report("Digits", "LeNet-5 on the packaged digits")
    >>> _ = report.cards({"Test accuracy": "98.9 %", "Parameters": 61_706})
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title = title
        self.subtitle = subtitle
        self._cards: list[str] = []
        self._sections: list[tuple[str, str]] = []  # title, HTML
        self._figures = 0

    def cards(self, values: Mapping[str, Value]) -> Report:
        """Large figures at the top: name -> value."""
        self._cards += [
            f'<div class="card"><span class="name">{_text(name)}</span>'
            f'<span class="value{" long" if len(_shown(value)) > 10 else ""}">{_text(_shown(value))}</span></div>'
            for name, value in values.items()
        ]
        return self

    def table(self, title: str, rows: Sequence[Sequence[Value]], header: Sequence[str] = (), note: str = "") -> Report:
        """A table; all rows have the length of the header, if there is one."""
        width = len(header) if header else len(rows[0]) if rows else 0
        if any(len(row) != width for row in rows):
            raise ArgumentError(f"Report.table: expected {width} cells in every row, got {sorted(set(map(len, rows)))}")
        numeric = [bool(rows) and not any(isinstance(row[i], str) for row in rows) for i in range(width)]
        head = "".join(f"<th{_kind(n)}>{_text(name)}</th>" for name, n in zip(header, numeric, strict=False))
        body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
        table = f"<table>{f'<thead><tr>{head}</tr></thead>' if header else ''}<tbody>{body}</tbody></table>"
        return self._add(title, f'<div class="scroll">{table}</div>', note)

    def text(self, title: str, text: str) -> Report:
        """Paragraphs, parted by empty lines."""
        return self._add(title, "".join(f"<p>{_text(part)}</p>" for part in text.split("\n\n")), "")

    def texts(self, title: str, texts: Mapping[str, str], note: str = "") -> Report:
        """Texts as they are, spaces and ends of lines too, each below its name."""
        body = "".join(f"<div><h3>{_text(name)}</h3><pre>{_text(text)}</pre></div>" for name, text in texts.items())
        return self._add(title, f'<div class="texts">{body}</div>', note)

    def coloured_text(
        self, title: str, tokens: Sequence[str], values: ArrayLike, *, most: float | None = None, note: str = ""
    ) -> Report:
        """A text whose tokens are the more strongly coloured the larger their values (n,), 0..`most` (the largest).

        The value of a token shows under the pointer. ArgumentError unless each token has one finite value >= 0.
        """
        numbers = np.asarray(values, np.float64)
        if numbers.shape != (len(tokens),) or not np.isfinite(numbers).all() or (numbers < 0).any():
            raise ArgumentError(f"Report.coloured_text: expected {len(tokens)} finite values >= 0, one for each token")
        top = most or max(float(numbers.max(initial=0.0)), 1e-9)
        body = "".join(
            f'<span title="{value:.2f}" style="--heat:{min(value / top, 1.0):.2f}">{_text(token)}</span>'
            for token, value in zip(tokens, numbers, strict=True)
        )
        return self._add(title, f'<pre class="heat">{body}</pre>', note)

    def figure(self, title: str, figure: Figure, note: str = "") -> Report:
        """A figure of matplotlib, drawn into the page; its ink follows the light or dark mode of the reader."""
        return self._add(title, self._drawn(figure, title), note)

    def learning_curves(self, history: curves.History, title: str = "Learning curves") -> Report:
        """See `viz.learning_curves`."""
        panels = "".join(self._drawn(panel, title) for panel in curves.learning_curve_panels(history))
        names = history if isinstance(history, Mapping) else (name for row in history for name in row)
        marked = any(name.startswith(curves.VALIDATION) for name in names)
        note = "The dot marks the best validation value." if marked else ""
        return self._add(title, f'<div class="panels">{panels}</div>', note)

    def confusion(self, cm: ArrayLike, names: Sequence[str] | None = None, title: str = "Confusion matrix") -> Report:
        """See `viz.confusion`."""
        note = "Rows are true classes, columns predictions; the colour is the share of the row."
        return self.figure(title, classes.confusion(cm, names), note)

    def filters(self, w: ArrayLike, title: str = "Filters", note: str = "") -> Report:
        """See `viz.filters`."""
        colour = np.shape(w)[-1:] == (3,)
        note = note or ("Each filter stretched to its own range." if colour else "Blue is negative, orange positive.")
        return self.figure(title, images.filters(w), note)

    def feature_maps(self, maps: ArrayLike, title: str = "Feature maps", note: str = "") -> Report:
        """See `viz.feature_maps`."""
        return self.figure(title, images.feature_maps(maps), note or "What each filter sees in one picture.")

    def heatmaps(
        self,
        pictures: ArrayLike,
        heats: ArrayLike,
        titles: Sequence[str] | None = None,
        title: str = "Grad-CAM",
        note: str = "",
    ) -> Report:
        """See `viz.heatmaps`."""
        note = note or "Bright regions speak most for the predicted class."
        return self.figure(title, images.heatmaps(pictures, heats, titles), note)

    def worst_mistakes(
        self,
        pictures: ArrayLike,
        y: ArrayLike,
        p: ArrayLike,
        names: Sequence[str] | None = None,
        count: int = 12,
        title: str = "Worst mistakes",
    ) -> Report:
        """See `viz.worst_mistakes`."""
        note = "True class, and what the model said with its confidence: look here for wrong labels."
        return self.figure(title, classes.worst_mistakes(pictures, y, p, names, count), note)

    def words(
        self, title: str, rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], note: str = ""
    ) -> Report:  # fmt: skip
        """Texts whose words are coloured: rows of a caption and (word, weight); orange above 0, blue below.

        The strength of a colour is the share of the largest weight of its row.
        """
        return self._add(title, "".join(_coloured_words(caption, words) for caption, words in rows), note)

    def gallery(self, title: str, exhibits: Sequence[Exhibit], note: str = "") -> Report:
        """Pictures beside what is said about them. Needs Pillow."""
        return self._add(title, f'<div class="gallery">{"".join(map(_exhibited, exhibits))}</div>', note)

    def html(self) -> str:
        """The whole page."""
        style = resources.files("deepcore.viz").joinpath("report.css").read_text("utf-8")
        links = "".join(f'<a href="#s{i}">{_text(title)}</a>' for i, (title, _) in enumerate(self._sections, 1))
        sections = "\n".join(
            f'<section id="s{i}"><h2>{_text(title)}</h2>{body}</section>'
            for i, (title, body) in enumerate(self._sections, 1)
        )
        return "\n".join(
            [
                '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                '<meta name="color-scheme" content="light dark">',
                # Nothing may be loaded from anywhere: what is not in this file does not exist.
                '<meta http-equiv="Content-Security-Policy" '
                "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">",
                f"<title>{_text(self.title)}</title><style>{style}</style></head><body><main>",
                f"<header><h1>{_text(self.title)}</h1>",
                f"<p>{_text(self.subtitle)}</p>" if self.subtitle else "",
                f"<nav>{links}</nav></header>" if links else "</header>",
                f'<div class="cards">{"".join(self._cards)}</div>' if self._cards else "",
                f'<div class="sections">{sections}</div>',
                "<footer>Made with deepcore</footer></main></body></html>\n",
            ]
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page; a reader sees the old file or the whole new one."""
        page = self.html().encode()
        with atomic_write(path) as file:
            file.write(page)

    def _drawn(self, figure: Figure, label: str) -> str:
        self._figures += 1
        return _embedded(to_svg(figure), f"f{self._figures}", label)

    def _add(self, title: str, body: str, note: str) -> Report:
        self._sections.append((title, body + (f'<p class="note">{_text(note)}</p>' if note else "")))
        return self


def _embedded(svg: str, prefix: str, label: str) -> str:
    """An SVG fit for a page with others: no prologue, names of its own, colours that follow the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'href="#', f'href="#{prefix}-', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    for colour, variable in ((INK, "currentColor"), (MUTED, "var(--muted)"), (GRID, "var(--grid)")):
        svg = svg.replace(colour, variable)
    found = re.search(r'<svg[^>]* width="([\d.]+)pt"', svg)
    width = f"{float(found[1]) * 4 / 3:.0f}px" if found else "100%"
    svg = re.sub(
        r'^<svg([^>]*?) (?:height|width)="[^"]*"([^>]*?) (?:height|width)="[^"]*"',
        rf'<svg\1\2 role="img" aria-label="{_text(label)}" style="width:{width}"',
        svg,
        count=1,
    )
    return f"<figure>{svg}</figure>"


def _coloured_words(caption: str, words: Sequence[tuple[str, float]]) -> str:
    largest = max((abs(w) for _, w in words), default=0.0) or 1.0
    parts = []
    for word, weight in words:
        share = abs(weight) / largest
        if share < 0.05:
            parts.append(_text(word))
        else:
            colour = "224,123,57" if weight > 0 else "59,111,224"
            parts.append(
                f'<span style="background:rgba({colour},{0.75 * share:.2f})" title="{weight:.3g}">{_text(word)}</span>'
            )
    return f'<div class="words"><p class="name">{_text(caption)}</p><p>{" ".join(parts)}</p></div>'


def _exhibited(exhibit: Exhibit) -> str:
    from deepcore.data.images import encode_png

    pictures = "".join(
        f'<figure><img alt="{_text(name)}" src="data:image/png;base64,{base64.b64encode(encode_png(image)).decode()}">'
        f"<figcaption>{_text(name)}</figcaption></figure>"
        for name, image in exhibit.pictures.items()
    )
    lines = "".join(f"<dt>{_text(name)}</dt><dd>{_text(text)}</dd>" for name, text in exhibit.lines)
    return f'<article><div class="pictures">{pictures}</div><dl>{lines}</dl></article>'


def _cell(value: Value) -> str:
    return f"<td{_kind(not isinstance(value, str))}>{_text(_shown(value))}</td>"


def _kind(number: bool) -> str:
    return ' class="number"' if number else ""


def _shown(value: Value) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _text(value: str) -> str:
    return html.escape(value, quote=True)


__all__ = ["Exhibit", "Report"]
