"""What a finished run leaves: weights that explain themselves, and its figures."""

import math
from dataclasses import asdict, replace
from typing import Any

from ..data.loading.readable import count_left_out
from ..recipe import Recipe
from .files import save_weights, write_text
from .resume_keys import FREE_KEYS
from .run_folder import RunFolder, flatten_recipe
from .run_records import dump_json
from .selection import Selection
from .setup import Setup, State
from .weights_file import Description, describe_model, digest_recipe


def write_results(
    setup: Setup,
    run: RunFolder,
    state: State,
    selection: Selection,
    final: dict[str, float],
    chosen: dict[str, float],
) -> None:
    """Write the weights, what is needed to use them, and the figures of the run."""
    if selection.wanted:
        selection.restore_weights()
    description = _describe(setup, state)
    temperatures, checksums = {}, {}
    for prefix, network in selection.networks.items():
        own, temperature = description, chosen.get(f"{prefix}temperature", math.nan)
        if math.isfinite(temperature):
            temperatures[f"{prefix}temperature"] = temperature
            own = replace(description, temperature=temperature)
        path = run.ema_weights if prefix else run.weights
        checksums[path.name] = save_weights(path, network, own.to_metadata())
    evaluated = [record for record in run.read_metrics() if record["kind"] == "eval"]
    trained = [*setup.model.parameters(), *setup.method.parameters()]
    result = {
        **asdict(state),
        "teacher_images": setup.teacher_images,
        "parameters": sum(p.numel() for p in setup.model.parameters()),
        "trained_parameters": sum(p.numel() for p in trained if p.requires_grad),
        **temperatures,
        "weights_sha256": checksums,
        "stopped_early": state.step < setup.total,
        "left_out_images": count_left_out(setup.data.left_out),
        "test_images": len(setup.data.source.test),
        "last": final,
        **({"selected": chosen} if selection.wanted else {}),
        "best_on_test": max(evaluated, key=lambda record: record["top1"]),
    }
    write_text(run.result, dump_json(result, indent=1) + "\n")  # the last: the run is finished


def choose_figures(recipe: Recipe, result: dict[str, Any]) -> dict[str, float]:
    """The figures of the evaluation that stands for a finished run.

    Args:
        result: what `RunFolder.read_result` returns.
    """
    if recipe.training.select != "last":
        return result["selected"]
    if recipe.training.report == "last":
        return result["last"]
    best = result["best_on_test"]
    return {name: best[name] for name in best if name not in ("kind", "step", "images")}


def _describe(setup: Setup, state: State) -> Description:
    """How the run's weights are to be used, and where they come from."""
    recipe = setup.recipe
    flat = flatten_recipe(asdict(recipe))
    return Description(
        recipe.model.name,
        tuple(setup.data.source.classes),
        setup.data.preprocessing,
        describe_model(recipe.model),
        recipe.training.precision,
        run={
            "method": recipe.method["name"],
            "seed": recipe.seed,
            "recipe": digest_recipe({key: flat[key] for key in flat if key not in FREE_KEYS}),
            "steps": state.step,
            "images": state.images,
        },
    )
