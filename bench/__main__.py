"""The command `python -m bench`.

    python -m bench [FAMILY ...] [--peers torch,jax,onnxruntime,sklearn] [--json [FILE]] [--threads N] [--isa NAME]
    python -m bench compare A.json B.json
    python -m bench accept NAME --data DIR [--device cpu|cuda] [--seed N]
    python -m bench gates --data DIR [--tasks copy,adding,rows] [--seeds N]

The first two are `deepcore bench`; the third measures what whole systems reach on real data, the fourth what steeper
gates bring to recurrent nets.
"""

from __future__ import annotations

import sys

PROGRAM = "python -m bench"


def main(argv: list[str]) -> int:
    """Hand over to the part that is asked for."""
    if argv[:1] == ["accept"]:
        from bench.accept import main as accept

        return accept(argv[1:], f"{PROGRAM} accept")
    if argv[:1] == ["gates"]:
        from bench.gates import main as gates

        return gates(argv[1:], f"{PROGRAM} gates")
    from deepcore.bench.run import main as run

    return run(argv, PROGRAM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
