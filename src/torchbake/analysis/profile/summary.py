"""Where the time of a training step goes: as Markdown, JSON and a picture."""

import json
import shlex
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...recipe import Recipe
from ...training.environment import describe_environment
from ...training.files import write_text
from .measure import Profile
from .phases import PHASES

FILES = ("profile.json", "profile.md", "profile.svg", "trace.json.gz")
TITLES = {
    "data": "waiting for data",
    "forward": "forward",
    "target": "loss and targets",
    "backward": "backward",
    "optimizer": "optimizer",
    "rest": "the rest",
}


def check_folder(folder: Path) -> None:
    """Whether a profile may be written into the folder.

    Raises:
        UserError: it holds something, and that is no profile.
    """
    if not folder.exists() or (folder / FILES[0]).is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise UserError(f"{folder} exists and is not a profile's folder; choose another --out")


def summarise(recipe: Recipe, times: Profile) -> dict[str, Any]:
    """All of `profile.json`: figures of each phase, of the whole step and of its being timed."""
    whole = [sum(step.values()) for step in times.steps]
    bare = statistics.median(times.bare)
    ratios = [timed / alone for timed, alone in zip(whole, times.bare, strict=True)]
    on_gpu = times.device.type != "cpu"
    rows = {}
    for phase in (*PHASES, "step"):
        # A compiled step is one thing, in which nothing tells where the networks end.
        if phase != "step" and not any(phase in step for step in times.steps):
            continue
        values = whole if phase == "step" else [step.get(phase, 0.0) for step in times.steps]
        rows[phase] = {
            "ms": _quartiles(values),
            "mean_ms": statistics.fmean(values),
            "share": sum(values) / sum(whole),
        }
        if on_gpu:
            hosts = [sum(h.values()) if phase == "step" else h.get(phase, 0.0) for h in times.host]
            rows[phase]["host_ms"] = _quartiles(hosts)
    environment = describe_environment()
    environment["command"] = shlex.join(["torchbake", *sys.argv[1:]])
    return {
        "environment": environment,
        "recipe": asdict(recipe),
        "device": str(times.device),
        "warmup": times.warmup,
        "images_per_second": 1000 * recipe.training.batch_size / bare,
        "phases": rows,
        "timed_over_bare": _quartiles(ratios),
        "steps": times.steps,
        "host_steps": times.host if on_gpu else None,
        "bare_steps": times.bare,
    }


def _quartiles(values: list[float]) -> list[float]:
    if len(values) == 1:
        return values * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def _title(phase: str, phases: dict[str, Any]) -> str:
    if phase == "target" and "forward" not in phases:
        return "forward, loss and targets"
    return TITLES.get(phase, "whole step")


def format_profile(summary: dict[str, Any]) -> str:
    """The table, and what is to be known about it."""
    phases, environment, recipe = (summary[key] for key in ("phases", "environment", "recipe"))
    on_gpu = summary["host_steps"] is not None
    head = ["a step's phase", "median ms", "quartiles", "mean ms", "share"]
    head += ["median ms on the host"] * on_gpu
    lines = [_row(head), _row(["---"] + ["--:"] * (len(head) - 1))]
    for phase, figures in phases.items():
        low, middle, high = figures["ms"]
        cells = [_title(phase, phases), f"{middle:.2f}", f"{low:.2f} to {high:.2f}"]
        cells += [f"{figures['mean_ms']:.2f}", f"{100 * figures['share']:.1f} %"]
        lines.append(_row(cells + [f"{figures['host_ms'][1]:.2f}" for _ in range(on_gpu)]))
    low, middle, high = summary["timed_over_bare"]
    steps = len(summary["steps"])
    settings = recipe["training"]
    hardware = [environment["processor"], f"{environment['cores']} cores"]
    hardware += [f"threads: {environment['threads']}", *environment["gpus"]]
    return "\n".join(
        [
            *lines,
            "",
            f"{recipe['method']['name']} on {recipe['data']['name']}, {recipe['model']['name']}, "
            f"{settings['batch_size']} images a step in {settings['precision']} on "
            f"{summary['device']}: {summary['images_per_second']:,.0f} images/s at the median "
            f"step. {steps} steps after {summary['warmup']} of warm-up; means and shares add up.",
            f"A step timed in phases took {middle:.3f} times as long as one timed as a whole "
            f"(quartiles {low:.3f} to {high:.3f} of {steps} pairs in turns).",
            "",
            f"*`{environment['command']}`: {', '.join(hardware)}; Python "
            f"{environment['python']}, torch {environment['packages']['torch']}, torchbake "
            f"{environment['commit'] or environment['torchbake']}; {environment['started'][:10]}.*",
        ]
    )


def _row(cells: list[str]) -> str:
    return "|".join(["", *(f" {cell} " for cell in cells), ""])


def write_profile(folder: Path, summary: dict[str, Any]) -> list[Path]:
    """Write `profile.json`, `.md` and, where matplotlib is, `.svg`; a former profile's go."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in FILES]
    write_text(paths[0], json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    for path in paths[1:]:
        path.unlink(missing_ok=True)
    write_text(paths[1], format_profile(summary) + "\n")
    try:
        write_picture(paths[2], summary)
    except ModuleNotFoundError:
        return paths[:2]
    return paths[:3]


def write_picture(path: Path, summary: dict[str, Any]) -> None:
    """The phases' shares, and each step's phases one upon the other, as SVG.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    phases = {name: row for name, row in summary["phases"].items() if name != "step"}
    with rc_context({"svg.hashsalt": "torchbake", "svg.fonttype": "none"}):
        figure = Figure(figsize=(8, 6), layout="constrained")
        above, below = figure.subplots(2, 1)
        numbers = range(1, len(summary["steps"]) + 1)
        ground = [0.0] * len(summary["steps"])
        for place, (phase, row) in enumerate(phases.items()):
            color = f"C{place}"
            low, middle, high = row["ms"]
            above.barh(
                place, middle, xerr=[[middle - low], [high - middle]], color=color, capsize=3
            )
            above.annotate(
                f"{100 * row['share']:.1f} %",
                (high, place),
                textcoords="offset points",
                xytext=(6, 0),
                va="center",
            )
            heights = [step.get(phase, 0.0) for step in summary["steps"]]
            below.bar(numbers, heights, width=1.0, bottom=ground, color=color)
            ground = [a + b for a, b in zip(ground, heights, strict=True)]
        above.set_yticks(range(len(phases)), [_title(phase, phases) for phase in phases])
        above.invert_yaxis()
        above.set_xlabel("ms, median and quartiles; share of all steps")
        above.margins(x=0.15)
        below.set_xlabel("step")
        below.set_ylabel("ms")
        figure.savefig(path, metadata={"Date": None})
