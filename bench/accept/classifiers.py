"""Classifiers of digits, clothes and small colour pictures: official splits, the test set touched once at the end.

Nets and hyper-parameters were chosen on a stratified twelfth (CIFAR subset: a tenth) of the training data.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.accept import Context, Result, figure
from deepcore import data
from deepcore.estimators import ImageClassifier, MLPClassifier

Split = tuple[Any, Any, Any, Any]


def _mnist(context: Context) -> Split:
    return data.load_mnist(context.folder("mnist"))


def _fashion(context: Context) -> Split:
    return data.load_fashion_mnist(context.folder("fashion_mnist"))


def _cifar(context: Context) -> Split:
    arrays = data.read_npz(context.folder("cifar10_subset") / "cifar10_subset.npz")
    return arrays["x_train"], arrays["y_train"], arrays["x_test"], arrays["y_test"]


def _mlp(context: Context, split: Split, hidden: tuple[int, ...], **options: Any) -> tuple[float, dict[str, Any]]:
    """Accuracy on the test split of a perceptron on pixels in [0, 1]."""
    x, y, x_test, y_test = split
    model = MLPClassifier(
        hidden, standardize=False, schedule="one-cycle", batch_size=128, random_state=context.seed, verbose=True,
        device=context.device, **options,
    )  # fmt: skip
    inputs = x.reshape(len(x), -1).astype(np.float32) / 255
    with context.timer:
        model.fit(inputs, y)
    accuracy = model.score(x_test.reshape(len(x_test), -1).astype(np.float32) / 255, y_test)
    return accuracy, {"epochs": len(model.history_), "train_loss": model.history_[-1]["loss"]}


def _cnn(context: Context, split: Split, preset: str, **options: Any) -> tuple[float, dict[str, Any]]:
    """Accuracy on the test split of a convolutional net."""
    x, y, x_test, y_test = split
    model = ImageClassifier(
        preset, schedule="one-cycle", random_state=context.seed, verbose=True, device=context.device, **options
    )
    with context.timer:
        model.fit(x, y)
    accuracy = model.score(x_test, y_test)
    return accuracy, {"epochs": len(model.history_), "train_loss": model.history_[-1]["loss"]}


def _error(result: tuple[float, dict[str, Any]]) -> Result:
    """The test error in percent in place of the accuracy."""
    return round(100 * (1 - result[0]), 6), {**result[1], "accuracy": result[0]}


@figure("mlp-mnist-quick", metric="test error, %", target=2.0, better="low", seconds=60)
def mlp_mnist_quick(context: Context) -> Result:
    """784-256-128-10."""
    return _error(_mlp(context, _mnist(context), (256, 128), dropout=0.2, learning_rate=3e-3, epochs=12))


@figure("mlp-mnist", metric="test error, %", target=1.30, better="low", seconds=300)
def mlp_mnist(context: Context) -> Result:
    """784-800-800-10 with dropout (Srivastava et al., 2014) and batch norm, weights averaged; no augmentation."""
    return _error(
        _mlp(context, _mnist(context), (800, 800), dropout=0.5, input_dropout=0.2, batch_norm=True, ema=0.999,
             learning_rate=2e-3, epochs=60)
    )  # fmt: skip


@figure("mlp-fashion", metric="test accuracy", target=0.895, better="high", seconds=240)
def mlp_fashion(context: Context) -> Result:
    """784-512-512-10 with dropout."""
    return _mlp(context, _fashion(context), (512, 512), dropout=0.3, input_dropout=0.1, learning_rate=2e-3, epochs=40)


@figure("cnn-mnist-quick", metric="test accuracy", target=0.990, better="high", seconds=45)
def cnn_mnist_quick(context: Context) -> Result:
    """LeNet-5 of half the width."""
    return _cnn(context, _mnist(context), "lenet5", width=16, dropout=0.3, learning_rate=3e-3, batch_size=128, epochs=3)


@figure("cnn-mnist", metric="test accuracy", target=0.996, better="high", seconds=300)
def cnn_mnist(context: Context) -> Result:
    """A small VGG on shifted, turned and scaled digits, weights averaged; predictions averaged over five shifts."""
    return _cnn(
        context, _mnist(context), "vgg-small", width=16, dropout=0.2, learning_rate=4e-3, label_smoothing=0.05,
        batch_size=128, ema=0.999, augment={"shift": 2, "rotate": 10.0, "scale": 0.1}, test_augment="shift", epochs=16,
    )  # fmt: skip


@figure("cnn-fashion", metric="test accuracy", target=0.930, better="high", seconds=360)
def cnn_fashion(context: Context) -> Result:
    """A small VGG on shifted and mirrored pictures, weights averaged; predictions averaged over shifts and mirrors."""
    return _cnn(
        context, _fashion(context), "vgg-small", width=16, dropout=0.2, learning_rate=5e-3, batch_size=128, ema=0.999,
        augment={"shift": 1, "flip": 0.5}, test_augment="mirror+shift", epochs=16,
    )  # fmt: skip


@figure("cnn-cifar-subset", metric="test accuracy", target=0.79, better="high", seconds=480)
def cnn_cifar_subset(context: Context) -> Result:
    """ResNet-9 on the 10,000 training images: shifts, mirror images, cutout, label smoothing, weights averaged."""
    return _cnn(
        context, _cifar(context), "resnet9", width=32, learning_rate=4e-3, label_smoothing=0.1, optimizer="adamw",
        weight_decay=0.05, batch_size=64, ema=0.995, augment="strong", test_augment="mirror+shift", epochs=22,
    )  # fmt: skip
