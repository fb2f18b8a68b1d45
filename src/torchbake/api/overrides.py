"""Keys of a recipe, as Python has them."""

import os
from collections.abc import Mapping
from typing import Any

import yaml

from ..errors import UserError
from ..training.photos import Overrides, name_data
from ..training.starting import find_photos


def write_overrides(given: Mapping[str, Any] | None) -> Overrides:
    """Pairs of a dotted key and its value as YAML.

    Args:
        given: such as {"training.epochs": 10} or {"training": {"epochs": 10}}.

    Raises:
        UserError: a value that YAML has no word for.
    """
    pairs: Overrides = []
    for key, value in (given or {}).items():
        if isinstance(value, Mapping):
            pairs += [(f"{key}.{inner}", text) for inner, text in write_overrides(value)]
        else:
            pairs.append((key, _write_value(key, value)))
    return pairs


def _write_value(key: str, value: Any) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    elif isinstance(value, tuple):
        value = list(value)
    try:
        return yaml.safe_dump(value, default_flow_style=True)
    except yaml.YAMLError:
        raise UserError(
            f"{key}: expected a number, a text, a list of them, true, false or None, got "
            f"{type(value).__name__}"
        ) from None


def choose_recipe(
    recipe: str | os.PathLike[str], data: str | os.PathLike[str] | None, overrides: Overrides
) -> tuple[str, Overrides]:
    """The recipe and its keys, for a recipe or for photos, as `torchbake train` takes them.

    Args:
        recipe: a shipped recipe, a YAML file, or photos.
        data: in place of the recipe's data: a data set as `data.name` has it, or photos.
        overrides: keys that are given; they win.

    Raises:
        UserError: see `find_photos`.
    """
    if data is not None:
        overrides = [("data.name", name_data(os.fspath(data)) or os.fspath(data)), *overrides]
    name, overrides, _ = find_photos(os.fspath(recipe), overrides)
    return name, overrides
