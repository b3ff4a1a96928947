"""Networks as modules."""

from deepcore.models.adaptive import AdaptiveSoftmax
from deepcore.models.attention import Attention
from deepcore.models.autoencoder import AutoencoderNet, conv_autoencoder, dense_autoencoder
from deepcore.models.beam import Hypothesis, beam_search
from deepcore.models.captioner import CaptionNet
from deepcore.models.cnn import PRESETS, cnn, lenet5, resnet, vgg_small
from deepcore.models.dbm import DeepBoltzmann
from deepcore.models.dbn import DeepBeliefNet
from deepcore.models.faceswap import FaceNet, UnrolledFaces
from deepcore.models.forecast import ForecastNet, naive_forecast
from deepcore.models.language import LanguageNet
from deepcore.models.mlp import mlp
from deepcore.models.seq2seq import Seq2SeqNet
from deepcore.models.text import DocumentNet, TaggerNet
from deepcore.models.video import FrameEncoder, VideoNet, VideoState

__all__ = [
    "PRESETS", "AdaptiveSoftmax", "Attention", "AutoencoderNet", "CaptionNet", "DeepBeliefNet", "DeepBoltzmann",
    "DocumentNet", "FaceNet", "ForecastNet", "FrameEncoder", "Hypothesis", "LanguageNet", "Seq2SeqNet",
    "TaggerNet", "UnrolledFaces", "VideoNet", "VideoState", "beam_search", "cnn", "conv_autoencoder",
    "dense_autoencoder", "lenet5", "mlp", "naive_forecast", "resnet", "vgg_small",
]  # fmt: skip
