"""`--help-recipe`: what all keys of a recipe mean, laid out like the rest of the help."""

import argparse
import re


def add_help_recipe(parser: argparse.ArgumentParser) -> None:
    """Add --help-recipe to a command whose options may be keys of a recipe."""
    parser.add_argument(
        "--help-recipe",
        action="store_true",
        help="explain all keys of a recipe, and the settings of the method it uses, and exit "
        "(default: no)",
    )


def print_recipe_help(*methods: str) -> None:
    """Print all keys by section, with the settings of these methods: meaning, values, default."""
    from ..methods import METHODS
    from ..methods.find import find_method
    from ..training.recipe_keys import Key, Section, list_sections, list_settings

    parser = argparse.ArgumentParser(
        usage=argparse.SUPPRESS,
        add_help=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=6),
    )

    def add(title: str, section: Section, keys: list[Key]) -> None:
        group = parser.add_argument_group(title, _clean(section.about))
        for key in keys:
            text = f"{key.meaning.rstrip('.')} ({key.values}; default: {key.default})"
            group.add_argument(f"--{key.name}", action="store_true", help=_clean(text))

    for section in list_sections():
        add(section.name, section, section.keys)
    for name in dict.fromkeys(methods):
        settings = list_settings(name, find_method(name))
        add(f"method {name}", settings, settings.keys)
    parser.epilog = (
        f"--method NAME chooses the method, and --help-recipe beside it explains the settings of "
        f"that one. Methods: {', '.join(sorted(METHODS))}."
    )
    print(parser.format_help().strip())


def _clean(text: str) -> str:
    """A docstring's text as help has it: quotes for code, null for None, nothing to see elsewhere.

    The percent sign is doubled, since argparse gives it a meaning of its own.
    """
    text = re.sub(r" \(see [^)]*\)", "", text)
    text = re.sub(r"`([^`]*)`", r"'\1'", text)
    return re.sub(r"\bNone\b", "null", text).replace("%", "%%")
