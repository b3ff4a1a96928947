from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from deepcore.errors import ArgumentError, CheckpointError, DtypeError
from deepcore.files import atomic_write
from deepcore.train.checkpoint import load_checkpoint, save_checkpoint

DTYPES = [
    np.bool_, np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64,
    np.float16, np.float32, np.float64,
]  # fmt: skip


def write_raw(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def good_metadata(meta: str = "{}", version: str = "1") -> dict[str, str]:
    return {"format": "deepcore", "version": version, "meta": meta}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (2, 0, 4), (2, 3, 4, 5)])
def test_round_trip(tmp_path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    save_checkpoint(tmp_path / "a", {"w": array}, {"k": 1})
    arrays, meta = load_checkpoint(tmp_path / "a")
    assert meta == {"k": 1}
    assert arrays["w"].dtype == array.dtype and arrays["w"].shape == shape
    np.testing.assert_array_equal(arrays["w"], array)
    assert arrays["w"].flags.owndata and arrays["w"].flags.writeable


def test_layouts_and_byte_order(tmp_path: Path) -> None:
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    given = {"t": base.T, "step": base[::2, ::-1], "big": base.astype(">f4"), "é λ": base[:1]}
    save_checkpoint(tmp_path / "a", given, {})
    arrays, _ = load_checkpoint(tmp_path / "a")
    assert set(arrays) == set(given)
    for name, array in given.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_file_is_ordinary_safetensors(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    given = {"a": np.arange(3, dtype=np.uint8), "b": np.ones((2, 2), np.float64), "c": np.zeros(5, np.int16)}
    save_checkpoint(tmp_path / "a", given, {"x": [1, 2.5, None, "s"]})
    loaded = load_file(tmp_path / "a")
    assert set(loaded) == set(given)
    for name, array in given.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_meta_values(tmp_path: Path) -> None:
    meta = {"n": np.int64(3), "f": np.float32(0.5), "l": [1, {"x": True}], "s": 'quote " and \n', "none": None}
    save_checkpoint(tmp_path / "a", {}, meta)
    assert load_checkpoint(tmp_path / "a") == ({}, {**meta, "n": 3, "f": 0.5})


def test_arguments_are_checked_before_writing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with pytest.raises(DtypeError, match=r"in 'w', got object"):
        save_checkpoint(path, {"w": np.array([None])}, {})
    with pytest.raises(ArgumentError, match="string keys"):
        save_checkpoint(path, {}, {"a": [{1: 2}]})
    with pytest.raises(ArgumentError, match="ndarray"):
        save_checkpoint(path, {}, {"a": np.zeros(2)})
    with pytest.raises(ArgumentError, match="__metadata__"):
        save_checkpoint(path, {"__metadata__": np.zeros(2)}, {})
    assert list(tmp_path.iterdir()) == []


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_checkpoint(path, {"w": np.arange(6, dtype=np.float32), "b": np.arange(3, dtype=np.uint8)}, {"e": 1})
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=str(path)):
            load_checkpoint(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


def entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, object]:
    return {"__metadata__": good_metadata(), "w": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}}


LIES = {
    "huge": entry("F32", [2**40], 0, 2**42),
    "overflow": entry("F32", [2**62, 2**62], 0, 8),
    "shape": entry("F32", [3], 0, 8),
    "negative": entry("F32", [-2], 0, 8),
    "hole": entry("F32", [1], 4, 8),
    "backwards": entry("F32", [2], 8, 0),
    "dtype": entry("F99", [2], 0, 8),
    "not an object": [1, 2],
    "not json": b"{nonsense",
    "not utf-8": b"\xff\xfe{}",
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("name", LIES)
def test_lying_header(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError):
        load_checkpoint(write_raw(tmp_path / "a", LIES[name], b"\0" * 8))


def test_header_length_beyond_file(tmp_path: Path) -> None:
    for length in (10**6, 2**62, 2**64 - 1):
        with pytest.raises(CheckpointError):
            load_checkpoint(write_raw(tmp_path / "a", {}, length=length))


def test_random_damage_never_crashes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_checkpoint(path, {"w": np.arange(8, dtype=np.float32)}, {"e": 1})
    whole = path.read_bytes()
    chance = random.Random(1)
    refused = 0
    for _ in range(1000):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(whole) - 32)] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            arrays, meta = load_checkpoint(path)
        except CheckpointError:
            refused += 1
        else:
            assert isinstance(meta, dict) and all(isinstance(a, np.ndarray) for a in arrays.values())
    assert refused > 500


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({}, "another safetensors file"),
        ({"__metadata__": {"format": "pt"}}, "another safetensors file"),
        ({"__metadata__": good_metadata(version="2")}, "expected version 1, got '2'"),
        ({"__metadata__": good_metadata(meta="{")}, "expected JSON metadata"),
        ({"__metadata__": good_metadata(meta="[1]")}, "expected a JSON object"),
        ({"__metadata__": good_metadata(meta="[" * 100_000)}, "expected JSON metadata"),
    ],
)
def test_wrong_metadata(tmp_path: Path, header: object, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(write_raw(tmp_path / "a", header))


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none")
    with pytest.raises(FileNotFoundError) as caught:
        save_checkpoint(tmp_path / "none" / "a", {}, {})
    assert caught.value.filename == str(tmp_path / "none" / "a")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as caught2:
        save_checkpoint(tmp_path / "folder", {}, {})
    assert caught2.value.filename == str(tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder"]


def test_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_checkpoint(path, {"w": np.arange(4)}, {"old": True})
    script = (
        "import sys, resource, signal, numpy as np\n"
        "from deepcore.train.checkpoint import save_checkpoint\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    save_checkpoint(sys.argv[1], {'w': np.zeros(10**6)}, {'old': False})\n"
        "except OSError as error:\n"
        "    print(error.errno, error.filename)\n"
    )
    result = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["27", str(path)]  # EFBIG
    assert load_checkpoint(path)[1] == {"old": True}
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_kill_at_random_moments(tmp_path: Path) -> None:
    """The file loads after each of 100 kills, and holds what one save wrote, not a mixture."""
    path = tmp_path / "a"
    script = (
        "import os, sys, numpy as np\n"
        "from deepcore.train.checkpoint import save_checkpoint\n"
        "save = lambda i: save_checkpoint(sys.argv[1], {'w': np.full(100_000, i), 'b': np.full(7, i)}, {'i': i})\n"
        "i = 0\n"
        "while True:\n"
        "    sys.stdin.readline()\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        while True:\n"
        "            i += 1\n"
        "            save(i)\n"
        "    print(pid, flush=True)\n"
        "    os.waitpid(pid, 0)\n"
    )
    chance = random.Random(0)
    save_checkpoint(path, {"w": np.full(100_000, 0), "b": np.full(7, 0)}, {"i": 0})
    seen = set()
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as parent:
        assert parent.stdin and parent.stdout
        for attempt in range(100):
            parent.stdin.write("go\n")
            child = int(parent.stdout.readline())
            # Now and then long enough for whole saves, also where the disk is slow.
            time.sleep(chance.uniform(0.0, 0.02 if attempt % 10 else 0.4))
            os.kill(child, signal.SIGKILL)
            arrays, meta = load_checkpoint(path)
            seen.add(meta["i"])
            assert (arrays["w"] == meta["i"]).all() and (arrays["b"] == meta["i"]).all()
        parent.kill()
    assert len(seen) > 1


def test_atomic_write_removes_its_file_on_errors(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), atomic_write(path) as file:
            file.write(b"new")
            raise error
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_atomic_write_keeps_mode_and_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    with atomic_write(link) as file:
        file.write(b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640


def test_atomic_write_removes_only_old_leftovers(tmp_path: Path) -> None:
    old, fresh, other = (tmp_path / name for name in (".a.1.x.tmp", ".a.2.x.tmp", ".b.1.x.tmp"))
    for file in (old, fresh, other):
        file.write_bytes(b"")
    for file in (old, other):
        os.utime(file, (1, 1))
    with atomic_write(tmp_path / "a"):
        pass
    assert not old.exists() and fresh.exists() and other.exists()


def test_read_only_folder(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        folder = Path("/proc/sys")  # root may write anywhere else
    else:
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o500)
    with pytest.raises(OSError) as caught:
        save_checkpoint(folder / "a", {}, {})
    assert caught.value.filename == str(folder / "a")
