"""Optimizers and learning-rate schedules."""

from deepcore.optim.optimizer import Optimizer
from deepcore.optim.rules import (
    OPTIMIZERS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    AMSGrad,
    Lion,
    NAdam,
    RAdam,
    RMSprop,
)  # fmt: skip
from deepcore.optim.schedule import *  # noqa: F403
from deepcore.optim.second_order import LBFGS, ConjugateGradient

__all__ = [
    "LBFGS", "OPTIMIZERS", "SGD", "AMSGrad", "Adadelta", "Adagrad", "Adam", "AdamW", "ConjugateGradient", "Lion",
    "NAdam", "Optimizer", "RAdam", "RMSprop",
]  # fmt: skip
