"""One class per system, with scikit-learn's conventions: fit, predict, score, get_params."""

from deepcore.estimators.cnn import ImageClassifier
from deepcore.estimators.faceconvert import Converted, FaceConverter
from deepcore.estimators.faceswap import FaceSwap
from deepcore.estimators.mlp import MLPClassifier, MLPRegressor

__all__ = ["Converted", "FaceConverter", "FaceSwap", "ImageClassifier", "MLPClassifier", "MLPRegressor"]
