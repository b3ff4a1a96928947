"""Made data for recurrent nets, functions of a seed: memory tasks, dates, digits that move, scenes with captions."""

from __future__ import annotations

import datetime
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from deepcore import random
from deepcore.data.digits import load_digits
from deepcore.errors import ArgumentError, DataError, DtypeError, ShapeError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Pixels = NDArray[np.uint8]
Digits = tuple[Pixels, NDArray[Any]]  # pictures (m, side, side) and labels (m,)

PARTS = ("train", "test")
DIRECTIONS = ("right", "up right", "up", "up left", "left", "down left", "down", "down right")
ORDER_SYMBOLS = ("X", "Y", "c", "d", "e", "f")  # tokens 0..5 of temporal_order: two that count, four that distract

_STREAM = 1 << 56  # of the random numbers, clear of the streams of layers, loaders and corruption
_PIXELS = 8  # side of a packaged digit
_STEPS = np.array([(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)])  # (down, right) of DIRECTIONS
_DIRECTION_OF = np.array([[3, 2, 1], [4, -1, 0], [5, 6, 7]])  # [sign down + 1, sign right + 1]

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DATE_FORMS = (
    "{month} {day}, {year}", "{short} {day}, {year}", "{day} {month} {year}", "{day} {short} {year}",
    "{weekday}, {month} {day}, {year}", "{weekday} {day} {short} {year}", "the {nth} of {month} {year}",
    "{month} {nth}, {year}", "{day}.{number}.{year}", "{number}/{day}/{year}",
)  # fmt: skip
_FIRST_DAY, _LAST_DAY = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_PLACES = (
    ("at the top left", "at the top", "at the top right"),
    ("on the left", "in the middle", "on the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)
_PAIRS = ((0, 1), (0, 2), (1, 2))
_FORMS = {  # two ways to say the same of digits in reading order
    "one": ("{0} {place}", "{place} there is {0}"),
    "beside": ("{0} left of {1}", "{1} right of {0}"),
    "stacked": ("{0} above {1}", "{1} below {0}"),
    "row": ("{0}, {1} and {2} from left to right", "{2}, {1} and {0} from right to left"),
    "column": ("{0}, {1} and {2} from top to bottom", "{2}, {1} and {0} from bottom to top"),
    "pair above": ("{0} left of {1}, both above {2}", "{1} right of {0}, both above {2}"),
    "pair below": ("{1} left of {2}, both below {0}", "{2} right of {1}, both below {0}"),
}
_LAYOUTS = (("one",), ("beside", "stacked"), ("row", "column", "pair above", "pair below"))  # of one, two, three digits


class MovingDigits(NamedTuple):
    """Frames (n, frames, size, size) uint8, the direction of each (n, frames) and the digit (n,), both int64."""

    frames: Pixels
    directions: Ints
    digits: Ints


def adding(n: int, length: int, seed: int = 0) -> tuple[Floats, Floats]:
    """The adding problem: x (n, length, 2) holds values in [0, 1) and marks, y (n,) the sum of the two marked values.

    One mark stands in each half of the steps. Who always answers 1 has a squared error of 1/6.
    Source: Hochreiter and Schmidhuber, "Long short-term memory", 1997, in the form of Arjovsky et al., 2016.
    """
    _check("adding", n=(n, 1), length=(length, 2))
    x = np.zeros((n, length, 2), np.float32)
    x[:, :, 0] = random.uniform((n, length), seed=seed, stream=_STREAM).numpy()
    u, rows, half = _uniform((n, 2), seed, _STREAM + 1), np.arange(n), length // 2
    first, second = _below(u[:, 0], half), half + _below(u[:, 1], length - half)
    x[rows, first, 1] = x[rows, second, 1] = 1
    return x, x[rows, first, 0] + x[rows, second, 0]


def copy_memory(n: int, delay: int, seed: int = 0, symbols: int = 8, length: int = 10) -> tuple[Ints, Ints]:
    """The copying problem: x and y (n, delay + 2 length), tokens; y ends with the `length` tokens that x begins with.

    Tokens 0 .. symbols - 1 are to be kept, `symbols` is blank, `symbols + 1` the mark from which on they are asked for:
    x is length tokens, delay - 1 blanks, the mark, length blanks. y is delay + length blanks, then the tokens. Who
    remembers nothing has a cross-entropy of length log(symbols) / (delay + 2 length).
    Source: Hochreiter and Schmidhuber, 1997, in the form of Arjovsky et al., "Unitary evolution recurrent neural
    networks", 2016.
    """
    _check("copy_memory", n=(n, 1), delay=(delay, 1), symbols=(symbols, 1), length=(length, 1))
    kept = _below(_uniform((n, length), seed, _STREAM), symbols)
    x = np.full((n, delay + 2 * length), symbols, np.int64)
    y = x.copy()
    x[:, :length] = y[:, -length:] = kept
    x[:, length + delay - 1] = symbols + 1
    return x, y


def temporal_order(n: int, length: int, seed: int = 0, *, one_hot: bool = False) -> tuple[NDArray[Any], Ints]:
    """The order of two symbols X or Y among four that distract: tokens (n, length) int64, classes (n,) 0..3.

    `ORDER_SYMBOLS` names the tokens. The first X or Y stands within steps length/10 .. 2 length/10, the second within
    4 length/10 .. 5 length/10. The classes are XX, XY, YX, YY.

    one_hot: float32 (n, length, 6) instead of tokens.

    Source: Hochreiter and Schmidhuber, 1997; Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent
    neural networks", 2013.
    """
    _check("temporal_order", n=(n, 1), length=(length, 3))
    tokens = 2 + _below(_uniform((n, length), seed, _STREAM), len(ORDER_SYMBOLS) - 2)
    u, rows = _uniform((n, 4), seed, _STREAM + 1), np.arange(n)
    first, second = _below(u[:, 0], 2), _below(u[:, 1], 2)
    for symbol, share, tenth in ((first, u[:, 2], 1), (second, u[:, 3], 4)):
        low, high = tenth * length // 10, (tenth + 1) * length // 10
        tokens[rows, low + _below(share, high - low + 1)] = symbol
    y = 2 * first + second
    return (np.eye(len(ORDER_SYMBOLS), dtype=np.float32)[tokens], y) if one_hot else (tokens, y)


def dates(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Days of the years 1900 to 2099 as people write them, and in the order of ISO 8601: n texts each.

    "march 3, 1998", "3 mar 1998", "tuesday, march 3, 1998", "the 3rd of march 1998", "3.3.1998", "3/3/1998" (month
    first) and a few forms more are "1998-03-03". Days and forms are equally frequent.
    """
    _check("dates", n=(n, 1))
    u = _uniform((n, 2), seed, _STREAM)
    written, iso = [], []
    for offset, form in zip(_below(u[:, 0], (_LAST_DAY - _FIRST_DAY).days + 1), _below(u[:, 1], len(_DATE_FORMS))):
        day = _FIRST_DAY + datetime.timedelta(days=int(offset))
        month = _MONTHS[day.month - 1]
        ending = "th" if 11 <= day.day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
        written.append(
            _DATE_FORMS[form].format(
                month=month, short=month[:3], number=day.month, day=day.day, nth=f"{day.day}{ending}", year=day.year,
                weekday=_DAYS[day.weekday()],
            )
        )  # fmt: skip
        iso.append(day.isoformat())
    return written, iso


def moving_digits(
    n: int, frames: int = 12, size: int = 24, seed: int = 0, *, part: str = "train", bounce: bool = True,
    speed: int = 2, scale: int = 1, pictures: tuple[NDArray[Any], NDArray[Any]] | None = None,
) -> MovingDigits:  # fmt: skip
    """Digits that move over a dark square in one of eight directions.

    The direction of a frame, an index of `DIRECTIONS`, is that of the step from the frame before to it; the first frame
    has the direction of the second. Each digit keeps its pace, and turns round along an axis where its next step would
    leave the square: where it is and how it moves say in which direction it goes some frames later.

    Args:
        n: number of films.
        frames: of each film.
        size: side of the square.
        seed: of the random numbers.
        part: 'train' or 'test': which pictures of `load_digits` are shown. No picture is in both.
        bounce: turn round at the borders; otherwise a film begins where its digit never reaches them.
        speed: highest number of pixels from frame to frame, along each axis that changes.
        scale: how often a pixel of a digit is repeated along each axis.
        pictures: (images (m, side, side) uint8, labels (m,)) to draw from, such as those of `load_mnist`, in place of
            the packaged digits, whose parts `part` names.

    Raises:
        ArgumentError: a number is out of range, the square is too small for the movement, `part` is given beside
            pictures, or these are not square or not uint8, none, or have not a label each.
    """
    name = "moving_digits"
    _check(name, n=(n, 1), frames=(frames, 1), speed=(speed, 1), scale=(scale, 1))
    shown, labels = _source(name, part, scale) if pictures is None else _given(name, part, scale, pictures)
    side = shown.shape[1]
    needed = side + (max(2 * speed - 1, 1) if bounce else speed * (frames - 1))
    if size < needed:
        raise ArgumentError(
            f"{name}: expected size >= {needed} for speed {speed}, scale {scale}, {frames} frames and "
            f"bounce={bounce}, got {size}"
        )
    u, room = _uniform((n, 5), seed, _STREAM), size - side
    which = _below(u[:, 0], len(shown))
    step = _STEPS[_below(u[:, 1], len(_STEPS))] * (1 + _below(u[:, 2], speed))[:, None]
    path = np.zeros_like(step) if bounce else step * (frames - 1)
    at = np.maximum(-path, 0) + _below(u[:, 3:], room + 1 - np.abs(path))
    out, directions = np.zeros((n, frames, size, size), np.uint8), np.empty((n, frames), np.int64)
    rows, ink = np.arange(n)[:, None, None], np.arange(side)
    for t in range(frames):
        if t > 0:
            step = np.where((at + step < 0) | (at + step > room), -step, step)
            at = at + step
        directions[:, t] = _DIRECTION_OF[np.sign(step[:, 0]) + 1, np.sign(step[:, 1]) + 1]
        out[rows, t, at[:, 0, None, None] + ink[:, None], at[:, 1, None, None] + ink] = shown[which]
    if frames > 1:
        directions[:, 0] = directions[:, 1]
    return MovingDigits(out, directions, labels[which])


@overload
def digit_scenes(
    n: int, seed: int = ..., size: int = ..., *, part: str = ..., digits: Digits | None = ..., most: int = ...,
    both: Literal[False] = ...,
) -> tuple[Pixels, list[str]]: ...  # fmt: skip
@overload
def digit_scenes(
    n: int, seed: int = ..., size: int = ..., *, part: str = ..., digits: Digits | None = ..., most: int = ...,
    both: Literal[True],
) -> tuple[Pixels, list[list[str]]]: ...  # fmt: skip
def digit_scenes(
    n: int, seed: int = 0, size: int = 32, *, part: str = "train", digits: Digits | None = None, most: int = 3,
    both: bool = False,
) -> tuple[Pixels, list[str] | list[list[str]]]:  # fmt: skip
    """Pictures (n, size, size) of one to three packaged digits, and what each shows, in words.

    Captions are "a three at the top left", "a three left of a seven", "a five above a two", "a one, a two and an eight
    from left to right", "a one left of a two, both above a nine", each in a second form too ("a seven right of a
    three"). The square has three rows and three columns; digits of which one is left of the other share a row, those
    of which one is above the other a column, so that no other relation holds, except below or above a pair.

    Args:
        n: number of pictures.
        seed: of the random numbers.
        size: side of the square.
        part: 'train' or 'test': which pictures of `load_digits` are shown. No picture is in both.
        digits: other pictures uint8 (m, side, side) and their labels (m,), 0..9, in place of these.
        most: digits of a scene at most, 1 to 3.
        both: give both forms of each caption, a list of two texts, instead of one of them at random.

    Raises:
        ArgumentError: a number is out of range, or the square too small.
        DtypeError: `digits` are not uint8.
        ShapeError: `digits` are no squares, or their labels are not as many.
        DataError: a label is not 0..9.
    """
    name = "digit_scenes"
    own = _PIXELS if digits is None else _checked_digits(name, digits)
    _check(name, n=(n, 1), size=(size, 3 * (own + 1)), most=(most, 1))
    if most > len(_LAYOUTS):
        raise ArgumentError(f"{name}: expected most <= {len(_LAYOUTS)}, got {most}")
    cell = size // 3
    scale = (cell - 1) // own  # digits keep a pixel apart
    if digits is None:
        pictures, labels = _source(name, part, scale)
    else:
        pictures, labels = digits[0].repeat(scale, axis=1).repeat(scale, axis=2), digits[1]
    side = own * scale
    images = np.zeros((n, size, size), np.uint8)
    captions: list[Any] = []
    for image, u in zip(images, _uniform((n, 16), seed, _STREAM)):
        layouts = _LAYOUTS[int(u[0] * most)]
        layout = layouts[int(u[1] * len(layouts))]
        places = _places(layout, int(u[2] * 3), int(u[3] * 3), int(u[4] * 3))
        names = []
        for i, (row, column) in enumerate(places):
            which = int(u[6 + i] * len(pictures))
            down, right = (_below(u[9 + 2 * i : 11 + 2 * i], cell - side) + (row * cell, column * cell)).tolist()
            image[down : down + side, right : right + side] = pictures[which]
            number = _NUMBERS[labels[which]]
            names.append(f"an {number}" if number == "eight" else f"a {number}")
        place = _PLACES[places[0][0]][places[0][1]]
        forms = [form.format(*names, place=place) for form in _FORMS[layout]]
        captions.append(forms if both else forms[int(u[5] * 2)])
    return images, captions


def _checked_digits(name: str, digits: Digits) -> int:
    """The side of pictures of digits."""
    pictures, labels = digits
    if pictures.dtype != np.uint8:
        raise DtypeError(f"{name}: expected digits uint8, got {pictures.dtype}")
    if pictures.ndim != 3 or pictures.shape[1] != pictures.shape[2] or labels.shape != pictures.shape[:1]:
        raise ShapeError(
            f"{name}: expected digits (m, side, side) and labels (m,), got {pictures.shape} and {labels.shape}"
        )
    if len(labels) == 0 or labels.min() < 0 or labels.max() > 9:
        raise DataError(f"{name}: expected at least one digit, with labels 0..9")
    return int(pictures.shape[1])


def _places(layout: str, a: int, b: int, c: int) -> list[tuple[int, int]]:
    """(row, column) of the digits of a layout in reading order; a, b, c in 0..2 choose among its variants."""
    first, second = _PAIRS[a]
    left, right = _PAIRS[b]
    return {
        "one": [(a, b)],
        "beside": [(b, first), (b, second)],
        "stacked": [(first, b), (second, b)],
        "row": [(a, 0), (a, 1), (a, 2)],
        "column": [(0, a), (1, a), (2, a)],
        "pair above": [(first, left), (first, right), (second, c)],
        "pair below": [(first, c), (second, left), (second, right)],
    }[layout]


def _source(name: str, part: str, scale: int) -> tuple[Pixels, Ints]:
    """Digits of one part, (m, 8 scale, 8 scale) in 0..255, and their labels."""
    if part not in PARTS:
        raise ArgumentError(f"{name}: expected part in {PARTS}, got {part!r}")
    x_train, y_train, x_test, y_test = load_digits()
    x, y = (x_train, y_train) if part == "train" else (x_test, y_test)
    bright = (x.astype(np.uint16) * 255 // 16).astype(np.uint8)
    return bright.repeat(scale, axis=1).repeat(scale, axis=2), y.astype(np.int64)


def _given(name: str, part: str, scale: int, pictures: tuple[NDArray[Any], NDArray[Any]]) -> tuple[Pixels, Ints]:
    """Pictures of the caller, enlarged, and their labels."""
    if part != "train":
        raise ArgumentError(f"{name}: expected no part beside pictures, got {part!r}")
    x, y = np.asarray(pictures[0]), np.asarray(pictures[1])
    x = x[..., 0] if x.ndim == 4 and x.shape[3] == 1 else x
    if x.ndim != 3 or x.shape[1] != x.shape[2] or x.size == 0 or x.dtype != np.uint8:
        raise ArgumentError(f"{name}: expected pictures uint8 (m, side, side), got {x.dtype} {x.shape}")
    if y.shape != (len(x),) or y.dtype.kind not in "iu":
        raise ArgumentError(f"{name}: expected {len(x)} whole numbers as labels, got {y.dtype} {y.shape}")
    return x.repeat(scale, axis=1).repeat(scale, axis=2), y.astype(np.int64)


def _uniform(shape: tuple[int, ...], seed: int, stream: int) -> NDArray[np.float64]:
    return random.uniform(shape, dtype="float64", seed=seed, stream=stream).numpy()


def _below(u: NDArray[np.float64], limit: int | Ints) -> Ints:
    """Whole numbers 0 .. limit - 1 from uniform numbers in [0, 1)."""
    whole: Ints = (u * limit).astype(np.int64)
    return whole


def _check(name: str, **limits: tuple[int, int]) -> None:
    """Each argument is a whole number that is at least its limit."""
    for argument, (value, least) in limits.items():
        if not isinstance(value, (int, np.integer)) or value < least:
            raise ArgumentError(f"{name}: expected {argument} >= {least}, a whole number, got {value!r}")


__all__ = [
    "DIRECTIONS",
    "ORDER_SYMBOLS",
    "MovingDigits",
    "adding",
    "copy_memory",
    "dates",
    "digit_scenes",
    "moving_digits",
    "temporal_order",
]
