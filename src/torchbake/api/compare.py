"""Comparing methods from Python, and for the command line."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ..analysis.compare.figures import Row, compare_runs, find_baseline, read_runs
from ..analysis.compare.plan import check_budgets, plan_runs
from ..analysis.compare.run import run_missing
from ..analysis.compare.seeds import Record
from ..analysis.compare.tables import flatten_row, format_comparison, write_comparison
from ..analysis.pages.report import write_report
from ..analysis.pages.scatter import draw_comparison
from ..errors import UserError
from ..training.environment import describe_environment
from ..training.photos import Overrides
from ..training.run_folder import RunFolder
from .overrides import choose_recipe, write_overrides
from .runs import Report, Run, import_pandas

if TYPE_CHECKING:
    import pandas

METHODS = ("cross-entropy", "bake")
"""Those that are compared if none are named."""


class Comparison:
    """Methods side by side, the best top-1 first.

    Printed, and in a notebook, it is the table of `torchbake compare`.

    Attributes:
        out: the folder of the tables and the page.
        rows: a `Row` of each method, with means and standard errors over the seeds.
        records: the figures of each run.
        written: the files that were written.
        notes: what had to be left out of the page.
    """

    def __init__(
        self,
        out: Path,
        rows: list[Row],
        records: list[Record],
        written: list[Path],
        notes: list[str],
    ) -> None:
        self.out = out
        self.rows = rows
        self.records = records
        self.written = written
        self.notes = notes

    @property
    def runs(self) -> list[Run]:
        """The runs that were compared."""
        return [Run(path) for path in dict.fromkeys(record["run"] for record in self.records)]

    @property
    def report(self) -> Report:
        """The page of the comparison."""
        return Report(self.out / "report.html")

    def to_dataframe(self) -> "pandas.DataFrame":
        """The rows as a table of pandas, with one column for each figure and standard error.

        Raises:
            UserError: pandas is not installed.
        """
        return import_pandas().DataFrame([flatten_row(row) for row in self.rows])

    def __str__(self) -> str:
        return format_comparison(self.rows, self.records[0]["report"])

    def _repr_markdown_(self) -> str:
        return str(self)


def compare(
    recipe: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    methods: Iterable[str] = METHODS,
    seeds: int = 1,
    data: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    budget: str | int | None = None,
    baseline: str | None = None,
    unequal: bool = False,
    jobs: int = 1,
    quiet: bool = False,
) -> Comparison:
    """Train methods side by side on equal numbers of images, as `torchbake compare` does.

    Finished runs in `out` are not repeated, so that the same call goes on after an interruption.

    Args:
        recipe, data, overrides: as `torchbake.train` takes them.
        out: the folder of the runs, the tables and the page.
        methods: with settings behind colons, such as `bake:omega=0.9`.
        seeds: how many, from 0 on.
        budget: what an epoch counts, `images` or `anchors`, or how many images each run sees.
        baseline: the method that the others are measured against.
        unequal: also compare runs that saw different numbers of images, and mark them.
        jobs: runs at a time, spread over the GPUs.
        quiet: print nothing.

    Raises:
        UserError: what the command line would refuse, or runs that failed.
        Stopped: SIGINT or SIGTERM; all runs at work have left a checkpoint.
    """
    for name, value in (("seeds", seeds), ("jobs", jobs)):
        if value < 1:
            raise UserError(f"{name}: expected a number of at least 1, got {value}")
    name, keys = choose_recipe(recipe, data, write_overrides(overrides))
    folder = Path(out).expanduser()
    folders, failures = train_variants(
        name,
        keys,
        list(methods),
        seeds,
        folder,
        budget=None if budget is None else str(budget),
        unequal=unequal,
        jobs=jobs,
        console=Console(quiet=quiet),
    )
    if failures:
        raise UserError("; ".join(["these runs are missing", *failures]))
    return compare_folders(folders, folder, baseline=baseline, unequal=unequal)


def train_variants(
    recipe: str,
    overrides: Overrides,
    variants: list[str],
    seeds: int,
    out: Path,
    *,
    budget: str | None,
    unequal: bool,
    jobs: int,
    console: Console,
) -> tuple[list[RunFolder], list[str]]:
    """Do the runs that are missing; all run folders, and a line of each run that failed."""
    runs = plan_runs(recipe, overrides, variants, seeds, budget, out)
    if not unequal:
        check_budgets(runs)
    failures = run_missing(runs, out, jobs, console, write_report)
    return [run.folder for run in runs], failures


def compare_folders(
    folders: Sequence[RunFolder], out: Path, *, baseline: str | None, unequal: bool
) -> Comparison:
    """Put finished runs side by side, and write the tables and the page below `out`."""
    records = read_runs(list(folders))
    baseline = find_baseline(records, baseline)
    rows = compare_runs(records, baseline, unequal=unequal)
    picture = draw_comparison(rows)
    written = write_comparison(out, records, rows, describe_environment(), picture)
    best = next(Path(r["run"]) for r in records if r["variant"] == rows[0].variant)
    ordered = sorted(folders, key=lambda folder: folder.path != best)
    notes = write_report(ordered, out / "report.html", Console(stderr=True), baseline=baseline)
    return Comparison(out, rows, records, written, notes)
