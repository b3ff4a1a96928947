"""Reports and figures of Boltzmann machines: all sections, whatever the units; the machine is left as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore import viz
from deepcore.data import load_digits
from deepcore.errors import ArgumentError, DataError, ShapeError
from deepcore.estimators import DBN, RBM

pytest.importorskip("matplotlib")

X, Y, XT, YT = load_digits()
X, XT = (a.reshape(len(a), -1).astype(np.float32) / 16 for a in (X, XT))
SECTIONS = ["Learning curves", "Weights and biases", "Hidden activity", "Mean activity", "Map of hidden states"]
PICTURES = ["Filters", "Reconstructions", "Chains"]


@pytest.fixture(scope="module")
def rbm() -> RBM:
    return RBM(20, n_iter=3, keep_updates=True, validation_fraction=0.1, random_state=0).fit(X)


@pytest.fixture(scope="module")
def dbn() -> DBN:
    options: dict[str, Any] = {"n_iter": 2, "random_state": 0, "fine_tune": "updown", "fine_tune_iter": 1}
    return DBN((16, 12), settings=({"keep_updates": True},), **options).fit(X, Y)


def words(figure: Any) -> list[str]:
    return [t.get_text() for t in figure.axes[0].texts if t.get_text()]


def page_of(model: Any, path: Path, *args: Any, **options: Any) -> str:
    model.report(path, *args, **options)
    page = path.read_text()
    assert "http:" not in page.replace("http://www.w3.org", "")
    return page


def test_report_of_a_machine_leaves_it_as_it_was(rbm: RBM, tmp_path: Path) -> None:
    before = rbm.model_.state_dict()
    page = page_of(rbm, tmp_path / "r.html", XT, YT, title="Digits & units")
    assert "<h1>Digits &amp; units</h1>" in page
    more = ["Pseudo-log-likelihood", "Least expected", "last change of weights", "free energy gap", "KL divergence"]
    for text in [*SECTIONS, *PICTURES, *more]:
        assert text in page, text
    assert "Log-likelihood" not in page and "best validation value" not in page
    after = rbm.model_.state_dict()
    assert all((after[name] == before[name]).all() for name in before) and "counter" in before


@pytest.mark.parametrize(
    ("options", "shape", "shown", "hidden"),
    [
        ({"visible_units": "gaussian", "algorithm": "cd"}, None, [*PICTURES, "Free energy"], ["Pseudo", "last change"]),
        ({"hidden_units": "relu", "algorithm": "cd"}, (8, 8), PICTURES, ["Free energy"]),
        ({"visible_choice": 15}, (7, 7), PICTURES, ["last change"]),
        ({}, (), SECTIONS, PICTURES),
    ],
)  # fmt: skip
def test_report_of_other_units(
    options: dict[str, Any], shape: tuple[int, ...] | None, shown: list[str], hidden: list[str], tmp_path: Path
) -> None:
    model = RBM(9, n_iter=1, learning_rate=0.01, random_state=0, **options).fit(X[:200])
    model.log_partition("exact") if not options else None
    page = page_of(model, tmp_path / "r.html", XT[:50], shape=shape)
    assert all(f">{text}" in page for text in [*shown, *SECTIONS]) and not any(f">{text}" in page for text in hidden)
    assert ("Log-likelihood" in page) == (not options)


def test_report_of_a_net(dbn: DBN, tmp_path: Path) -> None:
    before = dbn.model_.state_dict()
    page = page_of(dbn, tmp_path / "r.html", XT, YT)
    layers = [f"Layer {i}: {what}" for i in (1, 2) for what in ("learning curves", "filters", "chains",
              "weights and biases", "hidden activity", "mean activity of each unit")]  # fmt: skip
    for text in [*layers, "Dreams of each label", "Reconstructions", "Map of codes", "Up-down fine-tuning", "64-16-12"]:
        assert text in page, text
    assert page.count("last change of weights") == 1  # the upper layer kept none
    assert all((dbn.model_.state_dict()[name] == a).all() for name, a in before.items())
    plain = DBN((6,), n_iter=1, random_state=0).fit(X[:100, :60])
    page = page_of(plain, tmp_path / "r.html", XT[:20, :60])
    assert "Layer 1: hidden activity" in page and "filters" not in page and "Dreams" not in page


def test_a_colour_machine_has_colour_pictures() -> None:
    x = np.random.default_rng(0).random((40, 48)).astype(np.float32)
    model = RBM(5, n_iter=1, random_state=0).fit(x)
    assert viz.hidden_filters(model, shape=(4, 4, 3)).axes
    assert viz.reconstructions(model, x, count=3, shape=(4, 4, 3)).axes
    with pytest.raises(ShapeError, match="no square picture"):
        viz.hidden_filters(model)
    with pytest.raises(ShapeError, match=r"of 48 values, got \(7, 7\)"):
        viz.reconstructions(model, x, shape=(7, 7))


def test_filters_of_upper_layers_are_combinations(dbn: DBN) -> None:
    figure = viz.hidden_filters(dbn, layer=1, count=1)
    pixels = np.asarray(figure.axes[0].get_images()[0].get_array())
    (low, _, _), (high, _, _) = dbn.unroll()
    combined = high @ low
    strongest = combined[np.linalg.norm(combined, axis=1).argmax()].reshape(8, 8)
    warm = pixels[4::9, 4::9, 0] > pixels[4::9, 4::9, 2]  # orange: above zero; 9 pixels of the raster a value
    clear = np.abs(strongest) > 0.2 * np.abs(strongest).max()
    assert clear.sum() > 10 and (warm == (strongest > 0))[clear].all()
    with pytest.raises(ArgumentError, match="layer from 0 to 1, got 2"):
        viz.hidden_filters(dbn, layer=2)


def test_chains_have_a_row_for_each_step(rbm: RBM, dbn: DBN) -> None:
    assert words(viz.daydreams(rbm, steps=(1, 5), chains=2)) == ["1 step", "5 steps"]
    assert words(viz.daydreams(dbn, layer=0, steps=(2,), init=XT[:3])) == ["start", "2 steps"]
    assert words(viz.reconstructions(dbn, XT, count=2)) == ["input", "1 layer", "2 layers"]
    assert words(viz.dreams_of_labels(dbn, count=2, steps=2)) == [str(i) for i in range(10)]
    with pytest.raises(ArgumentError, match="ascending steps"):
        viz.daydreams(rbm, steps=(5, 1))
    for figure in (viz.daydreams, viz.hidden_filters):
        with pytest.raises(ArgumentError, match="layer 0 of a single machine, got 1"):
            figure(rbm, layer=1)
    with pytest.raises(ArgumentError, match="trained with labels"):
        viz.dreams_of_labels(DBN((4,), n_iter=1).fit(X[:50]))


def test_activity_map_and_histograms_check_their_input() -> None:
    assert viz.activity_map(np.eye(3)).axes
    with pytest.raises(ShapeError, match=r"\(n, units\)"):
        viz.activity_map(np.zeros(3))
    with pytest.raises(DataError, match="finite"):
        viz.activity_map(np.full((2, 2), np.nan))
    figure = viz.histograms({"a": [1, 2], "b": [3.0], "c": [0], "d": [1]}, columns=3)
    assert [a.get_title(loc="left") for a in figure.axes] == list("abcd")
    with pytest.raises(DataError, match="'b'"):
        viz.histograms({"a": [1], "b": []})
    with pytest.raises(ArgumentError, match="0 arrays"):
        viz.histograms({})
