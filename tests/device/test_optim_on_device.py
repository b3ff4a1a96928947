"""Optimizer steps, norms and averages on a device against the CPU's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import _C, nn, optim
from deepcore.errors import DeviceError, NumericalError

# Empty, single, odd, several chunks of 4096.
SHAPES = [(3, 5), (0,), (1,), (17,), (129, 70), (4096,), (0, 3)]

MAKERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "sgd": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "adagrad": lambda p: optim.Adagrad(p, 0.1),
    "rmsprop": lambda p: optim.RMSprop(p, 0.01),
    "rmsprop centred": lambda p: optim.RMSprop(p, 0.01, centred=True, epsilon=1e-3),
    "rmsprop momentum": lambda p: optim.RMSprop(p, 0.01, momentum=0.9),
    "rmsprop both": lambda p: optim.RMSprop(p, 0.01, centred=True, momentum=0.9, epsilon=1e-3),
    "adadelta": lambda p: optim.Adadelta(p, 1.0),
    "adam": lambda p: optim.Adam(p, 0.01, weight_decay=0.1, clip_norm=0.5),
    "adamw": lambda p: optim.AdamW(p, 0.01, clip_each_norm=0.5),
    "amsgrad": lambda p: optim.AMSGrad(p, 0.01, clip_value=0.5),
    "nadam": lambda p: optim.NAdam(p, 0.01),
    "radam": lambda p: optim.RAdam(p, 0.01),
    "lion": lambda p: optim.Lion(p, 0.01, weight_decay=0.1),
}


def trained(make: Callable[[Any], optim.Optimizer], device: str, dtype: str) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    params = [nn.Parameter(dc.tensor(rng.standard_normal(s), dtype=dtype, device=device)) for s in SHAPES]
    params[0].max_norm = 1.0
    optimizer = make(params)
    for _ in range(7):  # RAdam adapts from its sixth step on
        for p in params:
            p.grad = dc.tensor(rng.standard_normal(p.shape), dtype=dtype, device=device)
        optimizer.step()
    assert all(p.device == ("cuda:0" if device == "cuda" else "cpu") for p in params)
    states = [a for _, a in sorted(optimizer.state_dict()[0].items())]
    return [np.array(p.numpy()) for p in params] + states


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MAKERS)
def test_steps(name: str, dtype: str) -> None:
    here, there = (trained(MAKERS[name], device, dtype) for device in ("cpu", "cuda"))
    close = 1e-6 if dtype == "float32" else 1e-12
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(b, a, rtol=close, atol=close)


def arrays(device: str, *, seed: int = 0, shift: int = 0) -> list[_C.Array]:
    """`shift` 1: at addresses that no vector load takes."""
    rng = np.random.default_rng(seed)
    result = []
    for s in SHAPES:
        flat = dc.tensor(rng.standard_normal(int(np.prod(s)) + shift).astype("float32"), device=device)
        result.append(flat[shift:].reshape(s).array)
    return result


@pytest.mark.parametrize("shift", [0, 1])
def test_lists(shift: int) -> None:
    results = []
    for device in ("cpu", "cuda"):
        params, others = arrays(device, shift=shift), arrays(device, seed=1, shift=shift)
        squares = _C.squared_norms(params)
        _C.moving_average(params, others, 0.75)
        _C.scale(params, 0.3)
        results.append((squares, [np.array(a.numpy()) for a in params + others]))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-6)
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-7)


def test_norm_of_a_tensor_is_its_own() -> None:
    """What else is in the list does not change a bit."""
    listed = arrays("cuda")
    assert _C.squared_norms(listed) == [_C.squared_norms([a])[0] for a in listed]
    assert _C.squared_norms(listed[1:2]) == [0.0]


def test_first_not_finite() -> None:
    listed = [np.array(a.numpy()) for a in arrays("cpu")]
    on_device = [dc.tensor(a, device="cuda").array for a in listed]
    assert _C.first_not_finite(on_device) == -1
    assert _C.first_not_finite(on_device[1:2]) == -1
    for at, value in ((4, np.nan), (3, -np.inf)):
        listed[at].reshape(-1)[-1] = value
        assert _C.first_not_finite([dc.tensor(a, device="cuda").array for a in listed]) == at


@pytest.mark.parametrize("sizes", [(1, 7, 5), (1, 3, 3000), (5, 6, 3), (4, 33, 1), (100, 70, 1), (1, 1, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_max_norm(sizes: tuple[int, int, int], dtype: str) -> None:
    w = np.random.default_rng(0).standard_normal(sizes).astype(dtype)
    limit = float(np.median(np.sqrt((w.astype("float64") ** 2).sum((0, 2))))) * 0.999
    here, there = dc.tensor(w), dc.tensor(w, device="cuda")
    for t in (here, there):
        _C.max_norm(t.array, *sizes, limit)
    np.testing.assert_allclose(there.numpy(), here.numpy(), rtol=1e-6)
    assert (np.sqrt((there.numpy() ** 2).sum((0, 2))) <= limit * 1.00001).all()


def test_gradient_that_is_not_finite() -> None:
    p = nn.Parameter(dc.tensor([1.0, 2.0], device="cuda"))
    optimizer = optim.SGD([p], 0.1, clip_norm=1.0)
    p.grad = dc.tensor([np.nan, 1.0], device="cuda")
    with pytest.raises(NumericalError):
        optimizer.step()
    assert p.numpy().tolist() == [1.0, 2.0]


def test_two_devices_in_a_list() -> None:
    here, there = dc.tensor([1.0]).array, dc.tensor([1.0], device="cuda").array
    with pytest.raises(DeviceError, match="expected one device"):
        _C.squared_norms([there, here])
    with pytest.raises(DeviceError, match="expected one device"):
        _C.moving_average([here], [there], 0.5)
