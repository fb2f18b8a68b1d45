"""Recipes as YAML: those shipped, a user's files that extend them, and dotted overrides."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic
import yaml

from .._own_code import explain_error
from ..errors import UserError, suggest_names
from ..methods import METHODS
from ..methods.find import find_method, read_settings
from ..methods.outline import read_defaults
from ..methods.settings import make_settings_model
from ..recipe import Recipe
from .key_mistakes import explain_mistake
from .named_recipes import find_named, list_recipes
from .overlays import Overlay, drop_description, merge_overlays
from .recipe_keys import list_keys

if TYPE_CHECKING:
    from ..methods import Method


def load_recipe(name: str, overrides: Iterable[tuple[str, str]] = ()) -> Recipe:
    """Load a recipe by its shipped name or its file's path, and apply dotted overrides.

    Args:
        name: such as `digits/bake`, or the path of a YAML file.
        overrides: pairs such as ("optimizer.lr", "0.1"); the value is read as YAML. A section's
            own name stands for its `name` key, ("method", "cross-entropy"), and goes first.

    A description belongs to a recipe's data, model and method. If an override or a file that
    extends the recipe names another of these and gives no description, the recipe has none.

    Raises:
        UserError: an unknown name or key, a wrong type or value, an impossible combination.
    """
    recipe = overlay = _read(name)
    overrides = list(overrides)
    # First the names of sections, since another method drops the settings of the former.
    for key, text in sorted(overrides, key=lambda override: "." in override[0]):
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        for part in reversed(key.split(".")):
            value = {part: value}
        overlay = merge_overlays(overlay, value)
    if not any(key == "description" for key, _ in overrides):
        overlay = drop_description(overlay, recipe)
    return make_recipe(overlay)


def make_recipe(overlay: Mapping[str, Any]) -> Recipe:
    """A recipe from nested dictionaries, checked; what is missing has its default."""
    recipe = _check_sections(overlay)
    recipe = replace(recipe, method=_check_method(recipe.method))
    _check_combinations(recipe, make_method(recipe.method))
    return recipe


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
        return pydantic.TypeAdapter(Recipe).validate_python(overlay)
    except pydantic.ValidationError as error:
        raise UserError(
            "\n".join(explain_mistake(e, list_keys()) for e in error.errors())
        ) from None


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
        raise UserError("\n".join(lines)) from None
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
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not valid YAML: {reason}") from None
    if content is None:
        content = {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{path}: expected a mapping of keys such as 'method:'")
    base = content.pop("extends", None)
    below = {} if base is None else _read(str(base), (*readers, path))
    merged = merge_overlays(below, content)
    return merged if "description" in content else drop_description(merged, below)


def _locate(name: str, beside: Path | None) -> Path:
    """The file of a path, relative to the file that names it."""
    path = (beside or Path()) / name
    if path.is_file():
        return path.resolve()
    if path.suffix in (".yaml", ".yml"):
        raise UserError(f"there is no recipe file {path}")
    raise UserError(f"unknown recipe '{name}'{suggest_names(name, 'recipes', list_recipes())}")


def _check_combinations(recipe: Recipe, method: "Method") -> None:
    training, data, schedule = recipe.training, recipe.data, recipe.schedule
    part, rest = divmod(training.batch_size, training.accumulate)
    if rest or part <= method.partners:
        raise UserError(
            f"training.batch_size: {training.batch_size} images in {training.accumulate} part(s) "
            f"must give equal parts, each with room for groups of method.partners + 1 = "
            f"{method.partners + 1} images"
        )
    if training.accumulate > 1 and part % (method.partners + 1):
        raise UserError(
            f"training.accumulate: parts of {part} images would cut groups of "
            f"{method.partners + 1} (method.partners + 1)"
        )
    for key in ("mixup", "cutmix"):
        if getattr(data, key) and not method.mixes:
            able = ", ".join(name for name, kind in METHODS.items() if kind.mixes)
            raise UserError(
                f"data.{key}: method '{recipe.method['name']}' cannot train on mixed images; "
                f"{able} can"
            )
    for key in ("warmup_steps", "warmup"):
        if schedule.name == "one-cycle" and getattr(schedule, key):
            raise UserError(f"schedule.{key}: must be 0 for one-cycle, which rises by itself")
    if schedule.warmup_steps and schedule.warmup:
        raise UserError("schedule.warmup: give either this or schedule.warmup_steps")
    optimizer = recipe.optimizer
    if optimizer.name == "sgd" and optimizer.nesterov and not optimizer.momentum:
        raise UserError("optimizer.nesterov: needs optimizer.momentum above 0")
    if data.crop == "resized" and data.in_memory:
        raise UserError(
            "data.in_memory: cannot be true with data.crop: resized, which decodes each image anew"
        )
    if (data.mean is None) != (data.std is None):
        raise UserError("data.mean: give both data.mean and data.std, or neither")
    if data.validation is None and (training.select != "last" or training.patience is not None):
        key = "patience" if training.select == "last" else "select"
        raise UserError(
            f"training.{key}: needs validation images to choose by; set data.validation, to 0.1 "
            "for a tenth of the training images"
        )
    if training.select != "last" and training.report != "last":
        raise UserError(
            "training.report: best-on-test chooses on the test set; leave it at last with "
            f"training.select: {training.select}"
        )
    if training.cuda_graphs and not training.compile:
        raise UserError("training.cuda_graphs: needs training.compile: true")
    if training.cuda_graphs and training.accumulate > 1:
        # Replaying a graph overwrites the gradients that the last part left in its memory.
        raise UserError("training.cuda_graphs: needs training.accumulate 1")
    if recipe.model.classifier is not None and recipe.model.features is not None:
        raise UserError("model.features: name either model.classifier or model.features")


def _convert_tuples(value: Any) -> Any:
    """Tuples as lists, which YAML has."""
    if isinstance(value, dict):
        return {k: _convert_tuples(v) for k, v in value.items()}
    return [_convert_tuples(v) for v in value] if isinstance(value, list | tuple) else value
