"""Layers: small classes with named parameters that call `deepcore.ops`."""

from deepcore.nn import init
from deepcore.nn.activation import Activation, Dropout, LeakyReLU, ReLU
from deepcore.nn.conv import Conv2d, ConvTranspose2d
from deepcore.nn.conv_lstm import CONV_CELLS, ConvGRU, ConvLSTM, ConvRecurrent
from deepcore.nn.linear import Embedding, Flatten, Linear, Maxout, Reshape
from deepcore.nn.module import Module, Parameter, Sequential
from deepcore.nn.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from deepcore.nn.pool import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    GlobalAvgPool2d,
    GlobalMaxPool2d,
    LpPool2d,
    MaxPool2d,
    Upsample,
)  # fmt: skip
from deepcore.nn.rbm import RBM
from deepcore.nn.residual import Residual
from deepcore.nn.rnn import GRU, LSTM, MGU, Recurrent, RecurrentState, SimpleRNN
from deepcore.nn.rnn_penalty import vanishing_penalty

__all__ = [
    "CONV_CELLS",
    "GRU",
    "LSTM",
    "MGU",
    "RBM",
    "Activation",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm",
    "Conv2d",
    "ConvGRU",
    "ConvLSTM",
    "ConvRecurrent",
    "ConvTranspose2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool2d",
    "GlobalMaxPool2d",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LpPool2d",
    "MaxPool2d",
    "Maxout",
    "Module",
    "Parameter",
    "ReLU",
    "Recurrent",
    "RecurrentState",
    "Reshape",
    "Residual",
    "Sequential",
    "SimpleRNN",
    "Upsample",
    "init",
    "vanishing_penalty",
]  # fmt: skip
