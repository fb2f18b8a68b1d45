"""Training steps with their phases timed, beside steps without, and a trace of a few."""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import torch
from rich.console import Console
from torch.profiler import ProfilerActivity, profile, schedule

from ...data.loading.open_data import show_opening
from ...recipe import Recipe
from ...training.distributed import Ranks, prepare_device
from ...training.meters import Meters
from ...training.optimizer import compute_lr
from ...training.setup import Setup, set_up
from ...training.step import update
from .phases import END, Ranges, Timeline, trace_forwards


@dataclass(frozen=True)
class Profile:
    """Where the time of steps went.

    Attributes:
        device: that they ran on.
        warmup: steps before them.
        steps: milliseconds of each phase in each step, on the device.
        host: the same on the host, which only asks for the work where the device is a GPU.
        bare: milliseconds of as many steps whose phases nobody timed, in turns with the others;
            those of one number ran one after the other.
    """

    device: torch.device
    warmup: int
    steps: list[dict[str, float]]
    host: list[dict[str, float]]
    bare: list[float]


class Steps:
    """Steps of training one after the other, from the beginning of a run."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.meters = Meters(setup.ranks)
        self.number = 0
        self.batches = (b for epoch in count() for b in setup.loader.batches(epoch))

    def whole(self, enter: Callable[[str], None]) -> None:
        """One step as the training loop does it."""
        enter("step")
        self._step(lambda phase: None)
        enter(END)

    def in_phases(self, enter: Callable[[str], None]) -> None:
        """One step, telling its phases."""
        with trace_forwards(self.setup.forwards.networks, enter):
            enter("data")
            self._step(enter)
            enter(END)

    def _step(self, enter: Callable[[str], None]) -> None:
        batch = next(self.batches)
        recipe, total = self.setup.recipe, self.setup.total
        lr = compute_lr(recipe.schedule, recipe.optimizer.lr, self.number, total)
        update(self.setup, batch, lr, self.number, self.meters, enter)
        self.number = (self.number + 1) % total  # a short run's schedule begins anew


def measure(recipe: Recipe, *, steps: int, warmup: int, console: Console) -> tuple[Profile, Steps]:
    """Train for a while, and see where the time goes.

    Args:
        steps: that are timed in phases; as many more are timed as a whole.
        warmup: steps before these.

    Returns:
        The times; and what goes on from there, for a trace.

    Raises:
        UserError: a part of the recipe that cannot be had.
    """
    ranks = Ranks(0, 1, prepare_device(recipe.training.device, 0))
    setup = set_up(recipe, show_opening(recipe.data, console), ranks)
    training = Steps(setup)
    for number in range(warmup):
        step = training.in_phases if number % 2 else training.whole
        step(Timeline(ranks.device).enter)
    timed, bare = _in_turns(training, steps)
    device, host = timed.steps()
    whole = [step["step"] for step in bare.steps()[0]]
    return Profile(ranks.device, warmup, device, host, whole), training


def _in_turns(training: Steps, pairs: int) -> tuple[Timeline, Timeline]:
    """Pairs of a step in phases and one without, so that a busy machine slows both."""
    device = training.setup.ranks.device
    timed, bare = Timeline(device), Timeline(device)
    coin = random.Random(0)  # an order of its own could go along with that of epochs
    for _ in range(pairs):
        first = coin.random() < 0.5
        if first:
            training.in_phases(timed.enter)
        training.whole(bare.enter)
        if not first:
            training.in_phases(timed.enter)
    return timed, bare


def write_trace(path: Path, training: Steps, steps: int) -> None:
    """Some more steps under torch.profiler, as a trace that Perfetto and chrome://tracing open."""
    ranges = Ranges()
    activities = None
    if training.setup.ranks.device.type == "cpu":
        activities = [ProfilerActivity.CPU]
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it complains that there is no GPU
    with profile(
        activities=activities,
        # What the profiler does when it is first used is none of a step's.
        schedule=schedule(wait=0, warmup=1, active=steps, repeat=1),
        on_trace_ready=lambda profiler: profiler.export_chrome_trace(str(path)),
    ) as profiler:
        for _ in range(1 + steps):
            training.in_phases(ranges.enter)
            profiler.step()
