"""What goes wrong on a device: what is missing is said with its remedy, and what failed leaves nothing behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn, ops, optim
from deepcore.errors import DeviceError, OutOfMemoryError
from tests.device.emulated import device_module

pytestmark = pytest.mark.skipif(
    not dc.cuda.is_emulated(), reason="needs the emulated device (DEEPCORE_CUDA_EMULATE=1), which fails on request"
)


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
                          env={**os.environ, **environment})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


REASONS = {
    "no driver": (
        {"DRIVER": "0"},
        "no NVIDIA driver: install one for your GPU, or use device='cpu'",
    ),
    "driver too old": (
        {"DRIVER": "12080"},
        "the NVIDIA driver is too old: it supports CUDA 12.8, this build needs 13.0; update the driver, or use "
        "device='cpu'",
    ),
    "driver too old for any device": (
        {"DRIVER": "11080", "DEVICES": "0", "START": "CUDA driver version is insufficient for CUDA runtime version"},
        "the NVIDIA driver is too old: it supports CUDA 11.8, this build needs 13.0; update the driver, or use "
        "device='cpu'",
    ),
    "no start": (
        {"START": "system not yet initialized"},
        "CUDA does not start: system not yet initialized; see whether nvidia-smi works, or use device='cpu'",
    ),
    "no device": (
        {"DEVICES": "0"},
        "no CUDA device: is CUDA_VISIBLE_DEVICES set to hide it? Without a GPU use device='cpu'",
    ),
    "compute capability": (
        {"CAPABILITY": "75"},
        "device 1 has compute capability 7.5, deepcore needs 8.0 or higher; hide it by CUDA_VISIBLE_DEVICES or use "
        "device='cpu'",
    ),
}


@pytest.mark.parametrize("case", REASONS)
def test_the_reason_is_stated_with_its_remedy(case: str) -> None:
    settings, reason = REASONS[case]
    out = run_python(
        """
import deepcore as dc
from deepcore.errors import DeviceError
assert not dc.cuda.is_available() and dc.cuda.device_count() == 0 and not dc.cuda.is_emulated()
print(dc.cuda.reason())
for call in (lambda: dc.zeros(3, device="cuda"), lambda: dc.zeros(3).to("cuda:1"), dc.cuda.synchronize):
    try:
        call()
    except DeviceError as error:
        print(str(error).split(": ", 1)[1])
    else:
        raise SystemExit("no error")
assert (dc.ones(3) + 1).tolist() == [2, 2, 2]
""",
        **{f"DEEPCORE_EMULATE_{name}": value for name, value in settings.items()},
    )
    assert out.splitlines() == [reason] * 4


@pytest.mark.parametrize("settings", [{"DRIVER": "13020"}, {"DRIVER": "14000"}, {"CAPABILITY": "80"}])
def test_no_reason_where_all_is_there(settings: dict[str, str]) -> None:
    out = run_python(
        "import deepcore as dc; print(dc.cuda.device_count(), repr(dc.cuda.reason()))",
        **{f"DEEPCORE_EMULATE_{name}": value for name, value in settings.items()},
    )
    assert out == "2 ''\n"


# ---- launches ----
def test_a_kernel_that_fails_is_named_and_the_next_one_works() -> None:
    x = dc.ones(10, device="cuda")
    dc.cuda.synchronize()
    device_module().fail_launches(0, 1)
    y = ops.exp(x)
    with pytest.raises(DeviceError, match="exp: "):
        y.numpy()
    np.testing.assert_allclose(ops.exp(x).numpy(), np.e, rtol=1e-6)


def test_synchronous_launches_fail_where_they_are() -> None:
    run_python(
        """
import deepcore as dc
from deepcore import ops, _cuda_emulated
from deepcore.errors import DeviceError
x = dc.ones(10, device="cuda")
_cuda_emulated.fail_launches(0, 1)
try:
    ops.tanh(x)
except DeviceError as error:
    assert str(error).startswith("tanh: "), error
else:
    raise SystemExit("no error")
""",
        DEEPCORE_CUDA_SYNC="1",
    )


def test_a_launch_that_loses_the_context_says_so() -> None:
    out = run_python(
        """
import deepcore as dc
from deepcore import ops, _cuda_emulated
from deepcore.errors import DeviceError
x = dc.ones(10, device="cuda")
dc.cuda.synchronize()
_cuda_emulated.fail_launches(0, 1, lose_context=True)
y = ops.tanh(x)
for call in (y.numpy, lambda: ops.exp(x), x.numpy, dc.cuda.synchronize, lambda: dc.tensor([1.0]).cuda() + 1):
    try:
        call()
    except DeviceError as error:
        assert "this process can use the device no more: start a new one" in str(error), error
        print(error)
    else:
        raise SystemExit("no error")
assert (dc.ones(3) + 1).tolist() == [2, 2, 2]
"""
    )
    first, second, *_ = out.splitlines()
    assert "tanh: " in first and "a fault set by a test" in first
    assert second.startswith("exp: ")


# ---- memory ----
def test_memory_that_runs_out() -> None:
    run_python(
        """
import deepcore as dc
from deepcore.errors import OutOfMemoryError
x = dc.ones(1000, device="cuda")
try:
    dc.ones(1_000_000, device="cuda")
except OutOfMemoryError as error:
    assert "cuda:0 has no 4" in str(error) and "in use by arrays" in str(error), error
else:
    raise SystemExit("no error")
kept = [dc.ones(1000, device="cuda") for _ in range(100)]
del kept  # freed memory is used again
big = dc.ones(200_000, device="cuda")
assert (x + 1).tolist() == [2.0] * 1000 and big.sum().item() == 200_000
""",
        DEEPCORE_EMULATE_MEMORY="1000000",
    )


def cnn_step(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, seed=1), nn.BatchNorm(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2, seed=3), nn.Flatten(),
        nn.Linear(36, 3, seed=2),
    ).to("cuda")  # fmt: skip
    optimizer = optim.Adam(net.parameters(), lr=0.01, clip_norm=1.0)
    loss = ops.softmax_cross_entropy(net(dc.tensor(x).cuda()), dc.tensor(y).cuda())
    dc.backward(loss)
    optimizer.step()
    return loss.item()


def mlp_step(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    net = nn.Sequential(nn.Linear(64, 16, seed=1), nn.ReLU(), nn.Linear(16, 3, seed=2)).to("cuda")
    optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    loss = ops.softmax_cross_entropy(net(dc.tensor(x.reshape(len(x), -1)).cuda()), dc.tensor(y).cuda())
    dc.backward(loss)
    optimizer.step()
    return loss.item()


@pytest.mark.parametrize("step", [mlp_step, cnn_step])
def test_allocations_that_fail_one_after_the_other(step: Any) -> None:
    module = device_module()
    x, y = np.random.default_rng(0).standard_normal((5, 8, 8, 1)).astype(np.float32), np.array([0, 1, 2, 1, 0])
    expected = step(x, y)

    def clean() -> tuple[int, int, int]:
        gc.collect()
        dc.cuda.synchronize()
        dc.cuda.empty_cache()
        dc.cuda.synchronize()
        statistics = dc.cuda.memory_stats()
        return int(module.live_allocations()), statistics["current"], statistics["cached"]

    start = clean()
    failures = 0
    for skip in range(10000):
        module.fail_allocations(skip, 2)  # the second one, after the cache was given back, fails too
        try:
            assert step(x, y) == expected
            break
        except OutOfMemoryError as error:
            failures += 1
            assert "bytes left" in str(error)
        finally:
            module.fail_allocations(0, 0)
            left = clean()
        assert left == start, f"allocation {skip}"
    assert failures > 20
    assert step(x, y) == expected


@pytest.mark.parametrize("step", [mlp_step, cnn_step])
def test_memory_kept_for_later_makes_room(step: Any) -> None:
    """One allocation that fails, of an array or of an intermediate result, is asked for again."""
    module = device_module()
    x, y = np.random.default_rng(0).standard_normal((5, 8, 8, 1)).astype(np.float32), np.array([0, 1, 2, 1, 0])
    expected = step(x, y)
    for skip in range(10000):
        dc.cuda.empty_cache()
        before = module.allocations()
        module.fail_allocations(skip, 1)
        try:
            assert step(x, y) == expected
        finally:
            module.fail_allocations(0, 0)
        if module.allocations() - before <= skip:
            break
    assert skip > 20
