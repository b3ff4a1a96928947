"""One class per system, with scikit-learn's conventions: fit, predict, score, get_params."""

from deepcore.estimators.autoencoder import Autoencoder
from deepcore.estimators.caption_writer import Caption
from deepcore.estimators.captioner import Captioner
from deepcore.estimators.cnn import ImageClassifier
from deepcore.estimators.dbm import DBM
from deepcore.estimators.dbn import DBN
from deepcore.estimators.dbn_supervised import DBNClassifier, DBNRegressor
from deepcore.estimators.documents import DocumentClassifier
from deepcore.estimators.faceconvert import Converted, FaceConverter
from deepcore.estimators.faceswap import FaceSwap
from deepcore.estimators.forecast import Forecaster
from deepcore.estimators.hashing import HammingIndex
from deepcore.estimators.language import LanguageModel
from deepcore.estimators.mlp import MLPClassifier, MLPRegressor
from deepcore.estimators.pairs import Candidate
from deepcore.estimators.rbm import RBM
from deepcore.estimators.rbm_classifier import RBMClassifier
from deepcore.estimators.seq2seq import Seq2Seq
from deepcore.estimators.tagger import SequenceTagger, TagScores
from deepcore.estimators.video import VideoClassifier

__all__ = [
    "DBM", "DBN", "RBM", "Autoencoder", "Candidate", "Caption", "Captioner", "Converted", "DBNClassifier",
    "DBNRegressor", "DocumentClassifier", "FaceConverter", "FaceSwap", "Forecaster", "HammingIndex",
    "ImageClassifier", "LanguageModel", "MLPClassifier", "MLPRegressor", "RBMClassifier", "Seq2Seq",
    "SequenceTagger", "TagScores", "VideoClassifier",
]  # fmt: skip
