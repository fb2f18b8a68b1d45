"""What a run of each of the paper's recipes costs: counted, not timed.

    uv run python -m benchmarks.measure.costs

The multiply-adds of a network's forward pass on one image are half of torch's count of its
floating-point operations (convolutions and matrix products); the backward pass is taken for two
forward ones; the method itself, evaluation and decoding are left out. So an image costs
3 × 2 × multiply-adds. Images are epochs × training images, × (partners + 1) in epochs of anchors.
"""

import re
from importlib.resources import files
from typing import Any

import timm.layers
import torch
from benchmarks.measure.provenance import write_results
from torch.utils.flop_counter import FlopCounterMode

from torchbake.models.create import create_model
from torchbake.recipe import Recipe
from torchbake.training.recipe_files import list_recipes, load_recipe, make_method

IMAGES_AND_CLASSES = {
    "cifar100": (50_000, 100),
    "tiny-imagenet": (100_000, 200),
    "cub200": (5_994, 200),
    "dogs": (12_000, 120),
    "mit67": (5_360, 67),
    "imagenet": (1_281_167, 1000),
}


def recipes_of_the_paper() -> list[str]:
    """Shipped recipes that train on all of one of the paper's data sets, by BAKE or without."""
    names = [name for name in list_recipes() if name.split("/")[0] in IMAGES_AND_CLASSES]
    recipes = {name: load_recipe(name) for name in names}
    return [
        name
        for name, recipe in recipes.items()
        if recipe.data.classes is None and recipe.method["name"] != "bake-plus"
    ]


def images_seen(name: str, recipe: Recipe) -> int:
    """Training images of a whole run, but for the last ones of an epoch that make no batch."""
    images, _ = IMAGES_AND_CLASSES[name.split("/")[0]]
    partners = make_method(recipe.method).partners
    return recipe.training.epochs * images * (partners + 1 if _of_anchors(recipe) else 1)


def _of_anchors(recipe: Recipe) -> bool:
    return recipe.training.epoch == "anchors"


def counted(network: str, classes: int, size: int) -> dict[str, int]:
    """Parameters, and multiply-adds of one image's forward pass."""
    model = create_model(network, classes, image_size=size).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, size, size))
    parameters = sum(p.numel() for p in model.parameters())
    return {"parameters": parameters, "multiply_adds": counter.get_total_flops() // 2}


def in_words(row: dict[str, Any]) -> str:
    """A recipe's cost as its header states it."""
    name, unit = ("exa", 1e18) if row["operations"] >= 1e18 else ("peta", 1e15)
    return (
        f"Cost, counted and not timed: {two_digits(row['images'] / 1e6)} million images × 3 × 2 × "
        f"{two_digits(row['multiply_adds'] / 1e9)} G multiply-adds, "
        f"{two_digits(row['operations'] / unit)} {name}FLOPs."
    )


def two_digits(value: float) -> str:
    """Rounded to two significant digits, or to a whole number."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:#.2g}"


def reported(name: str) -> float | None:
    """The top-1 accuracy in percent that a recipe's header says the paper reports."""
    header = (files("torchbake") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    found = re.search(r"^# Reported: ([\d.]+) % top-1", header, re.MULTILINE)
    return float(found[1]) if found else None


def main() -> None:
    layers: Any = timm.layers
    layers.set_fused_attn(False)  # so that its matrix products are seen
    rows, networks = [], {}
    for name in recipes_of_the_paper():
        recipe = load_recipe(name)
        _, classes = IMAGES_AND_CLASSES[name.split("/")[0]]
        key = (recipe.model.name, classes, recipe.data.image_size or 32)
        if key not in networks:
            networks[key] = counted(*key)
            print(*key, networks[key])
        images = images_seen(name, recipe)
        row = {
            "recipe": name,
            "network": recipe.model.name,
            **networks[key],
            "batch_size": recipe.training.batch_size,
            "partners": make_method(recipe.method).partners,
            "omega": recipe.method.get("omega"),
            "epoch": recipe.training.epoch,
            "images": images,
            "operations": 6 * images * networks[key]["multiply_adds"],
            "reported_top1": reported(name),
        }
        rows.append(row)
        print(f"{name:40} {in_words(row)}")
    write_results("costs", rows)


if __name__ == "__main__":
    main()
