"""scikit-learn's own checks, pipelines and searches. Skipped where scikit-learn is absent."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from deepcore.estimators import (
    DBN,
    RBM,
    Autoencoder,
    DBNClassifier,
    ImageClassifier,
    MLPClassifier,
    MLPRegressor,
    RBMClassifier,
)

sklearn = pytest.importorskip("sklearn")
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_diabetes, load_iris  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer, StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import estimator_checks_generator  # noqa: E402

# Checks that cannot apply, each with its reason.
NOT_APPLICABLE: dict[str, str] = {
    "check_sample_weight_equivalence_on_dense_data": "training in random mini-batches: a sample given twice meets "
    "other batches than a sample of weight two",
}

ESTIMATORS = [
    Autoencoder((16, 2), epochs=5, batch_size=16, learning_rate=0.01, random_state=0),
    MLPClassifier((16,), epochs=30, batch_size=16, learning_rate=0.01, random_state=0),
    MLPRegressor((16,), epochs=30, batch_size=16, learning_rate=0.01, random_state=0),
    DBN((8, 4), visible_units="gaussian", learning_rate=1e-4, n_iter=2, random_state=0),
    DBNClassifier(
        (16,),
        standardize=True,
        pretraining={"n_iter": 2, "learning_rate": 1e-3},
        epochs=30,
        batch_size=16,
        learning_rate=0.01,
        random_state=0,
    ),
    RBMClassifier(16, epochs=30, batch_size=16, learning_rate=0.01, random_state=0),
    RBM(8, visible_units="gaussian", learning_rate=1e-4, n_iter=2, random_state=0),
]


def checks() -> list[Any]:
    found = []
    with warnings.catch_warnings():
        # Our estimators follow the conventions without inheriting from scikit-learn, which it remarks on.
        warnings.simplefilter("ignore")
        for estimator in ESTIMATORS:
            for e, check in estimator_checks_generator(estimator):
                name = getattr(check, "func", check).__name__
                found.append(pytest.param(e, check, id=f"{type(e).__name__}-{name}"))
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), checks())
def test_estimator_checks(estimator: Any, check: Any) -> None:
    name = getattr(check, "func", check).__name__
    if name in NOT_APPLICABLE:
        pytest.skip(NOT_APPLICABLE[name])
    check(estimator)


def test_pipeline_grid_search_and_clone() -> None:
    x, y = load_iris(return_X_y=True)
    model = MLPClassifier((16,), epochs=40, batch_size=16, learning_rate=0.01, random_state=0)
    assert clone(model).get_params() == model.get_params()
    pipeline = make_pipeline(StandardScaler(), model)
    assert cross_val_score(pipeline, x, y, cv=3).mean() > 0.9
    search = GridSearchCV(model, {"hidden": [(4,), (16,)], "dropout": [0.0, 0.1]}, cv=2).fit(x, y)
    assert search.best_score_ > 0.85


def test_regression() -> None:
    x, y = load_diabetes(return_X_y=True)
    model = MLPRegressor((32,), epochs=60, learning_rate=3e-3, weight_decay=1e-3, random_state=0)
    assert cross_val_score(model, x, y, cv=3, scoring="r2").mean() > 0.3
    two = MLPRegressor((32,), epochs=30, random_state=0).fit(x, np.stack([y, -y], 1))
    assert two.predict(x).shape == (len(x), 2)


def test_images_in_pipeline_and_search() -> None:
    from deepcore.data import load_digits

    x, y, xt, yt = load_digits()
    model = ImageClassifier("lenet5", width=8, epochs=4, learning_rate=3e-3, random_state=0)
    pipeline = make_pipeline(FunctionTransformer(lambda v: v / 16.0), clone(model))
    assert pipeline.fit(x, y).score(xt, yt) > 0.85
    search = GridSearchCV(model, {"pooling": ["max", "average"]}, cv=2).fit(x[:400], y[:400])
    assert search.best_params_["pooling"] in ("max", "average")
