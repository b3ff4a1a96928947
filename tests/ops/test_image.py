"""What is special about images: augmentation is a function of key and id; its parts one by one; errors."""

from __future__ import annotations

import numpy as np
import pytest

import deepcore as dc
from deepcore import ops
from deepcore.errors import ArgumentError, DtypeError, ShapeError

KEY = (5, 9, 0)


def _images(dtype: str = "uint8", n: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 8, 9, 3)).astype(dtype)


def test_without_options_only_normalises(isa: str) -> None:
    x = _images()
    y = ops.augment(dc.tensor(x), key=KEY, mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 8.0))
    assert y.dtype == "float32"
    np.testing.assert_allclose(y.numpy(), (x - np.array([1.0, 2.0, 3.0])) / np.array([2.0, 4.0, 8.0]), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_shift_flip_and_crop_are_moves_of_pixels(dtype: str, isa: str) -> None:
    x = _images(dtype)
    y = ops.augment(dc.tensor(x), key=KEY, shift=(2, 3), flip=0.5, size=(6, 6), fill=7).numpy()
    padded = np.full((6, 8 + 20, 9 + 20, 3), 7.0)
    padded[:, 10:18, 10:19] = x
    seen = set()
    for i in range(6):
        found = [
            (dy, dx, flip)
            for dy in range(-2, 3) for dx in range(-3, 4) for flip in (False, True)
            if np.array_equal(y[i][:, ::-1] if flip else y[i],
                              padded[i, 11 + dy : 17 + dy, 11 + dx : 17 + dx])
        ]  # fmt: skip
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) > 3 and len({f for _, _, f in seen}) == 2


def test_a_sample_depends_on_key_and_id_only(isa: str) -> None:
    x = dc.tensor(_images())
    options = {"shift": 2, "flip": 0.5, "rotate": 0.3, "scale": 0.2, "shear": 0.1, "cut": 3}
    all_rows = ops.augment(x, key=KEY, **options).numpy()
    some = ops.augment(x, dc.tensor([4, 1]), key=KEY, **options).numpy()
    np.testing.assert_array_equal(some, all_rows[[4, 1]])
    ids = ops.augment(x, dc.tensor([0, 0]), ids=dc.tensor([0, 1]), key=KEY, **options).numpy()
    np.testing.assert_array_equal(ids[0], all_rows[0])
    assert not np.array_equal(ids[0], ids[1])
    assert not np.array_equal(ops.augment(x, key=(5, 10, 0), **options).numpy(), all_rows)


def test_cut_sets_one_square(isa: str) -> None:
    y = ops.augment(dc.ones((40, 12, 12, 1)), key=KEY, cut=4, fill=-5.0).numpy()[..., 0]
    for image in y:
        rows, columns = np.nonzero(image == -5.0)
        assert (image[image != -5.0] == 1.0).all()
        assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1) <= 16


def test_rotation_turns_about_the_centre(isa: str) -> None:
    # A disc stays a disc, up to interpolation at its rim.
    i, j = np.mgrid[:33, :33] - 16
    disc = (np.hypot(i, j) < 10).astype("float32").reshape(1, 33, 33, 1)
    y = ops.augment(dc.tensor(disc), dc.tensor([0] * 5), ids=dc.arange(5), key=KEY, rotate=3.0).numpy()
    inner, outer = np.hypot(i, j) < 8.5, np.hypot(i, j) > 11.5
    np.testing.assert_allclose(y[:, inner], 1.0, atol=1e-5)
    assert np.abs(y[:, outer]).max() == 0.0


def test_same_bits_for_any_number_of_threads() -> None:
    x = dc.tensor(np.random.default_rng(3).integers(0, 256, (300, 32, 32, 3)).astype("uint8"))
    before, results = dc.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            dc.set_num_threads(threads)
            results.append(ops.augment(x, key=KEY, shift=4, flip=0.5, rotate=0.2, cut=8).numpy().tobytes())
    finally:
        dc.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: ops.augment(x[0], key=KEY), ShapeError, r"expected images \(any, h, w, c\)"),
        (lambda x: ops.augment(x, dc.tensor([2]), key=KEY), ArgumentError, r"rows in \[0, 2\), got 2"),
        (lambda x: ops.augment(x, dc.tensor([0]), ids=dc.tensor([0, 1]), key=KEY), ShapeError, "expected 1 ids"),
        (lambda x: ops.augment(x, key=KEY, flip=1.5), ArgumentError, "probability of a flip"),
        (lambda x: ops.augment(x, key=KEY, scale=1.0), ArgumentError, "change of size"),
        (lambda x: ops.augment(x, key=KEY, rotate=float("nan")), ArgumentError, "finite rotate"),
        (lambda x: ops.augment(x, key=KEY, std=0.0), ArgumentError, "std > 0"),
        (lambda x: ops.augment(ops.astype(x, "int32"), key=KEY), DtypeError, "images of uint8 or float32"),
        (lambda x: ops.resize(x, 0), ArgumentError, "two sizes >= 1"),
        (lambda x: ops.resize(x, 2, "cubic"), ArgumentError, "expected mode"),
        (lambda x: ops.grid_sample(x, dc.zeros((2, 3, 3, 3))), ShapeError, r"grid \(n, p, q, 2\)"),
        (lambda x: ops.grid_sample(x, dc.zeros((2, 3, 3, 2)), padding="wrap"), ArgumentError, "expected padding"),
        (lambda x: ops.affine_grid(x, 3), ShapeError, r"theta \(n, 2, 3\)"),
        (lambda x: ops.mixup(x, dc.ones(2), dc.tensor([0, 2])), ArgumentError, r"partners in \[0, 2\), got 2"),
    ],
)
def test_errors(call: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(dc.zeros((2, 4, 5, 3)))  # type: ignore[operator]


def test_grid_far_outside_and_nan_read_nothing(isa: str) -> None:
    grid = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 5.0], "float32").reshape(1, 1, 3, 2)
    x = dc.ones((1, 4, 4, 2))
    np.testing.assert_array_equal(ops.grid_sample(x, dc.tensor(grid)).numpy(), 0.0)
    np.testing.assert_array_equal(ops.grid_sample(x, dc.tensor(grid), padding="border").numpy(), 1.0)
