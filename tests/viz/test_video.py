"""Film strips and accuracy over time show what they are given."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from deepcore import viz
from deepcore.errors import DataError, ShapeError
from deepcore.viz.style import to_png

CLIPS = [np.arange(5 * 4 * 6).reshape(5, 4, 6), np.zeros((20, 8, 8, 3), np.uint8)]
TITLES = ["first", "second"]


def texts(figure: object) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]  # type: ignore[attr-defined]


def test_strips_hold_frames_at_equal_distances() -> None:
    clip = np.arange(20.0)[:, None, None] * np.ones((1, 4, 4))
    figure = viz.film_strips([clip], ["one"], columns=5)
    shown = [axes.images[0].get_array()[0, 0, 0] for axes in figure.axes]
    np.testing.assert_allclose(shown, np.array([0, 5, 10, 14, 19]) / 19, atol=0.03)
    assert [t.get_text() for t in figure.texts] == ["one"]
    assert len(viz.film_strips(CLIPS, TITLES).axes) == 5 + 12
    to_png(viz.film_strips(CLIPS, TITLES))


def test_wrong_labels_stand_out() -> None:
    labels = [[("up", "up"), ("up", "down"), ("left", "")], [("a long name", "another")] * 2]
    figure = viz.film_strips([CLIPS[0][:3], CLIPS[1][:2]], TITLES, labels)
    assert texts(figure) == ["up", "up", "down", "left", "a long name", "another", "a long name", "another"]
    colours = [axes.texts[0].get_color() for axes in figure.axes]
    assert len(set(colours[:3])) == 3 and colours[1] == colours[3] == colours[4]


def test_bars_of_weights() -> None:
    weights = [np.full(5, 0.2), np.linspace(0, 1, 20)]
    figure = viz.film_strips(CLIPS, TITLES, weights=weights)
    heights = [patch.get_height() for axes in figure.axes for patch in axes.patches]
    np.testing.assert_allclose(heights[:5], 0.2)
    assert heights[5] == 0 and heights[-1] == 1 and (np.diff(heights[5:]) > 0).all()


def test_accuracy_over_time() -> None:
    figure = viz.accuracy_over_time({"lstm": [0.2, 0.5, float("nan")], "gru": [0.1, 0.9]})
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == ["lstm", "gru"]
    np.testing.assert_array_equal(axes.lines[1].get_xydata(), [[1, 0.1], [2, 0.9]])
    assert axes.get_ylabel() == "accuracy" and axes.get_legend() is not None


def test_errors() -> None:
    with pytest.raises(DataError, match="at least one clip"):
        viz.film_strips([], [])
    with pytest.raises(ShapeError, match="expected 2 titles, got 1"):
        viz.film_strips(CLIPS, ["one"])
    with pytest.raises(ShapeError, match="weights for each frame"):
        viz.film_strips(CLIPS, TITLES, weights=[np.ones(5), np.ones(5)])
    for bad in ({}, {"a": []}, {"a": [[1.0]]}):
        with pytest.raises(DataError, match="at least one curve"):
            viz.accuracy_over_time(bad)
