"""FaceSwap: faces of several people to codes and back, and the swap: the code of one, the decoder of another."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import ops, optim, train
from deepcore.data import DataLoader
from deepcore.data.images import write_image
from deepcore.device import resolve_device
from deepcore.errors import ArgumentError
from deepcore.estimators.base import check_labels, check_lengths, encode
from deepcore.estimators.facecodes import FaceCodes
from deepcore.estimators.facemachines import Stack, blank_stack, check_machines, pretrain_stack
from deepcore.estimators.supervised import make_schedule
from deepcore.models.faceswap import FaceNet, UnrolledFaces
from deepcore.tensor import as_tensor
from deepcore.train.faceswap import unit_pixels

Array = npt.NDArray[Any]

SHARES = ("encoder", "none", "rbm")
ALIGNMENTS = (None, "procrustes")
AUGMENTATIONS: dict[str, dict[str, float]] = {
    "light": {"warp": 0.02, "flip": 0.0, "rotate": 5.0, "zoom": 0.04, "shift": 0.02, "light": 0.05, "colour": 0.0},
    "standard": {},
}
_PREVIEW_FACES = 4  # of each person
_WIDTH = 24
_RATES = {"encoder": 1e-3, "none": 1e-3, "rbm": 2e-4}


class FaceSwap(FaceCodes):
    """Swaps faces: an autoencoder learns each person; the code of one person's face goes into another's decoder.

    Faces are aligned pictures (n, h, w, 1 or 3) of one size, uint8 or floats in [0, 1], whose sides halve down to at
    most 12 pixels (64, 96, 128; any from 16 on for share='rbm'). `deepcore.data.faces` finds and aligns them.

    Args:
        share: 'encoder': one encoder for all people and a decoder each, so that a code means the same to every decoder.
            'none': an autoencoder each; their codes have nothing in common until they are aligned.
            'rbm': an autoencoder each, of dense layers, unrolled from one stack of restricted Boltzmann machines that
            was trained on everyone's faces (Hinton and Salakhutdinov, 2006), then fine-tuned. As all start from the
            same weights, codes stay alike.
        align: 'procrustes' carries a code from one person to another: the rotation and size that fit best on the
            training faces as both encoders see them (Schönemann, 1966; none with one encoder), about the mean code of
            each person's own faces, so that the mean face of one becomes that of the other. None leaves codes as they
            are.
        shrink: with 'procrustes', what a code is away from the mean is reduced in directions in which codes of the
            target's own faces, moved and mirrored as `augment` does, vary little, or in which the light of `augment`
            moves them: times S (S + shrink (s I + L))^-1, with S the covariance of these codes, s their mean variance,
            L the mean square of what light does. A decoder that has seen few faces draws strange ones elsewhere. 0
            keeps all; 0.3 to 2 gives swaps that are the target's more surely and follow the source less.
        code: length of the code.
        width: channels of the first convolution, None for 24; not for share='rbm'.
        layers: for share='rbm': hidden units of the machines below the code from the bottom, None for (1000, 500).
        machines: for share='rbm': arguments of `DBN` for the training of the machines, such as n_iter, learning_rate,
            visible_units ('bernoulli' or 'gaussian', pixels being in [0, 1]), variance, settings.
        pretrain: for share='encoder': so many of the steps train one decoder for all people; then each goes on from a
            copy of it. Helps when there are few faces of each; faces of yet other people may join under a label of
            their own. Such codes tell people apart, so that swaps need align='procrustes'.
        exchange: for share='encoder': codes are moved in training towards the mean code of another person, by a random
            part of up to this in [0, 1], while the face to be drawn stays: decoders learn to disregard whom a code
            shows. Of use with `pretrain`.
        ssim_weight: the loss is ssim_weight (1 - SSIM) + (1 - ssim_weight) L1.
        augment: 'standard', 'light', None, or a dict of options of `deepcore.train.FaceAugment`.
        steps: optimizer steps, rounded up so that snapshots are equally far apart.
        snapshot: steps between entries of the history, previews and checkpoints, at most.
        optimizer: 'adam' and the others of `deepcore.optim`.
        learning_rate: of the optimizer; None for 1e-3, or 2e-4 for share='rbm', where it should not lead far away.
        schedule: as in `MLPClassifier`.
        clip_norm: limit on the norm of the gradient, or None.
        batch_size: faces in a step; each person is shown equally often.
        max_seconds: limit on the training time; machines are always trained to their end.
        random_state: seed of weights, order and random changes.
        verbose: show progress.
        device: 'auto', 'cpu' or 'cuda'.

    Attributes:
        classes_ (k,): the people, sorted. image_shape_: (h, w, c). history_: one dict per snapshot. model_: the net.
        centre_ (k, code): the mean code of each person's faces and their mirror images. rotation_ (k, code, code),
        size_ (k,): to the codes of the first encoder, where each has one. kept_ (k, code, code): what `shrink` leaves.
        pretrain_history_: of the machines, one dict per epoch of each layer.
    """

    _kind = "transformer"

    def __init__(
        self, share: str = "encoder", *, align: str | None = "procrustes", shrink: float = 0.0, code: int = 256,
        width: int | None = None, layers: Sequence[int] | None = None, machines: Mapping[str, Any] | None = None,
        pretrain: int = 0, exchange: float = 0.0, ssim_weight: float = 0.5, augment: Any = "standard",
        steps: int = 4000, snapshot: int = 250, optimizer: str = "adam", learning_rate: float | None = None,
        schedule: Any = "cosine", clip_norm: float | None = 5.0, batch_size: int = 16, max_seconds: float | None = None,
        random_state: int | None = None, verbose: bool = False, device: str = "auto",
    ) -> None:  # fmt: skip
        self.share = share
        self.align = align
        self.shrink = shrink
        self.code = code
        self.width = width
        self.layers = layers
        self.machines = machines
        self.pretrain = pretrain
        self.exchange = exchange
        self.ssim_weight = ssim_weight
        self.augment = augment
        self.steps = steps
        self.snapshot = snapshot
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.clip_norm = clip_norm
        self.batch_size = batch_size
        self.max_seconds = max_seconds
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    history_: list[dict[str, Any]]
    pretrain_history_: list[dict[str, Any]]

    # ---- checks ----
    def _check_parameters(self) -> None:
        resolve_device(self.device)
        for name, allowed in (("share", SHARES), ("align", ALIGNMENTS), ("optimizer", sorted(optim.OPTIMIZERS))):
            if getattr(self, name) not in allowed:
                raise ArgumentError(f"FaceSwap: expected {name} in {list(allowed)}, got {getattr(self, name)!r}")
        for name in ("steps", "snapshot", "batch_size", "code", "width"):
            value = getattr(self, name)
            if name == "width" and value is None:
                continue
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ArgumentError(f"FaceSwap: expected {name} >= 1, got {value!r}")
        if not isinstance(self.pretrain, (int, np.integer)) or not 0 <= self.pretrain <= self.steps:
            raise ArgumentError(f"FaceSwap: expected pretrain in [0, {self.steps}] steps, got {self.pretrain!r}")
        if self.pretrain and self.share != "encoder":
            raise ArgumentError(f"FaceSwap: pretrain goes with share='encoder', got share={self.share!r}")
        if self.exchange and self.share != "encoder":
            raise ArgumentError(f"FaceSwap: exchange goes with share='encoder', got share={self.share!r}")
        if not 0 <= self.shrink < np.inf or (self.shrink and self.align is None):
            raise ArgumentError(
                f"FaceSwap: expected shrink >= 0, and 0 with align=None, got {self.shrink!r}, align={self.align!r}"
            )
        if self.share == "rbm":
            if self.width is not None:
                raise ArgumentError(f"FaceSwap: width goes with convolutions, not share='rbm', got {self.width!r}")
            check_machines(self.layers, self.machines)
        elif self.layers is not None or self.machines is not None:
            raise ArgumentError(f"FaceSwap: layers and machines go with share='rbm', got share={self.share!r}")
        if isinstance(self.augment, str) and self.augment not in AUGMENTATIONS:
            raise ArgumentError(f"FaceSwap: expected augment in {sorted(AUGMENTATIONS)}, got {self.augment!r}")

    def _seed(self) -> int:
        if self.random_state is None:
            return int(np.random.SeedSequence().generate_state(1)[0])
        if hasattr(self.random_state, "randint"):  # a numpy RandomState
            return int(self.random_state.randint(1 << 31))
        return int(self.random_state)

    # ---- training ----
    def _build(self, people: int, seed: int, stack: Stack | None = None) -> None:
        if self.share == "rbm":
            machines, variance = stack or blank_stack(self.image_shape_, self.layers, int(self.code), self.machines)
            self.model_ = UnrolledFaces(self.image_shape_, people, machines, variance=variance)
        else:
            self.model_ = FaceNet(
                self.image_shape_, people, code=int(self.code), width=_WIDTH if self.width is None else int(self.width),
                shared=self.share == "encoder", seed=seed,
            )  # fmt: skip
        self.model_.to(resolve_device(self.device))

    def _augment(self, seed: int) -> train.FaceAugment:
        off = {"warp": 0.0, "flip": 0.0, "rotate": 0.0, "zoom": 0.0, "shift": 0.0, "light": 0.0, "colour": 0.0}
        options = off if self.augment is None else self.augment
        chosen: Any = AUGMENTATIONS[options] if isinstance(options, str) else options
        return train.FaceAugment(**chosen, seed=seed)

    def fit(
        self, X: Any, y: Any, *, preview: str | os.PathLike[str] | None = None,
        checkpoint: str | os.PathLike[str] | None = None, resume: bool = False,
    ) -> FaceSwap:  # fmt: skip
        """Train on faces X (n, h, w, c) and whose they are, y (n,); returns self.

        preview: a folder that gets a PNG at each snapshot: the same faces, their reconstructions and their swaps; with
            share='rbm' one of the unrolled machines before fine-tuning, too.
        checkpoint: file written at each snapshot and on Ctrl-C; resume=True goes on from it, bit for bit as if it had
            never stopped. Machines are kept in a folder beside it, `checkpoint`.machines, with a file per layer: those
            that are finished are not trained again.
        """
        self._check_parameters()
        faces = self._faces(X, fitting=True)
        labels = check_labels(y, "FaceSwap")
        check_lengths(faces, labels)
        self.classes_, who = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ArgumentError(f"FaceSwap: expected faces of at least 2 people, got {self.classes_.tolist()}")
        who = who.astype(np.int64)
        self.image_shape_ = tuple(int(n) for n in faces.shape[1:])  # type: ignore[assignment]
        seed = self._seed()
        snapshots = -(-int(self.steps) // int(self.snapshot))
        every = -(-int(self.steps) // snapshots)
        draws = train.BalancedFaces(faces, who, len(self.classes_), every * int(self.batch_size), seed)
        change = self._augment(seed)
        stack, self.pretrain_history_ = None, []
        if self.share == "rbm":
            stack, self.pretrain_history_ = pretrain_stack(
                faces, who, change, self.layers, int(self.code), self.machines, checkpoint=checkpoint, resume=resume,
                seed=seed, verbose=self.verbose, device=self.device,
            )  # fmt: skip
        self._build(len(self.classes_), seed, stack)
        loader = DataLoader(draws, int(self.batch_size), True, seed,
                            transform=lambda batch, place: change(draws.pick(batch, place), place))  # fmt: skip
        shown = np.concatenate([np.flatnonzero(who == k)[:_PREVIEW_FACES] for k in range(len(self.classes_))])

        def render() -> Array:
            self._align(faces, who, change, seed)
            return self.preview(faces[shown], labels[shown])

        if preview is not None and stack is not None:
            Path(preview).mkdir(parents=True, exist_ok=True)
            write_image(Path(preview) / "step-00000000.png", render())
        # Always both, so that a checkpoint fits whether or not previews are wanted this time.
        callbacks = [train.PartDecoders(int(self.pretrain)), train.Preview(preview, render)]
        rate = _RATES[self.share] if self.learning_rate is None else self.learning_rate
        trainer = train.Trainer(
            self.model_, optim.OPTIMIZERS[self.optimizer](self.model_.parameters(), lr=rate, clip_norm=self.clip_norm),
            train.FaceTask(self.ssim_weight, self.exchange), schedule=make_schedule(self.schedule, snapshots * every),
            callbacks=callbacks, progress="auto" if self.verbose else "off",
        )  # fmt: skip
        self.history_ = trainer.history
        trainer.fit(loader, epochs=snapshots, max_seconds=self.max_seconds, checkpoint=checkpoint,
                    resume=resume)  # fmt: skip
        self.history_ = trainer.history
        self.n_iter_ = trainer.optimizer.steps
        self.model_.eval()
        self._align(faces, who, change, seed)
        return self

    # ---- swaps ----
    def _source(self, source: Any, target: int) -> int:
        if source is not None:
            return self._person(source)
        if len(self.classes_) == 2:
            return 1 - target
        if self.align is None and self.model_.shared:
            return target  # nothing depends on it
        raise ArgumentError(
            f"FaceSwap: with more than 2 people say whose faces they are (source=), one of {self.classes_.tolist()}"
        )

    def reconstruct(self, X: Any, y: Any) -> Array:
        """Faces X (n, h, w, c) through the autoencoder of their own person, y (n,) or one label; in the type of X."""
        self._check_fitted()
        faces = self._faces(X)
        who = self._labelled(y, len(faces))
        result = np.empty(faces.shape, np.float32)
        for k in np.unique(who):
            result[who == k] = self._decoded(self._codes(faces[who == k], int(k)), int(k))
        return _like(result, faces)

    def _labelled(self, y: Any, n: int) -> Array:
        labels = np.asarray(y)
        if labels.ndim == 0:
            return np.full(n, self._person(labels.item()))
        labels = check_labels(labels, "FaceSwap")
        check_lengths(np.empty(n), labels)
        return encode(labels, self.classes_, "FaceSwap")

    def swap(self, X: Any, to: Any, *, source: Any = None, strength: float = 1.0) -> Array:
        """Faces X (n, h, w, c) with the face of person `to`, in the type of X.

        source: whose faces they are; of two people the other one by default. strength: 0 leaves X as it is, 1 is the
        swap alone. ArgumentError for an unknown person or a strength outside [0, 1].
        """
        self._check_fitted()
        if not 0 <= strength <= 1:
            raise ArgumentError(f"FaceSwap: expected strength in [0, 1], got {strength}")
        faces, target = self._faces(X), self._person(to)
        own = self._source(source, target)
        swapped = self._decoded(self._carried(self._codes(faces, own), own, target), target)
        return _like((1 - strength) * unit_pixels(faces) + strength * swapped, faces)

    def score(self, X: Any, y: Any) -> float:
        """Mean structural similarity of faces X and their reconstructions, y (n,) whose they are."""
        faces = self._faces(X)
        again = self.reconstruct(unit_pixels(faces), y)
        return float(ops.ssim(as_tensor(unit_pixels(faces)), as_tensor(again)).item())

    def preview(self, X: Any, y: Any) -> npt.NDArray[np.uint8]:
        """One picture (rows, columns, c): per face X the source, its reconstruction, and its swap to each person."""
        faces = self._faces(X)
        labels = check_labels(y, "FaceSwap")
        columns = [unit_pixels(faces), self.reconstruct(unit_pixels(faces), labels)]
        for person in self.classes_:
            swapped = np.empty_like(columns[0])
            for source in np.unique(labels):
                own = labels == source
                swapped[own] = self.swap(columns[0][own], person, source=source)
            columns.append(swapped)
        gap = 2
        framed = [np.pad(c, ((0, 0), (gap, gap), (gap, gap), (0, 0)), constant_values=1.0) for c in columns]
        rows = np.concatenate(framed, 2)
        sheet = rows.reshape(-1, *rows.shape[2:])
        return np.round(255 * sheet).astype(np.uint8)

    def report(self, path: str | os.PathLike[str], X: Any, y: Any, *, title: str | None = None) -> None:
        """Write one self-contained HTML file about this model on faces X, y (n,) whose they are: learning curves, also
        of machines, swaps, the map of codes, filters of the lowest machine. Needs the viz extra."""
        from deepcore.viz.faceswap import faceswap_report

        self._check_fitted()
        faces, labels = self._faces(X), check_labels(y, "FaceSwap")
        check_lengths(faces, labels)
        for person in np.unique(labels).tolist():
            self._person(person)
        if len(np.unique(labels)) < len(self.classes_):
            raise ArgumentError(f"FaceSwap.report: expected faces of each of {self.classes_.tolist()}")
        faceswap_report(self, path, faces, labels, title=title)

    # ---- files ----
    def _fitted_meta(self) -> tuple[dict[str, Any], dict[str, Array]]:
        extra = {"classes": self.classes_.tolist(), "classes_dtype": self.classes_.dtype.str,
                 "image_shape": list(self.image_shape_), "steps_done": self.n_iter_,
                 "pretrain_history": self.pretrain_history_}  # fmt: skip
        return extra, {"rotation": self.rotation_, "centre": self.centre_, "size": self.size_, "kept": self.kept_}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.classes_ = np.asarray(meta["classes"], dtype=np.dtype(meta["classes_dtype"]))
        self.image_shape_ = tuple(int(n) for n in meta["image_shape"])  # type: ignore[assignment]
        self.n_iter_, self.pretrain_history_ = int(meta["steps_done"]), list(meta["pretrain_history"])
        self.rotation_, self.centre_, self.size_ = arrays["rotation"], arrays["centre"], arrays["size"]
        self.kept_ = arrays["kept"]
        self._build(len(self.classes_), 0)


def _like(values: npt.NDArray[np.float32], faces: Array) -> Array:
    """Values in [0, 1] in the type of `faces`."""
    clipped = np.clip(values, 0, 1)
    result: Array = np.round(255 * clipped).astype(np.uint8) if faces.dtype == np.uint8 else clipped.astype(faces.dtype)
    return result


__all__ = ["ALIGNMENTS", "AUGMENTATIONS", "SHARES", "FaceSwap"]
