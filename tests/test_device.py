"""Devices without CUDA: names, messages, and moves that stay on the CPU."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn, ops
from deepcore.errors import ArgumentError, DeviceError

without_cuda = pytest.mark.skipif(dc.cuda.is_available(), reason="a CUDA device can be used")


@without_cuda
def test_the_reason_is_stated() -> None:
    assert dc.cuda.device_count() == 0 and not dc.cuda.is_emulated()
    assert dc.cuda.reason()
    for call in (
        lambda: dc.zeros(3, device="cuda"),
        lambda: dc.tensor([1.0]).to("cuda:1"),
        lambda: dc.tensor([1.0], device="cuda"),
        lambda: dc.arange(3, device="cuda"),
        lambda: dc.random.normal(3, device="cuda"),
        lambda: nn.Linear(2, 3).to("cuda"),
        lambda: dc.cuda.synchronize(),
        lambda: dc.cuda.properties(),
    ):
        with pytest.raises(DeviceError, match=r"device cuda(:[01])?: \w+"):
            call()


MISSING = """
import sys
{block}
import deepcore as dc
from deepcore.errors import DeviceError
assert not dc.cuda.is_available() and dc.cuda.device_count() == 0
print(dc.cuda.reason())
try:
    dc.zeros(3, device="cuda")
except DeviceError as error:
    print(error)
assert dc.ones(3).sum().item() == 3
"""
NOT_THERE = "sys.modules['deepcore._cuda'] = sys.modules['deepcore._cuda_emulated'] = None"
BROKEN = """
class Broken:
    def find_spec(name, path=None, target=None):
        if name == "deepcore._cuda":
            raise ImportError("libdl.so.9: cannot open shared object file")
sys.meta_path.insert(0, Broken)
"""


@pytest.mark.parametrize(
    ("block", "emulate", "reason"),
    [
        (NOT_THERE, "0", "this deepcore was built without CUDA: build it with DEEPCORE_CUDA=ON, or use device='cpu'"),
        (NOT_THERE, "1", "DEEPCORE_CUDA_EMULATE=1, but this build has no emulated device: build it with "
                         "DEEPCORE_CUDA_EMULATION=ON, or unset the variable"),
        (BROKEN, "0", "the CUDA back end does not load: libdl.so.9: cannot open shared object file; install deepcore "
                      "anew, or use device='cpu'"),
    ],
    ids=["not built", "not emulated", "broken"],
)  # fmt: skip
def test_a_back_end_that_is_not_there(block: str, emulate: str, reason: str) -> None:
    done = subprocess.run([sys.executable, "-c", MISSING.format(block=block)], capture_output=True, text=True,
                          timeout=60, env={**os.environ, "DEEPCORE_CUDA_EMULATE": emulate})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [reason, f"device cuda: {reason}"]


@pytest.mark.parametrize("name", ["tpu", "", "cuda:", "cuda:x", "cuda:-1", "cuda:12345", "CUDA", "cpu:0"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ArgumentError, match="expected 'cpu' or 'cuda"):
        dc.zeros(3).to(name)


def test_a_move_to_where_it_is_changes_nothing() -> None:
    x = dc.tensor([1.0, 2.0], requires_grad=True)
    assert x.to("cpu") is x and x.cpu() is x
    net = nn.Linear(2, 3)
    before = net.state_dict()
    assert net.to("cpu") is net
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert ops.to(x, "cpu").requires_grad


@pytest.mark.parametrize(
    "options", [{}, {"device": "cpu"}, {"dtype": "float32"}, {"dtype": "float32", "device": "cpu"}]
)
def test_a_tensor_of_a_tensor_has_memory_of_its_own(options: dict[str, str]) -> None:
    x = dc.tensor([1.0, 2.0])
    own, shared = dc.tensor(x, **options), dc.tensor(x, **options, copy=False)  # type: ignore[arg-type]
    x.numpy()[0] = 7
    assert own.tolist() == [1.0, 2.0] and shared.tolist() == [7.0, 2.0]


def test_tensors_keep_their_device_in_a_pickle() -> None:
    x = pickle.loads(pickle.dumps(dc.tensor([1.0, 2.0])))
    assert x.device == "cpu" and x.tolist() == [1.0, 2.0]


def test_precision_needs_a_known_word_and_a_device() -> None:
    with pytest.raises(ArgumentError, match=r"expected matmul in .* got 'fast'"):
        dc.cuda.set_float32_precision("fast")
    if not dc.cuda.is_available():
        with pytest.raises(DeviceError):
            dc.cuda.set_float32_precision("tf32")
        with pytest.raises(DeviceError):
            dc.cuda.float32_precision()


def test_a_tensor_of_the_cpu_has_no_cuda_array_interface() -> None:
    x = dc.zeros(3)
    assert not hasattr(x, "__cuda_array_interface__") and x.__dlpack_device__() == (1, 0)
    with pytest.raises(BufferError, match=r"expected device \(1, 0\), got \(2, 0\)"):
        x.__dlpack__(dl_device=(2, 0))


def test_random_numbers_take_a_device() -> None:
    np.testing.assert_array_equal(
        dc.random.uniform(5, seed=3, device="cpu").numpy(), dc.random.uniform(5, seed=3).numpy()
    )


def test_a_back_end_of_other_sources_is_refused() -> None:
    """Numbers of operations would mean others there: nothing of it is called."""
    code = (
        "import sys, types, deepcore as dc\n"
        "module = types.ModuleType('deepcore._cuda_emulated'); module.contract = '0123456789abcdef'\n"
        "sys.modules[module.__name__] = module\n"
        "print(dc.cuda.is_available(), dc.cuda.reason())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "DEEPCORE_CUDA_EMULATE": "1"})  # fmt: skip
    assert done.stdout.startswith("False the CUDA back end deepcore._cuda_emulated and deepcore._C were built from ")
