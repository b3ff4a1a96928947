"""Clips: which way a handwritten digit moves in each frame, and which way it will five frames later.

Digits of MNIST at their own size move over a square of 48 pixels and turn at its borders. Nets and their training were
chosen on clips of 10,000 training digits held out; the test clips show the digits of the official test split.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.accept import Context, Result, figure
from deepcore import data
from deepcore.estimators import VideoClassifier

CLIPS, NOW_CLIPS, TESTED = 6000, 2000, 1000
FRAMES, SIZE, AHEAD = 24, 48, 5
TEST_SEED = 1 << 30

Digits = tuple[np.ndarray, np.ndarray]


def moving(n: int, seed: int, digits: Digits) -> data.MovingDigits:
    """Films of these digits."""
    return data.moving_digits(n, FRAMES, SIZE, seed, pictures=digits)


def measure(context: Context, digits: Digits, test_digits: Digits) -> Result:
    """Train on films of some digits, measure on films of others."""
    films, test = moving(CLIPS, context.seed, digits), moving(TESTED, TEST_SEED, test_digits)
    options: dict[str, Any] = {"width": 8, "hidden": 128, "learning_rate": 4e-3, "random_state": context.seed,
                               "verbose": True, "device": context.device}  # fmt: skip
    now = VideoClassifier("frame", bidirectional=True, epochs=4, **options)
    later = VideoClassifier("frame", anticipate=AHEAD, epochs=8, **options)
    with context.timer:
        now.fit(films.frames[:NOW_CLIPS], films.directions[:NOW_CLIPS])
        later.fit(films.frames, films.directions)
    right = later.predict(test.frames)[:, :-AHEAD] == test.directions[:, AHEAD:]
    ahead = float(right.mean())
    also = {
        "ahead": ahead, "ahead_by_frame": [round(float(v), 3) for v in right.mean(0)],
        "who_says_the_direction_of_now": float((test.directions[:, :-AHEAD] == test.directions[:, AHEAD:]).mean()),
        "clips": CLIPS, "test_clips": TESTED, "demands": {f"{AHEAD} frames ahead >= 0.9": ahead >= 0.9},
    }  # fmt: skip
    return now.score(test.frames, test.directions), also


@figure("video-moving", metric="frames right", target=0.95, better="high", seconds=240)
def video_moving(context: Context) -> Result:
    """A bidirectional LSTM says the direction at each frame (the value), one that reads forwards five frames ahead."""
    x, y, x_test, y_test = data.load_mnist(context.folder("mnist"))
    return measure(context, (x, y), (x_test, y_test))
