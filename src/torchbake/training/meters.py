"""Figures of training since the last record, kept on the device until they are read."""

import math
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import nn

from .._shapes import Float, Int, Tensor
from ..methods import Step
from .distributed import Ranks

AT_ONCE = 64
"""Steps whose figures are put into one tensor: small ones take much memory each."""

WORST = "worst"
"""The figure of a step that is finite if the networks are after it (see `Watch`)."""

LEFT_OUT = "left_out"
"""The figure of a step that is not 0 if its update was left out (see `Guard`)."""


class StepFigures(NamedTuple):
    """What one step came to, as means over its images on all ranks.

    Attributes:
        number: of the step in the run, from 1.
        figures: the loss, its terms and `train_top1`.
        worst: of the networks after the step (see `finite.find_worst`).
        left_out: whether its update was left out.
    """

    number: int
    figures: dict[str, float]
    worst: float
    left_out: bool

    @property
    def finite(self) -> bool:
        """Whether the losses are, and the networks after it."""
        return all(map(math.isfinite, (*self.figures.values(), self.worst)))


class Interval(NamedTuple):
    """The steps since the last record.

    Attributes:
        means: of the figures over the steps whose updates were not left out.
        images: of all steps and ranks.
        rest: what was to be read with them (see `Meters.close`).
    """

    means: dict[str, float]
    images: int
    seconds: float
    steps: list[StepFigures]
    rest: float


@dataclass
class _Block:
    """Steps that have figures of the same names, each as often as a step has parts."""

    names: tuple[str, ...]
    numbers: list[int] = field(default_factory=list)
    rows: list[Tensor] = field(default_factory=list)
    full: list[Tensor] = field(default_factory=list)

    def add(self, number: int, row: Float[Tensor, " figures"]) -> None:
        self.numbers.append(number)
        self.rows.append(row)
        if len(self.rows) == AT_ONCE:
            self.full.append(torch.stack(self.rows))
            self.rows = []

    def join(self) -> Float[Tensor, " steps_figures"]:
        parts = [*self.full, *([torch.stack(self.rows)] if self.rows else [])]
        return torch.cat(parts).float().flatten()


class Meters:
    """The loss, its terms and the right predictions of each step, until they are read.

    A step costs the device one small copy; nothing is read before `close`.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self._names: list[str] = []
        self._values: list[Tensor] = []
        self._blocks: list[_Block] = []
        self._images = 0
        self.started = time.perf_counter()

    def add(self, step: Step, labels: Int[Tensor, " n"]) -> None:
        """Add a step of this rank, or one of several equal parts of it."""
        own = labels if step.labels is None else step.labels
        right = (step.logits.detach().argmax(dim=1) == own).mean(dtype=torch.float32)
        values = {"loss": step.loss.detach(), "train_top1": right}
        values |= {name: term.detach() for name, term in step.terms.items()}
        self._names += values
        self._values += values.values()
        self._images += len(labels)

    def end_step(self, number: int, further: Mapping[str, Tensor] | None = None) -> None:
        """End a step, all of whose parts were added.

        Args:
            number: of the step, from 0.
            further: figures of the whole step, each a single number (`WORST`, `LEFT_OUT`).
        """
        names = (*self._names, *(further or {}))
        row = torch.stack([*self._values, *(further or {}).values()])
        if not self._blocks or self._blocks[-1].names != names:
            self._blocks.append(_Block(names))
        self._blocks[-1].add(number + 1, row)
        self._names, self._values = [], []

    def close(self, rest: Float[Tensor, ""] | None = None) -> Interval:
        """What the steps came to over all ranks; then start anew.

        Args:
            rest: a number that is read, too, summed over the ranks.
        """
        parts = [block.join() for block in self._blocks]
        device = self.ranks.device
        summed = torch.cat([*parts, torch.zeros(1, device=device) if rest is None else rest[None]])
        if self.ranks.world_size > 1:
            dist.all_reduce(summed)
        *values, rested = summed.tolist()  # the one moment at which the device is waited for
        seconds = time.perf_counter() - self.started
        steps, start = [], 0
        for block in self._blocks:
            for number in block.numbers:
                row = values[start : start + len(block.names)]
                steps.append(_read_step(number, block.names, row, self.ranks.world_size))
                start += len(row)
        images = self._images * self.ranks.world_size
        self.restart()
        return Interval(_average(steps), images, seconds, steps, rested)

    def restart(self) -> None:
        """Forget the steps, and count the time from now."""
        self._names, self._values, self._blocks = [], [], []
        self._images = 0
        self.started = time.perf_counter()


def _read_step(number: int, names: tuple[str, ...], row: list[float], ranks: int) -> StepFigures:
    parts: dict[str, list[float]] = {}
    for name, value in zip(names, row, strict=True):
        parts.setdefault(name, []).append(value / ranks)
    figures = {name: sum(values) / len(values) for name, values in parts.items()}
    figures["train_top1"] *= 100
    worst, left_out = figures.pop(WORST, 0.0), figures.pop(LEFT_OUT, 0.0)
    return StepFigures(number, figures, worst, left_out != 0)


def _average(steps: list[StepFigures]) -> dict[str, float]:
    """Means over the steps that count; a figure that not every step has is 0 in the others."""
    counted = [step.figures for step in steps if not step.left_out]
    names = dict.fromkeys(name for step in steps for name in step.figures)
    if not counted:
        return dict.fromkeys(names, math.nan)
    return {name: sum(s.get(name, 0.0) for s in counted) / len(counted) for name in names}


class ForwardCounter:
    """Counts the images that pass through networks, with or without gradient.

    It counts on the device, which needs no synchronisation and works in a compiled step.
    """

    def __init__(self, device: torch.device) -> None:
        self.count = torch.zeros((), dtype=torch.int64, device=device)
        self.networks: list[nn.Module] = []

    def watch(self, network: nn.Module) -> None:
        """Count this network's forwards, too."""
        network.register_forward_pre_hook(self._add)
        self.networks.append(network)

    def _add(self, network: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.count.add_(len(inputs[0]))

    def take(self) -> int:
        """The images counted since the last call."""
        count = int(self.count)
        self.count.zero_()
        return count


def read_peak_memory(device: torch.device) -> int:
    """The most bytes that this process has used: on a GPU those of its tensors, else all memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
