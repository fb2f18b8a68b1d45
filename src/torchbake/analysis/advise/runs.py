"""The runs of an advice: which they are, doing them, and what they came to."""

import io
import re
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from ...training.run_folder import RunFolder
from ..compare.plan import Run, plan_runs
from ..compare.run import run_missing
from .candidates import Scores

Pairs = list[tuple[str, str]]
Named = dict[str, Run]
"""Runs by their variants."""

HELD_OUT = 0.2
"""Share of the training images on which candidates are chosen, unless the recipe holds out some."""

FRESH = 100
"""The first seed of the confirmation: none that took part in the selection."""

AT_THE_END = [
    ("training.eval_every", "1000000"),
    ("training.select", "last"),
    ("training.keep", "last"),
    ("training.trackers", "[]"),
]
"""Keys of all runs: each is evaluated once."""


class Runs:
    """The runs of a recipe's variants in an output folder, by what they are for.

    Args:
        recipe, keys: see `load_recipe`.
        out: each purpose has a folder of its own there.
        jobs: runs at a time.
        holds_out: whether the recipe holds out validation images itself.
    """

    def __init__(self, recipe: str, keys: Pairs, out: Path, jobs: int, *, holds_out: bool) -> None:
        self.recipe = recipe
        self.keys = keys
        self.out = out
        self.jobs = jobs
        self.holds_out = holds_out

    def plan_probe(self, variants: list[str], steps: int, batch_size: int) -> Named:
        """Short runs, of which the second half is timed."""
        log = [("training.log_every", str(steps // 2))]
        folder = self.out / "probes" / str(steps)
        return self._plan(variants, 0, folder, steps * batch_size, [*self._hold_out(0), *log])

    def plan_selection(self, variants: list[str], seed: int, images: int) -> Named:
        """Runs that are judged by their validation images; each seed holds out others."""
        return self._plan(variants, seed, self.out / "selection", images, self._hold_out(seed))

    def plan_confirmation(self, variants: list[str], number: int, images: int) -> Named:
        """Runs of a fresh seed, on all training images, that are judged by the test images."""
        return self._plan(variants, FRESH + number, self.out / "confirmation", images, [])

    def do(
        self,
        runs: Named,
        folder: Path,
        timed: Callable[[str, float], None],
        deadline: float,
    ) -> dict[str, str]:
        """Do those that are missing; a line of each that failed, by its variant.

        Args:
            timed: called with a variant and the seconds of its run when that is finished.
            deadline: when runs at work are stopped, by `time.monotonic`.
        """
        variants = {run.folder.path: variant for variant, run in runs.items()}
        text = io.StringIO()  # what it prints has test figures
        failures = run_missing(
            list(runs.values()),
            folder,
            self.jobs,
            Console(file=text, width=10_000),
            write_no_page,
            timed=lambda run, seconds: timed(variants[run.folder.path], seconds),
            deadline=deadline,
        )
        if not failures:
            return {}
        reasons = {}
        for path, variant in variants.items():
            if any(line.startswith(f"{path}:") for line in failures):
                name = re.escape(path.name)
                found = re.search(rf"^\d+/\d+ {name}\b.*?: (.*)$", text.getvalue(), re.MULTILINE)
                reasons[variant] = f"{variant}: {found[1] if found else 'not finished'}"
        return reasons

    def score_selection(self, variants: list[str], seeds: int, images: int) -> Scores:
        """Top-1 on the validation images, of finished runs."""
        scores: Scores = {variant: {} for variant in variants}
        for seed in range(seeds):
            for variant, run in self.plan_selection(variants, seed, images).items():
                if run.folder.result.is_file():
                    figures = run.folder.read_result()["last"]
                    scores[variant][seed] = figures["validation_top1"]
        return scores

    def score_confirmation(self, variants: list[str], images: int) -> Scores:
        """Top-1 on the test images, of finished runs."""
        return {
            variant: {
                run.recipe.seed: run.folder.read_result()["last"]["top1"]
                for run in self.list_confirmed(variant, images)
            }
            for variant in variants
        }

    def list_confirmed(self, variant: str, images: int) -> list[Run]:
        """The finished runs of the confirmation."""
        found: list[Run] = []
        for number in range(10**6):
            run = self.plan_confirmation([variant], number, images)[variant]
            if not run.folder.path.exists():
                break
            if run.folder.result.is_file():
                found.append(run)
        return found

    def _hold_out(self, seed: int) -> Pairs:
        own = [] if self.holds_out else [("data.validation", str(HELD_OUT))]
        return [*own, ("data.validation_seed", str(seed))]

    def _plan(
        self, variants: list[str], seed: int, folder: Path, images: int, further: Pairs
    ) -> Named:
        keys = [*self.keys, *AT_THE_END, *further]
        named = {}
        for variant in variants:
            [named[variant]] = plan_runs(
                self.recipe, keys, [variant], 1, str(images), folder, first_seed=seed
            )
        return named


def write_no_page(runs: list[RunFolder], path: Path, console: Console) -> None:
    """Instead of a report of each run, which would take as long as an evaluation."""
