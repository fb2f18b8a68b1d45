"""Images per second of BAKE and of cross-entropy, side by side in one process.

    uv run python benchmarks/throughput.py --data 'parquet:../shared/data/cifar100/*.parquet'

Whole training steps of the real loop (drawing, augmenting, forward, target, backward, update) on
CIFAR-100, in blocks that alternate between the methods, so that a busy machine slows both.
"""

import argparse
import statistics
from collections.abc import Iterator
from typing import Any

from provenance import write_results
from rich.console import Console

from torchbake.data.loaders import Labelled
from torchbake.training.distributed import Ranks, find_device
from torchbake.training.loop import prepare_data
from torchbake.training.parts import Parts, make_parts
from torchbake.training.recipe_files import load_recipe
from torchbake.training.step import update
from torchbake.training.window import Window


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="cifar100")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--blocks", type=int, default=15)
    parser.add_argument("--steps", type=int, default=10, help="a block")
    options = parser.parse_args()
    ranks = Ranks(0, 1, find_device("auto", 0))
    recipes = {
        method: load_recipe(
            "cifar100/resnet18-bake",
            [("data", options.data), ("model", options.model), ("method", method)],
        )
        for method in ("cross-entropy", "bake")
    }
    data = prepare_data(recipes["bake"].data, Console(quiet=True))
    parts = {method: make_parts(recipe, data, ranks) for method, recipe in recipes.items()}
    batches = {method: _forever(part) for method, part in parts.items()}
    speeds: dict[str, list[float]] = {method: [] for method in parts}
    number = 0
    for block in range(options.blocks + 1):
        for method, recipe in recipes.items():
            window = Window(ranks)
            for step in range(options.steps):
                batch = next(batches[method])
                update(recipe, parts[method], ranks, window, batch, 0.01, number + step)
            _, images, seconds = window.close()
            if block:  # the first warms up
                speeds[method].append(images / seconds)
        number += options.steps
    rows: list[dict[str, Any]] = []
    for method, values in speeds.items():
        rows.append({"method": method, "images_per_second": statistics.median(values)})
        print(f"{method:14} {statistics.median(values):8.0f} images/s")
    ratios = [a / b for a, b in zip(speeds["cross-entropy"], speeds["bake"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    rows.append({"time_of_bake_over_cross_entropy": [low, middle, high]})
    print(
        f"time of BAKE / cross-entropy: {middle:.3f} "
        f"(quartiles {low:.3f} to {high:.3f} of {options.blocks} pairs of blocks)"
    )
    write_results("throughput", [{**vars(options)}, *rows])


def _forever(parts: Parts) -> Iterator[Labelled]:
    epoch = 0
    while True:
        yield from parts.loader.batches(epoch)
        epoch += 1


if __name__ == "__main__":
    main()
