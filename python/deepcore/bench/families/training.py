"""Whole training steps: forward, loss, backward, SGD, with equal weights to start from.

MLP 784-1024-1024-10, batch 128; LeNet conv32-conv64-fc512-10 with 5x5 filters and max pooling, batch 64; autoencoder
784-512-128-32 and its mirror image with a linear code, cross-entropy of its pixels, batch 128. The losses of the first
three steps are compared with numpy's, so a library that computed less would be found out.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from deepcore.bench.case import Array, Built, Case, Target
from deepcore.bench.libraries import library, quickest
from deepcore.bench.references import conv2d, conv2d_grads, cross_entropy, max_pool2, max_pool2_grad

RATE = 0.01
MLP = (784, 1024, 1024, 10)
AUTOENCODER = (784, 512, 128, 32, 128, 512, 784)
AUTOENCODER_LINEAR = (2, 5)  # layers without ReLU: the code and the outputs
LENET = [(32, 5, 5, 1), (32,), (64, 5, 5, 32), (64,), (512, 3136), (512,), (10, 512), (10,)]
STEPS = 3


def _weights(rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """He initialisation; biases zero."""
    return [
        (rng.standard_normal(s) * (2 / np.prod(s[1:])) ** 0.5 if len(s) > 1 else np.zeros(s)).astype("f4")
        for s in shapes
    ]


def mlp_arrays(rng: np.random.Generator) -> list[Array]:
    """x (128, 784), labels, then weight and bias of each layer."""
    shapes: list[tuple[int, ...]] = []
    for inputs, outputs in itertools.pairwise(MLP):
        shapes += [(outputs, inputs), (outputs,)]
    return [rng.random((128, 784), np.float32), rng.integers(0, 10, 128), *_weights(rng, shapes)]


def lenet_arrays(rng: np.random.Generator) -> list[Array]:
    """x (64, 28, 28, 1), labels, then weight and bias of each layer."""
    return [rng.random((64, 28, 28, 1), np.float32), rng.integers(0, 10, 64), *_weights(rng, LENET)]


def autoencoder_arrays(rng: np.random.Generator) -> list[Array]:
    """x (128, 784), x once more as the target, then weight and bias of each layer."""
    x = rng.random((128, 784), np.float32)
    shapes: list[tuple[int, ...]] = []
    for inputs, outputs in itertools.pairwise(AUTOENCODER):
        shapes += [(outputs, inputs), (outputs,)]
    return [x, x, *_weights(rng, shapes)]


# ---- numpy ----
def _mlp_numpy(x: Any, labels: Any, weights: list[Any]) -> Any:
    outputs = [x]
    layers = len(weights) // 2
    for i in range(layers):
        z = outputs[-1] @ weights[2 * i].T + weights[2 * i + 1]
        outputs.append(np.maximum(z, 0) if i < layers - 1 else z)
    loss, g = cross_entropy(outputs[-1], labels)
    for i in reversed(range(layers)):
        w = weights[2 * i]
        if i < layers - 1:
            g = g * (outputs[i + 1] > 0)
        back = g @ w if i else None
        w -= RATE * (g.T @ outputs[i])
        weights[2 * i + 1] -= RATE * g.sum(0)
        g = back
    return loss


def _lenet_numpy(x: Any, labels: Any, weights: list[Any]) -> Any:
    w1, b1, w2, b2, w3, b3, w4, b4 = weights
    a1 = np.maximum(conv2d(x, w1, 1, 2) + b1, 0)
    p1 = max_pool2(a1)
    a2 = np.maximum(conv2d(p1, w2, 1, 2) + b2, 0)
    p2 = max_pool2(a2)
    flat = p2.reshape(len(x), -1)
    a3 = np.maximum(flat @ w3.T + b3, 0)
    loss, g4 = cross_entropy(a3 @ w4.T + b4, labels)
    g3 = (g4 @ w4) * (a3 > 0)
    gp2 = (g3 @ w3).reshape(p2.shape)
    # where a window is all zeros the whole window is blocked by the ReLU, so ties do not matter
    g2 = max_pool2_grad(a2, p2, gp2) * (a2 > 0)
    gp1, gw2 = conv2d_grads(p1, w2, g2, 1, 2)
    g1 = max_pool2_grad(a1, p1, gp1) * (a1 > 0)
    _, gw1 = conv2d_grads(x, w1, g1, 1, 2)
    gradients = (gw1, g1.sum((0, 1, 2)), gw2, g2.sum((0, 1, 2)), g3.T @ flat, g3.sum(0), g4.T @ a3, g4.sum(0))
    for w, g in zip(weights, gradients, strict=True):
        w -= RATE * g.astype(w.dtype)
    return loss


def _autoencoder_numpy(x: Any, target: Any, weights: list[Any]) -> Any:
    outputs = [x]
    layers = len(weights) // 2
    for i in range(layers):
        z = outputs[-1] @ weights[2 * i].T + weights[2 * i + 1]
        outputs.append(z if i in AUTOENCODER_LINEAR else np.maximum(z, 0))
    z = outputs[-1]
    loss = (np.maximum(z, 0) - z * target + np.log1p(np.exp(-np.abs(z)))).sum() / len(x)
    g = (1 / (1 + np.exp(-z)) - target) / len(x)
    for i in reversed(range(layers)):
        w = weights[2 * i]
        if i not in AUTOENCODER_LINEAR:
            g = g * (outputs[i + 1] > 0)
        back = g @ w if i else None
        w -= RATE * (g.T @ outputs[i])
        weights[2 * i + 1] -= RATE * g.sum(0)
        g = back
    return loss


def _reference(step: Any) -> Any:
    def reference(x: Any, labels: Any, *weights: Any) -> tuple[Any, ...]:
        own = [w.copy() for w in weights]
        return tuple(step(x, labels, own) for _ in range(STEPS))

    return reference


def _numpy(step: Any) -> Any:
    def build(arrays: Sequence[Array]) -> Built:
        x, labels, *weights = arrays
        own = [w.copy() for w in weights]
        return Built(lambda: step(x, labels, own), lambda loss: (loss,))

    return build


# ---- deepcore ----
def ours_net(kind: str, weights: Sequence[Array]) -> Any:
    """The net as a module of deepcore, with these weights."""
    from deepcore import nn

    if kind == "mlp":
        sizes = list(itertools.pairwise(MLP))
        net = nn.Sequential(
            *[nn.Linear(i, o, activation="relu" if n < len(sizes) - 1 else None) for n, (i, o) in enumerate(sizes)]
        )
    elif kind == "autoencoder":
        sizes = list(itertools.pairwise(AUTOENCODER))
        net = nn.Sequential(
            *[nn.Linear(i, o, activation=None if n in AUTOENCODER_LINEAR else "relu") for n, (i, o) in enumerate(sizes)]
        )
    else:
        net = nn.Sequential(
            nn.Conv2d(1, 32, 5, padding=2, activation="relu"), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2, activation="relu"), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(3136, 512, activation="relu"), nn.Linear(512, 10),
        )  # fmt: skip
    names = [name for name, _ in net.named_parameters()]
    net.load_state_dict(dict(zip(names, weights, strict=True)))
    return net


def ours_step(kind: str) -> Any:
    """Builder of a training step of deepcore."""

    def build(arrays: Sequence[Array]) -> Built:
        import deepcore as dc
        from deepcore import ops, optim

        x, labels, *weights = arrays
        net = ours_net(kind, weights)
        optimizer = optim.SGD(net.parameters(), RATE)
        data, target = dc.tensor(x), dc.tensor(labels)

        def step() -> Any:
            if kind == "autoencoder":
                loss = ops.bce_with_logits(net(data), target) * 784.0
            else:
                loss = ops.softmax_cross_entropy(net(data), target)
            optimizer.backward(loss)
            return loss

        return Built(step, lambda loss: (loss.numpy(),))

    return build


# ---- torch ----
def torch_net(kind: str, weights: Sequence[Array]) -> Any:
    """The net as a module of torch with these weights."""
    torch = library("torch")
    nn = torch.nn
    if kind == "mlp":
        layers: list[Any] = []
        for i, o in itertools.pairwise(MLP):
            layers += [nn.Linear(i, o), nn.ReLU()]
        net = nn.Sequential(*layers[:-1])
    elif kind == "autoencoder":
        layers = []
        for n, (i, o) in enumerate(itertools.pairwise(AUTOENCODER)):
            layers += [nn.Linear(i, o)] if n in AUTOENCODER_LINEAR else [nn.Linear(i, o), nn.ReLU()]
        net = nn.Sequential(*layers)
    else:
        net = nn.Sequential(
            nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 10),
        )  # fmt: skip
    with torch.no_grad():
        for p, w in zip(net.parameters(), weights, strict=True):
            if w.ndim == 4:
                w = w.transpose(0, 3, 1, 2)
            elif w.shape == (512, 3136):  # rows of NHWC pixels as rows of NCHW pixels
                w = w.reshape(512, 7, 7, 64).transpose(0, 3, 1, 2).reshape(512, 3136)
            p.copy_(torch.from_numpy(np.ascontiguousarray(w)))
    return net


def torch_step(kind: str, arrays: Sequence[Array], channels_last: bool) -> Built:
    """A training step of torch in one of its memory layouts."""
    torch = library("torch")
    x, labels, *weights = arrays
    net = torch_net(kind, weights)
    data, target = torch.from_numpy(x), torch.from_numpy(labels)
    if data.ndim == 4:
        layout = torch.channels_last if channels_last else torch.contiguous_format
        net = net.to(memory_format=layout)
        data = data.permute(0, 3, 1, 2).contiguous(memory_format=layout)
    optimizer = torch.optim.SGD(net.parameters(), RATE)

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        if kind == "autoencoder":
            loss = torch.nn.functional.binary_cross_entropy_with_logits(net(data), target) * 784
        else:
            loss = torch.nn.functional.cross_entropy(net(data), target)
        loss.backward()
        optimizer.step()
        return loss

    return Built(step, lambda loss: (loss.detach().numpy(),))


def _torch(kind: str) -> Any:
    layouts = (True, False) if kind == "lenet" else (True,)
    return lambda arrays: quickest(lambda last: torch_step(kind, arrays, last), layouts)


# ---- jax ----
def _jax_forward(kind: str, x: Any, w: Sequence[Any]) -> Any:
    jax = library("jax")
    relu, lax = jax.nn.relu, jax.lax

    def block(x: Any, w: Any, b: Any) -> Any:
        y = lax.conv_general_dilated(x, w, (1, 1), [(2, 2), (2, 2)], dimension_numbers=("NHWC", "OHWI", "NHWC"))
        return lax.reduce_window(relu(y + b), -float("inf"), lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    if kind == "autoencoder":
        for i in range(0, len(w), 2):
            x = x @ w[i].T + w[i + 1]
            x = x if i // 2 in AUTOENCODER_LINEAR else relu(x)
        return x
    if kind == "lenet":
        x = block(block(x, w[0], w[1]), w[2], w[3]).reshape(len(x), -1)
        w = w[4:]
    for i in range(0, len(w) - 2, 2):
        x = relu(x @ w[i].T + w[i + 1])
    return x @ w[-2].T + w[-1]


def _jax(kind: str) -> Any:
    def build(arrays: Sequence[Array]) -> Built:
        jax = library("jax")
        x, labels, *weights = (jax.device_put(a) for a in arrays)
        state = [list(weights)]

        def loss_of(weights: Any, x: Any, labels: Any) -> Any:
            if kind == "autoencoder":
                z = _jax_forward(kind, x, weights)
                return (jax.nn.softplus(z) - z * labels).sum() / len(x)
            logs = jax.nn.log_softmax(_jax_forward(kind, x, weights))
            return -jax.numpy.take_along_axis(logs, labels[:, None], -1).mean()

        def update(weights: Any, x: Any, labels: Any) -> Any:
            loss, gradients = jax.value_and_grad(loss_of)(weights, x, labels)
            return loss, [w - RATE * g for w, g in zip(weights, gradients, strict=True)]

        compiled = jax.jit(update, donate_argnums=0)

        def step() -> Any:
            loss, state[0] = compiled(state[0], x, labels)
            return jax.block_until_ready(loss)

        return Built(step, lambda loss: (np.asarray(loss),))

    return build


# ---- scikit-learn ----
def _sklearn(arrays: Sequence[Array]) -> Built:
    x, labels, *weights = arrays
    options = {"hidden_layer_sizes": MLP[1:-1], "solver": "sgd", "batch_size": len(x), "learning_rate_init": RATE,
               "momentum": 0.0, "nesterovs_momentum": False, "alpha": 0.0, "shuffle": False}  # fmt: skip
    net = library("sklearn.neural_network").MLPClassifier(**options)
    net.partial_fit(x, labels, classes=np.arange(10))
    for i in range(len(weights) // 2):
        net.coefs_[i][...] = weights[2 * i].T
        net.intercepts_[i][...] = weights[2 * i + 1]

    def step() -> Any:
        net.partial_fit(x, labels)
        return np.float64(net.loss_)

    return Built(step, lambda loss: (np.asarray(loss),))


def _case(kind: str, name: str, arrays: Any, step: Any, flops: float, target: float = 1.2) -> Case:
    builders = {"deepcore": ours_step(kind), "numpy": _numpy(step), "torch": _torch(kind), "jax": _jax(kind)}
    if kind == "mlp":
        builders["sklearn"] = _sklearn
    return Case(
        "training", name, arrays=arrays, reference=_reference(step), builders=builders, flops=flops, calls=STEPS,
        tolerance=1e-4, target=Target("peer", target),
    )  # fmt: skip


# The first layer needs no gradient for its input: two products there, three elsewhere.
_MLP_FLOPS = 2.0 * 128 * (2 * 784 * 1024 + 3 * 1024 * 1024 + 3 * 1024 * 10)
_LENET_FLOPS = 2.0 * 64 * (2 * 784 * 32 * 25 + 3 * 196 * 64 * 800 + 3 * 3136 * 512 + 3 * 512 * 10)
_AUTOENCODER_FLOPS = 2.0 * 128 * (3 * sum(i * o for i, o in itertools.pairwise(AUTOENCODER)) - 784 * 512)
CASES = [
    _case("mlp", "MLP 784-1024-1024-10 batch 128", mlp_arrays, _mlp_numpy, _MLP_FLOPS),
    _case("lenet", "LeNet batch 64", lenet_arrays, _lenet_numpy, _LENET_FLOPS),
    _case(
        "autoencoder",
        "autoencoder 784-512-128-32 batch 128",
        autoencoder_arrays,
        _autoencoder_numpy,
        _AUTOENCODER_FLOPS,
        1.3,
    ),
]
