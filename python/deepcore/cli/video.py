"""deepcore video."""

from __future__ import annotations

import argparse
import json
import time
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.cli.commands import actions_of, add_run_options, check_files
from deepcore.errors import ArgumentError, DataError

Array = npt.NDArray[Any]

_DATA = (
    "a folder with one folder of videos per class, or an .npz with x (n, t, h, w[, c]) and y (n,) or, with --decision "
    "frame, (n, t), or x_train, y_train, x_test, y_test; with lengths (n,), or lengths_train and lengths_test, frames "
    "beyond are padding"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two commands: train, predict."""
    add = actions_of(parser)
    train = add("train", "Train a classifier of videos, one folder of them per class.",
                "deepcore video train clips/ --size 64 --stride 2 --output video.safetensors")  # fmt: skip
    train.add_argument("data", help=_DATA)
    files = train.add_argument_group("of video files")
    files.add_argument(
        "--size", type=int, metavar="PIXELS", help="side to which frames are scaled (default: as they are)"
    )
    files.add_argument("--grey", action="store_true", help="without colour")
    files.add_argument("--stride", type=int, default=1, metavar="N", help="keep each Nth frame (default: %(default)s)")
    files.add_argument("--frames", type=int, metavar="N", help="of these keep N at equal distances (default: all)")
    net = train.add_argument_group("the net")
    net.add_argument("--decision", choices=("last", "mean", "attention", "frame"), default="last",
                     help="by the last state, the mean, a weighted mean, or one for each frame "
                     "(default: %(default)s)")  # fmt: skip
    net.add_argument("--anticipate", type=int, default=0, metavar="K",
                     help="decide K frames ahead (default: %(default)s)")  # fmt: skip
    net.add_argument("--encoder", choices=("small", "medium"), default="small", help="default: %(default)s")
    net.add_argument("--cell", default="lstm", help="lstm, gru, ..., conv_lstm, conv_gru (default: %(default)s)")
    net.add_argument("--width", type=int, default=16, help="channels of the first convolution (default: %(default)s)")
    net.add_argument("--hidden", type=int, default=64, help="size of the recurrent state (default: %(default)s)")
    net.add_argument("--layers", type=int, default=1, help="default: %(default)s")
    net.add_argument("--bidirectional", action="store_true", help="read clips from the end, too")
    net.add_argument("--dropout", type=float, default=0.0, help="default: %(default)s")
    train.add_argument("--augment", choices=("light", "flip", "strong"),
                       help="random changes, the same for all frames of a clip")  # fmt: skip
    train.add_argument("--epochs", type=int, default=10, help="default: %(default)s")
    train.add_argument("--batch-size", type=int, default=16, help="clips (default: %(default)s)")
    train.add_argument("--lr", type=float, default=3e-3, help="learning rate (default: %(default)s)")
    train.add_argument("--validation", type=float, default=0.0, metavar="SHARE", help="held out (default: %(default)s)")
    train.add_argument("--early-stopping", action="store_true", help="stop and restore the best weights")
    add_run_options(train, output="video.safetensors", report="x_test, y_test of an .npz")
    train.set_defaults(run=run_train)

    predict = add("predict", "Classify videos; with --decision frame, each of their frames.",
                  "deepcore video predict video.safetensors holiday.mp4 --top 3")  # fmt: skip
    predict.add_argument("model", help="file written by deepcore video train")
    predict.add_argument("files", nargs="+", help="videos, or .npz files with x as for training")
    predict.add_argument("--top", type=int, default=1, metavar="K", help="classes to show per video")
    predict.add_argument("--device", default=None, help="auto, cpu or cuda (default: as trained)")
    predict.add_argument("--json", action="store_true", help="print one JSON object per line")
    predict.set_defaults(run=run_predict)


def _clips(path: Path, arrays: dict[str, Array], part: str) -> Any:
    """Clips of an .npz, those with lengths as a list."""
    x, lengths = arrays[f"x{part}"], arrays.get(f"lengths{part}")
    if x.ndim not in (4, 5):
        raise DataError(f"{path}: expected x{part} (n, t, h, w[, c]), got shape {x.shape}")
    if lengths is None:
        return x
    if lengths.shape != (len(x),) or lengths.dtype.kind not in "iu":
        raise DataError(
            f"{path}: expected {len(x)} whole numbers as lengths{part}, got {lengths.dtype} {lengths.shape}"
        )
    bad = np.flatnonzero((lengths < 1) | (lengths > x.shape[1]))
    if bad.size:
        raise DataError(
            f"{path}: expected lengths{part} from 1 to {x.shape[1]}, got {lengths[bad[0]]} for clip {bad[0]}"
        )
    return [clip[:n] for clip, n in zip(x, lengths)]


def _load(name: str) -> tuple[Any, Any, Any, Any]:
    """(x, y, x_test, y_test); the last two are None where there is no test part."""
    from deepcore import data

    path = Path(name)
    if path.is_dir():
        paths, labels = data.video_folder(path)
        return paths, labels, None, None
    if path.suffix != ".npz":
        if not path.exists():
            raise FileNotFoundError(f"{name}: no such file or folder")
        raise DataError(f"{name}: expected a folder or an .npz")
    arrays = data.read_npz(path)
    part = "_train" if "x_train" in arrays else ""
    if f"x{part}" not in arrays or f"y{part}" not in arrays:
        raise DataError(f"{path}: expected x and y, or x_train and y_train; it holds {sorted(arrays)}")
    if part and "lengths" in arrays:
        raise DataError(f"{path}: expected lengths_train and lengths_test beside x_train, got lengths")
    x, y = _clips(path, arrays, part), arrays[f"y{part}"]
    if "x_test" not in arrays or "y_test" not in arrays:
        return x, y, None, None
    return x, y, _clips(path, arrays, "_test"), arrays["y_test"]


def run_train(options: argparse.Namespace) -> int:
    """Train and save; prints the accuracy on the test part of an .npz."""
    from deepcore.estimators import VideoClassifier

    check_files("video train", options.resume, options.checkpoint, options.output, options.report)
    x, y, x_test, y_test = _load(options.data)
    if options.report and x_test is None:
        raise ArgumentError("video train: --report needs an .npz with x_test and y_test")
    estimator = VideoClassifier(
        options.decision, anticipate=options.anticipate, encoder=options.encoder, width=options.width,
        cell=options.cell, hidden=options.hidden, layers=options.layers, bidirectional=options.bidirectional,
        dropout=options.dropout, augment=options.augment, size=options.size, grey=options.grey, stride=options.stride,
        frames=options.frames, learning_rate=options.lr, batch_size=options.batch_size, epochs=options.epochs,
        validation_fraction=options.validation, early_stopping=options.early_stopping,
        max_seconds=options.max_seconds, random_state=options.seed, verbose=not options.quiet, device=options.device,
    )  # fmt: skip
    started = time.perf_counter()
    estimator.fit(x, y, checkpoint=options.checkpoint, resume=options.resume)
    seconds = time.perf_counter() - started
    estimator.save(options.output)
    last = estimator.history_[-1] if estimator.history_ else {}
    result: dict[str, Any] = {"samples": len(x), "classes": estimator.classes_.tolist(), "seconds": seconds,
                              "output": options.output, "last": last}  # fmt: skip
    if x_test is not None:
        result["test_accuracy"] = estimator.score(x_test, y_test)
    if options.report:
        estimator.report(options.report, x_test, y_test)
        result["report"] = options.report
    if options.json:
        print(json.dumps(result))
        return 0
    print(f"trained on {len(x):,} clips of {len(estimator.classes_)} classes in {seconds:.1f} s")
    for name, value in (("validation", last.get("val_accuracy")), ("test", result.get("test_accuracy"))):
        if value is not None:
            print(f"{name} accuracy {100 * value:.2f} %")
    print(f"saved {options.output}" + (f", report {options.report}" if options.report else ""))
    return 0


def run_predict(options: argparse.Namespace) -> int:
    """One line per clip: file, label, probability, or the labels of its frames."""
    from deepcore import data
    from deepcore.estimators import VideoClassifier

    if options.top < 1:
        raise ArgumentError(f"video predict: expected --top >= 1, got {options.top}")
    model = VideoClassifier.load(options.model, device=options.device)
    for name in options.files:
        path = Path(name)
        clips: Any = [path]
        if path.suffix == ".npz":
            arrays = data.read_npz(path)
            if "x" not in arrays:
                raise DataError(f"{path}: expected x; it holds {sorted(arrays)}")
            clips = _clips(path, arrays, "")
        found = model.predict_proba(clips)
        for i, p in enumerate(found):
            label = name if len(found) == 1 else f"{name}[{i}]"
            print(_frames(label, model, p, options) if p.ndim == 2 else _clip(label, model, p, options))
    return 0


def _clip(label: str, model: Any, p: Array, options: argparse.Namespace) -> str:
    best = np.argsort(-p, kind="stable")[: options.top]
    found = [(model.classes_[k].item(), float(p[k])) for k in best]
    if options.json:
        return json.dumps({"file": label, "classes": [{"label": k, "probability": v} for k, v in found]})
    return label + "  " + "  ".join(f"{k} ({100 * v:.1f} %)" for k, v in found)


def _frames(label: str, model: Any, p: Array, options: argparse.Namespace) -> str:
    """All labels, or runs of frames (counted from 1) of one label."""
    said = model.classes_[p.argmax(1)].tolist()
    if options.json:
        return json.dumps({"file": label, "labels": said, "probabilities": [float(v) for v in p.max(1)]})
    parts, first = [], 1
    for name, run in groupby(said):
        count = len(list(run))
        parts.append(f"{first}-{first + count - 1} {name}" if count > 1 else f"{first} {name}")
        first += count
    return label + "  " + ", ".join(parts)
