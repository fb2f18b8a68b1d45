"""Training steps that torch.profiler records, beside steps that it does not; and a trace."""

import os
import random
import time
from dataclasses import dataclass
from itertools import count
from operator import methodcaller
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch.profiler import ProfilerActivity, profile, schedule

from ...data.loading.open_data import show_opening
from ...recipe import Recipe
from ...training.distributed import Ranks, prepare_device
from ...training.labels import label, label_waits
from ...training.meters import Meters
from ...training.optimizer import compute_lr
from ...training.setup import Setup, set_up
from ...training.step import update
from .phases import label_forwards, read_phases


@dataclass(frozen=True)
class Profile:
    """Where the time of steps went, in milliseconds.

    Attributes:
        device: that they ran on.
        warmup: steps before them.
        host: each phase of each recorded step, on the host.
        steps: the same as times that the device has worked; of a CPU, the host's.
        recorded: each recorded step as a whole, until the device was done with it.
        bare: as many steps that were not recorded, in turns with the others; those of one number
            ran one after the other.
    """

    device: torch.device
    warmup: int
    host: list[dict[str, float]]
    steps: list[dict[str, float]]
    recorded: list[float]
    bare: list[float]


class Steps:
    """Steps of training one after the other, from the beginning of a run."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.meters = Meters(setup.ranks)
        self.number = 0
        self.batches = (b for epoch in count() for b in label_waits(setup.loader.batches(epoch)))

    def run(self) -> float:
        """One step as the training loop does it; milliseconds until the device is done with it."""
        recipe, total = self.setup.recipe, self.setup.total
        self._wait()
        began = time.perf_counter()
        with label("step"):
            batch = next(self.batches)
            lr = compute_lr(recipe.schedule, recipe.optimizer.lr, self.number, total)
            update(self.setup, batch, lr, self.number, self.meters)
        self._wait()
        self.number = (self.number + 1) % total  # a short run's schedule begins anew
        return 1000 * (time.perf_counter() - began)

    def _wait(self) -> None:
        if self.setup.ranks.device.type != "cpu":
            torch.get_device_module(self.setup.ranks.device).synchronize()


def measure(recipe: Recipe, *, steps: int, warmup: int, console: Console) -> tuple[Profile, Steps]:
    """Train for a while, and see where the time goes.

    Args:
        steps: that are recorded; as many more are not.
        warmup: steps before these.

    Returns:
        The times; and what goes on from there, for a trace.

    Raises:
        UserError: a part of the recipe that cannot be had.
    """
    ranks = Ranks(0, 1, prepare_device(recipe.training.device, 0))
    training = Steps(set_up(recipe, show_opening(recipe.data, console), ranks))
    coin = random.Random(0)  # an order of its own could go along with that of epochs
    plan = [number % 2 == 0 for number in range(warmup)]
    for _ in range(steps):
        plan += coin.sample([True, False], 2)
    times: dict[bool, list[float]] = {True: [], False: []}
    phases = []
    for recording in plan:
        if recording:
            with label_forwards(training.setup.forwards.networks), _profile(training) as record:
                times[True].append(training.run())
            phases.append(read_phases(record.events()))
        else:
            times[False].append(training.run())
    host, device = (list(kind) for kind in zip(*phases[-steps:], strict=True))
    worked = any(sum(step.values()) for step in device)
    whole = times[True][-steps:], times[False][-steps:]
    return Profile(ranks.device, warmup, host, device if worked else host, *whole), training


def write_trace(path: Path, training: Steps, steps: int) -> None:
    """Some more steps as a trace that Perfetto and chrome://tracing open."""
    # What the profiler does when it is first used is none of a step's.
    plan = schedule(wait=0, warmup=1, active=steps, repeat=1)
    write = methodcaller("export_chrome_trace", str(path))
    networks = training.setup.forwards.networks
    with label_forwards(networks), _profile(training, schedule=plan, on_trace_ready=write) as job:
        for _ in range(1 + steps):
            training.run()
            job.step()


def _profile(training: Steps, **options: Any) -> profile:
    if training.setup.ranks.device.type == "cpu":
        options["activities"] = [ProfilerActivity.CPU]
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it complains that there is no GPU
    return profile(**options)
