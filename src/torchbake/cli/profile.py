"""`torchbake profile`: see where the time of a training step goes."""

import argparse
from pathlib import Path
from typing import Any

from .common import DEFAULT_RECIPE, check_least, name_run, refuse_ranks
from .recipe_help import add_help_recipe, print_recipe_help


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "profile",
        help="show where the time of a training step goes",
        description="Train a recipe for a few steps, keep nothing of the training, and show where "
        "the time of a step goes: a table, a picture, and a trace for ui.perfetto.dev.",
        epilog="Every key of the recipe is an option, too: --training.batch_size 512. "
        "--help-recipe explains all keys.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "recipe",
        nargs="?",
        metavar="RECIPE",
        help=f"name of a shipped recipe, or a YAML file (default: {DEFAULT_RECIPE})",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=50,
        metavar="N",
        help="number of timed steps; as many untimed ones alternate with them (default: 50)",
    )
    parser.add_argument(
        "--warmup",
        type=int,
        default=10,
        metavar="N",
        help="number of steps before the first timed one (default: 10)",
    )
    parser.add_argument(
        "--trace-steps",
        type=int,
        default=3,
        metavar="N",
        help="number of steps in the trace; 0 writes none (default: 3)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the results (default: runs/profile-RECIPE)",
    )
    add_help_recipe(parser)
    parser.set_defaults(takes_keys=True)
    return parser


def run(options: argparse.Namespace) -> None:
    """Time the phases of a recipe's training step, and write what came of it."""
    from rich.console import Console

    from ..analysis.profile.measure import measure, write_trace
    from ..analysis.profile.summary import check_folder, format_profile, summarise, write_profile
    from ..training.recipe_files import load_recipe

    refuse_ranks("profile")
    check_least(options, 1, "steps")
    check_least(options, 0, "warmup", "trace-steps")
    name = options.recipe or DEFAULT_RECIPE
    recipe = load_recipe(name, options.overrides)
    if options.help_recipe:
        print_recipe_help(recipe.method["name"])
        return
    out = options.out or Path("runs") / f"profile-{name_run(name)}"
    check_folder(out)
    times, training = measure(
        recipe, steps=options.steps, warmup=options.warmup, console=Console(stderr=True)
    )
    summary = summarise(recipe, times)
    print(format_profile(summary))
    written = write_profile(out, summary)
    if options.trace_steps:
        written.append(out / "trace.json.gz")
        write_trace(written[-1], training, options.trace_steps)
    print("written to " + ", ".join(map(str, written)))
