"""Trainer: the one training loop. It takes any module and any task, and can stop and go on at any step."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
import numpy.typing as npt

from deepcore import random as random_
from deepcore.autograd import backward, no_grad
from deepcore.data.loader import Loader
from deepcore.errors import ArgumentError, CheckpointError, NumericalError
from deepcore.nn.module import Module
from deepcore.ops import inplace
from deepcore.optim.optimizer import Optimizer
from deepcore.optim.schedule import Plateau, Schedule
from deepcore.tensor import Tensor
from deepcore.train.callbacks import Callback
from deepcore.train.checkpoint import load_checkpoint, save_checkpoint
from deepcore.train.closure import BatchLoss
from deepcore.train.diagnosis import blame_not_finite
from deepcore.train.progress import Progress
from deepcore.train.supervised import Supervised

Batch = tuple[npt.NDArray[Any], ...]

_COUNTS = ("samples", "seconds", "steps_before", "clipped_before")  # totals of an epoch that are no sums over samples


class Task(Protocol):
    """What a step is: the loss of a batch, and metrics averaged over samples."""

    def step(self, model: Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Loss (one element) and metrics of one batch.

        For a model on a GPU the arrays are there already: `deepcore.staging.tensor_of(batch, 0, model.device)`.
        """
        ...


class Trainer:
    """Trains a module.

    Args:
        model: any module.
        optimizer: of the model's parameters. Where it keeps averages of them (`ASGD`, `Lookahead`), validation,
            `evaluate` and the final model use these; it hears val_loss (or loss) after each epoch (`observe`).
        task: what a step is; default supervised classification (softmax cross-entropy, accuracy).
        schedule: factor of the learning rate at each optimizer step; a `Plateau` hears val_loss (or loss).
        callbacks: see `deepcore.train.Callback`.
        accumulate: batches whose gradients are averaged into one optimizer step.
        ema: decay of an exponential moving average of the weights, or None. With it, validation, `evaluate` and the
            final model use the average, also instead of the optimizer's.
        nan_guard: True stops with NumericalError naming the layer when the loss is not finite; 'gradients' looks at
            every gradient too; False goes on.
        progress: 'auto', 'bar', 'log' or 'off'.
        log: path of a JSONL file that gets one line per epoch.

    Attributes:
        history: one dict per epoch: epoch, step, loss, metrics, val_..., lr, seconds, samples_per_second, grad_norm
            when the optimizer knows it, and with any clipping `clipped`, the steps so far whose gradients it changed,
            and `clipped_share`, their share in the steps of the epoch.
        stop_reason: why `fit` ended.
    """

    def __init__(
        self, model: Module, optimizer: Optimizer, task: Task | None = None, *, schedule: Schedule | None = None,
        callbacks: Sequence[Callback] = (), accumulate: int = 1, ema: float | None = None,
        nan_guard: bool | str = True, progress: str = "auto", log: str | os.PathLike[str] | None = None,
        stream: TextIO | None = None,
    ) -> None:  # fmt: skip
        if accumulate < 1:
            raise ArgumentError(f"Trainer: expected accumulate >= 1, got {accumulate}")
        if ema is not None and not 0 <= ema < 1:
            raise ArgumentError(f"Trainer: expected ema in [0, 1), got {ema}")
        if nan_guard not in (True, False, "gradients"):
            raise ArgumentError(f"Trainer: expected nan_guard True, False or 'gradients', got {nan_guard!r}")
        if progress not in ("auto", "bar", "log", "off"):
            raise ArgumentError(f"Trainer: expected progress 'auto', 'bar', 'log' or 'off', got {progress!r}")
        if optimizer.needs_closure and (accumulate > 1 or nan_guard == "gradients"):
            raise ArgumentError(
                f"Trainer: {type(optimizer).__name__} computes its gradients itself: expected accumulate 1 and "
                f"nan_guard True or False, got {accumulate} and {nan_guard!r}"
            )
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.task: Task = Supervised() if task is None else task
        self.callbacks = list(callbacks)
        self.accumulate, self.nan_guard, self.progress = accumulate, nan_guard, progress
        self.log = Path(log) if log is not None else None
        self.stream = stream
        self.history: list[dict[str, Any]] = []
        self.stop_reason = ""
        self.samples = 0
        self.seconds = 0.0
        self._totals: dict[str, float] = {}
        self._pending = 0
        self._stop: str | None = None
        self._ema_decay = ema
        self._ema: list[Tensor] = [inplace.duplicate(p) for p in model.parameters()] if ema is not None else []

    # ---- control ----
    def stop(self, reason: str) -> None:
        """End training after the current step."""
        self._stop = reason

    def fit(
        self, data: Loader, validation: Loader | None = None, *, epochs: int, max_seconds: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None, checkpoint_every: int | None = None, resume: bool = False,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Train until `epochs` epochs of `data` are done in total; returns the history.

        Args:
            data: batches to train on.
            validation: evaluated after each epoch.
            epochs: passes over `data`, those before a resume included.
            max_seconds: stop after this time (measured over resumed runs together).
            checkpoint: file written after each epoch, at the end and on Ctrl-C.
            checkpoint_every: also write it every so many optimizer steps.
            resume: go on from `checkpoint` if it exists; the result equals the uninterrupted run bit for bit.

        Raises:
            KeyboardInterrupt: after Ctrl-C, once the checkpoint is written (a second Ctrl-C ends at once).
            NumericalError: the loss is not finite (nan_guard).
            CheckpointError: the checkpoint is damaged or belongs to another net, optimizer or data.
        """
        if epochs < 0:
            raise ArgumentError(f"Trainer.fit: expected epochs >= 0, got {epochs}")
        if (resume or checkpoint_every is not None) and checkpoint is None:
            raise ArgumentError("Trainer.fit: resume and checkpoint_every need a checkpoint path")
        path = Path(checkpoint) if checkpoint is not None else None
        if resume and path is not None and path.exists():
            self.load_checkpoint(path, data)
        self._stop = None
        progress = Progress(self.progress, epochs * data.samples, self.samples, self.stream)
        for callback in self.callbacks:
            callback.on_fit_begin(self)
        try:
            with self._interrupts() as interrupted:
                while data.epoch < epochs and self._stop is None:
                    self._epoch(data, validation, epochs, max_seconds, path, checkpoint_every, progress, interrupted)
        finally:
            progress.close()
        self.stop_reason = self._stop or "all epochs done"
        if path is not None:
            self.save_checkpoint(path, data)
        for p, a in self._averages():
            inplace.copy_into(a, p)
        for callback in self.callbacks:
            callback.on_fit_end(self)
        if self.stop_reason == "interrupted":
            raise KeyboardInterrupt
        return self.history

    def _epoch(
        self, data: Loader, validation: Loader | None, epochs: int, max_seconds: float | None,
        path: Path | None, every: int | None, progress: Progress, interrupted: list[bool],
    ) -> None:  # fmt: skip
        epoch = data.epoch
        if "steps_before" not in self._totals:
            self._totals.update(steps_before=self.optimizer.steps, clipped_before=self.optimizer.clipped)
        self.model.train()
        for batch in data.batches(self.model.device):
            started = time.perf_counter()
            loss, metrics = self._train_batch(batch, last=data.epoch > epoch)
            n = data.count(batch)
            self.samples += n
            self._totals["samples"] = self._totals.get("samples", 0.0) + n
            for name, value in {"loss": loss, **metrics}.items():
                self._totals[name] = self._totals.get(name, 0.0) + value * n
            spent = time.perf_counter() - started
            self.seconds += spent
            self._totals["seconds"] = self._totals.get("seconds", 0.0) + spent
            progress.step(n, epoch + 1, epochs, self._means())
            for callback in self.callbacks:
                callback.on_step_end(self, loss)
            if interrupted[0]:
                self._stop = "interrupted"
            elif max_seconds is not None and self.seconds >= max_seconds:
                self._stop = f"time limit of {max_seconds:g} s"
            if data.epoch > epoch:
                self._end_epoch(epoch, validation, epochs, progress)
                if path is not None:
                    self.save_checkpoint(path, data)
                return
            if every is not None and path is not None and self.optimizer.steps % every == 0 and self._pending == 0:
                self.save_checkpoint(path, data)
            # Gradients waiting for their step are not part of a checkpoint: stop only between steps.
            if self._stop is not None and self._pending == 0:
                return

    def _evaluate_batch(self, batch: Batch) -> tuple[Tensor, float, dict[str, float]]:
        loss, metrics = self.task.step(self.model, batch)
        value = float(loss.item())
        if self.nan_guard and not math.isfinite(value):
            raise NumericalError(blame_not_finite(self.model, self.task, batch, value, self.optimizer.steps))
        return loss, value, metrics

    def _train_batch(self, batch: Batch, last: bool) -> tuple[float, dict[str, float]]:
        if self.optimizer.needs_closure:
            closure = BatchLoss(self.model, batch, self._evaluate_batch)
            self._set_rate()
            self.optimizer.step(closure)
            closure.settle()
            self._average()
            return closure.value, closure.metrics
        loss, value, metrics = self._evaluate_batch(batch)
        if self.accumulate == 1 and self.nan_guard != "gradients":
            self._set_rate()
            self.optimizer.backward(loss)
            self._average()
            return value, metrics
        backward(loss)
        self._pending += 1
        if self._pending == self.accumulate or last:
            if self._pending > 1:
                grads = [p.grad for p in self.optimizer.params if p.grad is not None]
                inplace.scale(grads, 1.0 / self._pending)
            if self.nan_guard == "gradients":
                self._check_gradients()
            self._set_rate()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self._pending = 0
            self._average()
        return value, metrics

    def _set_rate(self) -> None:
        if self.schedule is not None:
            self.optimizer.lr_factor = self.schedule(self.optimizer.steps)

    def _average(self) -> None:
        if self._ema_decay is not None:
            # Early on the average of the few weights so far: decay grows to its final value.
            t = self.optimizer.steps
            decay = min(self._ema_decay, (1 + t) / (10 + t))
            inplace.moving_average(self.model.parameters(), self._ema, decay)

    def _check_gradients(self) -> None:
        named = [(n, p) for n, p in self.model.named_parameters() if p.grad is not None]
        bad = inplace.first_not_finite([p.grad for _, p in named if p.grad is not None])
        if bad >= 0:
            raise NumericalError(
                f"the gradient of {named[bad][0]} is not finite at step {self.optimizer.steps}: lower the learning "
                "rate or clip the gradients (clip_norm=1)"
            )

    def _means(self) -> dict[str, float]:
        n = max(self._totals.get("samples", 0.0), 1.0)
        return {k: v / n for k, v in self._totals.items() if k not in _COUNTS}

    def _end_epoch(self, epoch: int, validation: Loader | None, epochs: int, progress: Progress) -> None:
        record: dict[str, Any] = {"epoch": epoch + 1, "step": self.optimizer.steps, **self._means()}
        seconds = self._totals.get("seconds", 0.0)
        record.update(lr=self.optimizer.lr, seconds=seconds)
        record["samples_per_second"] = self._totals.get("samples", 0.0) / seconds if seconds else 0.0
        if self.optimizer.grad_norm is not None:
            record["grad_norm"] = self.optimizer.grad_norm
        if self.optimizer.clips:
            clipped, steps = self.optimizer.clipped, self.optimizer.steps - self._totals["steps_before"]
            share = (clipped - self._totals["clipped_before"]) / steps if steps else 0.0
            record.update(clipped=clipped, clipped_share=share)
        self._totals = {}
        if validation is not None:
            record.update({f"val_{k}": v for k, v in self.evaluate(validation).items()})
            self.model.train()
        heard = record.get("val_loss", record["loss"])
        if isinstance(self.schedule, Plateau):
            self.schedule.update(heard)
        self.optimizer.observe(heard)
        self.history.append(record)
        if self.log is not None:
            with open(self.log, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        progress.epoch(record, epochs)
        for callback in self.callbacks:
            callback.on_epoch_end(self, record)

    def evaluate(self, data: Loader) -> dict[str, float]:
        """Loss and metrics over one epoch of `data` in inference mode, averaged over samples (of every batch)."""
        totals: dict[str, float] = {}
        count = 0
        self.model.eval()
        with self._averaged(), no_grad():
            for batch in data.batches(self.model.device):
                loss, metrics = self.task.step(self.model, batch)
                n = data.count(batch)
                count += n
                for name, value in {"loss": float(loss.item()), **metrics}.items():
                    totals[name] = totals.get(name, 0.0) + value * n
        return {name: value / count for name, value in totals.items()}

    # ---- moving average ----
    def _averages(self) -> list[tuple[Tensor, Tensor]]:
        """Parameters, each with the value to evaluate with; none where that is their own."""
        if self._ema_decay is not None:
            return list(zip(self.model.parameters(), self._ema, strict=True)) if self.optimizer.steps else []
        averages = self.optimizer.averages()
        return [] if averages is None else list(zip(self.optimizer.params, averages, strict=True))

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        pairs = self._averages()
        with inplace.holding([p for p, _ in pairs], [a for _, a in pairs]):
            yield

    def evaluated_state(self) -> dict[str, npt.NDArray[Any]]:
        """The weights that `evaluate` uses: the average if there is one."""
        with self._averaged():
            return self.model.state_dict()

    # ---- checkpoints ----
    def save_checkpoint(self, path: str | os.PathLike[str], data: Loader) -> None:
        """One safetensors file, written atomically: weights, average, optimizer, schedule, position, history."""
        arrays = {f"model.{n}": a for n, a in self.model.state_dict().items()}
        optimizer_arrays, facts = self.optimizer.state_dict()
        arrays.update({f"optimizer.{n}": a for n, a in optimizer_arrays.items()})
        arrays.update({f"ema.{i}": np.array(a.numpy()) for i, a in enumerate(self._ema)})
        for i, callback in enumerate(self.callbacks):
            arrays.update({f"callback.{i}.{n}": a for n, a in callback.arrays().items()})
        meta = {
            "kind": "deepcore training",
            "optimizer": facts,
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "callbacks": [c.state_dict() for c in self.callbacks],
            "data": data.state_dict(),
            "random": random_.default_generator().state_dict(),
            "history": self.history,
            "totals": self._totals,
            "samples": self.samples,
            "seconds": self.seconds,
        }
        save_checkpoint(path, arrays, meta)

    def load_checkpoint(self, path: str | os.PathLike[str], data: Loader) -> None:
        """Continue where `save_checkpoint` was called. CheckpointError if it does not fit."""
        arrays, meta = load_checkpoint(path)
        if meta.get("kind") != "deepcore training":
            raise CheckpointError(f"{path}: expected a training checkpoint, got kind {meta.get('kind')!r}")
        if len(meta["callbacks"]) != len(self.callbacks) or (meta["schedule"] is None) != (self.schedule is None):
            raise CheckpointError(f"{path}: the checkpoint has other callbacks or another schedule")

        def part(prefix: str) -> dict[str, npt.NDArray[Any]]:
            return {n[len(prefix) :]: a for n, a in arrays.items() if n.startswith(prefix)}

        ema = part("ema.")
        if len(ema) != len(self._ema):
            raise CheckpointError(f"{path}: expected {len(self._ema)} averaged weights, got {len(ema)}")
        self.model.load_state_dict(part("model."))
        self.optimizer.load_state_dict(part("optimizer."), meta["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(meta["schedule"])
        for i, a in enumerate(self._ema):
            inplace.copy_into(ema[str(i)], a)
        for i, callback in enumerate(self.callbacks):
            callback.load_state(meta["callbacks"][i], part(f"callback.{i}."))
        data.load_state_dict(meta["data"])
        random_.default_generator().load_state_dict(meta["random"])
        self.history = list(meta["history"])
        self._totals = dict(meta["totals"])
        self.samples, self.seconds = int(meta["samples"]), float(meta["seconds"])

    # ---- Ctrl-C ----
    @contextlib.contextmanager
    def _interrupts(self) -> Iterator[list[bool]]:
        """A flag that Ctrl-C raises; the loop stops at the next step. Only the main thread can listen."""
        flag = [False]
        if threading.current_thread() is not threading.main_thread():
            yield flag
            return
        before = signal.getsignal(signal.SIGINT)

        def listen(number: int, frame: Any) -> None:
            flag[0] = True
            signal.signal(signal.SIGINT, before if callable(before) else signal.default_int_handler)

        signal.signal(signal.SIGINT, listen)
        try:
            yield flag
        finally:
            signal.signal(signal.SIGINT, before)
