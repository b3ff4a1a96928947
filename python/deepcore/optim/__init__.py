"""Optimizers and learning-rate schedules."""

from deepcore.optim.averaging import ASGD
from deepcore.optim.gauss_newton import GaussNewton, gauss_newton_product
from deepcore.optim.hessian_free import HessianFree
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
from deepcore.optim.wrapper import SAM, Lookahead

__all__ = [
    "ASGD", "LBFGS", "OPTIMIZERS", "SAM", "SGD", "AMSGrad", "Adadelta", "Adagrad", "Adam", "AdamW", "ConjugateGradient",
    "GaussNewton", "HessianFree", "Lion", "Lookahead", "NAdam", "Optimizer", "RAdam", "RMSprop", "gauss_newton_product",
]  # fmt: skip
