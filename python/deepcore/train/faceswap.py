"""Training of face autoencoders: random changes of faces, the loss, the preview of the same faces at each snapshot."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deepcore import ops, random
from deepcore.data.dataset import Batch, Indices
from deepcore.data.images import write_image
from deepcore.data.loader import Place
from deepcore.errors import ArgumentError, DataError
from deepcore.nn.module import Module, Parameter
from deepcore.ops import inplace
from deepcore.staging import tensor_of
from deepcore.tensor import Tensor, as_tensor
from deepcore.train.callbacks import Callback
from deepcore.train.trainer import Trainer

Array = npt.NDArray[Any]

_STREAM, _DRAWS = 1 << 46, 1 << 45  # away from the streams that order batches
_KEPT = 0.98  # of the running mean codes, at each step
_PIECE = 250  # faces changed at a time
_KNOTS = 5  # of the warp, along each side


class BalancedFaces:
    """A data set of `length` draws an epoch that shows each person equally often, however many faces there are of each.

    Draw t, counted from the first epoch on, is a face of person t mod people; each person's faces come in an order that
    is random in every round through them, a function of the seed. The set itself gives numbers of draws; `pick`, the
    transform of a loader, gives (faces, persons int64).

    Raises:
        DataError: a person has no face.
    """

    def __init__(self, faces: Array, who: Indices, people: int, length: int, seed: int) -> None:
        self.faces, self.people, self.length, self.seed = faces, people, length, seed
        self._of = [np.flatnonzero(np.asarray(who) == k) for k in range(people)]
        if any(len(own) == 0 for own in self._of):
            raise DataError(f"BalancedFaces: expected faces of each of {people} people, one has none")

    def __len__(self) -> int:
        """Number of draws in an epoch."""
        return self.length

    def __getitem__(self, indices: Indices) -> Batch:
        """The numbers of the draws within their epoch."""
        return (indices,)

    def pick(self, batch: Batch, place: Place) -> Batch:
        """The faces of the draws (b, h, w, c) and whose they are (b,)."""
        turn, person = np.divmod(place.epoch * self.length + batch[0], self.people)
        rows = np.empty(len(person), np.int64)
        for i, (t, p) in enumerate(zip(turn.tolist(), person.tolist(), strict=True)):
            rounds, at = divmod(t, len(self._of[p]))
            order = random.permutation(len(self._of[p]), seed=self.seed, stream=_DRAWS + (p << 24) + rounds)
            rows[i] = self._of[p][order[at]]
        return self.faces[rows], person


class FaceAugment:
    """Random changes of faces in [0, 1] (or uint8): (faces, who) becomes (warped faces, targets, who, chances (b, 2)).

    Input and target share turn, size, shift, mirror image and colours; the input alone is warped, so that the net
    learns the person's face from a distorted one instead of copying pixels.

    Args:
        warp: largest displacement of the 5 x 5 knots of the warp, as a share of the side.
        flip: probability of a mirror image.
        rotate: degrees.
        zoom: largest relative change of size.
        shift: largest shift as a share of the side.
        light: largest relative change of contrast, and of brightness.
        colour: largest relative change of each channel by itself (pictures of 3 channels).
        seed: of the random numbers, which are a function of it, the epoch and the draw.
    """

    def __init__(
        self, *, warp: float = 0.04, flip: float = 0.5, rotate: float = 10.0, zoom: float = 0.08, shift: float = 0.05,
        light: float = 0.15, colour: float = 0.05, seed: int = 0,
    ) -> None:  # fmt: skip
        if not 0 <= flip <= 1 or min(warp, rotate, zoom, shift, light, colour) < 0 or max(zoom, light, colour) >= 1:
            raise ArgumentError(
                "FaceAugment: expected flip in [0, 1], zoom, light, colour in [0, 1), warp, rotate, shift >= 0, got "
                f"flip {flip}, zoom {zoom}, light {light}, colour {colour}, warp {warp}, rotate {rotate}, shift {shift}"
            )
        self.warp, self.flip, self.rotate, self.zoom, self.shift = warp, flip, rotate, zoom, shift
        self.light, self.colour, self.seed = light, colour, seed

    def _random(self, place: Place) -> Array:
        """Numbers in [-1, 1), (b, 12 + 2 knots^2): a row is a function of seed, epoch and draw."""
        count = 12 + 2 * _KNOTS * _KNOTS
        first = _STREAM + (place.epoch << 24)
        rows = [
            random.uniform((count,), -1.0, 1.0, seed=self.seed, stream=first + int(i)).numpy() for i in place.indices
        ]
        return np.stack(rows)

    def __call__(self, batch: Batch, place: Place) -> Batch:
        """(warped faces, targets, who, chances), faces float32 in [0, 1], chances in [0, 1) for `FaceTask`."""
        faces = unit_pixels(batch[0])
        n, h, w, c = faces.shape
        u = self._random(place)
        angle = np.deg2rad(self.rotate) * u[:, 0]
        size = 1 + self.zoom * u[:, 1]
        mirror = np.where(u[:, 2] < 2 * self.flip - 1, -1.0, 1.0)
        theta = np.zeros((n, 2, 3), np.float32)
        theta[:, 0, 0], theta[:, 0, 1] = mirror * np.cos(angle) / size, -np.sin(angle) / size * (h / w)
        theta[:, 1, 0], theta[:, 1, 1] = mirror * np.sin(angle) / size * (w / h), np.cos(angle) / size
        theta[:, :, 2] = 2 * self.shift * u[:, 3:5]
        grid = ops.affine_grid(as_tensor(theta), (h, w))
        knots = as_tensor((2 * self.warp * u[:, 12:]).reshape(n, _KNOTS, _KNOTS, 2).astype(np.float32))
        bent = grid + ops.resize(knots, (h, w), "bilinear_corners")
        contrast = 1 + self.light * u[:, 5]
        gain = np.ones((n, c)) * contrast[:, None]
        if c == 3:
            gain = gain * (1 + self.colour * u[:, 6:9])
        bias = 0.5 * (1 - contrast) + 0.5 * self.light * u[:, 9]
        lit = faces * gain[:, None, None].astype(np.float32) + bias[:, None, None, None].astype(np.float32)
        pictures = as_tensor(np.clip(lit, 0, 1))
        warped, target = (ops.grid_sample(pictures, g, padding="border").numpy() for g in (bent, grid))
        return warped, target, batch[1], 0.5 * (1 + u[:, 10:12])


def changed_faces(
    faces: Array, who: Indices, people: int, count: int, change: FaceAugment, seed: int
) -> tuple[Array, Indices]:
    """`count` faces (count, h, w, c), each person equally often, changed at random but not warped, and whose."""
    draws = BalancedFaces(faces, who, people, count, seed)
    pieces, owners = [], []
    for at in range(0, count, _PIECE):
        place = Place(0, at // _PIECE, np.arange(at, min(at + _PIECE, count)))
        _, target, owner, _ = change(draws.pick(draws[place.indices], place), place)
        pieces.append(target)
        owners.append(owner)
    return np.concatenate(pieces), np.concatenate(owners)


def unit_pixels(faces: Array) -> npt.NDArray[np.float32]:
    """uint8 pixels as float32 in [0, 1]; floats as float32."""
    scaled: npt.NDArray[np.float32] = faces.astype(np.float32)
    return scaled / np.float32(255) if faces.dtype == np.uint8 else scaled


class FaceModel(Protocol):
    """What the task needs of a net, which is a Module too."""

    shared: bool
    joined: bool
    means: Tensor

    def part(self) -> list[tuple[Parameter, Parameter]]:
        """From one decoder for all to one each; (weight, its copy) of all weights."""
        ...

    def encode(self, x: Tensor, who: int) -> Tensor:
        """Faces to codes."""
        ...

    def decode(self, codes: Tensor, who: int) -> Tensor:
        """Codes to faces."""
        ...


class FaceTask:
    """Batches (faces, targets, who[, chances]) -> the loss of each face by its own decoder.

    The loss is ssim_weight (1 - SSIM) + (1 - ssim_weight) L1.

    Args:
        ssim_weight: share of the structural part, in [0, 1].
        exchange: with one encoder and decoders of their own, a code is moved before it is decoded, from the mean code
            of its person towards that of another, by a random part of up to this. The target stays, so that decoders
            learn to disregard whom a code shows. Needs the chances.
    """

    def __init__(self, ssim_weight: float = 0.5, exchange: float = 0.0) -> None:
        if not 0 <= ssim_weight <= 1:
            raise ArgumentError(f"FaceTask: expected ssim_weight in [0, 1], got {ssim_weight}")
        if not 0 <= exchange <= 1:
            raise ArgumentError(f"FaceTask: expected exchange in [0, 1], got {exchange}")
        self.ssim_weight, self.exchange = ssim_weight, exchange

    def step(self, model: Module, batch: tuple[Array, ...]) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch, and its l1 and ssim."""
        net: FaceModel = model  # type: ignore[assignment]
        x, target = tensor_of(batch, 0, model.device), tensor_of(batch, 1, model.device)
        who = np.asarray(batch[2])
        codes = net.encode(x, 0) if net.shared else None
        if codes is not None and self.exchange > 0:
            codes = self._exchanged(model, codes, who, np.asarray(batch[3]))
        loss: Tensor | None = None
        l1 = similarity = 0.0
        everyone = np.zeros_like(who) if net.joined else who
        for person in np.unique(everyone):
            rows = as_tensor(np.flatnonzero(everyone == person)).to(model.device)
            own = ops.take(codes, rows) if codes is not None else net.encode(ops.take(x, rows), int(person))
            faces, wanted = net.decode(own, int(person)), ops.take(target, rows)
            share = len(rows) / len(who)
            difference, likeness = ops.l1_loss(faces, wanted), ops.ssim(faces, wanted)
            part = share * (self.ssim_weight * (1.0 - likeness) + (1.0 - self.ssim_weight) * difference)
            loss = part if loss is None else loss + part
            l1, similarity = l1 + share * float(difference.item()), similarity + share * float(likeness.item())
        assert loss is not None  # a batch has at least one sample
        return loss, {"l1": l1, "ssim": similarity}

    def _exchanged(self, model: Module, codes: Tensor, who: Array, chances: Array) -> Tensor:
        net: FaceModel = model  # type: ignore[assignment]
        means = np.array(net.means.numpy())
        if model.training:
            values = codes.numpy()
            for person in np.unique(who):
                own = values[who == person].mean(0)
                means[person] += (1 - _KEPT) * (own - means[person])
            inplace.copy_into(means, net.means)
        if net.joined or not model.training:
            return codes
        other = (chances[:, 0] * len(means)).astype(np.int64)
        part = (self.exchange * chances[:, 1:]).astype(np.float32)
        return codes + as_tensor(part * (means[other] - means[who])).to(model.device)


class PartDecoders(Callback):
    """For the first `steps` steps one decoder learns everyone's face; then each person goes on from a copy of it."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Where a resumed run stands follows from its steps; a checkpoint of the last joint step holds the copies."""
        net: FaceModel = trainer.model  # type: ignore[assignment]
        net.joined = trainer.optimizer.steps < self.steps

    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        """Part after the last joint step."""
        if trainer.optimizer.steps >= self.steps:
            self._part(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        """A run that stopped before the parting parts now."""
        self._part(trainer)

    def _part(self, trainer: Trainer) -> None:
        net: FaceModel = trainer.model  # type: ignore[assignment]
        if not net.joined:
            return
        # The optimizer's moments go along: from zero, this late, they would make the first steps much too long.
        copies = {id(copy): id(first) for first, copy in net.part()}
        moments, facts = trainer.optimizer.state_dict()
        place = {id(p): i for i, p in enumerate(trainer.optimizer.params)}
        for copy, first in copies.items():
            prefix = f"{place[first]}."
            own = {name[len(prefix) :]: a for name, a in moments.items() if name.startswith(prefix)}
            moments.update({f"{place[copy]}.{name}": a for name, a in own.items()})
        trainer.optimizer.load_state_dict(moments, facts)


class Preview(Callback):
    """At the end of each epoch, the picture that `render` gives, uint8 (h, w, c), as folder/step-00001000.png.

    folder: made if it is not there; None writes nothing.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, render: Callable[[], Array]) -> None:
        self.folder, self.render = None if folder is None else Path(folder), render
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Write the picture, atomically."""
        if self.folder is not None:
            write_image(self.folder / f"step-{record['step']:08d}.png", self.render())


__all__ = [
    "BalancedFaces", "FaceAugment", "FaceModel", "FaceTask", "PartDecoders", "Preview", "changed_faces", "unit_pixels",
]  # fmt: skip
