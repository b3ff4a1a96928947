"""Downloading the well-known data sets, only when asked: mirrors, resume, checksums of the content, progress."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from deepcore.data.mnist import data_home
from deepcore.data.source import open_source
from deepcore.errors import ArgumentError, DataError


class _File(NamedTuple):
    """A gzip file by what it unpacks to: recompressed copies differ, their content does not."""

    name: str
    size: int
    sha256: str


class _Set(NamedTuple):
    folder: str
    mirrors: tuple[str, ...]
    files: tuple[_File, ...]


_TRAIN_IMAGES, _TRAIN_LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
_TEST_IMAGES, _TEST_LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"

_SETS = {
    "mnist": _Set(
        "mnist",
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        (
            _File(_TRAIN_IMAGES, 47040016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
            _File(_TRAIN_LABELS, 60008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
            _File(_TEST_IMAGES, 7840016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
            _File(_TEST_LABELS, 10008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        ),
    ),
    "fashion-mnist": _Set(
        "fashion_mnist",
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        (
            _File(_TRAIN_IMAGES, 47040016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
            _File(_TRAIN_LABELS, 60008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
            _File(_TEST_IMAGES, 7840016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
            _File(_TEST_LABELS, 10008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
        ),
    ),
}

_ATTEMPTS = 4
_TIMEOUT = 30.0
_PIECE = 1 << 16


def fetch(
    name: str,
    dest: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    progress: bool = True,
) -> Path:
    """Download a data set unless it is already there, and return its folder.

    A file that is broken off goes on where it stopped, also in a later call. A file takes its final name only after its
    unpacked content has the known SHA-256.

    Args:
        name: "mnist" or "fashion-mnist".
        dest: folder to hold the files; default is where `load_mnist` and `load_fashion_mnist` look.
        base_url: another mirror, http or https; default are the public ones.
        progress: show a bar for each file.

    Raises:
        ArgumentError: an unknown name or kind of URL.
        DataError: a server sent other content than expected.
        ConnectionError: no server could be reached, or none has the file.
        OSError: the folder cannot be written or the disk is full; what came so far stays for the next call.

    """
    if name not in _SETS:
        raise ArgumentError(f"fetch: expected one of {', '.join(_SETS)}, got {name!r}")
    chosen = _SETS[name]
    mirrors = chosen.mirrors if base_url is None else (base_url,)
    for mirror in mirrors:
        if urllib.parse.urlsplit(mirror).scheme not in ("http", "https"):
            raise ArgumentError(f"fetch: expected an http or https URL, got {mirror!r}")
    folder = data_home() / chosen.folder if dest is None else Path(dest)
    folder.mkdir(parents=True, exist_ok=True)
    for file in chosen.files:
        target = folder / file.name
        if not (target.is_file() and _mismatch(target, file) is None):
            _fetch_file(file, target, mirrors, progress)
    return folder


def _fetch_file(file: _File, target: Path, mirrors: tuple[str, ...], progress: bool) -> None:
    """Try the mirrors in turn; give up with what the last one answered."""
    failure: Exception = ConnectionError("no mirror")
    for mirror in mirrors:
        url = mirror.rstrip("/") + "/" + file.name
        try:
            _fetch_from(url, file, target, progress)
        except (ConnectionError, DataError) as error:
            failure = error
        else:
            return
    raise failure


def _fetch_from(url: str, file: _File, target: Path, progress: bool) -> None:
    part = target.with_name(target.name + ".part")
    for fresh in (False, True):
        if fresh:
            part.unlink(missing_ok=True)
        resumed = part.exists()
        _download(url, file, part, progress)
        wrong = _mismatch(part, file)
        if wrong is None:
            os.replace(part, target)
            return
        if not resumed:
            break
    part.unlink(missing_ok=True)  # else the beginning came from elsewhere: once more from the start
    raise DataError(f"fetch: expected {file.name} with SHA-256 {file.sha256} when unpacked, got {wrong} from {url}")


def _download(url: str, file: _File, part: Path, progress: bool) -> None:
    """Fill `part` up to what the server calls the end, with several attempts."""
    failure: Exception | None = None
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(0.25 * 2**attempt)
        try:
            if _attempt(url, file, part, progress):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500 and error.code not in (408, 429):
                raise ConnectionError(f"fetch: expected {file.name}, got HTTP {error.code} from {url}") from error
            failure = error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or error.filename is not None:
                raise
            failure = error
        except http.client.HTTPException as error:
            failure = error
    reason = getattr(failure, "reason", failure) or "transfers that broke off"
    raise ConnectionError(
        f"fetch: expected {file.name} from {url}, got no whole transfer in {_ATTEMPTS} attempts ({reason}); "
        "is this machine online? What came so far is kept"
    ) from failure


def _attempt(url: str, file: _File, part: Path, progress: bool) -> bool:
    """One request, from where `part` ends; whether the file is complete by the server's account."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "deepcore", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing follows: complete, or not the beginning of this file
            error.close()
            return True
        raise
    with response:
        if response.status != 206:
            have = 0
        elif not str(response.headers.get("Content-Range", "")).startswith(f"bytes {have}-"):
            raise http.client.HTTPException(f"Content-Range {response.headers.get('Content-Range')!r}")
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdecimal() else None
        limit = file.size + (file.size >> 8) + 1024  # gzip never makes a file larger by more
        with _opened(part, "r+b" if have else "wb", have) as out, _bar(file.name, total, have, progress) as bar:
            while piece := response.read(_PIECE):
                have += len(piece)
                out.write(piece)
                bar.update(len(piece))
                if have > limit:
                    return True  # whatever it is, it is not the file; the checksum will say so
    return total is None or have == total


@contextlib.contextmanager
def _opened(part: Path, mode: str, start: int) -> Iterator[IO[bytes]]:
    """The partial file; a full disk carries its name, so that it is not taken for an error of the network."""
    try:
        with open(part, mode) as file:
            file.seek(start)
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            error.filename = os.fspath(part)
        raise


def _bar(name: str, total: int | None, start: int, progress: bool) -> Any:
    from tqdm import tqdm

    return tqdm(
        desc=name, total=total, initial=start, unit="B", unit_scale=True, unit_divisor=1024, disable=not progress
    )


def _mismatch(path: Path, file: _File) -> str | None:
    """What is wrong with the content of a gzip file; None if it is as expected. Never unpacks more than expected."""
    digest = hashlib.sha256()
    count = 0
    try:
        with open_source(path, file.size + 1) as source:
            buffer = bytearray(_PIECE)
            while size := source.readinto(buffer):
                count += size
                digest.update(memoryview(buffer)[:size])
    except DataError as error:
        return str(error)
    if count != file.size:
        return f"{count} bytes instead of {file.size}"
    return None if digest.hexdigest() == file.sha256 else digest.hexdigest()


__all__ = ["fetch"]
