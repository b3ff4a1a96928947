"""Two results of `--json` side by side."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from deepcore.bench.table import seconds, three
from deepcore.errors import DataError

NOISE = 0.05  # a change below this, or below both spreads, is not worth a word


def load(path: str) -> dict[str, dict[str, Any]]:
    """family/name -> result. DataError for a file that no bench has written."""
    try:
        results = json.loads(Path(path).read_text())["results"]
        return {f"{r['family']}/{r['name']}": r for r in results if "seconds" in r}
    except (ValueError, KeyError, TypeError):
        raise DataError(f"compare: {path} is no result of `bench --json`") from None


def main(argv: list[str], program: str) -> int:
    """Print the ratio of times of every case that both files have."""
    parser = argparse.ArgumentParser(
        prog=f"{program} compare", description="Times of two runs side by side.",
        epilog=f"example: {program} compare before.json after.json",
    )  # fmt: skip
    parser.add_argument("a", help="JSON file of the earlier run")
    parser.add_argument("b", help="JSON file of the later run")
    options = parser.parse_args(argv)
    a, b = load(options.a), load(options.b)
    both = [key for key in a if key in b]
    if not both:
        print("compare: the files have no case in common")
        return 1
    width = max(len(key) for key in both)
    print(f"{'':{width}}  {'A':>9}  {'B':>9}  {'A / B':>7}")
    product, slower = 1.0, 0
    for key in both:
        before, after = a[key]["seconds"], b[key]["seconds"]
        change = before / after
        product *= change
        sure = abs(change - 1) > max(NOISE, a[key]["spread"] + b[key]["spread"])
        slower += sure and change < 1
        mark = "" if not sure else "  quicker" if change > 1 else "  slower"
        print(f"{key:{width}}  {seconds(before):>9}  {seconds(after):>9}  {three(change) + 'x':>7}{mark}")
    mean = product ** (1 / len(both))
    print(f"{'geometric mean':{width}}  {'':>9}  {'':>9}  {three(mean) + 'x':>7}")
    only = sorted(set(a) ^ set(b))
    if only:
        print(f"in one file only: {', '.join(only)}")
    print(f"{len(both)} cases, {slower} clearly slower")
    return 0
