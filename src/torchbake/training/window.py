"""Figures of the training since the last record, kept on the device until they are read."""

import time

import torch
import torch.distributed as dist

from .._shapes import Float, Int, Tensor
from ..methods import Step
from .distributed import Ranks


class Window:
    """Sums over the images of a few steps: the loss and its terms, and how many were right."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.sums: dict[str, Tensor] = {}
        self.images = 0
        self.started = time.perf_counter()

    def add(self, step: Step, labels: Int[Tensor, " n"]) -> None:
        """Count one step of this rank's."""
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
        images = torch.tensor(float(self.images), device=sums.device)
        summed: Float[Tensor, " terms_1"] = torch.cat([sums, images[None]])
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
