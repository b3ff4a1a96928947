"""The report of a face swap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore.data import cartoon_faces
from deepcore.errors import ArgumentError
from deepcore.estimators import FaceSwap

pytest.importorskip("matplotlib")

FACES = np.concatenate([cartoon_faces(p, 6, size=32) for p in (0, 1)])
NAMES = np.repeat(["ann", "bob"], 6)


@pytest.mark.parametrize(
    ("options", "sections"),
    [
        ({"width": 4}, []),
        ({"share": "rbm", "layers": (9,), "machines": {"n_iter": 2}}, ["Machine 2 of the stack", "lowest machine"]),
    ],
)
def test_report(options: dict[str, Any], sections: list[str], tmp_path: Path) -> None:
    model = FaceSwap(**{"code": 6, "steps": 4, "snapshot": 2, "random_state": 0, **options}).fit(FACES, NAMES)
    for x in (FACES, FACES / np.float32(255)):
        model.report(tmp_path / "r.html", x, NAMES, title="Ann & Bob")
    page = (tmp_path / "r.html").read_text()
    assert "<h1>Ann &amp; Bob</h1>" in page
    for title in ["Learning curves", "Swaps", "as bob", "Map of codes", *sections]:
        assert title in page, title
    assert ("Machine 1" in page) == (len(sections) > 0)
    with pytest.raises(ArgumentError, match="faces of each of"):
        model.report(tmp_path / "r.html", FACES[:6], NAMES[:6])
    with pytest.raises(ArgumentError, match="got 'eve'"):
        model.report(tmp_path / "r.html", FACES, np.repeat(["ann", "eve"], 6))
