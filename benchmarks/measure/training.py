"""Training steps on CIFAR-100, data included: ours beside a loop written the ordinary way.

    uv run python -m benchmarks.measure.training --data 'parquet:../shared/data/cifar100/*.parquet'
    python -m benchmarks.measure.training --data … --models preact_resnet18 --precision bf16 \\
        --compile --cuda-graphs --peak 989e12 --check --blocks 9 --steps 50          # on an H100

The ordinary loop is what tutorials and published code do: torchvision's transforms image by image
in a DataLoader, eager, images in the order that they are stored in, SGD as it comes; for BAKE the
published formulation, and a sampler that goes through its class's list for each image. It gets the
number of workers that is best for it. Both have the same network, batches of 128 and three
partners, and take turns in blocks whose first steps are not timed: one, or as many as may have
their batches in workers' stores.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from benchmarks.measure.ordinary import BATCH, ordinary
from benchmarks.measure.provenance import write_results
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from torchbake.batch import Batch
from torchbake.data.loading.open_data import Data, show_opening
from torchbake.training.distributed import Ranks, prepare_device
from torchbake.training.meters import Meters
from torchbake.training.recipe_files import load_recipe
from torchbake.training.setup import Setup, set_up
from torchbake.training.step import update

STORE = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="cifar100")
    parser.add_argument("--models", default="resnet20,preact_resnet18")
    parser.add_argument("--methods", default="cross-entropy,bake")
    parser.add_argument("--precision", default="float32", help="of both loops")
    parser.add_argument("--compile", action="store_true", help="ours compiled, too")
    parser.add_argument("--cuda-graphs", action="store_true", help="and recorded, too")
    parser.add_argument("--check", action="store_true", help="the fast steps' losses first")
    parser.add_argument("--peak", type=float, help="floating-point operations/s of the device")
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--steps", type=int, default=12, help="that are timed, a block")
    options = parser.parse_args()
    recipe = load_recipe("cifar100/resnet18-bake", [("data", options.data)])
    data = show_opening(recipe.data, Console(quiet=True))
    fast = ["compile"] * options.compile + ["cuda_graphs"] * options.cuda_graphs
    for model in options.models.split(","):
        rows: list[dict[str, Any]] = []
        for method in options.methods.split(","):
            workers = _best_workers(data, model, method, options)
            slow = ordinary(data, model, method, workers, options.precision)
            loops: dict[str, Callable[[], None]] = {f"ordinary, {workers} workers": slow}
            for count in range(len(fast) + 1):
                name = ", ".join(["ours", *fast[:count]]).replace("compile", "compiled")
                loops[name.replace("_", " ")] = _Ours(data, model, method, fast[:count], options)
            if options.check:
                _check(data, model, method, fast, options)
            rows += _in_turns(loops, model, method, options)
        name = "training" if model == "resnet20" else f"training_{model}"
        write_results(name, [vars(options), *rows])


def _check(
    data: Data, model: str, method: str, fast: list[str], options: argparse.Namespace
) -> None:
    """Compare the losses of twenty steps with those of plain steps; end where they differ."""
    losses: list[list[float]] = []
    for settings in ([], fast):
        step = _Ours(data, model, method, settings, options)
        losses.append([])
        for _ in range(20):
            step()
            losses[-1].append(step.meters.close()[0]["loss"])
    apart = max(abs(a / b - 1) for a, b in zip(*losses, strict=True))
    print(f"{model} {method}: losses of 20 fast steps are within {apart:.1e} of plain ones")
    if apart > (1e-3 if options.precision == "float32" else 0.05):
        raise SystemExit("the fast steps learn something else")


def _in_turns(
    loops: dict[str, Callable[[], None]], model: str, method: str, options: argparse.Namespace
) -> list[dict[str, Any]]:
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for block in range(options.blocks + 1):
        names = list(loops) if block % 2 else list(reversed(loops))
        for name in names:
            in_store = name.startswith("ordinary") and not name.endswith(" 0 workers")
            taken = _timed(loops[name], options.steps, STORE if in_store else 1)
            if block:  # the first warms up
                seconds[name].append(taken)
    rows = []
    ordinary = next(iter(seconds.values()))
    for name, values in seconds.items():
        faster = [a / b for a, b in zip(ordinary, values, strict=True)]
        speed = BATCH * options.steps / statistics.median(values)
        loop = loops[name]
        row: dict[str, Any] = {"model": model, "method": method, "loop": name}
        row |= {"images_per_second": speed, "speedup": statistics.quantiles(faster, n=4)}
        if isinstance(loop, _Ours):
            row["waiting_for_data"] = loop.waited / loop.took
            row["operations_per_image"] = loop.operations / BATCH
            if options.peak:
                row["share_of_peak"] = speed * row["operations_per_image"] / options.peak
                print(f"{row['share_of_peak']:.1%} of the peak")
        rows.append(row)
        low, middle, high = row["speedup"]
        print(
            f"{model} {method:14} {name:20} {speed:7.0f} images/s, {middle:.2f} times the ordinary "
            f"loop's (quartiles {low:.2f} to {high:.2f})"
        )
    return rows


def _timed(step: Callable[[], None], steps: int, skipped: int) -> float:
    for _ in range(skipped):
        step()
    _wait()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    _wait()
    return time.perf_counter() - started


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _best_workers(data: Data, model: str, method: str, options: argparse.Namespace) -> int:
    """The number of workers with which the ordinary loop is fastest here."""
    seconds = {}
    most = len(os.sched_getaffinity(0))
    for workers in sorted({0, 1, 2, 4, most}):
        step = ordinary(data, model, method, workers, options.precision)
        seconds[workers] = _timed(step, options.steps, STORE)
    return min(seconds, key=seconds.__getitem__)


class _Ours:
    """The trainer's own step, with its loader; `waited` of the seconds it `took` were for data."""

    def __init__(
        self, data: Data, model: str, method: str, fast: list[str], options: argparse.Namespace
    ) -> None:
        self.ranks = Ranks(0, 1, prepare_device("auto", 0))
        overrides = [("data", options.data), ("model", model), ("method", method)]
        overrides.append(("training.precision", options.precision))
        overrides += [(f"training.{key}", "true") for key in fast]
        self.recipe = load_recipe("cifar100/resnet18-bake", overrides)
        self.setup = set_up(self.recipe, data, self.ranks)
        self.meters = Meters(self.ranks)
        self.batches = _forever(self.setup)
        self.number, self.waited, self.took = 0, 0.0, 0.0
        with FlopCounterMode(display=False) as counter:
            features, logits = self.setup.model(next(self.batches).images.float())
            (features.sum() + logits.sum()).backward()
        self.setup.optimizer.zero_grad()
        self.operations = counter.get_total_flops()

    def __call__(self) -> None:
        started = time.perf_counter()
        batch = next(self.batches)
        self.waited += time.perf_counter() - started
        update(self.setup, batch, 0.01, self.number, self.meters)
        self.number += 1
        self.took += time.perf_counter() - started


def _forever(setup: Setup) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from setup.loader.batches(epoch)
        epoch += 1


if __name__ == "__main__":
    main()
