from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deepcore import random
from deepcore.data.digits import load_digits
from deepcore.data.sequences import (
    DIRECTIONS,
    ORDER_SYMBOLS,
    adding,
    copy_memory,
    dates,
    digit_scenes,
    moving_digits,
    temporal_order,
)
from deepcore.errors import ArgumentError, DataError, DtypeError, ShapeError

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def test_adding() -> None:
    x, y = adding(400, 11, seed=3)
    assert x.shape == (400, 11, 2) and x.dtype == y.dtype == np.float32 and y.shape == (400,)
    assert x[..., 0].min() >= 0 and x[..., 0].max() < 1
    marks = x[..., 1]
    assert set(np.unique(marks)) == {0, 1}
    assert (marks[:, :5].sum(1) == 1).all() and (marks[:, 5:].sum(1) == 1).all()
    assert (marks.sum(0) > 0).all()
    np.testing.assert_allclose(y, (x[..., 0] * marks).sum(1), rtol=1e-6)
    assert np.mean((adding(20000, 2)[1] - 1) ** 2) == pytest.approx(1 / 6, rel=0.03)


def test_dates() -> None:
    months = [datetime.date(2000, m, 1).strftime("%B").lower() for m in range(1, 13)]
    forms = set()
    written, iso = dates(4000, seed=1)
    for text, answer in zip(written, iso):
        day = datetime.date.fromisoformat(answer)
        assert 1900 <= day.year < 2100 and str(day.year) in text and text == text.lower()
        if text[0].isdigit() and text.count(".") == 2:
            assert [int(part) for part in text.split(".")] == [day.day, day.month, day.year]
            forms.add("dots")
        elif text.count("/") == 2:
            assert [int(part) for part in text.split("/")] == [day.month, day.day, day.year]
            forms.add("slashes")
        else:
            words = re.findall("[a-z0-9]+", text)
            assert any(months[day.month - 1].startswith(w) and len(w) >= 3 for w in words)
            number = next(w for w in words if w[0].isdigit() and len(w) < 5)
            assert int(re.sub("[a-z]", "", number)) == day.day
            if number[-1].isalpha():
                teen = day.day // 10 == 1
                assert number[-2:] == ("th" if teen else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th"))
            weekday = [w for w in words if w.endswith("day")]
            assert not weekday or weekday == [day.strftime("%A").lower()]
            forms.add(re.sub("[a-z]+", "a", re.sub("[0-9]+", "0", text)))
    assert forms == {"dots", "slashes", "a 0, 0", "0 a 0", "a, a 0, 0", "a 0 a 0", "a 0a a a 0", "a 0a, 0"}


def test_copy_memory() -> None:
    x, y = copy_memory(200, delay=4, seed=1, symbols=3, length=2)
    assert x.shape == y.shape == (200, 8) and x.dtype == y.dtype == np.int64
    np.testing.assert_array_equal(x[:, 2:], np.tile([3, 3, 3, 4, 3, 3], (200, 1)))
    np.testing.assert_array_equal(y[:, :6], np.full((200, 6), 3))
    np.testing.assert_array_equal(y[:, 6:], x[:, :2])
    np.testing.assert_array_equal(np.unique(x[:, :2]), [0, 1, 2])
    x, _ = copy_memory(3, delay=1)
    assert x.shape == (3, 21) and (x[:, 10] == 9).all()


@pytest.mark.parametrize("length", [3, 10, 57])
def test_temporal_order(length: int) -> None:
    x, y = temporal_order(600, length, seed=2)
    assert x.shape == (600, length) and x.dtype == y.dtype == np.int64
    counts = x < 2
    assert (counts.sum(1) == 2).all()
    at = np.argwhere(counts)[:, 1].reshape(600, 2)
    assert (at[:, 0] >= length // 10).all() and (at[:, 0] <= 2 * length // 10).all()
    assert (at[:, 1] >= 4 * length // 10).all() and (at[:, 1] <= 5 * length // 10).all()
    symbols = np.take_along_axis(x, at, 1)
    np.testing.assert_array_equal(y, 2 * symbols[:, 0] + symbols[:, 1])
    np.testing.assert_array_equal(np.unique(x), np.arange(len(ORDER_SYMBOLS)))
    assert (np.bincount(y, minlength=4) > 100).all()
    encoded, same = temporal_order(600, length, seed=2, one_hot=True)
    assert encoded.shape == (600, length, 6) and encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded.argmax(2), x)
    np.testing.assert_array_equal(same, y)


def shift(frame: np.ndarray, down: int, right: int) -> np.ndarray:
    return np.roll(frame, (down, right), (0, 1))


STEPS = {"right": (0, 1), "up right": (-1, 1), "up": (-1, 0), "up left": (-1, -1), "left": (0, -1),
         "down left": (1, -1), "down": (1, 0), "down right": (1, 1)}  # fmt: skip


@pytest.mark.parametrize(("bounce", "size", "scale"), [(True, 13, 1), (True, 24, 2), (False, 24, 1)])
def test_moving_digits_move_as_labelled(bounce: bool, size: int, scale: int) -> None:
    film = moving_digits(150, 8, size, 5, bounce=bounce, scale=scale)
    assert film.frames.shape == (150, 8, size, size) and film.frames.dtype == np.uint8
    assert film.directions.shape == (150, 8) and film.digits.shape == (150,)
    paces = set()
    for frames, directions in zip(film.frames, film.directions):
        assert directions[0] == directions[1]
        for t in range(1, 8):
            down, right = STEPS[DIRECTIONS[directions[t]]]
            fits = [k for k in (1, 2) if (shift(frames[t - 1], k * down, k * right) == frames[t]).all()]
            assert len(fits) == 1
            paces.add(fits[0])
        if not bounce:
            assert (directions == directions[0]).all()
    assert paces == {1, 2}
    assert len(np.unique(film.directions)) == 8
    turned = (film.directions != film.directions[:, :1]).any(1)
    assert turned.any() == bounce


def test_moving_digits_of_given_pictures() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(1, 256, (5, 6, 6, 1)).astype(np.uint8)
    film = moving_digits(40, 10, 15, 3, pictures=(pictures, np.arange(5) * 11))
    assert set(film.digits.tolist()) == {0, 11, 22, 33, 44}
    for frames, digit in zip(film.frames, film.digits):
        for frame in frames:
            rows, columns = np.flatnonzero(frame.any(1)), np.flatnonzero(frame.any(0))
            seen = frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            np.testing.assert_array_equal(seen, pictures[digit // 11, :, :, 0])
    doubled = moving_digits(40, 10, 30, 3, scale=2, pictures=(pictures, np.arange(5)))
    assert doubled.frames.shape == (40, 10, 30, 30) and (doubled.frames[0, 0] > 0).sum() == 144


def test_place_and_step_say_where_a_digit_goes() -> None:
    pictures, room = np.full((1, 5, 5), 255, np.uint8), 8
    film = moving_digits(100, 12, 5 + room, 4, speed=3, pictures=(pictures, np.array([7])))
    rows, columns = film.frames.any(3).argmax(2), film.frames.any(2).argmax(2)
    places = np.stack([rows, columns], -1)  # (n, frames, 2)
    turned = 0
    for place, directions in zip(places, film.directions):
        step = place[1] - place[0]
        for t in range(1, 12):
            if t > 1:
                out = (place[t - 1] + step < 0) | (place[t - 1] + step > room)
                turned += int(out.any())
                step = np.where(out, -step, step)
            np.testing.assert_array_equal(place[t], place[t - 1] + step)
            assert STEPS[DIRECTIONS[directions[t]]] == tuple(np.sign(step).tolist())
    assert turned > 100


def test_moving_digits_show_their_part_only() -> None:
    x_train, y_train, x_test, y_test = load_digits()
    bright = {"train": (x_train.astype(int) * 255 // 16, y_train), "test": (x_test.astype(int) * 255 // 16, y_test)}
    for part, other in (("train", "test"), ("test", "train")):
        own = {x.tobytes(): y for x, y in zip(bright[part][0].astype(np.uint8), bright[part][1])}
        film = moving_digits(300, 1, 9, 1, part=part, speed=1)
        foreign = {x.tobytes() for x in bright[other][0].astype(np.uint8)}
        seen = set()
        for frame, digit in zip(film.frames[:, 0], film.digits):
            crops = [frame[i : i + 8, j : j + 8] for i in (0, 1) for j in (0, 1)]
            whole = [c.tobytes() for c in crops if c.astype(int).sum() == frame.astype(int).sum()]
            known = [own[c] for c in whole if c in own]
            assert digit in known and not foreign & set(whole)
            seen.add(int(digit))
        assert seen == set(range(10))


def trimmed(picture: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))
    inner = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return inner.shape, inner.tobytes()


def seen_in(image: np.ndarray, known: dict[Any, int]) -> dict[tuple[int, int], str]:
    """(row, column) -> number word, by comparing the ink of each cell with all packaged pictures."""
    cell = len(image) // 3
    found = {}
    for i in range(3):
        for j in range(3):
            inner = image[i * cell : (i + 1) * cell, j * cell : (j + 1) * cell]
            if inner.any():
                found[i, j] = NUMBERS[known[trimmed(inner)]]
    return found


PLACES = {"top": 0, "bottom": 2, "left": 0, "right": 2}


def holds(caption: str, found: dict[tuple[int, int], str]) -> bool:
    """Whether the caption is true of the digits and of nothing less."""
    words = re.findall(r"\ban? (\w+)", caption)
    if sorted(words) != sorted(found.values()):
        return False
    places = sorted(found)
    named = [found[p] for p in places]
    if len(places) == 1:
        row = next((PLACES[w] for w in ("top", "bottom") if w in caption), 1)
        column = next((PLACES[w] for w in ("left", "right") if w in caption), 1)
        return places == [(row, column)]
    if "both" in caption:
        pair, third = words[:2], words[2]
        if "right of" in caption:
            pair.reverse()
        rows = [p[0] for p in places]
        if "both above" in caption:
            return rows[0] == rows[1] < rows[2] and named == [*pair, third]
        return rows[0] < rows[1] == rows[2] and named == [third, *pair]
    if re.search(r"right of|below|right to left|bottom to top", caption):
        words.reverse()
    axis = 0 if re.search(r"left|right", caption) else 1
    return named == words and len({p[axis] for p in places}) == 1


@pytest.mark.parametrize(("size", "part"), [(32, "train"), (51, "test"), (27, "train")])
def test_captions_are_true(size: int, part: str) -> None:
    images, captions = digit_scenes(300, 4, size, part=part)
    assert images.shape == (300, size, size) and images.dtype == np.uint8 and len(captions) == 300
    x_train, y_train, x_test, y_test = load_digits()
    x, y = (x_train, y_train) if part == "train" else (x_test, y_test)
    scale = (size // 3 - 1) // 8
    known = {trimmed(np.kron(p.astype(int) * 255 // 16, np.ones((scale, scale), int)).astype(np.uint8)): int(label)
             for p, label in zip(x, y)}  # fmt: skip
    for image, caption in zip(images, captions):
        found = seen_in(image, known)
        assert holds(caption, found), (caption, found)
    for form in ("there is", "left of", "right of", "above", "below", "from left to right", "from right to left",
                 "from top to bottom", "from bottom to top", "both above", "both below", "an eight"):  # fmt: skip
        assert any(form in c for c in captions), form
    assert len({w for c in captions for w in re.findall(r"\w+", c)}) < 40


def test_scenes_of_other_digits_in_both_forms() -> None:
    x, y, _, _ = load_digits()
    digits = np.kron(x[:200], np.ones((1, 2, 2))).astype(np.uint8), y[:200]  # 16 x 16
    known = {trimmed(p): int(label) for p, label in zip(*digits)}
    images, captions = digit_scenes(200, 5, 52, digits=digits, both=True)
    for image, forms in zip(images, captions):
        found = seen_in(image, known)
        assert len(set(forms)) == 2 and all(holds(form, found) for form in forms), (forms, found)
    _, single = digit_scenes(200, 5, 52, digits=digits)
    assert all(one in forms for one, forms in zip(single, captions))
    assert 50 < sum(one == forms[0] for one, forms in zip(single, captions)) < 150
    for most in (1, 2, 3):
        counts = [len(seen_in(image, known)) for image in digit_scenes(60, 5, 52, digits=digits, most=most)[0]]
        assert set(counts) == set(range(1, most + 1))


def test_refused_digits() -> None:
    x = np.zeros((4, 9, 9), np.uint8)
    y = np.arange(4)
    with pytest.raises(ArgumentError, match="expected size >= 30"):
        digit_scenes(2, size=29, digits=(x, y))
    with pytest.raises(ArgumentError, match="expected most <= 3, got 4"):
        digit_scenes(2, most=4)
    with pytest.raises(DtypeError, match="expected digits uint8, got float64"):
        digit_scenes(2, digits=(x.astype(float), y))  # type: ignore[arg-type]
    for pictures, labels in ((x[:, :8], y), (x, y[:3])):
        with pytest.raises(ShapeError, match=r"expected digits \(m, side, side\) and labels \(m,\)"):
            digit_scenes(2, digits=(pictures, labels))
    for pictures, labels in ((x, y + 7), (x[:0], y[:0])):
        with pytest.raises(DataError, match=r"labels 0\.\.9"):
            digit_scenes(2, digits=(pictures, labels))


def test_a_false_caption_is_noticed() -> None:
    found = {(1, 0): "three", (1, 2): "seven"}
    assert holds("a three left of a seven", found) and holds("a seven right of a three", found)
    assert not holds("a seven left of a three", found) and not holds("a three above a seven", found)


@pytest.mark.parametrize(
    "make",
    [
        lambda n, seed: adding(n, 6, seed),
        lambda n, seed: copy_memory(n, 3, seed),
        lambda n, seed: temporal_order(n, 12, seed),
        dates,
        lambda n, seed: moving_digits(n, 3, 16, seed),
        lambda n, seed: digit_scenes(n, seed),
    ],
)
def test_functions_of_the_seed_and_of_nothing_else(make: Callable[[int, int], Any]) -> None:
    whole = make(20, 7)
    np.random.seed(0)
    random.seed(3)
    again, part, other = make(20, 7), make(5, 7), make(20, 8)
    for a, b, c in zip(whole, again, part):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a[:5], c)  # the first samples of more are those of fewer
    assert any(not np.array_equal(a, b) for a, b in zip(whole, other))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: adding(0, 5), "expected n >= 1, a whole number, got 0"),
        (lambda: adding(3, 1), "expected length >= 2"),
        (lambda: adding(3, 2.5), "got 2.5"),  # type: ignore[arg-type]
        (lambda: copy_memory(3, 0), "expected delay >= 1"),
        (lambda: copy_memory(3, 1, symbols=0), "expected symbols >= 1"),
        (lambda: temporal_order(3, 2), "expected length >= 3"),
        (lambda: dates(0), "dates: expected n >= 1, a whole number, got 0"),
        (lambda: moving_digits(3, 0), "expected frames >= 1"),
        (
            lambda: moving_digits(3, 4, 10),
            r"expected size >= 11 for speed 2, scale 1, 4 frames and bounce=True, got 10",
        ),
        (lambda: moving_digits(3, 10, 25, bounce=False), "expected size >= 26"),
        (lambda: moving_digits(3, part="validation"), "expected part in"),
        (
            lambda: moving_digits(3, part="test", pictures=(np.ones((2, 5, 5), np.uint8), np.arange(2))),
            "no part beside pictures",
        ),
        (lambda: moving_digits(3, pictures=(np.ones((2, 5, 4), np.uint8), np.arange(2))), "expected pictures uint8"),
        (lambda: moving_digits(3, pictures=(np.ones((2, 5, 5)), np.arange(2))), "got float64"),
        (lambda: moving_digits(3, pictures=(np.ones((2, 5, 5), np.uint8), np.arange(3))), "expected 2 whole numbers"),
        (lambda: digit_scenes(3, size=26), "expected size >= 27"),
        (lambda: digit_scenes(3, part="all"), "got 'all'"),
    ],
)
def test_refusals(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()
