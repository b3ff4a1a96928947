"""Networks as modules."""

from deepcore.models.autoencoder import AutoencoderNet, conv_autoencoder, dense_autoencoder
from deepcore.models.cnn import PRESETS, cnn, lenet5, resnet, vgg_small
from deepcore.models.dbm import DeepBoltzmann
from deepcore.models.dbn import DeepBeliefNet
from deepcore.models.faceswap import FaceNet, UnrolledFaces
from deepcore.models.mlp import mlp

__all__ = [
    "PRESETS", "AutoencoderNet", "DeepBeliefNet", "DeepBoltzmann", "FaceNet", "UnrolledFaces", "cnn",
    "conv_autoencoder", "dense_autoencoder", "lenet5", "mlp", "resnet", "vgg_small",
]  # fmt: skip
