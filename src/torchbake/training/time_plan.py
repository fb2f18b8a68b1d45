"""The length of a run that must end in a given time, from its measured speed."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pydantic
import torch.distributed as dist
from annotated_types import Ge, Gt, Le

from ..errors import UserError
from ..recipe import Recipe
from .run_folder import RunFolder
from .run_records import read_json
from .setup import Setup
from .time_measuring import measure_times

KEPT_BACK = 0.05
"""Share of the time for what was not foreseen: a machine that does other work, too."""


Seconds = Annotated[float, Ge(0), Le(1e9), pydantic.AllowInfNan(False)]


class TimePlan(pydantic.BaseModel):
    """How long a run is to be, and why: `time-plan.json`.

    Attributes:
        steps: updates of the whole run.
        whole: updates that it would have without the limit.
        minutes: `training.time_limit`.
        begin: seconds until the first step, those of measuring among them.
        step, epoch, evaluation, checkpoint: seconds of one; of an epoch what it takes to begin.
        report: seconds from the last checkpoint to the end.
    """

    model_config = pydantic.ConfigDict(strict=True, frozen=True)

    steps: Annotated[int, Ge(0), Le(10**18)]
    whole: Annotated[int, Gt(0), Le(10**18)]
    minutes: Seconds
    begin: Seconds
    step: Seconds
    epoch: Seconds
    evaluation: Seconds
    checkpoint: Seconds
    report: Seconds


@dataclass(frozen=True)
class Rhythm:
    """How many steps lie between what takes time beside the steps."""

    epoch: int
    evaluation: int
    checkpoint: int


def plan_time(setup: Setup, run: RunFolder, started: float, *, fresh: bool) -> TimePlan | None:
    """The plan of the recipe's `training.time_limit`; None without one.

    It is made once: a run that goes on has the one that lies in its folder, and a finished run
    that is made longer a new one of the old speeds. The speed is measured by training a few steps
    on the run's own first batches; afterwards all is as it was before, so that the run is the one
    that `training.max_steps` would give. The first rank decides; all must call this together.

    Args:
        started: when the run began, by `time.monotonic`.

    Raises:
        UserError: not even one step fits; the run's plan is missing or damaged; or it has had all
            steps that the limit allows.
    """
    minutes = setup.recipe.training.time_limit
    if minutes is None:
        return None
    plan: TimePlan | None = None
    if not fresh:
        if setup.ranks.first:
            plan = _continue_plan(setup, run, minutes)
    else:
        plan = _make_plan(setup, run.path, started, minutes)
    if setup.ranks.world_size > 1:
        plans: list[Any] = [plan]
        dist.broadcast_object_list(plans, src=0, device=setup.ranks.device)
        plan = plans[0]
    return plan


def describe_time_plan(plan: TimePlan, setup: Setup) -> str:
    """What was planned, and why."""
    speed = (
        f"a step takes {_tell(plan.step)}, an evaluation {_tell(plan.evaluation)}, a checkpoint "
        f"{_tell(plan.checkpoint)}"
    )
    if plan.steps >= plan.whole:
        planned = f"all {plan.whole:,} steps fit"
    else:
        epochs = plan.steps / len(setup.sampler)
        planned = (
            f"planned {plan.steps:,} of {plan.whole:,} steps ({epochs:.3g} epochs), where the "
            "schedule of the learning rate ends"
        )
    return (
        f"training.time_limit {plan.minutes:g} minutes: {_tell(plan.begin)} until the first step; "
        f"{speed}; {planned}"
    )


def tell_lengths(before: Recipe, recipe: Recipe) -> str:
    """By what a run is made longer."""
    was, now = before.training, recipe.training
    if was.time_limit is not None and was.epochs == now.epochs:
        limit = "without a limit" if now.time_limit is None else f"{now.time_limit:g} minutes"
        return f"from {was.time_limit:g} minutes to {limit}"
    return f"from {was.epochs} to {now.epochs} epochs"


def count_seconds(steps: int, plan: TimePlan, rhythm: Rhythm) -> float:
    """The seconds that a run of so many steps takes in all."""
    if not steps:
        return plan.begin + plan.report
    at_epochs, rest = divmod(steps, rhythm.evaluation)
    return (
        plan.begin
        + steps * plan.step
        + -(-steps // rhythm.epoch) * plan.epoch
        + (at_epochs + (rest > 0)) * plan.evaluation
        + (steps // rhythm.checkpoint + 1) * plan.checkpoint
        + plan.report
    )


def fit_steps(plan: TimePlan, rhythm: Rhythm) -> int:
    """The most steps that fit into the plan's minutes, at most `whole`; 0 if none does."""
    seconds = plan.minutes * 60 * (1 - KEPT_BACK)
    low, high = 0, plan.whole
    while low < high:
        middle = (low + high + 1) // 2
        if count_seconds(middle, plan, rhythm) <= seconds:
            low = middle
        else:
            high = middle - 1
    return low


def _continue_plan(setup: Setup, run: RunFolder, minutes: float) -> TimePlan:
    if not run.time_plan.is_file():
        raise UserError(
            f"{run.path}: cannot go on: {run.time_plan.name} is missing, in which the length of "
            "the run was planned"
        )
    before = TimePlan(**read_json(run.time_plan, TimePlan))
    if not run.grows(setup.recipe):
        return before
    plan = _with(before, minutes=minutes, whole=setup.total)
    plan = _with(plan, steps=fit_steps(plan, _find_rhythm(setup)))
    if plan.steps <= before.steps:
        raise UserError(
            f"training.time_limit: {minutes:g} minutes are enough for the {before.steps:,} steps "
            "that the run has had; give more, or null"
        )
    return plan


def _make_plan(setup: Setup, folder: Path, started: float, minutes: float) -> TimePlan | None:
    opening = time.monotonic() - started
    times = measure_times(setup, folder, minutes * 60)
    if not setup.ranks.first:
        return None
    plan = TimePlan(
        steps=0,
        whole=setup.total,
        minutes=minutes,
        begin=time.monotonic() - started,
        report=opening + times.evaluation,  # it opens the data once more, and evaluates
        **times._asdict(),
    )
    rhythm = _find_rhythm(setup)
    steps = fit_steps(plan, rhythm)
    if not steps:
        needed = count_seconds(1, plan, rhythm) / (1 - KEPT_BACK) / 60
        raise UserError(
            f"training.time_limit: {minutes:g} minutes are not enough for one step: "
            f"{_tell(plan.begin)} until then, {_tell(plan.evaluation)} for an evaluation; needs "
            f"{needed:.2g} minutes"
        )
    return _with(plan, steps=steps)


def _find_rhythm(setup: Setup) -> Rhythm:
    training, epoch = setup.recipe.training, len(setup.sampler)
    return Rhythm(epoch, epoch * training.eval_every, training.checkpoint_every)


def _with(plan: TimePlan, **changes: Any) -> TimePlan:
    return plan.model_copy(update=changes)


def _tell(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
