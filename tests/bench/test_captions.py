"""What the figures of captions are made of."""

from __future__ import annotations

import numpy as np
import pytest

from bench.accept.captions import halved, scenes


def test_halved() -> None:
    images = np.arange(4 * 6, dtype=np.uint8).reshape(1, 4, 6)
    np.testing.assert_array_equal(halved(images)[0], [[4, 6, 8], [16, 18, 20]])  # 3.5 is rounded to 4, 5.5 to 6
    colours = np.random.default_rng(0).integers(0, 256, (3, 8, 10, 3), dtype=np.uint8)
    found = halved(colours)
    assert found.shape == (3, 4, 5, 3) and found.dtype == np.uint8
    assert found[2, 1, 3, 1] == np.round(colours[2, 2:4, 6:8, 1].astype(float).mean())


def test_scenes_show_the_digits_given() -> None:
    digits = np.full((2, 28, 28), 80, np.uint8)
    images, captions = scenes(30, 0, (digits, np.array([3, 8])))
    assert images.shape == (30, 48, 48) and set(np.unique(images)) == {0, 80}
    assert all(len(own) == 2 for own in captions)
    words = {word for own in captions for text in own for word in text.replace(",", "").split()}
    assert {"three", "eight"} <= words and not words & {"zero", "one", "two", "four", "five", "six", "seven", "nine"}
    area = [(image > 0).sum() / 14**2 for image in images]
    assert set(area) == {1, 2, 3}
    again, _ = scenes(30, 0, (digits, np.array([3, 8])))
    np.testing.assert_array_equal(images, again)
    assert area == pytest.approx([sum(t[0].count(n) for n in ("three", "eight")) for t in captions])
