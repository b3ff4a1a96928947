"""Drawn faces of invented people, for examples, tests and documentation: nobody has to be asked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deepcore import random
from deepcore.errors import ArgumentError

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

_SKIN = ((236, 197, 165), (141, 92, 62), (250, 219, 190), (193, 140, 102))
_HAIR = ((92, 58, 30), (28, 24, 26), (214, 170, 80), (150, 150, 155), (160, 70, 35))
_SHIRT = ((60, 90, 160), (160, 60, 60), (70, 120, 80), (90, 70, 130))


def cartoon_faces(person: int, n: int, *, size: int = 64, seed: int = 0) -> Pixels:
    """n drawings (n, size, size, 3) of invented person number `person`; pose, gaze and mouth differ.

    What a person looks like is a function of `person`, what each drawing shows one of (person, seed, place).
    """
    if person < 0 or n < 1 or size < 16:
        raise ArgumentError(f"cartoon_faces: expected person >= 0, n >= 1, size >= 16, got {person}, {n}, {size}")
    moves = random.uniform((n, 8), -1.0, 1.0, dtype="float64", seed=seed, stream=1000 + person).numpy()
    return np.stack([_draw(person, row, size) for row in moves])


def _draw(person: int, u: Floats, size: int) -> Pixels:
    traits = random.uniform((8,), -1.0, 1.0, dtype="float64", seed=977, stream=person).numpy()
    scale = 2  # drawn larger and averaged: smooth edges
    side = size * scale
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    angle = 0.2 * u[0]
    column, row = np.meshgrid(axis - 0.1 * u[1], axis - 0.08 * u[2])
    x, y = np.cos(angle) * column + np.sin(angle) * row, -np.sin(angle) * column + np.cos(angle) * row
    turn = 0.1 * u[3]  # features move against the head when it turns
    skin, hair = np.array(_SKIN[person % 4]), np.array(_HAIR[person % 5])
    picture = np.empty((side, side, 3))
    picture[:] = np.array((190, 205, 215)) + 12 * u[4]

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> npt.NDArray[np.bool_]:
        inside: npt.NDArray[np.bool_] = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1
        return inside

    width, height = 0.56 + 0.06 * traits[0], 0.74 + 0.05 * traits[1]
    picture[ellipse(0, 1.25, 0.9, 0.6)] = _SHIRT[person % 4]
    picture[ellipse(0, -0.12, width + 0.12, height + 0.02)] = hair
    picture[ellipse(0, 0.06, width, height)] = skin
    picture[ellipse(0, 0.06, width, height) & (y < -0.42 + 0.1 * traits[2] + 0.15 * x * traits[3])] = hair
    apart, high = 0.24 + 0.04 * traits[4], -0.1 + 0.04 * traits[5]
    for cx in (turn - apart, turn + apart):
        picture[ellipse(cx, high - 0.2 - 0.03 * u[5], 0.15, 0.035)] = hair * 0.7
        picture[ellipse(cx, high, 0.13, 0.085)] = (250, 250, 250)
        picture[ellipse(cx + 0.05 * u[6], high, 0.055, 0.07)] = (50, 40, 30)
        if person % 2:  # glasses
            rim = ellipse(cx, high, 0.2, 0.165) & ~ellipse(cx, high, 0.17, 0.135)
            picture[rim] = (30, 30, 40)
    if person % 2:
        picture[(np.abs(y - high) < 0.02) & (np.abs(x - turn) < apart - 0.17)] = (30, 30, 40)
    picture[ellipse(1.3 * turn, 0.16, 0.06 + 0.02 * traits[6], 0.12)] = skin * 0.85
    smile, gap = 0.1 * u[7], 0.05 + 0.04 * (u[5] + 1)
    curved = y - 0.44 + smile * ((x - turn) / 0.25) ** 2
    lips = gap * np.sqrt(np.maximum(1 - ((x - turn) / 0.26) ** 2, 0))
    picture[np.abs(curved) < lips] = (170, 60, 60)
    if person % 3 == 2:  # a beard
        chin = ellipse(0, 0.06, width, height) & (y > 0.3) & ~ellipse(turn, 0.4, 0.34, 0.2)
        picture[chin] = hair
    smooth = picture.reshape(size, scale, size, scale, 3).mean((1, 3))
    drawn: Pixels = np.clip(np.round(smooth), 0, 255).astype(np.uint8)
    return drawn


__all__ = ["cartoon_faces"]
