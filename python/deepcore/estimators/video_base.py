"""What a classifier of clips does with them: checks, labels, batches, the net."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import ops, train
from deepcore.data import Augment, SequenceDataset
from deepcore.device import resolve_device
from deepcore.errors import ArgumentError, DtypeError, ShapeError
from deepcore.estimators.base import check_labels, check_sample_weight, class_factors
from deepcore.estimators.clips import (
    NO_LABEL,
    Clips,
    FileOptions,
    encoded_frames,
    read_clips,
    read_labels,
    shifted,
)  # fmt: skip
from deepcore.estimators.image_base import augment_options
from deepcore.estimators.supervised import SupervisedEstimator
from deepcore.models.video import CONV_PREFIX, ENCODERS, VIDEO_CELLS, VIDEO_OUTPUTS, VideoNet
from deepcore.nn import Module
from deepcore.staging import tensor_of
from deepcore.tensor import Tensor, as_tensor

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

_BATCH_VALUES = 1 << 25  # values of frames in an inference batch


class VideoTask:
    """Batches (clips (b, t, h, w, c), lengths (b,), labels (b,) or (b, T)[, weights likewise]).

    The loss is the softmax cross-entropy, beside it stands the accuracy. With labels of frames both are means over the
    labelled frames of a batch.
    """

    def __init__(self, label_smoothing: float) -> None:
        self.label_smoothing = label_smoothing

    def step(self, model: Module, batch: tuple[Array, ...]) -> tuple[Tensor, dict[str, float]]:
        """Loss and accuracy of one batch."""
        device = model.device
        outputs = model(tensor_of(batch, 0, device), tensor_of(batch, 1, device))
        labels = batch[2]
        weight = batch[3] if len(batch) > 3 else None
        if labels.ndim == 2:  # time first, as the outputs
            t = batch[0].shape[1]
            labels = np.ascontiguousarray(labels[:, :t].T)
            weight = None if weight is None else np.ascontiguousarray(weight[:, :t].T)
        loss = ops.softmax_cross_entropy(
            outputs, as_tensor(labels).to(device), label_smoothing=self.label_smoothing, ignore_label=NO_LABEL,
            sample_weight=None if weight is None else as_tensor(weight).to(device),
        )  # fmt: skip
        right = (np.asarray(outputs.numpy()).argmax(-1) == labels).sum()  # no label is -1
        return loss, {"accuracy": float(right / max((labels != NO_LABEL).sum(), 1))}


class VideoEstimator(SupervisedEstimator):
    """Subclasses provide the parameters named here."""

    _checked_together = 1  # clips are large: validation goes in batches of batch_size

    output: str
    anticipate: int
    encoder: str
    width: int
    features: int
    cell: str
    hidden: int
    layers: int
    bidirectional: bool
    dropout: float
    augment: Any
    size: int | tuple[int, int] | None
    grey: bool
    stride: int
    frames: int | None
    label_smoothing: float
    class_weight: Any

    classes_: Array
    frame_shape_: tuple[int, int, int]
    pixels_: str
    model_: VideoNet

    def _check_parameters(self) -> None:
        super()._check_parameters()
        owner = type(self).__name__
        for name, known in (("output", VIDEO_OUTPUTS), ("encoder", ENCODERS), ("cell", VIDEO_CELLS)):
            if getattr(self, name) not in known:
                raise ArgumentError(f"{owner}: expected {name} in {known}, got {getattr(self, name)!r}")
        for name, least in (("width", 1), ("features", 1), ("hidden", 1), ("layers", 1), ("stride", 1),
                            ("anticipate", 0)):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < least:
                raise ArgumentError(f"{owner}: expected {name} >= {least}, got {value!r}")
        if self.frames is not None and self.frames < 1:
            raise ArgumentError(f"{owner}: expected frames >= 1 or None, got {self.frames!r}")
        if not 0 <= self.dropout < 1:
            raise ArgumentError(f"{owner}: expected dropout in [0, 1), got {self.dropout!r}")
        if self.bidirectional and self.cell.startswith(CONV_PREFIX):
            raise ArgumentError(f"{owner}: expected bidirectional=False with cell {self.cell!r}")
        if self.bidirectional and self.anticipate and self.output == "frame":
            raise ArgumentError(
                f"{owner}: expected bidirectional=False with output 'frame' and anticipate={self.anticipate}: a net "
                "that reads from the end has seen what is to come"
            )
        self._augment_options()

    def _augment_options(self) -> dict[str, Any]:
        found = augment_options(type(self).__name__, self.augment)
        if found.get("mixup"):
            raise ArgumentError(f"{type(self).__name__}: expected augment without mixup, got {found!r}")
        return found

    # ---- clips and labels ----
    @property
    def _per_frame(self) -> bool:
        return self.output == "frame"

    def _file_options(self) -> FileOptions:
        return FileOptions(self.size, bool(self.grey), int(self.stride), self.frames)

    def _clips(self, x: Any, *, fitting: bool = False) -> Clips:
        owner = type(self).__name__
        found = read_clips(owner, x, self._file_options())
        first = found.clips[0]
        if fitting:
            self.frame_shape_ = tuple(int(n) for n in first.shape[1:])  # type: ignore[assignment]
            self.pixels_ = first.dtype.name
        self._check_frames(first[0], found.names[0])
        return found

    def _check_frames(self, frame: Array, name: str) -> None:
        owner = type(self).__name__
        if frame.shape != self.frame_shape_:
            raise ShapeError(f"{owner}: expected frames {self.frame_shape_}, got {frame.shape} in {name}")
        if frame.dtype.name != self.pixels_:
            raise DtypeError(f"{owner}: expected frames of {self.pixels_}, as in fit, got {frame.dtype} in {name}")

    def _seen(self, found: Clips) -> list[Array]:
        """What the net sees of the clips: without their last frames where clips are anticipated."""
        k = int(self.anticipate)
        for clip, name in zip(found.clips, found.names):
            if k and not self._per_frame and len(clip) <= k:
                raise ArgumentError(
                    f"{type(self).__name__}: expected more than {k} frames with anticipate={k}, got {len(clip)} in "
                    f"{name}"
                )
        return found.clips if self._per_frame else [clip[: len(clip) - k] for clip in found.clips]

    def _labels(self, y: Any, found: Clips) -> list[Any]:
        """The label of each clip, or those at each of its frames, the later ones where they are anticipated."""
        labels = read_labels(type(self).__name__, y, found, self._per_frame)
        return [shifted(row, int(self.anticipate)) for row in labels] if self._per_frame else labels

    def _encoded(self, labels: list[Any], names: list[str]) -> Ints:
        position = {label: i for i, label in enumerate(self.classes_.tolist())}
        rows = labels if self._per_frame else [[label] for label in labels]
        encoded = encoded_frames(rows, position, type(self).__name__, names)
        return encoded if self._per_frame else encoded[:, 0]

    def _set_classes(self, labels: list[Any]) -> None:
        owner = type(self).__name__
        flat = [label for row in labels for label in row if label is not None] if self._per_frame else labels
        if not flat:
            raise ArgumentError(f"{owner}: expected at least one labelled frame {self.anticipate} frames ahead")
        self.classes_ = np.unique(check_labels(np.asarray(flat), owner))
        if len(self.classes_) < 2:
            raise ArgumentError(f"{owner}: expected at least 2 classes, got one class: {self.classes_.tolist()}")

    def _data(self, clips: list[Array], encoded: Ints, sample_weight: Any = None) -> SequenceDataset:
        labelled = encoded[encoded != NO_LABEL]
        factors = class_factors(self.class_weight, self.classes_, labelled, type(self).__name__)
        targets: list[Array] = [encoded]
        if sample_weight is not None or factors is not None:
            weight = np.ones(encoded.shape, np.float32)
            if sample_weight is not None:
                own = check_sample_weight(sample_weight, len(encoded), type(self).__name__)
                weight = weight * own.reshape(-1, *[1] * (encoded.ndim - 1))
            if factors is not None:
                weight = weight * factors[encoded]
            targets.append((weight / weight[encoded != NO_LABEL].mean()).astype(np.float32))
        return SequenceDataset(clips, *targets)

    # ---- the net ----
    def _task(self) -> VideoTask:
        return VideoTask(self.label_smoothing)

    def _callbacks(self) -> list[train.Callback]:
        return [train.ExplodingLoss(len(self.classes_), type(self).__name__, "frame" if self._per_frame else "clip")]

    def _transform(self, seed: int) -> Augment | None:
        options = self._augment_options()
        return Augment(**options, seed=seed) if options else None

    def _begin(self, clips: list[Array], seed: int) -> None:
        """Mean and deviation of each channel, and a new net."""
        total, squares, count = np.zeros(self.frame_shape_[2]), np.zeros(self.frame_shape_[2]), 0
        for clip in clips:
            pixels = clip.reshape(-1, clip.shape[3]).astype(np.float64)
            total += pixels.sum(0)
            squares += (pixels * pixels).sum(0)
            count += len(pixels)
        deviation = np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0))
        self.__dict__.pop("trainer_", None)
        self._build(seed, (total / count).tolist(), np.where(deviation > 0, deviation, 1.0).tolist())

    def _build(self, seed: int, mean: list[float] | None = None, scale: list[float] | None = None) -> None:
        self.model_ = VideoNet(
            self.frame_shape_, len(self.classes_), encoder=self.encoder, width=int(self.width),
            features=int(self.features), cell=self.cell, hidden=int(self.hidden), layers=int(self.layers),
            bidirectional=bool(self.bidirectional), output=self.output, dropout=float(self.dropout), mean=mean,
            scale=scale, seed=seed,
        )  # fmt: skip
        self.model_.to(resolve_device(self.device))

    def _in_batches(self, clips: list[Array]) -> Iterator[tuple[Ints, Ints, Tensor, Tensor]]:
        """(places, lengths, clips and lengths as tensors) of clips of similar length, for inference."""
        self.model_.eval()
        data = SequenceDataset(clips)
        order, device, first = np.argsort(data.lengths, kind="stable"), self.model_.device, 0
        pixels = int(np.prod(self.frame_shape_))
        while first < len(order):
            last = first + 1
            while last < len(order) and (last + 1 - first) * data.lengths[order[last]] * pixels <= _BATCH_VALUES:
                last += 1
            places = order[first:last]
            x, lengths = data[places]
            yield places, lengths, as_tensor(x).to(device), as_tensor(lengths).to(device)
            first = last

    def __sklearn_tags__(self) -> Any:
        """Facts for scikit-learn (only called by it): inputs are clips, not a matrix."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags
