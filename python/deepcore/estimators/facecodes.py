"""Faces to codes, codes to faces, and the carrying of a code from one person to another."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import train
from deepcore.autograd import no_grad
from deepcore.errors import ArgumentError, ShapeError
from deepcore.estimators.base import Estimator
from deepcore.models.faceswap import FaceNet, UnrolledFaces, halvings
from deepcore.tensor import as_tensor
from deepcore.train.faceswap import unit_pixels

Array = npt.NDArray[Any]

_DRAWS = 200  # faces of each person whose codes say what a person's codes vary in
_BATCH = 256  # faces at a time in inference
_IDENTITY = 0.1  # of the mean spread: directions of code in which faces differ less than this are not turned


class FaceCodes(Estimator):
    """Base of `FaceSwap`; it trains and swaps, on what is named here."""

    model_: FaceNet | UnrolledFaces
    classes_: Array
    image_shape_: tuple[int, int, int]
    centre_: Array
    rotation_: Array
    size_: Array
    kept_: Array
    share: str
    align: str | None
    shrink: float
    code: int

    # ---- checks ----
    def _faces(self, x: Any, *, fitting: bool = False) -> Array:
        values = np.asarray(x)
        if values.ndim != 4 or values.shape[-1] not in (1, 3) or len(values) == 0:
            raise ShapeError(f"FaceSwap: expected faces (n, h, w, 1 or 3), n >= 1, got shape {values.shape}")
        if values.dtype != np.uint8 and values.dtype.kind != "f":
            raise ArgumentError(f"FaceSwap: expected faces of uint8 or floats in [0, 1], got {values.dtype}")
        if fitting and self.share == "rbm":
            if min(values.shape[1:3]) < 16:
                raise ArgumentError(f"FaceSwap: expected sides of at least 16 pixels, got shape {values.shape}")
        elif fitting:
            halvings(values.shape[1:])
        elif values.shape[1:] != self.image_shape_:
            raise ShapeError(f"FaceSwap: expected faces of {self.image_shape_}, got {values.shape[1:]}")
        if values.dtype != np.uint8 and not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            inside = np.isfinite(values) & (values >= 0) & (values <= 1)
            bad = int(np.argmin(inside.reshape(len(values), -1).all(1)))
            raise ArgumentError(f"FaceSwap: expected values in [0, 1], face {bad} has others, or NaN")
        return np.ascontiguousarray(values)

    def _person(self, label: Any) -> int:
        found = np.flatnonzero(self.classes_ == label)
        if len(found) != 1:
            raise ArgumentError(f"FaceSwap: expected a person in {self.classes_.tolist()}, got {label!r}")
        return int(found[0])

    # ---- alignment of codes ----
    def _align(self, faces: Array, who: Array, change: train.FaceAugment, seed: int) -> None:
        """What carries codes from person to person, from the training faces and whose they are."""
        self._turns(faces, who)
        people, code = len(self.classes_), int(self.code)
        self.kept_ = np.tile(np.eye(code, dtype=np.float32), (people if self.shrink else 1, 1, 1))
        if not self.shrink:
            return
        still = {"warp": 0.0, "flip": 0.0, "rotate": 0.0, "zoom": 0.0, "shift": 0.0, "light": 0.0, "colour": 0.0}
        moves = {name: getattr(change, name) for name in ("flip", "rotate", "zoom", "shift")}
        lights = {name: getattr(change, name) for name in ("light", "colour")}
        draws = [
            train.changed_faces(
                faces, who, people, people * _DRAWS, train.FaceAugment(**{**still, **some}, seed=change.seed), seed
            )
            for some in (moves, lights, {})
        ]
        for k in range(people):
            moved, lit, plain = (self._codes(x[owner == k], k).astype(np.float64) for x, owner in draws)
            wanted = np.cov(moved.T, bias=True).reshape(code, code)
            unwanted = (lit - plain).T @ (lit - plain) / len(lit) + max(wanted.trace() / code, 1e-12) * np.eye(code)
            self.kept_[k] = np.linalg.solve(wanted + self.shrink * unwanted, wanted)

    def _turns(self, faces: Array, who: Array) -> None:
        """Rotation, size and centre that carry the codes of each encoder to those of the first.

        With A and B the centred codes of all faces by two encoders, the orthogonal R with the least |A R - B| is U V^T
        of the singular value decomposition A^T B = U S V^T, and the best size is tr R^T A^T B / |A|^2. Where both come
        from one stack, a small multiple of the identity beside A^T B keeps R from turning what faces leave open.
        """
        people, code = len(self.classes_), int(self.code)
        self.centre_, self.size_ = np.zeros((people, code), np.float32), np.ones(people, np.float32)
        self.rotation_ = np.tile(np.eye(code, dtype=np.float32), (1 if self.share == "encoder" else people, 1, 1))
        if self.align is None:
            return
        both = np.concatenate([faces, faces[:, :, ::-1]])
        owner = np.concatenate([who, who])
        if self.model_.shared:
            codes = self._codes(both, 0)
            for k in range(people):
                self.centre_[k] = codes[owner == k].mean(0, dtype=np.float64)
            return
        separate = [self._codes(both, k).astype(np.float64) for k in range(people)]
        centred = [c - c.mean(0) for c in separate]
        for k in range(people):
            self.centre_[k] = separate[k][owner == k].mean(0)
            both_ways = centred[k].T @ centred[0]
            prior = _IDENTITY * np.abs(both_ways.trace()) / code if self.share == "rbm" else 0.0
            u, _, v = np.linalg.svd(both_ways + prior * np.eye(code))
            turn = u @ v
            self.rotation_[k] = turn
            self.size_[k] = (turn * both_ways).sum() / max((centred[k] ** 2).sum(), 1e-12)

    def _carried(self, codes: Array, source: int, target: int) -> Array:
        """Codes of person `source`'s face as the decoder of `target` understands them."""
        if self.align is None or source == target:
            return codes
        away = codes - self.centre_[source]
        if not self.model_.shared:
            away = away @ self.rotation_[source] * (self.size_[source] / self.size_[target])
            away = away @ self.rotation_[target].T
        if len(self.kept_) > 1:
            away = away @ self.kept_[target]
        carried: Array = away + self.centre_[target]
        return carried

    # ---- faces and codes ----
    def _codes(self, faces: Array, who: int) -> npt.NDArray[np.float32]:
        return self._batched(lambda x: self.model_.encode(x, who), unit_pixels(faces))

    def _decoded(self, codes: Array, who: int) -> npt.NDArray[np.float32]:
        return self._batched(lambda z: self.model_.decode(z, who), codes.astype(np.float32))

    def _batched(self, function: Any, values: Array) -> npt.NDArray[np.float32]:
        training, device = self.model_.training, self.model_.device
        self.model_.eval()
        with no_grad():
            parts = [
                np.asarray(function(as_tensor(values[i : i + _BATCH]).to(device)).numpy())
                for i in range(0, len(values), _BATCH)
            ]
        self.model_.train(training)
        return np.concatenate(parts)

    def transform(self, X: Any, source: Any = None) -> npt.NDArray[np.float32]:
        """Codes (n, code) of faces X. source: whose they are, needed where each person has an encoder."""
        self._check_fitted()
        if source is None and not self.model_.shared:
            raise ArgumentError(f"FaceSwap: with share={self.share!r} say whose faces they are (source=)")
        return self._codes(self._faces(X), 0 if source is None else self._person(source))

    def inverse_transform(self, codes: Any, to: Any) -> npt.NDArray[np.float32]:
        """Faces (n, h, w, c) in [0, 1] of person `to` from codes (n, code)."""
        self._check_fitted()
        values = np.asarray(codes, np.float32)
        if values.ndim != 2 or values.shape[1] != self.code:
            raise ShapeError(f"FaceSwap: expected codes (n, {self.code}), got shape {values.shape}")
        return self._decoded(values, self._person(to))


__all__ = ["FaceCodes"]
