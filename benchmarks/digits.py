"""What BAKE gains on few real images: the digits, several methods, seeds, equal images seen.

uv run python benchmarks/digits.py --seeds 10
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from provenance import write_results
from rich.console import Console

from torchbake.training.loop import train
from torchbake.training.recipe_files import load_recipe

VARIANTS: dict[str, list[tuple[str, str]]] = {
    "cross-entropy": [("method", "cross-entropy")],
    "label-smoothing": [("method", "label-smoothing")],
    "BAKE": [],
    "BAKE, T_a = 0.1": [("method.affinity_temperature", "0.1")],
}
FIGURES = ("top1", "nll", "ece", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    seeds = parser.parse_args().seeds
    rows: list[dict[str, Any]] = []
    # Seeds outside, methods inside, so that a busy machine slows all of them alike.
    for seed in range(seeds):
        for name, overrides in VARIANTS.items():
            recipe = load_recipe("digits/bake", [*overrides, ("seed", str(seed))])
            with tempfile.TemporaryDirectory() as folder:
                final = train(recipe, Path(folder) / "run", console=Console(quiet=True))
            rows.append({"variant": name, "seed": seed, **final})
    print(f"{'':18}{'images':>8}{'top-1 %':>16}{'NLL':>18}{'ECE %':>16}{'seconds':>9}")
    for name in VARIANTS:
        own = [row for row in rows if row["variant"] == name]
        top1, nll, ece, seconds = (_summary([row[figure] for row in own]) for figure in FIGURES)
        print(
            f"{name:18}{own[0]['images']:8,}{top1[0]:9.2f} ± {top1[1]:.2f}"
            f"{nll[0]:11.4f} ± {nll[1]:.4f}{ece[0]:9.2f} ± {ece[1]:.2f}{seconds[0]:9.1f}"
        )
    print(f"mean ± standard error over {seeds} seeds, last step, 1,497 test images")
    write_results("digits", rows)


def _summary(values: list[float]) -> tuple[float, float]:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return statistics.fmean(values), error


if __name__ == "__main__":
    main()
