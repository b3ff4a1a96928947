"""The figure of moving digits measures what it says: labels some frames later, of films that training never shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from bench.accept import Context, video

Array = Any


class Seer:
    """Stands for a classifier that knows the test films; `wrong` of its answers are off by one."""

    trained: ClassVar[list[Array]] = []
    wrong = 0

    def __init__(self, output: str, *, anticipate: int = 0, bidirectional: bool = False, **options: Any) -> None:
        assert output == "frame" and bidirectional == (anticipate == 0)
        self.anticipate = anticipate

    def fit(self, x: Array, y: Array) -> None:
        assert x.shape[:2] == y.shape
        self.trained.append(x)

    def predict(self, x: Array) -> Array:
        films = video.moving(video.TESTED, video.TEST_SEED, (np.full((1, 28, 28), 9, np.uint8), np.array([3])))
        np.testing.assert_array_equal(x, films.frames)
        said = np.roll(films.directions, -self.anticipate, axis=1)
        said[: self.wrong] += 1
        return said

    def score(self, x: Array, y: Array) -> float:
        return float((self.predict(x) == y).mean())


@pytest.mark.parametrize("wrong", [0, 2])
def test_directions_are_those_of_later_frames(wrong: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (("CLIPS", 8), ("NOW_CLIPS", 5), ("TESTED", 10), ("VideoClassifier", Seer)):
        monkeypatch.setattr(video, name, value)
    monkeypatch.setattr(Seer, "wrong", wrong)
    monkeypatch.setattr(Seer, "trained", [])
    digits = [(np.full((1, 28, 28), value, np.uint8), np.array([3])) for value in (7, 9)]
    context = Context(tmp_path, 0, "cpu")
    value, also = video.measure(context, digits[0], digits[1])
    assert value == also["ahead"] == 1 - wrong / 10
    assert also["demands"] == {"5 frames ahead >= 0.9": wrong == 0}
    assert len(also["ahead_by_frame"]) == video.FRAMES - video.AHEAD
    assert 0.3 < also["who_says_the_direction_of_now"] < 0.8
    assert [len(x) for x in Seer.trained] == [5, 8] and {int(x.max()) for x in Seer.trained} == {7}
    assert context.timer.used
