"""Figures of training since the last record, kept on the device until they are read."""

import resource
import sys
import time
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from .._shapes import Float, Int, Tensor
from ..methods import Step
from .distributed import Ranks


class Meters:
    """Sums over the images of a few steps: the loss and its terms, and the right predictions."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.sums: dict[str, Tensor] = {}
        self.images = 0
        self.started = time.perf_counter()

    def add(self, step: Step, labels: Int[Tensor, " n"]) -> None:
        """Add one step of this rank."""
        n = len(labels)
        own = labels if step.labels is None else step.labels
        right = (step.logits.detach().argmax(dim=1) == own).float().mean()
        values = {"loss": step.loss.detach() * n, "train_top1": 100.0 * right * n}
        values |= {name: term.detach() * n for name, term in step.terms.items()}
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0) + value
        self.images += n

    def close(self) -> tuple[dict[str, float], int, float]:
        """Means over the images of all ranks, their number, and the seconds; then start anew."""
        names = list(self.sums)
        sums = torch.stack([self.sums[name].float() for name in names])
        images = sums.new_full((1,), self.images)  # which is no copy from the host
        summed: Float[Tensor, " terms_1"] = torch.cat([sums, images])
        if self.ranks.world_size > 1:
            dist.all_reduce(summed)
        *values, total = summed.tolist()  # the one moment at which the device is waited for
        seconds = time.perf_counter() - self.started
        self.restart()
        means = {name: value / total for name, value in zip(names, values, strict=True)}
        return means, round(total), seconds

    def restart(self) -> None:
        """Forget the sums, and count the time from now."""
        self.sums = {}
        self.images = 0
        self.started = time.perf_counter()


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
