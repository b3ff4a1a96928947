"""Makes the pictures of docs/faceswap.md from drawn faces: `python docs/faceswap_pictures.py`, a minute."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepcore import FaceConverter, FaceSwap
from deepcore.data import cartoon_faces, write_image
from deepcore.data.faces import Placement

HERE = Path(__file__).resolve().parent / "pictures"
SIZE = 64


def main() -> None:
    """Train on sixty drawings of each of two invented people; show held-out ones, and a scene."""
    faces = np.concatenate([cartoon_faces(p, 60, size=SIZE) for p in (0, 1)])
    names = np.repeat(["ann", "bob"], 60)
    model = FaceSwap(width=16, code=64, steps=500, augment={"warp": 0.01, "light": 0.05}, learning_rate=2e-3,
                     random_state=0, verbose=True).fit(faces, names)  # fmt: skip
    held = np.concatenate([cartoon_faces(p, 4, size=SIZE, seed=1) for p in (0, 1)])
    write_image(HERE / "faceswap-preview.png", model.preview(held, np.repeat(["ann", "bob"], 4)))
    scene = np.full((160, 200, 3), (176, 196, 176), np.uint8)
    scene[120:] = (150, 120, 90)
    scene[24:152, 36:164] = cartoon_faces(0, 1, size=128, seed=3)[0]
    swapped, _ = FaceConverter(model, "bob").convert(scene, [Placement(100, 88, 128)])
    write_image(HERE / "faceswap-scene.png", np.concatenate([scene, swapped], 1))
    print(f"held-out SSIM {model.score(held, np.repeat(['ann', 'bob'], 4)):.3f}")


if __name__ == "__main__":
    main()
