"""`torchbake prepare`: a data set's files, as their publishers give them, made into a folder.

Heavy modules are imported when the command runs, so that help is instant.
"""

import argparse
from pathlib import Path
from typing import Any


def add_parser(subcommands: Any) -> None:
    prepare = subcommands.add_parser(
        "prepare",
        help="make a folder to train on of a data set's files as their publisher gives them",
        description="Make a folder with train/CLASS/ and test/CLASS/ (ImageNet: val/CLASS/) of the "
        "archives that a data set's publisher gives, or of what they are unpacked to: "
        "tiny-imagenet, cub200, dogs, mit67 or imagenet. Nothing is downloaded.",
        allow_abbrev=False,
    )
    prepare.add_argument(
        "name", metavar="NAME", help="tiny-imagenet, cub200, dogs, mit67 or imagenet"
    )
    prepare.add_argument(
        "--source",
        type=Path,
        required=True,
        metavar="DIR",
        help="the folder with the publisher's files",
    )
    prepare.add_argument("--out", type=Path, metavar="DIR", help="(default: data/NAME)")
    prepare.add_argument(
        "--no-check",
        action="store_true",
        help="compare neither checksums nor numbers of images; for a part of a data set",
    )
    prepare.add_argument(
        "--overwrite", action="store_true", help="replace what was prepared before"
    )
    prepare.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Make the folder, and tell what is in it and how to train on it."""
    from rich.console import Console

    from .data.preparing import prepare

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
