"""What a run of each of the paper's recipes costs: counted, not timed.

    uv run python -m benchmarks.measure.costs

The multiply-adds of a network's forward pass on one image are half of torch's count of its
floating-point operations (convolutions and matrix products); the backward pass is taken for two
forward ones; the method itself, evaluation and decoding are left out. So an image costs
3 × 2 × multiply-adds; src/torchbake/recipes/named.yaml holds these for the recipes' notes. Images
are epochs × training images, × (partners + 1) in epochs of anchors.
"""

from typing import Any

import timm.layers
import torch
from benchmarks.measure.provenance import write_results
from torch.utils.flop_counter import FlopCounterMode

from torchbake.models.create import create_model
from torchbake.training.named_recipes import FORMS, find_named, list_recipes
from torchbake.training.recipe_files import load_recipe, make_method
from torchbake.training.recipe_notes import describe_cost


def list_counted() -> list[str]:
    """Shipped recipes that the paper's table has a cost for, by BAKE or without."""
    named = find_named()
    return [
        name
        for name in list_recipes()
        if "multiply_adds" in named[name].row and named[name].form in FORMS
    ]


def count_network(network: str, classes: int, size: int) -> dict[str, int]:
    """Parameters, and multiply-adds of one image's forward pass."""
    model = create_model(network, classes, image_size=size).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, size, size))
    parameters = sum(p.numel() for p in model.parameters())
    return {"parameters": parameters, "multiply_adds": counter.get_total_flops() // 2}


def main() -> None:
    layers: Any = timm.layers
    layers.set_fused_attn(False)  # so that its matrix products are seen
    rows, networks = [], {}
    for name in list_counted():
        recipe, named = load_recipe(name), find_named()[name]
        key = (recipe.model.name, named.data["classes"], recipe.data.image_size or 32)
        if key not in networks:
            networks[key] = count_network(*key)
            print(*key, networks[key])
        images, multiply_adds = named.count_images(), networks[key]["multiply_adds"]
        if multiply_adds != named.row["multiply_adds"]:
            print(f"{name}: recipes/named.yaml has {named.row['multiply_adds']} multiply-adds")
        rows.append(
            {
                "recipe": name,
                "network": recipe.model.name,
                **networks[key],
                "batch_size": recipe.training.batch_size,
                "partners": make_method(recipe.method).partners,
                "omega": recipe.method.get("omega"),
                "epoch": recipe.training.epoch,
                "images": images,
                "operations": 6 * images * multiply_adds,
                "reported_top1": named.reported,
            }
        )
        print(f"{name:40} {describe_cost(images, multiply_adds)}")
    write_results("costs", rows)


if __name__ == "__main__":
    main()
