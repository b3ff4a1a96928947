"""The bench of gates: runs of a task, the table, what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench import gates
from deepcore import Tensor, ops, tensor


def last_mark(seed: int, n: int = gates.BATCH) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).integers(0, 2, (n, 3, 1)).astype(np.float32)
    return x, x[:, -1]


def task(limit: int) -> gates.Task:
    x_test, y_test = last_mark(1 << 20, 100)

    def loss(z: Tensor, y: np.ndarray) -> Tensor:
        return ops.mse_loss(z, tensor(y))

    return gates.Task(1, 1, False, limit, last_mark, loss, lambda f: bool(np.mean((f(x_test) - y_test) ** 2) < 0.05))


@pytest.mark.parametrize("kind", gates.GATES)
def test_steps_are_counted_until_a_task_is_learned(kind: str) -> None:
    adam = gates.OPTIMIZERS["adding"]["Adam"]
    steps = gates.steps_to_learn(task(300), kind, adam, seed=0)
    assert steps % gates.EVERY == 0 and gates.EVERY <= steps <= 300
    assert gates.steps_to_learn(task(gates.EVERY - 1), kind, adam, seed=0) == math.inf


def test_the_table_gives_medians_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    table = gates._table({"copy, SGD, 1": [50.0, math.inf, 25.0], "copy, SGD, refine": [math.inf, math.inf, 75.0]})
    row = table.splitlines()[1]
    assert row.split("copy, SGD")[1].split() == ["50", "(2", "of", "3)", "-", "(1", "of", "3)"]
    for options, text in (
        (["--tasks", "sorting"], "expected tasks among copy, adding, rows, got 'sorting'"),
        (["--seeds", "0"], "expected seeds >= 1"),
        (["--tasks", "rows"], "expected --data DIR"),
    ):
        assert gates.main(options, "gates") == 2
        assert text in capsys.readouterr().err
