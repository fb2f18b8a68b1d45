"""How pretrained weights want their images: normalised and resized as when they were trained."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..models.networks import NETWORKS
from ..recipe import DataRecipe, Recipe

KEYS = ("mean", "std", "interpolation", "crop_pct")
"""Keys of `data` that pretrained weights have defaults for."""


def adopt_network_input(recipe: Recipe) -> Recipe:
    """The recipe with what its pretrained weights expect, where it does not say otherwise.

    `data.mean`, `data.std` and `data.interpolation`, and `data.crop_pct` for `crop: resized`,
    become those of timm's `pretrained_cfg`, or, where `model.weights` is a run's, those in the
    file. A recipe without pretrained weights, or with neither, stays as it is.
    """
    data = recipe.data
    open_keys = [key for key in KEYS if getattr(data, key) is None]
    if data.crop != "resized":
        open_keys = [key for key in open_keys if key != "crop_pct"]
    if not open_keys or not (recipe.model.pretrained or recipe.model.weights):
        return recipe
    found = _read_run_file(recipe.model.weights) if recipe.model.weights else None
    if found is None:
        config = _read_config(recipe)
        found = {} if config is None else {key: getattr(config, key) for key in KEYS}
    if found.get("interpolation") not in ("bilinear", "bicubic"):
        found.pop("interpolation", None)  # such as Lanczos', which torchvision has not for tensors
    channels = data.channels or (1 if data.name == "digits" else 3)
    for key in {"mean", "std"} & found.keys():
        values = tuple(found[key])
        if len(values) != channels:
            values = (sum(values) / len(values),) * channels
        found[key] = values
    changes = {key: found[key] for key in open_keys if key in found}
    return replace(recipe, data=replace(data, **changes))


def _read_run_file(file: str) -> dict[str, Any] | None:
    """What a run wrote into its file of weights; None if the file is not a run's."""
    from safetensors import SafetensorError, safe_open

    path = Path(file).expanduser()
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as content:
            metadata = content.metadata() or {}
        if not {"mean", "std", "classes"} <= metadata.keys():
            return None
        found = {"mean": json.loads(metadata["mean"]), "std": json.loads(metadata["std"])}
        if "interpolation" in metadata:
            found["interpolation"] = metadata["interpolation"]
        if "crop_pct" in metadata:
            found["crop_pct"] = float(metadata["crop_pct"])
    except (SafetensorError, OSError, ValueError):
        return None
    return found


def keep_recorded_input(recipe: Recipe, recorded: DataRecipe) -> Recipe:
    """The recipe of a run that goes on, with what was adopted when it began."""
    changes = {key: getattr(recorded, key) for key in KEYS if getattr(recipe.data, key) is None}
    return replace(recipe, data=replace(recipe.data, **changes))


def describe_adopted(given: Recipe, adopted: Recipe) -> str:
    """A line for the log: what was taken from the network's own settings; empty if nothing."""
    told = []
    for key in KEYS:
        value = getattr(adopted.data, key)
        if value != getattr(given.data, key):
            text = f"{list(value)}" if isinstance(value, tuple) else str(value)
            told.append(f"data.{key} {text}")
    return f"as the weights were trained: {', '.join(told)}" if told else ""


def _read_config(recipe: Recipe) -> Any:
    """timm's `PretrainedCfg` of the recipe's network; None if it has none."""
    name = recipe.model.name
    if name.startswith(("hf-hub:", "hf_hub:")):
        from timm.models import PretrainedCfg, load_model_config_from_hf

        from ..models.hub import reaching_hub

        with reaching_hub(name):
            config, _, _ = load_model_config_from_hf(name.partition(":")[2])
        return PretrainedCfg(**{k: v for k, v in config.items() if k in _list_config_keys()})
    if ":" in name or name in NETWORKS:
        return None
    from timm.models import get_pretrained_cfg, is_model

    return get_pretrained_cfg(name) if is_model(name.partition(".")[0]) else None


def _list_config_keys() -> set[str]:
    from dataclasses import fields

    from timm.models import PretrainedCfg

    return {field.name for field in fields(PretrainedCfg)}
