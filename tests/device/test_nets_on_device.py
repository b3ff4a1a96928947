"""Layers, training and estimators on a CUDA device: the same numbers as the CPU's, and learning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn, ops, optim, train
from deepcore.data import ArrayDataset, DataLoader, load_digits
from deepcore.explain import grad_cam, occlusion, saliency
from deepcore.models import cnn


def digits(n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    x, y, _, _ = load_digits()
    return (x[:n].astype(np.float32) / 16).reshape(n, 8, 8, 1), y[:n].astype(np.int64)


def lenet_losses(device: str, batches: int, size: int) -> list[float]:
    rng = np.random.default_rng(0)
    net = cnn("lenet5", (28, 28, 1), 10, seed=3).to(device)
    optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(batches):
        x = dc.tensor(rng.random((size, 28, 28, 1), dtype=np.float32)).to(device)
        y = dc.tensor(rng.integers(0, 10, size)).to(device)
        loss = ops.softmax_cross_entropy(net(x), y)
        dc.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def test_lenet_has_the_losses_of_the_cpu() -> None:
    np.testing.assert_allclose(lenet_losses("cuda", 2, 64), lenet_losses("cpu", 2, 64), rtol=1e-5)


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv": (lambda: nn.Conv2d(3, 5, 3, padding=1, seed=1), (2, 7, 6, 3)),
    "grouped": (lambda: nn.Conv2d(4, 8, 3, stride=2, groups=2, seed=1), (2, 7, 7, 4)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 3, stride=2, seed=1), (2, 4, 5, 3)),
    "pool": (lambda: nn.MaxPool2d(2), (2, 6, 7, 3)),
    "average": (lambda: nn.AvgPool2d(3, stride=2, padding=1), (2, 6, 7, 3)),
    "batch norm": (lambda: nn.BatchNorm(3, activation="relu"), (4, 5, 6, 3)),
    "layer norm": (lambda: nn.LayerNorm(12), (5, 12)),
    "group norm": (lambda: nn.GroupNorm(2, 6), (3, 4, 4, 6)),
    "linear": (lambda: nn.Linear(12, 7, activation="tanh", seed=1), (5, 12)),
    "dropout": (lambda: nn.Dropout(0.4, seed=7), (6, 30)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_agree_with_the_cpu(name: str) -> None:
    make, shape = LAYERS[name]
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    results = []
    for device in ("cpu", "cuda"):
        layer = make().to(device)
        layer.train()
        t = dc.tensor(x, requires_grad=True, device=device)
        y = layer(t)
        weight = dc.tensor(np.sin(np.arange(y.size)).reshape(y.shape).astype(np.float32)).to(device)
        leaves = [t, *layer.parameters()]
        grads = dc.grad(ops.sum(y * weight), leaves)
        state = [np.array(v) for v in layer.state_dict().values()]
        results.append([np.array(v.numpy()) for v in (y, *grads)] + state)
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b, a, rtol=2e-5, atol=2e-5)


def test_training_learns_and_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    x, y = digits(192)

    def trainer() -> train.Trainer:
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32, activation="relu", seed=1), nn.Dropout(0.1, seed=5),
                            nn.Linear(32, 10, seed=2)).to("cuda")  # fmt: skip
        return train.Trainer(net, optim.Adam(net.parameters(), lr=0.01), ema=0.9, progress="off")

    def loader() -> DataLoader:
        return DataLoader(ArrayDataset(x, y), 32, shuffle=True, seed=4)

    whole = trainer()
    whole.fit(loader(), epochs=6)
    assert whole.history[-1]["accuracy"] > 0.8
    path = tmp_path / "checkpoint"
    trainer().fit(loader(), epochs=3, checkpoint=path)
    second = trainer()
    second.fit(loader(), epochs=6, checkpoint=path, resume=True)
    for a, b in zip(whole.model.state_dict().values(), second.model.state_dict().values(), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert second.model.device == "cuda:0"


def test_estimators_take_a_device(tmp_path: Path) -> None:
    x, y = digits(160)
    model = dc.ImageClassifier("lenet5", epochs=3, batch_size=32, random_state=0, device="cuda", width=4,
                               augment="light")  # fmt: skip
    model.fit(x[..., 0], y)
    assert model.model_.device == "cuda:0"
    on_device = model.predict_proba(x[:20, ..., 0])
    model.save(tmp_path / "model")
    moved = dc.ImageClassifier.load(tmp_path / "model", device="cpu")
    assert moved.model_.device == "cpu"
    np.testing.assert_allclose(moved.predict_proba(x[:20, ..., 0]), on_device, atol=1e-5)


def test_automatic_choice_never_takes_the_emulated_device() -> None:
    x, y = digits(40)
    model = dc.MLPClassifier((16,), epochs=1, random_state=0).fit(x.reshape(40, -1), y)
    assert model.model_.device == ("cpu" if dc.cuda.is_emulated() else "cuda:0")


def test_looking_inside() -> None:
    x, _ = digits(3)
    cpu = cnn("lenet5", (8, 8, 1), 10, seed=3)
    gpu = cnn("lenet5", (8, 8, 1), 10, seed=3).to("cuda")
    for look in (saliency, grad_cam, lambda m, i: occlusion(m, i, size=3, stride=3)):
        np.testing.assert_allclose(look(gpu, x), look(cpu, x), atol=1e-5)
    assert gpu.summary((1, 8, 8, 1)) == cpu.summary((1, 8, 8, 1))
