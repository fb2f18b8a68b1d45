"""Training steps on images of CIFAR's size from memory, without a data set: images a second.

    python -m benchmarks.measure.fast_path --loop recorded

Steps of the trainer with BAKE and with cross-entropy on random pixels, loader and update included.
The share of the peak is of what a large product of matrices in the same type reaches.
"""

import argparse
import statistics
import time
from dataclasses import replace
from typing import Any

import torch
from benchmarks.measure.provenance import write_results
from torch.utils.flop_counter import FlopCounterMode

from torchbake.data.loading.open_data import Data
from torchbake.data.sources.base import Source, Split
from torchbake.recipe import Recipe
from torchbake.training.distributed import Ranks, prepare_device
from torchbake.training.meters import Meters
from torchbake.training.recipe_files import load_recipe
from torchbake.training.setup import set_up
from torchbake.training.step import update

LOOPS = {"eager": [], "compiled": ["compile"], "recorded": ["compile", "cuda_graphs"]}
CLASSES = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=LOOPS, default="eager")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default="preact_resnet18")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--steps", type=int, default=100, help="that are timed, in five parts")
    options = parser.parse_args()
    device = prepare_device(options.device, 0)
    peak = measure_peak(device)
    rows: list[dict[str, Any]] = [vars(options) | {"peak": peak}]
    for method in ("cross-entropy", "bake"):
        rows.append(_time(method, device, peak, options))
        print(rows[-1], flush=True)
    write_results(f"fast_path_{options.loop}", rows)


def measure_peak(device: torch.device) -> float:
    """Operations a second of a large product in bf16."""
    n = 8192 if device.type == "cuda" else 256
    factor = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    seconds = []
    for _ in range(10):
        _wait(device)
        started = time.perf_counter()
        factor @ factor
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return 2 * n**3 / statistics.median(seconds)


def _time(
    method: str, device: torch.device, peak: float, options: argparse.Namespace
) -> dict[str, Any]:
    overrides = [("model", options.model), ("method", method), ("training.precision", "bf16")]
    overrides += [("training.batch_size", str(options.batch_size))]
    overrides += [(f"training.{key}", "true") for key in LOOPS[options.loop]]
    recipe = load_recipe("cifar100/resnet18-bake", overrides)
    setup = set_up(recipe, _make_data(recipe, options.images), Ranks(0, 1, device))
    meters = Meters(setup.ranks)
    batches = (batch for epoch in range(10**6) for batch in setup.loader.batches(epoch))
    number, times = 0, []
    part = max(1, options.steps // 5)
    operations = None
    for turn in range(6 if options.steps >= 5 else 2):
        _wait(device)
        started = time.perf_counter()
        for _ in range(part):
            update(setup, next(batches), 1e-3, number, meters)
            number += 1
        _wait(device)
        if turn:  # the first warms up, and compiles
            times.append((time.perf_counter() - started) / part)
    if options.loop == "eager":
        with FlopCounterMode(display=False) as counter:
            update(setup, next(batches), 1e-3, number, meters)
        operations = counter.get_total_flops()
    speed = options.batch_size / statistics.median(times)
    losses = meters.close()[0]
    return {
        "method": method,
        "loop": options.loop,
        "images_per_second": speed,
        "operations_a_step": operations,
        "share_of_peak": operations and operations * speed / options.batch_size / peak,
        "hours_of_200_epochs": 200 * 50_000 / speed / 3600,
        "loss": losses["loss"],
    }


def _make_data(recipe: Recipe, images: int) -> Data:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.arange(images) % CLASSES
    split = Split(labels=labels, load=pixels.__getitem__, pixels=pixels)
    test = replace(split, labels=split.labels[:100], pixels=pixels[:100])
    source = Source(train=split, test=test, classes=[str(k) for k in range(CLASSES)])
    half, quarter = [0.5] * 3, [0.25] * 3
    return Data(recipe.data, source, 32, 3, half, quarter, (pixels, pixels[:100]))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
