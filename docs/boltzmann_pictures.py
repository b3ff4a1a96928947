"""Draw the pictures of docs/boltzmann.md from the packaged digits: python docs/boltzmann_pictures.py [FOLDER]."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from deepcore import DBN, RBM, data, viz


def main(folder: Path) -> None:
    """Train the machines and write the files; half a minute."""
    x, y, test, _ = data.load_digits()
    x, test = (a.reshape(len(a), -1).astype(np.float32) / 16 for a in (x, test))

    rbm = RBM(64, binarize=True, centred=True, learning_rate=0.2, schedule="linear", batch_size=20, n_iter=200,
              keep_updates=True, random_state=0).fit(x)  # fmt: skip
    viz.save_figure(viz.hidden_filters(rbm, columns=16), folder / "boltzmann-filters.png")
    viz.save_figure(viz.daydreams(rbm), folder / "boltzmann-chains.png")
    viz.save_figure(viz.activity_map(rbm.transform(test)), folder / "boltzmann-activity.png")
    viz.save_figure(viz.parameter_histograms(rbm), folder / "boltzmann-histograms.png")

    dbn = DBN((100, 200), binarize=True, settings=({}, {"momentum": 0.5, "k": 3}), learning_rate=0.1, batch_size=20,
              n_iter=200, random_state=0).fit(x, y)  # fmt: skip
    viz.save_figure(viz.dreams_of_labels(dbn, steps=1000), folder / "boltzmann-labels.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures")
