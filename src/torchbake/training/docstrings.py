"""Meanings of arguments and attributes, read from the docstrings in which they are written."""

import inspect
import re

_ENTRY = re.compile(r"([A-Za-z_]\w*(?:, [A-Za-z_]\w*)*): (.*)")
_POINTER = re.compile(r"see `\w+`(?:\.?$|(?=; ))")


def read_summary(kind: type) -> str:
    """The first line of a class's docstring."""
    return inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]


def read_meanings(kind: type) -> dict[str, str]:
    """What a class's docstring says of each name under `Args:` or `Attributes:`.

    An entry is `name: meaning` or `name, other: meaning`, where indented lines go on. What is
    missing, or says to see another class, is looked for in the classes that it inherits from;
    what follows behind a semicolon is added to it.
    """
    meanings: dict[str, str] = {}
    for ancestor in reversed(inspect.getmro(kind)):
        for name, meaning in _parse_entries(ancestor.__dict__.get("__doc__") or "").items():
            pointer = _POINTER.match(meaning)
            if pointer and name in meanings:
                rest = meaning[pointer.end() :]
                meanings[name] = meanings[name].rstrip(".") + rest if rest else meanings[name]
            else:
                meanings[name] = meaning
    return meanings


def _parse_entries(docstring: str) -> dict[str, str]:
    entries: dict[str, str] = {}
    names: list[str] = []
    inside = False
    for line in inspect.cleandoc(docstring).splitlines():
        if line and not line.startswith(" "):
            inside = line in ("Args:", "Attributes:")
        elif inside and (entry := _ENTRY.match(line.removeprefix("    "))):
            names = entry[1].split(", ")
            entries |= dict.fromkeys(names, entry[2])
        elif inside and line:
            for name in names:
                entries[name] += f" {line.strip()}"
    return entries
