"""`torchbake pack`: encode a data set's images anew, smaller."""

import argparse
from pathlib import Path
from typing import Any

from ..errors import UserError
from .common import DEFAULT_RECIPE, check_least


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "pack",
        help="re-encode a data set's images at a smaller size, for faster epochs",
        description="Re-encode a data set's images as JPEG at a limited size, and write them to a "
        "folder of Arrow files. Train on it with --data hf:OUT. Images that cannot be read are "
        "left out and listed.",
        epilog="The keys of a recipe's data section are options, too: --data.image_column photo.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder with train/ and val/ or test/, or a data set's name as for data.name",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    parser.add_argument(
        "--short-side",
        type=int,
        default=256,
        metavar="N",
        help="largest length of an image's shorter side in pixels (default: 256)",
    )
    parser.add_argument(
        "--quality", type=int, default=90, metavar="N", help="JPEG quality, 1 to 95 (default: 90)"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace images that were packed into OUT before (default: no)",
    )
    parser.set_defaults(takes_keys=True)
    return parser


def run(options: argparse.Namespace) -> None:
    """Encode a data set anew, so that it is decoded faster, and tell what came of it."""
    from rich.console import Console

    from ..data.preparing.packing import SKIPPED, pack
    from ..training.recipe_files import load_recipe

    check_least(options, 1, "short-side")
    if not 1 <= options.quality <= 95:
        raise UserError("--quality: expected a number from 1 to 95")
    name = options.source
    if ":" not in name and Path(name).is_dir():
        name = f"imagefolder:{name}"
    recipe = load_recipe(DEFAULT_RECIPE, [("data", name), *options.overrides]).data
    with Console(stderr=True).status(f"opening {name}") as status:
        packed = pack(
            recipe,
            options.out,
            short_side=options.short_side,
            quality=options.quality,
            overwrite=options.overwrite,
            progress=lambda split, done, total: status.update(
                f"packing the {split} images: {done:,} of {total:,}"
            ),
        )
    for line in packed.notes:
        print(line)
    counts = " and ".join(f"{count:,} {split}" for split, count in packed.images.items())
    print(f"packed {counts} images, {packed.kept:,} of them as they were")
    if packed.skipped:
        print(f"left out {len(packed.skipped):,}, listed in {options.out / SKIPPED}; the first:")
        print("\n".join(packed.skipped[:3]).encode("utf-8", "replace").decode())
    print(f"train on them with --data hf:{options.out}")
