"""Figures and report of autoencoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore import viz
from deepcore.data import load_digits
from deepcore.errors import DataError, ShapeError
from deepcore.estimators import Autoencoder

pytest.importorskip("matplotlib")

X, _, XT, YT = load_digits()


@pytest.mark.parametrize(
    ("options", "sections"),
    [
        ({}, ["Strongest filters", "Traversals"]), ({"corruption": "masking"}, ["noisy"]),
        ({"variational": True, "loss": "cross_entropy"}, ["Samples", "Bound per sample"]),
        ({"channels": (4, 8), "layers": (6,)}, ["Traversals"]), ({"scaling": "standard"}, ["Reconstructions"]),
        ({"layers": (16, 2)}, ["code 2"]),
    ],
)  # fmt: skip
def test_report(options: dict[str, Any], sections: list[str], tmp_path: Path) -> None:
    model = Autoencoder(**{"layers": (16, 6), "epochs": 3, "random_state": 0, **options}).fit(X)
    model.report(tmp_path / "r.html", XT, YT, title="Digits & codes")
    page = (tmp_path / "r.html").read_text()
    assert "<h1>Digits &amp; codes</h1>" in page and page.count("<svg") >= 7
    for title in ["Learning curves", "Reconstructions", "Map of codes", "Anomaly scores", *sections]:
        assert title in page, title
    assert "http:" not in page.replace("http://www.w3.org", "")


def test_report_of_vectors_and_after_fine_tuning(tmp_path: Path) -> None:
    flat = XT.reshape(len(XT), -1)
    model = Autoencoder((16, 3), epochs=2, random_state=0).fit(flat).fine_tune(flat, "cg")
    model.report(tmp_path / "r.html", flat)
    page = (tmp_path / "r.html").read_text()
    assert "Map of codes" in page and "Traversals" not in page
    with pytest.raises(ShapeError, match="autoencoder of images"):
        viz.traversals(model, flat)


def test_traversals_move_one_entry() -> None:
    model = Autoencoder((16, 4), epochs=3, random_state=0).fit(X)
    figure = viz.traversals(model, XT, entries=3, steps=5)
    (raster,) = figure.axes[0].get_images()
    tile = 72 // 8 * 8
    words = [t.get_text() for t in figure.axes[0].texts]
    assert [w for w in words if w] and len(words) == 15 and len({w for w in words if w}) == 3
    assert raster.get_array().shape[0] > 3 * tile


def test_code_map_colours_and_projects() -> None:
    rng = np.random.default_rng(0)
    two = viz.code_map(rng.normal(size=(50, 2)), np.arange(50) % 3)
    assert len(two.axes[0].collections) == 3 and two.axes[0].get_xlabel() == "code 1"
    codes = rng.normal(size=(9000, 5)) * [1, 1, 9, 1, 4]
    many = viz.code_map(codes)
    offsets = np.asarray(many.axes[0].collections[0].get_offsets())
    assert len(offsets) == 3000 and offsets[:, 0].std() > 1.8 * offsets[:, 1].std() > 3  # the widest axes
    assert viz.code_map(codes[:, :1]).axes
    with pytest.raises(ShapeError, match="9000 labels, got 3"):
        viz.code_map(codes, [1, 2, 3])
    with pytest.raises(ShapeError, match=r"codes \(n, k\)"):
        viz.code_map(codes[0])
    with pytest.raises(DataError, match="finite"):
        viz.code_map(np.full((3, 2), np.nan))


def test_picture_rows_need_one_shape() -> None:
    with pytest.raises(ShapeError, match="rows of one shape"):
        viz.picture_rows({"a": np.zeros((2, 3, 3)), "b": np.zeros((3, 3, 3))})
