"""`torchbake check`: find out what is wrong with a data set before anything is trained on it."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError, shorten
from .common import DEFAULT_RECIPE, check_file, check_least, print_notes, refuse_ranks

if TYPE_CHECKING:
    from ..analysis.check.check import Check
    from ..analysis.check.findings import Finding, Item

MOST_CLASSES = 20
"""Classes up to which the numbers of all are printed."""

EXAMPLES = 3
"""Examples of a finding that are printed."""


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "check",
        help="find out what is wrong with a data set before training on it",
        description="Look through a data set before training: files that cannot be read, copies "
        "within and across splits and classes, classes without images, odd files and pictures. "
        "Exit status: 0 if no problem was found, 1 if one was, 2 if the data cannot be opened.",
        epilog="The keys of a recipe's data section are options, too: --data.image_column photo.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "source",
        metavar="DATA",
        help="a folder of images or of Parquet files, a table of images and classes (.csv, .tsv, "
        ".jsonl), or a data set's name as for data.name",
    )
    parser.add_argument(
        "--format",
        choices=["table", "json"],
        default="table",
        help="how to print the findings: as a table, or all of them as JSON (default: table)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="also write a page with the pictures (default: no)"
    )
    parser.add_argument(
        "--show",
        type=int,
        default=24,
        metavar="N",
        help="number of pictures of each finding on the page (default: 24)",
    )
    parser.add_argument(
        "--distance",
        type=float,
        default=0.06,
        metavar="D",
        help="largest distance, from 0 to 1, of two pictures that look the same; 0 finds equal "
        "files only (default: 0.06)",
    )
    parser.set_defaults(takes_keys=True)
    return parser


def run(options: argparse.Namespace) -> None:
    """Look through a data set and say what was found."""
    from rich.console import Console

    from ..analysis.check.check import as_json, check_data
    from ..training.recipe_files import load_recipe

    refuse_ranks("check")
    check_least(options, 1, "show")
    if not 0 <= options.distance <= 1:
        raise UserError("--distance: expected a number from 0 to 1")
    if options.out is not None:
        check_file(options.out)
    name = name_source(options.source)
    recipe = load_recipe(DEFAULT_RECIPE, [("data", name), *options.overrides]).data
    with Console(stderr=True).status(f"opening {name}") as status:
        check = check_data(
            recipe,
            farthest=options.distance,
            progress=lambda split, done, total: status.update(
                f"looking at the {split} images: {done:,} of {total:,}"
            ),
        )
    if options.format == "json":
        print(json.dumps(as_json(check), indent=1, allow_nan=False))
    else:
        _print_tables(check)
    if options.out is not None:
        from ..analysis.check.page import make_page
        from ..training.files import write_text

        write_text(options.out, make_page(check, options.show))
        if options.format == "table":
            print_notes([], options.out)
    if check.problems:
        raise SystemExit(1)


def name_source(given: str) -> str:
    """The name, as for `data.name`, of what a path or a name means."""
    from ..training.photos import name_data

    named = name_data(given)
    path = Path(given).expanduser()
    if named is None and not path.exists() and ("/" in given or path.suffix) and ":" not in given:
        raise UserError(f"there is no file or folder {given}")
    return given if named is None else named


def _print_tables(check: "Check") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console.print(_count_table(check))
    for line in _summarise(check):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if not check.findings:
        console.print("nothing found")
        return
    table = Table("", "count", "found", "examples")
    table.columns[1].justify = "right"
    for finding in check.findings:
        serious = finding.about.serious
        table.add_row(
            Text("problem", "bold red") if serious else Text("note"),
            f"{finding.count:,}",
            Text(finding.about.title),
            Text("\n".join(_name_examples(finding))),
        )
    console.print(table)
    notes = len(check.findings) - check.problems
    console.print(
        f"problems of {_number(check.problems, 'kind')}, notes of {_number(notes, 'kind')}",
        highlight=False,
    )


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _count_table(check: "Check") -> Any:
    """The images of each class and split, or of the smallest and the largest class of many."""
    from rich.table import Table
    from rich.text import Text

    many = len(check.classes) > MOST_CLASSES
    table = Table(f"{len(check.classes):,} classes" if many else "class", *check.counts)
    for column in table.columns[1:]:
        column.justify = "right"
    columns = list(check.counts.values())
    if many:
        for what, measure in (("fewest images", min), ("most images", max)):
            table.add_row(what, *(f"{measure(column):,}" for column in columns))
    else:
        for number, name in enumerate(check.classes):
            table.add_row(Text(name), *(f"{column[number]:,}" for column in columns))
    table.add_section()
    table.add_row("all", *(f"{sum(column):,}" for column in columns))
    return table


def _summarise(check: "Check") -> list[str]:
    lines = []
    if check.sizes:
        sizes = {name: f"{width} × {height}" for name, (height, width) in check.sizes.items()}
        if sizes["smallest"] == sizes["largest"]:
            lines.append(f"size: {sizes['median']} pixels")
        else:
            listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
            lines.append(f"width × height in pixels: {listed}")
    if check.formats:
        listed = ", ".join(f"{count:,} {name}" for name, count in check.formats.items())
        lines.append(f"files: {check.total_bytes / 1e6:,.1f} MB; {listed}")
    return lines


def _name_examples(finding: "Finding") -> list[str]:
    """The first things of a finding, or its first groups of copies, a line each."""
    groups: dict[int, list[Item]] = {}
    for number, item in enumerate(finding.items):
        groups.setdefault(item.group or -number - 1, []).append(item)
    lines = []
    for items in list(groups.values())[:EXAMPLES]:
        names = [shorten(f"{i.name}: {i.detail}" if i.detail else i.name, 200) for i in items]
        more = f" and {len(items) - EXAMPLES} more" if len(items) > EXAMPLES else ""
        lines.append(" = ".join(names[:EXAMPLES]) + more)
    return lines + ["…"] * (len(groups) > EXAMPLES)
