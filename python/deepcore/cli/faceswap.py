"""deepcore faceswap."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from deepcore.cli.commands import actions_of, check_files
from deepcore.errors import ArgumentError, DataError, counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The three commands: extract, train, convert."""
    add = actions_of(parser)
    extract = add("extract", "Cut the faces out of pictures and videos, upright and of one size.",
                  "deepcore faceswap extract holiday/ film.mp4 --output faces/ann")  # fmt: skip
    extract.add_argument("sources", nargs="+", help="pictures, videos, folders of them")
    extract.add_argument("--output", required=True, metavar="DIR", help="folder for the faces and faces.json")
    extract.add_argument("--size", type=int, default=64, help="side in pixels (default: %(default)s)")
    extract.add_argument("--grey", action="store_true", help="without colour")
    extract.add_argument("--largest", action="store_true", help="only the largest face of each picture")
    extract.add_argument("--every", type=int, default=1, metavar="N", help="look at each Nth frame of a video")
    _detection(extract)
    extract.set_defaults(run=run_extract)

    train = add("train", "Train on the faces of two or more people, one folder each.",
                "deepcore faceswap train faces/ann faces/bob --output swap.safetensors --preview preview")  # fmt: skip
    train.add_argument("people", nargs="+", help="a folder of cut faces for each; its name is the person's")
    train.add_argument("--others", metavar="DIR", help="faces of other people, which help the encoder")
    train.add_argument("--output", default="faceswap.safetensors", metavar="FILE", help="default: %(default)s")
    train.add_argument("--size", type=int, metavar="PIXELS", help="scale the faces (default: as they are)")
    train.add_argument("--grey", action="store_true", help="without colour")
    train.add_argument("--share", choices=("encoder", "none", "rbm"), default="encoder",
                       help="one encoder for all, an autoencoder each, or an autoencoder each from one stack of "
                       "restricted Boltzmann machines (default: %(default)s)")  # fmt: skip
    train.add_argument("--steps", type=int, default=4000, help="optimizer steps (default: %(default)s)")
    train.add_argument("--pretrain", type=int, default=0, metavar="STEPS",
                       help="of these, on one decoder for all; good for few faces (default: %(default)s)")  # fmt: skip
    train.add_argument("--snapshot", type=int, default=250, metavar="STEPS",
                       help="between previews and checkpoints (default: %(default)s)")  # fmt: skip
    train.add_argument("--batch-size", type=int, default=16, help="default: %(default)s")
    train.add_argument("--width", type=int, help="channels of the first layer (default: 24; not with --share rbm)")
    train.add_argument("--code", type=int, default=256, help="length of the code (default: %(default)s)")
    train.add_argument("--shrink", type=float, default=0.0,
                       help="how much of a code to leave out where the target's own faces do not vary; 0.3 to 2 for "
                       "few faces (default: %(default)s)")  # fmt: skip
    train.add_argument("--exchange", type=float, default=0.0, metavar="SHARE",
                       help="0 to 1: train decoders to disregard whom a code shows (default: %(default)s)")  # fmt: skip
    train.add_argument("--layers", type=int, nargs="+", metavar="UNITS",
                       help="with --share rbm: hidden units below the code (default: 1000 500)")  # fmt: skip
    train.add_argument("--machine-epochs", type=int, metavar="N",
                       help="with --share rbm: passes over the faces for each machine (default: 30)")  # fmt: skip
    train.add_argument("--lr", type=float, help="learning rate (default: 0.001; 0.0002 with --share rbm)")
    train.add_argument("--augment", choices=("none", "light", "standard"), default="standard",
                       help="random warp, turn, mirror image, colours (default: %(default)s)")  # fmt: skip
    train.add_argument("--max-seconds", type=float, help="limit on the training time")
    train.add_argument("--preview", metavar="DIR", help="a PNG of the same faces and their swaps at each snapshot")
    train.add_argument("--checkpoint", metavar="FILE", help="written at each snapshot and on Ctrl-C")
    train.add_argument("--resume", action="store_true", help="go on from --checkpoint")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--device", default="auto", help="auto, cpu or cuda")
    train.add_argument("--quiet", action="store_true", help="no progress")
    train.add_argument("--json", action="store_true", help="print the result as one line of JSON")
    train.set_defaults(run=run_train)

    convert = add("convert", "Swap the faces of pictures and videos. Each result says that it is synthetic.",
                  "deepcore faceswap convert swap.safetensors film.mp4 --to bob --output swapped.mp4")  # fmt: skip
    convert.add_argument("model", help="file written by deepcore faceswap train")
    convert.add_argument("sources", nargs="+", help="pictures, videos, folders of them")
    convert.add_argument("--to", required=True, metavar="PERSON", help="whose face appears")
    convert.add_argument("--source", metavar="PERSON", help="whose faces they are (default: of two the other)")
    convert.add_argument("--output", required=True, metavar="PATH", help="a file for one source, else a folder")
    convert.add_argument("--strength", type=float, default=1.0, help="0 (nothing) to 1 (default: %(default)s)")
    convert.add_argument("--mask", choices=("ellipse", "box"), default="ellipse", help="default: %(default)s")
    convert.add_argument("--cover", type=float, default=0.9, metavar="SHARE",
                         help="of the cut square that the mask spans (default: %(default)s)")  # fmt: skip
    convert.add_argument("--feather", type=float, default=0.25, metavar="SHARE",
                         help="of the mask over which it fades out (default: %(default)s)")  # fmt: skip
    convert.add_argument("--colour", choices=("none", "reinhard", "histogram"), default="reinhard",
                         help="how colours are matched (default: %(default)s)")  # fmt: skip
    convert.add_argument("--largest", action="store_true", help="only the largest face of each picture")
    _detection(convert)
    convert.add_argument("--whole", action="store_true", help="the pictures are cut faces: swap all of each")
    convert.add_argument("--no-mark", action="store_true", help="leave out the visible word SYNTHETIC")
    convert.add_argument("--no-notice", action="store_true", help="leave out the notice in the file")
    convert.add_argument("--device", default=None, help="auto, cpu or cuda (default: as trained)")
    convert.add_argument("--quiet", action="store_true", help="no line per file")
    convert.add_argument("--json", action="store_true", help="print the result as one line of JSON")
    convert.set_defaults(run=run_convert)


def _detection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--boxes", metavar="FILE",
        help='JSON {"name.jpg": [[left, top, width, height], ...], ...} in place of OpenCV\'s detector',
    )  # fmt: skip


def _read_boxes(path: str | None) -> dict[str, Any] | None:
    if path is None:
        return None
    from deepcore.data.faces import placement_of

    try:
        boxes = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(boxes, dict):
            raise TypeError(f"a JSON {type(boxes).__name__}")
        for own in boxes.values():
            for box in own:
                placement_of(box)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: expected boxes (left, top, width, height) by file name, got {error}") from error
    return boxes


def _named(skipped: list[tuple[str, str]]) -> None:
    for name, reason in skipped:
        print(f"skipped {name}: {reason}", file=sys.stderr)


def run_extract(options: argparse.Namespace) -> int:
    """Write the faces as PNG, and faces.json with where each comes from and what was skipped."""
    from deepcore.data.faces import find_faces
    from deepcore.data.images import write_image
    from deepcore.files import atomic_write

    found = find_faces(options.sources, options.size, boxes=_read_boxes(options.boxes), grey=options.grey,
                       largest=options.largest, every=options.every)  # fmt: skip
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i, face in enumerate(found.faces):
        name = f"face-{i:06d}.png"
        write_image(folder / name, face)
        rows.append({"face": name, "file": found.files[i], "frame": found.frames[i],
                     "placement": [round(v, 3) for v in found.placements[i]]})  # fmt: skip
    record = {"faces": rows, "skipped": [{"file": name, "reason": reason} for name, reason in found.skipped]}
    with atomic_write(folder / "faces.json") as file:
        file.write(json.dumps(record, indent=1).encode())
    _named(found.skipped)
    print(f"{counted(len(found), 'face')} in {folder}, {counted(len(found.skipped), 'file')} skipped")
    return 0


def run_train(options: argparse.Namespace) -> int:
    """Train and save."""
    from deepcore.data.faces import load_faces
    from deepcore.estimators import FaceSwap

    check_files("train", options.resume, options.checkpoint, options.output)
    folders = [*options.people, *([options.others] if options.others else [])]
    names = [Path(folder).resolve().name for folder in folders]
    if len(options.people) < 2 or len(set(names)) != len(names):
        raise ArgumentError(f"train: expected folders of at least 2 people with different names, got {names}")
    size, faces, labels = options.size, [], []
    for folder, name in zip(folders, names, strict=True):
        found = load_faces(folder, size, grey=options.grey)
        _named(found.skipped)
        size = size or found.faces.shape[1]
        if found.faces.shape[1:3] != (size, size):
            raise DataError(f"{folder}: expected faces of {size} x {size}, got {found.faces.shape[1:3]}; give --size")
        faces.append(found.faces)
        labels += [name] * len(found)
    machines = None if options.machine_epochs is None else {"n_iter": options.machine_epochs}
    model = FaceSwap(
        options.share, shrink=options.shrink, exchange=options.exchange, code=options.code,
        width=options.width, layers=options.layers, machines=machines, pretrain=options.pretrain, steps=options.steps,
        snapshot=options.snapshot, batch_size=options.batch_size, learning_rate=options.lr,
        augment=None if options.augment == "none" else options.augment, max_seconds=options.max_seconds,
        random_state=options.seed, verbose=not options.quiet, device=options.device,
    )  # fmt: skip
    model.fit(np.concatenate(faces), labels, preview=options.preview, checkpoint=options.checkpoint,
              resume=options.resume)  # fmt: skip
    model.save(options.output)
    last = model.history_[-1] if model.history_ else {}
    if options.json:
        result = {"people": model.classes_.tolist(), "faces": len(labels), "steps": model.n_iter_, "last": last}
        print(json.dumps({**result, "output": options.output}))
    else:
        print(
            f"trained {model.n_iter_} steps on {counted(len(labels), 'face')} of {', '.join(model.classes_.tolist())}"
        )
        print(f"saved {options.output}" + (f", previews in {options.preview}" if options.preview else ""))
    return 0


def run_convert(options: argparse.Namespace) -> int:
    """Swap; prints what was done and what was skipped. A single file that cannot be converted is an error."""
    from deepcore.estimators import FaceConverter, FaceSwap

    if options.whole and options.boxes:
        raise ArgumentError("convert: expected --whole or --boxes, got both")
    boxes = _read_boxes(options.boxes)
    swapper = FaceSwap.load(options.model, device=options.device)
    converter = FaceConverter(
        swapper, options.to, source=options.source, strength=options.strength, mask=options.mask, cover=options.cover,
        feather=options.feather, colour=None if options.colour == "none" else options.colour,
        detector="whole" if options.whole else None, largest=options.largest, mark=not options.no_mark,
        notice=not options.no_notice,
    )  # fmt: skip
    first = Path(options.sources[0])
    if len(options.sources) == 1 and first.is_file() and not Path(options.output).is_dir():
        own = None if boxes is None else boxes.get(str(first), boxes.get(first.name))
        if boxes is not None and own is None:
            raise DataError(f"{options.boxes}: no boxes are given for {first}")
        done, skipped = [(str(first), converter.convert_file(first, options.output, boxes=own))], []
    else:
        progress = None if options.quiet or options.json else (lambda line: print(line, file=sys.stderr, flush=True))
        result = converter.convert_all(options.sources, options.output, boxes=boxes, progress=progress)
        done, skipped = result.done, result.skipped
        if progress is None:
            _named(skipped)
    if options.json:
        print(json.dumps({"files": len(done), "faces": sum(n for _, n in done), "skipped": [s for s, _ in skipped],
                          "output": options.output}))  # fmt: skip
    else:
        faces = counted(sum(n for _, n in done), "face")
        print(f"swapped {faces} in {counted(len(done), 'file')}, {len(skipped)} skipped: {options.output}")
    if not done:
        raise DataError("convert: no file was converted")
    return 0
