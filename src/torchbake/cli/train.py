"""`torchbake train`: train a classifier with a recipe."""

import argparse
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from .common import DEFAULT_RECIPE, add_trust, name_run
from .recipe_help import add_help_recipe, print_recipe_help

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..recipe import Recipe


SHORT_FORMS = {
    "--device": ("training.device", "NAME"),
    "--batch-size": ("training.batch_size", "N"),
    "--epochs": ("training.epochs", "N"),
    "--lr": ("optimizer.lr", "RATE"),
}
"""Options that stand for keys of a recipe, and what to call their values."""


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "train",
        help="train a classifier with a recipe",
        description="Train a classifier with a recipe. Start it with torchrun to train on several "
        "devices.",
        epilog="Every key of the recipe is an option, too: --training.epochs 10, --method.omega "
        "0.9, --data.name cifar100. The name of a section is short for its name key: --method "
        "cross-entropy. --help-recipe explains all keys.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "recipe",
        nargs="?",
        metavar="RECIPE | PATH",
        help="name of a shipped recipe, a YAML file, or photos of yours: a folder, or a CSV, TSV "
        f"or JSONL table of their paths and classes (default: {DEFAULT_RECIPE})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="run folder (default: runs/RECIPE, or runs/ and the name of PATH)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="random seed (default: the recipe's)")
    for option, (key, metavar) in SHORT_FORMS.items():
        parser.add_argument(
            option, metavar=metavar, help=f"short for --{key} (default: the recipe's)"
        )
    parser.add_argument(
        "--init-from",
        type=Path,
        metavar="RUN",
        help="start from the network and the weights of a finished run (default: no)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue from the last checkpoint; a finished run may have more --epochs "
        "(default: no)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an existing run folder (default: no)"
    )
    parser.add_argument(
        "--baseline",
        nargs="?",
        const="cross-entropy",
        metavar="METHOD",
        help="also train the recipe with METHOD (cross-entropy if not given) on the same number "
        "of images, and print both results (default: no)",
    )
    parser.add_argument(
        "--print-recipe",
        action="store_true",
        help="print the whole recipe as YAML and exit (default: no)",
    )
    add_help_recipe(parser)
    add_trust(parser)
    parser.set_defaults(takes_keys=True)
    return parser


def run(options: argparse.Namespace) -> None:
    """Train the recipe, and its baseline if one is asked for."""
    from ..training.named_recipes import find_named
    from ..training.recipe_files import check_consent, load_recipe

    if options.recipe is None and options.resume and options.out is not None:
        options.recipe = str(options.out / "recipe.yaml")
    name = options.recipe or DEFAULT_RECIPE
    out = options.out or Path("runs") / name_run(name, options.seed)
    overrides = [*_read_short_forms(options), *options.overrides]
    if options.init_from is not None:
        from ..training.starting import start_from

        overrides = [*start_from(options.init_from, overrides), *overrides]
    if name not in find_named():  # which can be printed without waiting for torch
        from ..training.starting import find_photos

        name, overrides, lines = find_photos(name, overrides, out if options.resume else None)
        if os.environ.get("RANK", "0") == "0" and not options.print_recipe:
            for line in lines:
                print(line.encode("utf-8", "replace").decode())
    # Code that only the run folder names is not the user's.
    from_run = options.resume and Path(name) == out / "recipe.yaml"
    load = partial(load_recipe, name, from_run=from_run)
    if options.help_recipe:
        print_recipe_help(load(overrides).method["name"])
        return
    if options.seed is not None:
        overrides.append(("seed", str(options.seed)))
    if options.print_recipe:
        _print_recipe(name, overrides, load)
        return
    recipe = load(overrides)
    check_consent(recipe)
    runs = [(out, recipe)]
    if options.baseline is not None:
        other = load([*overrides, ("method", options.baseline)])
        if recipe.training.epoch == "anchors":
            raise UserError(
                "--baseline: compares on equal images, of which an epoch of anchors has more with "
                "partners; use --training.epoch images"
            )
        if recipe.training.patience is not None:
            raise UserError(
                "--baseline: compares on equal images, which training.patience does not leave equal"
            )
        if recipe.training.time_limit is not None:
            raise UserError(
                "--baseline: compares on equal images, which training.time_limit does not leave "
                "equal; use training.max_steps"
            )
        if other.method["name"] == recipe.method["name"]:
            raise UserError(f"--baseline: the run itself uses {other.method['name']}")
        beside = f"{out.name}-{other.method['name'].replace(':', ',')}"
        runs.append((out.with_name(beside), other))
    _train_all(runs, resume=options.resume, overwrite=options.overwrite)


def _read_short_forms(options: argparse.Namespace) -> list[tuple[str, str]]:
    """The keys that short options give.

    Raises:
        UserError: the key itself is given, too.
    """
    given = {key for key, _ in options.overrides}
    found = []
    for option, (key, _) in SHORT_FORMS.items():
        value = getattr(options, option.removeprefix("--").replace("-", "_"))
        if value is not None:
            if key in given:
                raise UserError(f"{option}: is short for --{key}, which is given, too")
            found.append((key, value))
    return found


def _print_recipe(
    name: str, overrides: list[tuple[str, str]], load: "Callable[..., Recipe]"
) -> None:
    """Print the whole recipe; before a shipped one, what is known of it, as comments."""
    from ..training.named_recipes import find_named
    from ..training.recipe_files import dump_recipe, preview_recipe
    from ..training.recipe_notes import write_notes

    shipped = name in find_named() and not overrides
    recipe = preview_recipe(name) if shipped else load(overrides)
    for line in write_notes(name) if shipped else ():
        print(f"# {line}")
    print(dump_recipe(recipe), end="")


def _train_all(runs: list[tuple[Path, "Recipe"]], *, resume: bool, overwrite: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..analysis.pages.report import write_report
    from ..training.idle_keys import find_idle_keys
    from ..training.loop import train
    from ..training.run_folder import RunFolder

    first = os.environ.get("RANK", "0") == "0"
    console = Console(quiet=not first)
    if first:
        for folder, recipe in runs:
            RunFolder(folder).check(recipe, resume=resume, overwrite=overwrite)
        for line in dict.fromkeys(line for _, recipe in runs for line in find_idle_keys(recipe)):
            console.print(f"note: {line}", highlight=False, markup=False, soft_wrap=True)
    table = Table("method", "images seen", "test top-1 %", "NLL", "ECE %", "seconds")
    for column in table.columns[1:]:
        column.justify = "right"
    for folder, recipe in runs:
        final = train(recipe, folder, resume=resume, overwrite=overwrite, console=console)
        for prefix, label in (("", ""), ("ema_", " (EMA)")):
            if f"{prefix}top1" in final:
                table.add_row(
                    recipe.method["name"] + label,
                    f"{final['images']:,}",
                    f"{final[prefix + 'top1']:.2f}",
                    f"{final[prefix + 'nll']:.4f}",
                    f"{final[prefix + 'ece']:.2f}",
                    f"{final['seconds']:.1f}",
                )
        if first and len(runs) > 1:  # the runs to come may fail
            write_report([RunFolder(folder)], RunFolder(folder).report, console)
    console.print(table)
    folders = [RunFolder(folder) for folder, _ in runs]
    for run in folders if first else []:
        others = [other for other in folders if other is not run]
        for line in write_report([run, *others], run.report, console):
            console.print(f"{run.report}: {line}", highlight=False, markup=False, soft_wrap=True)
    for folder, _ in runs:
        console.print(f"written to {folder}", highlight=False, soft_wrap=True)
