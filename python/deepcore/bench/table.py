"""The table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SHORT = {"onnxruntime": "onnxrt"}
NAME, TIME, SPREAD, RATE, PEAK, RATIO, TARGET = 34, 9, 7, 14, 6, 8, 22


def seconds(value: float) -> str:
    """Three digits and a unit: 1.23 ms."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size * 0.9995:
            return f"{three(value / size)} {unit}"
    return f"{three(value * 1e9)} ns"


def three(value: float) -> str:
    """Three significant digits without an exponent."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def ratio(value: float | None) -> str:
    """How many times longer the other takes."""
    return "" if value is None else f"{three(value)}x"


def percent(value: float) -> str:
    """A share; nothing for a bound that says nothing."""
    return f"{value:.0%}" if value >= 0.005 else ""


class Table:
    """Rows as they come, aligned; columns for the libraries that take part."""

    def __init__(self, others: Sequence[str], write: Any) -> None:
        self.others = list(others)
        self.peers = [o for o in others if o != "numpy"]
        self.write = write
        self.width = NAME + TIME + SPREAD + RATE + PEAK + RATIO * (len(self.others) + bool(self.peers)) + TARGET

    def head(self, facts: dict[str, Any]) -> None:
        """Machine facts and column names."""
        peak = facts["peak"]
        levels = ", ".join(f"{rate / 1e9:.0f} at {_size(size)}" for size, rate in peak["read"])
        versions = ", ".join(f"{SHORT.get(n, n)} {v}" for n, v in facts["versions"].items())
        self.write(f"{facts['processor']}, {facts['threads']} threads, {facts['isa']}")
        self.write(f"measured peak: {peak['flops'] / 1e9:.0f} GFLOP/s; reads in GB/s: {levels}")
        self.write(versions)
        self.write("Other columns: how many times longer they take. Peak: share of this machine's ceiling.")
        self.write("")
        columns = [f"{SHORT.get(o, o):>{RATIO}}" for o in self.others] + ([f"{'best':>{RATIO}}"] if self.peers else [])
        head = f"{'':{NAME}}{'time':>{TIME}}{'spread':>{SPREAD}}{'rate':>{RATE}}{'peak':>{PEAK}}"
        self.write((head + "".join(columns) + "  target").rstrip())

    def family(self, name: str) -> None:
        """A line that opens a family."""
        self.write(f"{name} {'-' * (self.width - len(name) - 1)}")

    def row(self, result: dict[str, Any]) -> None:
        """One case."""
        problems = result.get("problems", {})
        if "seconds" not in result:
            self.write(f"{result['name']:{NAME}}{problems.get('deepcore', 'not measured')}")
        else:
            cells = [f"{result['name']:{NAME}}", f"{seconds(result['seconds']):>{TIME}}"]
            cells.append(f"{'±' + format(result['spread'], '.0%'):>{SPREAD}}")
            cells.append(f"{result.get('rate', ''):>{RATE}}")
            cells.append(f"{percent(result.get('peak', 0.0)):>{PEAK}}")
            cells += [f"{ratio(result['ratios'].get(o)):>{RATIO}}" for o in self.others]
            if self.peers:
                cells.append(f"{ratio(result.get('best')):>{RATIO}}")
            self.write(("".join(cells) + _verdict(result)).rstrip())
        for name, text in problems.items():
            if name != "deepcore" or "seconds" in result:
                self.write(f"{'':{NAME}}! {text if text.startswith(name) else f'{name}: {text}'}")

    def memory(self, result: dict[str, Any]) -> None:
        """The line of peak memory."""
        others = ", ".join(f"{n} {b / 2**20:.1f} MiB" for n, b in result["bytes"].items() if n != "deepcore")
        text = f"{result['name']:{NAME}}{result['bytes']['deepcore'] / 2**20:>{TIME - 4}.1f} MiB above import"
        self.write((text + (f"; {others}" if others else "") + _verdict(result)).rstrip())


def _verdict(result: dict[str, Any]) -> str:
    if result.get("target") is None:
        return ""
    met = result.get("ok")
    return f"  {result['target']}{'' if met is None else ' ok' if met else ' MISSED'}"


def _size(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"
