"""Whole pictures and videos: faces swapped where they are, the rest untouched, the result named as synthetic."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore.data import cartoon_faces, read_image, write_image
from deepcore.data.faces import Placement
from deepcore.data.provenance import read_provenance
from deepcore.data.video import VideoWriter, read_video
from deepcore.errors import ArgumentError, DataError, NotFittedError, ShapeError
from deepcore.estimators import FaceConverter, FaceSwap

pytest.importorskip("PIL")

BOX = [24, 16, 64, 64]
PLACE = Placement(56, 48, 64)


@pytest.fixture(scope="module")
def swapper() -> FaceSwap:
    faces = np.concatenate([cartoon_faces(p, 20, size=32) for p in (0, 1)])
    model = FaceSwap(width=6, code=16, steps=60, snapshot=60, batch_size=8, augment=None, random_state=0)
    return model.fit(faces, np.repeat(["ann", "bob"], 20))


@pytest.fixture(scope="module")
def scene() -> Any:
    picture = np.full((120, 160, 3), (90, 140, 90), np.uint8)
    picture[16:80, 24:88] = cartoon_faces(0, 1, size=64, seed=5)[0]
    return picture


def test_a_face_is_swapped_in_its_place(swapper: FaceSwap, scene: Any) -> None:
    plain = FaceConverter(swapper, "bob", mark=False)
    picture, count = plain.convert(scene, [PLACE])
    assert count == 1
    changed = (picture != scene).any(-1)
    assert changed[16:80, 24:88].mean() > 0.4
    changed[16:80, 24:88] = False
    assert not changed.any()
    untouched, count = FaceConverter(swapper, "bob", mark=False, strength=0.0).convert(scene, [PLACE])
    assert count == 1
    np.testing.assert_array_equal(untouched, scene)


def test_options_change_the_result(swapper: FaceSwap, scene: Any) -> None:
    def result(**options: Any) -> Any:
        return FaceConverter(swapper, "bob", **{"mark": False, **options}).convert(scene, [PLACE])[0].astype(int)

    base = result()
    for options in ({"mark": True}, {"mask": "box"}, {"cover": 0.5}, {"feather": 0.0}, {"colour": None},
                    {"colour": "histogram"}, {"strength": 0.5}):  # fmt: skip
        assert np.abs(result(**options) - base).max() > 3, options
    assert (FaceConverter(swapper, "ann", mark=False).convert(scene, [PLACE])[0] != base).any()
    # with all of the square replaced, its mean colour is what it was
    whole = {"mask": "box", "cover": 1.0, "feather": 0.0}
    pictures = scene, result(colour=None, **whole), result(colour="histogram", **whole)
    was, kept, matched = (p[16:80, 24:88].mean((0, 1)) for p in pictures)
    assert np.abs(matched - was).max() < 3 < np.abs(kept - was).max()


def test_detectors_and_how_many(swapper: FaceSwap, scene: Any) -> None:
    two = lambda image: [Placement(20, 100, 30), PLACE]  # noqa: E731
    assert FaceConverter(swapper, "bob", detector=two).convert(scene)[1] == 2
    largest, count = FaceConverter(swapper, "bob", detector=two, largest=True, mark=False).convert(scene)
    assert count == 1
    np.testing.assert_array_equal(largest[85:], scene[85:])
    nothing, count = FaceConverter(swapper, "bob", detector=lambda image: []).convert(scene)
    assert count == 0
    np.testing.assert_array_equal(nothing, scene)  # no swap, no mark
    assert FaceConverter(swapper, "bob", detector="whole").convert(scene[16:80, 24:88])[1] == 1


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_file_says_what_it_is(suffix: str, swapper: FaceSwap, scene: Any, tmp_path: Path) -> None:
    source, target = tmp_path / "in.png", tmp_path / f"out{suffix}"
    write_image(source, scene)
    assert FaceConverter(swapper, "bob").convert_file(source, target, boxes=[BOX]) == 1
    record = read_provenance(target)
    assert record is not None and "Synthetic" in record["notice"] and record["swapped_to"] == "bob"
    assert record["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    mark = read_image(target)[-9:, :60]
    assert mark.max() > 240 and mark.mean() < 120  # white letters on a dark strip
    FaceConverter(swapper, "bob", notice=False).convert_file(source, target, boxes=[BOX])
    assert read_provenance(target) is None
    before = target.read_bytes()
    with pytest.raises(DataError, match="no face in a picture of 160 x 120"):
        FaceConverter(swapper, "bob", detector=lambda image: []).convert_file(source, target)
    assert target.read_bytes() == before
    with pytest.raises(ArgumentError, match="other than the source"):
        FaceConverter(swapper, "bob").convert_file(source, tmp_path / "." / "in.png", boxes=[BOX])


def test_a_folder_with_bad_files(swapper: FaceSwap, scene: Any, tmp_path: Path) -> None:
    folder, out, lines = tmp_path / "in", tmp_path / "out", []
    folder.mkdir()
    for name in ("a.png", "b.ppm"):
        if name.endswith("png"):
            write_image(folder / name, scene)
        else:
            (folder / name).write_bytes(b"P6 160 120 255\n" + scene.tobytes())
    write_image(folder / "dot.png", scene[:1, :1])
    (folder / "broken.jpg").write_bytes(b"nothing")

    def look(image: Any) -> list[Placement]:
        return [PLACE] if image.shape == scene.shape else []

    result = FaceConverter(swapper, "bob", detector=look).convert_all([folder], out, progress=lines.append)
    assert [(Path(p).name, n) for p, n in result.done] == [("a.png", 1), ("b.ppm", 1)] and len(lines) == 4
    reasons = {Path(p).name: reason for p, reason in result.skipped}
    assert set(reasons) == {"broken.jpg", "dot.png"} and reasons["dot.png"] == "no face in a picture of 1 x 1"
    assert sorted(p.name for p in out.iterdir()) == ["a.png", "b.png"]
    np.testing.assert_array_equal(read_image(out / "a.png"), read_image(out / "b.png"))
    given = FaceConverter(swapper, "bob").convert_all([folder], out, boxes={"a.png": [BOX]})
    assert len(given.done) == 1 and len(given.skipped) == 3


def test_a_video(swapper: FaceSwap, scene: Any, tmp_path: Path) -> None:
    pytest.importorskip("av")
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    with VideoWriter(source, Fraction(12)) as writer:
        for _ in range(4):
            writer.write(scene)
    assert FaceConverter(swapper, "bob").convert_file(source, target, boxes=[BOX]) == 4
    frames = list(read_video(target))
    assert len(frames) == 4 and frames[0].shape == scene.shape
    expected = FaceConverter(swapper, "bob").convert(scene, [PLACE])[0]
    assert np.abs(frames[2].astype(int) - expected).mean() < 8
    record = read_provenance(target)
    assert record is not None and record["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    other = tmp_path / "none.mp4"
    with pytest.raises(DataError, match="no face in 4 frames"):
        FaceConverter(swapper, "bob", detector=lambda image: []).convert_file(source, other)
    assert not other.exists()


def test_refusals(swapper: FaceSwap, scene: Any) -> None:
    with pytest.raises(NotFittedError):
        FaceConverter(FaceSwap(), "bob")
    for options, text in (({"to": "eve"}, "got 'eve'"), ({"source": "eve"}, "got 'eve'"), ({"strength": 2}, "strength"),
                          ({"colour": "pink"}, "colour in"), ({"mask": "star"}, "shape in"),
                          ({"detector": "magic"}, "'whole'")):  # fmt: skip
        with pytest.raises(ArgumentError, match=text):
            FaceConverter(swapper, **{"to": "bob", **options})  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="expected a picture uint8"):
        FaceConverter(swapper, "bob").convert(scene / 255.0, [PLACE])
