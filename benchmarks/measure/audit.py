"""Finding labels that were flipped: `torchbake audit` beside the loss and cleanlab's scores.

    uv run --group benchmarks python -m benchmarks.measure.audit --runs runs/audit
    … --cifar 'parquet:PATH/*.parquet'      # a fifth of CIFAR-100's classes, too
    … --full RUN                            # and finished runs with data.label_noise

Trains what is missing under --runs, each with a fifth of the labels flipped, others for each seed;
what was cut off goes on. For out-of-sample probabilities, as cleanlab recommends them, the same
recipe is trained five times more, each without a fifth of the images. --finished trains nothing.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from benchmarks.measure.provenance import write_results
from benchmarks.tables.audit import as_markdown
from cleanlab.rank import get_label_quality_scores
from rich.console import Console
from torch import Tensor

from torchbake.analysis.audit.rank import audit_run
from torchbake.analysis.audit.score import measure_ranking
from torchbake.analysis.outputs import compute_outputs
from torchbake.data.sources.labels import Correction, format_csv
from torchbake.randomness import make_generator
from torchbake.training.files import write_text
from torchbake.training.loop import train
from torchbake.training.opened_run import OpenedRun, open_run
from torchbake.training.recipe_files import load_recipe
from torchbake.training.run_folder import RunFolder

QUIET = Console(quiet=True)
FOLDS = 5
NOISE = 0.2
CLEANLAB = {"loss": "self_confidence", "normalized margin": "normalized_margin"}
"""Rankings by cleanlab; self-confidence ranks just as the cross-entropy loss does."""


class Question(NamedTuple):
    """Runs whose flipped labels are looked for."""

    data: str
    recipe: str
    overrides: list[tuple[str, str]]
    methods: list[str]
    folds_of: list[str]  # the methods that are trained without a part of the images, too
    seeds: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/audit"))
    parser.add_argument("--seeds", type=int, default=10, help="of the digits")
    parser.add_argument("--cifar", metavar="NAME", help="data.name of CIFAR-100")
    parser.add_argument("--cifar-seeds", type=int, default=1)
    parser.add_argument("--full", type=Path, nargs="+", default=[], metavar="RUN")
    parser.add_argument("--finished", action="store_true", help="train nothing")
    options = parser.parse_args()
    methods = ["cross-entropy", "bake"]
    last = ("training.eval_every", "100")
    questions = [Question("digits", "digits/bake", [last], methods, methods, options.seeds)]
    if options.cifar:
        name = [("data", options.cifar)]
        recipe, more = "cifar100/resnet20-subset", [*methods, "bake:partners=0"]
        seeds = options.cifar_seeds
        questions.append(Question("cifar_subset", recipe, name, more, methods[:1], seeds))
    rows: list[dict[str, Any]] = []
    for question in questions:
        for seed in range(question.seeds):
            for method in question.methods:
                rows += measured(question, method, seed, options.runs, options.finished)
    for folder in options.full:
        opened = open_run(folder, console=QUIET)
        named = {
            "data": "cifar100",
            "method": opened.recipe.method["name"],
            "seed": opened.recipe.seed,
        }
        rows += [named | row for row in in_sample(opened)]
    print(as_markdown(rows))
    write_results("audit", rows)


def measured(
    question: Question, method: str, seed: int, runs: Path, finished: bool
) -> Iterator[dict[str, Any]]:
    """The quality of all rankings of one run, which is trained first if it is missing."""
    name, *settings = method.split(":")
    overrides = [
        *question.overrides,
        ("method", name),
        *((f"method.{key}", value) for key, _, value in (s.partition("=") for s in settings)),
        ("seed", str(seed)),
        ("data.label_noise", str(NOISE)),
        ("data.label_noise_seed", str(seed)),
    ]
    folder = runs / question.data / f"{method.replace(':', ',')}-seed{seed}"
    if not trained(folder, question.recipe, overrides, finished):
        return
    opened = open_run(folder, console=QUIET)
    named = {"data": question.data, "method": method, "seed": seed}
    yield from (named | row for row in in_sample(opened))
    if method in question.folds_of:
        folds = folder.with_name(f"{folder.name}-folds")
        probabilities = out_of_sample(opened, folds, question.recipe, overrides, finished)
        if probabilities is not None:
            rows = by_cleanlab(opened, probabilities, "out of sample")
            yield from (named | row for row in rows)


def trained(folder: Path, recipe: str, overrides: list[tuple[str, str]], finished: bool) -> bool:
    """Whether the run is finished, or could be."""
    if not RunFolder(folder).result.is_file():
        if finished:
            print(f"not finished: {folder}")
            return False
        final = train(load_recipe(recipe, overrides), folder, resume=True, console=QUIET)
        print(f"{folder}: top-1 {final['top1']:.2f} %, {final['seconds']:.0f} s", flush=True)
    return True


def in_sample(opened: OpenedRun) -> Iterator[dict[str, Any]]:
    """Rankings by what the run itself makes of the images that it was trained on."""
    audit = audit_run(opened, ema=False, rounds=4, seed=0, console=QUIET)
    yield from by_cleanlab(opened, audit.outputs.logits.double().softmax(dim=1), "in sample")
    yield {"ranking": "torchbake audit", "of": "in sample"} | quality(opened, audit.suspicion.score)


def by_cleanlab(opened: OpenedRun, probabilities: Tensor, of: str) -> Iterator[dict[str, Any]]:
    labels = opened.data.source.train.labels.numpy()
    for ranking, method in CLEANLAB.items():
        scores = get_label_quality_scores(labels, probabilities.numpy(), method=method)
        yield {"ranking": ranking, "of": of} | quality(opened, -torch.from_numpy(scores))


def quality(opened: OpenedRun, score: Tensor) -> dict[str, float]:
    """AUROC, and the share of flipped labels among the first k and k / 10 of k flipped ones."""
    train = opened.data.source.train
    assert train.clean_labels is not None
    wrong = train.labels != train.clean_labels
    k = int(wrong.sum())
    found = measure_ranking(score, wrong, (k // 10,))
    return {
        "auroc": found["auroc"],
        "precision": found[f"precision@{k}"],
        "precision_of_tenth": found[f"precision@{k // 10}"],
    }


def out_of_sample(
    opened: OpenedRun, folds: Path, recipe: str, overrides: list[tuple[str, str]], finished: bool
) -> Tensor | None:
    """Each image's probabilities by a network that was trained without it; None if some miss."""
    train, classes = opened.data.source.train, opened.data.source.classes
    order = torch.randperm(len(train), generator=make_generator("folds", opened.recipe.seed))
    probabilities = torch.empty(len(train), len(classes), dtype=torch.float64)
    for number, left_out in enumerate(order.tensor_split(FOLDS)):
        left_out = left_out.sort().values
        file = folds / f"{number}.csv"
        dropped = (
            Correction(i, train.name_of(i), classes[int(train.labels[i])], "")
            for i in left_out.tolist()
        )
        write_text(file, format_csv(dropped))
        without = [*overrides, ("data.labels", str(file)), ("data.workers", "0")]
        if not trained(folds / str(number), recipe, without, finished):
            return None
        fold = open_run(folds / str(number), console=QUIET)
        logits = compute_outputs(fold, train, left_out, QUIET).logits
        probabilities[left_out] = logits.double().softmax(dim=1)
    return probabilities


if __name__ == "__main__":
    main()
