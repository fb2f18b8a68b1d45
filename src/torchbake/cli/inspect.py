"""`torchbake inspect`: write an HTML page of who teaches whom in a batch."""

import argparse
from pathlib import Path
from typing import Any

from .common import add_device, add_ema, add_size, add_trust, check_file, check_least, print_notes


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "inspect",
        help="show which images teach which in a batch",
        description="Write an HTML page that shows the images of a batch: what the network "
        "predicts for each, which others teach it, and its soft target.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="pictures to show; a picture in a folder named like a class has that label "
        "(default: training images)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="page to write (default: inspect.html in the run folder)",
    )
    add_size(parser)
    add_ema(parser)
    add_device(parser)
    add_trust(parser)
    return parser


def run(options: argparse.Namespace) -> None:
    """Write the page, and print what is wrong with which pictures."""
    from rich.console import Console

    from ..analysis.pages.inspect import write_inspection
    from ..training.run_folder import RunFolder

    check_least(options, 2, "size")
    folder = RunFolder(options.run)
    out = check_file(options.out or options.run / "inspect.html")
    notes = write_inspection(
        folder,
        out,
        Console(stderr=True),
        images=options.images,
        size=options.size,
        ema=options.ema,
        device_name=options.device,
    )
    print_notes(notes, out)
