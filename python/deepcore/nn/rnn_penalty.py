"""A penalty against gradients that vanish or explode on their way back through a recurrent layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deepcore import ops
from deepcore.autograd import enable_grad, grad
from deepcore.errors import ArgumentError
from deepcore.nn.rnn import Recurrent, RecurrentState
from deepcore.tensor import Tensor, tensor

SMALLEST = 1e-12  # squared norms of gradients below it count as none

LossOf = Callable[[Tensor, RecurrentState], Tensor]


def vanishing_penalty(layer: Recurrent, x: Tensor, loss_of: LossOf) -> tuple[Tensor, Tensor]:
    """The loss of a plain recurrent layer and how much its gradient changes in size from step to step.

    With the loss L, states h_t and d_t = dL/dh_t the penalty is the mean over steps and sequences of
    (|d_(t+1) dh_(t+1)/dh_t| / |d_(t+1)| - 1)^2 (Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent
    neural networks", 2013, equation 9). As there, it is differentiated with respect to the recurrent weights alone,
    with h and d held fixed. Add a multiple of it to the loss: `optimizer.backward(loss + 2.0 * penalty)`.

    Args:
        layer: one layer of 'tanh' or 'relu' cells in one direction (`SimpleRNN`).
        x: (n, steps, inputs), or as the layer's time_major says.
        loss_of: from (y, state), as the layer gives them, to the loss.

    Returns:
        (loss, penalty), of shape () each; the penalty is 0 where no gradient reaches a step.

    Raises:
        ArgumentError: the layer has gates, several layers or two directions.
    """
    if layer.cell not in ("tanh", "relu") or layer.layers > 1 or layer.directions > 1:
        raise ArgumentError(
            f"vanishing_penalty: expected one layer of 'tanh' or 'relu' cells in one direction, got {layer!r}"
        )
    part = layer.layer0
    u, hidden = part.recurrent_weight, layer.hidden
    with enable_grad():
        sums = ops.linear(x if layer.time_major else ops.swap_axes(x, 0, 1), part.weight, part.bias)
        same = tensor(np.eye(hidden, dtype=sums.dtype)).to(sums.device)
        y, last = ops.recurrent(sums, same, u, cell=layer.cell)
        loss = loss_of(y if layer.time_major else ops.swap_axes(y, 0, 1), RecurrentState(ops.expand_dims(last, 0)))
        dz, dy, dlast = (
            None if g is None else g.detach() for g in grad([loss], [sums, y, last], allow_unused=True)
        )  # fmt: skip
        if dz is None:
            raise ArgumentError("vanishing_penalty: expected a loss of the layer's outputs, got one of none of them")
        back = ops.matmul(dz, u)  # d_t dh_t/dh_(t-1)
        # d_t: what the loss sees of h_t itself, and what comes back from the step after.
        d = ops.pad(back.detach()[1:], [(0, 1), (0, 0), (0, 0)])
        d = d if dy is None else d + dy
        if dlast is not None:
            d = d + ops.pad(ops.expand_dims(dlast, 0), [(y.shape[0] - 1, 0), (0, 0), (0, 0)])
        after = ops.sum(d * d, -1)
        before = ops.sum(ops.square(back), -1)
        there = ops.greater(after, SMALLEST)
        ratio = ops.sqrt(ops.where(there, before / ops.where(there, after, 1.0), 1.0) + SMALLEST)
        return loss, ops.mean(ops.square(ratio - 1.0))
