"""What surrounds the plain training of an autoencoder: layer-wise pre-training and fine-tuning by line searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import nn, ops, random, train
from deepcore.autograd import backward
from deepcore.data import ArrayDataset, Corruption, DataLoader
from deepcore.errors import ArgumentError, ShapeError
from deepcore.models import AutoencoderNet
from deepcore.ops.rbm import Units
from deepcore.optim import LBFGS, ConjugateGradient, Optimizer

Array = npt.NDArray[Any]
History = list[dict[str, Any]]

_PIECE = 1000  # samples of one forward and backward pass of a large batch


class WholeLoss:
    """The mean loss of a batch of any size as a closure for `deepcore.optim.LBFGS`: computed in pieces.

    Attributes:
        squared_error: per sample, of the last call.
    """

    def __init__(self, net: nn.Module, task: train.Reconstruction, batch: tuple[Array, ...]) -> None:
        self.net, self.task, self.batch = net, task, batch
        self.squared_error = 0.0

    def __call__(self) -> float:
        """The loss; gradients are added to those of the parameters."""
        n = len(self.batch[0])
        # A mean over the batch, such as that of the sparsity, cannot be cut into pieces.
        piece = n if self.task.sparsity is not None else _PIECE
        total = self.squared_error = 0.0
        for at in range(0, n, piece):
            part = tuple(np.ascontiguousarray(a[at : at + piece]) for a in self.batch)
            share = len(part[0]) / n
            loss, metrics = self.task.step(self.net, part)
            backward(ops.multiply(loss, share))
            total += float(loss.item()) * share
            self.squared_error += metrics["squared_error"] * share
        return total


def line_searches(
    net: nn.Module, task: train.Reconstruction, x: Array, method: str, *, epochs: int, batch_size: int, iterations: int,
    noise: Corruption | None, seed: int, callback: Callable[[int, float], None] | None,
) -> History:  # fmt: skip
    """`iterations` steps of 'lbfgs' or 'cg' on each batch of each epoch; one record per epoch."""
    params = net.parameters()
    optimizer = LBFGS(params) if method == "lbfgs" else ConjugateGradient(params)
    history: History = []
    count = 0
    for epoch in range(epochs):
        order = random.permutation(len(x), seed=seed, stream=epoch)
        loss = error = 0.0
        for at in range(0, len(x), batch_size):
            rows = order[at : at + batch_size]
            clean = x[rows]
            closure = WholeLoss(net, task, (clean,) if noise is None else (noise.apply(clean, rows, epoch), clean))
            optimizer.forget()  # curvature and directions of another batch mislead
            last = 0.0
            for _ in range(iterations):
                last = optimizer.step(closure)
                count += 1
                if callback is not None:
                    callback(count, last)
                if optimizer.converged:
                    break
            loss += last * len(rows) / len(x)
            error += closure.squared_error * len(rows) / len(x)
        history.append({"epoch": epoch + 1, "step": count, "loss": loss, "squared_error": error,
                        "evaluations": optimizer.evaluations})  # fmt: skip
    return history


def layerwise(
    net: AutoencoderNet, x: Array, *, loss: str, noise: Corruption | None, epochs: int, batch_size: int, seed: int,
    make_optimizer: Callable[[nn.Module], Optimizer], encode: Callable[[AutoencoderNet, Array], Array], progress: str,
) -> list[History]:  # fmt: skip
    """Train each layer and its mirror image as an autoencoder of their own, on the codes of the layer below.

    Bengio et al., 2007; with noise, which then acts on every layer's inputs, Vincent et al., 2010.
    """
    encoder, decoder = net.encoder, net.decoder
    assert isinstance(encoder, nn.Sequential) and isinstance(decoder, nn.Sequential)
    histories: list[History] = []
    for i, layer in enumerate(encoder):
        pair = AutoencoderNet(layer, decoder[len(decoder) - 1 - i], output=net.output if i == 0 else "linear")
        task = train.Reconstruction(loss if i == 0 else "squared")
        loader = DataLoader(ArrayDataset(x), min(batch_size, len(x)), True, seed + i, transform=noise,
                            prefetch=0 if noise is None else 2)  # fmt: skip
        trainer = train.Trainer(pair, make_optimizer(pair), task, progress=progress)
        histories.append(trainer.fit(loader, epochs=epochs))
        pair.eval()
        x = encode(pair, x)
    return histories


def unrolled(weights: Sequence[tuple[Array, Array, Array]], tied: bool) -> tuple[list[int], list[Array]]:
    """(inputs and layer sizes, values of the parameters in the order of a dense autoencoder) of a stack of layers."""
    arrays = [tuple(np.asarray(a, np.float32) for a in layer) for layer in weights]
    if not arrays:
        raise ShapeError("Autoencoder.from_layers: expected at least one layer")
    for i, (w, up, down) in enumerate(arrays):
        below = arrays[i - 1][0].shape[0] if i else w.shape[-1]
        if w.ndim != 2 or up.shape != w.shape[:1] or down.shape != w.shape[1:] or w.shape[1] != below:
            raise ShapeError(
                f"Autoencoder.from_layers: expected weight (out, {below}) and biases of its sizes in layer {i}, "
                f"got {w.shape}, {up.shape} and {down.shape}"
            )
    values = [a for w, up, _ in arrays for a in (w, up)]
    for w, _, down in reversed(arrays):
        values += [down] if tied else [np.ascontiguousarray(w.T), down]
    return [arrays[0][0].shape[1], *(len(w) for w, _, _ in arrays)], values


def activations(units: Sequence[Units]) -> dict[str, str]:
    """Options of an autoencoder unrolled from machines with these units, the bottom one first: activation and output.

    ArgumentError where layers differ, or a layer is rectified on the way up and logistic on the way down.
    """
    hidden = {u.hidden for u in units[:-1]} | {u.visible for u in units[1:]} or {"bernoulli"}
    below = units[0].visible
    if len(hidden) > 1 or not hidden <= {"bernoulli", "relu"} or below not in ("bernoulli", "gaussian"):
        raise ArgumentError(
            "Autoencoder.from_dbn: expected Bernoulli or Gaussian inputs and hidden layers of Bernoulli or of relu "
            f"units, got {[(u.visible, u.hidden) for u in units]}"
        )
    return {"activation": "sigmoid" if hidden == {"bernoulli"} else "relu",
            "output": "sigmoid" if below == "bernoulli" else "linear"}  # fmt: skip


__all__ = ["WholeLoss", "activations", "layerwise", "line_searches", "unrolled"]
