"""A short run of the fuzzer over all functions, and checks that it would notice what it is there to notice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import _C, ops
from deepcore.errors import ArgumentError, Error
from deepcore.testing import fuzz, fuzz_targets
from deepcore.testing.fuzz_targets import Target


def test_every_function_with_random_arguments() -> None:
    """200 calls of each; the long run is `python -m deepcore.testing.fuzz --count 20000`."""
    command = [sys.executable, "-W", "ignore", "-m", "deepcore.testing.fuzz", "--count", "200", "--seed", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout, done.stderr
    result = json.loads(done.stdout)
    assert result["findings"] == []
    names = set(result["tallies"])
    assert {"ops." + name for name in ops.__all__} <= names
    bound = {
        "_C." + name for name in dir(_C) if callable(getattr(_C, name)) and not isinstance(getattr(_C, name), type)
    }
    assert bound - names == {"_C." + name for name in fuzz_targets.SKIPPED}
    for name, tally in result["tallies"].items():
        assert tally["returned"] > 0, f"{name} refused all arguments"
        assert sum(tally.values()) == 200


def test_every_function_starts_from_good_arguments() -> None:
    without = {t.name for t in fuzz_targets.targets() if t.name.startswith(("ops.", "_C.")) and not t.seen}
    # No array goes in, or its wrapper in Python is what the cases call.
    assert without <= {
        "_C.contiguous", "_C.cuda_device_count", "_C.cuda_emulated", "_C.cuda_reason", "_C.empty", "_C.empty_cache",
        "_C.from_dlpack", "_C.isa", "_C.memory_statistics", "_C.num_threads", "_C.reset_peak_memory", "_C.sort",
        "_C.supported_isas", "_C.synchronize", "_C.vector_bytes",
    }  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any], count: int = 60, **options: Any) -> Any:
    target = Target("ops.broken", function, {"x": "tensor"}, **options)
    monkeypatch.setattr(fuzz, "targets", lambda: [target])
    return fuzz.run(count, 0)


def test_good_functions_have_no_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    tallies, findings = run(monkeypatch, lambda x: x)
    assert findings == [] and tallies == {"ops.broken": {"returned": 60, "refused": 0}}

    def refuse(x: Any) -> Any:
        raise ArgumentError("no")

    tallies, findings = run(monkeypatch, refuse)
    assert findings == [] and tallies == {"ops.broken": {"returned": 0, "refused": 60}}


def test_wrong_exceptions_and_shapes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def divide(x: Any) -> Any:
        return 1 // x.ndim

    _, findings = run(monkeypatch, divide)
    assert findings and all(
        "ZeroDivisionError" in f["what"] and f["arguments"]["x"].startswith("Tensor[") for f in findings
    )
    _, findings = run(monkeypatch, lambda x: x.reshape(1, *x.shape), shape_rule=lambda a: a["x"].shape)
    assert len(findings) > 40 and "expected a result of shape" in findings[0]["what"]


def test_crashes_are_found_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def crash(x: Any) -> Any:
        if x.ndim == 2:
            os.abort()
        return x

    _, findings = run(monkeypatch, crash)
    assert findings and all(f["what"].startswith("died with status") for f in findings)
    assert "Fatal Python error: Aborted" in capfd.readouterr().err
    for finding in findings:
        arguments, _ = fuzz.arguments_of(Target("ops.broken", crash, {"x": "tensor"}), 0, finding["index"])
        assert arguments["x"].ndim == 2


def test_hangs_are_found(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(fuzz, "HANG_SECONDS", 1.0)
    _, findings = run(monkeypatch, lambda x: time.sleep(60), count=1)
    assert [f["what"] for f in findings] == ["hung"]
    assert "Fatal Python error: Aborted" in capfd.readouterr().err


def test_calls_can_be_repeated_alone() -> None:
    target = Target("ops.relu", ops.relu, {"x": "tensor"})
    again = [fuzz.arguments_of(target, 5, i)[0]["x"] for i in (3, 7)]
    for i, x in zip((3, 7), again, strict=True):
        once_more = fuzz.arguments_of(target, 5, i)[0]["x"]
        assert x.dtype == once_more.dtype and x.strides == once_more.strides
        assert x.numpy().tobytes() == once_more.numpy().tobytes()
    assert again[0].shape != again[1].shape or again[0].tolist() != again[1].tolist()
    with pytest.raises(ValueError, match="names of functions"):
        fuzz.run(1, 0, only=["ops.nothing"])


# ---- what the fuzzer found once ----
@pytest.mark.parametrize(
    "call",
    [
        lambda: ops.mean(dc.ones(()), 0),
        lambda: ops.max(dc.ones((2, 3)), 2),
        lambda: ops.min(dc.ones((2, 3)), -3),
        lambda: ops.var(dc.tensor(1.0), (0,)),
        lambda: ops.sum(dc.ones(3, dtype="int64"), 2**64),
        lambda: ops.argmax(dc.ones(3, dtype="uint8"), 2**64),
        lambda: ops.argmin(dc.ones(3, dtype="int32"), 1),
        lambda: ops.narrow(dc.tensor(1.0), 0, 0, 1),
        lambda: ops.narrow(dc.ones((2, 3)), 2, 0, 1),
        lambda: ops.reshape(dc.ones(4), 2**64),
        lambda: dc.zeros((3, 2**63)),
        lambda: dc.from_dlpack("text"),
        lambda: ops.transpose(dc.ones((2, 3)), -2, -3),
        lambda: ops.split(dc.ones((0, 2)), 2**63),
        lambda: dc.tensor(np.zeros(3, "complex64"), dtype="float32"),
        lambda: dc.tensor(np.zeros(3, "datetime64[s]"), dtype="U3"),
        lambda: _C.max_norm(_C.full((7, 0, 5), 1.0, "float32", "cpu"), 6, 2, 2**62, 1.0),
        lambda: _C.pool_scatter(
            _C.full((0, 1, 1, 1), 1.0, "float32", "cpu"),
            _C.full((0, 1, 1, 1), 0, "uint8", "cpu"),
            (0, 2**62, 4, 1),
            _C.PoolOptions((2, 2), (2, 2), (1, 1, 1, 1), (1, 1), ()),
        ),
        lambda: ops.conv2d(ops.broadcast_to(dc.ones((0, 1, 1, 1)), (0, 2**62, 1, 1)), dc.ones((1, 1, 1, 1)), padding=9),
    ],
)
def test_refused_with_a_typed_error(call: Callable[[], Any]) -> None:
    """Once wrong exceptions, a crash, a hang."""
    with pytest.raises(Error, match=r"expected|more than|cannot"):
        call()


def test_numpy_shapes_agree_with_reductions_of_no_axes() -> None:
    x = dc.tensor(2.5)
    for name in ("sum", "mean", "max", "min", "prod"):
        assert getattr(ops, name)(x).item() == 2.5
        assert getattr(ops, name)(x, ()).item() == 2.5
    np.testing.assert_array_equal(ops.sum(dc.ones((2, 3)), ()).numpy(), np.ones((2, 3)))
