"""Cases of softmax and the losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepcore import ops
from deepcore.testing.case import Case


def _lse(x: Any) -> Any:
    top = x.max(-1, keepdims=True)
    return top + np.log(np.exp(x - top).sum(-1, keepdims=True))


def _cross_entropy(x: Any, labels: Any, smoothing: float = 0.0, weights: Any = None, ignore: Any = None) -> Any:
    c = x.shape[-1]
    t = np.eye(c)[np.clip(labels, 0, c - 1)] * (1 - smoothing) + smoothing / c
    t = t if weights is None else t * weights
    loss = (t * (_lse(x) - x)).sum(-1)
    return loss if ignore is None else np.where(labels == ignore, 0.0, loss)


WEIGHTS = np.array([0.5, 2.0, 1.0, 0.25, 3.0])


def _labels(*shape: int, classes: int = 5, extra: int | None = None) -> Any:
    def make(rng: np.random.Generator) -> Any:
        labels = rng.integers(0, classes, shape)
        if extra is not None and labels.size:
            labels.reshape(-1)[0] = extra
        return 3 * rng.standard_normal((*shape, classes)), labels

    return make


def _normal(*shapes: Any, scale: float = 2.0) -> Any:
    return lambda rng: tuple(scale * rng.standard_normal(s) for s in shapes)


def _weighted(x: Any, labels: Any) -> Any:
    from deepcore.tensor import tensor

    return ops.softmax_cross_entropy(
        x, labels, class_weight=tensor(WEIGHTS, dtype=x.dtype, device=x.device), reduction="none"
    )


def _cases() -> list[Case]:
    cases = []
    for shape in ((3, 5), (1, 1), (2, 3, 17), (4, 130), (0, 5), (33,)):
        cases.append(Case(f"softmax/{shape}", ops.softmax, lambda x: np.exp(x - _lse(x)), _normal(shape)))
        cases.append(Case(f"log_softmax/{shape}", ops.log_softmax, lambda x: x - _lse(x), _normal(shape)))
    cases.append(Case("softmax/axis 0", lambda x: ops.softmax(x, 0), lambda x: np.exp(x - _lse(x.T).T),
                      _normal((4, 3))))  # fmt: skip
    ce = ops.softmax_cross_entropy
    cases += [
        Case("softmax_cross_entropy/mean", ce, lambda x, y: _cross_entropy(x, y).mean(), _labels(7)),
        Case("softmax_cross_entropy/sum", lambda x, y: ce(x, y, reduction="sum"),
             lambda x, y: _cross_entropy(x, y).sum(), _labels(2, 3), factor=32.0),
        Case("softmax_cross_entropy/smoothing", lambda x, y: ce(x, y, label_smoothing=0.1, reduction="none"),
             lambda x, y: _cross_entropy(x, y, 0.1), _labels(6)),
        Case("softmax_cross_entropy/weights", _weighted, lambda x, y: _cross_entropy(x, y, weights=WEIGHTS),
             _labels(6), factor=16.0),
        Case("softmax_cross_entropy/ignored", lambda x, y: ce(x, y, ignore_label=-1),
             lambda x, y: _cross_entropy(x, y, ignore=-1).sum() / (len(y) - 1), _labels(6, extra=-1)),
        Case("softmax_cross_entropy/many classes", ce, lambda x, y: _cross_entropy(x, y).mean(),
             _labels(9, classes=1000), gradient=()),
        Case("soft_cross_entropy/softmax", lambda x, t: ce(x, ops.softmax(t), reduction="none"),
             lambda x, t: (np.exp(t - _lse(t)) * (_lse(x) - x)).sum(-1), _normal((4, 5), (4, 5))),
        Case("bce_with_logits", ops.bce_with_logits, lambda x, t: (np.logaddexp(0, x) - x * t).mean(),
             lambda rng: (3 * rng.standard_normal((4, 5)), rng.uniform(size=(4, 5)))),
        Case("mse_loss", ops.mse_loss, lambda x, t: ((x - t) ** 2).mean(), _normal((4, 5), (4, 5)), factor=32.0),
        Case("l1_loss", ops.l1_loss, lambda x, t: np.abs(x - t).mean(), _normal((4, 5), (4, 5))),
        Case("huber_loss", ops.huber_loss,
             lambda x, t: np.where(np.abs(x - t) <= 1, 0.5 * (x - t) ** 2, np.abs(x - t) - 0.5).mean(),
             _normal((4, 5), (4, 5))),
        Case("kl_div", lambda p, q: ops.kl_div(ops.softmax(p), ops.softmax(q)),
             lambda p, q: (np.exp(p - _lse(p)) * (p - _lse(p) - q + _lse(q))).sum(-1).mean(), _normal((4, 5), (4, 5))),
    ]  # fmt: skip
    return cases


CASES = _cases()
