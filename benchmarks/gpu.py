"""All that we want to know of a GPU, within ten minutes: right first, then how fast.

    python -m benchmarks.gpu

In turn: the tests of tests/cuda on the card; what BAKE adds to a step of ResNet-50, eager and
compiled; the target alone beside the published formulation; CIFAR-sized training, eager, compiled
and recorded; and which solver is faster for which sizes. Each part is a process with a time limit
of its own. What a part fails of is written down, and the next one starts. It writes
results/gpu/CARD.json and CARD.md, or into $OUT where that is set: please send us both.

`--device cpu` tries the script itself, with sizes that mean nothing.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from benchmarks.measure.gpu_table import format_report

from torchbake.training.environment import describe_environment

ROOT = Path(__file__).parents[1]
TOTAL = 600.0
"""Seconds that all parts may take together."""


class Part(NamedTuple):
    """A process that measures something.

    Attributes:
        command: what Python is to run.
        seconds: that it may take.
        tiny: arguments that make it quick, for trying it on a CPU.
    """

    name: str
    command: list[str]
    seconds: float
    tiny: list[str]


def list_parts() -> list[Part]:
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", "tests/cuda"]
    overhead = ["-m", "benchmarks.measure.overhead", "--model", "resnet50", "--image-size", "224"]
    overhead += ["--batch-size", "256", "--classes", "1000", "--bfloat16", "--steps", "50"]
    small = ["--model", "resnet8", "--image-size", "32", "--batch-size", "8", "--steps", "2"]
    targets = ["-m", "benchmarks.measure.card_target"]
    speed = ["-m", "benchmarks.measure.fast_path"]
    few = ["--images", "256", "--batch-size", "32", "--steps", "2", "--model", "small_cnn"]
    parts = [
        Part(
            "tests",
            tests,
            150,
            ["--ignore", "tests/cuda/test_launches.py", "-k", "targets or audit"],
        ),
        Part("overhead, eager", overhead, 60, small),
        Part("overhead, compiled", [*overhead, "--compile"], 110, []),
    ]
    for n in (128, 512, 2048, 8192):
        tiny = ["--repeats", "1", "--classes", "100"] if n == 128 else []
        parts.append(Part(f"target, N = {n}", [*targets, "--n", str(n)], 40, tiny))
    parts += [
        Part(f"speed, {fast}", [*speed, "--loop", fast], 60, few if fast == "eager" else [])
        for fast in ("eager", "compiled", "recorded")
    ]
    auto = ["-m", "benchmarks.measure.auto", "--repeats", "3"]
    parts.append(Part("auto", auto, 60, ["--n", "32", "--c", "10"]))
    return parts


def run_part(part: Part, device: str, seconds: float) -> dict[str, Any]:
    """What a part wrote, or why it wrote nothing."""
    tiny = part.tiny if device == "cpu" else []
    command = [*part.command, *tiny]
    if part.name != "tests":
        command += ["--device", device]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        if part.name == "tests":
            command.append(f"--junitxml={report}")
        # Some parts start processes of their own, which must find `benchmarks`, too.
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "OUT": folder, "PYTHONPATH": os.pathsep.join(paths)}
        if device == "cpu":
            environment["TORCHBAKE_TRY_ON"] = "cpu"
        started = time.perf_counter()
        job = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            told, _ = job.communicate(timeout=seconds)
            problem = None if job.returncode == 0 else _last_line(told)
        except subprocess.TimeoutExpired:
            problem = f"took more than {seconds:.0f} s"
        finally:
            _end(job)
        result: dict[str, Any] = {
            "part": part.name,
            "command": " ".join(["python", *command[: len(part.command) + len(tiny)]]),
            "seconds": time.perf_counter() - started,
            "problem": problem,
        }
        if report.is_file():
            result["tests"] = _count_tests(report.read_text(encoding="utf-8"))
        for path in sorted(Path(folder).glob("*.json")):
            result["rows"] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return result


def _end(job: "subprocess.Popen[str]") -> None:
    """End a part and what it has started."""
    if hasattr(os, "killpg"):
        try:
            os.killpg(job.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
    job.kill()
    job.communicate()


def _last_line(told: str) -> str:
    lines = [line for line in told.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def _count_tests(xml: str) -> dict[str, Any]:
    """How many tests passed, and the names of those that did not."""
    from xml.etree import ElementTree

    cases = list(ElementTree.fromstring(xml).iter("testcase"))
    kinds = {
        kind: [f"{case.get('classname')}::{case.get('name')}" for case in cases if _is(case, kind)]
        for kind in ("failure", "error", "skipped")
    }
    failed = kinds["failure"] + kinds["error"]
    skipped = len(kinds["skipped"])
    return {"passed": len(cases) - len(failed) - skipped, "skipped": skipped, "failed": failed}


def _is(case: Any, kind: str) -> bool:
    return case.find(kind) is not None


def describe_card(device: str) -> dict[str, Any]:
    if device == "cpu":
        return {"name": "CPU"}
    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "memory": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
        "processors": properties.multi_processor_count,
        "cuda": torch.version.cuda,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="default: cuda")
    parser.add_argument("--parts", default="", help="only those whose names have this in them")
    parser.add_argument("--seconds", type=float, default=TOTAL, help=f"of all; default: {TOTAL:g}")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("benchmarks.gpu: PyTorch finds no CUDA device here", file=sys.stderr)
        return 2
    card = describe_card(options.device)
    environment = describe_environment() | {"command": " ".join(["python", *sys.argv])}
    folder = Path(os.environ.get("OUT", ROOT / "results" / "gpu"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / re.sub(r"[^A-Za-z0-9]+", "-", card["name"]).strip("-").lower()
    results: list[dict[str, Any]] = []
    ends = time.perf_counter() + options.seconds
    for part in list_parts():
        if options.parts not in part.name or (options.device == "cpu" and not part.tiny):
            continue
        left = ends - time.perf_counter()
        if left < 5:
            results.append({"part": part.name, "seconds": 0.0, "problem": "no time was left"})
        else:
            print(f"{part.name} …", flush=True)
            results.append(run_part(part, options.device, min(part.seconds, left)))
        print(f"  {results[-1]['seconds']:.0f} s  {results[-1]['problem'] or 'done'}", flush=True)
        report = {"card": card, "environment": environment, "parts": results}
        # After each part, so that nothing is lost if the machine goes down.
        path.with_suffix(".json").write_text(
            json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        path.with_suffix(".md").write_text(format_report(report), encoding="utf-8")
    print(f"written to {path}.json and {path}.md: please send us both")
    return 1 if any(result["problem"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
