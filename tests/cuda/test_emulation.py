"""The emulated CUDA device in its three builds: plain, with AddressSanitizer, and with the access hooks.

The programs of this folder check themselves. A planted bug must be found in the way and in the modes stated here, and
the same kernel without its bug must be right in every mode of every build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILDS = ("plain", "address", "hooks")
PROGRAMS = ("launch", "matrix", "primitives", "reductions")

MODES = ("forward late", "reverse late", "random:1 early", "random:2 late", "forward early")
LATE = tuple(mode for mode in MODES if mode.endswith("late"))

pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake to build the emulated device")


@cache
def built(kind: str) -> Path:
    """The folder of one build; later calls of pytest build what changed."""
    folder = ROOT / "build-cuda" / kind
    configure = ["cmake", "-S", str(HERE), "-B", str(folder), f"-DDC_CHECK={kind}"]
    if not (folder / "CMakeCache.txt").exists():
        configure += ["-G", "Ninja"] if shutil.which("ninja") else []
        configure += ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    for command in (configure, ["cmake", "--build", str(folder), "--parallel", "2"]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return folder


def run(kind: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of one build, with the modes of the environment off."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DEEPCORE_EMULATE")}
    return subprocess.run(
        [str(built(kind) / command[0]), *command[1:]], capture_output=True, text=True, timeout=300, env=environment
    )


@pytest.mark.parametrize("kind", BUILDS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program: str, kind: str) -> None:
    done = run(kind, program)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert ", 0 failures" in done.stdout


@dataclass(frozen=True)
class Finding:
    """How a bug shows: a wrong result, an error whose text has all `parts`, or either."""

    how: str
    parts: tuple[str, ...] = ()
    modes: tuple[str, ...] = MODES  # it shows in exactly these


def wrong(*modes: str) -> Finding:
    return Finding("wrong", modes=modes or MODES)


def error(*parts: str) -> Finding:
    return Finding("error", parts)


def missed() -> Finding:
    """A bug that a build cannot see; another build does."""
    return Finding("wrong", modes=())


def line_of(code: str) -> str:
    """file:line of the only line of planted_bugs.cu with this code."""
    lines = (HERE / "planted_bugs.cu").read_text().splitlines()
    found = [i for i, text in enumerate(lines, 1) if code in text]
    assert len(found) == 1, f"{code!r} is on lines {found}"
    return f"planted_bugs.cu:{found[0]}"


RACE_SHARED, RACE_GLOBAL = "race in shared memory", "race in global memory"

# name: (in the plain build and, unless a third is given, under AddressSanitizer; with hooks; under AddressSanitizer)
BUGS: dict[str, tuple[Finding, ...]] = {
    "trailing_barrier": (wrong(), error(RACE_SHARED, line_of("tile[t] = x["), line_of("sum += tile["))),
    "warp_exchange": (wrong(), error(RACE_SHARED, line_of("y[t] = values[t ^ 1]"))),
    "copy_wait": (wrong(*LATE), Finding("wrong", modes=LATE)),
    "copy_read_by_others": (wrong(), error(RACE_SHARED, line_of("y[t] = values[127 - t]"))),
    "grid_barrier": (
        wrong("forward late", "random:1 early", "random:2 late", "forward early"),
        error(RACE_GLOBAL, line_of("if (thread_index().x == 0) partial[b]"), line_of("sum += partial[i]")),
    ),
    "slot_not_empty": (wrong(), Finding("either", (RACE_SHARED, "cu:"))),
    "slot_released_early": (wrong("random:1 early"), error(RACE_SHARED, line_of("sum += slots[s]"))),
    "row_past_the_end": (
        missed(),
        error("out of bounds: write", line_of("y[row * n + column] = 1.0f"), "of 96 bytes of global memory"),
        error("AddressSanitizer: heap-buffer-overflow", line_of("y[row * n + column] = 1.0f")),
    ),
    "shared_past_the_end": (
        wrong(),
        error("out of bounds: read", line_of("y[t] = values[kBug ?"), "of 128 bytes of shared memory"),
        error("AddressSanitizer: use-after-poison", line_of("y[t] = values[kBug ?")),
    ),
    "barrier_or_shuffle": (
        error("deadlock", "16 threads, first (0,0,0), in sync_block", "16 threads, first (16,0,0), in shuffle",
              line_of("if (!kBug || t < 16) sync_block()"), line_of("v = shuffle(kFullMask, v, 3)")),
    ) * 2,
    "mixed_collectives": (
        error("meets lanes of the same warp in", "shuffle_xor", "ballot", line_of("v = any(kFullMask"),
              line_of("v = shuffle_xor(kFullMask, v, 1)")),
    ) * 2,
    "barrier_in_branches": (error("sync_block meets threads of the same block in sync_block"),) * 2,
    "lane_left": (error("shuffle", "end", line_of("y[t] = shuffle(kFullMask, 1.0f, 0)")),) * 2,
    "flag_never_set": (error("livelock", "(1,0,0), in spin_wait", line_of("while (load_acquire(flag) == 0)")),) * 2,
    "relaxed_flag": (missed(), error(RACE_GLOBAL, line_of("*y = *data"), line_of("*data = 5.0f"))),
    "count_then_read": (wrong(), error(RACE_SHARED, line_of("*total + *count"), line_of("atomic_add(total"))),
    "blocks_collide": (
        wrong("reverse late", "random:1 early", "random:2 late"),
        error(RACE_GLOBAL, line_of("y[kBug ? 0 : block_index().x]"), "write by block"),
    ),
    "fresh_memory": (wrong(), wrong()),
    "misaligned_vector": (error("4 past a multiple of 16", line_of("load<float4>(x + 4")),) * 2,
    "misaligned_matrix": (error("a row's address is not a multiple of 16", line_of("ldmatrix_x4(r, bytes")),) * 2,
    "grid_sync_alone": (error("not cooperative", line_of("grid_sync(counter, grid_size().x);")),) * 2,
}  # fmt: skip


def expected(bug: str, kind: str) -> Finding:
    findings = BUGS[bug]
    if kind == "hooks":
        return findings[1]
    return findings[2] if kind == "address" and len(findings) > 2 else findings[0]


def outcomes(text: str) -> dict[str, dict[str, str]]:
    """{"correct" or "bug": {mode: "right", "wrong" or "error: ..."}} of what planted_bugs printed."""
    found: dict[str, dict[str, str]] = {"correct": {}, "bug": {}}
    for line in text.splitlines():
        variant, order, copies, outcome = line.split(" ", 3)
        found[variant][f"{order} {copies}"] = outcome
    return found


@pytest.mark.parametrize("kind", BUILDS)
@pytest.mark.parametrize("bug", BUGS)
def test_planted_bug(bug: str, kind: str) -> None:
    done = run(kind, "planted_bugs", bug)
    found = outcomes(done.stdout)
    assert found["correct"] == dict.fromkeys(MODES, "right"), "a kernel without a bug is blamed"
    finding = expected(bug, kind)
    if any("AddressSanitizer" in part for part in finding.parts):
        assert done.returncode != 0, "AddressSanitizer found nothing"
        assert all(part in done.stderr for part in finding.parts), done.stderr[:3000]
        return
    assert done.returncode == 0, done.stderr[:3000]
    assert set(found["bug"]) == set(MODES)
    for mode, outcome in found["bug"].items():
        if mode not in finding.modes:
            assert outcome == "right", f"{mode}: expected to be missed, got {outcome}"
        elif outcome.startswith("error: "):
            assert finding.how in ("error", "either"), f"{mode}: {outcome}"
            assert all(part in outcome for part in finding.parts), f"{mode}: {finding.parts} in {outcome}"
            assert f"order {mode.split()[0]}, async {mode.split()[1]}" in outcome, outcome
        else:
            assert outcome == "wrong" and finding.how in ("wrong", "either"), f"{mode}: {outcome}"


def test_every_planted_bug_is_found_somewhere() -> None:
    names = run("plain", "planted_bugs", "list").stdout.split()
    assert sorted(names) == sorted(BUGS)
    for bug in BUGS:
        assert any(expected(bug, kind).modes for kind in BUILDS), f"no build finds {bug}"


def test_traffic_is_counted_per_line() -> None:
    done = run("hooks", "lint")
    assert done.returncode == 0, done.stdout
    lines = (HERE / "lint.cu").read_text().splitlines()
    # what the line says: (memory, read or write): how often the ideal traffic
    ratios = {
        "rows: coalesced": {("global", "read"): 1.0, ("shared", "write"): 1.0},
        "columns of x": {("global", "read"): 8.0, ("shared", "write"): 1.0},
        "32 lanes in one bank": {("shared", "read"): 32.0},
        "each lane in its own bank": {("shared", "read"): 1.0},
        "one word for all lanes": {("shared", "read"): 1.0},
        "eight lanes share a vector": {("shared", "read"): 1.0},
        "every second word": {("global", "write"): 2.0},
    }
    counted = done.stdout.split("mode\n")
    assert len(counted) == len(MODES) + 1 and counted[-1] == ""
    for text in counted[:-1]:
        seen: dict[str, dict[tuple[str, str], float]] = {}
        *rows, moved = text.splitlines()
        # One launch; x: 4096 bytes by rows and a sector for each element by columns; y: 8192 bytes with the gaps.
        assert moved == f"moved 1 {4096 + 32 * 1024} 8192 4096 8192"
        for row in rows:
            place, memory, kind, requests, actual, ideal = row.split()
            number = int(place.removeprefix("lint.cu:"))
            comment = next(name for name in ratios if name in lines[number - 1])
            seen.setdefault(comment, {})[memory, kind] = int(actual) / int(ideal)
            assert int(requests) == 32, row
        assert seen == ratios


def test_environment_chooses_the_mode() -> None:
    """A mode that is not understood fails each launch; see configuration.h."""
    program = str(built("plain") / "environment")
    for name, value, part in (
        ("DEEPCORE_EMULATE_ORDER", "backward", "expected forward, reverse or random:SEED, got 'backward'"),
        ("DEEPCORE_EMULATE_ASYNC", "never", "expected early or late, got 'never'"),
        ("DEEPCORE_EMULATE_ORDER", "random:5", "order random:5, async late"),
        ("DEEPCORE_EMULATE_ASYNC", "early", "order forward, async early"),
    ):
        done = subprocess.run([program], capture_output=True, text=True, env={**os.environ, name: value})
        assert done.returncode == 0 and part in done.stdout, done.stdout


def test_kernels_use_primitives_only() -> None:
    """Rule 2 of docs/cuda.md, for every kernel file of the repository."""
    forbidden = re.compile(
        r"\basm\b|<<<|__shared__|__syncthreads|__shfl|__global__|threadIdx|blockIdx|\bcuda[A-Z]\w+\("
    )
    files = [*(ROOT / "cuda").glob("*.cu"), *HERE.glob("*.cu"), *(ROOT / "cuda" / "device").glob("*.cuh")]
    assert len(files) > 5
    for path in files:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not forbidden.search(line.split("//")[0]), f"{path.relative_to(ROOT)}:{number}: {line}"
