from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from deepcore import viz
from deepcore.errors import ArgumentError, DataError, ShapeError
from deepcore.viz.curves import learning_curve_panels
from deepcore.viz.style import to_png

rng = np.random.default_rng(0)


def pixels(figure: object) -> np.ndarray:
    """The raster that a grid put together, (h, w, 4)."""
    (axes,) = figure.axes  # type: ignore[attr-defined]
    (image,) = axes.images
    return np.asarray(image.get_array())


def texts(figure: object) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]  # type: ignore[attr-defined]


def test_learning_curves_group_by_name() -> None:
    history = {
        "epoch": [5, 6, 7],
        "lr": [0.1, 0.1, 0.01],
        "val_accuracy": [0.5, 0.9, 0.8],
        "accuracy": [0.6, 0.9, 1.0],
        "loss": [3.0, 2.0, 1.0],
        "val_loss": [2.5, None, 2.7],
        "seconds": [1, 2, 3],
        "note": ["a", "b", "c"],
    }
    figure = viz.learning_curves(history)
    assert [axes.get_title("left") for axes in figure.axes] == ["loss", "accuracy", "lr"]
    assert [len(axes.get_legend().texts) if axes.get_legend() else 0 for axes in figure.axes] == [2, 2, 0]
    assert texts(figure) == ["2.5", "0.9"]  # the lowest loss, the highest accuracy
    np.testing.assert_array_equal(figure.axes[2].lines[0].get_xdata(), [5, 6, 7])
    assert len(learning_curve_panels(history)) == 3
    assert to_png(figure).startswith(b"\x89PNG")


def test_learning_curves_from_rows() -> None:
    rows = [{"loss": 3.0}, {"loss": 2.0, "val_loss": 1.0}]
    (axes,) = viz.learning_curves(rows).axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [3.0, 2.0])
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), [np.nan, 1.0])


def test_gradient_flow_draws_every_layer_on_a_logarithmic_axis() -> None:
    steps = np.arange(30)
    figure = viz.gradient_flow({"a": 0.8 ** steps[::-1], "b": 1.5 ** steps[::-1], "c": [0.0, 0.0, 2.0]})
    (axes,) = figure.axes
    assert axes.get_yscale() == "log" and [len(line.get_xdata()) for line in axes.lines] == [30, 30, 3]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), steps + 1)
    np.testing.assert_allclose(axes.lines[1].get_ydata(), 1.5 ** steps[::-1])
    np.testing.assert_array_equal(axes.lines[2].get_ydata(), [np.nan, np.nan, 2.0])
    labels = [text.get_text() for text in axes.get_legend().texts]
    assert labels == ["a: × 0.8 per step back", "b: × 1.5 per step back", "c: one step"]
    low, high = axes.get_ylim()
    assert low < 0.8**29 and high > 1.5**29
    (single,) = viz.gradient_flow([1.0, 1.1, 1.05]).axes
    assert single.get_ylim()[1] > 10 * 0.99 and single.get_ylim()[0] < 1.0  # noise fills no axis
    assert to_png(figure).startswith(b"\x89PNG")


def test_image_grid_holds_every_picture() -> None:
    grey = pixels(viz.image_grid(np.arange(10)[:, None, None] * np.ones((10, 4, 4), np.uint8)))
    shades = np.unique(grey[grey[..., 3] == 1][:, 0])
    np.testing.assert_allclose(shades, np.arange(10) / 9)
    colour = pixels(viz.image_grid(np.full((2, 4, 4, 3), [255, 0, 51], np.uint8)))
    np.testing.assert_allclose(np.unique(colour[colour[..., 3] == 1], axis=0), [[1, 0, 0.2, 1]])
    titled = viz.image_grid(np.zeros((3, 4, 4, 1)), ["a", "b\nc", "a long title over a small picture"], columns=2)
    assert texts(titled) == ["a", "b\nc", "a long title over a small picture"]


@pytest.mark.parametrize("n", [1, 2, 5, 7, 12, 13, 100, 143, 400])
def test_grids_of_any_size(n: int) -> None:
    raster = pixels(viz.image_grid(np.zeros((n, 3, 5))))
    assert (raster[..., 3] == 1).sum() == n * (3 * 14) * (5 * 14)


def test_filters() -> None:
    w = np.zeros((2, 3, 3, 1))
    w[0], w[1] = 1.0, -1.0
    colours = np.unique(pixels(viz.filters(w)).reshape(-1, 4), axis=0)
    orange, blue = (colours[(colours[:, 3] == 1) & side] for side in (colours[:, 0] > 0.5, colours[:, 0] < 0.5))
    assert len(orange) == len(blue) == 1 and orange[0, 0] > orange[0, 2] and blue[0, 2] > blue[0, 0]
    assert pixels(viz.filters(rng.normal(size=(4, 3, 3, 3)))).shape[0] < pixels(viz.filters(w[:1])).shape[1] * 4
    for c in (2, 8, 40):
        assert to_png(viz.filters(rng.normal(size=(20, 3, 3, c)), title="x"))


def test_feature_maps_share_a_scale() -> None:
    maps = np.zeros((4, 4, 3))
    maps[..., 1], maps[..., 2] = 0.5, 1.0
    raster = pixels(viz.feature_maps(maps))
    assert len(np.unique(raster[raster[..., 3] == 1], axis=0)) == 3


def test_heatmaps() -> None:
    heat = np.zeros((1, 2, 2))
    heat[0, 0, 0] = 3.0
    raster = pixels(viz.heatmaps(np.zeros((1, 8, 8)), heat, strength=1.0, titles=["x"]))
    below = raster[-72:, -72:]
    assert below[0, 0, 0] > 0.9 and below[-1, -1, 0] < 0.2
    assert (raster[-72 - 5 - 72 : -72 - 5, :, :3] == 0).all()


def test_confusion() -> None:
    figure = viz.confusion([[8, 2], [0, 5]], ["cat", "dog"])
    assert texts(figure) == ["8", "2", "0", "5"]
    (mesh,) = figure.axes[0].collections
    np.testing.assert_allclose(np.asarray(mesh.get_array()), [[0.8, 0.2], [0, 1]])
    assert texts(viz.confusion(np.zeros((21, 21), int))) == []
    assert to_png(viz.confusion(np.ones((60, 60), int), title="x"))


def test_worst_mistakes() -> None:
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.99, 0.01]])
    y = np.array([1, 1, 1, 1])
    np.testing.assert_array_equal(viz.worst_indices(y, p), [3, 0, 1])
    np.testing.assert_array_equal(viz.worst_indices(y, p, 1), [3])
    figure = viz.worst_mistakes(np.zeros((4, 2, 2)), y, p, ["cat", "dog"], count=2)
    assert texts(figure) == ["dog\nnot cat (99 %)", "dog\nnot cat (90 %)"]
    assert texts(viz.worst_mistakes(np.zeros((1, 2, 2)), [0], [[0.9, 0.1]])) == ["No mistakes."]


def test_histogram() -> None:
    figure = viz.histogram({"a": [0.0, 0.0, 1.0], "b": [2.0]}, bins=2)
    counts = [patch.get_data().values.tolist() for patch in figure.axes[0].patches]
    assert counts == [[2, 1], [2, 1], [0, 1], [0, 1]]


def test_save_figure(tmp_path: Path) -> None:
    figure = viz.histogram([1.0, 2.0])
    for suffix, mark in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        viz.save_figure(figure, tmp_path / f"a.{suffix}")
        assert (tmp_path / f"a.{suffix}").read_bytes().startswith(mark)
    assert sorted(os.listdir(tmp_path)) == ["a.pdf", "a.png", "a.svg"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: viz.learning_curves({}), DataError, "empty history"),
        (lambda: viz.learning_curves({"epoch": [1]}), DataError, "at least one curve"),
        (lambda: viz.image_grid(np.zeros((0, 2, 2))), DataError, "finite numbers"),
        (lambda: viz.image_grid(np.full((1, 2, 2), np.nan)), DataError, "finite numbers"),
        (lambda: viz.image_grid(np.zeros((1, 2, 2, 4))), ShapeError, r"got \(1, 2, 2, 4\)"),
        (lambda: viz.image_grid(np.full((1, 2, 2, 3), 2.0)), DataError, r"0\.\.1 or uint8, got 2\.\.2"),
        (lambda: viz.image_grid(np.zeros((401, 2, 2))), ArgumentError, "got 401"),
        (lambda: viz.image_grid(np.zeros((2, 2, 2)), ["a"]), ShapeError, "2 titles, got 1"),
        (lambda: viz.image_grid(np.zeros((2, 2, 2)), columns=0), ArgumentError, "got 0"),
        (lambda: viz.filters(np.zeros((3, 3, 3))), ShapeError, r"\(k, r, s, c\)"),
        (lambda: viz.feature_maps(np.zeros((3, 3))), ShapeError, r"\(h, w, c\)"),
        (lambda: viz.heatmaps(np.zeros((2, 4, 4)), np.zeros((1, 2, 2))), ShapeError, r"\(2, p, q\)"),
        (lambda: viz.heatmaps(np.zeros((1, 4, 4)), np.zeros((1, 2, 2)), strength=2), ArgumentError, "got 2"),
        (lambda: viz.confusion(np.zeros((2, 3), int)), ShapeError, r"got \(2, 3\)"),
        (lambda: viz.confusion([[0.5]]), DataError, "got float64"),
        (lambda: viz.confusion([[1]], ["a", "b"]), ShapeError, "1 names, got 2"),
        (lambda: viz.worst_mistakes(np.zeros((2, 2, 2)), [0], [[0.1, 0.9]]), ShapeError, "expected 1 images"),
        (lambda: viz.worst_indices([2], [[0.1, 0.9]]), DataError, r"0\.\.1"),
        (lambda: viz.worst_indices([0], [0.1]), ShapeError, r"\(1,\) and \(1,\)"),
        (lambda: viz.worst_indices([0], [[0.1, 0.9]], 0), ArgumentError, "got 0"),
        (lambda: viz.histogram([]), DataError, "finite values"),
        (lambda: viz.gradient_flow({}), DataError, "at least one layer"),
        (lambda: viz.gradient_flow({"a": [0.0, 0.0]}), DataError, r"not all 0, got shape \(2,\) in 'a'"),
        (lambda: viz.gradient_flow([1.0, -1.0]), DataError, "finite norms"),
        (lambda: viz.gradient_flow([[1.0]]), DataError, r"got shape \(1, 1\)"),
        (lambda: viz.histogram([1.0], bins=0), ArgumentError, "got 0"),
    ],
)
def test_errors(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_neither_pyplot_nor_early_matplotlib() -> None:
    script = (
        "import sys, deepcore.viz\nassert 'matplotlib' not in sys.modules\n"
        "deepcore.viz.histogram([1.0])\nassert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_missing_matplotlib_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'deepcore\[viz\]'"):
        viz.histogram([1.0])
