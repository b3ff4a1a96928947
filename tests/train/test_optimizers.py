"""Optimizers that Trainer treats specially: averages to evaluate with, closures, shares of clipped steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore import nn, ops, optim, random
from deepcore.data import ArrayDataset, DataLoader, load_digits
from deepcore.errors import ArgumentError, NumericalError
from deepcore.optim import Cosine
from deepcore.tensor import Tensor, tensor
from deepcore.train import Callback, EarlyStopping, Trainer

Make = Callable[[list[nn.Parameter]], optim.Optimizer]
MAKERS: dict[str, Make] = {
    "asgd": lambda p: optim.ASGD(p, 0.1, start=20, momentum=0.9),
    "nt-asgd": lambda p: optim.ASGD(p, 0.5, start="nonmonotone", window=1),
    "lookahead": lambda p: optim.Lookahead(optim.Adam(p, 3e-3, clip_percentile=50)),
    "sam": lambda p: optim.SAM(optim.SGD(p, 0.1, momentum=0.9, clip_norm=1.0)),
    "lookahead of adaptive sam": lambda p: optim.Lookahead(optim.SAM(optim.Adam(p, 3e-3), 0.5, adaptive=True)),
}


def loaders(n: int = 400) -> tuple[DataLoader, DataLoader]:
    x, y, xt, yt = load_digits()
    flat, test = (a.reshape(len(a), -1).astype(np.float32) / 16 for a in (x, xt))
    data = ArrayDataset(flat[:n], y[:n].astype(np.int64))
    return DataLoader(data, 32, shuffle=True, seed=3), DataLoader(ArrayDataset(test, yt.astype(np.int64)), 128)


def make(optimizer: Make, **options: Any) -> Trainer:
    net = nn.Sequential(nn.Linear(64, 32, activation="relu", seed=0), nn.BatchNorm(32), nn.Dropout(0.2, seed=1),
                        nn.Linear(32, 10, seed=2))  # fmt: skip
    return Trainer(net, optimizer(net.parameters()), progress="off", **options)


def bits(trainer: Trainer) -> dict[str, bytes]:
    arrays, _ = trainer.optimizer.state_dict()
    return {k: v.tobytes() for k, v in {**trainer.model.state_dict(), **arrays}.items()}


def no_times(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k not in ("seconds", "samples_per_second")} for r in history]


@pytest.mark.parametrize("name", MAKERS)
def test_learns_and_resumes_bit_for_bit(name: str, tmp_path: Path) -> None:
    def fresh() -> Trainer:
        return make(MAKERS[name], schedule=Cosine(200), callbacks=[EarlyStopping("val_loss", patience=50)])

    class Stop(Callback):
        def on_step_end(self, trainer: Trainer, loss: float) -> None:
            if trainer.optimizer.steps == 57:
                trainer.stop("test")

    whole, (data, test) = fresh(), loaders()
    history = whole.fit(data, test, epochs=6)
    assert history[-1]["val_accuracy"] > 0.75 and history[-1]["loss"] < 0.5 * history[0]["loss"]
    path = tmp_path / "c.safetensors"
    first, (data, test) = fresh(), loaders()
    first.callbacks.append(Stop())
    first.fit(data, test, epochs=6, checkpoint=path)
    second, (data, test) = fresh(), loaders()
    second.callbacks.append(Callback())
    second.fit(data, test, epochs=6, checkpoint=path, resume=True)
    assert bits(second) == bits(whole) and no_times(second.history) == no_times(whole.history)


def test_averages_are_evaluated_and_kept() -> None:
    trainer, (data, test) = make(lambda p: optim.ASGD(p, 0.5)), loaders()
    trainer.fit(data, test, epochs=2)
    averages = trainer.optimizer.averages()
    assert averages is not None
    for p, a in zip(trainer.model.parameters(), averages, strict=True):
        np.testing.assert_array_equal(p.numpy(), a.numpy())
    assert trainer.evaluate(test)["loss"] == trainer.history[-1]["val_loss"]
    for p in trainer.model.parameters():
        p.numpy()[...] = 0.0
    assert trainer.evaluate(test)["loss"] == trainer.history[-1]["val_loss"]
    assert all((p.numpy() == 0).all() for p in trainer.model.parameters())


def test_validation_losses_begin_the_means() -> None:
    trainer, (data, test) = make(lambda p: optim.ASGD(p, 1.0, start="nonmonotone", window=1)), loaders()
    trainer.fit(data, test, epochs=15)
    optimizer = trainer.optimizer
    assert isinstance(optimizer, optim.ASGD)
    losses = [r["val_loss"] for r in trainer.history]
    first = next(i for i in range(2, 15) if losses[i] >= min(losses[: i - 1]))
    assert optimizer.started == trainer.history[first]["step"] + 1


def test_sam_sees_the_same_function_twice() -> None:
    """The same masks and noise; running statistics move once a step, as without SAM."""

    class Noisy:
        def __init__(self) -> None:
            self.inputs: list[np.ndarray] = []

        def step(self, model: nn.Module, batch: tuple[np.ndarray, ...]) -> tuple[Tensor, dict[str, float]]:
            x = tensor(batch[0]) + random.normal(batch[0].shape)
            outputs = model[1](model[0](x))
            masked = model[2](outputs * 0.0 + 1.0)
            self.inputs.append(np.concatenate([x.numpy().ravel(), masked.numpy().ravel()]))
            return ops.softmax_cross_entropy(model[3](masked * outputs), tensor(batch[1])), {}

    results = []
    for optimizer in (lambda p: optim.SGD(p, 0.0), lambda p: optim.SAM(optim.SGD(p, 0.0), 0.5)):
        random.seed(5)
        task = Noisy()
        trainer = make(optimizer, task=task)
        trainer.fit(loaders(96)[0], epochs=2)
        results.append(
            (task.inputs, {n: b.numpy().tobytes() for n, b in trainer.model.named_buffers()}, trainer.history)
        )
    (once, buffers, plain), (twice, buffers_of_sam, history) = results
    assert len(twice) == 2 * len(once) == 12
    for i, a in enumerate(once):
        np.testing.assert_array_equal(a, twice[2 * i])
        np.testing.assert_array_equal(a, twice[2 * i + 1])
    assert not np.array_equal(once[0], once[1])
    assert buffers == buffers_of_sam
    assert [r["loss"] for r in plain] == [r["loss"] for r in history]


def test_share_of_clipped_steps() -> None:
    limits: list[dict[str, Any]] = [
        {"clip_norm": 1e-9}, {"clip_each_norm": 1e-9}, {"clip_value": 1e-9}, {"clip_percentile": 100},
        {"clip_percentile": 30},
    ]  # fmt: skip
    for options in limits:
        trainer, (data, _) = make(lambda p, o=options: optim.SGD(p, 0.05, **o)), loaders()  # type: ignore[misc]
        trainer.fit(data, epochs=3)
        shares = [r["clipped_share"] for r in trainer.history]
        totals = [r["clipped"] for r in trainer.history]
        np.testing.assert_allclose(np.diff([0, *totals]) / 13, shares)
        percentile = options.get("clip_percentile")
        if percentile == 30:
            assert all(0 < s < 1 for s in shares)
        else:
            assert shares == ([0.0] * 3 if percentile else [1.0] * 3)
    trainer, (data, _) = make(lambda p: optim.SGD(p, 0.05, log_norm=True)), loaders()
    assert "clipped_share" not in trainer.fit(data, epochs=1)[0] and "grad_norm" in trainer.history[0]


def test_refusals() -> None:
    for options in ({"accumulate": 2}, {"nan_guard": "gradients"}):
        with pytest.raises(ArgumentError, match="SAM computes its gradients itself"):
            make(MAKERS["sam"], **options)
    trainer, (data, _) = make(MAKERS["sam"]), loaders()
    state = trainer.model.state_dict()
    state["3.weight"][0, 0] = np.nan
    trainer.model.load_state_dict(state)
    with pytest.raises(NumericalError, match=r"parameter 3\.weight is not finite"):
        trainer.fit(data, epochs=1)
