"""Keys of a recipe that were given and do nothing, because another key decides so."""

from dataclasses import asdict
from typing import Any

from ..data.sources.registry import SOURCES
from ..recipe import Recipe
from .run_folder import flatten_recipe

_DEFAULTS = flatten_recipe(asdict(Recipe()))

# What a key needs: another key, and the values of it for which the key does something.
_NEEDS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "data.padding": ("data.crop", ("pad",)),
    "data.min_scale": ("data.crop", ("resized",)),
    "optimizer.momentum": ("optimizer.name", ("sgd",)),
    "optimizer.nesterov": ("optimizer.name", ("sgd",)),
    "optimizer.betas": ("optimizer.name", ("adamw",)),
    "schedule.milestones": ("schedule.name", ("step",)),
    "schedule.gamma": ("schedule.name", ("step",)),
    "schedule.final": ("schedule.name", ("cosine", "one-cycle")),
    "schedule.peak": ("schedule.name", ("one-cycle",)),
    "training.nonfinite_limit": ("training.on_nonfinite", ("skip",)),
}


def find_idle_keys(recipe: Recipe) -> list[str]:
    """A line for each key that is not the default and has no effect: the key, and what it needs."""
    flat = flatten_recipe(asdict(recipe))
    given = {key for key, value in flat.items() if value != _DEFAULTS.get(key)}
    lines = [
        f"{key} has no effect with {other} {flat[other]}"
        for key, (other, values) in _NEEDS.items()
        if key in given and flat[other] not in values
    ]
    if not (recipe.data.mixup or recipe.data.cutmix) and "data.mix_probability" in given:
        lines.append("data.mix_probability has no effect without data.mixup or data.cutmix")
    if not recipe.data.label_noise and "data.label_noise_seed" in given:
        lines.append("data.label_noise_seed has no effect without data.label_noise")
    kind = recipe.data.name.partition(":")[0]
    if kind in SOURCES:  # a source of one's own is given the whole recipe
        of_sources = {key for source in SOURCES.values() for key in source.keys}
        lines += [
            f"data.{key} has no effect on data.name {kind}"
            for key in sorted(of_sources.difference(SOURCES[kind].keys))
            if f"data.{key}" in given
        ]
    return lines
