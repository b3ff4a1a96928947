"""What steeper gates bring: `python -m bench gates --data DIR`.

Steps of training until a task is learned, for the same coupled LSTM (64 units, bias 1 where it keeps) whose gates have

    1         slope 1
    3.75      slope 3.75 ("steep")
    annealed  slope 1 at first, 3.75 from the middle of the limit on, rising from step to step
    learned   slopes that are parameters and start at 1
    refine    a second gate that moves the forget gate (Gu et al., 2020)

with clipped SGD (momentum 0.9) and Adam, at rates that were set for slope 1. Runs with several seeds; printed are the
median of the steps and how many runs got there. A run that does not counts as longer than any.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from deepcore import Tensor, data, nn, no_grad, ops, optim, tensor
from deepcore.errors import ArgumentError, DataError, Error
from deepcore.nn.rnn import STEEP

UNITS, BATCH, EVERY = 64, 32, 25  # a run is looked at after every EVERY steps
TEST_SEED = 1 << 30
GATES = ("1", "3.75", "annealed", "learned", "refine")
OPTIMIZERS: dict[str, dict[str, Callable[[Any], optim.Optimizer]]] = {
    "copy": {
        "SGD": lambda p: optim.SGD(p, 1.0, momentum=0.9, clip_norm=1.0),
        "Adam": lambda p: optim.Adam(p, 1e-2, clip_norm=1.0),
    },
    "adding": {
        "SGD": lambda p: optim.SGD(p, 0.03, momentum=0.9, clip_norm=1.0),
        "Adam": lambda p: optim.Adam(p, 3e-3, clip_norm=1.0),
    },
    "rows": {
        "SGD": lambda p: optim.SGD(p, 0.1, momentum=0.9, clip_norm=1.0),
        "Adam": lambda p: optim.Adam(p, 3e-3, clip_norm=1.0),
    },
}


class Task(NamedTuple):
    """A task: sizes of the net, whether every step answers, batches, and when it counts as learned."""

    inputs: int
    outputs: int
    every_step: bool
    limit: int
    batch: Callable[[int], tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]
    loss: Callable[[Tensor, np.ndarray[Any, Any]], Tensor]
    learned: Callable[[Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]], bool]


def copying() -> Task:
    """Ten symbols of eight kinds, asked for 100 steps later: chance finds an eighth of them."""
    delay, length, kinds = 100, 10, 8
    one_hot = np.eye(kinds + 2, dtype=np.float32)

    def batch(seed: int, n: int = BATCH) -> tuple[Any, Any]:
        x, y = data.copy_memory(n, delay, seed=seed, symbols=kinds, length=length)
        return one_hot[x], y

    def loss(z: Tensor, y: Any) -> Tensor:
        return ops.softmax_cross_entropy(ops.reshape(z, -1, kinds + 1), tensor(y.reshape(-1)))

    x_test, y_test = batch(TEST_SEED, 256)

    def learned(predict: Any) -> bool:
        found = predict(x_test)[:, -length:].argmax(-1)
        return bool(np.mean(found == y_test[:, -length:]) > 0.25)

    return Task(kinds + 2, kinds + 1, True, 1500, batch, loss, learned)


def adding() -> Task:
    """Two marked numbers of 200."""
    length = 200

    def batch(seed: int, n: int = BATCH) -> tuple[Any, Any]:
        x, y = data.adding(n, length, seed=seed)
        return x, y[:, None].astype(np.float32)

    x_test, y_test = batch(TEST_SEED, 500)

    def learned(predict: Any) -> bool:
        return bool(np.mean((predict(x_test) - y_test) ** 2) <= 0.01)

    def loss(z: Tensor, y: Any) -> Tensor:
        return ops.mse_loss(z, tensor(y))

    return Task(2, 1, False, 1500, batch, loss, learned)


def rows(folder: Path) -> Task:
    """MNIST read row by row; the last 2,000 training images are held out."""
    x, y, _, _ = data.load_mnist(folder)
    images = x.reshape(len(x), 28, 28).astype(np.float32) / 255
    trained = len(x) - 2000

    def batch(seed: int) -> tuple[Any, Any]:
        chosen = np.random.default_rng(seed).integers(0, trained, BATCH)
        return images[chosen], y[chosen]

    def learned(predict: Any) -> bool:
        return bool(np.mean(predict(images[trained:]).argmax(1) == y[trained:]) >= 0.95)

    def loss(z: Tensor, labels: Any) -> Tensor:
        return ops.softmax_cross_entropy(z, tensor(labels))

    return Task(28, 10, False, 1500, batch, loss, learned)


def steps_to_learn(task: Task, gates: str, make: Callable[[Any], optim.Optimizer], seed: int) -> float:
    """Steps until the task is learned, inf where the limit comes before or training blows up."""
    slope: float | str = {"3.75": "steep", "learned": "learned"}.get(gates, 1.0)
    layer = nn.LSTM(
        task.inputs, UNITS, coupled=True, slope=slope, refine=gates == "refine",
        output="sequence" if task.every_step else "last", seed=seed,
    )  # fmt: skip
    net = nn.Sequential(layer, nn.Linear(UNITS, task.outputs, seed=seed + 1))
    optimizer = make(net.parameters())

    def predict(x: Any) -> Any:
        with no_grad():
            return net(tensor(x)).numpy()

    for step in range(task.limit):
        if gates == "annealed":
            layer.slope = 1.0 + (STEEP - 1.0) * min(1.0, 2.0 * step / task.limit)
        x, y = task.batch(seed * task.limit + step)
        loss = task.loss(net(tensor(x)), y)
        if not math.isfinite(float(loss.item())):
            return math.inf
        optimizer.backward(loss)
        if (step + 1) % EVERY == 0 and task.learned(predict):
            return step + 1
    return math.inf


def main(argv: list[str], program: str) -> int:
    """Run what is asked for; a table on stdout, with --json the runs as the last line."""
    parser = argparse.ArgumentParser(
        prog=program, description="Steps of training until a task is learned, by the steepness of gates.",
        epilog=f"example: {program} --tasks adding --optimizers Adam --seeds 3",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, help="folder with mnist/, for the task `rows`")
    parser.add_argument("--tasks", default="copy,adding,rows", help="some of copy,adding,rows (default: all)")
    parser.add_argument("--gates", default=",".join(GATES), help=f"some of {','.join(GATES)} (default: all)")
    parser.add_argument("--optimizers", default="SGD,Adam", help="SGD, Adam or both (default)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each (default: 5)")
    parser.add_argument("--json", action="store_true", help="print the runs as one JSON line at the end")
    options = parser.parse_args(argv)
    try:
        runs = _runs(options)
    except Error as e:
        print(e, file=sys.stderr)
        return 2
    print(_table(runs))
    if options.json:
        print(json.dumps({k: [None if math.isinf(s) else s for s in v] for k, v in runs.items()}))
    return 0


def _chosen(what: str, text: str, known: tuple[str, ...]) -> list[str]:
    names = [n.strip() for n in text.split(",") if n.strip()]
    wrong = [n for n in names if n not in known]
    if wrong or not names:
        raise ArgumentError(f"gates: expected {what} among {', '.join(known)}, got {wrong[0] if wrong else text!r}")
    return names


def _runs(options: argparse.Namespace) -> dict[str, list[float]]:
    tasks = _chosen("tasks", options.tasks, ("copy", "adding", "rows"))
    gates = _chosen("gates", options.gates, GATES)
    optimizers = _chosen("optimizers", options.optimizers, ("SGD", "Adam"))
    if options.seeds < 1:
        raise ArgumentError(f"gates: expected seeds >= 1, got {options.seeds}")
    if "rows" in tasks and options.data is None:
        raise DataError("gates: the task `rows` reads MNIST: expected --data DIR, or --tasks copy,adding")
    built = {n: rows(options.data / "mnist") if n == "rows" else copying() if n == "copy" else adding() for n in tasks}
    plan = [(t, o, g, s) for t in tasks for o in optimizers for g in gates for s in range(options.seeds)]
    runs: dict[str, list[float]] = {}
    with tqdm(plan, unit="run", file=sys.stderr) as bar:
        for t, o, g, seed in bar:
            bar.set_description(f"{t}, {o}, gates {g}")
            runs.setdefault(f"{t}, {o}, {g}", []).append(steps_to_learn(built[t], g, OPTIMIZERS[t][o], seed))
    return runs


def _table(runs: dict[str, list[float]]) -> str:
    gates = list(dict.fromkeys(k.split(", ")[2] for k in runs))
    lines = ["task, optimizer".ljust(18) + "".join(g.rjust(16) for g in gates)]
    for row in dict.fromkeys(k.rsplit(", ", 1)[0] for k in runs):
        cells = []
        for g in gates:
            steps = runs[f"{row}, {g}"]
            middle, done = statistics.median(steps), sum(map(math.isfinite, steps))
            cells.append(f"{'-' if math.isinf(middle) else f'{middle:.0f}'} ({done} of {len(steps)})".rjust(16))
        lines.append(row.ljust(18) + "".join(cells))
    return "\n".join([*lines, "Median of the steps until learned (runs that learned it); -: fewer than half did."])
