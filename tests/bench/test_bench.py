"""The benchmark: cases agree with their references, wrong kernels are found out, the table and JSON are well formed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepcore as dc
from deepcore.bench import peak, run, table, timing
from deepcore.bench.case import LIBRARIES, Case, difference, families

FAST = ["overhead", "loss/softmax 128x10 fwd", "gemm/128"]


def test_names_are_unique_and_complete() -> None:
    cases = [c for found in families().values() for c in found]
    assert len({c.key for c in cases}) == len(cases)
    for case in cases:
        assert {"deepcore"} <= set(case.builders) <= set(LIBRARIES), case.key
        assert all(case.family == f for f, found in families().items() if case in found)


def test_what_numpy_does_not_time_it_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, name = tmp_path / "out.json", "rnn_around/LSTM 256, projection, fwd+bwd"
    assert run.main([name, "--rounds", "1", "--seconds", "0.01", "--json", str(path)]) == 0
    (row,) = json.loads(path.read_text())["results"]
    assert row["seconds"] > 0 and "problems" not in row and set(row["times"]) == {"deepcore"}


def test_json_and_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    options = ["--rounds", "1", "--seconds", "0.01", "--threads", "1", "--json", str(path)]
    assert run.main([*FAST, *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    document = json.loads(path.read_text())
    assert document["machine"]["threads"] == 1 and document["machine"]["peak"]["flops"] > 1e8
    rows = {f"{r['family']}/{r['name']}": r for r in document["results"]}
    assert set(rows) == {"overhead/add of 4 values", "overhead/ReLU of 4 values", *FAST[1:]}
    for key, row in rows.items():
        assert row["seconds"] > 0 and row["ratios"]["numpy"] > 0 and "problems" not in row, key
    assert rows["gemm/128"]["rate"].endswith("GFLOP/s") and 0 < rows["gemm/128"]["peak"] < 1.5
    columns = next(line for line in lines if line.split()[:2] == ["time", "spread"])
    row = next(line for line in lines if line.startswith("128 "))
    assert row.index("GFLOP/s") + len("GFLOP/s") == columns.index("rate") + len("rate")
    # a run compared with itself
    assert run.main(["compare", str(path), str(path)]) == 0
    assert "1.00x" in capsys.readouterr().out


def test_json_on_stdout_is_only_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["overhead", "--rounds", "1", "--seconds", "0.01", "--json"]) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["results"]) == 2
    assert "measured peak" in captured.err


def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["nosuch"]) == 2
    assert "nosuch" in capsys.readouterr().err
    assert run.main(["--peers", "torch,abacus"]) == 2
    assert "abacus" in capsys.readouterr().err
    assert run.main(["--threads", "-1"]) == 2
    (tmp_path / "bad.json").write_text("[1]")
    assert run.main(["compare", str(tmp_path / "bad.json"), str(tmp_path / "bad.json")]) == 2
    assert run.main(["compare", str(tmp_path / "none.json"), str(tmp_path / "none.json")]) == 2


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--list"]) == 0
    assert "  conv/lenet1 fwd+bwd  [>= 3x]" in capsys.readouterr().out.splitlines()


def test_wrong_results_are_found_and_not_timed() -> None:
    case = next(c for c in families()["gemm"] if c.name == "128")
    a, b = case.arrays(np.random.default_rng(1))
    right = case.reference(a.astype("f8"), b.astype("f8"))
    assert difference(case, [a @ b], right) is None
    off = a @ b
    off[5, 7] += 0.01 * np.abs(off).max()
    assert "error 0.01" in str(difference(case, [off], right))
    assert "expected shape" in str(difference(case, [off[1:]], right))
    off[5, 7] = np.nan
    assert "error nan" in str(difference(case, [off], right))


class Liar:
    """A worker whose results are wrong."""

    def ask(self, **request: Any) -> dict[str, Any]:
        assert request["do"] != "burst", "timed though wrong"
        return {"ok": True, "difference": "array 0: error 1"}


def test_a_wrong_library_gets_no_time() -> None:
    case = next(c for c in families()["gemm"] if c.name == "128")
    workers: Any = {"deepcore": Liar()}
    outcome = timing.measure(case, workers, rounds=2, seconds=0.01)
    assert outcome.times == {} and "wrong result" in outcome.problems["deepcore"]
    result = run.result_of(case, outcome, {"flops": 1e9, "read": [[1024, 1e9]]})
    assert result["ok"] is False and "seconds" not in result


@pytest.mark.parametrize("request_", ["flops", "burst"])
def test_a_process_that_ends_is_a_problem_of_its_row(request_: str) -> None:
    class Ending:
        def ask(self, **request: Any) -> dict[str, Any]:
            if request["do"] == request_:
                raise timing.WorkerError("deepcore: the process has ended")
            return {"difference": None, "flops": 1e9, "times": [1e-3]}

    case = families()["gemm"][0]
    workers: Any = {"deepcore": Ending()}
    outcome = timing.measure(case, workers, rounds=2, seconds=0.01)
    assert outcome.problems == {"deepcore": "deepcore: the process has ended"}
    result = run.result_of(case, outcome, {"flops": 1e9, "read": [[1 << 30, 1e9]]})
    assert result["ok"] is False
    assert "seconds" not in result


def test_verdicts() -> None:
    base = next(c for c in families()["gemm"] if c.name == "512")
    ceiling = {"flops": 2.0 * 512**3, "read": [[1 << 40, 1e15]]}  # one second at the peak

    def verdict(case: Case, ours: float, other: float) -> Any:
        times = {"deepcore": timing.Times([ours]), "numpy": timing.Times([1.0]), "torch": timing.Times([other])}
        return run.result_of(case, timing.Outcome(times), ceiling)

    assert verdict(base, 1.1, 1)["ok"] is True and verdict(base, 1.3, 1)["ok"] is False
    against_peers = dataclasses.replace(base, target=run_target("peer", 1.5))
    assert verdict(against_peers, 1.0, 1.6)["ok"] is True and verdict(against_peers, 1.0, 1.4)["ok"] is False
    quick = dataclasses.replace(base, target=run_target("seconds", 3e-6))
    assert verdict(quick, 2e-6, 1)["ok"] is True and verdict(quick, 4e-6, 1)["ok"] is False
    alone = run.result_of(against_peers, timing.Outcome({"deepcore": timing.Times([1.0])}), ceiling)
    assert "ok" not in alone


def run_target(kind: str, value: float) -> Any:
    from deepcore.bench import Target

    return Target(kind, value)


def test_peak_and_bounds() -> None:
    measured = peak.measure(0.01)
    assert measured["flops"] > 1e8 and len(measured["read"]) == len(peak.SIZES)
    known = {"flops": 100.0, "read": [[10, 50.0], [1000, 5.0]]}
    assert peak.shortest_time(known, 200.0, 0.0) == 2.0
    assert peak.shortest_time(known, 0.0, 10.0) == 0.2
    assert peak.shortest_time(known, 100.0, 500.0) == 100.0
    assert peak.bandwidth(known, 10**9) == 5.0
    with pytest.raises(dc.errors.ArgumentError, match="measure_peak"):
        peak.measure(0.0)


def test_numbers_for_people() -> None:
    assert [table.seconds(s) for s in (2.5, 1.234e-3, 45.67e-6, 999.9e-6, 3e-9)] == [
        "2.50 s", "1.23 ms", "45.7 us", "1.00 ms", "3.00 ns",
    ]  # fmt: skip
    assert table.ratio(None) == "" and table.ratio(12.34) == "12.3x"


def test_checks_of_random_results_find_wrong_chains() -> None:
    by_name = {c.name: c for found in ("rbm", "gibbs") for c in families()[found]}
    step = by_name["CD-1 784x500 batch 100"]
    arrays = step.arrays(np.random.default_rng(1))
    built = step.builders["deepcore"](arrays)
    right = built.numpy(built.step())
    assert step.reference(*arrays, *right) == ()
    given = arrays[2:]
    for wrong in (given, [old + 2 * (new - old) for old, new in zip(given, right, strict=True)]):
        with pytest.raises(AssertionError, match="change of w"):
            step.reference(*arrays, *wrong)
    half = by_name["half step 784x500 batch 100"]
    built = half.builders["deepcore"](arrays)
    p, sample = built.numpy(built.step())
    assert half.reference(*arrays, p, sample) == ()
    with pytest.raises(AssertionError, match="not bits"):
        half.reference(*arrays, p, p)
    with pytest.raises(AssertionError, match="off their means"):
        half.reference(*arrays, p, sample * (np.arange(500) > 50))
    annealing = by_name["10 AIS steps 784x500 of 100"]
    built = annealing.builders["deepcore"](arrays)
    (weights,) = built.numpy(built.step())
    assert annealing.reference(*arrays, weights) == ()
    with pytest.raises(AssertionError, match="expected"):
        annealing.reference(*arrays, weights + 6 * weights.std())
