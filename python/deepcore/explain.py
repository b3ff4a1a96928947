"""Looking inside nets: what layers see, which pixels a decision rests on, how far back in time gradients reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deepcore import nn, ops
from deepcore.autograd import grad, no_grad
from deepcore.errors import ArgumentError, ShapeError
from deepcore.nn.rnn_direction import Draws
from deepcore.ops.rnn import CELLS, recurrent_gates
from deepcore.tensor import Tensor, tensor

if TYPE_CHECKING:
    from deepcore.models.text import DocumentNet

Array = npt.NDArray[Any]


def _batch(images: Any, device: str = "cpu") -> Tensor:
    x = tensor(np.asarray(images, dtype=np.float32), device=device)
    if x.ndim != 4:
        raise ShapeError(f"explain: expected images (n, h, w, c) as the net takes them, got {x.shape}")
    return x


def _targets(outputs: Tensor, classes: Sequence[int] | Array | None) -> Array:
    if classes is None:
        best: Array = outputs.numpy().argmax(1)
        return best
    chosen = np.asarray(classes, dtype=np.int64)
    if chosen.shape != (outputs.shape[0],) or (
        len(chosen) and not 0 <= chosen.min() <= chosen.max() < outputs.shape[1]
    ):
        raise ArgumentError(f"explain: expected {outputs.shape[0]} classes in [0, {outputs.shape[1]}), got {chosen}")
    return chosen


def _chosen_sum(outputs: Tensor, classes: Array) -> Tensor:
    picked = np.zeros(outputs.shape, np.float32)
    picked[np.arange(len(classes)), classes] = 1
    return ops.sum(outputs * tensor(picked, device=outputs.device))


class _Eval:
    """Inference mode within a block, then back to what each module was in."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.modes = [(m, m.training) for _, m in self.model.named_modules()]
        self.model.eval()

    def __exit__(self, *error: object) -> None:
        for m, mode in self.modes:
            m.training = mode


def feature_maps(model: nn.Module, images: Any, layer: nn.Module) -> Array:
    """The output of `layer`, an (n, p, q, k) activation inside `model`, for images (n, h, w, c)."""
    found: list[Tensor] = []
    remove = layer.register_forward_hook(lambda m, args, y: found.append(y))
    try:
        with _Eval(model), no_grad():
            model(_batch(images, model.device))
    finally:
        remove()
    if not found:
        raise ArgumentError("feature_maps: the layer is not part of the net")
    return np.array(found[-1].numpy())


def last_convolution(model: nn.Module) -> nn.Module:
    """The last convolution of a net. ArgumentError when it has none."""
    layers = [m for _, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    if not layers:
        raise ArgumentError("explain: the net has no convolution")
    return layers[-1]


def grad_cam(model: nn.Module, images: Any, classes: Any = None, layer: nn.Module | None = None) -> Array:
    """Grad-CAM heat maps (n, p, q) >= 0 of `layer` (default: the last convolution) (Selvaraju et al., 2017).

    relu(sum_k a_k A_k), a_k the mean over the image of d score / d A_k. classes: of each image, default the predicted.
    """
    layer = last_convolution(model) if layer is None else layer
    found: list[Tensor] = []
    remove = layer.register_forward_hook(lambda m, args, y: found.append(y))
    try:
        with _Eval(model):
            x = _batch(images, model.device).requires_grad_()
            outputs = model(x)
    finally:
        remove()
    if not found:
        raise ArgumentError("grad_cam: the layer is not part of the net")
    activation = found[-1]
    if activation.ndim != 4:
        raise ShapeError(f"grad_cam: expected an activation (n, p, q, k), got {activation.shape}")
    g = grad(_chosen_sum(outputs, _targets(outputs, classes)), activation)
    with no_grad():
        weights = ops.mean(g, (1, 2), keepdims=True)
        return np.array(ops.relu(ops.sum(activation * weights, -1)).numpy())


def saliency(model: nn.Module, images: Any, classes: Any = None) -> Array:
    """|d score / d pixel|, largest over channels: (n, h, w) (Simonyan et al., 2014)."""
    with _Eval(model):
        x = _batch(images, model.device).requires_grad_()
        outputs = model(x)
        g = grad(_chosen_sum(outputs, _targets(outputs, classes)), x)
    result: Array = np.abs(g.numpy()).max(-1)
    return result


def occlusion(
    model: nn.Module, images: Any, classes: Any = None, *, size: int = 3, stride: int = 1, fill: float = 0.0
) -> Array:
    """Fall of the class probability when a size x size square is covered: (n, p, q) (Zeiler and Fergus, 2014)."""
    x = np.asarray(_batch(images).numpy())
    n, h, w, _ = x.shape
    if size < 1 or stride < 1 or size > min(h, w):
        raise ArgumentError(f"occlusion: expected 1 <= size <= {min(h, w)} and stride >= 1, got {size} and {stride}")
    with _Eval(model), no_grad():
        before = ops.softmax(model(tensor(x, device=model.device))).numpy()
        chosen = _targets(tensor(before), classes)
        rows, columns = range(0, h - size + 1, stride), range(0, w - size + 1, stride)
        heat = np.zeros((n, len(rows), len(columns)), np.float32)
        for i, r in enumerate(rows):
            for j, c in enumerate(columns):
                covered = x.copy()
                covered[:, r : r + size, c : c + size] = fill
                after = ops.softmax(model(tensor(covered, device=model.device))).numpy()
                heat[:, i, j] = (before - after)[np.arange(n), chosen]
    return heat


def gradient_flow(states: Sequence[Tensor], loss: Tensor) -> Array:
    """||d loss / d state|| of the state at each time step, (steps,): whether gradients vanish or explode.

    Through all later steps (Bengio et al., 1994; Pascanu et al., 2013). 0 for a state that the loss does not depend on.
    `deepcore.viz.gradient_flow` draws it.

    Args:
        states: one tensor per time step, of any shape, on the tape of the loss.
        loss: one element.

    Raises:
        ArgumentError: no state, or one that is not on a tape.
        GradientError: the loss is not on a tape.
    """
    states = list(states)
    if not states:
        raise ArgumentError("gradient_flow: expected at least one state, got none")
    for t, state in enumerate(states):
        if not state.requires_grad:
            raise ArgumentError(f"gradient_flow: expected states that require a gradient, got one without at step {t}")
    found = grad(loss, states, allow_unused=True)
    return np.array([0.0 if g is None else np.linalg.norm(g.numpy().astype(np.float64)) for g in found])


def gate_values(layer: nn.Recurrent, x: Tensor, state: nn.RecurrentState | None = None) -> list[dict[str, Array]]:
    """The gates of a recurrent layer while it reads x: for each layer and direction a dict of (steps, n, hidden).

    In 0..1, by name: i, f, o of LSTM (f, o where coupled), r, z of GRU, f of MGU. `deepcore.viz.gate_histograms`,
    `saturation` and `memory` draw them. ArgumentError for cells without gates.

    Args:
        layer: in inference; dropout does not act.
        x: (n, steps, inputs), or (steps, n, inputs) where it is time_major.
        state: where to start, 0 if None.
    """
    kind = CELLS[layer.cell]
    if not kind.sloped:
        raise ArgumentError(f"gate_values: expected a cell with gates, got {layer.cell!r}")
    found: list[dict[str, Array]] = []
    with no_grad():
        y = x if layer.time_major else ops.swap_axes(x, 0, 1)
        for row in layer._parts:
            sides: list[Tensor] = []
            for part in row:
                at = len(found)
                h0, c0 = (None, None) if state is None else (state.h[at], None if state.c is None else state.c[at])
                given = part.arguments(y, h0, c0, Draws(), (layer.zoneout[0], layer.zoneout[1]), gate=layer.gate,
                                       slope=layer._slopes[: len(kind.sloped)], reverse=len(sides) == 1)  # fmt: skip
                gates, result = recurrent_gates(**given)
                sides.append(result[0])
                found.append({name: gate.numpy() for name, gate in gates.items()})
            y = sides[0] if len(sides) == 1 else ops.concatenate(sides, -1)
    return found


def token_influence(
    model: DocumentNet, ids: Tensor, lengths: Tensor, classes: Sequence[int] | Array | None = None
) -> Array:
    """Influence of each token on the score of a class against the mean of the others, (n, t).

    sum_e (d score / d embedding_e) embedding_e (Denil et al., 2014). classes: of each document, default the predicted.
    ids (n, t) and lengths (n,) as the net takes them; 0 beyond a length.
    """
    with _Eval(model):
        embedded = model.encoder.embed(ids).detach().requires_grad_()
        outputs = model.classify(embedded, lengths)
        chosen, k = _targets(outputs, classes), outputs.shape[1]
        share = np.full(outputs.shape, -1.0 / max(k - 1, 1), np.float32)
        share[np.arange(len(chosen)), chosen] = 1.0
        g = grad(ops.sum(outputs * tensor(share, device=outputs.device)), embedded)
    result: Array = (g.numpy() * embedded.numpy()).sum(-1).T
    return np.ascontiguousarray(result)
