"""Advice: which method is worth it on somebody's data, within a given time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from ...data.sources.registry import open_source
from ...data.sources.subsets import apply_subset
from ...errors import UserError
from ...recipe import Recipe
from ...training.recipe_files import load_recipe
from ..compare.plan import plan_runs
from .candidates import BASELINE, Scores
from .design import Size
from .diary import LOCK, Diary, Request, open_diary
from .rounds import Rounds
from .runs import HELD_OUT, Pairs, Runs
from .verdict import Difference, Verdict, compare_candidates, decide

PLAN = "advice-plan.json"
"""The diary in the output folder."""


class Advice(NamedTuple):
    """What an advice came to.

    Attributes:
        chosen_by: top-1 on the validation images, by variant and seed.
        confirmed: top-1 on the test images, by variant and seed, the baseline first.
        differences: among the confirmed ones.
    """

    diary: Diary
    runs: Runs
    size: Size
    test_images: int
    chosen_by: Scores
    confirmed: Scores
    differences: list[Difference]
    verdict: Verdict


def give_advice(
    request: Request,
    out: Path,
    jobs: int,
    started: float,
    resolve: Callable[[], tuple[str, Pairs]],
    say: Callable[[str], None],
) -> Advice:
    """Do what is missing of an advice, and say what it came to.

    Args:
        request: what was asked for; an advice of the same one in `out` goes on.
        jobs: runs at a time.
        started: when the time began, by `time.monotonic`.
        resolve: the name of a recipe and its keys; called when an advice begins.
        say: prints a line.

    Raises:
        UserError: a recipe, method or data that are not right, too little time, a baseline that
            fails, another advice in `out` or at work there.
        Stopped: SIGINT or SIGTERM; the same request goes on from there.
    """
    # What is wrong is said before anything is made.
    diary = open_diary(out / PLAN, request, started, resolve)
    recipe_name, keys = diary.record.recipe, [(k, v) for k, v in diary.record.keys]
    recipe = load_recipe(recipe_name, keys)
    _check_recipe(recipe)
    methods = request.methods
    if any(run.taught for run in plan_runs(recipe_name, keys, methods, 1, None, out)):
        raise UserError("--methods: all must train without a teacher, or name it: kd:teacher=RUN")
    size, test_images = _measure_data(recipe_name, keys, recipe)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / LOCK, timeout=0):
            runs = Runs(recipe_name, keys, out, jobs, holds_out=recipe.data.validation is not None)
            diary.save()
            if not diary.record.done:
                try:
                    _do_rounds(Rounds(diary, runs, size, say), methods, request.seeds)
                finally:
                    diary.save()
    except Timeout:
        raise UserError(f"{out}: another advice is at work there") from None
    return _conclude(diary, runs, size, test_images)


def _do_rounds(rounds: Rounds, methods: list[str], seeds: int | None) -> None:
    rounds.choose_design(methods)
    record = rounds.record
    rounds.select([v for v in methods if v != BASELINE and v in record.costs])
    rounds.confirm(seeds)
    record.done = True


def _conclude(diary: Diary, runs: Runs, size: Size, test_images: int) -> Advice:
    record, design = diary.record, diary.get_design()
    assert design is not None
    assert record.finalists is not None
    assert record.ranked is not None
    candidates = [variant for variant in record.costs if variant != BASELINE]
    chosen_by = runs.score_selection(candidates, record.first_seeds + design.second, design.images)
    confirmed = runs.score_confirmation([BASELINE, *record.finalists], design.images)
    differences = compare_candidates(confirmed)
    verdict = decide(differences, record.ranked)
    return Advice(diary, runs, size, test_images, chosen_by, confirmed, differences, verdict)


def _check_recipe(recipe: Recipe) -> None:
    training = recipe.training
    for key in ("time_limit", "patience"):
        if getattr(training, key) is not None:
            raise UserError(
                f"training.{key}: all runs of an advice see equally many images; leave it out"
            )
    if training.report != "last":
        raise UserError(
            "training.report: an advice is by the last step, not chosen on the test set"
        )


def _measure_data(name: str, keys: Pairs, recipe: Recipe) -> tuple[Size, int]:
    """What a whole run consists of, and the number of test images."""
    held_out = recipe
    if recipe.data.validation is None:
        held_out = load_recipe(name, [*keys, ("data.validation", str(HELD_OUT))])
    source = apply_subset(open_source(recipe.data), recipe.data)
    choosing = apply_subset(open_source(held_out.data), held_out.data)
    if choosing.validation is None or not len(choosing.validation):
        raise UserError("data.validation: no image is left to choose by")
    training, left = recipe.training, len(choosing.train)
    if left < training.batch_size:
        raise UserError(
            f"training.batch_size: {training.batch_size} is more than the {left} training images "
            f"that are left when {len(choosing.validation)} are held out to choose by"
        )
    steps = training.epochs * (len(source.train) // training.batch_size)
    steps = min(steps, training.max_steps or steps)
    return Size(steps * training.batch_size, left, training.batch_size), len(source.test)


def summarise(advice: Advice, command: str) -> dict[str, Any]:
    """All of it as JSON has it: `advice.json`."""
    record, design = advice.diary.record, advice.diary.get_design()
    assert design is not None
    return {
        "verdict": advice.verdict.sentence,
        "use": advice.verdict.variant,
        "command": command,
        "asked_minutes": record.request.minutes,
        "used_minutes": round(advice.diary.used / 60, 3),
        "recipe": record.recipe,
        "keys": record.keys,
        "images": design.images,
        "images_of_a_whole_run": advice.size.whole,
        "test_images": advice.test_images,
        "finalists": record.finalists,
        "failed": record.dropped,
        "selection": [
            {"variant": variant, "validation_top1": {str(s): v for s, v in own.items()}}
            for variant, own in advice.chosen_by.items()
        ],
        "confirmation": [
            {"variant": variant, "test_top1": {str(s): v for s, v in own.items()}}
            for variant, own in advice.confirmed.items()
        ],
        "correction": "Holm",
        "differences": [d._asdict() for d in advice.differences],
    }
