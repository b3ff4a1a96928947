"""Every symbol that the objects of one instruction set export must lie in its namespace.

    python tools/check_symbols.py BUILD_DIR

csrc/cpu is compiled three times. A weak symbol outside the namespace of its instruction set (an inline function, a
template, a piece of the standard library) would be merged by the linker across the three, and a machine without
AVX-512 could be handed the AVX-512 copy. Prints each such symbol; exit code 1 when there is one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

GLOBAL_KINDS = "ABCDGRSTVWuvw"  # defined and visible to the linker; U (undefined) is no definition


def foreign_symbols(path: Path, isa: str) -> tuple[int, list[str]]:
    """How many symbols the object exports, and those outside dc::<isa>."""
    listing = subprocess.run(["nm", "--defined-only", str(path)], capture_output=True, text=True, check=True)
    exported = re.findall(rf"^[0-9a-f]* +([{GLOBAL_KINDS}]) (.*)$", listing.stdout, re.MULTILINE)
    # an entity of the namespace, its vtable or type information, or a static variable of one of its functions
    inside = re.compile(rf"_Z(?:T[VIS]|GV|Z)*N[VKr]*2dc{len(isa)}{isa}")
    foreign = [(kind, symbol) for kind, symbol in exported if not inside.match(symbol)]
    return len(exported), [f"{path.name}: {kind} {demangle(symbol)}" for kind, symbol in foreign]


def demangle(symbol: str) -> str:
    """The name as C++ writes it."""
    return subprocess.run(["c++filt", symbol], capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    objects = {isa: sorted(Path(sys.argv[1]).rglob(f"dc_cpu_{isa}.dir/**/*.o")) for isa in ("scalar", "avx2", "avx512")}
    if not any(objects.values()):
        sys.exit(f"symbols: no objects of csrc/cpu under {sys.argv[1]}: build there first")
    total, found = 0, []
    for isa, paths in objects.items():
        for path in paths:
            count, foreign = foreign_symbols(path, isa)
            total += count
            found += [f"{isa}/{text}" for text in foreign]
    print("\n".join([*found, f"symbols: {total} exported by {sum(map(len, objects.values()))} objects, {len(found)} "
                             "outside their namespace"]))  # fmt: skip
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
