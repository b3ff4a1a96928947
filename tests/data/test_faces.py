"""Faces are cut out and put back at the same place; colours, masks, notices and videos do what they say."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore.data import cartoon_faces, read_image, write_image
from deepcore.data.compose import face_mask, match_colours, paste_face
from deepcore.data.faces import (
    FaceDetector,
    Placement,
    cut_face,
    find_faces,
    load_faces,
    media_files,
    placement_of,
)  # fmt: skip
from deepcore.data.provenance import NOTICE, mark_synthetic, provenance, read_provenance, write_synthetic
from deepcore.data.video import VideoWriter, read_video, video_metadata, video_rate
from deepcore.errors import ArgumentError, DataError, ShapeError

pytest.importorskip("PIL")


def smooth(h: int = 90, w: int = 120) -> Any:
    y, x = np.mgrid[:h, :w]
    return np.stack([2 * x, y + x, 200 - y], -1).astype(np.uint8)


# ---- cutting and pasting ----
def test_a_straight_cut_at_the_picture_s_scale_copies_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    np.testing.assert_array_equal(cut_face(image, Placement(26, 18, 16), 16), image[10:26, 18:34])


def test_a_large_face_is_averaged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 1), np.uint8)
    expected = image.reshape(16, 4, 16, 4).mean((1, 3))
    np.testing.assert_allclose(cut_face(image, Placement(32, 32, 64), 16)[..., 0], expected, atol=0.51)


def test_a_turned_cut_stands_upright() -> None:
    image = np.zeros((100, 100, 1), np.uint8)
    turn = np.deg2rad(30)
    for t in np.linspace(-15, 15, 200):  # a line that falls to the right by 30 degrees
        image[round(50 + t * np.sin(turn)), round(50 + t * np.cos(turn))] = 255
    face = cut_face(image, Placement(50.5, 50.5, 41, 30), 41)[..., 0].astype(float)
    rows = face.sum(1)
    assert rows.argmax() == 20 and rows[18:23].sum() > 0.95 * rows.sum()


@pytest.mark.parametrize("place", [Placement(60, 45, 40), Placement(55.3, 40.2, 33.7, 20), Placement(20, 20, 64, -10)])
def test_pasting_back_what_was_cut_changes_little(place: Placement) -> None:
    image = smooth()
    size = 64
    face = cut_face(image, place, size) / np.float32(255)
    again = paste_face(image, face, face_mask(size), place)
    inside = np.abs(again.astype(int) - image)[2:-2, 2:-2]
    assert inside.max() <= 6 and inside.mean() < 0.5


def test_pasting_changes_the_square_alone_and_by_strength() -> None:
    image, red = smooth(), np.zeros((32, 32, 3), np.float32)
    red[..., 0] = 1
    place = Placement(60, 45, 40)
    np.testing.assert_array_equal(paste_face(image, red, face_mask(32), place, 0.0), image)
    whole = paste_face(image, red, face_mask(32), place).astype(int)
    half = paste_face(image, red, face_mask(32), place, 0.5).astype(int)
    np.testing.assert_array_equal(whole[45, 60], [255, 0, 0])
    np.testing.assert_allclose(half, (whole + image) / 2, atol=1)
    changed = (whole != image).any(-1)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert rows.min() >= 25 and rows.max() < 65 and columns.min() >= 40 and columns.max() < 80
    outside = paste_face(image, red, face_mask(32), Placement(-500, 45, 40))
    np.testing.assert_array_equal(outside, image)
    np.testing.assert_array_equal(image, smooth())  # the argument is left alone


def test_masks() -> None:
    hard = face_mask(64, "box", cover=0.5, feather=0.0)
    assert hard.sum() == 32 * 32 and set(np.unique(hard)) == {0, 1}
    soft = face_mask(64)
    assert soft[32, 32] == 1 and soft[0].max() == 0 and np.all(np.diff(soft[32, :32]) >= 0)
    assert soft.sum() < face_mask(64, "box").sum()
    for bad in ({"shape": "star"}, {"cover": 0.0}, {"feather": 2.0}):
        with pytest.raises(ArgumentError, match="face_mask"):
            face_mask(8, **bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("method", ["reinhard", "histogram"])
def test_matched_colours(method: str, channels: int) -> None:
    rng = np.random.default_rng(0)
    face = (0.2 + 0.3 * rng.random((24, 24, channels))).astype(np.float32)
    like = (0.5 + 0.3 * rng.random((24, 24, channels))).astype(np.float32)
    mask = face_mask(24, feather=0.0)
    inside = mask > 0.5
    matched = match_colours(face, like, mask, method)
    for statistic in (np.mean, np.std):
        wanted, before = statistic(like[inside], axis=0), statistic(face[inside], axis=0)
        np.testing.assert_allclose(statistic(matched[inside], axis=0), wanted, atol=0.02)
        assert statistic is np.std or (np.abs(before - wanted) > 0.2).all()
    if method == "histogram":
        np.testing.assert_allclose(np.sort(matched[inside], 0), np.sort(like[inside], 0), atol=1e-5)
    np.testing.assert_array_equal(match_colours(face, like, mask, None), face)
    flat = np.full_like(face, 0.4)
    assert np.isfinite(match_colours(flat, like, mask, method)).all()
    with pytest.raises(ArgumentError, match="expected method in"):
        match_colours(face, like, mask, "seamless")
    with pytest.raises(ShapeError, match="match_colours"):
        match_colours(face, like[:5], mask, method)


def test_a_dull_face_is_not_stretched_to_a_garish_one() -> None:
    rng = np.random.default_rng(0)
    face = (0.5 + 0.01 * rng.standard_normal((24, 24, 1))).astype(np.float32)
    like = (0.5 + 0.2 * rng.uniform(-1, 1, (24, 24, 1))).astype(np.float32)
    mask = np.ones((24, 24), np.float32)
    assert match_colours(face, like, mask).std() == pytest.approx(1.25 * face.std(), rel=1e-3)
    assert match_colours(like, face, mask).std() == pytest.approx(face.std(), rel=1e-3)


# ---- finding ----
@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Three pictures with a face each, one of 1 x 1, one that is not a picture, and a text."""
    folder = tmp_path / "album"
    folder.mkdir()
    for i, face in enumerate(cartoon_faces(0, 3, size=32)):
        picture = np.full((60, 80, 3), 200, np.uint8)
        picture[10:42, 20:52] = face
        write_image(folder / f"{i}.png", picture)
    write_image(folder / "dot.png", np.zeros((1, 1, 3), np.uint8))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (folder / "notes.txt").write_text("not looked at")
    return folder


BOXES = {f"{i}.png": [[20, 10, 32, 32]] for i in range(3)}


def test_given_boxes_need_no_detector(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    found = find_faces([album], 32, boxes={**BOXES, "broken.jpg": [[0, 0, 9, 9]]})
    np.testing.assert_array_equal(found.faces, cartoon_faces(0, 3, size=32))
    assert [Path(f).name for f in found.files] == ["0.png", "1.png", "2.png"] and found.frames == [0, 0, 0]
    assert found.placements[0] == Placement(36, 26, 32)
    reasons = {Path(name).name: reason for name, reason in found.skipped}
    assert "expected a whole picture" in reasons["broken.jpg"] and "no boxes are given" in reasons["dot.png"]
    assert len(reasons) == 2
    with pytest.raises(ImportError, match=r"deepcore\[faces\]"):
        find_faces([album], 32)


def test_one_bad_picture_among_many_is_named_and_the_rest_go_on(album: Path) -> None:
    lines: list[str] = []

    def everywhere(image: Any) -> list[Placement]:
        return [Placement(36, 26, 32), Placement(36, 26, 16)] if min(image.shape[:2]) > 20 else []

    found = find_faces([album], 16, detector=everywhere, grey=True, progress=lines.append)
    assert found.faces.shape == (6, 16, 16, 1) and len(lines) == 5
    reasons = {Path(name).name: reason for name, reason in found.skipped}
    assert reasons["dot.png"] == "no face in a picture of 1 x 1" and "broken.jpg" in reasons
    assert len(find_faces([album], 16, detector=everywhere, largest=True)) == 3


def test_nothing_found_is_an_error_that_says_why(album: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"got none in 1 files \(dot.png: no face in a picture of 1 x 1\)"):
        find_faces([album / "dot.png"], detector=lambda image: [])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_faces([tmp_path / "nowhere"], detector=lambda image: [])
    with pytest.raises(ArgumentError, match="got both"):
        find_faces([album], detector=lambda image: [], boxes={})


def test_files_in_order(album: Path) -> None:
    names = [p.name for p in media_files([album / "notes.txt", album])]
    assert names == ["notes.txt", "0.png", "1.png", "2.png", "broken.jpg", "dot.png"]


def test_cut_faces_are_read_back(tmp_path: Path) -> None:
    for i, face in enumerate(cartoon_faces(1, 4, size=32)):
        write_image(tmp_path / f"{i}.png", face)
    (tmp_path / "bad.png").write_bytes(b"x")
    found = load_faces(tmp_path)
    np.testing.assert_array_equal(found.faces, cartoon_faces(1, 4, size=32))
    assert [Path(n).name for n, _ in found.skipped] == ["bad.png"]
    assert load_faces(tmp_path, 16, grey=True).faces.shape == (4, 16, 16, 1)
    write_image(tmp_path / "z.png", np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(DataError, match=r"give a size"):
        load_faces(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="got none that can be read"):
        load_faces(tmp_path / "empty")


@pytest.mark.parametrize("box", [[1, 2, 3], [0, 0, 0, 5], [0, 0, 5, float("nan")]], ids=str)
def test_bad_boxes(box: list[float]) -> None:
    with pytest.raises(ArgumentError, match="face box"):
        placement_of(box)


def detector() -> FaceDetector:
    try:
        return FaceDetector()
    except ImportError as error:
        pytest.skip(str(error))


def test_the_detector_refuses_what_cannot_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match="smallest"):
        FaceDetector(smallest=0)

    class WithoutCascades:
        __version__ = "5.0.0"

    monkeypatch.setitem(sys.modules, "cv2", WithoutCascades)  # type: ignore[arg-type]
    with pytest.raises(ImportError, match=r"OpenCV 4, which has cascades, this is 5\.0\.0"):
        FaceDetector()


def test_the_detector_finds_faces_of_people(data_dir: Path) -> None:
    look = detector()
    import io
    import zipfile

    from PIL import Image

    hits = 0
    with zipfile.ZipFile(data_dir / "orl_faces" / "att_faces.zip") as archive:
        for person in range(1, 11):
            with Image.open(io.BytesIO(archive.read(f"att_faces/s{person}/1.pgm"))) as picture:
                face = np.asarray(picture)
            scene = np.full((200, 240, 1), 128, np.uint8)
            scene[40:152, 70:162, 0] = face
            places = look(scene)
            hits += any(abs(p.x - 116) < 20 and abs(p.y - 98) < 25 and 50 < p.side < 120 for p in places)
            assert look(scene) == places
    assert hits >= 8
    assert look(np.full((200, 240, 3), 128, np.uint8)) == [] == look(np.zeros((1, 1, 3), np.uint8))


# ---- what names a picture as synthetic ----
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_notice_is_in_the_file(suffix: str, channels: int, tmp_path: Path) -> None:
    source, path = tmp_path / "source.bin", tmp_path / f"made{suffix}"
    source.write_bytes(b"abc")
    record = provenance(source, swapped_to="bob")
    assert record["source_sha256"].startswith("ba7816bf") and record == provenance(b"abc", swapped_to="bob")
    write_synthetic(path, smooth()[..., :channels], record)
    assert NOTICE.encode() in path.read_bytes()
    assert read_provenance(path) == record
    np.testing.assert_allclose(read_image(path, grey=channels == 1).astype(int), smooth()[..., :channels], atol=12)
    write_synthetic(path, smooth(), None)
    assert read_provenance(path) is None and NOTICE.encode() not in path.read_bytes()


def test_files_that_cannot_hold_a_notice(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"expected a file \.png or \.jpg"):
        write_synthetic(tmp_path / "a.bmp", smooth(), None)
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match="expected a whole picture"):
        read_provenance(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError):
        read_provenance(tmp_path / "b.png")


@pytest.mark.parametrize("shape", [(200, 300, 3), (64, 64, 1), (20, 60, 3)], ids=str)
def test_the_mark_is_seen_and_small(shape: tuple[int, int, int]) -> None:
    image = np.full(shape, 120, np.uint8)
    marked = mark_synthetic(image)
    changed = (marked != image).any(-1)
    assert 0.005 < changed.mean() < 0.5 and changed[-1, 0] and not changed[0].any()
    assert {30, 255} == set(np.unique(marked[changed]))
    assert (image == 120).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 100, 3), (40, 20, 1)], ids=str)
def test_a_picture_too_small_for_the_word_is_marked_too(shape: tuple[int, int, int]) -> None:
    marked = mark_synthetic(np.full(shape, 120, np.uint8))
    assert marked[-1, 0, 0] in (0, 255)


# ---- videos ----
def test_a_video_comes_back(tmp_path: Path) -> None:
    pytest.importorskip("av")
    frames = [np.roll(smooth(45, 61), 3 * i, 1) for i in range(6)]
    for suffix in (".mp4", ".mkv", ".avi", ".mov"):
        path = tmp_path / f"film{suffix}"
        with VideoWriter(path, Fraction(10), {"comment": "a note"}) as writer:
            for frame in frames:
                writer.write(frame)
        again = list(read_video(path))
        assert len(again) == 6 and again[0].shape == (46, 62, 3)
        assert np.abs(again[3][:45, :61].astype(int) - frames[3]).mean() < 8
        assert video_rate(path) == 10 and video_metadata(path)["comment"] == "a note"


def test_bad_videos(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = tmp_path / "film.mp4"
    path.write_bytes(b"no film")
    with pytest.raises(DataError, match="expected a whole video"):
        list(read_video(path))
    with pytest.raises(FileNotFoundError):
        list(read_video(tmp_path / "none.mp4"))
    with pytest.raises(ArgumentError, match="expected a file of"):
        VideoWriter(tmp_path / "film.gif", 10)
    with pytest.raises(ShapeError, match=r"uint8 \(44, 60, 3\)"), VideoWriter(path, 10) as writer:
        writer.write(smooth(44, 60))
        writer.write(smooth(40, 60))
    assert path.read_bytes() == b"no film"  # the file before is untouched, and nothing else is left
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]


def test_a_video_without_faces(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = tmp_path / "film.mp4"
    with VideoWriter(path, 10) as writer:
        for _ in range(5):
            writer.write(smooth(44, 60))
    with pytest.raises(DataError, match=r"film.mp4: no face in 5 frames"):
        find_faces([path], detector=lambda image: [])
    found = find_faces([path], 16, detector=lambda image: [Placement(20, 20, 16)], every=2)
    assert found.frames == [0, 2, 4]
    assert json.dumps(found.placements[0]) == "[20, 20, 16, 0.0]"
