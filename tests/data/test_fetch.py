from __future__ import annotations

import gzip
import hashlib
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from deepcore.data import download as module
from deepcore.data.download import fetch
from deepcore.errors import ArgumentError, DataError

CONTENT = {
    name: np.random.default_rng(i).integers(0, 256, 50_000 * i, dtype=np.uint8).tobytes()
    for i, name in enumerate(["a.gz", "b.gz"], 1)
}
PACKED = {name: gzip.compress(content) for name, content in CONTENT.items()}


class Server(http.server.ThreadingHTTPServer):
    """Serves PACKED with Range support; `cuts`, `status` and `files` make it fail as servers do."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(PACKED)
        self.cuts: list[int] = []  # send only so many bytes of each of the next answers
        self.status: list[int] = []  # answer the next requests with these
        self.ranges = True
        self.seen: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.seen.append((self.path, wanted))
        data = server.files.get(self.path.lstrip("/"))
        status = server.status.pop(0) if server.status else 200 if data is not None else 404
        if status != 200 or data is None:
            self.send_error(status)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and server.ranges else 0  # type: ignore[index]
        if start and start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if wanted and server.ranges else 200)
        if wanted and server.ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:][: server.cuts.pop(0) if server.cuts else None])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    files = tuple(module._File(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in CONTENT.items())
    with Server() as running:
        monkeypatch.setattr(module, "_SETS", {"mnist": module._Set("mnist", (running.url,), files)})
        monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def check(folder: Path) -> None:
    assert {p.name: gzip.decompress(p.read_bytes()) for p in folder.iterdir()} == CONTENT


def test_fetch_and_nothing_twice(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("mnist", tmp_path / "new" / "folder") == tmp_path / "new" / "folder"
    check(tmp_path / "new" / "folder")
    assert "a.gz: 100%" in capsys.readouterr().err
    assert len(server.seen) == 2
    fetch("mnist", tmp_path / "new" / "folder", progress=False)
    assert len(server.seen) == 2
    assert capsys.readouterr().err == ""


def test_default_folder(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPCORE_DATA", str(tmp_path))
    check(fetch("mnist", progress=False))
    assert (tmp_path / "mnist" / "a.gz").exists()


def test_damaged_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    fetch("mnist", tmp_path, progress=False)
    (tmp_path / "a.gz").write_bytes(PACKED["a.gz"][:-100])
    fetch("mnist", tmp_path, progress=False)
    check(tmp_path)
    assert len(server.seen) == 3


def test_recompressed_copy_is_accepted(server: Server, tmp_path: Path) -> None:
    server.files["a.gz"] = gzip.compress(CONTENT["a.gz"], compresslevel=0)
    fetch("mnist", tmp_path, progress=False)
    check(tmp_path)


def test_broken_transfers_go_on(server: Server, tmp_path: Path) -> None:
    server.cuts = [10_000, 20_000]
    fetch("mnist", tmp_path, progress=False)
    check(tmp_path)
    assert server.seen[:3] == [("/a.gz", None), ("/a.gz", "bytes=10000-"), ("/a.gz", "bytes=30000-")]


def test_a_later_call_goes_on(server: Server, tmp_path: Path) -> None:
    server.cuts = [5_000] * 4
    with pytest.raises(ConnectionError, match=r"expected a\.gz .* no whole transfer in 4 attempts"):
        fetch("mnist", tmp_path, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["a.gz.part"]
    fetch("mnist", tmp_path, progress=False)
    check(tmp_path)
    assert server.seen[4] == ("/a.gz", "bytes=20000-")


def test_server_without_ranges(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [10_000]
    fetch("mnist", tmp_path, progress=False)
    check(tmp_path)


@pytest.mark.parametrize("part", [b"x" * 1000, b"x" * 500_000, PACKED["a.gz"], PACKED["a.gz"] + b"x"])
def test_foreign_or_whole_partial_file(server: Server, tmp_path: Path, part: bytes) -> None:
    (tmp_path / "a.gz.part").write_bytes(part)
    fetch("mnist", tmp_path, progress=False)
    check(tmp_path)


def test_busy_server(server: Server, tmp_path: Path) -> None:
    server.status = [503, 429]
    fetch("mnist", tmp_path, progress=False)
    check(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"<html>please log in</html>", gzip.compress(b"other"), gzip.compress(bytes(10**8)), bytes(10**6), b""],
    ids=["page", "other", "bomb", "long", "empty"],
)
def test_wrong_content(server: Server, tmp_path: Path, content: bytes) -> None:
    server.files["a.gz"] = content
    with pytest.raises(DataError, match=r"expected a\.gz with SHA-256 .* from http://127"):
        fetch("mnist", tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_missing_file(server: Server, tmp_path: Path) -> None:
    del server.files["b.gz"]
    with pytest.raises(ConnectionError, match=r"expected b\.gz, got HTTP 404"):
        fetch("mnist", tmp_path, progress=False)
    assert (tmp_path / "a.gz").exists()


def test_next_mirror(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = module._SETS["mnist"]
    monkeypatch.setattr(module, "_SETS", {"mnist": known._replace(mirrors=(server.url + "none/", server.url))})
    fetch("mnist", tmp_path, progress=False)
    check(tmp_path)


def test_offline(server: Server, tmp_path: Path) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as closed:
        url = f"http://127.0.0.1:{closed.server_address[1]}"
    with pytest.raises(ConnectionError, match=r"refused.*is this machine online"):
        fetch("mnist", tmp_path, url, progress=False)


def test_full_disk(server: Server, tmp_path: Path) -> None:
    script = (
        "import sys, resource, signal\nfrom deepcore.data import download as m\n"
        "m._SETS = {'mnist': m._Set('mnist', (), (m._File('a.gz', 50000, ''),))}\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "try:\n    m.fetch('mnist', sys.argv[1], sys.argv[2], False)\n"
        "except OSError as error:\n    print(error.errno, error.filename)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path), server.url], capture_output=True, text=True)
    assert done.stdout.split() == ["27", str(tmp_path / "a.gz.part")], done.stderr  # EFBIG
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "call",
    [lambda p: fetch("cifar", p), lambda p: fetch("mnist", p, "file:///etc/"), lambda p: fetch("mnist", p, "ftp://x")],
)
def test_arguments(tmp_path: Path, call: Callable[[Path], object]) -> None:
    with pytest.raises(ArgumentError, match=r"expected .* got"):
        call(tmp_path)


def test_known_sets_are_complete() -> None:
    assert {name: len(chosen.files) for name, chosen in module._SETS.items()} == {"mnist": 4, "fashion-mnist": 4}
    for chosen in module._SETS.values():
        assert [file.size for file in chosen.files] == [47040016, 60008, 7840016, 10008]
        assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in chosen.files)


@pytest.mark.skipif("DEEPCORE_DATA" not in os.environ, reason="DEEPCORE_DATA is not set")
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_real_files_have_the_known_content(name: str) -> None:
    assert fetch(name, base_url="http://127.0.0.1:9", progress=False).is_dir()
