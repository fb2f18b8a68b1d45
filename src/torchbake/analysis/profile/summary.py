"""Where the time of a training step goes, in figures: as Markdown and JSON."""

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
from .picture import draw_profile

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
    """All of `profile.json`: figures of each phase, of the whole step and of its being recorded."""
    whole = [sum(step.values()) for step in times.steps]
    bare = statistics.median(times.bare)
    ratios = [timed / alone for timed, alone in zip(times.recorded, times.bare, strict=True)]
    on_device = times.steps != times.host
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
        if on_device:
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
        "recorded_over_bare": _quartiles(ratios),
        "busy": statistics.median(whole) / bare,
        "steps": times.steps,
        "host_steps": times.host if on_device else None,
        "recorded_steps": times.recorded,
        "bare_steps": times.bare,
    }


def _quartiles(values: list[float]) -> list[float]:
    if len(values) == 1:
        return values * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def _name_phase(phase: str, phases: dict[str, Any]) -> str:
    if phase == "target" and "forward" not in phases:
        return "forward, loss and targets"
    return TITLES.get(phase, "whole step")


def format_profile(summary: dict[str, Any]) -> str:
    """The table, and what is to be known about it."""
    phases, environment, recipe = (summary[key] for key in ("phases", "environment", "recipe"))
    on_device = summary["host_steps"] is not None
    head = ["a step's phase", "median ms", "quartiles", "mean ms", "share"]
    head += ["median ms on the host"] * on_device
    lines = [_row(head), _row(["---"] + ["--:"] * (len(head) - 1))]
    for phase, figures in phases.items():
        low, middle, high = figures["ms"]
        cells = [_name_phase(phase, phases), f"{middle:.2f}", f"{low:.2f} to {high:.2f}"]
        cells += [f"{figures['mean_ms']:.2f}", f"{100 * figures['share']:.1f} %"]
        lines.append(_row(cells + [f"{figures['host_ms'][1]:.2f}" for _ in range(on_device)]))
    low, middle, high = summary["recorded_over_bare"]
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
            f"A recorded step took {middle:.3f} times as long as one that was not "
            f"(quartiles {low:.3f} to {high:.3f} of {steps} pairs in turns)."
            + f" The device worked {100 * summary['busy']:.0f} % of the latter."
            * on_device,
            "",
            f"*`{environment['command']}`: {', '.join(hardware)}; Python "
            f"{environment['python']}, torch {environment['packages']['torch']}, torchbake "
            f"{environment['commit'] or environment['torchbake']}; {environment['started'][:10]}.*",
        ]
    )


def _row(cells: list[str]) -> str:
    return "|".join(["", *(f" {cell} " for cell in cells), ""])


def write_profile(folder: Path, summary: dict[str, Any]) -> list[Path]:
    """Write `profile.json`, `.md` and `.svg`; a former profile's files go."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in FILES]
    phases = summary["phases"]
    write_text(paths[0], json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    write_text(paths[1], format_profile(summary) + "\n")
    write_text(paths[2], draw_profile(summary, lambda phase: _name_phase(phase, phases)))
    paths[3].unlink(missing_ok=True)
    return paths[:3]
