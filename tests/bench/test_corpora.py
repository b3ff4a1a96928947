"""Readers of corpora on the real sets, with exact counts, and on files that are missing or damaged."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.accept import corpora
from deepcore.data import check_times
from deepcore.errors import DataError


def test_ptb(data_dir: Path) -> None:
    parts = corpora.load_ptb(data_dir / "ptb")
    assert [len(p) for p in parts] == [929589, 73760, 82430]
    assert [p.count("<eos>") for p in parts] == [42068, 3370, 3761]
    vocabulary = set(parts[0])
    assert len(vocabulary) == 10000 and set(parts[1]) <= vocabulary and set(parts[2]) <= vocabulary
    assert parts[1][:5] == ["consumers", "may", "want", "to", "move"] and parts[1][-1] == "<eos>"


def test_tinyshakespeare(data_dir: Path) -> None:
    train, validation = corpora.load_tinyshakespeare(data_dir / "tinyshakespeare")
    assert (len(train), len(validation)) == (1003854, 111540) and len(set(train + validation)) == 65
    assert train.startswith("First Citizen:\n")


def test_imdb(data_dir: Path) -> None:
    train, test = corpora.load_imdb(data_dir / "imdb_subset")
    assert [Counter(p.labels.tolist()) for p in (train, test)] == [{0: 2500, 1: 2500}, {0: 1000, 1: 1000}]
    assert len(train.texts) == 5000 and len(test.texts) == 2000
    assert (np.diff(train.labels) >= 0).all() and train.texts[2502].startswith("Bromwell High")
    assert np.mean([len(t.split()) for t in train.texts + test.texts]) == pytest.approx(232, abs=1)


def test_sst(data_dir: Path) -> None:
    parts = corpora.load_sst(data_dir / "sst")
    assert [len(p) for p in parts] == [8544, 1101, 2210]
    assert [sum(1 for t in p for _ in t.nodes()) for p in parts] == [318582, 41447, 82600]
    roots = [[Counter(t.label for t in p)[str(k)] for k in range(5)] for p in parts]
    assert roots == [[1092, 2218, 1624, 2322, 1288], [139, 289, 229, 279, 165], [279, 633, 389, 510, 399]]
    assert {len(n.children) for p in parts for t in p for n in t.nodes()} == {0, 2}
    assert max(len(t.tokens()) for p in parts for t in p) == 56
    assert sum(w.count("\xa0") for p in parts for t in p for w in t.tokens()) == 3
    assert parts[1][0].tokens()[:5] == ["It", "'s", "a", "lovely", "film"]


def test_treebank(data_dir: Path) -> None:
    files = corpora.load_treebank(data_dir / "treebank")
    assert len(files) == 199 and sum(map(len, files.values())) == 3914
    first = files["wsj_0001"][0]
    assert first.label == "S" and first.tokens()[:4] == ["Pierre", "Vinken", ",", "61"]
    assert [c.label for c in first.children] == ["NP-SBJ", "VP", "."]


def test_series(data_dir: Path) -> None:
    series, split = corpora.load_etth1(data_dir / "timeseries")
    assert series.values.shape == (17420, 7) and series.columns[-1] == "OT"
    assert check_times(series.times) == np.timedelta64(1, "h")
    assert str(series.times[0]) == "2016-07-01T00" and str(series.times[-1]) == "2018-06-26T19"
    assert [len(series.times[s]) for s in split] == [8640, 2880, 2880]
    airline = corpora.load_airline(data_dir / "timeseries")
    assert airline.values.shape == (144, 1) and airline.columns == ["Passengers"]
    assert check_times(airline.times) == np.timedelta64(1, "M") and airline.values[[0, -1], 0].tolist() == [112, 432]
    assert airline.values.min() == 104 and airline.values.max() == 622


def test_flickr8k(data_dir: Path) -> None:
    pytest.importorskip("PIL")
    parts = corpora.load_flickr8k(data_dir / "flickr8k_subset")
    assert [p.images.shape for p in parts] == [(n, 96, 96, 3) for n in (1200, 200, 200)]
    assert all(p.images.dtype == np.uint8 for p in parts)
    assert {len(c) for p in parts for c in p.captions} == {5}
    names = [set(p.names) for p in parts]
    assert sum(map(len, names)) == len(set.union(*names)) == 1600
    words = Counter(w for p in parts for captions in p.captions for c in captions for w in c.lower().split())
    assert len(words) == 4175 and sum(n >= 5 for n in words.values()) == 1225
    assert parts[0].captions[0][0] == "A boy smiles in front of a stony wall in a city ."


@pytest.mark.parametrize(
    ("load", "name"),
    [
        (corpora.load_ptb, "ptb.train.txt.gz"),
        (corpora.load_tinyshakespeare, "input.txt.gz"),
        (corpora.load_imdb, "aclImdb_subset.tar.gz"),
        (corpora.load_sst, "train.txt.gz"),
        (corpora.load_treebank, "treebank.zip"),
        (corpora.load_etth1, "ETTh1.csv.gz"),
        (corpora.load_airline, "airline-passengers.csv"),
        (corpora.load_flickr8k, "Flickr8k.token.txt.gz"),
    ],
)
def test_missing_and_damaged_files(load: Callable[[Path], object], name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"expected the file {name} in .*there is no such file"):
        load(tmp_path)
    (tmp_path / name).write_bytes(gzip.compress(b"some text\n" * 100)[:-9])
    with pytest.raises(DataError, match=f"expected .*{name}"):
        load(tmp_path)


def test_an_archive_without_reviews(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "aclImdb_subset.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("aclImdb/train/pos/1_9.txt"))
    with pytest.raises(DataError, match="expected reviews to train and test on, got 1 and 0"):
        corpora.load_imdb(tmp_path)


def test_timestamps_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "airline-passengers.csv").write_text('"Month","Passengers"\n"January",112\n')
    with pytest.raises(DataError, match="expected timestamps in column Month"):
        corpora.load_airline(tmp_path)


def test_pictures_and_captions_that_do_not_fit(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    with zipfile.ZipFile(tmp_path / "images_96.zip", "w"):
        pass
    (tmp_path / "Flickr8k.token.txt.gz").write_bytes(gzip.compress(b"a.jpg#0\tA dog .\n"))
    (tmp_path / "Flickr_8k.trainImages.txt").write_text("b.jpg\n")
    with pytest.raises(DataError, match=r"expected captions of b\.jpg"):
        corpora.load_flickr8k(tmp_path)
    (tmp_path / "Flickr_8k.trainImages.txt").write_text("a.jpg\n")
    with pytest.raises(DataError, match=r"expected an archive of all pictures, got .*a\.jpg"):
        corpora.load_flickr8k(tmp_path)
    (tmp_path / "images_96.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"expected an archive of all pictures"):
        corpora.load_flickr8k(tmp_path)


def test_trees() -> None:
    (tree,) = corpora.read_trees("( (S (NP (D the) (N dog))\n (VP barks)) )", "here")
    assert tree == corpora.Tree(
        "S",
        (
            corpora.Tree("NP", (corpora.Tree("D", (), "the"), corpora.Tree("N", (), "dog"))),
            corpora.Tree("VP", (), "barks"),
        ),
    )
    assert tree.tokens() == ["the", "dog", "barks"]
    assert [n.label for n in tree.nodes()] == ["S", "NP", "D", "N", "VP"]
    assert len(list(corpora.read_trees("(1 a) (2 b)", "here"))) == 2
    deep = "(a " * 5000 + "x" + ")" * 5000
    assert next(iter(corpora.read_trees(deep, "here"))).tokens() == ["x"]
    for text, message in (
        ("(1 a", "got the end in tree 0 of here"),
        ("(1 a))", r"expected '\(', got '\)' after tree 1"),
        ("(1 a) b", "got 'b' after tree 1"),
        ("(1 a b)", r"got 0 and \['a', 'b'\] in tree 0"),
        ("(1 (2 a) b)", r"below '1', got 1 and \['b'\]"),
        ("(1)", "got 0 and"),
    ):
        with pytest.raises(DataError, match=message):
            list(corpora.read_trees(text, "here"))
