"""Modules: names, state, modes, freezing, seeds, summary."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn, ops, optim
from deepcore.errors import ArgumentError, CheckpointError, ShapeError


def net(seed: int = 0) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same", bias=False, seed=seed), nn.BatchNorm(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.5, seed=seed), nn.Linear(4 * 4 * 4, 3, seed=seed + 1),
    )  # fmt: skip


def images(n: int = 2) -> dc.Tensor:
    return dc.tensor(np.random.default_rng(0).standard_normal((n, 8, 8, 1)).astype(np.float32))


def test_names_and_state_round_trip() -> None:
    a, b = net(0), net(5)
    assert [n for n, _ in a.named_parameters()] == ["0.weight", "1.gamma", "1.beta", "6.weight", "6.bias"]
    assert [n for n, _ in a.named_buffers()] == ["1.running_mean", "1.running_variance", "5.calls"]
    a(images())  # moves the running statistics and the count of dropout
    b.load_state_dict(a.state_dict())
    a.eval(), b.eval()
    np.testing.assert_array_equal(a(images()).numpy(), b(images()).numpy())


def test_load_state_dict_changes_nothing_on_error() -> None:
    a = net()
    before = a.state_dict()
    with pytest.raises(CheckpointError, match=r"missing \['6.bias'\]"):
        a.load_state_dict({k: v + 1 for k, v in before.items() if k != "6.bias"})
    with pytest.raises(ShapeError, match=r"6.bias: expected \(3,\), got \(4,\)"):
        a.load_state_dict({**{k: v + 1 for k, v in before.items()}, "6.bias": np.zeros(4, np.float32)})
    for k, v in a.state_dict().items():
        np.testing.assert_array_equal(v, before[k])


def test_weights_are_a_function_of_the_seed() -> None:
    for kind in nn.init.INITIALIZERS:
        a, b, c = (nn.Linear(7, 5, init=kind, seed=s).weight.numpy() for s in (1, 1, 2))
        np.testing.assert_array_equal(a, b)
        assert kind == "zeros" or (a != c).any()


@pytest.mark.parametrize(
    ("kind", "deviation"),
    [("glorot_uniform", (2 / 700) ** 0.5), ("glorot_normal", (2 / 700) ** 0.5), ("he_uniform", (2 / 400) ** 0.5),
     ("he_normal", (2 / 400) ** 0.5), ("lecun_uniform", (1 / 400) ** 0.5), ("lecun_normal", (1 / 400) ** 0.5)],
)  # fmt: skip
def test_deviation_of_initial_weights(kind: str, deviation: float) -> None:
    w = nn.Linear(400, 300, init=kind, seed=3).weight.numpy()
    assert abs(w.std() / deviation - 1) < 0.02
    assert abs(w.mean()) < 0.02 * deviation * 3


def test_orthogonal() -> None:
    for shape in ((30, 20), (20, 30)):
        w = nn.init.orthogonal(shape, (1, 2, 0)).numpy().astype(np.float64)
        small = w @ w.T if shape[0] < shape[1] else w.T @ w
        np.testing.assert_allclose(small, np.eye(20), atol=1e-6)
    assert nn.init.fans((8, 3, 3, 4)) == (36, 72)


def test_dropout_in_training_only_and_masks_differ_from_call_to_call() -> None:
    layer = nn.Dropout(0.5, seed=1)
    x = dc.ones((100, 100))
    first, second = layer(x).numpy(), layer(x).numpy()
    assert (first != second).any()
    assert abs((first > 0).mean() - 0.5) < 0.03
    assert set(np.unique(first)) == {0.0, 2.0}
    layer.eval()
    assert layer(x) is x


def test_batch_norm_modes() -> None:
    layer = nn.BatchNorm(3, momentum=0.5)
    x = dc.tensor((5 + 2 * np.random.default_rng(0).standard_normal((50, 3))).astype(np.float32))
    y = layer(x).numpy()
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(0), 1, atol=1e-3)
    state = layer.state_dict()
    np.testing.assert_allclose(state["running_mean"], 0.5 * x.numpy().mean(0), rtol=1e-5)
    np.testing.assert_allclose(state["running_variance"], 0.5 + 0.5 * x.numpy().var(0, ddof=1), rtol=1e-4)
    layer.eval()
    layer(x)
    np.testing.assert_array_equal(layer.state_dict()["running_mean"], state["running_mean"])


def test_freeze() -> None:
    a = net()
    a.layers[0].freeze()
    ops.sum(a(images())).backward()
    assert a.layers[0].weight.grad is None  # type: ignore[attr-defined]
    assert a.layers[6].weight.grad is not None  # type: ignore[attr-defined]
    assert all(p.requires_grad for p in a.unfreeze().parameters())


def test_summary_counts() -> None:
    text = net().summary((1, 8, 8, 1))
    assert "Conv2d" in text and "(1, 8, 8, 4)" in text
    assert f"{4 * 9 + 8 + 64 * 3 + 3} parameters" in text
    a = net()
    a.layers[1].eval()
    a.summary((1, 8, 8, 1))
    assert a.training and not a.layers[1].training and a.layers[5].training


def test_every_layer_runs_and_differentiates() -> None:
    x = images(3)
    layers = [
        nn.AvgPool2d(2), nn.MaxPool2d(3, 2, 1), nn.LpPool2d(2.0, 2), nn.AdaptiveAvgPool2d(3), nn.GlobalAvgPool2d(),
        nn.GlobalMaxPool2d(), nn.Upsample(2), nn.Upsample(2, "bilinear"), nn.LeakyReLU(0.1), nn.Activation("gelu"),
        nn.ConvTranspose2d(1, 2, 3, stride=2, seed=0), nn.Conv2d(1, 2, (3, 2), stride=(2, 1), dilation=2, seed=0),
    ]  # fmt: skip
    for layer in layers:
        t = dc.tensor(x.numpy(), requires_grad=True)
        y = layer(t)
        assert dc.grad(ops.sum(y * y), t).shape == x.shape, layer
        assert type(layer).__name__ in repr(layer)
    flat = dc.tensor(np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32), requires_grad=True)
    for layer in (nn.LayerNorm(6), nn.Maxout(6, 3, seed=0), nn.Linear(6, 2, seed=0), nn.Reshape(2, 3)):
        assert dc.grad(ops.sum(layer(flat) * layer(flat)), flat).shape == (4, 6)
    for layer in (nn.GroupNorm(2, 4), nn.InstanceNorm(4)):
        z = dc.tensor(np.random.default_rng(0).standard_normal((2, 3, 3, 4)).astype(np.float32), requires_grad=True)
        assert dc.grad(ops.sum(layer(z) ** 3.0), z).shape == z.shape
    table = nn.Embedding(5, 3, seed=0)
    ops.sum(table(dc.tensor([1, 1, 4]))).backward()
    assert table.weight.grad is not None and table.weight.grad.numpy().sum(1).tolist() == [0, 6, 0, 0, 3]


def test_shared_parameters_count_once() -> None:
    layer = nn.Linear(3, 3, seed=0)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert len(model.parameters()) == 2


def test_bad_arguments() -> None:
    with pytest.raises(ArgumentError, match="groups 2 do not divide"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ArgumentError, match=r"expected p in \[0, 1\]"):
        nn.Dropout(1.5)
    with pytest.raises(ArgumentError, match="expected one of"):
        nn.Linear(2, 2, init="magic")
    with pytest.raises(ArgumentError, match="forward method"):
        nn.Module()(1)


def test_packed_weights_are_kept_and_follow_changes(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from deepcore import _C

    packs: list[int] = []
    pack = _C.pack_linear
    monkeypatch.setattr(_C, "pack_linear", lambda w: (packs.append(1), pack(w))[1])
    layer = nn.Linear(33, 45, activation="tanh", seed=0)
    layer.eval()
    x = dc.tensor(np.random.default_rng(0).standard_normal((20, 33)).astype(np.float32))
    with dc.no_grad():
        first, again = layer(x).numpy(), layer(x).numpy()
        assert len(packs) == 1
        np.testing.assert_array_equal(first, again)
        np.testing.assert_array_equal(first, ops.linear(x, layer.weight, layer.bias, "tanh").numpy())
        layer.load_state_dict({k: 2 * v for k, v in layer.state_dict().items()})
        changed = layer(x).numpy()
        assert len(packs) == 2
        np.testing.assert_array_equal(changed, ops.linear(x, layer.weight, layer.bias, "tanh").numpy())


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"]
)
def test_copies_and_pickles_train_further(duplicate: Any) -> None:
    net = nn.Sequential(nn.Linear(3, 4, seed=0), nn.Activation("identity"), nn.Linear(4, 2, seed=1))
    net[0].weight.max_norm = 1.5
    net[2].bias.requires_grad = False
    twin = duplicate(net)
    assert all(isinstance(p, nn.Parameter) for p in twin.parameters()) and len(twin.parameters()) == 4
    assert [p.requires_grad for p in twin.parameters()] == [True, True, True, False]
    assert [p.max_norm for p in twin.parameters()] == [1.5, None, None, None]
    x = dc.tensor(np.ones((5, 3), np.float32))
    assert (twin(x).numpy() == net(x).numpy()).all()
    rule = optim.SGD(twin.parameters(), 0.1)
    ops.sum(ops.square(twin(x))).backward()
    rule.step()
    assert (twin[0].weight.numpy() != net[0].weight.numpy()).any() and twin[0].weight is twin.parameters()[0]
    assert (twin[2].bias.numpy() == net[2].bias.numpy()).all()


def test_shallow_copies_of_parameters_share_values() -> None:
    weight = nn.Linear(2, 2, seed=0).weight
    weight.max_norm, weight.requires_grad = 2.0, False
    twin = copy.copy(weight)
    assert isinstance(twin, nn.Parameter) and twin.max_norm == 2.0 and not twin.requires_grad
    assert twin.array.pointer == weight.array.pointer
