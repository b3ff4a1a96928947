"""Makes the pictures of docs/faceswap.md from drawn faces: `python docs/faceswap_pictures.py`, a few minutes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepcore import FaceSwap
from deepcore.data import cartoon_faces, write_image

HERE = Path(__file__).resolve().parent / "pictures"
SIZE = 48


def main() -> None:
    """Train on a hundred drawings of each of two invented people; show held-out ones."""
    faces = np.concatenate([cartoon_faces(p, 100, size=SIZE) for p in (0, 1)])
    names = np.repeat(["ann", "bob"], 100)
    model = FaceSwap(width=12, code=64, steps=2000, augment={"warp": 0.01, "light": 0.05}, learning_rate=2e-3,
                     random_state=0, verbose=True).fit(faces, names)  # fmt: skip
    machines = FaceSwap("rbm", layers=(500, 200), code=64, steps=1000, augment={"warp": 0.01, "light": 0.05},
                        random_state=0, verbose=True).fit(faces, names)  # fmt: skip
    held = np.concatenate([cartoon_faces(p, 3, size=SIZE, seed=1) for p in (0, 1)])
    whose = np.repeat(["ann", "bob"], 3)
    for name, fitted in (("faceswap-preview", model), ("faceswap-machines", machines)):
        write_image(HERE / f"{name}.png", fitted.preview(held, whose).repeat(2, 0).repeat(2, 1))
        print(f"{name}: held-out SSIM {fitted.score(held, whose):.3f}")


if __name__ == "__main__":
    main()
