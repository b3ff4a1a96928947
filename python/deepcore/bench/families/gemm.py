"""Matrix products in every transposition."""

from __future__ import annotations

from typing import Any

from deepcore import ops
from deepcore.bench.case import Case, Target
from deepcore.bench.libraries import in_jax, in_onnx, in_torch, ours, plain
from deepcore.bench.shapes import GEMMS


def _case(name: str, m: int, k: int, n: int, ta: bool, tb: bool) -> Case:
    def product(a: Any, b: Any) -> Any:
        return (a.T if ta else a) @ (b.T if tb else b)

    def ours_product(a: Any, b: Any) -> Any:
        return ops.matmul(a.T if ta else a, b.T if tb else b)

    def graph(helper: Any, names: list[str]) -> list[Any]:
        return [helper.make_node("Gemm", names, ["y"], transA=int(ta), transB=int(tb))]

    return Case(
        "gemm", name,
        arrays=lambda rng: [rng.standard_normal((k, m) if ta else (m, k)).astype("f4"),
                            rng.standard_normal((n, k) if tb else (k, n)).astype("f4")],
        reference=lambda a, b: (product(a, b),),
        builders={"deepcore": ours(ours_product), "numpy": plain(product), "torch": in_torch(product),
                  "jax": in_jax(product), "onnxruntime": in_onnx(graph)},
        flops=2.0 * m * k * n,
        bytes=4.0 * (m * k + k * n + m * n),
        target=Target("peak", 0.85) if m == k == n and 512 <= m <= 2048 else None,
    )  # fmt: skip


CASES = [_case(name, m, k, n, False, False) for name, (m, k, n) in GEMMS.items()]
CASES += [
    _case(f"{size} {'T' if ta else 'N'}{'T' if tb else 'N'}", size, size, size, ta, tb)
    for size in (512, 1024, 2048)
    for ta, tb in ((False, True), (True, False), (True, True))
]
