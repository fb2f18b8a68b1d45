"""Images per second of BAKE and of cross-entropy, side by side in one process.

    uv run python -m benchmarks.measure.throughput \\
        --data 'parquet:../shared/data/cifar100/*.parquet'

Whole training steps of the real loop (drawing, augmenting, forward, target, backward, update) on
CIFAR-100, in blocks that alternate between the methods, so that a busy machine slows both.
"""

import argparse
import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.measure.provenance import write_results
from rich.console import Console

from torchbake.batch import Batch
from torchbake.data.loading.open_data import show_opening
from torchbake.training.distributed import Ranks, prepare_device
from torchbake.training.meters import Meters
from torchbake.training.recipe_files import load_recipe
from torchbake.training.setup import Setup, set_up
from torchbake.training.step import update


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="cifar100")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--blocks", type=int, default=15)
    parser.add_argument("--steps", type=int, default=10, help="a block")
    options = parser.parse_args()
    ranks = Ranks(0, 1, prepare_device("auto", 0))
    recipes = {
        method: load_recipe(
            "cifar100/resnet18-bake",
            [("data", options.data), ("model", options.model), ("method", method)],
        )
        for method in ("cross-entropy", "bake")
    }
    data = show_opening(recipes["bake"].data, Console(quiet=True))
    setups = {method: set_up(recipe, data, ranks) for method, recipe in recipes.items()}
    batches = {method: _forever(setup) for method, setup in setups.items()}
    speeds: dict[str, list[float]] = {method: [] for method in setups}
    number = 0
    for block in range(options.blocks + 1):
        for method in recipes:
            meters = Meters(ranks)
            for step in range(options.steps):
                batch = next(batches[method])
                update(setups[method], batch, 0.01, number + step, meters)
            interval = meters.close()
            images, seconds = interval.images, interval.seconds
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


def _forever(setup: Setup) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from setup.loader.batches(epoch)
        epoch += 1


if __name__ == "__main__":
    main()
