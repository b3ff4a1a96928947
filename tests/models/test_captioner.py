"""Nets that caption: where the picture enters, whole captions and word by word, encoders without their heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn
from deepcore.errors import ArgumentError, ShapeError
from deepcore.models import CaptionNet, cnn
from deepcore.models.captioner import INJECTS, GridPool2d, cnn_encoder, without_head
from deepcore.nn.rnn import RecurrentState

WORDS, FEATURES = 12, 7


def net(inject: str, **options: Any) -> CaptionNet:
    made = CaptionNet(
        nn.Flatten(), FEATURES, WORDS, **{"inject": inject, "embedding": 6, "hidden": 10, "seed": 2, **options}
    )
    made.eval()
    return made


def given(n: int, steps: int) -> tuple[dc.Tensor, dc.Tensor]:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((n, FEATURES)).astype(np.float32)
    return dc.tensor(features), dc.tensor(rng.integers(0, WORDS, (steps, n)))


@pytest.mark.parametrize("options", [{}, {"cell": "gru", "layers": 2}, {"tied": True}, {"tied": True, "hidden": 6}])
@pytest.mark.parametrize("inject", INJECTS)
def test_word_by_word_is_the_whole(inject: str, options: dict[str, Any]) -> None:
    made = net(inject, **options)
    features, ids = given(17, 5)
    h = made(features, ids)
    logs = dc.ops.log_softmax(made.logits(dc.ops.reshape(h, 5 * 17, h.shape[2]))).numpy().reshape(5, 17, WORDS)
    with dc.no_grad():
        state = made.start(features)
        for t in range(5):
            row, state = made.step(ids[t], state)
            np.testing.assert_allclose(row.numpy(), logs[t], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.exp(logs.astype(np.float64)).sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize("inject", INJECTS)
def test_each_word_depends_on_the_picture_and_on_no_later_word(inject: str) -> None:
    made = net(inject)
    features, ids = given(3, 4)
    h = made(features, ids).numpy()
    other = made(features * 1.5 + dc.tensor(np.arange(FEATURES, dtype=np.float32)), ids).numpy()
    assert (np.abs(other - h).max(-1) > 1e-4).all()
    later = ids.numpy().copy()
    later[2:] = (later[2:] + 1) % WORDS
    changed = made(features, dc.tensor(later)).numpy()
    np.testing.assert_array_equal(changed[:2], h[:2])
    assert (np.abs(changed[2:] - h[2:]).max(-1) > 1e-4).all()


@pytest.mark.parametrize("inject", INJECTS)
def test_several_captions_of_a_picture(inject: str) -> None:
    made = net(inject)
    features, ids = given(4, 3)
    owner = np.array([2, 0, 0, 1])
    shared = made(features, ids, dc.tensor(owner)).numpy()
    single = made(dc.tensor(features.numpy()[owner]), ids).numpy()
    np.testing.assert_allclose(shared, single, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("inject", INJECTS)
def test_state_of_some_rows(inject: str) -> None:
    made = net(inject)
    features, ids = given(4, 2)
    with dc.no_grad():
        _, state = made.step(ids[0], made.start(features))
        rows = np.array([3, 1, 1])
        logs, _ = made.step(ids[1], state)
        chosen, _ = made.step(dc.tensor(ids.numpy()[1][rows]), state.select(rows))
    np.testing.assert_array_equal(chosen.numpy(), logs.numpy()[rows])


@pytest.mark.parametrize("inject", INJECTS)
def test_gradients_reach_the_encoder_unless_it_is_frozen(inject: str) -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, FEATURES, seed=0))
    images = dc.tensor(np.random.default_rng(1).random((3, 2, 2, 3)).astype(np.float32))
    _, ids = given(3, 2)
    for frozen in (False, True):
        made = CaptionNet(encoder, FEATURES, WORDS, inject=inject, embedding=6, hidden=10, frozen=frozen, seed=0)
        made.train()
        dc.backward(dc.ops.sum(made(made.encode(images), ids)))
        assert all(p.grad is not None for p in made.inlet.parameters())
        assert (encoder[1].weight.grad is None) == frozen  # type: ignore[attr-defined]
        assert encoder.training is not frozen and made.recurrent.training
        made.zero_grad()


def test_initial_state_has_h_and_c() -> None:
    features, _ = given(3, 1)
    state = net("init", layers=2).start(features).recurrent
    assert isinstance(state, RecurrentState) and state.c is not None
    assert state.h.shape == state.c.shape == (2, 3, 10) and np.abs(state.h.numpy()).max() < 1
    state = net("init", cell="gru").start(features).recurrent
    assert state is not None and state.c is None
    assert net("every").start(features).recurrent is None


def test_tied_nets_have_one_table() -> None:
    names = [n for n, p in net("init", tied=True).named_parameters() if WORDS in p.shape]
    assert names == ["embedding.weight", "output.bias"]


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize(("h", "w", "size"), [(6, 9, 3), (7, 8, 3), (5, 5, 1), (4, 7, 4)])
def test_grid_pooling(h: int, w: int, size: int, kind: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, h, w, 3)).astype(np.float32)
    found = GridPool2d(size, kind)(dc.tensor(x)).numpy().reshape(2, size, size, 3)
    for i in range(size):
        for j in range(size):
            cell = x[:, i * h // size : -(-(i + 1) * h // size), j * w // size : -(-(j + 1) * w // size)]
            expected = cell.max((1, 2)) if kind == "max" else cell.mean((1, 2))
            np.testing.assert_allclose(found[:, i, j], expected, rtol=1e-5, atol=1e-6)


def test_heads_are_left_out() -> None:
    image = dc.tensor(np.random.default_rng(0).random((2, 24, 24, 3)).astype(np.float32))
    for preset, pooling, features in (("lenet5", "max", 64), ("vgg-small", "average", 16), ("resnet9", "max", 16)):
        whole = cnn(preset, (24, 24, 3), 5, width=4, seed=1, dropout=0.0, pooling=pooling)
        body, count = without_head(whole)
        whole.eval()
        assert count == features
        np.testing.assert_array_equal(list(whole)[-1](body(image)).numpy(), whole(image).numpy())
    encoder, count = cnn_encoder("vgg-small", (24, 24, 3), grid=3, width=4, pooling="average")
    pools = [m for m in encoder if isinstance(m, GridPool2d)]
    assert count == 16 * 9 and encoder(image).shape == (2, count) and pools[0].kind == "average"


def test_refusals() -> None:
    features, ids = given(3, 2)
    for options, message in (
        ({"inject": "last"}, "expected inject in"),
        ({"embedding": 0}, "expected features, vocabulary, embedding >= 1"),
        ({"cell": "none"}, "expected cell in"),
    ):
        with pytest.raises(ArgumentError, match=message):
            net(**{"inject": "init", **options})
    with pytest.raises(ShapeError, match=r"expected tokens \(steps, 3\), got \(3, 2\)"):
        net("init")(features, dc.tensor(ids.numpy().T.copy()))
    with pytest.raises(ShapeError, match=r"expected features \(n, 7\) of the encoder, got \(3, 8\)"):
        net("init").encode(dc.tensor(np.zeros((3, 2, 2, 2), np.float32)))
    made = net("init", dropout=0.5)
    made.train()
    with pytest.raises(ArgumentError, match="eval mode"):
        made.step(ids[0], made.start(features))
    with pytest.raises(ArgumentError, match="ends in a dense layer, got Flatten"):
        without_head(nn.Sequential(nn.Flatten()))
    with pytest.raises(ArgumentError, match="a net with global pooling, got grid 2"):
        cnn_encoder("lenet5", (8, 8, 1), grid=2)
    with pytest.raises(ArgumentError, match="expected grid >= 1"):
        cnn_encoder("vgg-small", (8, 8, 1), grid=0)
    with pytest.raises(ShapeError, match="at least 4 x 4 pixels, got 3 x 5"):
        GridPool2d(4)(dc.tensor(np.zeros((1, 3, 5, 2), np.float32)))
