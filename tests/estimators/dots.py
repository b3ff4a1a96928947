"""Films of a dot that moves, and small classifiers of them, for the tests of VideoClassifier."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepcore.estimators import VideoClassifier


def dots(n: int, seed: int, steps: int = 6, turns: bool = True) -> tuple[Any, Any]:
    """A dot that goes left or right from anywhere, a single frame says nothing; the moves to each frame, of which the
    first is that of the second. Half of the dots turn once."""
    rng = np.random.default_rng(seed)
    right, row, column = rng.integers(0, 2, n), rng.integers(0, 8, n), rng.integers(0, 16, n)
    frames, labels = np.zeros((n, steps, 8, 16), np.uint8), np.zeros((n, steps), np.int64)
    turn = rng.integers(1, 2 * steps, n) + (0 if turns else steps)
    for t in range(steps):
        right = np.where(turn == t, 1 - right, right)
        if t:
            column = (column + np.where(right == 1, 1, -1)) % 16
        frames[np.arange(n), t, row, column] = 255
        labels[:, t] = right
    labels[:, 0] = np.where(turn == 1, 1 - labels[:, 0], labels[:, 0])  # of the move that follows
    return frames, labels


X, Y = dots(400, 0)
XT, YT = dots(200, 1)
SIDES = np.array(["left", "right"])


def model(output: str = "last", **options: Any) -> VideoClassifier:
    return VideoClassifier(
        output, **{"width": 8, "features": 24, "hidden": 24, "epochs": 8, "learning_rate": 0.01, "random_state": 0,
                   **options}
    )  # fmt: skip


FEW: dict[str, Any] = {"epochs": 2, "width": 4, "features": 8, "hidden": 8}


def few(output: str = "last", clips: int = 40, **options: Any) -> VideoClassifier:
    labels = Y if output == "frame" else Y[:, -1]
    return model(output, **{**FEW, **options}).fit(X[:clips], labels[:clips])
