"""Recurrent layers over whole sequences and single steps; a training step of a character model.

Shapes are (steps, batch, inputs, hidden). Gradients are those of inputs and all weights. Peers run their own layers:
torch and onnxruntime LSTM and GRU, jax a scan over steps with one product for all inputs before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deepcore import ops
from deepcore.bench.case import Array, Built, Case, Target
from deepcore.bench.libraries import in_jax, in_onnx, in_torch, library, ours, plain
from deepcore.bench.references import gru, gru_grads, lstm, lstm_grads
from deepcore.ops.rnn import PackedRecurrent

SHAPES = ((35, 20, 650, 650), (50, 64, 128, 256), (100, 1, 512, 512), (28, 128, 28, 128))
TARGETS = {("LSTM", False): 1.05, ("LSTM", True): 1.25, ("GRU", False): 1.4, ("GRU", True): 1.8}
RATE = 0.1
SYMBOLS, STREAMS, WINDOW, UNITS = 65, 32, 64, 256  # of the character model
STEPS = 3  # of its training that are compared


def _arrays(kind: str, shape: tuple[int, int, int, int], grads: bool) -> Any:
    steps, batch, inputs, hidden = shape
    gates = 4 if kind == "LSTM" else 3

    def arrays(rng: np.random.Generator) -> list[Array]:
        sizes: list[tuple[int, ...]] = [(gates * hidden, inputs), (gates * hidden, hidden), (gates * hidden,)]
        sizes += [(hidden,)] if kind == "GRU" else []
        made = [rng.standard_normal((steps, batch, inputs)), *[rng.standard_normal(s) / hidden**0.5 for s in sizes]]
        made += [rng.standard_normal((steps, batch, hidden))] if grads else []
        return [a.astype("f4") for a in made]

    return arrays


# ---- libraries ----
def _ours(kind: str) -> Any:
    packed = PackedRecurrent()  # as layers keep it in inference; onnxruntime packs its constants, too

    def lstm_(x: Any, w: Any, u: Any, b: Any) -> Any:
        return ops.recurrent(x, w, u, b, cell="lstm", packed=packed)[0]

    def gru_(x: Any, w: Any, u: Any, b: Any, bh: Any) -> Any:
        return ops.recurrent(x, w, u, b, cell="gru", bias_h=bh, packed=packed)[0]

    return lstm_ if kind == "LSTM" else gru_


def _torch(kind: str) -> Any:
    def lstm_(x: Any, w: Any, u: Any, b: Any) -> Any:
        torch = library("torch")
        zero = torch.zeros(1, x.shape[1], u.shape[1])
        return torch.lstm(x, (zero, zero), [w, u, b, torch.zeros_like(b)], True, 1, 0.0, True, False, False)[0]

    def gru_(x: Any, w: Any, u: Any, b: Any, bh: Any) -> Any:
        torch = library("torch")
        zero = torch.zeros(1, x.shape[1], u.shape[1])
        inner = torch.cat([torch.zeros(2 * len(bh)), bh])
        return torch.gru(x, zero, [w, u, b, inner], True, 1, 0.0, True, False, False)[0]

    return lstm_ if kind == "LSTM" else gru_


def _jax(kind: str) -> Any:
    def scan(step: Any, start: Any, z: Any) -> Any:
        return library("jax").lax.scan(step, start, z)[1]

    def lstm_(x: Any, w: Any, u: Any, b: Any) -> Any:
        jax = library("jax")
        sigmoid, tanh = jax.nn.sigmoid, jax.numpy.tanh

        def step(state: Any, z: Any) -> Any:
            h, c = state
            i, f, g, o = jax.numpy.split(z + h @ u.T, 4, 1)
            c = sigmoid(f) * c + sigmoid(i) * tanh(g)
            h = sigmoid(o) * tanh(c)
            return (h, c), h

        zero = jax.numpy.zeros((x.shape[1], u.shape[1]))
        return scan(step, (zero, zero), x @ w.T + b)

    def gru_(x: Any, w: Any, u: Any, b: Any, bh: Any) -> Any:
        jax = library("jax")

        def step(h: Any, z: Any) -> Any:
            (zr, zz, zn), (ur, uz, un) = jax.numpy.split(z, 3, 1), jax.numpy.split(h @ u.T, 3, 1)
            r, update = jax.nn.sigmoid(zr + ur), jax.nn.sigmoid(zz + uz)
            n = jax.numpy.tanh(zn + r * (un + bh))
            h = (1 - update) * n + update * h
            return h, h

        return scan(step, jax.numpy.zeros((x.shape[1], u.shape[1])), x @ w.T + b)

    return lstm_ if kind == "LSTM" else gru_


def _onnx(kind: str, layers: int = 1) -> Any:
    """ONNX orders gates i, o, f, c and z, r, h; weights are constants of the model."""

    def reorder(a: Array) -> Array:
        parts = np.split(a, 4 if kind == "LSTM" else 3)
        return np.concatenate([parts[i] for i in ((0, 3, 1, 2) if kind == "LSTM" else (1, 0, 2))])

    def build(arrays: Sequence[Array]) -> Built:
        x, rest = arrays[0], list(arrays[1:])
        given = [x]
        for i in range(layers):
            w, u, b, *bh = rest[(4 if kind == "GRU" else 3) * i :][: 4 if kind == "GRU" else 3]
            inner = np.zeros_like(b)
            if bh:
                inner[2 * len(bh[0]) :] = bh[0]
            given += [reorder(w)[None], reorder(u)[None], np.concatenate([reorder(b), reorder(inner)])[None]]

        def nodes(helper: Any, names: list[str]) -> list[Any]:
            made, at = [], names[0]
            for i in range(layers):
                options = {"hidden_size": given[2 + 3 * i].shape[2]}
                if kind == "GRU":
                    options["linear_before_reset"] = 1
                made.append(helper.make_node(kind, [at, *names[1 + 3 * i : 4 + 3 * i]], [f"out{i}"], **options))
                at = "y" if i + 1 == layers else f"y{i}"
                made.append(helper.make_node("Squeeze", [f"out{i}", "axis"], [at]))
            axis = helper.make_tensor("value", library("onnx").TensorProto.INT64, [1], [1])
            return [helper.make_node("Constant", [], ["axis"], value=axis), *made]

        return in_onnx(nodes, range(1, len(given)))(given)

    return build


def _case(kind: str, shape: tuple[int, int, int, int], grads: bool) -> Case:
    steps, batch, inputs, hidden = shape
    weights = 4 if kind == "LSTM" else 5
    forward, both = (lstm, lstm_grads) if kind == "LSTM" else (gru, gru_grads)
    reference: Any = both if grads else (lambda *operands: (forward(*operands)[0],))
    wanted = tuple(range(weights)) if grads else ()
    builders = {"deepcore": ours(_ours(kind), wanted, grads), "numpy": plain(reference),
                "torch": in_torch(_torch(kind), wanted, grads), "jax": in_jax(_jax(kind), wanted, grads)}  # fmt: skip
    if not grads:
        builders["onnxruntime"] = _onnx(kind)
    gates = 4 if kind == "LSTM" else 3
    return Case(
        "rnn", f"{kind} {'x'.join(map(str, shape))} fwd{'+bwd' if grads else ''}", arrays=_arrays(kind, shape, grads),
        reference=reference, builders=builders, flops=2.0 * steps * batch * gates * hidden * (inputs + hidden)
        * (3 if grads else 1), tolerance=2e-4, target=Target("peer", TARGETS[kind, grads]),
    )  # fmt: skip


# ---- one step of two layers, as in generating text ----
def _two_layers(rng: np.random.Generator) -> list[Array]:
    made = [rng.standard_normal((1, 1, UNITS)).astype("f4")]
    for _ in range(2):
        made += _arrays("LSTM", (1, 1, UNITS, UNITS), False)(rng)[1:]
    return made


def _two_layers_reference(x: Any, *weights: Any) -> tuple[Any, ...]:
    for i in range(2):
        x, _ = lstm(x, *weights[3 * i : 3 * i + 3])
    return (x,)


def _filled(weights: Sequence[Array], inputs: int, **options: Any) -> Any:
    from deepcore import nn

    net = nn.LSTM(inputs, UNITS, layers=2, gate_init=0.0, **options)
    state = net.state_dict()
    for i in range(2):
        for name, value in zip(("weight", "recurrent_weight", "bias"), weights[3 * i : 3 * i + 3], strict=True):
            state[f"layer{i}.{name}"] = value
    net.load_state_dict(state)
    return net


def _ours_step(arrays: Sequence[Array]) -> Built:
    import deepcore as dc

    net = _filled(arrays[1:], UNITS).eval()
    x = dc.tensor(arrays[0][0])

    def step() -> Any:
        with dc.no_grad():
            return net.step(x)[0]

    return Built(step, lambda y: (y.numpy()[None],))


def _torch_step(arrays: Sequence[Array]) -> Built:
    torch = library("torch")
    net = torch.nn.LSTM(UNITS, UNITS, 2).eval()
    with torch.no_grad():
        for i in range(2):
            w, u, b = arrays[1 + 3 * i : 4 + 3 * i]
            for name, value in (("weight_ih", w), ("weight_hh", u), ("bias_ih", b), ("bias_hh", 0 * b)):
                getattr(net, f"{name}_l{i}").copy_(torch.from_numpy(value))
    x = torch.from_numpy(arrays[0])

    def step() -> Any:
        with torch.inference_mode():
            return net(x)[0]

    return Built(step, lambda y: (y.numpy(),))


# ---- a character model: embedding, two LSTMs, softmax; a window of truncated back propagation ----
def char_arrays(rng: np.random.Generator) -> list[Array]:
    """Tokens (streams, window + 1), embedding, then w, u and bias of two layers, weight and bias of the outputs."""
    scale = UNITS**-0.5
    made = [rng.integers(0, SYMBOLS, (STREAMS, WINDOW + 1)), rng.standard_normal((SYMBOLS, UNITS)) * scale]
    for _ in range(2):
        made += [a * scale for a in (rng.standard_normal((4 * UNITS, UNITS)), rng.standard_normal((4 * UNITS, UNITS)))]
        made += [np.zeros(4 * UNITS)]
    made += [rng.standard_normal((SYMBOLS, UNITS)) * scale, np.zeros(SYMBOLS)]
    return [made[0], *[a.astype("f4") for a in made[1:]]]


def _char_numpy_step(tokens: Any, own: list[Any]) -> Any:
    table, *layers, w_out, b_out = own
    inputs, targets = tokens[:, :-1].T, tokens[:, 1:].T
    x = [table[inputs]]
    for i in range(2):
        x.append(lstm(x[-1], *layers[3 * i : 3 * i + 3])[0])
    z = x[-1] @ w_out.T + b_out
    e = np.exp(z - z.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)
    at = (*np.indices(targets.shape), targets)
    loss = -np.log(p[at]).mean()
    p[at] -= 1
    g = p / targets.size
    gradients: list[Any] = [np.einsum("tbk,tbh->kh", g, x[-1]), g.sum((0, 1))]
    g = g @ w_out
    for i in (1, 0):
        w, u, b = layers[3 * i : 3 * i + 3]
        _, g, *more = lstm_grads(x[i], w, u, b, g)
        gradients = [*more, *gradients]
    embedded = np.zeros_like(table)
    np.add.at(embedded, inputs, g)
    for w, d in zip(own, [embedded, *gradients], strict=True):
        w -= (RATE * d).astype(w.dtype)
    return loss


def _char_reference(tokens: Any, *weights: Any) -> tuple[Any, ...]:
    own = [w.copy() for w in weights]
    return tuple(_char_numpy_step(tokens, own) for _ in range(STEPS))


def _char_numpy(arrays: Sequence[Array]) -> Built:
    tokens, *weights = arrays
    own = [w.copy() for w in weights]
    return Built(lambda: _char_numpy_step(tokens, own), lambda loss: (loss,))


def ours_char(arrays: Sequence[Array]) -> Built:
    """A training step of deepcore."""
    import deepcore as dc
    from deepcore import nn, optim

    tokens, table, *layers, w_out, b_out = arrays
    net = nn.Sequential(nn.Embedding(SYMBOLS, UNITS), _filled(layers, UNITS, output="sequence", time_major=True),
                        nn.Linear(UNITS, SYMBOLS))  # fmt: skip
    net.load_state_dict({**net.state_dict(), "0.weight": table, "2.weight": w_out, "2.bias": b_out})
    optimizer = optim.SGD(net.parameters(), RATE)
    inputs, targets = dc.tensor(tokens[:, :-1].T.copy()), dc.tensor(tokens[:, 1:].T.reshape(-1).copy())

    def step() -> Any:
        loss = ops.softmax_cross_entropy(ops.reshape(net(inputs), -1, SYMBOLS), targets)
        optimizer.backward(loss)
        return loss

    return Built(step, lambda loss: (loss.numpy(),))


def torch_char(arrays: Sequence[Array]) -> Built:
    """A training step of torch."""
    torch = library("torch")
    tokens, table, *layers, w_out, b_out = arrays
    embedding, out = torch.nn.Embedding(SYMBOLS, UNITS), torch.nn.Linear(UNITS, SYMBOLS)
    net = torch.nn.LSTM(UNITS, UNITS, 2)
    with torch.no_grad():
        for p, a in ((embedding.weight, table), (out.weight, w_out), (out.bias, b_out)):
            p.copy_(torch.from_numpy(a))
        for i in range(2):
            w, u, b = layers[3 * i : 3 * i + 3]
            for name, value in (("weight_ih", w), ("weight_hh", u), ("bias_ih", b), ("bias_hh", 0 * b)):
                getattr(net, f"{name}_l{i}").copy_(torch.from_numpy(value))
            getattr(net, f"bias_hh_l{i}").requires_grad_(False)  # one bias, as in the other libraries
    inputs, targets = torch.from_numpy(tokens[:, :-1].T.copy()), torch.from_numpy(tokens[:, 1:].T.reshape(-1).copy())
    parameters = [p for m in (embedding, net, out) for p in m.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, RATE)

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(out(net(embedding(inputs))[0]).reshape(-1, SYMBOLS), targets)
        loss.backward()
        optimizer.step()
        return loss

    return Built(step, lambda loss: (loss.detach().numpy(),))


CASES = [_case(kind, shape, grads) for kind in ("LSTM", "GRU") for shape in SHAPES for grads in (False, True)]
_STEP = {"deepcore": _ours_step, "numpy": plain(_two_layers_reference), "torch": _torch_step,
         "onnxruntime": _onnx("LSTM", 2)}  # fmt: skip
CASES += [
    Case(
        "rnn",
        f"LSTM step 2x{UNITS} batch 1",
        arrays=_two_layers,
        reference=_two_layers_reference,
        builders=_STEP,
        flops=2.0 * 2 * 4 * UNITS * 2 * UNITS,
        tolerance=1e-4,
        target=Target("peer", 1.0),
    ),
    Case(
        "rnn",
        f"character LSTM 2x{UNITS} batch {STREAMS}",
        arrays=char_arrays,
        reference=_char_reference,
        builders={"deepcore": ours_char, "numpy": _char_numpy, "torch": torch_char},
        flops=2.0 * WINDOW * STREAMS * (3 * 2 * 4 * UNITS * 2 * UNITS + 3 * SYMBOLS * UNITS),
        calls=STEPS,
        tolerance=1e-4,
        target=Target("peer", 1.25),
    ),
]
