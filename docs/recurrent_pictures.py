"""Draw the pictures of docs/recurrent/layers.md: python docs/recurrent_pictures.py [FOLDER]."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from deepcore import data, explain, nn, ops, tensor, viz

LENGTH = 100


def norms(layer: nn.Recurrent) -> Any:
    """Of the gradient of the adding problem's loss with respect to the state after each step."""
    x, y = data.adding(64, LENGTH, seed=0)
    inputs, state, states = tensor(x), None, []
    for t in range(LENGTH):
        _, state = layer.step(inputs[:, t], state)
        states.append(state.h if state.c is None else state.c)
    head = nn.Linear(layer.hidden, 1, seed=1)
    return explain.gradient_flow(states, ops.mse_loss(head(state.h[0]), tensor(y[:, None])))


def main(folder: Path) -> None:
    """Write the files; some seconds."""
    layers = {
        "tanh": nn.SimpleRNN(2, 64, recurrent_init="lecun_normal", seed=0),
        "ReLU, identity": nn.SimpleRNN(2, 64, activation="relu", identity=True, seed=0),
        "LSTM, forget bias 0": nn.LSTM(2, 64, gate_init=0.0, seed=0),
        "LSTM, forget bias 1": nn.LSTM(2, 64, seed=0),
        "LSTM, chrono": nn.LSTM(2, 64, gate_init="chrono", longest=LENGTH, seed=0),
    }
    figure = viz.gradient_flow({name: norms(layer) for name, layer in layers.items()})
    viz.save_figure(figure, folder / "recurrent-gradients.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures")
