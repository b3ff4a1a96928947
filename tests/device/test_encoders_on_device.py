"""Autoencoders on a CUDA device: the numbers of the CPU for every kind, second-order methods, moving files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore.data import load_digits

X = load_digits()[0][:96].astype(np.float32) / 16


def fitted(device: str, **options: Any) -> dc.Autoencoder:
    model = dc.Autoencoder(**{"layers": (12, 4), "epochs": 2, "batch_size": 32, "random_state": 0, **options})
    return model.set_params(device=device).fit(X)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"tied": True, "loss": "cross_entropy"}, {"channels": (3, 4)}, {"variational": True},
        {"code_activation": "sigmoid", "sparsity": 0.2, "code_noise": 0.5}, {"contractive": 0.2},
        {"corruption": "salt-and-pepper", "pretrain": "layerwise", "pretrain_epochs": 1}, {"scaling": "standard"},
    ],
)  # fmt: skip
def test_kinds_agree_with_the_cpu(options: dict[str, Any], tmp_path: Path) -> None:
    ours, cpu = fitted("cuda", **options), fitted("cpu", **options)
    assert ours.model_.device == "cuda:0"
    np.testing.assert_allclose(ours.reconstruct(X[:9]), cpu.reconstruct(X[:9]), atol=2e-4)
    np.testing.assert_allclose(ours.score_samples(X[:9]), cpu.score_samples(X[:9]), rtol=2e-3, atol=1e-3)
    ours.save(tmp_path / "ae")
    moved = dc.Autoencoder.load(tmp_path / "ae", device="cpu")
    np.testing.assert_allclose(moved.transform(X[:9]), ours.transform(X[:9]), atol=1e-5)
    assert moved.fingerprint() == ours.fingerprint()


@pytest.mark.parametrize("method", ["lbfgs", "cg"])
def test_line_searches_agree_with_the_cpu(method: str) -> None:
    losses = []
    for device in ("cuda", "cpu"):
        model = fitted(device)
        seen: list[float] = []
        model.fine_tune(X, method, iterations=3, callback=lambda i, loss, seen=seen: seen.append(loss))  # type: ignore[misc]
        losses.append(seen)
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
