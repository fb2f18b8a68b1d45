"""Recipes as YAML: those shipped, a user's files that extend them, and dotted overrides."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic
import yaml

from .._own_code import explain_error
from .._trust import consent, is_withheld, refuse_withheld, withhold
from ..errors import UserError, shorten, suggest_names
from ..methods import METHODS
from ..methods.find import find_method, read_settings
from ..methods.outline import read_defaults
from ..methods.settings import make_settings_model
from ..recipe import ModelRecipe, Recipe
from .combinations import check_combinations
from .key_mistakes import explain_mistake, join_mistakes
from .named_recipes import find_named, list_recipes
from .overlays import Overlay, drop_description, merge_overlays
from .recipe_keys import list_keys
from .yaml_text import NotYAMLError, read_yaml, read_yaml_file

if TYPE_CHECKING:
    from ..methods import Method

CODE_KEYS = {"method": "method.name", "model": "model.name", "data": "data.name"}
"""Keys that may name code, by their sections."""

LONGEST_CHAIN = 20
"""Files of which each extends the next."""

DEEPEST = 8
"""Parts of a dotted key that are told apart; no recipe has so many."""


def load_recipe(
    name: str, overrides: Iterable[tuple[str, str]] = (), *, from_run: bool = False
) -> Recipe:
    """Load a recipe by its shipped name or its file's path, and apply dotted overrides.

    Args:
        name: such as `digits/bake`, or the path of a YAML file.
        overrides: pairs such as ("optimizer.lr", "0.1"); the value is read as YAML. A section's
            own name stands for its `name` key, ("method", "cross-entropy"), and goes first.
        from_run: the file is a run's, and code that it names is not the user's (see `_trust`).

    A description belongs to a recipe's data, model and method. If an override or a file that
    extends the recipe names another of these and gives no description, the recipe has none.

    Raises:
        UserError: an unknown name or key, a wrong type or value, an impossible combination.
    """
    recipe = overlay = _read(name)
    overrides = list(overrides)
    if from_run:
        withhold(list_code(overlay), name)
    else:
        consent(list_code(overlay))
    # First the names of sections, since another method drops the settings of the former.
    for key, text in sorted(overrides, key=lambda override: "." in override[0]):
        value = _read_value(key, text)
        for part in reversed(key.split(".", DEEPEST)):
            value = {part: value}
        consent(list_code(value))
        overlay = merge_overlays(overlay, value)
    if not any(key == "description" for key, _ in overrides):
        overlay = drop_description(overlay, recipe)
    return make_recipe(overlay)


def _read_value(key: str, text: str) -> Any:
    """The value of an override; what is not YAML is a text."""
    try:
        return read_yaml(text)
    except NotYAMLError:
        return text
    except UserError as error:
        raise UserError(f"{shorten(key)}: {error}") from None


def make_recipe(overlay: Mapping[str, Any]) -> Recipe:
    """A recipe from nested dictionaries, checked; what is missing has its default."""
    recipe = _check_sections(overlay)
    # What is code from elsewhere stays as it is, unchecked.
    if not is_withheld(recipe.method.get("name")):
        recipe = replace(recipe, method=_check_method(recipe.method))
        check_combinations(recipe, make_method(recipe.method))
    if recipe.model.arguments and not is_withheld(recipe.model.name):
        from ..models.arguments import check_arguments

        check_arguments(recipe.model.name, recipe.model.arguments, _MODEL_KEYS)
    return recipe


def list_code(overlay: Mapping[str, Any]) -> list[str]:
    """The names in a recipe that may stand for code, `module:object`."""
    sections = [overlay.get(section) for section in CODE_KEYS]
    names = [part.get("name") if isinstance(part, Mapping) else part for part in sections]
    return [name for name in names if isinstance(name, str)]


def check_consent(recipe: Recipe) -> None:
    """Raise UserError if the recipe names code that must not be imported."""
    for name, key in zip(list_code(asdict(recipe)), CODE_KEYS.values(), strict=True):
        refuse_withheld(name, key)


def preview_recipe(name: str) -> Recipe:
    """A shipped recipe as `load_recipe` gives it, if possible without importing its method.

    So it can be printed without waiting for torch. A test holds that shipped recipes are valid.
    """
    recipe = _check_sections(find_named()[name].make_overlay())
    defaults = read_defaults(recipe.method["name"])
    if defaults is None:
        return load_recipe(name)
    method = {"name": recipe.method["name"]}
    return replace(recipe, method={**method, **defaults, **recipe.method})


def make_method(section: Mapping[str, Any]) -> "Method":
    """The method that a recipe's `method` section describes.

    Raises:
        UserError: an unknown method or setting, or a value of the wrong type or out of range.
    """
    settings = _check_method(section)
    name = settings.pop("name")
    try:
        return find_method(name)(**settings)
    except ValueError as error:
        raise UserError(f"method.{error}") from None
    except Exception as error:
        if ":" not in name:
            raise
        raise UserError(f"method.name: '{name}' cannot be made: {explain_error(error)}") from error


def _check_sections(overlay: Mapping[str, Any]) -> Recipe:
    """A recipe with all its keys checked, but those of its method."""
    try:
        return _make_adapter().validate_python(_gather_arguments(overlay))
    except pydantic.ValidationError as error:
        known = list_keys()
        raise UserError(
            join_mistakes(explain_mistake(e, known) for e in error.errors(include_url=False))
        ) from None


@cache
def _make_adapter() -> Any:
    return pydantic.TypeAdapter(Recipe)


_MODEL_KEYS = [field.name for field in fields(ModelRecipe)]


def _gather_arguments(overlay: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with those keys of `model` that only the network knows put into its arguments."""
    model = overlay.get("model")
    if not isinstance(model, Mapping):
        return overlay
    further = {key: value for key, value in model.items() if key not in _MODEL_KEYS}
    before = model.get("arguments") or {}
    if not further or not isinstance(before, Mapping):
        return overlay
    known = {key: value for key, value in model.items() if key in _MODEL_KEYS}
    return {**overlay, "model": {**known, "arguments": {**before, **further}}}


def _check_method(section: Mapping[str, Any]) -> Overlay:
    """The section with its values checked against the method's signature, defaults filled in."""
    name = section.get("name")
    method = find_method(name)
    model = read_settings(method, str(name))
    try:
        settings = model.model_validate({k: v for k, v in section.items() if k != "name"})
    except pydantic.ValidationError as error:
        known = [f"method.{key}" for key in ("name", *model.model_fields)]
        lines = [
            _explain_elsewhere(str(name), method, e) or explain_mistake(e, known, "method")
            for e in error.errors()
        ]
        raise UserError(join_mistakes(lines)) from None
    return {"name": name, **settings.model_dump()}


def _explain_elsewhere(name: str, method: "type[Method]", error: Any) -> str | None:
    """One line for a setting that a method of the same kind has, such as `bake-variants`."""
    if error["type"] != "extra_forbidden":
        return None
    key = error["loc"][0]
    owners = [
        other
        for other, kind in METHODS.items()
        if (issubclass(kind, method) or issubclass(method, kind))
        and key in make_settings_model(kind).model_fields
    ]
    if not owners:
        return None
    return f"method.{key}: unknown key of '{name}'; it belongs to {' and '.join(owners)}"


def dump_recipe(recipe: Recipe) -> str:
    """The whole recipe as YAML that `load_recipe` reads back."""
    plain = {k: v for k, v in asdict(recipe).items() if k != "description" or v}
    return yaml.safe_dump(_convert_tuples(plain), sort_keys=False, allow_unicode=True)


def _read(name: str, readers: tuple[Path, ...] = ()) -> Overlay:
    if name in find_named():
        return find_named()[name].make_overlay()
    path = _locate(name, readers[-1].parent if readers else None)
    if path in readers:
        raise UserError(f"{path}: extends itself")
    if len(readers) == LONGEST_CHAIN:
        raise UserError(f"{path}: more than {LONGEST_CHAIN} files that extend each other")
    content = read_yaml_file(path)
    base = content.pop("extends", None)
    if not isinstance(base, str | None):
        raise UserError(f"{path}: extends: expected the name of a recipe or of a file")
    below = {} if base is None else _read(base, (*readers, path))
    merged = merge_overlays(below, content)
    return merged if "description" in content else drop_description(merged, below)


def _locate(name: str, beside: Path | None) -> Path:
    """The file of a path, relative to the file that names it."""
    path = (beside or Path()) / name
    try:
        if path.is_file():
            return path.resolve()
    except (OSError, ValueError):  # such as a name that is too long
        pass
    if path.suffix in (".yaml", ".yml"):
        raise UserError(f"there is no recipe file {shorten(str(path), 300)}")
    hint = suggest_names(name, "recipes", list_recipes())
    raise UserError(f"unknown recipe '{shorten(name)}'{hint}")


def _convert_tuples(value: Any) -> Any:
    """Tuples as lists, which YAML has."""
    if isinstance(value, dict):
        return {k: _convert_tuples(v) for k, v in value.items()}
    return [_convert_tuples(v) for v in value] if isinstance(value, list | tuple) else value
