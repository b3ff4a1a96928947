from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from deepcore.data.dataset import Dataset
from deepcore.data.digits import load_digits
from deepcore.data.idx import write_idx
from deepcore.data.images import ImageFolder, encode_png, read_image, write_image
from deepcore.data.mnist import load_fashion_mnist, load_mnist
from deepcore.errors import ArgumentError, DataError, DtypeError, ShapeError


def test_digits() -> None:
    x_train, y_train, x_test, y_test = load_digits()
    assert x_train.shape == (1437, 8, 8) and x_test.shape == (360, 8, 8)
    assert y_train.shape == (1437,) and y_test.shape == (360,)
    assert all(a.dtype == np.uint8 for a in (x_train, y_train, x_test, y_test))
    assert x_train.max() == x_test.max() == 16
    np.testing.assert_array_equal(np.unique(y_train), np.arange(10))
    np.testing.assert_array_equal(np.unique(y_test), np.arange(10))


def test_digits_against_sklearn() -> None:
    other = pytest.importorskip("sklearn.datasets").load_digits()
    x_train, y_train, x_test, y_test = load_digits()
    test = np.arange(len(other.target)) % 5 == 0
    np.testing.assert_array_equal(x_train, other.images[~test])
    np.testing.assert_array_equal(y_train, other.target[~test])
    np.testing.assert_array_equal(x_test, other.images[test])
    np.testing.assert_array_equal(y_test, other.target[test])


def fake_mnist(folder: Path, suffix: str = "", **changes: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "train-images-idx3-ubyte": np.arange(3 * 784, dtype=np.int64).astype(np.uint8).reshape(3, 28, 28),
        "train-labels-idx1-ubyte": np.array([5, 0, 9], np.uint8),
        "t10k-images-idx3-ubyte": np.ones((2, 28, 28), np.uint8),
        "t10k-labels-idx1-ubyte": np.array([7, 2], np.uint8),
    }
    for name, array in {**arrays, **{k.replace("_", "-"): v for k, v in changes.items()}}.items():
        write_idx(folder / f"{name}{suffix}", array)
    return folder


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist_reads_four_files(tmp_path: Path, suffix: str) -> None:
    x_train, y_train, x_test, y_test = load_mnist(fake_mnist(tmp_path, suffix))
    assert x_train.shape == (3, 28, 28) and x_train[0, 0, 5] == 5
    assert y_train.tolist() == [5, 0, 9] and y_test.tolist() == [7, 2] and x_test.sum() == 2 * 784


def test_mnist_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPCORE_DATA", str(tmp_path))
    fake_mnist(tmp_path / "fashion_mnist")
    assert len(load_fashion_mnist()[0]) == 3
    with pytest.raises(DataError, match="`deepcore data fetch mnist` downloads"):
        load_mnist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_labels_idx1_ubyte": np.array([1, 2], np.uint8)}, r"expected 3 uint8 labels, got uint8 \(2,\)"),
        ({"t10k_images_idx3_ubyte": np.ones((2, 28, 27), np.uint8)}, r"got uint8 \(2, 28, 27\)"),
        ({"t10k_labels_idx1_ubyte": np.array([1, 10], np.uint8)}, "got 10 at 1"),
    ],
)
def test_mnist_files_that_do_not_fit(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_mnist(fake_mnist(tmp_path, **changes))


@pytest.mark.skipif("DEEPCORE_DATA" not in os.environ, reason="DEEPCORE_DATA is not set")
@pytest.mark.parametrize("load", [load_mnist, load_fashion_mnist])
def test_real_mnist(load: object) -> None:
    x_train, y_train, x_test, y_test = load()  # type: ignore[operator]
    assert x_train.shape == (60000, 28, 28) and x_test.shape == (10000, 28, 28)
    assert len(y_train) == 60000 and len(y_test) == 10000


# Pictures


def picture(h: int, w: int, c: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (h, w, c), dtype=np.uint8)


def folder(root: Path) -> Path:
    for name in ("cat", "dog"):
        (root / name / "more").mkdir(parents=True)
    write_image(root / "cat" / "b.PNG", picture(8, 8))
    write_image(root / "cat" / "a.png", np.full((8, 8), 7, np.uint8))
    write_image(root / "dog" / "more" / "c.png", np.full((4, 4, 3), [1, 2, 3], np.uint8))
    (root / "dog" / "notes.txt").write_text("x")
    (root / "dog" / ".hidden.png").write_text("x")
    (root / ".git").mkdir()
    return root


def test_image_folder(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    dataset = ImageFolder(folder(tmp_path), 8)
    assert isinstance(dataset, Dataset)
    assert dataset.classes == ["cat", "dog"] and dataset.ignored == 1
    assert [p.name for p in dataset.paths] == ["a.png", "b.PNG", "c.png"]
    x, y = dataset[np.array([2, 0, 1])]
    assert x.shape == (3, 8, 8, 3) and x.dtype == np.uint8 and y.tolist() == [1, 0, 0]
    assert (x[0] == [1, 2, 3]).all() and (x[1] == 7).all()
    np.testing.assert_array_equal(x[2], picture(8, 8))
    grey, _ = ImageFolder(tmp_path, (2, 5), grey=True).arrays()
    assert grey.shape == (3, 2, 5, 1)


def test_crop_and_stretch(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 255
    write_image(tmp_path / "a.png", wide)
    assert (read_image(tmp_path / "a.png", 4) == 255).all()
    assert 0 < read_image(tmp_path / "a.png", 4, fit="stretch").mean() < 200
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), wide)


def test_kinds_of_pictures(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.full((2, 2), 0x8000, np.uint16)).save(tmp_path / "deep.png")
    image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    image.new("P", (2, 2)).save(tmp_path / "palette.gif")
    turned = image.new("RGB", (2, 4))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert (read_image(tmp_path / "deep.png") == 0x80).all()
    assert (read_image(tmp_path / "clear.png", grey=True) == 255).all()
    assert read_image(tmp_path / "palette.gif").shape == (2, 2, 3)
    assert read_image(tmp_path / "turned.jpg").shape == (2, 4, 3)
    image.fromarray(picture(64, 64)).save(tmp_path / "large.jpg")
    assert read_image(tmp_path / "large.jpg", 5).shape == (5, 5, 3)


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def test_damaged_pictures(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "broken.png"
    whole = encode_png(picture(16, 16))
    for data in (b"", b"no picture", whole[:40], whole[: len(whole) // 2], whole[:-30]):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"broken\.png"):
            read_image(path)
    image.fromarray(picture(64, 64)).save(tmp_path / "whole.jpg")
    path.write_bytes((tmp_path / "whole.jpg").read_bytes()[:700])
    with pytest.raises(DataError, match=r"broken\.png"):
        read_image(path, 4)


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("side", [9000, 12000, 60000])
def test_decompression_bomb(tmp_path: Path, side: int) -> None:
    pytest.importorskip("PIL")
    (tmp_path / "bomb.png").write_bytes(bomb(side, side))
    with pytest.raises(DataError, match=r"bomb\.png"):
        read_image(tmp_path / "bomb.png", 8)


def test_image_errors(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    with pytest.raises(DataError, match="one folder per class"):
        ImageFolder(tmp_path, 8)
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="cat, got none"):
        ImageFolder(tmp_path, 8)
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.png")
    with pytest.raises(ArgumentError, match="got 0"):
        ImageFolder(tmp_path, 0)
    with pytest.raises(ArgumentError, match="got 'pad'"):
        ImageFolder(tmp_path, 8, fit="pad")  # type: ignore[arg-type]
    with pytest.raises(DtypeError, match="got float64"):
        encode_png(np.zeros((2, 2)))
    with pytest.raises(ShapeError, match=r"got \(2, 2, 4\)"):
        encode_png(np.zeros((2, 2, 4), np.uint8))


def test_missing_pillow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install 'deepcore\[viz\]'"):
        read_image(tmp_path / "a.png")
