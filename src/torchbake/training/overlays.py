"""Nested dictionaries of a recipe's keys, laid over each other."""

from dataclasses import fields
from typing import Any

from ..recipe import Recipe

Overlay = dict[str, Any]

SECTIONS_WITH_NAME = [
    f.name for f in fields(Recipe) if f.name not in ("description", "seed", "training")
]


def merge_overlays(base: Overlay, overlay: Overlay, path: str = "") -> Overlay:
    """`overlay` over `base`; a string in place of a section is its name."""
    merged = dict(base)
    for key, value in overlay.items():
        below = merged.get(key)
        section = isinstance(below, dict) or key in SECTIONS_WITH_NAME
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
            if not path and key == "model":
                below = _drop_other_weights(below, value)
            value = merge_overlays(below, value, f"{path}{key}.")
        merged[key] = value
    return merged


def _drop_other_weights(below: Overlay, model: Overlay) -> Overlay:
    """A model's keys without the weights that those of an overlay replace: a network has one."""
    if model.get("weights") is not None and "pretrained" not in model:
        return {**below, "pretrained": False}
    if model.get("pretrained") is True and "weights" not in model:
        return {**below, "weights": None}
    return below


def drop_description(recipe: Overlay, described: Overlay) -> Overlay:
    """The recipe without its description, if that is of other data or another model or method."""
    for section in ("data", "model", "method"):
        names = []
        for overlay in (recipe, described):
            content = overlay.get(section)
            names.append(content.get("name") if isinstance(content, dict) else content)
        if names[0] != names[1]:
            return {key: value for key, value in recipe.items() if key != "description"}
    return recipe
