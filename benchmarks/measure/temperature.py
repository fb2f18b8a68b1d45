"""How many validation images a temperature needs, and what spreading labels does with few.

    uv run python -m benchmarks.measure.temperature

Networks are trained on the digits. Of their 1,497 test images a few are drawn at random to fit a
temperature (`calibration.fit_temperature`), and the others are scaled by it.
"""

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from benchmarks.measure.provenance import write_results
from rich.console import Console

from torchbake.calibration import fit_temperature
from torchbake.evaluation import LabelledLogits, collect_logits, measure
from torchbake.randomness import make_generator
from torchbake.training.loop import train
from torchbake.training.opened_run import open_run
from torchbake.training.recipe_files import load_recipe

QUIET = Console(quiet=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=["cross-entropy", "bake"])
    parser.add_argument("--images", type=int, nargs="+", default=[10, 30, 60, 150, 500])
    parser.add_argument("--priors", type=float, nargs="+", default=[0.0, 0.1, 1.0])
    parser.add_argument("--draws", type=int, default=50)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for method in options.methods:
        tested = _train(method)
        settings = {"method": method, "draws": options.draws, "test_images": len(tested.labels)}
        rows.append({**settings, "trained": measure(tested)})
        for images in options.images:
            for prior in options.priors:
                row = {"method": method, "images": images, "prior": prior}
                rows.append(row | _scale(tested, images, prior, options.draws))
                print(rows[-1], flush=True)
    write_results("temperature", rows)


def _train(method: str) -> LabelledLogits:
    """The logits of the test images, from a network that is trained with this method."""
    recipe = load_recipe("digits/bake", [("method", method), ("training.eval_every", "100")])
    with tempfile.TemporaryDirectory() as folder:
        train(recipe, Path(folder) / "run", console=QUIET)
        opened = open_run(Path(folder) / "run", console=QUIET)
    batches = opened.data.test_batches(256, opened.device)
    return collect_logits(opened.model, batches, opened.device)


def _scale(tested: LabelledLogits, images: int, prior: float, draws: int) -> dict[str, float]:
    """Means over draws of the images that a temperature is fitted on, and the worst NLL."""
    found = []
    for draw in range(draws):
        order = torch.randperm(len(tested.labels), generator=make_generator("fit", draw))
        fitted, others = order[:images], order[images:]
        temperature = fit_temperature(tested.logits[fitted], tested.labels[fitted], prior)
        rest = LabelledLogits(*(column[others] for column in tested))
        found.append({**measure(rest, temperature), "log_temperature": math.log(temperature)})
    means = {name: sum(one[name] for one in found) / draws for name in found[0]}
    return {
        "temperature": math.exp(means["log_temperature"]),
        "nll": means["nll"],
        "worst_nll": max(one["nll"] for one in found),
        "ece": means["ece"],
    }


if __name__ == "__main__":
    main()
