"""VideoClassifier: recurrent nets over frames that classify clips, or each frame of them, also some frames ahead."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore.autograd import no_grad
from deepcore.data import SequenceDataset
from deepcore.errors import ArgumentError, ShapeError
from deepcore.estimators.base import check_labels
from deepcore.estimators.clips import NO_LABEL, Clips, read_stream
from deepcore.estimators.supervised import softmax_rows
from deepcore.estimators.video_base import VideoEstimator
from deepcore.models.video import VideoState
from deepcore.tensor import as_tensor

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]


class VideoClassifier(VideoEstimator):
    """A net that classifies clips or each of their frames: a convolution per frame, a recurrent net over frames.

    X is an array (n, t, h, w) or (n, t, h, w, c), uint8 or float, or a list of clips (t, h, w[, c]) of different
    lengths, or of paths of video files. y is (n,), or with output='frame' also (n, t) or a list for each clip, where -1
    or None is no label.

    Args:
        output: what a decision rests on: 'last', the state after the last frame; 'mean' of the outputs at all frames;
            'attention', a weighted mean of them; 'frame': there is one after each frame, from all frames so far.
        anticipate: k: with output='frame' the net learns the label k frames later, which the last k frames do not have;
            otherwise the last k frames of each clip are hidden, in training, predict and score. Not in `step` and
            `predict_stream`, which decide from what there is.
        encoder: of frames: 'small', one 3x3 convolution between poolings, or 'medium', two with batch norm.
        width, features: channels of its first convolution, and how many features of a frame the recurrent net reads.
        cell: a name in `deepcore.ops.rnn.CELLS` ('lstm', 'gru', ...), or 'conv_lstm' or 'conv_gru', which stand in
            place of encoder and recurrent net, with `width` channels and `hidden` units that read their states; encoder
            and features have no part then.
        hidden, layers, bidirectional: of the recurrent net.
        dropout: before the decision, and between layers.
        augment: None, or random changes, the same for all frames of a clip: 'light' (shift, rotate, scale), 'flip'
            (shift, mirror), 'strong' (and cutout) or options of `deepcore.data.Augment` without mixup. What the labels
            say must not change with them: mirrored, a move to the right is one to the left.
        size, grey, stride, frames: of video files: side or (h, w) in pixels, one channel, each stride-th frame, and so
            many at equal distances of these; see `deepcore.data.read_clip`.
        label_smoothing, class_weight, optimizer, learning_rate, weight_decay, clip_norm, schedule, batch_size, epochs,
        validation_fraction, early_stopping, patience, max_seconds, ema, random_state, verbose, device:
            as in `MLPClassifier`; batches are of clips, class weights count labels of frames where there are such.

    Attributes:
        classes_ (k,): the labels. frame_shape_: (h, w, c). pixels_: 'uint8' or 'float32', what the frames were.
        history_: one dict per epoch, whose accuracies are means over batches. model_: the net (`models.VideoNet`).
    """

    _kind = "classifier"

    def __init__(
        self, output: str = "last", *, anticipate: int = 0, encoder: str = "small", width: int = 16,
        features: int = 64, cell: str = "lstm", hidden: int = 64, layers: int = 1, bidirectional: bool = False,
        dropout: float = 0.0, augment: Any = None, size: int | tuple[int, int] | None = None, grey: bool = False,
        stride: int = 1, frames: int | None = None, label_smoothing: float = 0.0, class_weight: Any = None,
        optimizer: str = "adam", learning_rate: float = 3e-3, weight_decay: float = 0.0,
        clip_norm: float | None = 1.0, schedule: Any = "cosine", batch_size: int = 16, epochs: int = 10,
        validation_fraction: float = 0.0, early_stopping: bool = False, patience: int = 5,
        max_seconds: float | None = None, ema: float | None = None, random_state: int | None = None,
        verbose: bool = False, device: str = "auto",
    ) -> None:  # fmt: skip
        self.output = output
        self.anticipate = anticipate
        self.encoder = encoder
        self.width = width
        self.features = features
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.augment = augment
        self.size = size
        self.grey = grey
        self.stride = stride
        self.frames = frames
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.schedule = schedule
        self.batch_size = batch_size
        self.epochs = epochs
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.patience = patience
        self.max_seconds = max_seconds
        self.ema = ema
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    # ---- scikit-learn ----
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: tuple[Any, Any] | None = None,
        checkpoint: str | os.PathLike[str] | None = None, resume: bool = False,
    ) -> VideoClassifier:  # fmt: skip
        """Train on n clips; returns self.

        Args:
            X: clips, see above.
            y: labels.
            sample_weight: of clips, (n,).
            validation_data: (clips, labels) for val_loss and val_accuracy, instead of validation_fraction.
            checkpoint: file written after each epoch and on Ctrl-C.
            resume: go on from `checkpoint` if it exists, bit for bit.

        Raises:
            DataError: a video file is damaged or a clip has no frame or a value that is not finite; it is named.
            ShapeError, DtypeError: clips do not fit each other.
            ArgumentError: labels do not fit the clips, or an option is out of range.
            NumericalError: the loss has exploded; names the step.
        """
        self._check_parameters()
        found = self._clips(X, fitting=True)
        clips, labels = self._seen(found), self._labels(y, found)
        self._set_classes(labels)
        encoded = self._encoded(labels, found.names)
        data = self._data(clips, encoded, sample_weight)
        held = None
        if validation_data is not None:
            others = self._clips(validation_data[0])
            truth = self._encoded(self._labels(validation_data[1], others), others.names)
            held = SequenceDataset(self._seen(others), truth)
        seed = self._seed()
        self._begin(clips, seed)
        self._train_on(data, None if self._per_frame else encoded, seed, validation=held,
                       transform=self._transform(seed), checkpoint=checkpoint, resume=resume)  # fmt: skip
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> VideoClassifier:
        """One more epoch on these clips; the first call needs all `classes`, and its clips set the scale of pixels."""
        self._check_parameters()
        owner, first = type(self).__name__, not hasattr(self, "model_")
        found = self._clips(X, fitting=first)
        clips, labels = self._seen(found), self._labels(y, found)
        if first:
            if classes is None:
                raise ArgumentError("classes must be passed on the first call to partial_fit.")
            self.classes_ = np.unique(check_labels(classes, owner))
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ArgumentError(f"{owner}: classes differ from those of the first call to partial_fit")
        data = self._data(clips, self._encoded(labels, found.names), sample_weight)
        seed = self._seed() if self.random_state is not None or first else 0
        if first:
            self._begin(clips, seed)
        steps = self.trainer_.optimizer.steps if hasattr(self, "trainer_") else 0
        self._partial_on(data, seed, transform=self._transform(seed + steps))
        return self

    def decision_function(self, X: Any) -> Any:
        """Scores before the softmax, (n, k); with output='frame' (n, t, k) for an array, else a list of (t, k)."""
        self._check_fitted()
        found = self._clips(X)
        return self._scores(found)

    def _scores(self, found: Clips) -> Any:
        scores: list[Any] = [None] * len(found.clips)
        with no_grad():
            for places, lengths, x, t in self._in_batches(self._seen(found)):
                outputs = np.asarray(self.model_(x, t).numpy())
                for column, place in enumerate(places):
                    scores[place] = outputs[: lengths[column], column] if self._per_frame else outputs[column]
        return np.stack(scores) if found.array or not self._per_frame else scores

    def predict_proba(self, X: Any) -> Any:
        """Class probabilities in the order of classes_, of the shape of `decision_function`."""
        return self._probabilities(self.decision_function(X))

    def _probabilities(self, scores: Any) -> Any:
        if isinstance(scores, list):
            return [softmax_rows(rows) for rows in scores]
        return softmax_rows(scores.reshape(-1, scores.shape[-1])).reshape(scores.shape)

    def predict(self, X: Any) -> Any:
        """The most probable label of each clip, (n,); with output='frame' of each frame, (n, t) or a list of (t,).

        With output='frame' and anticipate=k what stands at a frame is the label k frames later.
        """
        scores = self.decision_function(X)
        return self._named(scores)

    def _named(self, scores: Any) -> Any:
        if isinstance(scores, list):
            return [self.classes_[rows.argmax(-1)] for rows in scores]
        return self.classes_[scores.argmax(-1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy: the share of clips, or of labelled frames, whose label is right. sample_weight: of clips."""
        found, truth, scores = self._measured(X, y)
        weights = np.ones(len(found.clips)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        if not self._per_frame:
            return float(np.average(scores.argmax(-1) == truth, weights=weights))
        right = wrong = 0.0
        for row, labels, weight in zip(scores, truth, weights):
            kept = labels[: len(row)] != NO_LABEL
            hits = int((row.argmax(-1) == labels[: len(row)])[kept].sum())
            right, wrong = right + weight * hits, wrong + weight * (int(kept.sum()) - hits)
        return right / (right + wrong) if right + wrong else float("nan")

    def _measured(self, X: Any, y: Any) -> tuple[Clips, Ints, Any]:
        """The clips, their encoded labels, (n,) or (n, longest), and the scores."""
        self._check_fitted()
        found = self._clips(X)
        truth = self._encoded(self._labels(y, found), found.names)
        return found, truth, self._scores(found)

    # ---- frame by frame ----
    def step(self, frames: Any, state: VideoState | None = None) -> tuple[Array, VideoState]:
        """The next frame of n clips, (n, h, w[, c]): class probabilities (n, k), and the state for the next call.

        The probabilities are those of clips that end here, bit for bit, and with output='frame' those of this frame.
        ShapeError for frames or a state of other sizes, ArgumentError for nets that read from the end.
        """
        self._check_fitted()
        values = np.asarray(frames)
        values = values[..., None] if values.ndim == 3 else values
        if values.ndim != 4 or len(values) == 0:
            raise ShapeError(f"{type(self).__name__}: expected frames (n, h, w[, c]), got {np.shape(frames)}")
        if values.dtype != np.uint8:
            values = values.astype(np.float32)
        self._check_frames(values[0], "step")
        self.model_.eval()
        with no_grad():
            x = as_tensor(np.ascontiguousarray(values)).to(self.model_.device)
            scores, state = self.model_.step(x, state)
        return softmax_rows(np.asarray(scores.numpy())), state

    def predict_stream(self, frames: Any) -> Iterator[tuple[Any, Array]]:
        """(label, class probabilities (k,)) after each frame of an iterable of frames (h, w[, c]), or of a video file.

        Only the state of the net is kept, and for 'mean' and 'attention' the outputs so far.
        """
        self._check_fitted()
        state = None
        for frame in read_stream(type(self).__name__, frames, self._file_options()):
            p, state = self.step(np.asarray(frame)[None], state)
            yield self.classes_[p[0].argmax()].item(), p[0]

    # ---- looking inside ----
    def attention(self, X: Any) -> list[Array]:
        """The weights (t,) of the frames that the net sees of each clip; they sum to 1. For output='attention'."""
        self._check_fitted()
        clips = self._seen(self._clips(X))
        weights: list[Any] = [None] * len(clips)
        with no_grad():
            for places, lengths, x, t in self._in_batches(clips):
                found = np.asarray(self.model_.frame_weights(x, t).numpy())
                for column, place in enumerate(places):
                    weights[place] = found[: lengths[column], column]
        return weights

    def summary(self) -> str:
        """The net and its number of parameters."""
        self._check_fitted()
        return f"{self.model_!r}\n{sum(p.size for p in self.model_.parameters()):,} parameters"

    def report(self, path: str | os.PathLike[str], X: Any, y: Any, *, title: str | None = None) -> None:
        """Write one self-contained HTML file about this classifier on test clips: scores, learning curves, confusion
        matrix, accuracy over time, film strips with true and predicted labels, attention. Needs the viz extra."""
        from deepcore.viz.video import video_report

        self._check_fitted()
        video_report(self, path, X, y, title=title)

    # ---- files ----
    def _fitted_meta(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return {"classes": self.classes_.tolist(), "classes_dtype": self.classes_.dtype.str,
                "frame_shape": list(self.frame_shape_), "pixels": self.pixels_}, {}  # fmt: skip

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.classes_ = np.asarray(meta["classes"], dtype=np.dtype(meta["classes_dtype"]))
        self.frame_shape_ = tuple(int(n) for n in meta["frame_shape"])  # type: ignore[assignment]
        self.pixels_ = str(meta["pixels"])
        self._build(0)
        self.n_iter_ = len(self.history_)
