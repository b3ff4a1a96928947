"""The trainer: it learns, stops, resumes bit for bit, guards, and shows progress."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore import nn, ops, optim
from deepcore.data import ArrayDataset, DataLoader, load_digits
from deepcore.errors import ArgumentError, CheckpointError, NumericalError
from deepcore.ops import inplace
from deepcore.optim import OneCycle, Plateau
from deepcore.train import Callback, EarlyStopping, Supervised, Trainer


def digits(n: int = 400) -> tuple[ArrayDataset, ArrayDataset]:
    x, y, xt, yt = load_digits()
    flat = x.reshape(len(x), -1).astype(np.float32)[:n] / 16
    test = xt.reshape(len(xt), -1).astype(np.float32) / 16
    return ArrayDataset(flat, y[:n].astype(np.int64)), ArrayDataset(test, yt.astype(np.int64))


def make(**options: Any) -> Trainer:
    model = nn.Sequential(
        nn.Linear(64, 32, activation="relu", seed=0),
        nn.BatchNorm(32),
        nn.Dropout(0.2, seed=1),
        nn.Linear(32, 10, seed=2),
    )
    options.setdefault("progress", "off")
    return Trainer(model, optim.Adam(model.parameters(), 3e-3, clip_norm=5.0), **options)


def loaders(n: int = 400, batch: int = 32) -> tuple[DataLoader, DataLoader]:
    train, test = digits(n)
    return DataLoader(train, batch, shuffle=True, seed=3), DataLoader(test, 128)


def test_learns_digits_in_seconds() -> None:
    trainer = make()
    data, test = loaders(1400)
    history = trainer.fit(data, test, epochs=12)
    assert history[-1]["val_accuracy"] > 0.95
    assert history[-1]["loss"] < history[0]["loss"]
    assert {"epoch", "step", "loss", "accuracy", "val_loss", "lr", "seconds", "samples_per_second", "grad_norm"} <= set(
        history[0]
    )


def state_bytes(trainer: Trainer) -> dict[str, bytes]:
    return {k: v.tobytes() for k, v in trainer.model.state_dict().items()}


def options() -> dict[str, Any]:
    return {"schedule": OneCycle(39), "ema": 0.9, "callbacks": [EarlyStopping("val_loss", patience=50)]}


def no_times(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k not in ("seconds", "samples_per_second")} for r in history]


@pytest.mark.parametrize("stop_after", [1, 7, 13, 20, 38])
def test_resume_equals_uninterrupted(tmp_path: Path, stop_after: int) -> None:
    whole = make(**options())
    data, test = loaders()
    whole.fit(data, test, epochs=3)

    class Stop(Callback):
        def on_step_end(self, trainer: Trainer, loss: float) -> None:
            if trainer.optimizer.steps == stop_after:
                trainer.stop("test")

    path = tmp_path / "c.safetensors"
    first = make(**options())
    first.callbacks.append(Stop())
    data, test = loaders()
    first.fit(data, test, epochs=3, checkpoint=path)
    assert first.optimizer.steps == stop_after
    second = make(**options())
    second.callbacks.append(Callback())
    data, test = loaders()
    second.fit(data, test, epochs=3, checkpoint=path, resume=True)
    assert state_bytes(second) == state_bytes(whole)
    assert no_times(second.history) == no_times(whole.history)


def test_early_stopping_restores_the_best_weights() -> None:
    stopper = EarlyStopping("val_loss", patience=2)
    trainer = make(callbacks=[stopper])
    for g in trainer.optimizer.groups:
        g["lr"] = 0.3  # so large that it gets worse soon
    data, test = loaders()
    trainer.fit(data, test, epochs=40)
    assert len(trainer.history) < 40 and trainer.stop_reason.startswith("no improvement")
    assert trainer.evaluate(test)["loss"] == pytest.approx(stopper.best, rel=1e-6)


def test_accumulation_equals_a_larger_batch() -> None:
    train, _ = digits(96)

    def run(batch: int, accumulate: int) -> dict[str, np.ndarray]:
        model = nn.Sequential(nn.Linear(64, 16, activation="tanh", seed=0), nn.Linear(16, 10, seed=1))
        trainer = Trainer(model, optim.SGD(model.parameters(), 0.1), accumulate=accumulate, progress="off")
        trainer.fit(DataLoader(train, batch, shuffle=True, seed=1), epochs=2)
        assert trainer.optimizer.steps == 6
        return model.state_dict()

    small, large = run(8, 4), run(32, 1)
    for k in small:
        np.testing.assert_allclose(small[k], large[k], rtol=1e-4, atol=1e-6)


def test_time_limit_and_plateau() -> None:
    trainer = make(schedule=Plateau(0.5, 0))
    data, test = loaders()
    started = time.perf_counter()
    trainer.fit(data, test, epochs=100_000, max_seconds=0.3)
    assert time.perf_counter() - started < 20
    assert "time limit" in trainer.stop_reason


def test_nan_guard_names_sample_parameter_and_layer() -> None:
    train, _ = digits(64)
    x, y = train[np.arange(64)]
    bad = np.array(x)
    bad[5, 3] = np.inf
    trainer = make()
    with pytest.raises(NumericalError, match="the inputs of sample 5"):
        trainer.fit(DataLoader(ArrayDataset(bad, y), 64), epochs=1)
    trainer = make()
    weight = trainer.model.state_dict()
    weight["3.weight"][0, 0] = np.nan
    trainer.model.load_state_dict(weight)
    with pytest.raises(NumericalError, match=r"parameter 3\.weight is not finite"):
        trainer.fit(DataLoader(train, 64), epochs=1)
    trainer = make()
    weight = trainer.model.state_dict()
    weight["0.weight"][:] = 3e38
    trainer.model.load_state_dict(weight)
    with pytest.raises(NumericalError, match=r"output of layer 0 \(Linear\)"):
        trainer.fit(DataLoader(train, 64), epochs=1)


@pytest.mark.parametrize("output", ["last", "sequence"])
@pytest.mark.parametrize("time_major", [False, True])
def test_the_time_step_at_which_a_recurrent_layer_blows_up_is_named(output: str, time_major: bool) -> None:
    # h grows 1e9 times at each step: float32 holds it for five.
    layer = nn.SimpleRNN(1, 1, activation="relu", identity=True, output=output, time_major=time_major, seed=0)
    inplace.copy_into(np.full((1, 1), 1e9, np.float32), layer.layer0.recurrent_weight)
    inplace.copy_into(np.ones((1, 1), np.float32), layer.layer0.weight)
    net = nn.Sequential(layer)
    x = np.ones((12, 3, 1) if time_major else (3, 12, 1), np.float32)
    trainer = Trainer(net, optim.SGD(net.parameters(), 0.1), Supervised(lambda z, t, w: ops.mse_loss(z, 0 * z), {}))
    with pytest.raises(NumericalError, match=r"layer 0 \(SimpleRNN\) at time step 5 is not finite"):
        trainer.fit(DataLoader(ArrayDataset(x, np.zeros(len(x))), len(x)), epochs=1)
    assert "forward" not in layer.__dict__ and layer.output == output


def test_progress_modes(tmp_path: Path) -> None:
    stream = io.StringIO()
    trainer = make(progress="auto", stream=stream, log=tmp_path / "log.jsonl")
    data, test = loaders(64)
    trainer.fit(data, test, epochs=2)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and lines[0].startswith("epoch 1/2  loss ") and "val_accuracy" in lines[1]
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert records == trainer.history

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    bar = Terminal()
    trainer = make(progress="auto", stream=bar)
    data, test = loaders(64)
    trainer.fit(data, test, epochs=1)
    assert "epoch 1/1" in bar.getvalue() and "samples/s" in bar.getvalue() and "loss" in bar.getvalue()


def test_ctrl_c_leaves_a_usable_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    script = tmp_path / "child.py"
    script.write_text(
        "import sys, numpy as np\n"
        "from deepcore import nn, optim\n"
        "from deepcore.data import ArrayDataset, DataLoader\n"
        "from deepcore.train import Callback, Trainer\n"
        "class Say(Callback):\n"
        "    def on_step_end(self, trainer, loss):\n"
        "        if trainer.optimizer.steps == 3:\n"
        "            print('ready', flush=True)\n"
        "rng = np.random.default_rng(0)\n"
        "x = rng.standard_normal((256, 8)).astype('f4')\n"
        "y = (x[:, 0] > 0).astype('i8')\n"
        "m = nn.Sequential(nn.Linear(8, 8, activation='relu', seed=0), nn.Linear(8, 2, seed=1))\n"
        "t = Trainer(m, optim.Adam(m.parameters()), progress='off', callbacks=[Say()])\n"
        "data = DataLoader(ArrayDataset(x, y), 8, shuffle=True)\n"
        "t.fit(data, epochs=int(sys.argv[2]), checkpoint=sys.argv[1], resume=True)\n"
        "print('done', t.optimizer.steps, flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, str(script), str(path), "1000000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline().strip() == "ready"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode != 0 and "KeyboardInterrupt" in err
    again = subprocess.run(
        [sys.executable, str(script), str(path), "1"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "done" in again.stdout


def test_fit_in_another_thread() -> None:
    trainer = make()
    data, _ = loaders(64)
    worker = threading.Thread(target=lambda: trainer.fit(data, epochs=1))
    worker.start()
    worker.join()
    assert len(trainer.history) == 1


def test_errors(tmp_path: Path) -> None:
    trainer = make()
    data, _ = loaders(64)
    with pytest.raises(ArgumentError, match="need a checkpoint path"):
        trainer.fit(data, epochs=1, resume=True)
    path = tmp_path / "c.safetensors"
    trainer.fit(data, epochs=1, checkpoint=path)
    other = Trainer(trainer.model, optim.SGD(trainer.model.parameters()), progress="off")
    data, _ = loaders(64)
    with pytest.raises(CheckpointError, match="expected SGD, got Adam"):
        other.fit(data, epochs=2, checkpoint=path, resume=True)
    data, _ = loaders(65)
    with pytest.raises(CheckpointError, match="DataLoader"):
        make().fit(data, epochs=2, checkpoint=path, resume=True)
    assert os.listdir(tmp_path) == ["c.safetensors"]
