"""What is wrong with a key of a recipe, in one line, and which key may have been meant."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from ..errors import did_you_mean, find_nearest, join_names, shorten
from .recipe_keys import list_sections

MOST = 5
"""Keys that are suggested at once."""

MOST_LINES = 20
"""Mistakes that are told at once."""


def explain_mistake(error: Any, known: Sequence[str], prefix: str = "") -> str:
    """One line of a pydantic error: the key's path, what is wrong, and what was given."""
    parts = [prefix] * bool(prefix) + [shorten(str(part)) for part in error["loc"]]
    path = ".".join(parts)
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{path}: unknown key{_suggest_key(path, known)}"
    message = shorten(error["msg"], 300)
    return f"{path}: {message[0].lower()}{message[1:]}, got {shorten(repr(error['input']))}"


def join_mistakes(lines: Iterable[str]) -> str:
    """A line each, of the first ones."""
    first = list(islice(lines, MOST_LINES + 1))
    return "\n".join([*first[:MOST_LINES], *["and more"] * (len(first) > MOST_LINES)])


def _suggest_key(path: str, known: Sequence[str]) -> str:
    """The key of its section like it; else keys of that name elsewhere; else the section's keys."""
    section, _, last = path.rpartition(".")
    depth = path.count(".") + 1
    siblings = {".".join(key.split(".")[:depth]) for key in known if key.startswith(section)}
    hint = did_you_mean(last, [key.rpartition(".")[2] for key in siblings])
    if hint:
        return hint.replace("'", f"'{section}." if section else "'", 1)
    elsewhere = _find_by_last_part(last, known)
    if elsewhere:
        return f"; did you mean {join_names(elsewhere)}?"
    return f"; known: {', '.join(sorted(siblings))}"


def suggest_option(option: str, own: Iterable[str]) -> str:
    """What may have been meant by an option: a key such as `--optimizer.lr` for `--lr`, or another.

    Args:
        own: the options of the command itself.
    """
    keys = [key for section in list_sections() for key in section.keys]
    word = option.removeprefix("--").replace("-", "_")
    named = _find_by_last_part(word, (key.name for key in keys))
    words = word.replace("_", " ") + " "
    named = named or [key.name for key in keys if key.meaning.startswith(words)]
    if not named:
        sections = {f"--{key.name.partition('.')[0]}" for key in keys}
        if hint := did_you_mean(option.replace("_", "-"), [*own, *sections]):
            return hint
        for last in find_nearest(word, [key.name.rpartition(".")[2] for key in keys], 1):
            named = _find_by_last_part(last, (key.name for key in keys))
    return f"; did you mean {join_names([f'--{name}' for name in named[:MOST]])}?" if named else ""


def _find_by_last_part(last: str, known: Iterable[str]) -> list[str]:
    return [key for key in known if key.rpartition(".")[2] == last][:MOST]
