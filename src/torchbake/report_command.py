"""`torchbake report` and `torchbake inspect`: pages of finished runs."""

import argparse
from pathlib import Path
from typing import Any

from .errors import UserError


def add_parsers(subcommands: Any) -> None:
    """Add both to the commands of the command line."""
    report = subcommands.add_parser(
        "report",
        help="write a page of a run, or of several beside each other",
        description="Write one HTML page of runs: figures, curves, errors, and who teaches whom. "
        "Errors, pictures, recipe and environment are those of the first run.",
        allow_abbrev=False,
    )
    report.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="a run folder, or a folder of some"
    )
    report.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="(default: report.html in the run folder; of several, in runs/comparison)",
    )
    _add_common(report)
    report.set_defaults(command=report_runs)

    inspect = subcommands.add_parser(
        "inspect",
        help="see which images teach which, in a batch of your own",
        description="Write an HTML page in which the images of a batch can be looked at: what the "
        "network takes them for, who teaches whom, and what they are taught.",
        allow_abbrev=False,
    )
    inspect.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    inspect.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="pictures, labelled where their folder is named as a class (default: training images)",
    )
    inspect.add_argument(
        "--out", type=Path, metavar="FILE", help="(default: inspect.html in the run folder)"
    )
    inspect.add_argument("--ema", action="store_true", help="the average of the weights")
    _add_common(inspect)
    inspect.set_defaults(command=inspect_run)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size", type=int, default=128, metavar="N", help="images in the batch (default: 128)"
    )
    parser.add_argument("--device", metavar="NAME", help="in place of the run's training.device")


def report_runs(options: argparse.Namespace) -> None:
    """Write the page, and tell what had to be left out."""
    from rich.console import Console

    from .analysis.comparison import find_runs
    from .analysis.report import write_report

    _check_size(options.size)
    runs = find_runs(options.runs)
    alone = len(runs) == 1
    out = _file(options.out or (runs[0].report if alone else Path("runs/comparison/report.html")))
    left_out = write_report(
        runs, out, Console(stderr=True), size=options.size, device_name=options.device
    )
    _tell(left_out, out)


def inspect_run(options: argparse.Namespace) -> None:
    """Write the page, and tell what is wrong with which pictures."""
    from rich.console import Console

    from .analysis.inspector import write_inspection
    from .training.run_folder import RunFolder

    _check_size(options.size)
    run: RunFolder = RunFolder(options.run)
    out = _file(options.out or options.run / "inspect.html")
    notes = write_inspection(
        run,
        out,
        Console(stderr=True),
        images=options.images,
        size=options.size,
        ema=options.ema,
        device_name=options.device,
    )
    _tell(notes, out)


def _check_size(size: int) -> None:
    if size < 2:
        raise UserError("--size: expected a number from 2 on")


def _file(path: Path) -> Path:
    from .training.checkpoint import check_writable

    if path.is_dir():
        raise UserError(f"--out: {path} is a folder; expected a file's name")
    check_writable(path.parent)
    return path


def _tell(notes: list[str], out: Path) -> None:
    for line in (*notes, f"written to {out} ({out.stat().st_size / 1000:,.0f} kB)"):
        print(line.encode("utf-8", "replace").decode())  # a file's name may not be Unicode
