"""Corruption: what each kind does, and noise that belongs to the sample and the epoch alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore.data import ArrayDataset, Corruption, DataLoader
from deepcore.data.corrupt import KINDS, make_corruption
from deepcore.errors import ArgumentError, ShapeError

X = np.random.default_rng(0).uniform(0.2, 0.8, (300, 20, 10)).astype(np.float32)


def test_masking_and_salt_and_pepper() -> None:
    masked = Corruption("masking", 0.25, low=-1.0).apply(X)
    hit = masked == -1
    assert abs(hit.mean() - 0.25) < 0.01 and (masked[~hit] == X[~hit]).all()
    noisy = Corruption("salt-and-pepper", 0.4).apply(X)
    assert abs((noisy == 0).mean() - 0.2) < 0.01 and abs((noisy == 1).mean() - 0.2) < 0.01
    kept = (noisy != 0) & (noisy != 1)
    assert (noisy[kept] == X[kept]).all()


def test_gaussian() -> None:
    noise = Corruption("gaussian", 0.5).apply(X) - X
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 0.5) < 0.01
    clipped = Corruption("gaussian", 0.5, clip=True).apply(X)
    np.testing.assert_array_equal(clipped, np.clip(noise + X, 0, 1))
    assert Corruption("gaussian", 2.0).amount == 2.0  # a deviation, not a share


@pytest.mark.parametrize(("shape", "size"), [((300, 20, 10), 10 * 5), ((300, 20, 10, 3), 150), ((300, 20), 10)])
def test_block(shape: tuple[int, ...], size: int) -> None:
    x = np.ones(shape, np.float32)
    holes = Corruption("block", 0.5).apply(x) == 0
    assert (holes.reshape(300, -1).sum(1) == size).all()
    rows = holes.reshape(300, shape[1], -1).any(2)
    assert (rows.sum(1) == 10).all() and (np.abs(np.diff(rows.astype(int), axis=1)).sum(1) <= 2).all()
    assert rows.any(0).all()  # blocks fall everywhere


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_a_function_of_seed_epoch_and_sample(kind: str) -> None:
    noise = Corruption(kind, 0.3, seed=5)
    whole = noise.apply(X, epoch=2)
    order = np.array([7, 3, 299, 0])
    np.testing.assert_array_equal(noise.apply(X[order], order, 2), whole[order])
    assert (noise.apply(X, epoch=3) != whole).any() and (Corruption(kind, 0.3, seed=6).apply(X, epoch=2) != whole).any()
    before = dc.get_num_threads()
    try:
        dc.set_num_threads(1)
        np.testing.assert_array_equal(noise.apply(X, epoch=2), whole)
    finally:
        dc.set_num_threads(before)


def test_in_a_loader() -> None:
    noise = Corruption("masking", 0.5, seed=1)
    loader = DataLoader(ArrayDataset(X, np.arange(300)), 64, True, 0, transform=noise)
    for epoch in range(2):
        for noisy, clean, ids in loader:
            np.testing.assert_array_equal(clean, X[ids])
            np.testing.assert_array_equal(noisy, noise.apply(X[ids], ids, epoch))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "speckle"}, "expected kind in .*got 'speckle'"), ({"kind": "masking", "amount": 1.5}, r"in \[0, 1\]"),
        ({"amount": -1.0}, "amount"), ({"amount": float("nan")}, "amount"), ({"low": 1.0}, "low < high"),
    ],
)  # fmt: skip
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Corruption(**options)


def test_bad_samples_and_descriptions() -> None:
    with pytest.raises(ShapeError, match=r"got \(3,\) and None"):
        Corruption().apply(np.zeros(3))
    with pytest.raises(ShapeError, match=r"and \(2,\)"):
        Corruption().apply(np.zeros((3, 4)), np.arange(2))
    assert make_corruption({"kind": "block", "seed": 9}, 3).seed == 9 and make_corruption("block", 3).seed == 3
    for wrong in ({"strength": 1}, 5):
        with pytest.raises(ArgumentError, match="Corruption: expected"):
            make_corruption(wrong, 0)  # type: ignore[arg-type]
