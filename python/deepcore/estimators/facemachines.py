"""The restricted Boltzmann machines that `FaceSwap(share='rbm')` is unrolled from."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import train
from deepcore.errors import ArgumentError
from deepcore.estimators.dbn import DBN
from deepcore.models.faceswap import Machine

Array = npt.NDArray[Any]
Stack = tuple[list[Machine], Array | None]  # machines from the bottom, variances of Gaussian visible units
History = list[dict[str, Any]]

LAYERS = (1000, 500)
DEFAULTS: dict[str, Any] = {"n_iter": 30, "batch_size": 50, "learning_rate": 0.01}
_DRAWS = 1000  # faces that machines see in an epoch, at least

_OURS = ("layers", "fine_tune", "fine_tune_iter", "fine_tune_rate", "random_state", "verbose", "device")
_ALLOWED = [n for n in inspect.signature(DBN.__init__).parameters if n != "self" and n not in _OURS]


def check_machines(layers: Sequence[int] | None, machines: Mapping[str, Any] | None) -> None:
    """ArgumentError for sizes below 1, arguments that are not `DBN`'s, and units that cannot be unrolled."""
    if layers is not None and any(not isinstance(n, (int, np.integer)) or n < 1 for n in layers):
        raise ArgumentError(f"FaceSwap: expected layers of at least one unit, got {layers!r}")
    given = dict(machines or {})
    unknown = sorted(set(given) - set(_ALLOWED))
    if unknown:
        raise ArgumentError(f"FaceSwap: expected machines of {_ALLOWED}, got {unknown}")
    if given.get("visible_units", "bernoulli") not in ("bernoulli", "gaussian"):
        raise ArgumentError(
            f"FaceSwap: expected visible_units 'bernoulli' or 'gaussian' in machines, got {given['visible_units']!r}"
        )
    for own in given.get("settings", ()):
        units = sorted(n for n in own if n.endswith(("_units", "_group", "_choice")))
        if units:
            raise ArgumentError(f"FaceSwap: expected no kinds of units in the settings of machines, got {units}")


def _sizes(layers: Sequence[int] | None, code: int) -> tuple[int, ...]:
    return (*(int(n) for n in (LAYERS if layers is None else layers)), code)


def _gaussian(machines: Mapping[str, Any] | None) -> bool:
    return (machines or {}).get("visible_units") == "gaussian"


def blank_stack(
    shape: tuple[int, int, int], layers: Sequence[int] | None, code: int, machines: Mapping[str, Any] | None
) -> Stack:
    """Zeros in the shapes of a trained stack, for weights that come from a file."""
    sizes = (int(np.prod(shape)), *_sizes(layers, code))
    blank: list[Machine] = [
        (np.zeros((up, down), np.float32), np.zeros(up, np.float32), np.zeros(down, np.float32))
        for down, up in pairwise(sizes)
    ]
    return blank, np.ones(sizes[0], np.float32) if _gaussian(machines) else None


def pretrain_stack(
    faces: Array, who: npt.NDArray[np.int64], change: train.FaceAugment, layers: Sequence[int] | None, code: int,
    machines: Mapping[str, Any] | None, *, checkpoint: str | os.PathLike[str] | None, resume: bool, seed: int,
    verbose: bool, device: str,
) -> tuple[Stack, History]:  # fmt: skip
    """Train machines of `layers` and `code` hidden units on everyone's faces (n, h, w, c), and their history.

    An epoch shows at least a thousand faces, or as many as there are, each person equally often, changed at random
    once and for all (`change` without its warp). Layers are kept in the folder `checkpoint`.machines and found there by
    `resume`.
    """
    people = int(who.max()) + 1
    pictures, _ = train.changed_faces(faces, who, people, max(len(faces), _DRAWS), change, seed)
    options = {**DEFAULTS, **(machines or {})}
    dbn = DBN(_sizes(layers, code), random_state=seed, verbose=verbose, device=device, **options)
    folder = None if checkpoint is None else Path(f"{os.fspath(checkpoint)}.machines")
    dbn.fit(pictures.reshape(len(pictures), -1), checkpoint=folder, resume=resume)
    bottom = dbn.rbms_[0].model_.variance
    return (dbn.unroll(), None if bottom is None else np.array(bottom.numpy())), dbn.history_


__all__ = ["DEFAULTS", "LAYERS", "Stack", "blank_stack", "check_machines", "pretrain_stack"]
