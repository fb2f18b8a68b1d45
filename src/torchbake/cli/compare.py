"""`torchbake compare`: train methods side by side, or compare runs that exist."""

import argparse
from pathlib import Path
from typing import Any

from ..errors import UserError
from .common import DEFAULT_RECIPE, add_jobs, add_trust, check_least, name_run, refuse_ranks
from .recipe_help import add_help_recipe, print_recipe_help

DEFAULT_METHODS = "cross-entropy,bake"


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "compare",
        help="train methods side by side on equal terms, or compare finished runs",
        description="Train several methods with several seeds on equal numbers of images, and "
        "print one table. Finished runs are not repeated. Given run folders instead of a recipe, "
        "compare these runs.",
        epilog="Every key of the recipe is an option, too, for all methods: --training.epochs 10. "
        "--help-recipe explains all keys.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "what",
        nargs="*",
        metavar="RECIPE | RUN …",
        help=f"a recipe, or run folders (default: {DEFAULT_RECIPE})",
    )
    parser.add_argument(
        "--methods",
        metavar="M,M,…",
        help="methods, with settings after colons: cross-entropy,bake,bake:omega=0.9:partners=1 "
        f"(default: {DEFAULT_METHODS})",
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="number of seeds, from 0 to N - 1 (default: 1)"
    )
    parser.add_argument(
        "--budget",
        metavar="images | anchors | N",
        help="what an epoch counts, or how many images each run sees (default: the recipe's)",
    )
    parser.add_argument(
        "--baseline",
        metavar="METHOD",
        help="method that the others are compared with (default: cross-entropy)",
    )
    parser.add_argument(
        "--unequal",
        action="store_true",
        help="also compare runs that saw different numbers of images, and mark them (default: no)",
    )
    add_jobs(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the runs and the table (default: runs/compare-RECIPE)",
    )
    add_help_recipe(parser)
    add_trust(parser)
    parser.set_defaults(takes_keys=True)
    return parser


def run(options: argparse.Namespace) -> None:
    """Do the runs that are missing, and put all of them side by side."""
    from rich.console import Console

    from ..analysis.compare.figures import find_runs
    from ..api.compare import compare_folders, train_variants

    if options.help_recipe:
        variants = _list_variants(options)
        print_recipe_help(*(variant.partition(":")[0] for variant in variants))
        return
    refuse_ranks("compare")
    paths = [Path(name) for name in options.what or [DEFAULT_RECIPE]]
    failures: list[str] = []
    if any(path.is_dir() for path in paths):
        given = (options.methods, options.seeds, options.budget)
        if options.overrides or any(value is not None for value in given):
            raise UserError("runs that exist take no --methods, --seeds, --budget or recipe keys")
        out = options.out or Path("runs") / "comparison"
        folders = find_runs(paths)
        failures = [f"{f.path}: not finished" for f in folders if not f.result.is_file()]
    else:
        if len(paths) > 1:
            raise UserError(f"there is no folder {next(p for p in paths if not p.is_dir())}")
        name = str(paths[0])
        out = options.out or Path("runs") / f"compare-{name_run(name)}"
        seeds = 1 if options.seeds is None else options.seeds
        options.seeds = seeds
        check_least(options, 1, "seeds", "jobs")
        folders, failures = train_variants(
            name,
            options.overrides,
            _list_variants(options),
            seeds,
            out,
            budget=options.budget,
            unequal=options.unequal,
            jobs=options.jobs,
            console=Console(),
        )
    finished = [folder for folder in folders if folder.result.is_file()]
    if finished:
        comparison = compare_folders(
            finished, out, baseline=options.baseline, unequal=options.unequal
        )
        print(comparison)
        written = "written to " + ", ".join(map(str, comparison.written))
        print("\n".join([*comparison.notes, written]))
        print(f"a page to look at: {comparison.report.path}")
    if failures:
        raise UserError("\n".join(["these runs are missing in the table:", *failures]))


def _list_variants(options: argparse.Namespace) -> list[str]:
    given: str = DEFAULT_METHODS if options.methods is None else options.methods
    return given.split(",")
