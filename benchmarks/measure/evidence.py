"""Fills the tables of docs/reproduction.md within a time limit.

Rows that are not finished go on with the next call. Those named `budgets/…` have no page yet.

    python -m benchmarks.measure.evidence --list
    python -m benchmarks.measure.evidence 'rivals/*' --data cifar100=parquet:CIFAR/*.parquet \\
        --minutes 25
    python -m benchmarks.measure.evidence 'reduced/*' --data 'cifar100=parquet:CIFAR/*.parquet' \\
        --jobs 2

Rows are those of evidence_rows.py; by default all, in their order. A run that the limit cuts off
leaves a checkpoint below --runs, from which the same command goes on. Each finished run is written
to results/evidence.json (or below $OUT) at once, with the machine that it was done on.
"""

import argparse
import json
import os
import signal
import threading
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from benchmarks.measure.provenance import write_results
from benchmarks.tables.evidence_rows import ROWS, Wanted
from rich.console import Console

from torchbake.analysis.compare.figures import read_runs
from torchbake.analysis.compare.plan import Run, plan_runs
from torchbake.analysis.compare.run import run_missing
from torchbake.analysis.pages.report import write_report
from torchbake.errors import Stopped, UserError

RESULTS = Path(__file__).parents[2] / "results" / "evidence.json"


def main() -> None:
    options = _options()
    wanted = [row for row in ROWS if any(fnmatchcase(row.name, p) for p in options.rows)]
    if not wanted:
        raise SystemExit(f"no row is named like {' or '.join(options.rows)}; --list shows them")
    if options.list:
        print("\n".join(row.name for row in wanted))
        return
    places = dict(place.split("=", 1) for place in options.data)
    common = [tuple(override.split("=", 1)) for override in options.override]
    planned = {row: _runs(row, places, common, options.runs)[: options.seeds] for row in wanted}
    rows = {id(run): row for row, runs in planned.items() for run in runs}

    def keep(run: Run) -> None:
        record = _record(rows[id(run)], run) | {"overrides": options.override}
        write_results("evidence", _merged(_known(), [record]))

    for row, runs in planned.items():  # finished in an earlier call, perhaps for another $OUT
        known = {(r["variant"], r["seed"]) for r in _known()}
        for run in runs:
            if run.folder.result.is_file() and (row.name, run.recipe.seed) not in known:
                keep(run)
    if options.minutes is not None:
        alarm = threading.Timer(60 * options.minutes, os.kill, (os.getpid(), signal.SIGTERM))
        alarm.daemon = True
        alarm.start()
    failures: list[str] = []
    try:
        # Data that is not there fails its own rows, not the others.
        failures = run_missing(
            [run for runs in planned.values() for run in runs],
            options.runs,
            options.jobs,
            Console(),
            write_report,
            keep,
        )
    except (Stopped, UserError) as stop:
        raise SystemExit(str(stop)) from None
    if failures:
        raise SystemExit("\n".join(failures))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", default=["*"], metavar="ROW", help="names, with * and ?")
    parser.add_argument("--list", action="store_true", help="print the names of these rows")
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="NAME=PLACE",
        help="where a data set is, as data.name takes it: cifar100=parquet:CIFAR/*.parquet",
    )
    parser.add_argument("--override", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, help="at most so many of each row")
    parser.add_argument("--minutes", type=float, help="stop after these, with a checkpoint")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--runs", type=Path, default=Path("runs/evidence"))
    return parser.parse_args()


def _runs(
    row: Wanted, places: dict[str, str], common: list[tuple[str, str]], folder: Path
) -> list[Run]:
    overrides = list(row.overrides)
    if torch.cuda.is_available():
        overrides.append(("training.precision", "bf16"))
    place = places.get(row.recipe.partition("/")[0])
    if place is not None:
        overrides.append(("data", place))
    # Without a number of images, epochs count what the recipe says.
    budget = None if row.images is None else str(row.images)
    out = folder / row.recipe if budget is None else folder / row.recipe / budget
    if row.overrides:
        out = folder / row.name.removesuffix(f"/{row.variant}")
    return plan_runs(row.recipe, [*overrides, *common], [row.variant], row.seeds, budget, out)


def _record(row: Wanted, run: Run) -> dict[str, Any]:
    """What a finished run comes to, as a comparison reads it, and on what it was done."""
    result = run.folder.read_result()
    environment = run.folder.read_environment()
    record, *_ = read_runs([run.folder], [row.name])  # behind it that of averaged weights, if any
    return {
        **record,
        "last_top1": result["last"]["top1"],
        "precision": run.recipe.training.precision,
        **{key: environment[key] for key in ("processor", "cores", "gpus")},
        "torch": environment["packages"]["torch"],
    }


def _known() -> list[dict[str, Any]]:
    """The rows of the committed file and of the one that is written to."""
    known: list[dict[str, Any]] = []
    for path in (RESULTS, Path(os.environ.get("OUT", RESULTS.parent)) / RESULTS.name):
        if path.is_file():
            known = _merged(known, json.loads(path.read_text(encoding="utf-8"))["rows"])
    return known


def _merged(known: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows by name and seed, the newer ones in place of the older, in the order of ROWS."""
    rows = {(row["variant"], row["seed"]): row for row in [*known, *new]}
    order = [row.name for row in ROWS]
    return sorted(rows.values(), key=lambda row: (order.index(row["variant"]), row["seed"]))


if __name__ == "__main__":
    main()
