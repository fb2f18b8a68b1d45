"""Which images are wanted, and how often each has been augmented before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..._shapes import Float, Int, Tensor
from ...randomness import draw_uniform
from ..transfer import copy_to


@dataclass(frozen=True, eq=False)
class Views:
    """Images as they are augmented once: all that the random numbers of augmentation depend on.

    Attributes:
        indices: positions of the images in their split, one a row of a batch.
        occurrences: how often the epoch had each row's image before.
        epoch, seed: of the run.
    """

    indices: Int[Tensor, " n"]
    occurrences: Int[Tensor, " n"]
    epoch: int
    seed: int

    def draw(self, purpose: str, count: int) -> Float[Tensor, "n count"]:
        """Uniform numbers in [0, 1): a row depends on its view, the seed and the purpose alone."""
        key = (purpose, self.seed, self.epoch)
        return draw_uniform(self.indices, self.occurrences, count, *key)

    def to(self, device: torch.device) -> "Views":
        both = copy_to(torch.stack([self.indices, self.occurrences]), device)  # one copy
        return Views(both[0], both[1], self.epoch, self.seed)

    def __reduce__(self) -> tuple[Callable[..., "Views"], tuple[Any, ...]]:
        # By value: torch would pass each tensor to a worker process as a file of shared memory.
        return _restore, (self.indices.numpy(), self.occurrences.numpy(), self.epoch, self.seed)


def join_views(parts: Sequence[Views]) -> Views:
    """The rows of these, which are of one epoch, one after the other."""
    if len(parts) == 1:
        return parts[0]
    indices = torch.cat([part.indices for part in parts])
    occurrences = torch.cat([part.occurrences for part in parts])
    return Views(indices, occurrences, parts[0].epoch, parts[0].seed)


def _restore(indices: Any, occurrences: Any, epoch: int, seed: int) -> Views:
    return Views(torch.from_numpy(indices), torch.from_numpy(occurrences), epoch, seed)
