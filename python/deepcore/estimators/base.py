"""What all estimators share: scikit-learn's conventions, without needing scikit-learn."""

from __future__ import annotations

import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from deepcore.errors import ArgumentError, CheckpointError, NotFittedError
from deepcore.train.checkpoint import load_checkpoint, save_checkpoint

Self = TypeVar("Self", bound="Estimator")
Array = npt.NDArray[Any]


class Estimator(ABC):
    """Parameters are the arguments of __init__, stored as they came; what fit learns ends in an underscore."""

    _kind = "estimator"
    _takes_sparse = False
    random_state: Any

    @classmethod
    def _names(cls) -> list[str]:
        return [p for p in inspect.signature(cls.__init__).parameters if p != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of __init__ by name."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self: Self, **params: Any) -> Self:
        """Change arguments of __init__; returns self. ArgumentError for an unknown name."""
        names = self._names()
        for name, value in params.items():
            if name not in names:
                raise ArgumentError(
                    f"Invalid parameter {name!r} for estimator {self!r}. Valid parameters are: {names!r}."
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = {n: p.default for n, p in inspect.signature(type(self).__init__).parameters.items()}
        changed = [f"{n}={v!r}" for n, v in self.get_params().items() if repr(v) != repr(defaults[n])]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self) -> Any:
        """Facts for scikit-learn (only called by it)."""
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags, TransformerTags

        if self._kind == "transformer":
            return Tags(estimator_type=None, target_tags=TargetTags(required=False),
                        input_tags=InputTags(sparse=self._takes_sparse),
                        transformer_tags=TransformerTags(preserves_dtype=["float32"]))  # fmt: skip
        return Tags(
            estimator_type=self._kind,
            target_tags=TargetTags(required=True, multi_output=self._kind == "regressor",
                                   single_output=True),
            classifier_tags=ClassifierTags() if self._kind == "classifier" else None,
            regressor_tags=RegressorTags() if self._kind == "regressor" else None,
            input_tags=InputTags(),
        )  # fmt: skip

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def _seed(self) -> int:
        if self.random_state is None:
            return int(np.random.SeedSequence().generate_state(1)[0])
        if hasattr(self.random_state, "randint"):  # a numpy RandomState
            return int(self.random_state.randint(1 << 31))
        return int(self.random_state)

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            # scikit-learn's own exception where it is loaded: its tools look for it.
            import sys

            module = sys.modules.get("sklearn.exceptions")
            error: type[Exception] = NotFittedError
            if module is not None:
                error = type("NotFittedError", (NotFittedError, module.NotFittedError), {})
            raise error(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' before using this estimator."
            )

    # ---- files ----
    @abstractmethod
    def _fitted_meta(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """JSON values and arrays beside the weights that a fitted estimator needs."""

    @abstractmethod
    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        """Build the fitted state from what `_fitted_meta` gave."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters, weights, classes and history to one safetensors file, atomically."""
        self._check_fitted()
        extra, arrays = self._fitted_meta()
        model = self.model_  # type: ignore[attr-defined]
        weights = {f"model.{k}": v for k, v in model.state_dict().items()}
        meta = {
            "kind": "deepcore estimator", "class": type(self).__name__, "params": self.get_params(),
            "history": self.history_, **extra,  # type: ignore[attr-defined]
        }  # fmt: skip
        save_checkpoint(path, {**weights, **arrays}, meta)

    @classmethod
    def load(cls: type[Self], path: str | os.PathLike[str], *, device: str | None = None) -> Self:
        """An estimator saved by `save`. CheckpointError when the file is damaged or holds another class.

        device: where it is to live ('auto', 'cpu' or 'cuda'); None: what it was made with.
        """
        arrays, meta = load_checkpoint(path)
        if meta.get("kind") != "deepcore estimator" or meta.get("class") != cls.__name__:
            raise CheckpointError(
                f"{os.fspath(path)}: expected a {cls.__name__}, got {meta.get('class', meta.get('kind'))}"
            )
        try:
            return cls._from_file(arrays, meta, device)
        except CheckpointError as error:
            raise CheckpointError(f"{os.fspath(path)}: {error}") from error
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError) as error:
            raise CheckpointError(f"{os.fspath(path)}: expected a whole {cls.__name__}, got {error!r}") from error

    @classmethod
    def _from_file(cls: type[Self], arrays: Mapping[str, Array], meta: Mapping[str, Any], device: str | None) -> Self:
        params: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in meta["params"].items()}
        if isinstance(params.get("class_weight"), dict):
            weights: dict[str, float] = params["class_weight"]
            params["class_weight"] = {_number(k): v for k, v in weights.items()}
        unknown = set(params) - set(cls._names())
        if unknown:
            raise CheckpointError(f"unknown parameters {sorted(unknown)}")
        if device is not None and "device" in params:
            params["device"] = device
        estimator = cls(**params)
        estimator.history_ = list(meta["history"])  # type: ignore[attr-defined]
        estimator._restore(meta, {k: v for k, v in arrays.items() if not k.startswith("model.")})
        model = estimator.model_  # type: ignore[attr-defined]
        model.load_state_dict({k[6:]: v for k, v in arrays.items() if k.startswith("model.")})
        model.eval()
        return estimator


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return text


# ---- input checks: messages follow scikit-learn, whose tools match them ----
def check_matrix(x: Any, estimator: Estimator, *, fitting: bool) -> npt.NDArray[np.float32]:
    """`x` as a finite float32 matrix (n, features). On fit it sets n_features_in_ (and feature_names_in_)."""
    if hasattr(x, "toarray") and hasattr(x, "nnz"):
        raise TypeError(
            f"{type(estimator).__name__}: Sparse data was passed, but dense data is required. "
            "Use '.toarray()' to convert to a dense numpy array."
        )
    names = _feature_names(x)
    values = np.asarray(x)
    if values.dtype.kind == "c":
        raise ArgumentError(f"Complex data not supported\n{type(estimator).__name__}: got {values.dtype}")
    if values.ndim != 2:
        what = "scalar array" if values.ndim == 0 else f"{values.ndim}D array"
        raise ArgumentError(
            f"Expected 2D array, got {what} instead: {type(estimator).__name__} takes (samples, features). Reshape "
            "your "
            "data either using array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it "
            "contains a single sample."
        )
    if values.dtype.kind not in "fiub":
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError) as error:
            if isinstance(error, TypeError):
                raise TypeError(f"{type(estimator).__name__}: argument must be a string or a number: {error}") from None
            raise ArgumentError(f"{type(estimator).__name__}: could not convert the data to numbers: {error}") from None
    n, features = values.shape
    if n == 0:
        raise ArgumentError(f"Found array with 0 sample(s) (shape={values.shape}) while a minimum of 1 is required.")
    if features == 0:
        raise ArgumentError(f"Found array with 0 feature(s) (shape={values.shape}) while a minimum of 1 is required.")
    if fitting:
        estimator.n_features_in_ = features  # type: ignore[attr-defined]
        if names is not None:
            estimator.feature_names_in_ = names  # type: ignore[attr-defined]
        elif hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    else:
        _check_names(names, estimator)
        expected = estimator.n_features_in_  # type: ignore[attr-defined]
        if features != expected:
            raise ArgumentError(
                f"X has {features} features, but {type(estimator).__name__} is expecting {expected} features as input."
            )
    result = np.ascontiguousarray(values, dtype=np.float32)
    finite = np.isfinite(result).all(1)
    if not finite.all():
        raise ArgumentError(
            f"Input X contains NaN or infinity (or a value too large for float32) in sample {int(np.argmin(finite))}."
            f"\n{type(estimator).__name__} does not accept missing values encoded as NaN natively."
        )
    return result


def _feature_names(x: Any) -> Array | None:
    columns = getattr(x, "columns", None)
    if columns is None:
        return None
    names = np.asarray(columns, dtype=object)
    return names if len(names) and all(isinstance(name, str) for name in names) else None


def _check_names(names: Array | None, estimator: Estimator) -> None:
    fitted = getattr(estimator, "feature_names_in_", None)
    import warnings

    if fitted is None and names is None:
        return
    if fitted is None:
        warnings.warn(
            f"X has feature names, but {type(estimator).__name__} was fitted without feature names", stacklevel=4
        )
        return
    if names is None:
        warnings.warn(
            f"X does not have valid feature names, but {type(estimator).__name__} was fitted with feature names",
            stacklevel=4,
        )
        return
    if len(names) != len(fitted) or (names != fitted).any():
        unseen, missing = sorted(set(names) - set(fitted)), sorted(set(fitted) - set(names))
        lines = ["The feature names should match those that were passed during fit."]
        if unseen:
            lines += ["Feature names unseen at fit time:", *[f"- {n}" for n in unseen[:5]]]
        if missing:
            lines += ["Feature names seen at fit time, yet now missing:", *[f"- {n}" for n in missing[:5]]]
        if not unseen and not missing:
            lines.append("Feature names must be in the same order as they were in fit.")
        raise ArgumentError("\n".join(lines) + "\n")


def check_lengths(x: Array, y: Array, name: str = "y") -> None:
    """Equal numbers of samples."""
    if len(x) != len(y):
        raise ArgumentError(
            f"Found input variables with inconsistent numbers of samples: X has {len(x)}, {name} {len(y)}"
        )


def check_labels(y: Any, owner: str) -> Array:
    """Class labels as a vector (n,)."""
    if y is None:
        raise ArgumentError(f"{owner}: requires y to be passed, but the target y is None")
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        import warnings

        category: type[Warning] = UserWarning
        import sys

        if "sklearn.exceptions" in sys.modules:
            category = sys.modules["sklearn.exceptions"].DataConversionWarning
        warnings.warn("A column-vector y was passed when a 1d array was expected.", category, stacklevel=3)
        labels = labels.ravel()
    if labels.ndim != 1:
        raise ArgumentError(f"{owner}: y should be a 1d array, got an array of shape {labels.shape} instead.")
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise ArgumentError("Input y contains NaN or infinity.")
        if (labels != np.floor(labels)).any():
            raise ArgumentError(
                "Unknown label type: continuous. Maybe you are trying to fit a classifier on a regression target"
            )
    if labels.dtype.kind == "c":
        raise ArgumentError("Complex data not supported\n: y")
    return labels


def encode(labels: Array, classes: Array, owner: str) -> npt.NDArray[np.int64]:
    """Positions of labels in `classes` (sorted); ArgumentError for a label outside."""
    position = np.searchsorted(classes, labels)
    position = np.minimum(position, len(classes) - 1)
    if (classes[position] != labels).any():
        unknown = sorted(set(labels.tolist()) - set(classes.tolist()))[:5]
        raise ArgumentError(f"{owner}: labels {unknown} are not in classes {classes.tolist()[:20]}")
    return position.astype(np.int64)


def check_sample_weight(weight: Any, n: int, owner: str) -> npt.NDArray[np.float32]:
    """Weights as float32 (n,), finite and >= 0, not all 0."""
    values = np.asarray(weight, dtype=np.float64)
    if values.ndim == 0:
        values = np.full(n, float(values))
    if values.ndim != 1:
        raise ArgumentError(f"{owner}: Sample weights must be 1D array or scalar, got {values.ndim}D array")
    if values.shape != (n,):
        raise ArgumentError(f"{owner}: sample_weight.shape == {values.shape}, expected {(n,)}!")
    if not np.isfinite(values).all() or (values < 0).any():
        raise ArgumentError(f"{owner}: expected finite sample weights >= 0")
    if not (values > 0).any():
        raise ArgumentError(f"{owner}: the sample weights are all zero")
    return values.astype(np.float32)


def class_factors(class_weight: Any, classes: Array, encoded: Array, owner: str) -> npt.NDArray[np.float32] | None:
    """One factor per class from None, 'balanced' or {label: weight}."""
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ArgumentError(f"{owner}: expected class_weight None, 'balanced' or a dict, got {class_weight!r}")
        counts = np.bincount(encoded, minlength=len(classes))
        return (len(encoded) / (len(classes) * np.maximum(counts, 1))).astype(np.float32)
    factors = np.ones(len(classes), np.float32)
    known = classes.tolist()
    for label, value in class_weight.items():
        if label in known:
            factors[known.index(label)] = value
    return factors
