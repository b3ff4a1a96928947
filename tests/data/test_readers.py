from __future__ import annotations

import contextlib
import gzip
import io
import random
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore.data.csv import read_csv, read_texts
from deepcore.data.idx import read_idx, write_idx
from deepcore.data.npz import read_npz
from deepcore.errors import ArgumentError, DataError, DtypeError


def put(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def peak_of_child(script: str, *arguments: str) -> int:
    """Highest resident memory in bytes of a child that runs the script."""
    tail = "\nprint([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    done = subprocess.run([sys.executable, "-c", script + tail, *arguments], capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024


# IDX


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64", ">i2"])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (2, 0, 3), (2, 3, 4, 5)])
def test_idx_round_trip(tmp_path: Path, shape: tuple[int, ...], dtype: str, suffix: str) -> None:
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    write_idx(tmp_path / f"a{suffix}", array)
    got = read_idx(tmp_path / f"a{suffix}")
    assert got.shape == shape and got.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(got, array)


def test_idx_bytes(tmp_path: Path) -> None:
    write_idx(tmp_path / "a", np.array([[1, -2]], np.int16))
    assert (tmp_path / "a").read_bytes() == bytes([0, 0, 0x0B, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 255, 254])
    write_idx(tmp_path / "x.gz", np.arange(100, dtype=np.uint8))
    write_idx(tmp_path / "y.gz", np.arange(100, dtype=np.uint8))
    assert (tmp_path / "x.gz").read_bytes() == (tmp_path / "y.gz").read_bytes()
    with pytest.raises(DtypeError, match="got int64"):
        write_idx(tmp_path / "a", np.arange(3))


@pytest.mark.parametrize("packed", [False, True])
def test_idx_truncated_or_too_long(tmp_path: Path, packed: bool) -> None:
    write_idx(tmp_path / "a", np.arange(12, dtype=np.int32).reshape(3, 4))
    whole = (tmp_path / "a").read_bytes()
    pack = gzip.compress if packed else bytes
    for size in range(len(whole)):
        with pytest.raises(DataError, match="b: |in .*b$"):  # noqa: RUF043
            read_idx(put(tmp_path / "b", pack(whole[:size])))
    with pytest.raises(DataError, match="got more"):
        read_idx(put(tmp_path / "b", pack(whole + b"x")))
    if packed:
        squeezed = gzip.compress(whole)
        for size in range(2, len(squeezed)):
            with pytest.raises(DataError):
                read_idx(put(tmp_path / "b", squeezed[:size]))
        with pytest.raises(DataError, match="CRC"):
            read_idx(put(tmp_path / "b", squeezed[:-8] + b"\0" * 8))


@pytest.mark.parametrize("header", [b"\1\0\x08\1", b"\0\0\x07\1", b"\0\0\x0a\1", b"PK\3\4"])
def test_idx_wrong_magic(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(DataError, match=r"expected 00 00 and a type"):
        read_idx(put(tmp_path / "a", header + b"\0\0\0\0"))


@pytest.mark.parametrize("packed", [False, True])
def test_idx_lying_size_takes_no_memory(tmp_path: Path, packed: bool) -> None:
    data = b"\0\0\x08\3" + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1) + b"\0" * 100
    path = put(tmp_path / "a", gzip.compress(data) if packed else data)
    with pytest.raises(DataError, match="got fewer"):
        read_idx(path)
    data = b"\0\0\x08\1" + struct.pack(">I", 2**31) + b"\0" * 100
    path = put(tmp_path / "a", gzip.compress(data) if packed else data)
    script = "import sys\nfrom deepcore.data.idx import read_idx\ntry: read_idx(sys.argv[1])\nexcept ValueError: pass"
    assert peak_of_child(script, str(path)) < 300e6


# NPZ


def test_npz_round_trip(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "text": np.array(["x", "yy"]),
        "empty": np.zeros((0, 3)),
        "scalar": np.array(3),
        "big": np.arange(3, dtype=">i4"),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        got = read_npz(tmp_path / "a.npz")
        assert list(got) == list(arrays)
        for name, array in arrays.items():
            assert got[name].dtype == array.dtype
            np.testing.assert_array_equal(got[name], array)


def test_npz_refuses_objects(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="object"):
        read_npz(tmp_path / "a.npz")


def test_npz_truncated_and_damaged(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.arange(50), b=np.zeros(100, np.uint8))
    whole = (tmp_path / "a.npz").read_bytes()
    for size in range(len(whole)):
        with pytest.raises(DataError):
            read_npz(put(tmp_path / "b", whole[:size]))
    chance = random.Random(0)
    for _ in range(500):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] = chance.randrange(256)
        with contextlib.suppress(DataError):
            read_npz(put(tmp_path / "b", bytes(damaged)))


def npz_member(header: dict[str, Any], data: bytes) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue() + data


@pytest.mark.parametrize("shape", [(2**40,), (3,), (-1, -2), (2**33, 2**33)])
def test_npz_lying_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npz_member({"descr": "|u1", "fortran_order": False, "shape": shape}, b"\0\0"))
    with pytest.raises(DataError, match="expected 2 bytes of numbers in"):
        read_npz(tmp_path / "a.npz")


def test_npz_lying_directory(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.zeros(10, np.uint8))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    at = data.rindex(b"PK\1\2")
    data[at + 24 : at + 28] = struct.pack("<I", 2**31)  # unpacked size in the directory
    with pytest.raises(DataError, match="expected at most"):
        read_npz(put(tmp_path / "b", bytes(data)))


# CSV


def test_csv_with_header(tmp_path: Path) -> None:
    path = put(tmp_path / "a", "\ufeffa, b,label\n1,2.5,0\n\n-3,4e2,1\r\n")
    table = read_csv(path, target="label")
    np.testing.assert_array_equal(table.x, [[1, 2.5], [-3, 400]])
    assert table.y is not None
    np.testing.assert_array_equal(table.y, [0, 1])
    assert (table.columns, table.target) == (["a", "b"], "label")
    assert table.x.flags.writeable
    assert read_csv(path, columns=["label", 0]).x.tolist() == [[0, 1], [1, -3]]
    assert read_csv(path).y is None


def test_csv_without_header_gzip_quotes_and_text(tmp_path: Path) -> None:
    path = put(tmp_path / "a", gzip.compress(b"1;2;'x;y'\n3;4;'z'\n"))
    table = read_csv(path, target=-1, header=False, text_target=True, delimiter=";", quote="'")
    assert table.x.tolist() == [[1, 2], [3, 4]]
    assert table.y is not None and table.y.tolist() == ["x;y", "z"]
    assert read_csv(put(tmp_path / "b", "1,2\n3,4"), target=0).columns == ["1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one line, got none"),
        ("a,b\n", "only the header"),
        ("a,b\n1,2\n3,x\n", "got 'x' in line 3, column 'b'"),
        ("a,b\n1,2\n,4\n", "got an empty cell in line 3, column 'a'"),
        ("a,b\n1,nan\n", "got 'nan' in line 2, column 'b'"),
        ("a,b\n1,1e999\n", "got '1e999' in line 2, column 'b'"),
        ("a,b\n1_0,1\n", "got '1_0' in line 2, column 'a'"),
        ("a,b\n\n1,2,3\n", "expected 2 cells, got 3 in line 3"),
        ("a,b\n1\n", "expected 2 cells, got 1 in line 2"),
        ("a,1\n1,2\n", "pass header=True or header=False"),
        ('a,b\n"1,2\n', "got unexpected end of data in line 2"),
        (b"a,b\n1,\xff\n", "expected UTF-8, got .* in line 2"),
    ],
)
def test_csv_damage(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_csv(put(tmp_path / "table.csv", text))
    assert "table.csv" in str(caught.value)


def test_csv_arguments(tmp_path: Path) -> None:
    path = put(tmp_path / "a", "a,b,b\n1,2,3\n")
    for call in (
        lambda: read_csv(path, target="c"),
        lambda: read_csv(path, target="b"),
        lambda: read_csv(path, target=3),
        lambda: read_csv(path, columns=[-4]),
        lambda: read_csv(path, delimiter=",,"),
    ):
        with pytest.raises(ArgumentError, match=r"expected .* got"):
            call()
    with pytest.raises(DataError, match="got 'z' in line 2, column 'b'"):
        read_csv(put(tmp_path / "b", "a,b\n1,z\n"), target="b")


def test_csv_endless_line_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(400):
            file.write(b"1" * 1_000_000)
    script = "import sys\nfrom deepcore.data.csv import read_csv\ntry: read_csv(sys.argv[1])\nexcept ValueError: pass"
    assert peak_of_child(script, str(path)) < 200e6
    with pytest.raises(DataError, match="got a longer one"):
        read_csv(path)


def test_texts(tmp_path: Path) -> None:
    path = put(tmp_path / "t.csv", 'id,text,label\n1,"one, two\nthree",good\n2,"say ""so""",bad\n3,,good\n')
    texts, labels = read_texts(path, "text", "label")
    assert (
        texts == ["one, two\nthree", 'say "so"', ""]
        and labels is not None
        and labels.tolist() == ["good", "bad", "good"]
    )
    assert read_texts(path, 1, header=True) == (texts, None)
    bare = put(tmp_path / "u.csv", "good;hello\nbad;bye\n")
    assert read_texts(bare, 1, header=False, delimiter=";")[0] == ["hello", "bye"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", DataError, "at least one line"),
        ("text,label\n", DataError, "only the header"),
        ("text,label\nhello\n", DataError, "expected 2 cells, got 1 in line 2"),
        ("text,label\nhello,\n", DataError, "got an empty cell in line 2, column 'label'"),
        ("text,class\nhello,x\n", ArgumentError, "expected one column 'label'"),
    ],
)
def test_bad_texts(text: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        read_texts(put(tmp_path / "t.csv", text), "text", "label")
