"""What a method's source says of it, for lists and help that do not wait for torch."""

import ast
from typing import Any

from . import METHODS


def read_summary(name: str) -> str:
    """The first line of a method's docstring."""
    text = ast.get_docstring(METHODS.read_definition(name)) or ""
    return text.partition("\n")[0]


def read_defaults(name: str) -> dict[str, Any] | None:
    """A method's settings and their defaults; None where only an import can tell them."""
    definition = METHODS.read_definition(name)
    makers = [
        item
        for item in definition.body
        if isinstance(item, ast.FunctionDef) and item.name == "__init__"
    ]
    if not makers:  # a plain `Method` has no settings
        plain = [ast.unparse(base) for base in definition.bases] == ["Method"]
        return {} if plain else None
    given = makers[0].args
    names = [argument.arg for argument in (*given.args[1:], *given.kwonlyargs)]
    values = [value for value in (*given.defaults, *given.kw_defaults) if value is not None]
    if given.vararg or given.kwarg or len(names) != len(values):
        return None
    try:
        return dict(zip(names, map(ast.literal_eval, values), strict=True))
    except ValueError:  # a default that is computed
        return None
