"""deepcore caption."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.cli.commands import actions_of, add_run_options, check_files, length_penalty_of
from deepcore.errors import ArgumentError, DataError, counted

Pixels = npt.NDArray[np.uint8]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two commands: train, predict."""
    add = actions_of(parser)
    train = add("train", "Train on a folder of pictures and a table of their captions.",
                "deepcore caption train photos captions.tsv --pretrain words --output photos.safetensors")  # fmt: skip
    train.add_argument("folder", help="where the pictures lie")
    train.add_argument("captions", help="UTF-8 table of lines FILE<TAB>CAPTION; a file may have several lines")
    train.add_argument("--size", type=int, default=64, metavar="PIXELS",
                       help="side to which pictures are scaled (default: %(default)s)")  # fmt: skip
    train.add_argument("--grey", action="store_true", help="without colour")
    train.add_argument("--model", choices=("lenet5", "vgg-small", "resnet9", "resnet18"), default="resnet9",
                       help="convolutional net (default: %(default)s)")  # fmt: skip
    train.add_argument("--width", type=int, help="channels of its first layer (default: the net's own)")
    train.add_argument("--grid", type=int, metavar="N", help="keep N x N places instead of pooling globally")
    train.add_argument("--inject", choices=("every", "first", "init"), default="init",
                       help="where the picture enters the recurrent net (default: %(default)s)")  # fmt: skip
    train.add_argument("--cell", default="lstm", help="lstm, gru, mgu, ... (default: %(default)s)")
    train.add_argument("--units", type=int, default=256, help="size of the recurrent layer (default: %(default)s)")
    train.add_argument("--pretrain", choices=("words",), help="first learn which words the captions have")
    train.add_argument("--pretrain-epochs", type=int, default=10, help="default: %(default)s")
    train.add_argument("--min-count", type=int, default=2, help="leave out rarer words (default: %(default)s)")
    train.add_argument("--epochs", type=int, default=10, help="default: %(default)s")
    train.add_argument("--batch-size", type=int, default=32, help="pictures (default: %(default)s)")
    train.add_argument("--lr", type=float, default=1e-3, help="learning rate (default: %(default)s)")
    train.add_argument("--dropout", type=float, default=0.3, help="probability (default: %(default)s)")
    train.add_argument("--weight-decay", type=float, default=0.0)
    train.add_argument("--augment", choices=("light", "flip", "strong"), help="random changes of the pictures")
    train.add_argument("--validation", type=float, default=0.1, metavar="SHARE",
                       help="of the pictures held out (default: %(default)s)")  # fmt: skip
    train.add_argument("--early-stopping", action="store_true", help="stop and restore the weights of the best CIDEr")
    add_run_options(train, output="captions.safetensors", report="the pictures held out")
    train.set_defaults(run=run_train)

    predict = add("predict", "Say what pictures show.",
                  "deepcore caption predict captions.safetensors beach.jpg --beam 5")  # fmt: skip
    predict.add_argument("model", help="file written by deepcore caption train")
    predict.add_argument("pictures", nargs="+", help="pictures, folders of them")
    predict.add_argument("--beam", type=int, help="captions that grow side by side; 1 is greedy (default: as trained)")
    predict.add_argument("--length-penalty", type=length_penalty_of, metavar="A",
                         help="exponent of the length penalty, or 'mean' (default: 1)")  # fmt: skip
    predict.add_argument("--top", type=int, default=1, metavar="N", help="captions to show (default: %(default)s)")
    predict.add_argument("--device", default=None, help="auto, cpu or cuda (default: as trained)")
    predict.add_argument("--json", action="store_true", help="one line of JSON per picture")
    predict.set_defaults(run=run_predict)


def read_captions(path: str) -> dict[str, list[str]]:
    """File names and their captions, from lines FILE<TAB>CAPTION. DataError naming the line that is none."""
    try:
        text = Path(path).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected text in UTF-8, {error}") from error
    found: dict[str, list[str]] = {}
    for i, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        name, tab, caption = line.rstrip("\r").partition("\t")
        if not tab or not name or not caption.strip():
            raise DataError(f"{path}: expected FILE<TAB>CAPTION in line {i}, got {line[:80]!r}")
        found.setdefault(name, []).append(caption)
    if not found:
        raise DataError(f"{path}: expected lines FILE<TAB>CAPTION, got none")
    return found


def run_train(options: argparse.Namespace) -> int:
    """Train, save, write the report; prints the scores of the pictures held out."""
    from deepcore import data
    from deepcore.estimators import Captioner

    check_files("train", options.resume, options.checkpoint, options.output, options.report)
    if options.size < 1:
        raise ArgumentError(f"train: expected --size >= 1, got {options.size}")
    captions = read_captions(options.captions)
    if options.report and not 0 < options.validation < 1:
        raise ArgumentError("train: --report needs --validation > 0")
    images = _pictures([Path(options.folder) / name for name in captions], options.size, options.grey)
    texts = list(captions.values())
    kept, out = np.arange(len(images)), np.arange(0)
    if options.validation:
        kept, out = data.train_val_split(len(images), options.validation, seed=options.seed)
    held = (images[out], [texts[i] for i in out]) if len(out) else None
    model = Captioner(
        options.inject, preset=options.model, width=options.width, grid=options.grid, pretrain=options.pretrain,
        pretrain_epochs=options.pretrain_epochs, min_count=options.min_count, hidden=options.units, cell=options.cell,
        dropout=options.dropout, augment=options.augment, learning_rate=options.lr,
        weight_decay=options.weight_decay, batch_size=options.batch_size, epochs=options.epochs,
        early_stopping=options.early_stopping, max_seconds=options.max_seconds, random_state=options.seed,
        verbose=not options.quiet, device=options.device,
    )  # fmt: skip
    started = time.perf_counter()
    training = images[kept], [texts[i] for i in kept]
    model.fit(*training, validation_data=held, checkpoint=options.checkpoint, resume=options.resume)
    seconds = time.perf_counter() - started
    model.save(options.output)
    result: dict[str, Any] = {
        "pictures": len(kept), "seconds": seconds, "output": options.output, "last": model.history_[-1],
        "vocabulary": len(model.vocabulary_),
    }  # fmt: skip
    if held is not None:
        result["held_out"] = {"pictures": len(out), **model.scores(*held)}
    if options.report:
        assert held is not None
        model.report(options.report, *held, training=training)
        result["report"] = options.report
    if options.json:
        print(json.dumps(result))
        return 0
    print(f"trained on {counted(len(kept), 'picture')}, {len(model.vocabulary_):,} words, in {seconds:.1f} s")
    if held is not None:
        own = result["held_out"]
        print(f"held out, {counted(len(out), 'picture')}: BLEU-4 {own['bleu4']:.4f}  CIDEr {own['cider']:.3f}")
    print(f"saved {options.output}" + (f", report {options.report}" if options.report else ""))
    return 0


def run_predict(options: argparse.Namespace) -> int:
    """One line per picture: file and caption; with --top several, with their log-probabilities."""
    from deepcore.data.images import SUFFIXES
    from deepcore.estimators import Captioner

    model = Captioner.load(options.model, device=options.device)
    beam = model.beam if options.beam is None else options.beam
    if not 1 <= options.top <= beam:
        raise ArgumentError(f"predict: expected --top from 1 to the beam of {beam}, got {options.top}")
    files: list[Path] = []
    for name in options.pictures:
        path = Path(name)
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise DataError(f"{path}: expected pictures, got none")
            files += inside
        else:
            files.append(path)
    h, w, c = model.image_shape_
    images = _pictures(files, (h, w), c == 1)
    found = model.beams(images, beam=beam, length_penalty=options.length_penalty)
    for path, own in zip(files, found, strict=True):
        best = own[: options.top]
        if options.json:
            captions = [{"text": b.text, "log_probability": b.log_probability, "score": b.score} for b in best]
            print(json.dumps({"file": str(path), "captions": captions}))
        elif options.top == 1:
            print(f"{path}\t{best[0].text}")
        else:
            for b in best:
                print(f"{path}\t{b.text}\t{b.log_probability:.3f}")
    return 0


def _pictures(paths: list[Path], size: int | tuple[int, int], grey: bool) -> Pixels:
    from deepcore import data

    return np.stack([data.read_image(path, size=size, grey=grey) for path in paths])
