"""Draw the pictures of docs/autoencoders.md from the packaged digits: python docs/autoencoder_pictures.py [FOLDER]."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from deepcore import Autoencoder, data, viz


def main(folder: Path) -> None:
    """Train the nets and write the files; some seconds."""
    x, labels, test, _ = data.load_digits()
    x, test = x / np.float32(16), test / np.float32(16)
    common = {"layers": (128, 64, 16), "learning_rate": 3e-3, "schedule": "one-cycle", "epochs": 80, "random_state": 0}

    noise = data.Corruption("gaussian", 0.3, clip=True, seed=1)
    denoiser = Autoencoder(corruption={"kind": "gaussian", "amount": 0.3, "clip": True}, **common).fit(x)
    shown, noisy = test[:10], noise.apply(test[:10])
    rows = {"clean": shown, "noisy": noisy, "denoised": denoiser.denoise(noisy)}
    viz.save_figure(viz.picture_rows(rows), folder / "autoencoder-denoising.png")

    two = Autoencoder(**{**common, "layers": (128, 64, 2), "epochs": 150}).fit(x)
    viz.save_figure(viz.code_map(two.transform(x), labels), folder / "autoencoder-map.png")

    variational = Autoencoder(
        **{**common, "layers": (128, 64, 6)}, variational=True, loss="cross_entropy", beta=0.3
    ).fit(x)
    viz.save_figure(viz.traversals(variational, x, entries=4, steps=9), folder / "autoencoder-traversals.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures")
