"""The GPUs that a comparison's runs are spread over."""

import os
from collections import Counter

from ...recipe import Recipe

VISIBLE = "CUDA_VISIBLE_DEVICES"


class Cards:
    """Gives each run the GPU with the fewest runs at work, by its name in CUDA_VISIBLE_DEVICES.

    There are none to give where this process sees fewer than two.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self._at_work = Counter[str]()

    def take(self, recipe: Recipe) -> str | None:
        """A GPU for a run; None if there is nothing to choose, or the recipe names a device."""
        if len(self.names) < 2 or recipe.training.device not in ("auto", "cuda"):
            return None
        card = min(self.names, key=lambda name: self._at_work[name])  # the first of equal ones
        self._at_work[card] += 1
        return card

    def give_back(self, card: str | None) -> None:
        """A run on this GPU has ended."""
        if card is not None:
            self._at_work[card] -= 1


def list_visible_cards() -> list[str]:
    """The GPUs that this process sees, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    given = os.environ.get(VISIBLE)
    names = [str(n) for n in range(count)] if given is None else given.split(",")
    return [name.strip() for name in names[:count]]
