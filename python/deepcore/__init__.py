"""deepcore: the classical deep nets, small, fast and complete."""

from __future__ import annotations

import importlib
from typing import Any

from deepcore import _C, errors
from deepcore import ops as ops
from deepcore.autograd import backward, enable_grad, grad, no_grad
from deepcore.device import cuda, get_num_threads, isa, memory, set_num_threads
from deepcore.errors import Error
from deepcore.tensor import Tensor, arange, as_tensor, from_dlpack, full, ones, tensor, zeros

__version__: str = _C.__version__

# Loaded at first use, so that `import deepcore` stays as quick as numpy.
_LAZY_MODULES = ("cli", "data", "estimators", "explain", "graph", "metrics", "models", "nn", "optim", "random",
                 "sequence_metrics", "testing", "train", "viz")  # fmt: skip
_LAZY_NAMES = {
    "Autoencoder": "estimators",
    "Captioner": "estimators",
    "CapturedStep": "graph",
    "HammingIndex": "estimators",
    "DBM": "estimators",
    "DBN": "estimators",
    "DBNClassifier": "estimators",
    "DBNRegressor": "estimators",
    "DocumentClassifier": "estimators",
    "FaceConverter": "estimators",
    "FaceSwap": "estimators",
    "Forecaster": "estimators",
    "ImageClassifier": "estimators",
    "LanguageModel": "estimators",
    "MLPClassifier": "estimators",
    "MLPRegressor": "estimators",
    "RBM": "estimators",
    "RBMClassifier": "estimators",
    "Seq2Seq": "estimators",
    "SequenceTagger": "estimators",
    "Trainer": "train",
    "VideoClassifier": "estimators",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY_MODULES:
        return importlib.import_module(f"deepcore.{name}")
    if name in _LAZY_NAMES:
        value = getattr(importlib.import_module(f"deepcore.{_LAZY_NAMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'deepcore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY_MODULES, *_LAZY_NAMES})


__all__ = [
    "Error", "Tensor", "arange", "as_tensor", "backward", "cuda", "enable_grad", "errors", "from_dlpack", "full",
    "get_num_threads", "grad", "isa", "memory", "no_grad", "ones", "ops", "set_num_threads", "tensor", "zeros",
]  # fmt: skip
