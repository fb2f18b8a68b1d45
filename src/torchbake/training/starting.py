"""What a run starts from: a recipe or photos, and perhaps another run's weights."""

from dataclasses import fields
from pathlib import Path

import yaml

from .._trust import refuse_withheld
from ..errors import UserError
from ..recipe import ModelRecipe
from .named_recipes import find_named
from .photos import Overrides, Plan, name_data, plan_training
from .run_folder import RunFolder


def start_from(folder: Path, overrides: Overrides) -> Overrides:
    """The keys by which a run starts from another one's network and weights.

    Args:
        folder: a finished run.
        overrides: keys that are given; they win.

    Raises:
        UserError: no finished run, or keys that name other weights.
    """
    given = {key for key, _ in overrides}
    for key in ("model.weights", "model.pretrained"):
        if key in given:
            raise UserError(f"--init-from: gives the weights, leave out --{key}")
    run = RunFolder(folder)
    recipe = run.read_recipe()
    if not run.weights.is_file():
        raise UserError(f"{folder}: there is no {run.weights.name} yet; finish it first")
    found = [("model.weights", str(run.weights)), ("model.pretrained", "false")]
    for field in fields(ModelRecipe):
        value = getattr(recipe.model, field.name)
        key = "model" if field.name == "name" else f"model.{field.name}"
        if field.name not in ("weights", "pretrained", "freeze") and not {key, "model"} & given:
            if key == "model":
                refuse_withheld(str(value), "--init-from")
            found.append((key, yaml.safe_dump(value, default_flow_style=True)))
    return found


def find_photos(name: str, overrides: Overrides, begun: Path | None = None) -> Plan:
    """The recipe and its keys for photos, if `name` is where they are; else what was given.

    Args:
        name: a recipe, or photos as `name_data` takes them.
        overrides: keys that are given; they win.
        begun: a run folder to go on in, whose choices stay as they are.

    Raises:
        UserError: something is there that is neither a recipe nor photos; see `plan_training`.
    """
    given = Plan(name, overrides, [])
    path = Path(name).expanduser()
    if name in find_named() or path.suffix in (".yaml", ".yml"):
        return given
    if (path / "recipe.yaml").is_file():
        raise UserError(f"{path} is a run folder: continue it with --resume --out {path}")
    if begun is not None and (begun / "recipe.yaml").is_file():
        return Plan(str(begun / "recipe.yaml"), overrides, [])
    if not (path.exists() or ":" in name):
        return given
    data_name = name_data(name)
    if data_name is not None:
        return plan_training(data_name, overrides)
    if path.exists():
        raise UserError(
            f"{path}: expected a folder, a table (.csv, .tsv, .jsonl), Parquet or a recipe (.yaml)"
        )
    return given
