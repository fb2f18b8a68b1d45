"""The length of a run that must end in a given time, from its measured speed."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Annotated, Any

import pydantic
import torch
import torch.distributed as dist
from annotated_types import Ge, Gt, Le
from torch import nn

from ..batch import Batch
from ..errors import UserError
from .evaluating import list_networks
from .files import copy_to_host
from .memory import collect_within_memory
from .meters import Meters
from .network import PRECISIONS
from .optimizer import compute_lr
from .run_folder import RunFolder
from .run_records import read_json
from .setup import Setup, State
from .step import update

WARM_UP = 3
"""First steps, which are not counted: they compile, choose kernels and fill queues."""

MEASURED = 0.02
"""Share of the time that is spent on measuring steps, ..."""
LONGEST, MOST = 20.0, 200
"""... but at most so many seconds, and so many steps."""

EVALUATED = 1000
"""Images of a split from whose evaluation that of all is extrapolated."""

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


def plan_time(setup: Setup, run: RunFolder, started: float, *, goes_on: bool) -> TimePlan | None:
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
    if goes_on and (run.time_plan.is_file() or run.checkpoint.is_file()):
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
    plan = _with(_measure(setup, folder, minutes * 60), minutes=minutes)
    if not setup.ranks.first:
        return None
    # The report opens the data once more, and evaluates.
    plan = _with(plan, report=opening + plan.evaluation, begin=time.monotonic() - started)
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


def _measure(setup: Setup, folder: Path, limit: float) -> TimePlan:
    """The seconds of each part of the run; networks and optimizer are left as they were found."""
    # A copy, also of what lies in the host's memory and would be trained there.
    before = deepcopy(copy_to_host(setup.checkpoint(State())))
    noted = [(module, _list_plain(module)) for module in setup.method.modules()]
    step, epoch = _time_steps(setup, min(LONGEST, MEASURED * limit))
    checkpoint = _time_checkpoint(setup, folder)
    setup.load_checkpoint(before)
    for module, values in noted:
        vars(module).update(values)
    evaluation = _time_evaluation(setup)
    setup.forwards.take()
    return TimePlan(
        steps=0,
        whole=setup.total,
        minutes=limit / 60,
        begin=0.0,
        step=step,
        epoch=epoch,
        evaluation=evaluation,
        checkpoint=checkpoint,
        report=0.0,
    )


def _list_plain(module: nn.Module) -> dict[str, Any]:
    """Plain attributes, by which a method may remember what its buffers say."""
    plain = (bool, int, float, str, type(None))
    return {name: value for name, value in vars(module).items() if isinstance(value, plain)}


def _time_steps(setup: Setup, seconds: float) -> tuple[float, float]:
    """Seconds of a step, and until the first batch of an epoch."""
    ranks, meters = setup.ranks, Meters(setup.ranks)
    lr = compute_lr(setup.recipe.schedule, setup.recipe.optimizer.lr, 0, setup.total)
    with closing(_draw_batches(setup)) as batches:
        for number, batch in enumerate(islice(batches, WARM_UP)):
            update(setup, batch, lr, number, meters)
        meters.close()  # waits for the device
        done, spent, part = 0, 0.0, 1
        while not _agree(done >= MOST or spent >= seconds, setup):
            began = time.perf_counter()
            for batch in islice(batches, part):
                update(setup, batch, lr, 0, meters)
            meters.close()
            spent += time.perf_counter() - began
            done += part
            part = min(2 * part, MOST - done) or 1
    began = time.perf_counter()
    with closing(iter(setup.loader.batches(0))) as first:  # type: ignore[type-var]
        next(first)
    if ranks.device.type == "cuda":
        torch.cuda.synchronize(ranks.device)
    return spent / done, time.perf_counter() - began


def _draw_batches(setup: Setup) -> Iterator[Batch]:
    for epoch in count():
        yield from setup.loader.batches(epoch)


def _agree(own: bool, setup: Setup) -> bool:
    """What the first rank says."""
    if setup.ranks.world_size == 1:
        return own
    said = torch.tensor(int(own), device=setup.ranks.device)
    dist.broadcast(said, 0)
    return bool(said)


def _time_checkpoint(setup: Setup, folder: Path) -> float:
    """Seconds of writing a checkpoint to the disk on which the run is to lie."""
    began = time.perf_counter()
    state = setup.checkpoint(State())
    if setup.ranks.first:
        place = next(path for path in folder.absolute().parents if path.is_dir())
        with tempfile.TemporaryFile(dir=place) as file:
            torch.save(copy_to_host(state), file)
            file.flush()
            os.fsync(file.fileno())
    return time.perf_counter() - began


def _time_evaluation(setup: Setup) -> float:
    """Seconds of evaluating all networks on the test and validation images."""
    ranks, source, seconds = setup.ranks, setup.data.source, 0.0
    for network in list_networks(setup).values():
        for split in filter(None, (source.test, source.validation)):
            numbers = torch.arange(0, len(split), max(1, -(-len(split) // EVALUATED)))
            own = numbers[ranks.rank :: ranks.world_size]
            began = time.perf_counter()
            collect_within_memory(
                network,
                lambda size, split=split, own=own: setup.data.plain_batches(
                    split, own, size, ranks.device
                ),
                ranks.device,
                PRECISIONS[setup.recipe.training.precision],
            )
            seconds += (time.perf_counter() - began) * len(split) / len(numbers)
    return seconds


def _with(plan: TimePlan, **changes: Any) -> TimePlan:
    return plan.model_copy(update=changes)


def _tell(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
