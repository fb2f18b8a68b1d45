"""Recipes as YAML: those shipped, a user's files that extend them, and dotted overrides."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pydantic
import yaml

from ..errors import UserError, suggest_names
from ..methods import METHODS, Method
from ..recipe import Recipe
from .key_mistakes import explain_mistake
from .recipe_keys import list_keys

Overlay = dict[str, Any]


def list_recipes() -> list[str]:
    """The names of the recipes that are shipped with the package."""
    root = Path(str(files("torchbake") / "recipes"))
    return sorted(p.relative_to(root).with_suffix("").as_posix() for p in root.rglob("*.yaml"))


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
        overlay = _merge(overlay, value)
    if not any(key == "description" for key, _ in overrides):
        overlay = _drop_description(overlay, recipe)
    return make_recipe(overlay)


def make_recipe(overlay: Mapping[str, Any]) -> Recipe:
    """A recipe from nested dictionaries, checked; what is missing has its default."""
    adapter = pydantic.TypeAdapter(Recipe)
    try:
        recipe = adapter.validate_python(overlay)
    except pydantic.ValidationError as error:
        raise UserError(
            "\n".join(explain_mistake(e, list_keys()) for e in error.errors())
        ) from None
    recipe = replace(recipe, method=_check_method(recipe.method))
    _check_combinations(recipe, make_method(recipe.method))
    return recipe


def make_method(section: Mapping[str, Any]) -> Method:
    """The method that a recipe's `method` section describes.

    Raises:
        UserError: an unknown method or setting, or a value of the wrong type or out of range.
    """
    settings = _check_method(section)
    try:
        return METHODS[settings.pop("name")](**settings)
    except ValueError as error:
        raise UserError(f"method.{error}") from None


def _check_method(section: Mapping[str, Any]) -> Overlay:
    """The section with its values checked against the method's signature, defaults filled in."""
    name = section.get("name")
    if not isinstance(name, str) or name not in METHODS:
        hint = suggest_names(str(name), "methods", METHODS)
        raise UserError(f"method.name: unknown method {name!r}{hint}")
    parameters = inspect.signature(METHODS[name]).parameters
    arguments: dict[str, Any] = {k: (p.annotation, p.default) for k, p in parameters.items()}
    model: Any = pydantic.create_model("Settings", __config__={"extra": "forbid"}, **arguments)
    try:
        settings = model.model_validate({k: v for k, v in section.items() if k != "name"})
    except pydantic.ValidationError as error:
        known = [f"method.{key}" for key in ("name", *arguments)]
        lines = [explain_mistake(e, known, "method") for e in error.errors()]
        raise UserError("\n".join(lines)) from None
    return {"name": name, **settings.model_dump()}


def dump_recipe(recipe: Recipe) -> str:
    """The whole recipe as YAML that `load_recipe` reads back."""
    plain = {k: v for k, v in asdict(recipe).items() if k != "description" or v}
    return yaml.safe_dump(_convert_tuples(plain), sort_keys=False, allow_unicode=True)


def _read(name: str, readers: tuple[Path, ...] = ()) -> Overlay:
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
    merged = _merge(below, content)
    return merged if "description" in content else _drop_description(merged, below)


def _locate(name: str, beside: Path | None) -> Path:
    """The file of a shipped recipe's name, or of a path (relative to the file that names it)."""
    if name in list_recipes():
        return Path(str(files("torchbake") / "recipes" / f"{name}.yaml"))
    path = (beside or Path()) / name
    if path.is_file():
        return path.resolve()
    if path.suffix in (".yaml", ".yml"):
        raise UserError(f"there is no recipe file {path}")
    raise UserError(f"unknown recipe '{name}'{suggest_names(name, 'recipes', list_recipes())}")


def _merge(base: Overlay, overlay: Overlay, path: str = "") -> Overlay:
    """Put `overlay` over `base`; a scalar in place of a section is its name."""
    merged = dict(base)
    for key, value in overlay.items():
        below = merged.get(key)
        section = isinstance(below, dict) or key in _SECTIONS_WITH_NAME
        if not path and section and isinstance(value, str):
            value = {"name": value}
        if isinstance(value, dict):
            below = below if isinstance(below, dict) else {}
            if (
                not path
                and key == "method"
                and value.get("name", below.get("name")) != below.get("name")
            ):
                below = {}  # another method has other settings
            value = _merge(below, value, f"{path}{key}.")
        merged[key] = value
    return merged


def _drop_description(recipe: Overlay, described: Overlay) -> Overlay:
    """The recipe without its description, if that is of other data or another model or method."""
    for section in ("data", "model", "method"):
        names = []
        for overlay in (recipe, described):
            content = overlay.get(section)
            names.append(content.get("name") if isinstance(content, dict) else content)
        if names[0] != names[1]:
            return {key: value for key, value in recipe.items() if key != "description"}
    return recipe


def _check_combinations(recipe: Recipe, method: Method) -> None:
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
    if training.cuda_graphs and not training.compile:
        raise UserError("training.cuda_graphs: needs training.compile: true")
    if recipe.model.classifier is not None and recipe.model.features is not None:
        raise UserError("model.features: name either model.classifier or model.features")


def _convert_tuples(value: Any) -> Any:
    """Tuples as lists, which YAML has."""
    if isinstance(value, dict):
        return {k: _convert_tuples(v) for k, v in value.items()}
    return [_convert_tuples(v) for v in value] if isinstance(value, list | tuple) else value


_SECTIONS_WITH_NAME = [
    f.name for f in fields(Recipe) if f.name not in ("description", "seed", "training")
]
