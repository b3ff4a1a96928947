"""Captions: made scenes of digits, and photographs.

Hyper-parameters were chosen on scenes of the last 10,000 training digits of MNIST, and on the dev part of the Flickr8k
subset; a run touches its test set once, last.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.accept import Context, Result, corpora, figure
from deepcore import data
from deepcore.estimators import Captioner
from deepcore.sequence_metrics import bleu, cider
from deepcore.viz.captions import nearest_rows

GALLERY = Path("caption-flickr.html")

_SCENES, _TESTED = 40_000, 2_000
_TEST_SEED = 1 << 30
_SIDE = 48  # of a scene
_BEAM = 5


def halved(images: Any) -> Any:
    """Pictures (n, h, w) or (n, h, w, c) uint8 at half their size: means of 2 x 2 pixels."""
    n, h, w, *rest = images.shape
    means = images.reshape(n, h // 2, 2, w // 2, 2, *rest).mean((2, 4))
    return means.round().astype(np.uint8)


def scenes(n: int, seed: int, digits: tuple[Any, Any]) -> tuple[Any, list[list[str]]]:
    """Scenes of digits at half their size, and both forms of each caption."""
    return data.digit_scenes(n, seed, _SIDE, digits=(halved(digits[0]), digits[1]), both=True)


@figure("caption-scenes", metric="exact matches", target=0.95, better="high", seconds=300)
def caption_scenes(context: Context) -> Result:
    """One to three handwritten digits of MNIST in a scene; a caption is right when it is one of the two true ones."""
    x, y, x_test, y_test = data.load_mnist(context.folder("mnist"))
    images, captions = scenes(_SCENES, context.seed, (x, y))
    test_images, truth = scenes(_TESTED, _TEST_SEED, (x_test, y_test))
    model = Captioner(
        preset="vgg-small", width=10, grid=3, pretrain="words", pretrain_epochs=1, epochs=7, embedding=64, hidden=192,
        dropout=0.0, augment={"shift": 1, "rotate": 4, "scale": 0.04}, beam=_BEAM, metric="exact", learning_rate=4e-3,
        batch_size=32, random_state=context.seed, verbose=True, device=context.device,
    )  # fmt: skip
    with context.timer:
        model.fit(images, captions)
    greedy, beam = (model.scores(test_images, truth, beam=b)["exact"] for b in (1, _BEAM))
    also = {"greedy": greedy, "scenes": len(images), "loss": model.history_[-1]["loss"],
            "demands": {"beam >= greedy": beam >= greedy}}  # fmt: skip
    return beam, also


@figure("caption-flickr", metric="BLEU-4", target=0.08, better="high", seconds=600)
def caption_flickr(context: Context) -> Result:
    """1,200 photographs with five captions each; a ResNet-9 learns their words first. BLEU-4 is not smoothed."""
    train, dev, test = corpora.load_flickr8k(context.folder("flickr8k_subset"))
    images, dev_images, test_images = (halved(part.images) for part in (train, dev, test))
    model = Captioner(
        "init", preset="resnet9", width=24, pretrain="words", pretrain_epochs=16, epochs=20, encoder_rate=0.3,
        min_count=5, embedding=128, hidden=192, dropout=0.5, augment={"flip": 0.5, "shift": 4, "scale": 0.1},
        test_augment="mirror", beam=_BEAM, optimizer="adamw", weight_decay=1e-2, learning_rate=4e-3, ema=0.995,
        batch_size=32, random_state=context.seed, verbose=True, device=context.device,
    )  # fmt: skip
    with context.timer:
        model.fit(images, train.captions, validation_data=(dev_images, dev.captions))
    greedy, beam = (model.scores(test_images, test.captions, beam=b) for b in (1, model.beam))
    cut = data.Tokenizer("word", lower=True)
    truth = [[cut(text) for text in own] for own in test.captions]
    told = [cut(own[0]) for own in train.captions]
    rows = {"features": (model.encode(images), model.encode(test_images)),
            "pixels": (images.reshape(len(images), -1), test_images.reshape(len(test_images), -1))}  # fmt: skip
    nearest = {}
    for name, (known, asked) in rows.items():
        found = [told[j] for j in nearest_rows(known, asked)]
        nearest[name] = {"bleu4": bleu(truth, found).bleu4, "cider": cider(truth, found)}
    model.report(GALLERY, test_images, test.captions, training=(images, train.captions),
                 title="Captions of photographs")  # fmt: skip
    best = max(scores["cider"] for scores in nearest.values())
    demands = {
        "CIDEr above the nearest neighbour's": beam["cider"] > best,
        "beam >= greedy": beam["bleu4"] >= greedy["bleu4"] and beam["cider"] >= greedy["cider"],
    }
    also = {"beam": beam, "greedy": greedy, "nearest_neighbour": nearest, "epochs": len(model.history_),
            "dev_cider": max(h["val_cider"] for h in model.history_), "vocabulary": len(model.vocabulary_),
            "gallery": str(GALLERY), "demands": demands}  # fmt: skip
    return beam["bleu4"], also
