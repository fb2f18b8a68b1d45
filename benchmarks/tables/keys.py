"""The tables of a recipe's keys and of the methods' settings, from the code that reads them."""

import re

from torchbake.methods import METHODS
from torchbake.training.recipe_keys import Section, list_keys, list_sections, list_settings
from torchbake.training.resume_keys import BOUND_SECTIONS, FREE_KEYS, GROWING_KEYS


def as_markdown(chosen: str) -> str:
    """Every section of a recipe, `recipe`, or the settings of every method, `methods`."""
    if chosen == "resume":
        return list_resume_keys()
    if chosen == "recipe":
        sections = [
            ("Outside all sections" if section.name == "recipe" else f"`{section.name}`", section)
            for section in list_sections()
        ]
    else:
        sections = [(f"`{name}`", list_settings(name, METHODS[name])) for name in sorted(METHODS)]
    return "\n\n".join(_table(title, section) for title, section in sections)


def _table(title: str, section: Section) -> str:
    lines = [f"### {title}", "", _plain(section.about)]
    if section.keys:
        lines += ["", "| key | meaning | values | default |", "|---|---|---|---|"]
    else:
        lines += ["", "It has no settings."]
    for key in section.keys:
        meaning = _plain(key.meaning).rstrip(".")
        if meaning[:1].isascii():  # a Greek letter stands for a quantity
            meaning = meaning[:1].upper() + meaning[1:]
        cells = [f"`{key.name}`", meaning, key.values, f"`{key.default}`"]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """A docstring's text on a page of YAML: null for None."""
    return re.sub(r"\bNone\b", "`null`", text)


def list_resume_keys() -> str:
    """What a resumed run may change, and what it may not: each key stands on one side."""
    keys = list_keys()
    free = [f"| `{key}` | {FREE_KEYS[key]} |" for key in keys if key in FREE_KEYS]
    growing = [f"| `{key}` | {GROWING_KEYS[key]} |" for key in keys if key in GROWING_KEYS]
    bound = []
    for section, reason in BOUND_SECTIONS.items():
        own = [
            f"`{key}`"
            for key in keys
            if key.partition(".")[0] == section and key not in {**FREE_KEYS, **GROWING_KEYS}
        ]
        if section == "method":
            own.append("and all settings of the method")
        bound.append(f"| {', '.join(own)} | {reason} |")
    lines = ["### May change", "", "| key | it |", "|---|---|", *free]
    lines += ["", "### May grow", "", "| key | it |", "|---|---|", *growing]
    lines += ["", "### Must stay", "", "| keys | since they decide |", "|---|---|", *bound]
    return "\n".join(lines)
