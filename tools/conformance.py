"""Hold a machine's GPU against what deepcore expects of it, in one command.

    python tools/conformance.py [--output DIR] [--seconds 600] [--data DIR]
    python tools/conformance.py --emulated [--no-build]     a rehearsal without a GPU: proves this script, no card

Builds deepcore for the card, compares every primitive with the emulated device bit for bit, runs the tests of devices,
compute-sanitizer, a training run on real data and the benchmarks. Each step is reported, whatever became of those
before it, in DIR/<card>.json and DIR/<card>.md (default docs/hardware). Exit status 1 if a step failed.
Needs nvcc 12.8 or later, a C++20 compiler, cmake, pybind11 and pytest.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import build_emulated
import conformance_arrays
import conformance_report

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build-conformance"
PACKAGE = ROOT / "python" / "deepcore"
LEAST = 5.0  # seconds; with less a step is not begun

REHEARSED = "float32 and test_values and (softmax/ or add/ or matmul/)"
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")


class FailedError(Exception):
    """A step found something wrong."""


class SkippedError(Exception):
    """A step cannot be done here."""


@dataclass
class Run:
    """What the steps share."""

    emulated: bool
    build: bool
    data: str | None
    deadline: float
    jobs: int
    card: dict[str, str]
    steps: list[dict[str, Any]] = field(default_factory=list)
    benchmarks: dict[str, Any] = field(default_factory=dict)

    def left(self) -> float:
        """Seconds until the time that was given is over."""
        return self.deadline - time.monotonic()

    def environment(self, **more: str) -> dict[str, str]:
        """That of the steps' processes: this checkout's deepcore, and the device that is examined."""
        own = {k: v for k, v in os.environ.items() if not k.startswith("DEEPCORE_")}
        path = os.pathsep.join(filter(None, (str(PACKAGE.parent), own.get("PYTHONPATH"))))
        device = {"DEEPCORE_CUDA_EMULATE": "1"} if self.emulated else {}
        return {**own, "PYTHONPATH": path, **device, **more}

    def call(self, command: list[str], limit: float, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the checkout. FailedError when it takes longer than `limit` or the time that is left."""
        limit = min(limit, self.left())
        if limit < LEAST:
            raise SkippedError("no time left: try --seconds with more")
        process = subprocess.Popen(
            command, cwd=ROOT, env=self.environment(**more), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            output, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # and the compilers that it started
            process.communicate()
            raise FailedError(f"not done after {limit:.0f} s: {' '.join(command)[:200]}") from None
        return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _last(text: str, lines: int = 12) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])


def _checked(done: subprocess.CompletedProcess[str], what: str) -> str:
    if done.returncode != 0:
        raise FailedError(f"{what} ended with {done.returncode}\n{_last(done.stdout + done.stderr)}")
    return done.stdout


def find_nvcc() -> str:
    """Where nvcc is: DEEPCORE_NVCC, CUDACXX, PATH, /usr/local/cuda. FailedError where it is not."""
    places = (os.environ.get("DEEPCORE_NVCC"), os.environ.get("CUDACXX"), "nvcc", "/usr/local/cuda/bin/nvcc")
    for place in filter(None, places):
        if found := shutil.which(place):
            return found
    raise FailedError("no nvcc: put it on PATH, or set CUDACXX")


def architectures(capability: str) -> str:
    """For CMake: the lowest that is supported, and the card's own."""
    own = capability.replace(".", "")
    return "80" if own == "80" else f"80;{own}{'a' if own == '90' else ''}-real"


# ---- steps: each returns its summary and details ----
Step = tuple[str, dict[str, Any]]


def build(run: Run) -> Step:
    """The modules for this card, put into python/deepcore."""
    if not run.build:
        raise SkippedError("--no-build: the modules beside python/deepcore are used")
    targets = ["_C", "_cuda_emulated"] + ([] if run.emulated else ["_cuda"])
    options = {"DEEPCORE_CUDA": "OFF" if run.emulated else "ON", "DEEPCORE_CUDA_EMULATION": "ON"}
    more = {}
    if not run.emulated:
        options["DEEPCORE_CUDA_ARCHS"] = architectures(run.card["capability"])
        more["CUDACXX"] = find_nvcc()
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'tools')!r}); import pathlib, build_emulated as b; "
        f"b.build(pathlib.Path({str(BUILD)!r}), {options!r}, {targets!r}, {run.jobs})"
    )
    _checked(run.call([sys.executable, "-c", script], run.left() * 0.7, **more), "the build")
    placed = []
    for target in targets:
        (module,) = (BUILD if target == "_C" else BUILD / "cuda").glob(f"{target}.*.so")
        placed.append(build_emulated.put_beside(module, PACKAGE).name)
    return "built " + ", ".join(targets), {"modules": placed, "options": options}


def primitives(run: Run) -> Step:
    """tests/cuda/conformance.cu on the card and on the emulated device."""
    folder = BUILD / "primitives"
    configure = ["cmake", "-S", str(ROOT / "tests" / "cuda"), "-B", str(folder)]
    if not (folder / "CMakeCache.txt").exists():
        configure += ["-G", "Ninja"] if shutil.which("ninja") else []
        configure += ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    _checked(run.call(configure, 60), "cmake")
    _checked(
        run.call(["cmake", "--build", str(folder), "--target", "conformance", "--parallel", str(run.jobs)], 200),
        "the build for the emulated device",
    )
    files = [folder / "emulated.bin", folder / "other.bin"]
    program = str(folder / "conformance")
    mode = {"DEEPCORE_EMULATE_ORDER": "forward", "DEEPCORE_EMULATE_ASYNC": "late"}
    printed = _checked(run.call([program, str(files[0])], 120, **mode), "the program on the emulated device")
    if run.emulated:
        mode = {"DEEPCORE_EMULATE_ORDER": "random:1", "DEEPCORE_EMULATE_ASYNC": "early"}
    else:
        parts = ("tests/cuda/conformance.cu", "cuda/runtime/gpu_cuda.cu", "cuda/runtime/diagnosis.cpp")
        sources = [str(ROOT / part) for part in parts]
        program, arch = str(folder / "conformance_gpu"), run.card["capability"].replace(".", "")
        command = [find_nvcc(), "-std=c++20", f"-arch=sm_{arch}", f"-I{ROOT}/cuda", f"-I{ROOT}/csrc", *sources]
        _checked(run.call([*command, "-o", program], 200), "nvcc")
        mode = {}
    printed += _checked(run.call([program, str(files[1])], 120, **mode), "the program")
    ours, theirs = (conformance_arrays.read(f) for f in files)
    problems = [
        *conformance_arrays.problems_of(ours), *conformance_arrays.problems_of(theirs),
        *conformance_arrays.compare(theirs, ours),
    ]  # fmt: skip
    if problems:
        raise FailedError(f"{len(problems)} of {len(ours)} arrays are wrong\n" + "\n".join(problems))
    against = "two orders of threads" if run.emulated else "the card and the emulated device"
    return f"{len(ours)} arrays, the same bits on {against}", {"printed": printed.splitlines()}


def _counts(path: Path) -> tuple[dict[str, int], list[str]]:
    """Tests, failures, errors and skips of a JUnit file, and the names of what failed."""
    counts = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    failed = []
    for suite in ElementTree.parse(path).iter("testsuite"):
        for key in counts:
            counts[key] += int(suite.get(key, "0"))
        for case in suite.iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed.append(f"{case.get('classname')}::{case.get('name')}")
    return counts, failed


def tests(run: Run) -> Step:
    """tests/device, in two processes."""
    main = "tests/device/test_ops_on_device.py"
    parts = [[main], ["tests/device", f"--ignore={main}"]]
    if run.emulated:
        parts = [["tests/device/test_available.py", main, "-k", f"available or ({REHEARSED})"]]
    if run.left() < LEAST:
        raise SkippedError("no time left: try --seconds with more")
    limit, start = run.left() * 0.6, time.monotonic()
    BUILD.mkdir(exist_ok=True)
    files = [BUILD / f"tests{i}.xml" for i in range(len(parts))]
    logs = [path.with_suffix(".log") for path in files]
    processes = []
    for path, log, part in zip(files, logs, parts, strict=True):
        path.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={path}", *part]
        with log.open("w") as output:
            processes.append(subprocess.Popen(command, cwd=ROOT, env=run.environment(), stdout=output, stderr=output))
    total: dict[str, int] = {}
    failed: list[str] = []
    problems: list[str] = []
    for process, path, log in zip(processes, files, logs, strict=True):
        try:
            status = process.wait(max(1.0, limit - (time.monotonic() - start)))
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
            problems.append(f"not done after {limit:.0f} s")
        if not path.exists():
            problems.append(f"pytest ended with {status}\n{_last(log.read_text(errors='replace'))}")
            continue
        counts, names = _counts(path)
        total = {key: total.get(key, 0) + n for key, n in counts.items()}
        failed += names
        if status not in (0, 1):
            problems.append(f"pytest ended with {status}")
    passed = total.get("tests", 0) - sum(total.get(key, 0) for key in ("failures", "errors", "skipped"))
    summary = f"{passed} passed, {len(failed)} failed, {total.get('skipped', 0)} skipped"
    if failed or problems or not passed:
        more = [f"and {len(failed) - 20} more"] if len(failed) > 20 else []
        raise FailedError("\n".join([summary, *problems, *failed[:20], *more]))
    return summary, {"counts": total}


def sanitizer(run: Run) -> Step:
    """compute-sanitizer's four tools over one case of each family."""
    if run.emulated:
        raise SkippedError("compute-sanitizer watches GPUs; the hooks build is the emulated device's")
    program = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    if program is None:
        raise SkippedError("compute-sanitizer is not installed; it comes with the CUDA toolkit")
    script = (
        "import importlib, pkgutil\nimport deepcore.testing.cases as cases\n"
        "for m in pkgutil.iter_modules(cases.__path__):\n"
        "    print(importlib.import_module(f'{cases.__name__}.{m.name}').CASES[0].name)\n"
    )
    names = _checked(run.call([sys.executable, "-c", script], 60), "the list of cases").split("\n")
    ids = [f"tests/device/test_ops_on_device.py::test_values[{name}-float32]" for name in names if name]
    share = run.left() * 0.4 / len(SANITIZERS)
    outcomes, wrong = {}, []
    for tool in SANITIZERS:
        command = [program, "--tool", tool, "--error-exitcode", "86", sys.executable, "-m", "pytest", "-q", *ids]
        try:
            done = run.call(command, share)
        except SkippedError as error:
            outcomes[tool] = str(error)
            continue
        except FailedError as error:  # slow, not wrong
            outcomes[tool] = str(error).split(":")[0]
            continue
        summary = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", done.stdout + done.stderr)
        outcomes[tool] = summary[-1].split(": ", 1)[1] if summary else f"ended with {done.returncode}"
        if done.returncode != 0:
            wrong.append(f"{tool}: {outcomes[tool]}\n{_last(done.stdout + done.stderr, 30)}")
    if wrong:
        raise FailedError(f"{len(wrong)} of {len(SANITIZERS)} tools report errors\n" + "\n".join(wrong))
    return "; ".join(f"{tool}: {text}" for tool, text in outcomes.items()), {"cases": len(ids), **outcomes}


def accuracy(run: Run) -> Step:
    """A net trained on real data must reach its target."""
    if run.emulated:
        raise SkippedError("a training run would take the emulated device days")
    if not run.data or not Path(run.data).is_dir():
        raise SkippedError("no data: set DEEPCORE_DATA or --data to the folder that holds mnist/")
    command = [sys.executable, "-m", "bench", "accept", "cnn-mnist-quick", "--device", "cuda", "--data", run.data]
    done = run.call(command, 150)
    if done.returncode not in (0, 1) or not done.stdout.strip():
        raise FailedError(f"it ended with {done.returncode}\n{_last(done.stdout + done.stderr)}")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    text = f"{result['metric']} {result['value']}, target {result['target']}, {result['seconds']:.1f} s of training"
    if done.returncode != 0:
        raise FailedError(text)
    return text, result


def benchmarks(run: Run) -> Step:
    """tools/cuda_bench.py."""
    path = BUILD / "benchmarks.json"
    path.unlink(missing_ok=True)
    BUILD.mkdir(exist_ok=True)
    command = [sys.executable, str(ROOT / "tools" / "cuda_bench.py"), "--json", str(path)]
    command += ["--tiny"] if run.emulated else ["--limit", f"{max(LEAST, run.left() - 20):.0f}"]
    done = run.call(command, run.left())
    if path.exists():
        run.benchmarks = json.loads(path.read_text())
    rows = run.benchmarks.get("rows", [])
    wrong = [f"{row['name']}: {row['problem']}" for row in rows if row.get("problem")]
    if wrong:
        raise FailedError(f"{len(wrong)} of {len(rows)} benchmarks have wrong results\n" + "\n".join(wrong))
    _checked(done, "tools/cuda_bench.py")
    left_out = run.benchmarks.get("left_out", [])
    return f"{len(rows)} rows" + (f", {len(left_out)} left out for time" if left_out else ""), {"left_out": left_out}


STEPS: tuple[Callable[[Run], Step], ...] = (build, primitives, tests, sanitizer, accuracy, benchmarks)


def find_card(emulated: bool) -> dict[str, str]:
    """Name, driver, CUDA, compute capability. SystemExit where there is no card."""
    if emulated:
        return {"name": "Emulated device", "driver": "none", "cuda": "none", "capability": "9.0"}
    smi = shutil.which("nvidia-smi")
    if smi is None:
        raise SystemExit("conformance: no nvidia-smi, hence no NVIDIA driver; --emulated rehearses without a GPU")
    query = [smi, "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True)
    if done.returncode != 0 or not done.stdout.strip():
        raise SystemExit(f"conformance: {_last(done.stdout + done.stderr, 2) or 'nvidia-smi names no GPU'}")
    name, driver, capability = (part.strip() for part in done.stdout.splitlines()[0].split(","))
    try:
        release = subprocess.run([find_nvcc(), "--version"], capture_output=True, text=True).stdout
        version = re.search(r"V(\d+\.\d+\.\d+)", release)
    except FailedError:
        version = None
    return {"name": name, "driver": driver, "cuda": version[1] if version else "no nvcc", "capability": capability}


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def main() -> int:
    """Run the steps, write both files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, help="folder of the reports (default docs/hardware)")
    parser.add_argument("--seconds", type=float, default=600, help="time for all steps (default 600)")
    parser.add_argument("--data", default=os.environ.get("DEEPCORE_DATA"), help="default DEEPCORE_DATA")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes of the build")
    parser.add_argument("--emulated", action="store_true", help="rehearse on the emulated device, with tiny sizes")
    parser.add_argument("--no-build", action="store_true", help="use the modules beside python/deepcore")
    options = parser.parse_args()
    output = options.output or (BUILD / "report" if options.emulated else ROOT / "docs" / "hardware")
    missing = [m for m in ("numpy", "pytest", "pybind11") if importlib.util.find_spec(m) is None]
    if missing or shutil.which("cmake") is None:
        raise SystemExit(f"conformance: missing {', '.join(missing or ['cmake'])}; pip install '.[test,dev]'")
    if options.emulated:
        print("conformance: EMULATED DEVICE. This is a rehearsal: it says nothing about any GPU.", flush=True)
    run = Run(
        options.emulated, not options.no_build, options.data, time.monotonic() + options.seconds, options.jobs,
        find_card(options.emulated),
    )  # fmt: skip
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    for step in STEPS:
        start = time.monotonic()
        details: dict[str, Any] = {}
        try:
            text, details = step(run)
            outcome = "passed"
        except SkippedError as error:
            outcome, text = "skipped", str(error)
        except FailedError as error:
            outcome, text = "failed", str(error)
        except Exception as error:  # the other steps go on
            outcome, text = "failed", f"{type(error).__name__}: {error}"
        seconds = round(time.monotonic() - start, 1)
        run.steps.append(
            {"step": step.__name__, "outcome": outcome, "seconds": seconds, "text": text, "details": details}
        )
        print(f"{step.__name__:<11} {outcome:<8} {seconds:6.1f} s  {text.splitlines()[0]}", flush=True)
        report = {
            "emulated": run.emulated, "card": run.card, "commit": _commit(), "date": date, "steps": run.steps,
            "benchmarks": run.benchmarks,
        }  # fmt: skip
        paths = conformance_report.write(report, output)  # after each: what was found stays if the machine goes down
    print("\n".join(f"conformance: {path}" for path in paths))
    return 1 if any(s["outcome"] == "failed" for s in run.steps) else 0


if __name__ == "__main__":
    sys.exit(main())
