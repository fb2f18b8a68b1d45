"""The rounds of an advice in their time: probes, the selection, and the confirmation."""

import math
from collections.abc import Callable

from ...errors import UserError
from .candidates import BASELINE, FINALISTS, halve, keep, name_in_words, rank
from .design import (
    LEAST,
    Cost,
    Design,
    Size,
    choose_design,
    find_shortest,
    predict_block,
    predict_least,
    predict_seconds,
)
from .diary import Diary
from .runs import Named, Runs

PROBED = 0.01
"""Share of the time that the steps of one method's probe take."""
FEWEST_STEPS, MOST_STEPS = 8, 400
"""Steps of a probe."""

LATEST = 1.05
"""When runs at work are stopped, as a share of the time."""

FEWEST = 2
"""Seeds without which nothing can be said."""


class Rounds:
    """Does the runs of an advice, a seed of all variants at a time, while there is time.

    Args:
        say: prints a line.
    """

    def __init__(self, diary: Diary, runs: Runs, size: Size, say: Callable[[str], None]) -> None:
        self.diary = diary
        self.record = diary.record
        self.runs = runs
        self.size = size
        self.say = say

    @property
    def left(self) -> float:
        """Seconds left for runs; the page at the end takes about as long as a run's beginning."""
        baseline = self.diary.get_costs().get(BASELINE)
        return self.diary.left - (2 + baseline.fixed if baseline else 0.0)

    def choose_design(self, variants: list[str]) -> Design:
        """Measure what each variant's runs take, and choose their length and number.

        Raises:
            UserError: the time does not suffice for an honest comparison, or the baseline failed.
        """
        chosen = self.diary.get_design()
        if chosen is not None:
            return chosen
        if not self.record.costs:
            self._measure(variants)
        costs, size, jobs = self.diary.get_costs(), self.size, self.runs.jobs
        design = choose_design(costs, self.left, size, jobs, self.record.request.seeds)
        if design is None:
            raise UserError(self._tell_needed(costs))
        self.record.design = list(design)
        self.diary.save()
        expected = predict_seconds(design, costs, jobs)
        length = (
            "as long as the recipe's"
            if design.images == size.whole
            else (f"{design.images / size.whole:.0%} of the recipe's {size.whole:,}")
        )
        self.say(
            f"runs of {design.images:,} images, {length}; {design.first} + {design.second} seeds "
            f"for choosing and at least {design.last} for confirming, about "
            f"{expected / 60:.1f} minutes; more seeds for confirming while there is time"
        )
        return design

    def _measure(self, variants: list[str]) -> None:
        """Probe each variant, the baseline first; early, whether the time suffices at all."""
        # The first starts what later ones share, and is no measure of their beginning.
        rough = self._probe([BASELINE], FEWEST_STEPS)[BASELINE]
        steps = PROBED * 60 * self.record.request.minutes / (rough.image * self.size.batch_size)
        steps = 2 * round(min(MOST_STEPS, max(FEWEST_STEPS + 2, steps)) / 2)
        costs = self._probe([BASELINE], steps)
        assumed = dict.fromkeys(variants, costs[BASELINE])
        if self._predict_least(assumed) > self.left:
            raise UserError(self._tell_needed(assumed))
        costs |= self._probe([variant for variant in variants if variant != BASELINE], steps)
        self.record.costs = {variant: list(cost) for variant, cost in costs.items()}
        self.diary.save()

    def _probe(self, variants: list[str], steps: int) -> dict[str, Cost]:
        """What runs of these variants take; those that fail are left out."""
        runs = self.runs.plan_probe(variants, steps, self.size.batch_size)
        walls: dict[str, float] = {}
        # Not stopped at the end of the time: what they take is needed to say how much is missing.
        self._do(runs, walls.__setitem__, math.inf)
        costs = {}
        for variant, run in runs.items():
            if not run.folder.result.is_file():
                continue
            trained = [r for r in run.folder.read_metrics() if r["kind"] == "train"]
            image = 1 / trained[-1]["images_per_second"]
            # An earlier process may have done it: then its own seconds of training are known.
            wall = walls.get(variant, run.folder.read_result()["seconds"])
            images = steps * self.size.batch_size
            costs[variant] = Cost(max(0.0, wall - image * images), image)
        return costs

    def _predict_least(self, costs: dict[str, Cost]) -> float:
        return predict_least(costs, self.size, self.runs.jobs, self.record.request.seeds)

    def _tell_needed(self, costs: dict[str, Cost]) -> str:
        minutes, shortest = self.record.request.minutes, find_shortest(self.size)
        needed = (self._predict_least(costs) + 60 * minutes - self.left) / 60
        line = (
            f"--minutes: {minutes:g} are too few to compare {len(costs)} methods honestly: "
            f"{LEAST} seeds of the last three, in runs of {shortest:,} images, need about "
            f"{1.1 * needed:.2g}"
        )
        if len(costs) > FINALISTS + 1:
            line += "; fewer --methods, a smaller model or smaller images need less"
        return line

    def select(self, candidates: list[str]) -> None:
        """Both rounds of the selection, cut short where the confirmation would lack the time."""
        record, design = self.record, self.diary.get_design()
        assert design is not None
        if record.finalists is not None:
            return
        if len(candidates) <= FINALISTS:
            record.ranked = record.finalists = candidates
            return
        if record.kept is None:
            record.first_seeds = self._do_round(candidates, 0, design.first)
            record.kept = halve(self._rank(candidates, record.first_seeds))
            self.diary.save()
        kept = self._without_failed(record.kept)
        more = 0
        if len(kept) > FINALISTS:
            more = self._do_round(kept, record.first_seeds, design.second)
        record.ranked = self._rank(kept, record.first_seeds + more)
        record.finalists = keep(record.ranked, FINALISTS)
        self.diary.save()
        self.say(f"chosen: {' and '.join(map(name_in_words, record.finalists))}")

    def confirm(self, most: int | None) -> None:
        """Fresh seeds of the finalists and the baseline, as many as the time allows.

        Args:
            most: seeds after which it ends earlier.
        """
        design = self.diary.get_design()
        assert design is not None
        assert self.record.finalists is not None
        number = 0
        while most is None or number < most:
            block = [BASELINE, *self._without_failed(self.record.finalists)]
            runs = self.runs.plan_confirmation(block, number, design.images)
            if _are_missing(runs):
                late = number >= FEWEST and self._foresee(block) > self.left
                if late or self.diary.left <= 0 or len(block) == 1:
                    return
                self._do_block(runs, "confirming")
            number += 1

    def _rank(self, variants: list[str], seeds: int) -> list[str]:
        design = self.diary.get_design()
        assert design is not None
        still = self._without_failed(variants)
        if not still:
            raise UserError("; ".join(self.record.dropped.values()))
        return rank(self.runs.score_selection(still, seeds, design.images))

    def _do_round(self, candidates: list[str], first: int, seeds: int) -> int:
        """Do the seeds of a round; how many of them were done."""
        design = self.diary.get_design()
        assert design is not None
        for number in range(seeds):
            still = self._without_failed(candidates)
            runs = self.runs.plan_selection(still, first + number, design.images)
            if not _are_missing(runs):
                continue
            if first + number:
                costly = sorted(still, key=self.diary.foresee)[-FINALISTS:]
                confirming = LEAST * self._foresee([BASELINE, *costly])
                if self._foresee(still) + confirming > self.left:
                    self.say("the machine is slower than foreseen: fewer seeds for choosing")
                    return number
            self._do_block(runs, "choosing")
        return seeds

    def _do_block(self, runs: Named, what: str) -> None:
        """Do the runs of a seed; what fails is left out from then on."""

        def note(variant: str, seconds: float) -> None:
            self.diary.note_wall(variant, seconds)
            self.diary.save()

        latest = self.diary.find_deadline(LATEST * 60 * self.record.request.minutes)
        self._do(runs, note, latest)
        seed = next(iter(runs.values())).recipe.seed
        self.say(
            f"{what}, seed {seed}: {', '.join(map(name_in_words, runs))}; "
            f"{self.diary.used / 60:.1f} of {self.record.request.minutes:g} minutes"
        )

    def _do(self, runs: Named, timed: Callable[[str, float], None], deadline: float) -> None:
        folder = next(iter(runs.values())).folder.path.parent
        for variant, line in self.runs.do(runs, folder, timed, deadline).items():
            if variant == BASELINE:
                raise UserError(line)
            self.record.dropped[variant] = line
            self.say(f"left out: {line}")
        self.diary.save()

    def _foresee(self, variants: list[str]) -> float:
        return predict_block([self.diary.foresee(variant) for variant in variants], self.runs.jobs)

    def _without_failed(self, variants: list[str]) -> list[str]:
        return [variant for variant in variants if variant not in self.record.dropped]


def _are_missing(runs: Named) -> bool:
    return any(not run.folder.result.is_file() for run in runs.values())
