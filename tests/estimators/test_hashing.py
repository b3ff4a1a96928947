"""Binary codes and their search against a plain count of bits."""

from __future__ import annotations

import numpy as np
import pytest

from deepcore.data import load_digits
from deepcore.errors import ArgumentError, DtypeError, ShapeError
from deepcore.estimators import Autoencoder, HammingIndex


@pytest.mark.parametrize("width", [1, 2, 3, 16, 17])
def test_distances_and_query_against_bits(width: int) -> None:
    rng = np.random.default_rng(width)
    codes, queries = (rng.integers(0, 256, (n, width)).astype(np.uint8) for n in (700, 300))
    bits, asked = np.unpackbits(codes, axis=1), np.unpackbits(queries, axis=1)
    expected = (bits[None] != asked[:, None]).sum(2)
    index = HammingIndex(codes)
    assert len(index) == 700
    np.testing.assert_array_equal(index.distances(queries), expected)
    near, where = index.query(queries, 5)
    order = np.argsort(expected, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(where, order)
    np.testing.assert_array_equal(near, np.take_along_axis(expected, order, 1))
    np.testing.assert_array_equal(index.within(queries[0], 3 * width), np.flatnonzero(expected[0] <= 3 * width))


def test_codes_of_digits_find_their_class() -> None:
    x, y, xt, yt = load_digits()
    model = Autoencoder((64, 20), code_activation="sigmoid", code_noise=2.0, scaling="unit", epochs=40,
                        learning_rate=3e-3, random_state=0).fit(x)  # fmt: skip
    plain = Autoencoder((64, 20), code_activation="sigmoid", scaling="unit", epochs=40, learning_rate=3e-3,
                        random_state=0).fit(x)  # fmt: skip
    undecided = [float(((m.transform(xt) > 0.1) & (m.transform(xt) < 0.9)).mean()) for m in (model, plain)]
    assert undecided[0] < 0.7 * undecided[1]  # noise drives the units to 0 and 1
    codes = model.binary_code(xt)
    assert codes.shape == (len(xt), 3) and codes.dtype == np.uint8
    np.testing.assert_array_equal(np.unpackbits(codes, axis=1)[:, :20], model.transform(xt) > 0.5)
    _, where = HammingIndex(model.binary_code(x)).query(codes, 9)
    assert (y[where] == yt[:, None]).mean() > 0.6
    with pytest.raises(ArgumentError, match="needs code_activation"):
        Autoencoder((8,), epochs=1).fit(x).binary_code(xt)


def test_refusals() -> None:
    index = HammingIndex(np.zeros((4, 2), np.uint8))
    with pytest.raises(DtypeError, match="packed bits in uint8, got float64"):
        HammingIndex(np.zeros((4, 2)))
    for shape in ((4,), (0, 2), (4, 0)):
        with pytest.raises(ShapeError, match="expected codes"):
            HammingIndex(np.zeros(shape, np.uint8))
    with pytest.raises(ShapeError, match="codes of 2 bytes, got 3"):
        index.query(np.zeros((1, 3), np.uint8), 1)
    with pytest.raises(ShapeError, match="codes of 2 bytes, got 1"):
        index.query(np.zeros((1, 1), np.uint8), 1)
    for k in (0, 5):
        with pytest.raises(ArgumentError, match=r"k in 1\.\.4"):
            index.query(np.zeros((1, 2), np.uint8), k)
