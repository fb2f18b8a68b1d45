"""Runs as one HTML page: figures, curves, errors, who teaches whom, recipe, environment."""

import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ...calibration import cross_fit
from ...errors import UserError
from ...training.distributed import find_device
from ...training.files import write_text
from ...training.network import read_temperature
from ...training.opened_run import OpenedRun, open_run
from ...training.run_folder import RunFolder
from ..compare.figures import Row, compare_runs, find_baseline, name_variants, read_runs
from ..compare.tables import (
    format_gain,
    format_images,
    format_spread,
    format_variant,
    list_remarks,
    title_top1,
)
from ..outputs import Outputs, compute_outputs, restore_pictures
from . import charts
from .by_class import describe_classes
from .diagnosis import Bin, count_confusions, measure_reliability
from .figures import list_figures
from .inspect import draw_batch, inspect_batch, make_remark, name_images, read_settings
from .render import render
from .sprites import make_sprite

PAIRS, EXAMPLES = 10, 4  # pairs of confused classes that are shown, and pictures of each

TITLES = {
    ("eval", "top1"): "Test top-1, %",
    ("eval", "nll"): "Test NLL, nats",
    ("eval", "ece"): "Test ECE, %",
    ("eval", "validation_top1"): "Validation top-1, %",  # below the others, in three columns
    ("eval", "validation_nll"): "Validation NLL, nats",
    ("eval", "validation_ece"): "Validation ECE, %",
    ("train", "loss"): "Training loss",
    ("train", "train_top1"): "Training top-1, %",
    ("train", "lr"): "Learning rate",
    ("train", "images_per_second"): "Training images/s",
}


def write_report(
    runs: list[RunFolder],
    path: Path,
    console: Console,
    *,
    size: int = 128,
    device_name: str | None = None,
    baseline: str | None = None,
) -> list[str]:
    """Write one page of these runs; details are of the first.

    Parts that need the network or its data set are left out where these are not available, as for
    a run that is not finished.

    Args:
        size: number of pictures in the inspector.
        device_name: device to use instead of the recipe's `training.device`.
        baseline: the variant that others are measured against (see `find_baseline`).

    Returns:
        What was left out, and why.

    Raises:
        UserError: no run folder, no such device, or runs that answer different questions.
    """
    if device_name is not None:
        find_device(device_name, 0)
    first = runs[0]
    recipe = first.read_recipe()
    records = [run.read_metrics() for run in runs]
    left_out = [f"{run.path}: not finished" for run in runs if not run.result.is_file()]
    variants = name_variants(runs)
    rows: list[Row] = []
    finished = [k for k, run in enumerate(runs) if run.result.is_file()]
    if len(runs) > 1 and finished:
        known = read_runs([runs[k] for k in finished], [variants[k] for k in finished])
        baseline = find_baseline(known, baseline)
        rows = compare_runs(known, baseline, unequal=True)
    # Each is a curve of its own: how they would end is not known.
    variants = [
        variant if k in finished else f"{variant} ({runs[k].path.resolve().name}, not finished)"
        for k, variant in enumerate(variants)
    ]
    details: dict[str, Any] = {"inspector": None, "reliability": [], "confusions": []}
    details["by_class"] = []
    if first.result.is_file():
        try:
            opened = open_run(first.path, device_name=device_name, console=console)
        except UserError as error:
            left_out.append(f"no pictures and no errors of classes: {error}")
        else:
            for what, part in (
                ("errors of classes", _find_errors),
                ("pictures of who teaches whom", _make_inspector),
            ):
                try:
                    details |= part(opened, size, console)
                except UserError as error:
                    left_out.append(f"no {what}: {error}")
    page = render(
        "report.html",
        name=first.path.resolve().name,
        recipe=recipe,
        recipe_text=first.recipe.read_text(encoding="utf-8"),
        environment_text=_read_environment(first),
        several=len(runs) > 1,
        notes=left_out,
        legend=[(name, *charts.style_line(k)) for k, name in enumerate(dict.fromkeys(variants))],
        charts=_draw_charts(variants, records),
        rows=[_format_row(row) for row in rows],
        scaled=any(row.scaled_by for row in rows),
        axis=_make_axis(rows),
        remark=make_remark(recipe),
        baseline=baseline,
        top1_title=title_top1(recipe.training.report),
        remarks=" ".join(list_remarks(rows, recipe.training.report)),
        figures=list_figures(first, records[0]),
        view=(charts.WIDTH, charts.HEIGHT, charts.LEFT, charts.RIGHT, charts.TOP, charts.BOTTOM),
        **details,
    )
    write_text(path, page)
    return left_out


def _read_environment(run: RunFolder) -> str:
    if not run.environment.is_file():
        return ""
    return json.dumps(run.read_environment(), indent=2)


def _draw_charts(variants: list[str], records: list[list[dict[str, Any]]]) -> list[charts.Chart]:
    """A chart of each quantity that the runs have recorded."""
    trained = [[r for r in run if r["kind"] == "train"] for run in records]
    terms = dict.fromkeys(
        ("train", key)
        for run in trained
        for key in (run[-1] if run else {})
        if key not in ("kind", "step", "images", "seconds_left")
    )
    found = []
    for kind, key in dict.fromkeys([*TITLES, *terms]):
        curves: dict[str, list[charts.Pairs]] = {variant: [] for variant in variants}
        for variant, run in zip(variants, records, strict=True):
            own = [r for r in run if r["kind"] == kind and key in r]
            if own:
                curves[variant].append([(float(r["images"]), float(r[key])) for r in own])
        title = TITLES.get((kind, key)) or f"Training {key.replace('_', ' ')}"
        chart = charts.draw_lines(title, curves)
        if chart is not None:
            found.append(chart)
    return found


def _make_axis(rows: list[Row]) -> list[charts.Tick]:
    """Ticks of the axis of top-1 with its errors, in percent of the width."""
    if not rows:
        return []
    ends = [row.top1[0] + sign * row.shown_error for row in rows for sign in (-1, 1)]
    values = charts.choose_ticks(min(ends), max(ends), 3)
    low, high = values[0], values[-1]
    return [charts.Tick(100 * (v - low) / (high - low), f"{v:g}") for v in values]


def _format_row(row: Row) -> dict[str, Any]:
    """A variant's figures as texts, and its top-1 with its error as numbers."""
    return {
        "variant": format_variant(row),
        "top1": format_spread(row.top1, 2),
        "difference": format_gain(row),
        "nll": format_spread(row.nll, 3),
        "ece": format_spread(row.ece, 2),
        "nll_scaled": format_spread(row.nll_scaled, 3),
        "ece_scaled": format_spread(row.ece_scaled, 2),
        "images": format_images(row),
        "forwards": f"{row.forwards_per_image:.2f}",
        "seconds": f"{row.seconds[0]:,.0f}",
        "memory": f"{row.peak_memory / 2**20:,.0f}",
        "seeds": row.seeds,
        "mean": row.top1[0],
        "error": row.shown_error,
    }


def _find_errors(opened: OpenedRun, size: int, console: Console) -> dict[str, Any]:
    """Reliability, and the most confused classes with pictures of them."""
    test = opened.data.source.test
    classes = opened.data.source.classes
    outputs = compute_outputs(opened, test, torch.arange(len(test)), console)
    found = count_confusions(outputs.logits, outputs.labels, PAIRS, EXAMPLES)
    shown = [row for confusion in found for row in confusion.examples]
    pictures = restore_pictures(opened, test, torch.tensor(shown)) if shown else None
    places = iter(range(len(shown)))
    return {
        "reliability": _measure_reliabilities(opened, outputs),
        "confusions": [
            {
                "label": classes[confusion.label],
                "predicted": classes[confusion.predicted],
                "images": confusion.images,
                "share": confusion.share,
                "pictures": [(next(places), row) for row in confusion.examples],
            }
            for confusion in found
        ],
        "examples": None if pictures is None else make_sprite(pictures, 48),
        "test_images": len(test),
        **describe_classes(outputs.logits, outputs.labels, classes),
    }


def _measure_reliabilities(opened: OpenedRun, outputs: Outputs) -> list[tuple[str, list[Bin]]]:
    """Reliability as trained and after temperature scaling, with titles."""
    logits, labels, indices = outputs.logits, outputs.labels, outputs.indices
    temperature = read_temperature(opened.run)
    divisors = cross_fit(logits, labels, indices)[:, None] if temperature is None else temperature
    return [
        ("Reliability: accuracy by confidence", measure_reliability(logits, labels)),
        ("Reliability after temperature scaling", measure_reliability(logits / divisors, labels)),
    ]


def _make_inspector(opened: OpenedRun, size: int, console: Console) -> dict[str, Any]:
    train = opened.data.source.train
    batch = draw_batch(opened, min(size, len(train)))
    outputs = compute_outputs(opened, train, batch, console)
    classes = opened.data.source.classes
    pictures = restore_pictures(opened, train, batch)
    names = name_images(train, batch)
    settings = read_settings(opened.recipe)
    return {"inspector": inspect_batch(outputs, pictures, classes, names, settings)}
