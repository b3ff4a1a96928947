"""VideoNet: what stands in padding counts nowhere, lengths and options out of range are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepcore import ops, tensor
from deepcore.errors import ArgumentError, ShapeError
from deepcore.models import VideoNet
from deepcore.models.video import VIDEO_OUTPUTS

X = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 16, 1)).astype(np.uint8)


@pytest.mark.parametrize("output", VIDEO_OUTPUTS)
@pytest.mark.parametrize("options", [{"encoder": "medium"}, {"cell": "conv_lstm"}])
def test_what_stands_in_padding_counts_nowhere(output: str, options: dict[str, Any]) -> None:
    """In training too: gradients and the running statistics of batch norm."""
    counts = np.array([3, 6, 1, 5])
    labels = tensor(np.array([0, 1, 1, 0]))
    results = []
    for noise in (0, 200):
        clips = X.copy()
        for clip, n in zip(clips, counts):
            clip[n:] = noise
        net = VideoNet((8, 16, 1), 2, output=output, width=4, seed=1, **options)
        scores = net(tensor(clips), tensor(counts))
        if output == "frame":
            each = tensor(np.where(np.arange(6)[:, None] < counts, labels.numpy(), -1))
            loss = ops.softmax_cross_entropy(scores, each, ignore_label=-1)
        else:
            loss = ops.softmax_cross_entropy(scores, labels)
        loss.backward()
        results.append([loss.numpy(), *(p.grad.numpy() for p in net.parameters() if p.grad is not None),
                        *(b.numpy() for _, b in net.named_buffers())])  # fmt: skip
    for a, b in zip(*results):
        np.testing.assert_array_equal(a, b)


def test_bad_lengths_and_states_of_the_net() -> None:
    net = VideoNet((8, 16, 1), 2, seed=0)
    x = tensor(X[:3])
    for lengths, error, text in (
        ([6, 0, 2], ArgumentError, "lengths from 1 to 6, got 0 for clip 1"),
        ([6, 2, 7], ArgumentError, "lengths from 1 to 6, got 7 for clip 2"),
        ([6, 2], ShapeError, "one length for each of 3 clips"),
    ):
        with pytest.raises(error, match=text):
            net(x, tensor(np.array(lengths)))
    with pytest.raises(ShapeError, match="expected clips"):
        net(tensor(X[:3, ..., 0]), tensor(np.array([6, 6, 6])))
    for name, text in (("output", "output in"), ("cell", "cell in"), ("encoder", "kind in")):
        with pytest.raises(ArgumentError, match=text):
            VideoNet((8, 16, 1), 2, **{name: "other"})  # type: ignore[arg-type]
