"""`torchbake report`: write an HTML page of one run or several."""

import argparse
from pathlib import Path
from typing import Any

from .common import add_device, add_size, add_trust, check_file, check_least, print_notes


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "report",
        help="write an HTML page of one run or several",
        description="Write one HTML page of runs: figures, curves, errors, and which images teach "
        "which. Errors, pictures, recipe and environment are those of the first run.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="a run folder, or a folder of run folders"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="page to write (default: report.html in the run folder; of several runs, in "
        "runs/comparison)",
    )
    add_size(parser)
    add_device(parser)
    add_trust(parser)
    return parser


def run(options: argparse.Namespace) -> None:
    """Write the page, and print what had to be left out."""
    from rich.console import Console

    from ..analysis.compare.figures import find_runs
    from ..analysis.pages.report import write_report

    check_least(options, 2, "size")
    runs = find_runs(options.runs)
    alone = len(runs) == 1
    out = check_file(
        options.out or (runs[0].report if alone else Path("runs/comparison/report.html"))
    )
    left_out = write_report(
        runs, out, Console(stderr=True), size=options.size, device_name=options.device
    )
    print_notes(left_out, out)
