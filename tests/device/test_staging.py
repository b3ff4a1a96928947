"""Batches sent to a device ahead of the step that uses them: their values, and every wait between the two streams."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore import nn, ops, optim
from deepcore.data import ArrayDataset, Augment, DataLoader
from deepcore.errors import ArgumentError, DeviceError, OutOfMemoryError
from deepcore.staging import DeviceBatch, tensor_of
from deepcore.train import Trainer
from tests.device.emulated import device_module, emulated


@pytest.fixture(params=["late", "early"] if dc.cuda.is_emulated() else ["hardware"], autouse=True)
def mode(request: pytest.FixtureRequest) -> Iterator[str]:
    """When copies act: as late as they may, where a missing wait finds nothing; as early, where it overwrites."""
    if not dc.cuda.is_emulated():
        yield request.param
        return
    order = os.environ.get("DEEPCORE_EMULATE_ORDER", "forward")
    device_module().set_mode(order, request.param)
    yield request.param
    device_module().set_mode(order, os.environ.get("DEEPCORE_EMULATE_ASYNC", "late"))


def images(n: int = 45) -> ArrayDataset:
    rng = np.random.default_rng(0)
    return ArrayDataset(rng.random((n, 6, 6, 1), dtype=np.float32), np.arange(n, dtype=np.int64) % 3)


@pytest.mark.parametrize("options", [{}, {"prefetch": 0}, {"batch_size": 1}, {"drop_last": True}, {"augment": True}])
def test_batches_have_the_values_of_the_host(options: dict[str, Any]) -> None:
    """Nothing waits for the device meanwhile, and memory is given back at once: for the next batch to land in."""
    settings: dict[str, Any] = {"batch_size": 8, **options}
    settings["transform"] = Augment(shift=1, flip=0.5, seed=4) if settings.pop("augment", False) else None
    size = settings.pop("batch_size")
    expected = [(x * 2, y + 1) for x, y in DataLoader(images(), size, True, seed=2, **settings)]
    loader = DataLoader(images(), size, True, seed=2, **settings)
    results = []
    for batch in loader.batches("cuda"):
        assert isinstance(batch, DeviceBatch) and batch.device == "cuda:0"
        x, y = tensor_of(batch, 0, "cuda:0"), tensor_of(batch, 1, "cuda:0")
        assert x is batch.tensors[0]
        results.append((x * 2.0, y + 1))
        del batch, x, y
    assert loader.epoch == 1 and len(results) == len(expected)
    for (x, y), (x_host, y_host) in zip(results, expected, strict=True):
        np.testing.assert_array_equal(x.numpy(), x_host)
        np.testing.assert_array_equal(y.numpy(), y_host)


def test_a_batch_grows() -> None:
    lengths = [3, 50, 7, 400, 2]

    class Ragged:
        def __len__(self) -> int:
            return len(lengths)

        def __getitem__(self, indices: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], ...]:
            return (np.full((1, lengths[indices[0]]), float(indices[0])), np.zeros((1, 0), np.int32))

    sums = [ops.sum(tensor_of(b, 0, "cuda:0")) for b in DataLoader(Ragged(), 1).batches("cuda")]
    assert [s.item() for s in sums] == [i * n for i, n in enumerate(lengths)]


def test_two_loaders_take_turns() -> None:
    first, second = DataLoader(images(40), 8), DataLoader(images(40), 5)
    pairs = [
        (ops.sum(tensor_of(a, 0, "cuda:0")), ops.sum(tensor_of(b, 0, "cuda:0")))
        for a, b in zip(first.batches("cuda"), second.batches("cuda"), strict=False)
    ]
    for (a, b), x, y in zip(pairs, DataLoader(images(40), 8), DataLoader(images(40), 5), strict=False):
        np.testing.assert_allclose((a.item(), b.item()), (x[0].sum(), y[0].sum()), rtol=1e-5)


def test_an_iteration_left_early_overwrites_nothing() -> None:
    x = images()[np.arange(45)][0]
    kept = []
    for _ in range(3):
        for batch in DataLoader(images(), 8).batches("cuda"):
            del batch
            break
        gc.collect()
        kept += [dc.full((8, 6, 6, 1), 7.0, device="cuda") for _ in range(3)]
        dc.cuda.synchronize()  # what was still on its way must have come before
    last = [tensor_of(b, 0, "cuda:0") for b in DataLoader(images(), 8).batches("cuda")]
    np.testing.assert_array_equal(np.concatenate([t.numpy() for t in last]), x)
    for t in kept:
        np.testing.assert_array_equal(t.numpy(), np.full((8, 6, 6, 1), 7.0))


def test_the_next_batch_is_made_before_the_step_on_this_one() -> None:
    asked: list[int] = []
    data = images(32)

    class Watched:
        def __len__(self) -> int:
            return len(data)

        def __getitem__(self, indices: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], ...]:
            asked.append(int(indices[0]) // 8)
            return data[indices]

    loader = DataLoader(Watched(), 8, prefetch=0)
    ahead = []
    for number, _ in enumerate(loader.batches("cuda"), 1):
        ahead.append(len(asked))
        assert loader.state_dict()["batch"] == number % 4  # those handed out, not those sent
    assert ahead == [2, 3, 4, 4]
    asked.clear()
    loader = DataLoader(Watched(), 8, prefetch=0, transform=lambda batch, place: batch)
    assert [len(asked) for _ in loader.batches("cuda")] == [1, 2, 3, 4]


def test_an_error_comes_after_the_batches_before_it() -> None:
    data = images(32)

    class Failing:
        def __len__(self) -> int:
            return len(data)

        def __getitem__(self, indices: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], ...]:
            if indices[0] == 16:
                raise OSError("the disk is gone")
            return data[indices]

    for prefetch in (0, 2):
        seen = []
        with pytest.raises(OSError, match="the disk is gone"):
            for batch in DataLoader(Failing(), 8, prefetch=prefetch).batches("cuda"):
                seen.append(tensor_of(batch, 0, "cuda:0"))
        np.testing.assert_array_equal(np.concatenate([t.numpy() for t in seen]), data[np.arange(16)][0])


def test_arrays_that_tensors_cannot_hold_stay_on_the_host() -> None:
    loader = DataLoader(ArrayDataset(np.arange(4.0), np.array(list("abcd"))), 2)
    first = next(iter(loader.batches("cuda")))
    assert isinstance(first, DeviceBatch)
    assert first.tensors[0] is not None and first.tensors[0].tolist() == [0, 1] and first.tensors[1] is None
    assert first[1].tolist() == ["a", "b"]


def test_devices_that_are_not_there() -> None:
    with pytest.raises(DeviceError, match="expected an index"):
        next(iter(DataLoader(images(), 8).batches("cuda:99")))
    with pytest.raises(ArgumentError, match="expected 'cpu' or 'cuda"):
        next(iter(DataLoader(images(), 8).batches("gpu")))
    if dc.cuda.device_count() > 1:
        batch = next(iter(DataLoader(images(), 8).batches("cuda:1")))
        assert tensor_of(batch, 0, "cuda:1") is batch.tensors[0]  # type: ignore[attr-defined]
        assert tensor_of(batch, 0, "cuda:0").device == "cuda:0"


@emulated
def test_the_host_waits_for_no_work_on_a_batch(mode: str) -> None:
    batches = DataLoader(images(), 8).batches("cuda")
    x = tensor_of(next(batches), 0, "cuda:0")
    dc.cuda.synchronize()
    before = device_module().launches()
    y = x + x
    next(batches)
    if mode == "late":
        assert device_module().launches() == before
    assert y.shape == (8, 6, 6, 1)


@emulated
def test_no_batch_is_sent_while_a_step_is_recorded() -> None:
    loader = DataLoader(images(), 8)

    def step() -> dc.Tensor:
        return tensor_of(next(iter(loader.batches("cuda"))), 0, "cuda:0") + 1.0

    captured = dc.CapturedStep(step)
    captured()
    with pytest.raises(DeviceError, match="send: expected no batches from the host while a step is recorded"):
        captured()
    assert ops.sum(dc.ones(3, device="cuda")).item() == 3


@emulated
def test_allocations_that_fail_one_after_the_other() -> None:
    module = device_module()

    def run() -> list[dc.Tensor]:
        return [ops.square(tensor_of(b, 0, "cuda:0")) for b in DataLoader(images(20), 8, prefetch=0).batches("cuda")]

    def clean() -> tuple[int, int]:
        gc.collect()
        dc.cuda.empty_cache()
        dc.cuda.synchronize()
        return int(module.live_allocations()), dc.cuda.memory_stats()["current"]

    expected = np.concatenate([t.numpy() for t in run()])
    start = clean()
    failures = 0
    for skip in range(1000):
        before = module.allocations()
        module.fail_allocations(skip, 2)
        try:
            got = run()
        except OutOfMemoryError as error:
            failures += 1
            assert "bytes left" in str(error) or "bytes of pinned memory left" in str(error)
        else:
            np.testing.assert_array_equal(np.concatenate([t.numpy() for t in got]), expected)
            del got
            if module.allocations() - before <= skip:
                break
        finally:
            module.fail_allocations(0, 0)
        assert clean() == start, f"allocation {skip}"
    assert failures > 3


# ---- training ----
def train(loader: DataLoader, **options: Any) -> tuple[list[Any], dict[str, bytes]]:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, seed=1), nn.BatchNorm(4), nn.ReLU(), nn.Dropout(0.2, seed=3), nn.Flatten(),
        nn.Linear(64, 3, seed=2),
    ).to("cuda")  # fmt: skip
    trainer = Trainer(net, optim.Adam(net.parameters(), lr=0.01), progress="off", **options.pop("trainer", {}))
    trainer.fit(loader, DataLoader(images(20), 16, prefetch=0), **{"epochs": 2, **options})
    history = [{k: v for k, v in r.items() if "seconds" not in k and "second" not in k} for r in trainer.history]
    return history, {n: a.tobytes() for n, a in net.state_dict().items()}


@pytest.mark.parametrize("transform", [None, Augment(shift=1, rotate=10.0, mixup=0.2, classes=3, seed=4)])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_training_has_the_same_bits_as_without(transform: Any, prefetch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def loader() -> DataLoader:
        return DataLoader(images(), 16, True, seed=5, prefetch=prefetch, transform=transform)

    staged = train(loader())
    with monkeypatch.context() as patch:
        patch.setattr(DataLoader, "batches", lambda self, device, original=DataLoader.batches: original(self))
        assert train(loader()) == staged


def test_a_resumed_run_has_the_same_bits(tmp_path: Path) -> None:
    def loader() -> DataLoader:
        return DataLoader(images(), 8, True, seed=5)

    expected = train(loader())
    path = tmp_path / "net"
    train(loader(), epochs=10, max_seconds=0.0, checkpoint=path)  # one step
    assert train(loader(), checkpoint=path, resume=True) == expected
