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

__all__ = [
    "OPTIMIZERS", "SGD", "AMSGrad", "Adadelta", "Adagrad", "Adam", "AdamW", "Lion", "NAdam", "Optimizer", "RAdam",
    "RMSprop",
]  # fmt: skip
