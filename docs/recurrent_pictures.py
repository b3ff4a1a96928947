"""Draw pictures of the pages in docs/recurrent: python docs/recurrent_pictures.py [FOLDER]."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from deepcore import Captioner, Seq2Seq, VideoClassifier, data, explain, nn, ops, tensor, viz

LENGTH = 100
AHEAD = 3


def norms(layer: nn.Recurrent) -> Any:
    """Of the gradient of the adding problem's loss with respect to the state after each step."""
    x, y = data.adding(64, LENGTH, seed=0)
    inputs, state, states = tensor(x), None, []
    for t in range(LENGTH):
        _, state = layer.step(inputs[:, t], state)
        states.append(state.h if state.c is None else state.c)
    head = nn.Linear(layer.hidden, 1, seed=1)
    return explain.gradient_flow(states, ops.mse_loss(head(state.h[0]), tensor(y[:, None])))


def dates(folder: Path) -> None:
    """Where a net that reads dates looks."""
    model = Seq2Seq(epochs=8, random_state=0).fit(*data.dates(5000, seed=0))
    texts = ["7/4/2031", "12 may 1974", "march 3rd, 1998", "oct 30, 1929", "the 2nd of july 2001", "friday 16 feb 2052"]
    said = model.predict(texts)
    figure = viz.attention_maps(
        model.attention_weights(texts), [text.replace(" ", "␣") for text in texts], [f"{day}⏎" for day in said]
    )
    viz.save_figure(figure, folder / "seq2seq-attention.png")


def reversals(n: int, seed: int) -> tuple[list[str], list[str]]:
    """Strings of up to 24 letters, and what they are backwards."""
    rng = np.random.default_rng(seed)
    strings = ["".join(rng.choice(list("abcdefgh"), rng.integers(1, 25))) for _ in range(n)]
    return strings, [string[::-1] for string in strings]


def lengths(folder: Path) -> None:
    """What attention is good for: exact matches by length with and without it."""
    strings, backwards = reversals(1000, 2)
    right = {}
    for name, attention in (("with attention", "general"), ("without", None)):
        model = Seq2Seq(cell="gru", attention=attention, epochs=10, random_state=0).fit(*reversals(5000, 0))
        right[name] = [a == b for a, b in zip(model.predict(strings), backwards)]
    viz.save_figure(viz.matches_by_length([len(s) for s in strings], right), folder / "seq2seq-lengths.png")


def captions(folder: Path) -> None:
    """What a captioner says of scenes of digits that it has not seen, right or wrong, and how it learnt to."""
    x_train, y_train, x_test, y_test = data.load_digits()

    def scenes(n: int, seed: int, x: Any, y: Any) -> tuple[Any, list[list[str]]]:
        some = np.isin(y, (0, 1, 4, 7))
        digits = (x[some].astype(np.int64) * 255 // 16).astype(np.uint8), y[some]
        return data.digit_scenes(n, seed, 27, digits=digits, most=2, both=True)

    images, texts = scenes(3000, 0, x_train, y_train)
    others, truth = scenes(300, 1, x_test, y_test)
    model = Captioner(
        preset="lenet5", width=8, pretrain="words", pretrain_epochs=4, epochs=8, embedding=16, hidden=48, dropout=0.0,
        batch_size=16, learning_rate=4e-3, random_state=0,
    ).fit(images, texts, validation_data=(others, truth))  # fmt: skip
    said = model.predict(others[:24])
    titles = ["\n".join(textwrap.wrap(t if t in own else f"{t} (wrong)", 20)) for t, own in zip(said, truth)]
    viz.save_figure(viz.image_grid(others[:24], titles, columns=6), folder / "captions-scenes.png")
    shown = ("epoch", "loss", "val_loss", "val_cider", "val_exact")
    history = [{name: record[name] for name in shown} for record in model.history_]
    viz.save_figure(viz.learning_curves(history), folder / "captions-curves.png")


def gradients(folder: Path) -> None:
    """How gradients of untrained layers shrink over time."""
    layers = {
        "tanh": nn.SimpleRNN(2, 64, recurrent_init="lecun_normal", seed=0),
        "ReLU, identity": nn.SimpleRNN(2, 64, activation="relu", identity=True, seed=0),
        "LSTM, forget bias 0": nn.LSTM(2, 64, gate_init=0.0, seed=0),
        "LSTM, forget bias 1": nn.LSTM(2, 64, seed=0),
        "LSTM, chrono": nn.LSTM(2, 64, gate_init="chrono", longest=LENGTH, seed=0),
    }
    figure = viz.gradient_flow({name: norms(layer) for name, layer in layers.items()})
    viz.save_figure(figure, folder / "recurrent-gradients.png")


def videos(folder: Path) -> None:
    """Digits that turn at the borders: what is said some frames ahead, and where a net looks for the digit itself."""
    names = np.array(data.DIRECTIONS)
    films, test = (data.moving_digits(n, 12, 20, seed, speed=1) for n, seed in ((3000, 0), (400, 1)))
    options: dict[str, Any] = {"epochs": 12, "learning_rate": 5e-3, "random_state": 0}
    accuracy = {}
    for label, more in (
        ("now", {}), ("now, read in both directions", {"bidirectional": True}),
        (f"{AHEAD} frames ahead", {"anticipate": AHEAD}),
    ):  # fmt: skip
        model = VideoClassifier("frame", **options, **more).fit(films.frames, names[films.directions])
        k = model.anticipate
        right = model.predict(test.frames)[:, : 12 - k] == names[test.directions[:, k:]]
        accuracy[label] = right.mean(0)
    viz.save_figure(viz.accuracy_over_time(accuracy), folder / "video-time.png")

    said = model.predict(test.frames)
    turns = [i for i in range(400) if len(set(test.directions[i, 4:].tolist())) >= 3][:3]
    captions = [
        list(zip(said[i].tolist(), [*names[test.directions[i, AHEAD:]].tolist(), *[""] * AHEAD])) for i in turns
    ]
    titles = [f"digit {d}: its direction {AHEAD} frames later" for d in test.digits[turns]]
    viz.save_figure(viz.film_strips(test.frames[turns], titles, captions), folder / "video-ahead.png")

    # The digit itself is seen only while it is not covered.
    rng = np.random.default_rng(0)
    shown = [films.frames.copy(), test.frames.copy()]
    for frames in shown:
        first = rng.integers(0, 10, len(frames))
        noise = rng.integers(0, 256, frames.shape).astype(np.uint8)
        hidden = (np.arange(12) < first[:, None]) | (np.arange(12) >= first[:, None] + 3)
        frames[hidden] = noise[hidden]
    reader = VideoClassifier("attention", **options).fit(shown[0], films.digits)
    weights = reader.attention(shown[1][:3])
    found, p = reader.predict(shown[1][:3]), reader.predict_proba(shown[1][:3])
    titles = [f"said: {d} ({100 * row.max():.0f} %), shown: {t}" for d, row, t in zip(found, p, test.digits)]
    viz.save_figure(viz.film_strips(shown[1][:3], titles, weights=weights), folder / "video-attention.png")
    print(f"attention: accuracy {reader.score(shown[1], test.digits):.3f}")


def main(folder: Path) -> None:
    """Write the files; two or three minutes."""
    dates(folder)
    lengths(folder)
    captions(folder)
    gradients(folder)
    videos(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures")
