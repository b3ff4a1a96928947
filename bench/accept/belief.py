"""Deep belief nets on MNIST: fine-tuned with all labels, and with a thousand.

Hyper-parameters were chosen on the last 10,000 training images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bench.accept import Context, Result, figure
from deepcore import data
from deepcore.estimators import DBNClassifier

Array = npt.NDArray[Any]


def _pixels(images: Array) -> Array:
    return images.reshape(len(images), -1).astype(np.float32) / 255


@figure("dbn-mnist", metric="test error, %", target=1.25, better="low", seconds=600)
def dbn_mnist(context: Context) -> Result:
    """784-500-500-2000-10, each layer by CD-1, then back propagation with dropout, weights averaged."""
    x, y, x_test, y_test = data.load_mnist(context.folder("mnist"))
    model = DBNClassifier(
        (500, 500, 2000), pretraining={"n_iter": 8, "learning_rate": 0.1}, dropout=0.3, input_dropout=0.2, epochs=35,
        learning_rate=1e-3, schedule="one-cycle", batch_size=128, ema=0.999, random_state=context.seed, verbose=True,
        device=context.device,
    )  # fmt: skip
    with context.timer:
        model.fit(_pixels(x), y)
    accuracy = model.score(_pixels(x_test), y_test)
    return round(100 * (1 - accuracy), 6), {"accuracy": accuracy, "epochs": len(model.history_),
                                            "pretrain_epochs": len(model.pretrain_history_)}  # fmt: skip


@figure("dbn-few-labels", metric="points of accuracy gained by pre-training, 1,000 labels", target=3.0, better="high")
def dbn_few_labels(context: Context) -> Result:
    """784-500-500-10 with 100 labels of each digit: pre-trained on all images, against the same net from random."""
    x, y, x_test, y_test = data.load_mnist(context.folder("mnist"))
    pixels, test = _pixels(x), _pixels(x_test)
    scores: dict[str, list[float]] = {"pretrained": [], "random": []}
    for seed in range(context.seed, context.seed + 3):
        order = np.random.default_rng(seed).permutation(len(y))
        few = np.concatenate([order[y[order] == digit][:100] for digit in range(10)])
        for name, pretrain in (("pretrained", True), ("random", False)):
            model = DBNClassifier(
                (500, 500), pretrain=pretrain, pretraining={"n_iter": 10, "learning_rate": 0.1}, epochs=60,
                learning_rate=1e-3, schedule="one-cycle", batch_size=50, random_state=seed, verbose=True,
                device=context.device,
            )  # fmt: skip
            with context.timer:
                model.fit(pixels[few], y[few], unlabelled=pixels if pretrain else None)
            scores[name].append(model.score(test, y_test))
            context.progress(f"seed {seed}, {name}: {scores[name][-1]:.4f}")
    means = {name: float(np.mean(found)) for name, found in scores.items()}
    return 100 * (means["pretrained"] - means["random"]), {**means, "seeds": scores}
