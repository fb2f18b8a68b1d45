"""`torchbake prepare`: make a folder to train on from a publisher's files."""

import argparse
from pathlib import Path
from typing import Any


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "prepare",
        help="turn the published files of a data set into a folder to train on",
        description="Make a folder with train/CLASS/ and test/CLASS/ (for ImageNet: val/CLASS/) "
        "from the archives that a data set's publisher offers, or from the unpacked archives. "
        "Nothing is downloaded.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "name", metavar="NAME", help="tiny-imagenet, cub200, dogs, mit67 or imagenet"
    )
    parser.add_argument(
        "--source",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with the publisher's files (required)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder to write (default: data/NAME)"
    )
    parser.add_argument(
        "--no-check",
        action="store_true",
        help="do not compare checksums and numbers of images, for part of a data set (default: "
        "compare)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what was prepared before (default: no)"
    )
    return parser


def run(options: argparse.Namespace) -> None:
    """Make the folder, and print what is in it and how to train on it."""
    from rich.console import Console

    from ..data.preparing.prepare import prepare

    out = options.out or Path("data") / options.name
    with Console(stderr=True).status(f"preparing {options.name}") as status:
        prepared = prepare(
            options.name,
            options.source,
            out,
            check=not options.no_check,
            overwrite=options.overwrite,
            progress=lambda what, done, total: status.update(f"{what} {done:,} of {total:,}"),
        )
    counts = " and ".join(f"{number:,} {split}" for split, number in prepared.images.items())
    print(f"{out}: {prepared.classes:,} classes, {counts} images")
    print(f"train on them with torchbake train RECIPE --data imagefolder:{out}")
