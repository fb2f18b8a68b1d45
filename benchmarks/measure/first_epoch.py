"""What the first epoch on CIFAR-100 looks like: the method, and the class groups alone.

    uv run python -m benchmarks.measure.first_epoch \\
        --data 'parquet:../shared/data/cifar100/*.parquet'

One epoch of ResNet-20 with a cosine schedule, the same images for all; about three minutes each
on two cores. Not a comparison of methods, which needs long runs: it shows that all of them learn,
and what drawing batches in class groups does at the start.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure.provenance import write_results
from rich.console import Console

from torchbake.training.loop import train
from torchbake.training.recipe_files import load_recipe
from torchbake.training.run_folder import RunFolder

VARIANTS: dict[str, list[tuple[str, str]]] = {
    "cross-entropy": [("method", "cross-entropy")],
    "BAKE, 3 partners": [],
    "BAKE, no partners": [("method.partners", "0")],
    "cross-entropy in groups of 4 (BAKE, λ = 0)": [("method.weight", "0")],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="cifar100")
    options = parser.parse_args()
    common = [
        ("data", options.data),
        ("model", "resnet20"),
        ("schedule", "cosine"),
        ("training.epochs", "1"),
        ("training.log_every", "39"),
    ]
    rows: list[dict[str, Any]] = []
    for name, overrides in VARIANTS.items():
        recipe = load_recipe("cifar100/resnet18-bake", [*common, *overrides])
        with tempfile.TemporaryDirectory() as folder:
            run = RunFolder(Path(folder) / "run")
            final = train(recipe, run.path, console=Console(quiet=True))
            trained = [record for record in run.read_metrics() if record["kind"] == "train"]
        losses = [trained[0]["cross_entropy"], trained[-1]["cross_entropy"]]
        rows.append({"variant": name, "cross_entropy": losses, **final})
        print(
            f"{name:44} {final['images']:,} images  cross-entropy {losses[0]:.2f} → "
            f"{losses[1]:.2f}  top-1 {final['top1']:.2f}%"
        )
    write_results("first_epoch", rows)


if __name__ == "__main__":
    main()
