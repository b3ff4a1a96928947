from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import pairwise

import pytest

from deepcore.errors import ArgumentError, CheckpointError
from deepcore.optim.schedule import Constant, Cosine, MultiStep, OneCycle, Plateau, Schedule, Step, WarmUp


def curve(schedule: Schedule, steps: int) -> list[float]:
    return [schedule(step) for step in range(steps)]


def test_constant() -> None:
    assert curve(Constant(), 3) == [1.0, 1.0, 1.0]


def test_step() -> None:
    assert curve(Step(2, gamma=0.5), 6) == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_multi_step() -> None:
    assert curve(MultiStep([1, 4], gamma=0.5), 6) == [1.0, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert curve(MultiStep([]), 2) == [1.0, 1.0]


def test_cosine() -> None:
    assert curve(Cosine(4), 6) == pytest.approx([1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0, 0])
    assert curve(Cosine(2, minimum=0.2), 4) == pytest.approx([1.0, 0.6, 0.2, 0.2])


def test_one_cycle() -> None:
    schedule = OneCycle(11, warmup=0.4, start=0.1, end=0.01)
    values = curve(schedule, 13)
    assert values[0] == pytest.approx(0.1)
    assert values[2] == pytest.approx(0.55)
    assert values[4] == pytest.approx(1.0)
    assert values[7] == pytest.approx((1 + 0.01) / 2)
    assert values[10:] == pytest.approx([0.01] * 3)
    assert all(a < b for a, b in pairwise(values[:5]))
    assert all(a > b for a, b in pairwise(values[4:11]))


def test_warm_up() -> None:
    assert curve(WarmUp(4), 6) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert curve(WarmUp(2, Step(1, gamma=0.5), start=0.5), 5) == [0.75, 1.0, 1.0, 0.5, 0.25]


def test_plateau_by_hand() -> None:
    schedule = Plateau(gamma=0.5, patience=1, threshold=0.0, cooldown=1, minimum=0.2)
    factors = []
    for metric in [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0]:
        schedule.update(metric)
        factors.append(schedule(0))
    #            better  fail  cut  wait  fail  cut   better fail (not waiting) ...
    assert factors == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(("patience", "cooldown"), [(0, 0), (1, 0), (2, 1), (3, 2)])
def test_plateau_against_torch(mode: str, patience: int, cooldown: int) -> None:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode=mode, factor=0.5, patience=patience, threshold=0.01, cooldown=cooldown, min_lr=1e-3, eps=0.0
    )
    mine = Plateau(0.5, patience, mode=mode, threshold=0.01, cooldown=cooldown, minimum=1e-3)  # type: ignore[arg-type]
    values = [5.0, 4.0, 4.1, 3.99, 3.98, 4.2, 3.0, 3.1, 3.1, 3.1, 2.0, 2.5, 2.5, 2.5, 2.5, 2.5, 2.5, 1.0, 1.0, 1.0, 1.0]
    for value in values:
        mine.update(value)
        other.step(value)
        assert mine(0) == optimizer.param_groups[0]["lr"]


def test_plateau_modes_and_threshold() -> None:
    rising = Plateau(0.5, patience=0, mode="max", threshold=0.1)
    for metric, expected in [(1.0, 1.0), (1.2, 1.0), (1.3, 0.5), (1.4, 0.5)]:
        rising.update(metric)
        assert rising(0) == expected
    infinite = Plateau(0.5, patience=0)
    infinite.update(math.inf)
    infinite.update(1.0)
    assert infinite(0) == 1.0
    with pytest.raises(ArgumentError, match="got nan"):
        infinite.update(math.nan)


def test_state_resumes_plateau() -> None:
    values = [3.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    for cut in range(len(values)):
        whole, first, second = (WarmUp(3, Plateau(0.5, patience=1, cooldown=1)) for _ in range(3))
        for schedule, part in ((whole, values), (first, values[:cut])):
            assert isinstance(schedule.after, Plateau)
            for value in part:
                schedule.after.update(value)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert isinstance(second.after, Plateau)
        for value in values[cut:]:
            second.after.update(value)
        assert second.state_dict() == whole.state_dict()
        assert second(5) == whole(5)


def test_state_of_another_class() -> None:
    with pytest.raises(CheckpointError, match="expected a state of Cosine, got 'Step'"):
        Cosine(3).load_state_dict(Step(3).state_dict())
    with pytest.raises(CheckpointError, match="expected factor"):
        Plateau().load_state_dict({"type": "Plateau", "factor": "x", "best": None, "failures": 0, "waiting": 0})
    with pytest.raises(CheckpointError, match="after WarmUp"):
        WarmUp(2).load_state_dict({"type": "WarmUp"})
    Cosine(3).load_state_dict(Cosine(3).state_dict())


@pytest.mark.parametrize(
    "make",
    [
        lambda: Step(0),
        lambda: Step(1.5),  # type: ignore[arg-type]
        lambda: Step(3, gamma=0.0),
        lambda: MultiStep([3, 2]),
        lambda: MultiStep([0]),
        lambda: Cosine(0),
        lambda: Cosine(3, minimum=1.1),
        lambda: OneCycle(1),
        lambda: OneCycle(10, warmup=0.0),
        lambda: OneCycle(10, start=-1.0),
        lambda: WarmUp(0),
        lambda: WarmUp(3, start=2.0),
        lambda: Plateau(gamma=1.0),
        lambda: Plateau(patience=-1),
        lambda: Plateau(mode="up"),  # type: ignore[arg-type]
        lambda: Plateau(threshold=math.nan),
        lambda: Cosine(3)(-1),
    ],
)
def test_arguments(make: Callable[[], object]) -> None:
    with pytest.raises(ArgumentError, match=r"expected .*got"):
        make()
