"""`deepcore data`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from deepcore.cli import main

Capture = pytest.CaptureFixture[str]


def test_data_list(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPCORE_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"")
    assert main(["data", "list", "--json"]) == 0
    rows = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert {name: row["here"] for name, row in rows.items()} == {"digits": True, "mnist": True, "fashion-mnist": False}
    assert rows["fashion-mnist"]["where"] == str(tmp_path / "fashion_mnist")
    assert main(["data", "list"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["digits", "yes"], ["mnist", "yes"], ["fashion-mnist", "no"]]  # fmt: skip


def test_data_fetch(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip
    import hashlib
    import http.server
    import threading

    from deepcore.data import download

    content = bytes(range(256)) * 40
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.gz").write_bytes(gzip.compress(content))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "served"))

        def log_message(self, *arguments: object) -> None:
            pass

    file = download._File("a.gz", len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(download, "_SETS", {"mnist": download._Set("mnist", ("http://127.0.0.1:9/",), (file,))})
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        try:
            words = ["data", "fetch", "mnist", "--dest", str(tmp_path / "to")]
            assert main([*words, "--base-url", url]) == 0
            out, err = capsys.readouterr()
            assert out == f"{tmp_path / 'to'}\n" and "a.gz" in err
            assert gzip.decompress((tmp_path / "to" / "a.gz").read_bytes()) == content
            assert main([*words, "--base-url", url, "--quiet"]) == 0
            assert capsys.readouterr().err == ""
        finally:
            server.shutdown()
            thread.join()
    os.unlink(tmp_path / "to" / "a.gz")
    assert main(words) == 1  # the port is closed
    assert "is this machine online" in capsys.readouterr().err
