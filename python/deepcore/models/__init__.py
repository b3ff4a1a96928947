"""Networks as modules."""

from deepcore.models.cnn import PRESETS, cnn, lenet5, resnet, vgg_small
from deepcore.models.faceswap import FaceNet, UnrolledFaces
from deepcore.models.mlp import mlp

__all__ = ["PRESETS", "FaceNet", "UnrolledFaces", "cnn", "lenet5", "mlp", "resnet", "vgg_small"]
