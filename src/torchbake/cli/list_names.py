"""`torchbake list`: names of recipes, models, methods and data sets."""

import argparse
import sys
from typing import Any


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "list",
        help="list recipes, models, methods or data sets",
        description="List what a recipe may name, one a line, each with a description where there "
        "is one.",
    )
    parser.add_argument(
        "what",
        choices=["recipes", "models", "methods", "datasets"],
        help="what to list",
    )
    return parser


def run(options: argparse.Namespace) -> None:
    """Print the names, one a line; on a terminal each with its description."""
    about: dict[str, str] = {}
    if options.what == "recipes":
        from ..training.recipe_files import list_recipes, load_recipe

        about = {name: load_recipe(name).description for name in list_recipes()}
    elif options.what == "models":
        from ..models.create import list_models

        about = dict.fromkeys(list_models(), "")
    elif options.what == "methods":
        from ..methods import METHODS

        about = {name: (METHODS[name].__doc__ or "").splitlines()[0] for name in sorted(METHODS)}
    else:
        from ..data.sources.registry import SOURCES

        about = {
            f"{name}:{kind.takes_place}".rstrip(":"): kind.about for name, kind in SOURCES.items()
        }
    width = max(map(len, about))
    for name, words in about.items():
        print(f"{name:{width}}  {words}".rstrip() if sys.stdout.isatty() else name)
