"""Training: the loop, tasks, callbacks, checkpoints."""

from deepcore.train.callbacks import Callback, EarlyStopping, ExplodingLoss
from deepcore.train.checkpoint import load_checkpoint, save_checkpoint
from deepcore.train.contrastive import Contrastive
from deepcore.train.faceswap import BalancedFaces, FaceAugment, FaceTask, PartDecoders, Preview, changed_faces
from deepcore.train.forecast import Forecasting, pinball_loss
from deepcore.train.joint import JointBoltzmann
from deepcore.train.next_token import NextToken
from deepcore.train.reconstruction import Reconstruction
from deepcore.train.seq2seq import SamplingDecay, SequencePairs
from deepcore.train.supervised import Supervised, accuracy, cross_entropy, mean_squared_error
from deepcore.train.trainer import Trainer
from deepcore.train.updown import UpDown

__all__ = [
    "BalancedFaces", "Callback", "Contrastive", "EarlyStopping", "ExplodingLoss", "FaceAugment", "FaceTask",
    "Forecasting", "JointBoltzmann", "NextToken", "PartDecoders", "Preview", "Reconstruction", "SamplingDecay",
    "SequencePairs", "Supervised", "Trainer",
    "UpDown", "accuracy", "changed_faces", "cross_entropy", "load_checkpoint", "mean_squared_error", "pinball_loss",
    "save_checkpoint",
]  # fmt: skip
