"""Memory traffic of kernels, counted by the access hooks: sectors of global memory and wavefronts of shared memory.

Needs the emulated device built with hooks: python tools/build_emulated.py --check hooks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import deepcore as dc
from deepcore import nn, ops, optim
from deepcore.ops import rnn
from tests.device.emulated import device_module, hooked, labels, tensor
from tests.device.test_recurrent_on_device import on_device
from tests.ops.test_rnn import around

pytestmark = hooked

MOST = 1.05  # times the ideal traffic


def with_gradient(f: Callable[..., dc.Tensor], *tensors: dc.Tensor) -> None:
    leaves = [t.detach().requires_grad_() for t in tensors]
    y = f(*leaves)
    dc.grad(y, leaves, dc.ones(y.shape, device="cuda"))


def recurrent(cell: str, hidden: int) -> None:
    """Results and gradients of a recurrent layer with everything the cell takes, on sequences of two lengths."""
    kind = rnn.CELLS[cell]
    width = len(kind.gates) * hidden
    leaves = {"x": tensor(3, 48, 64), "w": tensor(width, 64), "u": tensor(width, hidden), "h0": tensor(48, hidden)}
    if kind.has_c:
        leaves |= {"c0": tensor(48, hidden), "peephole": tensor(len(kind.peepholes), hidden)}
    leaves = {name: t.detach().requires_grad_() for name, t in leaves.items()}
    y = rnn.recurrent(**leaves, cell=cell, lengths=[2, 3] * 24)
    dc.grad(list(y), list(leaves.values()), [tensor(*r.shape) for r in y])


def recurrent_around(cell: str, projection: int, norm: bool) -> None:
    """The same with what stands around the cell."""
    given = on_device(around(cell, 3, 48, 64, 64, projection, norm))
    del given["bias"]
    leaves = {name: given[name].detach().requires_grad_() for name in ("x", "w", "u", "h0")}
    y = rnn.recurrent(**given | leaves, lengths=[2, 3] * 24)
    dc.grad(list(y), list(leaves.values()), [tensor(*r.shape) for r in y])


def adam_step(n: int) -> None:
    p = nn.Parameter(tensor(n))
    p.grad = tensor(n)
    optim.Adam([p], 0.1, clip_norm=1.0).step()


CASES: dict[str, Callable[[], Any]] = {
    "add": lambda: tensor(64, 256) + tensor(64, 256),
    "exp": lambda: ops.exp(tensor(16384)),
    "copy": lambda: ops.contiguous(tensor(64, 256)[:, :128]),
    "transpose": lambda: ops.contiguous(ops.transpose(tensor(128, 96), (1, 0))),
    "sum of rows": lambda: ops.sum(tensor(64, 256), 1),
    "sum of columns": lambda: ops.sum(tensor(256, 64), 0),
    "sum of wide columns": lambda: ops.sum(tensor(64, 512), 0),
    "sum of all": lambda: ops.sum(tensor(65536)),
    "matmul": lambda: ops.matmul(tensor(128, 64), tensor(64, 128)),
    "softmax": lambda: ops.softmax(tensor(64, 256)),
    "cross-entropy": lambda: with_gradient(lambda x: ops.softmax_cross_entropy(x, labels(64, 128)), tensor(64, 128)),
    "dropout": lambda: ops.dropout(tensor(8192), 0.5, (1, 2, 0)),
    "bernoulli": lambda: dc.random.bernoulli(ops.sigmoid(tensor(8192)), seed=1),
    "uniform": lambda: dc.random.uniform(8192, seed=1, device="cuda"),
    "max pool": lambda: with_gradient(lambda x: ops.max_pool2d(x, 2), tensor(2, 16, 16, 32)),
    "average pool": lambda: with_gradient(lambda x: ops.avg_pool2d(x, 2), tensor(2, 16, 16, 32)),
    "batch norm": lambda: with_gradient(
        lambda x: ops.batch_norm(x, dc.ones(32, device="cuda"), dc.zeros(32, device="cuda"), training=True),
        tensor(4, 8, 8, 32),
    ),
    "batch norm of many rows": lambda: with_gradient(
        lambda x: ops.batch_norm(x, dc.ones(16, device="cuda"), dc.zeros(16, device="cuda"), training=True),
        tensor(16, 32, 32, 16),
    ),
    "layer norm": lambda: with_gradient(
        lambda x: ops.layer_norm(x, dc.ones(256, device="cuda"), dc.zeros(256, device="cuda")), tensor(32, 256)
    ),
    "Adam": lambda: adam_step(32768),
    "long softmax": lambda: with_gradient(ops.softmax, tensor(4, 20000)),
    "long layer norm": lambda: with_gradient(
        lambda x: ops.layer_norm(x, dc.ones(6000, device="cuda"), dc.zeros(6000, device="cuda")), tensor(8, 6000)
    ),
    "conv": lambda: with_gradient(lambda x, w: ops.conv2d(x, w, padding=1), tensor(2, 8, 8, 32), tensor(32, 3, 3, 32)),
    "embedding": lambda: with_gradient(lambda w: ops.embedding(w, labels(64, 50)), tensor(50, 128)),
    "overlapping windows": lambda: with_gradient(lambda x: ops.max_pool2d(x, 3, stride=2), tensor(2, 17, 17, 32)),
    "argmax of rows": lambda: ops.argmax(tensor(32, 512), 1),
    "argmax of columns": lambda: ops.argmax(tensor(64, 512), 0),
    "running sums of rows": lambda: ops.cumsum(tensor(8, 1024), 1),
    "running sums of columns": lambda: ops.cumsum(tensor(64, 256), 0),
    "one hot": lambda: ops.one_hot(labels(64, 64), 64),
    "gradient of resize": lambda: with_gradient(lambda x: ops.resize(x, (16, 16)), tensor(2, 8, 8, 32)),
    "mixup": lambda: ops.mixup(tensor(8, 1024), tensor(8), labels(8, 8)),
    "resize": lambda: ops.resize(tensor(2, 8, 8, 32), (16, 16)),
    "chains": lambda: ops.rbm_gibbs(
        tensor(128, 256), tensor(256), tensor(128), key=(1, 2, 3), steps=1, data=tensor(64, 256)
    ),
    **{f"recurrent layer, {cell}": lambda cell=cell: recurrent(cell, 64) for cell in rnn.CELLS},
    **{
        f"recurrent layer, {cell}, projection {p}, norm {n}": lambda around=(cell, p, n): recurrent_around(*around)
        for cell, p, n in (("gru_before", 0, False), ("gru", 0, True), ("lstm", 32, False), ("lstm", 32, True))
    },
    "statistics of chains": lambda: ops.rbm_statistics(*(tensor(64, n) for n in (256, 128, 256, 128))),
}

# (case, file, memory): reason why its traffic may exceed the ideal.
EXCEPTIONS: dict[tuple[str, str, str], str] = {}


@pytest.mark.parametrize("name", CASES)
def test_traffic(name: str) -> None:
    device_module().count_traffic(True)
    try:
        CASES[name]()
        dc.cuda.synchronize()
        lines = device_module().take_traffic()
    finally:
        device_module().count_traffic(False)
    assert lines, "nothing was counted"
    actual: dict[tuple[str, str], int] = defaultdict(int)
    ideal: dict[tuple[str, str], int] = defaultdict(int)
    where: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file, _, line, memory, written, _, line_actual, line_ideal in lines:
        key = (Path(file).name, memory)
        actual[key] += line_actual
        ideal[key] += line_ideal
        if line_actual > MOST * line_ideal:
            where[key].append(
                f"line {line} {'writes' if written else 'reads'} {line_actual / max(line_ideal, 1):.2f} times"
            )
    worse = {
        f"{key[0]}, {key[1]} memory: {n / ideal[key]:.2f}": where[key]
        for key, n in actual.items()
        if n > MOST * ideal[key] and (name, *key) not in EXCEPTIONS
    }
    assert not worse, f"more than {MOST} times the ideal traffic: {worse}"
