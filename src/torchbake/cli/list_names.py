"""`torchbake list`: names of recipes, models, methods and data sets."""

import argparse
import sys
from typing import Any

Groups = dict[str, dict[str, str]]
"""By title, names with their descriptions."""


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "list",
        help="list recipes, models, methods or data sets",
        description="List what a recipe may name, one a line: on a terminal in groups and with "
        "descriptions, otherwise the names alone.",
    )
    parser.add_argument(
        "what",
        choices=["recipes", "models", "methods", "datasets"],
        help="what to list",
    )
    return parser


def run(options: argparse.Namespace) -> None:
    """Print the names, one a line; on a terminal in groups, each name with its description."""
    groups = {
        "recipes": _group_recipes,
        "models": _group_models,
        "methods": _group_methods,
        "datasets": _group_datasets,
    }[options.what]()
    if not sys.stdout.isatty():
        for name in (name for group in groups.values() for name in group):
            print(name)
        return
    width = max(len(name) for group in groups.values() for name in group)
    for number, (title, group) in enumerate(groups.items()):
        if title:
            print("\n" * bool(number) + title)
        for name, words in group.items():
            print(f"{'  ' * bool(title)}{name:{width}}  {words}".rstrip())


def _group_recipes() -> Groups:
    """Recipes by data set."""
    from ..training.named_recipes import find_named, list_recipes

    groups: Groups = {}
    for name in list_recipes():
        named = find_named()[name]
        groups.setdefault(named.data_title, {})[name] = named.describe()
    return groups


def _group_models() -> Groups:
    """This package's own networks, and timm's, which have no descriptions."""
    from ..models.create import list_models
    from ..models.networks import NETWORKS

    own = {name: _take_first_line(NETWORKS[name].__doc__) for name in sorted(NETWORKS)}
    others = {name: "" for name in list_models() if name not in NETWORKS}
    return {"Networks of torchbake": own, "Networks of timm": others}


def _group_methods() -> Groups:
    from ..methods import METHODS
    from ..methods.outline import read_summary

    return {"": {name: read_summary(name) for name in sorted(METHODS)}}


def _group_datasets() -> Groups:
    from ..data.sources.registry import SOURCES

    return {
        "": {f"{name}:{kind.takes_place}".rstrip(":"): kind.about for name, kind in SOURCES.items()}
    }


def _take_first_line(text: str | None) -> str:
    return (text or "").partition("\n")[0]
