"""The compressed file: levels come back, sizes near the entropy, and nothing is decoded from a damaged file."""

from __future__ import annotations

import errno
import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore.data import load_digits
from deepcore.errors import ArgumentError, DataError
from deepcore.estimators import Autoencoder, codec, rate

X, _, XT, _ = load_digits()
X, XT = X / np.float32(16), XT / np.float32(16)


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    return Autoencoder((64, 12), epochs=30, learning_rate=3e-3, random_state=0).fit(X)


def entropy_bytes(levels: Any) -> float:
    """The sum of the empirical entropies of the columns."""
    total = 0.0
    for column in levels.T:
        counts = np.unique(column, return_counts=True)[1]
        total -= (counts * np.log2(counts / len(column))).sum()
    return total / 8


@pytest.mark.parametrize("spread", [0.4, 3.0, 30.0, 300.0, 50_000.0])
@pytest.mark.parametrize("n", [1, 2, 5000])
def test_levels_come_back(spread: float, n: int) -> None:
    rng = np.random.default_rng(0)
    levels = np.rint(rng.normal(size=(n, 7)) * spread * [1, 1, 0.1, 0, 2, 1, 1] + 5).astype(np.int64)
    facts, body = codec.pack_levels(levels)
    np.testing.assert_array_equal(codec.unpack_levels(json.loads(json.dumps(facts)), body, n), levels)
    if n == 5000 and spread <= 30:
        assert len(body) <= 1.08 * entropy_bytes(levels) + 300
    with pytest.raises(DataError, match="decompress"):
        codec.unpack_levels({**facts, "radix": [2] * 7}, body[: len(body) // 2], n)


def test_columns_of_exactly_256_and_257_levels() -> None:
    for top in (255, 256, 65535, 65536):
        levels = np.stack([np.linspace(0, top, 1000).astype(np.int64), np.arange(1000) % 3], 1)
        facts, body = codec.pack_levels(levels)
        np.testing.assert_array_equal(codec.unpack_levels(facts, body, 1000), levels)


def test_quantiser() -> None:
    codes = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    steps, offset = codec.steps_of_bits(codes, 5)
    levels = codec.quantise(codes, steps, offset)
    assert levels.min() == 0 and levels.max() == 31
    assert (np.abs(codec.restore(levels, steps, offset) - codes) <= steps / 2 + 1e-6).all()
    constant = np.ones((3, 2), np.float32)
    np.testing.assert_array_equal(codec.restore(codec.quantise(constant, *codec.steps_of_bits(constant, 3)),
                                                *codec.steps_of_bits(constant, 3)), constant)  # fmt: skip
    with pytest.raises(ArgumentError, match="at most 16777216 levels"):
        codec.quantise(codes, steps * 1e-9, offset)
    with pytest.raises(ArgumentError, match="steps > 0"):
        codec.quantise(codes, steps * 0, offset)


@pytest.mark.parametrize("goal", [{"bits": 3}, {"bits": 8}, {"psnr": 14.0}, {"psnr": 17.0}])
def test_file_comes_back(model: Autoencoder, tmp_path: Path, goal: dict[str, Any]) -> None:
    facts = model.compress(tmp_path / "digits", XT, **goal)
    content = (tmp_path / "digits").read_bytes()
    assert facts["bytes"] == len(content) and facts["compression"] == pytest.approx(XT.size / len(content))
    assert facts["bits_per_value"] == pytest.approx(8 * len(content) / XT.size)
    again = model.decompress(tmp_path / "digits")
    assert again.shape == XT.shape and again.dtype == np.float32
    assert codec.psnr_of(XT, again, 1.0) == pytest.approx(facts["psnr"], abs=1e-4)
    if "psnr" in goal:
        assert goal["psnr"] <= facts["psnr"] < goal["psnr"] + 0.15
    model.save(tmp_path / "net")
    np.testing.assert_array_equal(Autoencoder.load(tmp_path / "net").decompress(tmp_path / "digits"), again)


def test_more_bits_more_quality(model: Autoencoder, tmp_path: Path) -> None:
    found = [model.compress(tmp_path / "d", XT, bits=b) for b in (1, 2, 4, 6)]
    assert all(a["bytes"] < b["bytes"] and a["psnr"] < b["psnr"] for a, b in pairwise(found))


@pytest.mark.parametrize("options", [{"channels": (8, 16), "layers": (16,)}, {"scaling": "standard"},
                                     {"variational": True, "loss": "cross_entropy"}])  # fmt: skip
def test_other_kinds(options: dict[str, Any], tmp_path: Path) -> None:
    model = Autoencoder(**{"layers": (32, 16), "epochs": 10, "learning_rate": 3e-3, "random_state": 0, **options})
    model.fit(X)
    model.compress(tmp_path / "d", XT[:50], bits=10)
    np.testing.assert_allclose(model.decompress(tmp_path / "d"), model.reconstruct(XT[:50]), atol=0.02)
    model.compress(tmp_path / "one", XT[:1], bits=4)
    assert model.decompress(tmp_path / "one").shape == (1, 8, 8)


def test_damaged_files_decode_nothing(model: Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "digits"
    model.compress(path, XT, bits=5)
    whole = path.read_bytes()

    def never(*_: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(codec, "decode", never)
    rng = np.random.default_rng(0)
    for cut in [0, 1, 7, 8, 15, 16, 40, len(whole) // 2, len(whole) - 33, len(whole) - 1]:
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"decompress: (expected a compressed file|the checksum)"):
            model.decompress(path)
    for at in [0, 3, 8, 9, 12, 20, len(whole) - 1, *rng.integers(0, len(whole), 60).tolist()]:
        changed = bytearray(whole)
        changed[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(changed))
        with pytest.raises(DataError, match="decompress: "):
            model.decompress(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(DataError, match="checksum"):
        model.decompress(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 7}, "fit|expected 7 values"), ({"samples": 10**12}, "fit|expected"), ({"samples": -1}, "describe"),
        ({"columns": {}}, "fit"), ({"columns": 5}, "fit"), ({"steps": [1.0]}, "steps"), ({"offset": None}, "offsets"),
        ({"fingerprint": "0" * 64}, "another net"), ({"samples": None}, "lacks"),
    ],
)  # fmt: skip
def test_lying_headers_with_a_right_checksum(
    model: Autoencoder, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "digits"
    model.compress(path, XT[:40], bits=5)
    header, body = codec.read_file(path)
    codec.write_file(path, codec.file_bytes({**header, **change}, body))
    with pytest.raises(DataError, match=message):
        model.decompress(path)


def test_lying_columns_with_a_right_checksum(model: Autoencoder, tmp_path: Path) -> None:
    path = tmp_path / "digits"
    model.compress(path, XT[:40], bits=5)
    header, body = codec.read_file(path)
    columns = header["columns"]
    wrong: list[dict[str, Any]] = [
        {**columns, "radix": [0] * 12}, {**columns, "radix": [2] * 12}, {**columns, "low": [0]},
        {**columns, "radix": [10**15] * 12}, {**columns, "planes": columns["planes"][:-1]},
        {**columns, "planes": [["z", 5]]}, {**columns, "planes": [["h", -5]] * 12},
    ]  # fmt: skip
    for given in wrong:
        codec.write_file(path, codec.file_bytes({**header, "columns": given}, body))
        with pytest.raises(DataError, match="decompress: "):
            model.decompress(path)


def test_other_versions_and_headers(tmp_path: Path) -> None:
    import hashlib

    def signed(content: bytes) -> Path:
        path = tmp_path / "f"
        path.write_bytes(content + hashlib.sha256(content).digest())
        return path

    with pytest.raises(DataError, match="expected version 1, got 2"):
        codec.read_file(signed(codec.MAGIC + struct.pack("<II", 2, 2) + b"{}"))
    with pytest.raises(DataError, match="longer than the file"):
        codec.read_file(signed(codec.MAGIC + struct.pack("<II", 1, 2**31) + b"{}"))
    for text in (b"[]", b"{]", b"\xff\xff"):
        with pytest.raises(DataError, match=r"header|object"):
            codec.read_file(signed(codec.MAGIC + struct.pack("<II", 1, len(text)) + text))


def test_an_old_file_survives_a_failed_write(
    model: Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "digits"
    model.compress(path, XT, bits=4)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("deepcore.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        model.compress(path, XT, bits=6)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["digits"]


def test_refusals(model: Autoencoder, tmp_path: Path) -> None:
    path = tmp_path / "digits"
    for wrong in ({}, {"bits": 4, "psnr": 20.0}):
        with pytest.raises(ArgumentError, match="either bits or psnr"):
            model.compress(path, XT, **wrong)
    with pytest.raises(ArgumentError, match=r"bits in 1\.\.16, got 0"):
        model.compress(path, XT, bits=0)
    with pytest.raises(ArgumentError, match=r"psnr 60 dB is out of reach: exact codes give \d\d\.\d\d dB"):
        model.compress(path, XT, psnr=60.0)
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        model.decompress(path)
    other = Autoencoder((64, 12), epochs=1, random_state=1).fit(X)
    model.compress(path, XT, bits=4)
    with pytest.raises(DataError, match="another net"):
        other.decompress(path)


def test_rate_distortion_against_principal_components(model: Autoencoder) -> None:
    rows = model.rate_distortion(XT, bits=(1, 3, 6), reference=X)
    assert [row["bits"] for row in rows] == [1, 3, 6] and all("jpeg_psnr" not in row for row in rows)
    for small, large in pairwise(rows):
        assert small["bytes"] < large["bytes"] and small["psnr"] < large["psnr"]
        assert not small["pca_psnr"] > large["pca_psnr"]
    # at many bits PCA is at its limit: 12 components without quantisation
    pca = rate.PrincipalComponents(X.reshape(len(X), -1), 12)
    flat = XT.reshape(len(XT), -1)
    limit = codec.psnr_of(flat, pca.decode(pca.encode(flat)), 1.0)
    assert limit - 0.3 < rows[-1]["pca_psnr"] <= limit + 1e-6
    v = np.linalg.svd(X.reshape(len(X), -1) - pca.mean, full_matrices=False)[2]
    np.testing.assert_allclose(np.abs(pca.vectors.T @ v[:12].T), np.eye(12), atol=1e-4)
    assert rows[-1]["bits_per_value"] == pytest.approx(8 * rows[-1]["bytes"] / XT.size)


def test_rate_distortion_against_jpeg(model: Autoencoder) -> None:
    pytest.importorskip("PIL")
    curve = rate.jpeg_curve(XT[..., None])
    assert max(p for _, p in curve) > 30 and min(s for s, _ in curve) < XT.size / 8
    row = model.rate_distortion(XT, bits=(8,), jpeg=True)[0]
    assert row["jpeg_psnr"] == rate.at_size(curve, row["bytes"])
    colour = rate.jpeg_curve(np.random.default_rng(0).uniform(size=(3, 5, 9, 3)))
    assert len(colour) == len(curve)
    with pytest.raises(ArgumentError, match="images in 0"):
        Autoencoder((4,), epochs=1, scaling="standard").fit(X).rate_distortion(XT, jpeg=True)
    with pytest.raises(ArgumentError, match="images in 0"):
        Autoencoder((4,), epochs=1).fit(X.reshape(len(X), -1)).rate_distortion(XT.reshape(len(XT), -1), jpeg=True)


def test_points_between_and_outside_a_curve() -> None:
    curve = [(100, 10.0), (400, 20.0), (200, 9.0)]
    assert rate.at_size(curve, 200) == pytest.approx(15.0)  # the worse point at 200 does not count
    assert rate.at_size(curve, 1000) == 20.0 and np.isnan(rate.at_size(curve, 99))
