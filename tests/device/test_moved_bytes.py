"""Bytes of global memory that operations move for each element, counted by the access hooks, against what they state.

docs/cuda.md has the table. Needs the emulated device built with hooks: python tools/build_emulated.py --check hooks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn, ops, optim
from deepcore.ops.rnn import CELLS as RECURRENT
from deepcore.ops.rnn import recurrent
from tests.device.emulated import device_module, hooked, labels, tensor
from tests.device.test_recurrent_on_device import on_device
from tests.ops.test_rnn import around

pytestmark = hooked

MOST = 1.05  # times the stated bytes
SECTOR = 32
ROWS, COLUMNS = 256, 256


@dataclass(frozen=True)
class Bytes:
    """What a piece of work moved: all that warps asked for, and each sector once a launch."""

    launches: int
    asked: int
    once: int


@dataclass(frozen=True)
class Case:
    """`prepare` returns the work to be counted; `stated` are bytes for each of `elements` elements of float32.

    `rest`: bytes that belong to rows or channels. `launches`: where their number is stated as well.
    """

    stated: float
    elements: int
    prepare: Callable[[], Callable[[], Any]]
    rest: int = 0
    launches: int | None = None

    def at_most(self, stated: float) -> float:
        return MOST * stated * self.elements + self.rest


def moved(prepare: Callable[[], Callable[[], Any]]) -> Bytes:
    work = prepare()
    dc.cuda.synchronize()
    device_module().count_traffic(True)
    try:
        device_module().take_moved_bytes()
        kept = work()  # until the device is done
        dc.cuda.synchronize()
        launches, read, written, read_once, written_once = device_module().take_moved_bytes()
        del kept
    finally:
        device_module().count_traffic(False)
        device_module().take_traffic()
    return Bytes(launches, read + written, read_once + written_once)


Shape = tuple[int, ...]


def forward(stated: float, f: Callable[..., dc.Tensor], *shapes: Shape, rest: int = 0, training: bool = False) -> Case:
    """f of tensors; elements are those of the first one. training: what the gradient needs is kept."""

    def prepare() -> Callable[[], Any]:
        x = [tensor(*s, seed=i).requires_grad_(training) for i, s in enumerate(shapes)]
        return lambda: f(*x)

    return Case(stated, int(np.prod(shapes[0])), prepare, rest)


def backward(stated: float, f: Callable[..., dc.Tensor], *shapes: Shape, rest: int = 0) -> Case:
    """The gradients of f for all its tensors."""

    def prepare() -> Callable[[], Any]:
        x = [tensor(*s, seed=i).requires_grad_() for i, s in enumerate(shapes)]
        y = f(*x)
        g = tensor(*y.shape, seed=9)
        return lambda: dc.grad(y, x, g)

    return Case(stated, int(np.prod(shapes[0])), prepare, rest)


def step(stated: float, make: Callable[[list[nn.Parameter]], optim.Optimizer], launches: int = 1) -> Case:
    """The second step of an optimizer over two parameters: the first one makes its state."""
    sizes = (40960, 24576)

    def prepare() -> Callable[[], Any]:
        parameters = [nn.Parameter(tensor(n)) for n in sizes]
        for i, p in enumerate(parameters):
            p.grad = tensor(p.size, seed=i)
        optimizer = make(parameters)
        optimizer.step()
        return optimizer.step

    return Case(stated, sum(sizes), prepare, launches=launches)


def cross_entropy(x: dc.Tensor) -> dc.Tensor:
    return ops.softmax_cross_entropy(x, labels(x.shape[0], x.shape[1]))


def cross_entropy_step() -> Callable[[], Any]:
    x, y = tensor(ROWS, COLUMNS).requires_grad_(), labels(ROWS, COLUMNS)
    return lambda: dc.grad(ops.softmax_cross_entropy(x, y), [x])


def batch_norm(x: dc.Tensor, gamma: dc.Tensor, beta: dc.Tensor) -> dc.Tensor:
    return ops.batch_norm(x, gamma, beta, activation="relu")


def group_norm(x: dc.Tensor, gamma: dc.Tensor, beta: dc.Tensor) -> dc.Tensor:
    return ops.group_norm(x, 4, gamma, beta)


def scale_shift(x: dc.Tensor, gamma: dc.Tensor, beta: dc.Tensor) -> dc.Tensor:
    mean, variance = tensor(x.shape[-1], seed=3), ops.square(tensor(x.shape[-1], seed=4))
    return ops.batch_norm(x, gamma, beta, running_mean=mean, running_var=variance, training=False, activation="relu")


def selection() -> Callable[[], Any]:
    mask, a, b = tensor(ROWS, COLUMNS) > 0, tensor(ROWS, COLUMNS, seed=1), tensor(ROWS, COLUMNS, seed=2)
    return lambda: ops.where(mask, a, b)


def dropout(x: dc.Tensor) -> dc.Tensor:
    return ops.dropout(x, 0.5, (1, 2, 0))


def max_pool(x: dc.Tensor) -> dc.Tensor:
    return ops.max_pool2d(x, 2)


def mean_pool(x: dc.Tensor) -> dc.Tensor:
    return ops.avg_pool2d(x, 2)


def overlapping(x: dc.Tensor) -> dc.Tensor:
    return ops.max_pool2d(x, 3, stride=2, padding=1)


X = (ROWS, COLUMNS)
ROW = (COLUMNS,)
LONG, LONG_ROW = (32, 2048), (2048,)
SMALL, SMALL_ROW = (8, 8, 8, 128), (128,)  # a channel in one block
LARGE, LARGE_ROW = (16, 32, 32, 8), (8,)  # in several
IMAGES = (4, 16, 16, 64)

CASES = {
    "ReLU": forward(8, ops.relu, X),
    "ReLU, gradient": backward(12, ops.relu, X),
    "exp": forward(8, ops.exp, X),
    "sum of two": forward(12, ops.add, X, X),
    "GELU, gradient": backward(12, ops.gelu, X),
    "comparison": forward(9, ops.less, X, X),
    "selection": Case(13, ROWS * COLUMNS, selection),
    "cast": forward(12, lambda x: ops.astype(x, "float64"), X),
    "bias": forward(8, ops.add, X, ROW),
    "bias, gradient": backward(4, ops.add, X, ROW),
    # Seven launches over the channels, of at most three arrays each, make the scale and the shift.
    "scale, shift, ReLU": forward(8, scale_shift, X, ROW, ROW, rest=7 * 12 * COLUMNS),
    "copy": forward(4, lambda x: ops.contiguous(x[::2]), (2 * ROWS, COLUMNS)),
    "transpose": forward(8, lambda x: ops.contiguous(ops.transpose(x, (1, 0))), X),
    "sum of rows": forward(4, lambda x: ops.sum(x, 1), X),
    "sum of columns": forward(4, lambda x: ops.sum(x, 0), X),
    "sum of all": forward(4, ops.sum, X),
    "greatest of rows": forward(4, lambda x: ops.max(x, 1), X),
    "place of the greatest of rows": forward(4, lambda x: ops.argmax(x, 1), X),
    "running sums of rows": forward(8, lambda x: ops.cumsum(x, 1), X),
    "running sums of columns": forward(8, lambda x: ops.cumsum(x, 0), X),
    "softmax": forward(8, ops.softmax, X),
    "softmax, gradient": backward(12, ops.softmax, X),
    "long softmax": forward(8, ops.softmax, (4, 8192)),
    "longer softmax": forward(8, ops.softmax, (4, 20000)),
    # A row's label, logit, loss and log-sum-exp; its label in the check, its loss in the mean.
    "cross-entropy": forward(4, cross_entropy, X, rest=5 * SECTOR * ROWS),
    "cross-entropy, gradient": backward(8, cross_entropy, X),
    "cross-entropy and gradient": Case(8, ROWS * COLUMNS, cross_entropy_step),
    "batch norm": forward(12, batch_norm, SMALL, SMALL_ROW, SMALL_ROW),
    "batch norm, gradient": backward(20, batch_norm, SMALL, SMALL_ROW, SMALL_ROW),
    "large batch norm": forward(12, batch_norm, LARGE, LARGE_ROW, LARGE_ROW),
    "large batch norm, gradient": backward(20, batch_norm, LARGE, LARGE_ROW, LARGE_ROW),
    "group norm": forward(12, group_norm, LARGE, LARGE_ROW, LARGE_ROW),
    "group norm, gradient": backward(20, group_norm, LARGE, LARGE_ROW, LARGE_ROW),
    "layer norm": forward(8, ops.layer_norm, X, ROW, ROW),
    "layer norm, gradient": backward(12, ops.layer_norm, X, ROW, ROW),
    "long layer norm": forward(8, ops.layer_norm, LONG, LONG_ROW, LONG_ROW),
    "long layer norm, gradient": backward(12, ops.layer_norm, LONG, LONG_ROW, LONG_ROW),
    # For each element of the image a quarter of an output, and of the byte that says where the maximum was.
    "max pool": forward(5, max_pool, IMAGES),
    "max pool in training": forward(5.25, max_pool, IMAGES, training=True),
    "max pool, gradient": backward(5.25, max_pool, IMAGES),
    "mean pool": forward(5, mean_pool, IMAGES),
    "mean pool, gradient": backward(5, mean_pool, IMAGES),
    "overlapping max pool": forward(5.25, overlapping, IMAGES, training=True),
    "overlapping max pool, gradient": backward(5.25, overlapping, IMAGES),
    "dropout": forward(8, dropout, X),
    "dropout, gradient": backward(8, dropout, X),
    "uniform": Case(4, 65536, lambda: lambda: dc.random.uniform(65536, seed=1, device="cuda")),
    "normal": Case(4, 65536, lambda: lambda: dc.random.normal(65536, seed=1, device="cuda")),
    "Bernoulli": Case(4, 65536, lambda: lambda: dc.random.bernoulli(0.3, 65536, seed=1, device="cuda")),
    "Bernoulli of probabilities": forward(8, lambda p: dc.random.bernoulli(p, seed=1), X),
    "SGD": step(12, lambda p: optim.SGD(p, 0.1)),
    "SGD with momentum": step(20, lambda p: optim.SGD(p, 0.1, momentum=0.9)),
    "Adam": step(28, lambda p: optim.Adam(p, 0.1)),
    "Adam with weight decay": step(28, lambda p: optim.AdamW(p, 0.1)),
    "Adam with a norm's limit": step(32, lambda p: optim.Adam(p, 0.1, clip_norm=1.0), launches=3),
    "RMSprop": step(20, lambda p: optim.RMSprop(p, 0.1)),
    "Adadelta": step(28, lambda p: optim.Adadelta(p, 0.1)),
    "Adagrad": step(20, lambda p: optim.Adagrad(p, 0.1)),
    "Lion": step(20, lambda p: optim.Lion(p, 0.1)),
}

FACTORS = "every row asks for gamma and beta again: the first cache has them"
CHANNELS = "every thread asks for what belongs to its channels, for four rows in so small an array"
WINDOWS = "windows share elements: the first cache has them"
# What may be (asked for, moved where caches keep everything) instead, in bytes per element, and the reason.
EXCEPTIONS = {
    "bias": (12, 8, "every row asks for the bias again: the first cache has it"),
    "running sums of columns": (12, 8, "threads that share a column need the sums of those above before they write"),
    "longer softmax": (10.5, 8, "what a block cannot hold in registers is read twice"),
    "cross-entropy, gradient": (8.75, 8, "every warp asks for its row's label and log-sum-exp and for the factor"),
    "cross-entropy and gradient": (13.4, 12, "the factor of the gradient is not known yet when the loss is computed"),
    "group norm": (12.3, 12, CHANNELS),
    "group norm, gradient": (20.9, 20, CHANNELS),
    "layer norm": (16, 8, FACTORS),
    "layer norm, gradient": (20, 12, FACTORS),
    "long layer norm": (16, 8, FACTORS),
    "long layer norm, gradient": (22, 14, FACTORS + "; a block leaves two rows of sums for eight rows of x"),
    "overlapping max pool": (9.5, 5.25, WINDOWS),
    "overlapping max pool, gradient": (11.5, 5.25, WINDOWS),
}


@pytest.mark.parametrize("name", CASES)
def test_bytes_per_element(name: str) -> None:
    case = CASES[name]
    asked, once, reason = EXCEPTIONS.get(name, (case.stated, case.stated, ""))
    n = case.elements
    is_moved = moved(case.prepare)
    text = f"asked for {is_moved.asked / n:.3f}, {is_moved.once / n:.3f} once, stated {case.stated}: {reason}"
    assert is_moved.asked >= 0.99 * case.stated * n, f"states more than there is: {text}"
    assert is_moved.asked <= case.at_most(asked), text
    assert is_moved.once <= case.at_most(once), text
    assert not reason or is_moved.asked > case.at_most(case.stated), f"no exception any more: {text}"
    if case.launches is not None:
        assert is_moved.launches == case.launches


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_bias_and_activation_of_a_product_cost_no_pass(activation: str) -> None:
    x, w, bias = tensor(128, 64), tensor(128, 64), tensor(128)
    plain = moved(lambda: lambda: ops.linear(x, w))
    whole = moved(lambda: lambda: ops.linear(x, w, bias, activation))
    assert whole.launches == plain.launches
    assert plain.once < whole.once <= plain.once + 4 * bias.size


# Numbers of a step for each sequence and unit, besides u: in inference, in training, of the gradient.
NUMBERS = {
    "tanh": (4, 4, 6), "relu": (4, 4, 6), "lstm": (12, 16, 19), "coupled": (10, 13, 16), "gru": (8, 12, 15),
    "gru_before": (14, 15, 16), "mgu": (11, 12, 16), "refined": (12, 16, 19),
}  # fmt: skip


@pytest.mark.parametrize("pass_", ["inference", "training", "gradient"])
@pytest.mark.parametrize("cell", RECURRENT)
def test_a_step_of_a_recurrent_layer(cell: str, pass_: str) -> None:
    batch, hidden, inputs = 32, 64, 4
    gates, two = len(RECURRENT[cell].gates), cell in ("gru_before", "mgu")

    def prepare(steps: int) -> Callable[[], Any]:
        t = {"x": tensor(steps, batch, inputs), "w": tensor(gates * hidden, inputs),
             "u": tensor(gates * hidden, hidden), "h0": tensor(batch, hidden)}  # fmt: skip
        if pass_ == "inference":
            return lambda: recurrent(**t, cell=cell)
        t = {name: a.detach().requires_grad_() for name, a in t.items()}
        if pass_ == "training":
            return lambda: recurrent(**t, cell=cell)
        y = recurrent(**t, cell=cell)[0]
        g = tensor(*y.shape)
        return lambda: dc.grad([y], [t["h0"]], [g])

    few, many = (moved(lambda n=n: prepare(n)) for n in (1, 2))
    assert many.launches - few.launches == (2 if two else 1)
    asked, once = ((b - a) / (4 * batch * hidden) for a, b in ((few.asked, many.asked), (few.once, many.once)))
    # Each block asks for its gates' weights, and for the rows of its product, again: the second cache has them.
    first = gates - two
    tiles = hidden / 32 * gates if pass_ == "gradient" else hidden / (8 * (4 // first)) + two * hidden / 32
    numbers = NUMBERS[cell][("inference", "training", "gradient").index(pass_)]
    u = gates * hidden / batch
    assert numbers + u <= once <= MOST * (numbers + u)
    assert once < asked <= MOST * (numbers + tiles + batch / 8 * u)


@pytest.mark.parametrize(("projection", "norm"), [(0, False), (32, False), (0, True), (32, True)])
def test_launches_of_what_stands_around_a_cell(projection: int, norm: bool) -> None:
    # One product and its cells, the cells of whole rows, a projection.
    def prepare(steps: int, gradient: bool) -> Callable[[], Any]:
        given = on_device(around("lstm", steps, 32, 4, 64, projection, norm))
        if not gradient:
            return lambda: recurrent(**given)
        given["h0"] = given["h0"].detach().requires_grad_()
        y = recurrent(**given)[0]
        g = tensor(*y.shape)
        return lambda: dc.grad([y], [given["h0"]], [g])

    for gradient in (False, True):
        few, many = (moved(lambda n=n, gradient=gradient: prepare(n, gradient)) for n in (1, 2))
        assert many.launches - few.launches == 1 + norm + (projection > 0)
