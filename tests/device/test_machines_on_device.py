"""Boltzmann machines and deep belief nets on a device learn what they learn on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepcore.data import load_digits
from deepcore.estimators import DBM, DBN, RBM, DBNClassifier, RBMClassifier

X, Y, XT, YT = load_digits()
X, XT = (a.reshape(len(a), -1).astype(np.float32)[:400] / 16 for a in (X, XT))
Y = Y[:400]


@pytest.mark.parametrize(
    "options", [{"algorithm": "pcd"}, {"algorithm": "tempering", "temperatures": 3}, {"k": 2, "centred": True}]
)
def test_exact_machines_are_nearly_those_of_the_cpu(options: dict[str, Any]) -> None:
    found = [RBM(12, exact=True, n_iter=2, random_state=0, device=d, **options).fit(X).components_
             for d in ("cpu", "cuda")]  # fmt: skip
    # Chains start from the same bits; gradients and updates are rounded in another order.
    np.testing.assert_allclose(found[1], found[0], atol=0.02)


@pytest.mark.parametrize(
    "model",
    [
        RBM(16, n_iter=3, learning_rate=0.1, sparsity_target=0.2, dropout=0.1, random_state=0, device="cuda"),
        RBM(
            16, n_iter=3, visible_units="gaussian", variance="learn", learning_rate=0.01, random_state=0, device="cuda"
        ),
        DBN((16, 12), n_iter=2, random_state=0, device="cuda", fine_tune="updown", fine_tune_iter=1),
        DBM((16, 12), n_iter=2, random_state=0, device="cuda"),
    ],
    ids=lambda m: type(m).__name__,
)
def test_machines_train_and_map_there(model: Any) -> None:
    x, test = X, XT
    if getattr(model, "visible_units", "") == "gaussian":
        x, test = (((a - X.mean(0)) / (X.std(0) + 0.01))[:, X.std(0) > 0.2] for a in (X, XT))
    model.fit(x)
    assert model.model_.device == "cuda:0"
    assert np.isfinite(model.transform(test)).all()
    assert np.mean((model.reconstruct(test) - test) ** 2) < 1.1 * np.mean((test - x.mean(0)) ** 2)


def test_likelihood_and_samples_there() -> None:
    model = RBM(10, n_iter=3, binarize=True, random_state=0, device="cuda").fit(X)
    exact = model.log_partition("exact").log_z
    assert abs(model.log_partition("ais", chains=50, count=300).log_z - exact) < 0.3
    assert model.sample(4, steps=10).shape == (4, 64)
    known = np.arange(64) % 8 < 4
    assert model.complete(XT[:5], known, steps=20, burn_in=5).shape == (5, 64)


def test_classifiers_there() -> None:
    for model in (RBMClassifier(24, learning_rate=1e-2, epochs=6, random_state=0, device="cuda"),
                  DBNClassifier((32,), pretraining={"n_iter": 3}, learning_rate=1e-2, epochs=6, random_state=0,
                                device="cuda")):  # fmt: skip
        assert model.fit(X, Y).score(X, Y) > 0.6
