"""All keys of a recipe, each with its meaning, its values and its default, read from the code.

Meanings are those of the docstrings, values and defaults those of the annotations: of the
dataclasses in `torchbake.recipe`, and of the methods' signatures. Nothing heavy is imported, so
that a mistyped option is answered at once.
"""

import json
import re
import types
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from inspect import Parameter, signature
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt

from ..recipe import Recipe
from .docstrings import read_meanings, read_summary


class Key(NamedTuple):
    """One key of a recipe."""

    name: str
    """With its section, such as `data.crop`."""
    meaning: str
    values: str
    """What may be given, in words."""
    default: str
    """As it would stand in YAML; `required` if there is none."""


class Section(NamedTuple):
    """A section of a recipe, or the settings of a method."""

    name: str
    about: str
    keys: list[Key]


def list_sections() -> list[Section]:
    """The keys outside all sections, then the sections except `method`, in a recipe's order."""
    hints = get_type_hints(Recipe, include_extras=True)
    sections = {
        name: kind for name, kind in hints.items() if isinstance(kind, type) and is_dataclass(kind)
    }
    general = [key for key in _list_fields(Recipe, "") if key.name not in (*sections, "method")]
    return [
        Section("recipe", read_summary(Recipe), general),
        *(
            Section(name, read_summary(kind), _list_fields(kind, f"{name}."))
            for name, kind in sections.items()
        ),
    ]


def _list_fields(kind: Any, prefix: str) -> list[Key]:
    hints = get_type_hints(kind, include_extras=True)
    return _describe_keys(prefix, kind, hints, {item.name: item.default for item in fields(kind)})


def list_settings(name: str, method: type) -> Section:
    """The settings of a method, which are the keys of a recipe's `method` section beside `name`."""
    settings = signature(method, eval_str=True).parameters.items()
    hints = {name: setting.annotation for name, setting in settings}
    defaults = {name: setting.default for name, setting in settings}
    return Section(name, read_summary(method), _describe_keys("method.", method, hints, defaults))


def _describe_keys(
    prefix: str, kind: type, hints: dict[str, Any], defaults: dict[str, Any]
) -> list[Key]:
    meanings = read_meanings(kind)
    return [
        Key(
            prefix + name,
            meanings.get(name, ""),
            describe_values(hints.get(name, Any)),
            _word(default),
        )
        for name, default in defaults.items()
    ]


@cache
def list_keys() -> tuple[str, ...]:
    """The names of all keys except the methods' settings."""
    return (*(key.name for section in list_sections() for key in section.keys), "method.name")


def describe_values(kind: Any) -> str:
    """What a value of an annotated type may be, in words."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        limits = " and ".join(_list_limits(arguments[1:]))
        limits = re.sub("^of at least (.*) and at most", r"from \1 to", limits)
        return f"{describe_values(arguments[0])} {limits}".rstrip()
    if origin is Literal:
        return _join([_word(value) for value in arguments])
    if origin in (Union, types.UnionType):
        given = _join([describe_values(one) for one in arguments if one is not types.NoneType])
        return f"{given}, or null" if types.NoneType in arguments else given
    if origin is tuple:
        item = describe_values(arguments[0]).replace("number", "numbers").replace("text", "texts")
        return f"list of {item}" if arguments[-1] is ... else f"list of {len(arguments)} {item}"
    if origin is dict:
        return "mapping of names to values"
    words = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    return words.get(kind, "any value")


def _list_limits(metadata: tuple[Any, ...]) -> Iterator[str]:
    for limit in metadata:
        if isinstance(limit, GroupedMetadata):
            yield from _list_limits(tuple(limit))
        elif isinstance(limit, Ge):
            yield f"of at least {limit.ge}"
        elif isinstance(limit, Gt):
            yield f"above {limit.gt}"
        elif isinstance(limit, Le):
            yield f"at most {limit.le}"
        elif isinstance(limit, Lt):
            yield f"below {limit.lt}"


def _join(words: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _word(value: Any) -> str:
    """A value as it would stand in YAML."""
    if value in (MISSING, Parameter.empty):
        return "required"
    if isinstance(value, str) and value:
        return value
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
