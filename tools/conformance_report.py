"""The two files that tools/conformance.py writes of a card."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any


def seconds(value: float | None) -> str:
    """With three digits and a unit."""
    if value is None:
        return "–"
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1 or unit == "µs":
            return f"{value * factor:#.3g}".rstrip(".") + f" {unit}"
    raise AssertionError


def ratio(ours: float | None, theirs: float | None) -> str:
    """How many times as fast ours is."""
    return f"{theirs / ours:.2f}" if ours and theirs else "–"


def _table(heads: list[str], rows: list[list[str]], right: int) -> list[str]:
    """A table of Markdown; columns from `right` on stand at the right."""
    rule = ["---" if i < right else "---:" for i in range(len(heads))]
    return [f"| {' | '.join(row)} |" for row in (heads, rule, *rows)]


def _achieved(row: dict[str, Any], bench: dict[str, Any]) -> str:
    """TFLOP/s of what computes, share of the copy's bandwidth of what moves memory. Neither of tiny sizes."""
    ours, copy = row.get("ours"), bench.get("copy")
    if not ours or bench.get("tiny"):
        return "–"
    if row.get("flops"):
        return f"{row['flops'] / ours / 1e12:.3g} TFLOP/s"
    if row.get("bytes") and copy:
        return f"{row['bytes'] / ours / copy:.0%} of copy"
    return "–"


def line(row: dict[str, Any], bench: dict[str, Any]) -> str:
    """A row for the terminal."""
    if row.get("problem"):
        return f"{row['name']:<40} {row['problem']}"
    times = f"{seconds(row.get('ours')):>10} {seconds(row.get('torch')):>10}"
    return f"{row['name']:<40} {times} {ratio(row.get('ours'), row.get('torch')):>6}  {_achieved(row, bench)}"


def markdown(report: dict[str, Any]) -> str:
    """The report for people."""
    card, steps, bench = report["card"], report["steps"], report["benchmarks"]
    failed = [s["step"] for s in steps if s["outcome"] == "failed"]
    lines = [f"# {card['name']}", ""]
    if report["emulated"]:
        lines += ["**A rehearsal on the emulated device, with tiny sizes. It says nothing about any GPU.**", ""]
    facts = {
        "compute capability": card["capability"], "driver": card["driver"], "nvcc": card["cuda"],
        "commit": report["commit"], "date": report["date"],
        "outcome": f"failed: {', '.join(failed)}" if failed else "nothing failed",
    }  # fmt: skip
    lines += _table(["", ""], [[name, text] for name, text in facts.items()], 2)
    lines += ["", "Written by `python tools/conformance.py`.", "", "## Steps", ""]
    rows = [
        [s["step"], f"**{s['outcome']}**" if s["outcome"] == "failed" else s["outcome"],
         s["text"].splitlines()[0].replace("|", "\\|"), f"{s['seconds']:.1f}"]
        for s in steps
    ]  # fmt: skip
    lines += _table(["step", "outcome", "found", "s"], rows, 3)
    for s in steps:
        more = s["text"].splitlines()[1:]
        if more:
            lines += ["", f"### {s['step']}", "", "```", *more, "```"]
    if bench.get("rows"):
        lines += ["", "## Benchmarks", "", *_benchmarks(bench)]
    return "\n".join(lines) + "\n"


def _benchmarks(bench: dict[str, Any]) -> list[str]:
    copy = bench.get("copy")
    if bench.get("tiny"):
        lines = ["Tiny sizes, one call each: the results were checked, the times mean nothing."]
        rows = [[row["group"], row["name"], row.get("problem") or "right"] for row in bench["rows"]]
        return [*lines, "", *_table(["", "", "result"], rows, 3)]
    lines = ["Times of one call, medians of bursts between synchronisations; results were checked first."]
    if bench.get("torch"):
        lines.append(f"Beside torch {bench['torch']} (cuBLAS, cuDNN); the ratio is how many times as fast deepcore is.")
    else:
        lines.append(f"deepcore alone: {bench.get('torch_reason', 'torch was not asked for')}.")
    if copy and not bench.get("tiny"):
        lines.append(f"A copy on the device moves {copy / 1e9:.4g} GB/s, reads and writes counted.")
    for group in dict.fromkeys(row["group"] for row in bench["rows"]):
        members = [row for row in bench["rows"] if row["group"] == group]
        peers = any(row.get("torch") for row in members)
        rows = []
        for row in members:
            cells = [row["name"], seconds(row.get("ours"))]
            cells += [seconds(row.get("torch")), ratio(row.get("ours"), row.get("torch"))] if peers else []
            rows.append([*cells, "wrong result" if row.get("problem") else _achieved(row, bench)])
        lines += ["", f"### {group}", ""]
        lines += _table(["", "deepcore", *(["torch", "ratio"] if peers else []), "achieved"], rows, 1)
    if bench.get("left_out"):
        lines += ["", f"Left out, for there was no time: {', '.join(bench['left_out'])}."]
    return lines


def write(report: dict[str, Any], folder: Path) -> list[Path]:
    """FOLDER/<card>.json and FOLDER/<card>.md."""
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", report["card"]["name"].lower()).strip("-")
    paths = [folder / f"{name}.json", folder / f"{name}.md"]
    paths[0].write_text(json.dumps(report, indent=1) + "\n")
    paths[1].write_text(markdown(report))
    return paths
