"""CIFAR-100 with ResNet-18 at equal images: cross-entropy, label smoothing, BAKE at T_a 1 and 0.1.

    python benchmarks/cifar100.py --data 'parquet:PATH/*.parquet' --seeds 1 --minutes 25

Meant for a GPU: 200 epochs of 50,000 images each. Runs what is missing under --runs, seed after
seed, until the minutes are over; a run that is cut off goes on from its checkpoint next time.
Each finished run adds its row to the results.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from provenance import write_results
from rich.console import Console

from torchbake.training.loop import train
from torchbake.training.recipe_files import load_recipe
from torchbake.training.run_folder import RunFolder

VARIANTS: dict[str, list[tuple[str, str]]] = {
    "cross-entropy": [("method", "cross-entropy")],
    "label-smoothing": [("method", "label-smoothing")],
    "BAKE": [],
    "BAKE, T_a = 0.1": [("method.affinity_temperature", "0.1")],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="cifar100")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=25, help="start no run after these")
    parser.add_argument("--runs", type=Path, default=Path("runs/cifar100"))
    parser.add_argument(
        "--override", nargs=2, action="append", default=[], metavar=("KEY", "VALUE")
    )
    options = parser.parse_args()
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    precision = "bf16" if torch.cuda.is_available() else "float32"
    common = [("data", options.data), ("training.precision", precision), *options.override]
    start = time.monotonic()
    rows: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        for name, overrides in VARIANTS.items():
            if time.monotonic() - start > 60 * options.minutes:
                print(f"out of time before {name}, seed {seed}")
                return
            recipe = load_recipe(
                "cifar100/resnet18-bake", [*common, *overrides, ("seed", str(seed))]
            )
            run = RunFolder(options.runs / f"{name.replace(' ', '')}-{seed}")
            final = train(recipe, run.path, resume=True, console=Console(quiet=True))
            evaluated = [r["top1"] for r in run.read_metrics() if r["kind"] == "eval"]
            row = {"variant": name, "seed": seed, "best_top1_on_test": max(evaluated), **final}
            rows.append(row)
            print(
                f"{name:18} seed {seed}  {final['images']:,} images  top-1 {final['top1']:.2f}% "
                f"(best on test {row['best_top1_on_test']:.2f}%)  NLL {final['nll']:.3f}  "
                f"ECE {final['ece']:.2f}%  {final['seconds']:.0f} s"
            )
            write_results("cifar100", rows)


if __name__ == "__main__":
    main()
