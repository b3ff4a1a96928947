"""One class per system, with scikit-learn's conventions: fit, predict, score, get_params."""

from deepcore.estimators.autoencoder import Autoencoder
from deepcore.estimators.cnn import ImageClassifier
from deepcore.estimators.hashing import HammingIndex
from deepcore.estimators.mlp import MLPClassifier, MLPRegressor
from deepcore.estimators.rbm import RBM

__all__ = ["RBM", "Autoencoder", "HammingIndex", "ImageClassifier", "MLPClassifier", "MLPRegressor"]
