"""Estimators of sequences on a device: training has the losses of the CPU, and what was learnt moves between them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore import data
from deepcore.estimators import (
    Captioner,
    DocumentClassifier,
    Forecaster,
    LanguageModel,
    Seq2Seq,
    SequenceTagger,
    VideoClassifier,
)  # fmt: skip

Fitted = Callable[[str], tuple[Any, Callable[[Any], Any]]]


def language(device: str) -> tuple[Any, Callable[[Any], Any]]:
    model = LanguageModel("char", hidden=12, layers=1, window=16, batch_size=4, epochs=1, random_state=0, device=device)
    return model.fit("the cat sat on the mat. " * 20), lambda m: m.log_probs("the cat")


def documents(device: str) -> tuple[Any, Callable[[Any], Any]]:
    x, y = ["good film", "a bad one", "very good", "bad bad film"] * 4, ["+", "-", "+", "-"] * 4
    model = DocumentClassifier(embedding=8, hidden=8, epochs=2, random_state=0, device=device)
    return model.fit(x, y), lambda m: m.predict_proba(x[:4])


def tags(device: str) -> tuple[Any, Callable[[Any], Any]]:
    x, y = [["a", "dog", "runs"], ["the", "cats", "sleep", "."]] * 4, [["D", "N", "V"], ["D", "N", "V", "."]] * 4
    model = SequenceTagger(embedding=8, hidden=8, epochs=2, random_state=0, device=device)
    return model.fit(x, y), lambda m: [p.max() for p in m.predict_proba(x[:2])]


def series(device: str) -> tuple[Any, Callable[[Any], Any]]:
    values = np.sin(np.arange(80) / 3).astype(np.float32)
    model = Forecaster(lookback=12, horizon=4, segment=4, hidden=8, epochs=2, random_state=0, device=device)
    return model.fit(values), lambda m: m.predict()


def dates(device: str) -> tuple[Any, Callable[[Any], Any]]:
    x, y = data.dates(48, seed=0)
    model = Seq2Seq(embedding=8, hidden=12, epochs=1, beam=2, random_state=0, device=device)
    return model.fit(x, y), lambda m: m.log_probability(x[:3], y[:3])


def clips(cell: str) -> Fitted:
    def fit(device: str) -> tuple[Any, Callable[[Any], Any]]:
        films = data.moving_digits(6, 4, 16, 0)
        model = VideoClassifier("frame", cell=cell, width=4, hidden=8, epochs=1, random_state=0, device=device)
        return model.fit(films.frames, films.directions), lambda m: m.predict_proba(films.frames[:2])

    return fit


def captions(device: str) -> tuple[Any, Callable[[Any], Any]]:
    images, texts = data.digit_scenes(8, 0, 28)
    model = Captioner(preset="lenet5", width=4, embedding=8, hidden=8, epochs=1, beam=2, random_state=0, device=device)
    return model.fit(images, texts), lambda m: m.log_probability(images[:2], texts[:2])


CASES: dict[str, Fitted] = {
    "language": language, "documents": documents, "tags": tags, "series": series, "seq2seq": dates,
    "video": clips("lstm"), "video, convolutional": clips("conv_lstm"), "captions": captions,
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_training_agrees_with_the_cpu_and_files_move(name: str, tmp_path: Path) -> None:
    on_device, seen = CASES[name]("cuda")
    on_cpu, _ = CASES[name]("cpu")
    for here, there in zip(on_device.history_, on_cpu.history_, strict=True):
        np.testing.assert_allclose(here["loss"], there["loss"], rtol=1e-3)
    np.testing.assert_allclose(seen(on_device), seen(on_cpu), rtol=2e-2, atol=2e-3)
    on_device.save(tmp_path / "model.safetensors")
    moved = type(on_device).load(tmp_path / "model.safetensors", device="cpu")
    np.testing.assert_allclose(seen(moved), seen(on_device), rtol=1e-3, atol=1e-4)
