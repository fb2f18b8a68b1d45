"""Whether an export gives what the trained network gives: both run on the same test images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from .._shapes import Float, Tensor
from ..inference.programs import Program

if TYPE_CHECKING:
    from PIL import Image

    from ..data.sources.base import Split

BATCH = 64
LISTED = 20  # images that disagree, by number
ROUNDING = 1e-6
"""Difference of two probabilities that another order of float32 operations may turn around."""


@dataclass
class Agreement:
    """What was compared, image by image.

    Attributes:
        images: number compared.
        agreeing: number whose most probable class is the same, ties included.
        ties: number whose two most probable classes differ by no more than rounding does, and
            whose most probable class is not the same.
        largest_difference: between two probabilities of one image and class.
        disagreeing: the first images whose most probable class is another, by number.
    """

    images: int = 0
    agreeing: int = 0
    ties: int = 0
    largest_difference: float = 0.0
    disagreeing: list[int] = field(default_factory=list)

    def add(self, expected: Float[Tensor, "n c"], got: Float[Tensor, "n c"]) -> None:
        """Count a batch of probabilities."""
        best, chosen = expected.max(dim=1), got.argmax(dim=1)
        finite = got.isfinite().all(dim=1)  # of what is no number, no class is most probable
        same = finite & (best.indices == chosen)
        behind = best.values - expected.gather(1, chosen[:, None])[:, 0]
        tied = finite & ~same & (behind <= ROUNDING)
        others = (self.images + (~(same | tied)).nonzero()[:, 0]).tolist()
        self.disagreeing += others[: LISTED - len(self.disagreeing)]
        difference = float((expected - got).abs().max())
        # A comparison with NaN is false: no later number hides it.
        if not difference <= self.largest_difference:
            self.largest_difference = difference
        self.images += len(same)
        self.ties += int(tied.sum())
        self.agreeing += int((same | tied).sum())

    def describe(self) -> str:
        """In one line."""
        ties = f" ({self.ties:,} of them ties)" if self.ties else ""
        return (
            f"top-1 agrees on {self.agreeing:,} of {self.images:,} test images{ties}; largest "
            f"difference of a probability {self.largest_difference:.2g}"
        )


def run_on_pictures(program: Program, split: Split) -> Iterator[Tensor]:
    """A program's output (n, c) for the decoded pictures of a split, in order.

    Neighbours of one size go in one batch.
    """
    waiting: list[Tensor] = []
    for number in range(len(split)):
        picture = split.load(number).permute(1, 2, 0)
        if waiting and (len(waiting) == BATCH or waiting[0].shape != picture.shape):
            yield program(torch.stack(waiting))
            waiting = []
        waiting.append(picture)
    if waiting:
        yield program(torch.stack(waiting))


def run_on_transformed(
    program: Program, split: Split, transform: Callable[[Image.Image], Tensor]
) -> Iterator[Tensor]:
    """A program's output (n, c) for the pictures of a split, which `transform` makes ready."""
    from torchvision.transforms.v2.functional import to_pil_image

    for numbers in torch.arange(len(split)).split(BATCH):
        pictures = [to_pil_image(split.load(int(number))) for number in numbers]
        yield program(torch.stack([transform(picture) for picture in pictures]))


def compare_probabilities(expected: Iterable[Tensor], got: Iterable[Tensor]) -> Agreement:
    """Compare two passes over the same images: batches (n, c), which need not be of one size."""
    agreement = Agreement()
    have_expected, have_got = iter(expected), iter(got)
    left: Tensor | None = None
    for part in have_got:
        while left is None or len(left) < len(part):
            more = next(have_expected)
            left = more if left is None else torch.cat([left, more])
        agreement.add(left[: len(part)], part)
        left = left[len(part) :]
    return agreement
