"""deepcore faceswap, end to end on drawn faces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore.cli import main
from deepcore.data import cartoon_faces, read_image, write_image
from deepcore.data.provenance import read_provenance

pytest.importorskip("PIL")

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ann/ and bob/: scenes with a face of 48 x 48 each; boxes.json; a broken file."""
    root = tmp_path_factory.mktemp("album")
    boxes: dict[str, Any] = {}
    for person, name in enumerate(("ann", "bob")):
        (root / name).mkdir()
        for i, face in enumerate(cartoon_faces(person, 6, size=48)):
            scene = np.full((80, 100, 3), 170, np.uint8)
            scene[20:68, 30:78] = face
            write_image(root / name / f"{name}{i}.png", scene)
            boxes[f"{name}{i}.png"] = [[30, 20, 48, 48]]
    (root / "ann" / "broken.png").write_bytes(b"x")
    (root / "boxes.json").write_text(json.dumps(boxes))
    return root


@pytest.fixture(scope="module")
def model(album: Path) -> Path:
    for name in ("ann", "bob"):
        words = ["--boxes", str(album / "boxes.json"), "--size", "32", "--output", str(album / "faces" / name)]
        assert main(["faceswap", "extract", str(album / name), *words]) == 0
    path = album / "swap.safetensors"
    words = ["--steps", "4", "--snapshot", "2", "--batch-size", "4", "--width", "4", "--code", "8", "--quiet"]
    folders = [str(album / "faces" / name) for name in ("ann", "bob")]
    more = ["--preview", str(album / "preview"), "--output", str(path), "--checkpoint", str(album / "c.safetensors")]
    assert main(["faceswap", "train", *folders, *words, *more]) == 0
    return path


def test_extract_writes_faces_and_where_they_come_from(model: Path, album: Path) -> None:
    folder = album / "faces" / "ann"
    record = json.loads((folder / "faces.json").read_text())
    assert len(record["faces"]) == 6 and record["faces"][0]["placement"] == [54, 44, 48, 0]
    assert [Path(s["file"]).name for s in record["skipped"]] == ["broken.png"]
    assert read_image(folder / "face-000000.png").shape == (32, 32, 3)


def test_train_makes_previews_and_resumes(model: Path, album: Path, capsys: Capture) -> None:
    assert sorted(p.name for p in (album / "preview").iterdir()) == ["step-00000002.png", "step-00000004.png"]
    words = ["--steps", "6", "--snapshot", "2", "--batch-size", "4", "--width", "4", "--code", "8", "--json", "--quiet"]
    folders = [str(album / "faces" / name) for name in ("ann", "bob")]
    out = ["--output", str(album / "more.safetensors"), "--checkpoint", str(album / "c.safetensors"), "--resume"]
    capsys.readouterr()
    assert main(["faceswap", "train", *folders, *words, *out]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["people"] == ["ann", "bob"] and result["steps"] == 6 and result["faces"] == 12


def test_train_from_machines(model: Path, album: Path, tmp_path: Path, capsys: Capture) -> None:
    folders = [str(album / "faces" / name) for name in ("ann", "bob")]
    words = ["--share", "rbm", "--layers", "12", "--code", "6", "--machine-epochs", "1", "--steps", "2", "--quiet",
             "--shrink", "1"]  # fmt: skip
    out = ["--preview", str(tmp_path), "--output", str(tmp_path / "m"), "--checkpoint", str(tmp_path / "c")]
    assert main(["faceswap", "train", *folders, *words, *out]) == 0
    assert len(list((tmp_path / "c.machines").iterdir())) == 2
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["step-00000000.png", "step-00000002.png"]
    face = str(album / "faces" / "ann" / "face-000000.png")
    assert main(["faceswap", "convert", str(tmp_path / "m"), face, "--whole", "--to", "bob", "--output",
                 str(tmp_path / "s.png")]) == 0  # fmt: skip
    capsys.readouterr()
    assert main(["faceswap", "train", *folders, "--layers", "12", "--output", str(tmp_path / "n")]) == 2
    assert "go with share='rbm'" in capsys.readouterr().err


def test_convert_one_file_and_many(model: Path, album: Path, tmp_path: Path, capsys: Capture) -> None:
    boxes = ["--boxes", str(album / "boxes.json"), "--to", "bob"]
    one = tmp_path / "one.jpg"
    assert main(["faceswap", "convert", str(model), str(album / "ann" / "ann0.png"), *boxes, "--output", str(one)]) == 0
    assert "swapped 1 face in 1 file," in capsys.readouterr().out
    record = read_provenance(one)
    assert record is not None and record["swapped_to"] == "bob"
    words = ["convert", str(model), str(album / "ann"), *boxes, "--output", str(tmp_path / "many"), "--json"]
    assert main(["faceswap", *words]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["faces"] == result["files"] == 6 and "broken.png" in captured.err
    assert len(list((tmp_path / "many").iterdir())) == 6
    plain = tmp_path / "plain.png"
    words = ["--whole", "--no-mark", "--no-notice", "--strength", "0", "--to", "bob", "--output", str(plain)]
    face = album / "faces" / "ann" / "face-000000.png"
    assert main(["faceswap", "convert", str(model), str(face), *words]) == 0
    np.testing.assert_array_equal(read_image(plain), read_image(face))
    assert read_provenance(plain) is None


def test_wrong_use(model: Path, album: Path, tmp_path: Path, capsys: Capture) -> None:
    ann = str(album / "faces" / "ann")

    def fails(text: str, *words: str) -> None:
        assert main(["faceswap", *words]) == 2
        error = capsys.readouterr().err
        assert text in error and "Traceback" not in error, error

    fails("at least 2 people", "train", ann)
    fails("different names", "train", ann, ann)
    fails("--resume needs --checkpoint", "train", ann, ann, "--resume")
    fails("no folder", "train", ann, ann, "--output", str(tmp_path / "none" / "m"))
    face, out = str(album / "faces" / "ann" / "face-000000.png"), str(tmp_path / "o.png")
    fails("got 'eve'", "convert", str(model), face, "--to", "eve", "--output", out)
    fails("got both", "convert", str(model), face, "--to", "bob", "--output", out, "--whole", "--boxes", "b")
    (tmp_path / "boxes.json").write_text('{"a.png": [[1, 2]]}')
    boxes = ["--boxes", str(tmp_path / "boxes.json")]
    fails("face box", "convert", str(model), face, "--to", "bob", "--output", out, *boxes)
    fails("expected faces, got none", "extract", str(album / "ann" / "broken.png"), "--output", out, "--boxes",
          str(album / "boxes.json"))  # fmt: skip
    assert not Path(out).exists()
