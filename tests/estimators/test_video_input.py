"""What VideoClassifier takes: video files as they are written, and bad input that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore import data
from deepcore.data.video import VideoWriter
from deepcore.errors import ArgumentError, DataError, DtypeError, NotFittedError, ShapeError
from tests.estimators.dots import FEW, X, Y, few, model


# ---- video files ----
def write(path: Path, clip: Any) -> Path:
    pytest.importorskip("av")
    with VideoWriter(path, 10) as video:
        for frame in clip:
            video.write(np.repeat(frame[..., None], 3, -1).repeat(4, 0).repeat(4, 1))
    return path


def test_files_give_what_their_frames_give(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}.mp4", X[i]) for i in range(12)]
    options = {**FEW, "size": (8, 16), "grey": True, "epochs": 3}
    fitted = model(**options).fit(paths, Y[:12, -1])
    assert fitted.frame_shape_ == (8, 16, 1)
    frames = [data.read_clip(path, (8, 16), grey=True) for path in paths]
    close = np.abs(np.stack(frames)[..., 0].astype(int) - X[:12]).mean()
    assert close < 6  # what the codec loses
    as_arrays = model(**options).fit(frames, Y[:12, -1])
    p = as_arrays.predict_proba(frames)
    np.testing.assert_array_equal(fitted.predict_proba([str(path) for path in paths]), p)
    stream = list(fitted.predict_stream(paths[3]))
    assert len(stream) == 6
    np.testing.assert_array_equal(stream[-1][1], p[3])


def test_stride_and_number_of_frames(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [np.full((8, 16), 20 * t, np.uint8) for t in range(10)])
    grey = lambda **options: np.rint(data.read_clip(path, grey=True, **options).mean((1, 2, 3)) / 20).tolist()  # noqa: E731
    assert grey() == list(range(10))
    assert grey(stride=3) == [0, 3, 6, 9]
    assert grey(frames=5) == [1, 3, 5, 7, 9]
    assert grey(stride=2, frames=2) == [2, 6]
    assert grey(frames=20) == list(range(10))
    assert data.read_clip(path, 5).shape == (10, 5, 5, 3)
    for options, text in (({"stride": 0}, "stride >= 1"), ({"frames": 0}, "frames >= 1")):
        with pytest.raises(ArgumentError, match=text):
            data.read_clip(path, **options)


def test_damaged_and_empty_files_are_named(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mp4", X[0])
    content = whole.read_bytes()
    for name, damaged in (("half.mp4", content[: len(content) // 2]), ("empty.mp4", b""), ("text.avi", b"no video")):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(DataError, match=name):
            model(size=8).fit([whole, tmp_path / name], [0, 1])
    with pytest.raises(FileNotFoundError, match=r"missing\.mp4"):
        model().fit([whole, tmp_path / "missing.mp4"], [0, 1])
    other = write(tmp_path / "other.mp4", X[0][:, :4])
    with pytest.raises(ShapeError, match=r"frames of one size.*other\.mp4"):
        model().fit([whole, other], [0, 1])
    fitted = model(**FEW, size=(8, 16), frames=3).fit([whole, other], [0, 1])
    with pytest.raises(ArgumentError, match="frames=None for the stream of a file"):
        next(fitted.predict_stream(whole))


def test_folders_of_classes(tmp_path: Path) -> None:
    for name in ("left", "right"):
        (tmp_path / name / "deep").mkdir(parents=True)
        write(tmp_path / name / "deep" / "b.mp4", X[0])
        write(tmp_path / name / "a.avi", X[1])
        (tmp_path / name / "notes.txt").write_text("")
    paths, labels = data.video_folder(tmp_path)
    assert [path.name for path in paths] == ["a.avi", "b.mp4"] * 2
    assert labels.tolist() == ["left", "left", "right", "right"]
    (tmp_path / "up").mkdir()
    with pytest.raises(DataError, match=r"expected videos .* in .*up, got none"):
        data.video_folder(tmp_path)


# ---- bad input ----
@pytest.mark.parametrize(
    ("x", "y", "error", "text"),
    [
        ("clip.mp4", [0], ArgumentError, "sequence of clips or paths"),
        ([], [], ArgumentError, "at least one clip"),
        (X[0], Y[0], ShapeError, r"expected clips \(n, t, h, w\[, c\]\)"),
        ([X[0], X[1, :0]], [0, 1], DataError, "at least one frame in clip 1, got none"),
        ([X[0], X[1, :, :4]], [0, 1], ShapeError, r"one size, got \(4, 16, 1\) in clip 1"),
        ([X[0], X[1] / 2], [0, 1], DtypeError, "float32 in clip 1"),
        ([X[0], np.where(X[1] > 0, np.nan, 1.0)], [0, 1], DataError, "frame 0 of clip 1 holds NaN"),
        ([X[0], np.array([["a"]])], [0, 1], DtypeError, "expected numbers as clip 1"),
        ([X[0], X[1, 0, 0]], [0, 1], ShapeError, r"\(t, h, w, c\) as clip 1"),
        (np.zeros((2, 3, 0, 4)), [0, 1], ShapeError, "frames with pixels in clip 0"),
        (X[:4], None, ArgumentError, "target y is None"),
        (X[:4], [0, 1], ArgumentError, "inconsistent numbers of samples"),
        (X[:4], Y[:4], ArgumentError, "should be a 1d array"),
        (X[:4], [1, 1, 1, 1], ArgumentError, "at least 2 classes"),
        (X[:4], [0, 1, 0, 0.5], ArgumentError, "continuous"),
    ],
)  # fmt: skip
def test_bad_clips_and_labels(x: Any, y: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        model().fit(x, y)


@pytest.mark.parametrize(
    ("y", "text"),
    [
        (Y[:4, :5], "expected 6 labels, one for each frame, got 5 for clip 0"),
        (np.concatenate([Y[:4], Y[:4]], 1), "expected 6 labels, one for each frame, got 12 for clip 0"),
        (np.full((4, 6), -1), "at least one labelled frame"),
        ([[0] * 6, [1] * 6], "inconsistent numbers"),
    ],
)  # fmt: skip
def test_bad_labels_of_frames(y: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        model("frame").fit(X[:4], y)
    padded = np.concatenate([Y[:4], np.full((4, 3), -1)], 1)  # labels beyond the clip that are none
    model("frame", **FEW).fit(X[:4], padded)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"output": "max"}, "expected output in"),
        ({"cell": "conv_mgu"}, "expected cell in"),
        ({"encoder": "large"}, "expected encoder in"),
        ({"hidden": 0}, "expected hidden >= 1"),
        ({"width": 2.5}, "expected width >= 1"),
        ({"anticipate": -1}, "expected anticipate >= 0"),
        ({"stride": 0}, "expected stride >= 1"),
        ({"frames": 0}, "expected frames >= 1"),
        ({"dropout": 1.0}, "expected dropout in"),
        ({"augment": "wild"}, "expected augment in"),
        ({"augment": {"mixup": 0.2}}, "without mixup"),
        ({"cell": "conv_lstm", "bidirectional": True}, "bidirectional=False with cell"),
        ({"output": "frame", "anticipate": 2, "bidirectional": True}, "has seen what is to come"),
        ({"epochs": 0}, "expected epochs >= 1"),
        ({"optimizer": "magic"}, "expected optimizer in"),
    ],
)
def test_bad_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        model(**options).fit(X[:4], [0, 1, 0, 1])


def test_what_does_not_fit_the_fitted_net() -> None:
    with pytest.raises(NotFittedError):
        model().predict(X)
    fitted = few()
    with pytest.raises(ShapeError, match=r"expected frames \(8, 16, 1\), got \(16, 8, 1\) in clip 0"):
        fitted.predict(np.zeros((2, 3, 16, 8), np.uint8))
    with pytest.raises(DtypeError, match="expected frames of uint8, as in fit, got float32"):
        fitted.predict(X[:2] / 255)
    with pytest.raises(ArgumentError, match="label 7 of clip 1 is not in classes"):
        fitted.score(X[:2], [0, 7])
    with pytest.raises(ShapeError, match=r"expected frames \(n, h, w\[, c\]\)"):
        fitted.step(X[0, 0])
