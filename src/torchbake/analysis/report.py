"""A run as one HTML page that needs nothing else: figures, curves, recipe, environment."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import jinja2

from ..training.checkpoint import write_text
from ..training.run_folder import RunFolder

WIDTH, HEIGHT = 640, 220


class Curve(NamedTuple):
    """A polyline in a plot's coordinates, with the range of its values."""

    title: str
    points: str
    low: float
    high: float
    last: float


def write_report(run: RunFolder) -> None:
    """Write `report.html` from the other files of the run folder."""
    records = run.read_metrics()
    trained = [record for record in records if record["kind"] == "train"]
    evaluated = [record for record in records if record["kind"] == "eval"]
    curves = [
        _curve("Test top-1, %", evaluated, "top1"),
        _curve("Test NLL, nats", evaluated, "nll"),
        *[_curve(f"Training {name}", trained, name) for name in _loss_names(trained)],
        _curve("Learning rate", trained, "lr"),
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("torchbake.analysis"), autoescape=True, trim_blocks=True
    )
    page = environment.get_template("report.html").render(
        name=run.path.name,
        recipe=run.read_recipe(),
        recipe_text=run.recipe.read_text(encoding="utf-8"),
        environment_text=json.dumps(json.loads(run.environment.read_text()), indent=2),
        final=evaluated[-1] if evaluated else {},
        best=max((record["top1"] for record in evaluated), default=None),
        curves=[curve for curve in curves if curve is not None],
        images=evaluated[-1]["images"] if evaluated else 0,
        width=WIDTH,
        height=HEIGHT,
    )
    write_text(run.report, page)


def _loss_names(records: Sequence[dict[str, Any]]) -> list[str]:
    others = ("kind", "step", "images", "train_top1", "lr", "images_per_second", "seconds_left")
    return [name for name in (records[-1] if records else {}) if name not in others]


def _curve(title: str, records: Sequence[dict[str, Any]], key: str) -> Curve | None:
    pairs = [(record["images"], record[key]) for record in records if key in record]
    if len(pairs) < 2:
        return None
    values = [value for _, value in pairs]
    low, high = min(values), max(values)
    end = pairs[-1][0]
    points = " ".join(
        f"{WIDTH * x / end:.1f},{HEIGHT * (high - y) / (high - low or 1):.1f}" for x, y in pairs
    )
    return Curve(title.replace("_", " "), points, low, high, values[-1])
