"""Data sets that come as arrays of pixels: the digits and CIFAR."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from filelock import FileLock

from ...errors import UserError
from ...randomness import make_generator
from .base import Source
from .splits import make_array_split

if TYPE_CHECKING:
    from ...recipe import DataRecipe


DIGITS_TRAIN = 300
"""Training images of `digits`, 30 of each class; the other 1,497 are for testing."""


def open_digits(place: str, recipe: "DataRecipe") -> Source:
    """1,797 handwritten digits, 8×8, of the UCI repository, as scikit-learn ships them.

    The training images are the first 30 of each class in a fixed random order.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    labels = torch.from_numpy(digits.target).long()
    # Values from 0 to 16.
    pixels = (torch.from_numpy(digits.images) * (255 / 16)).round().to(torch.uint8)[:, None]
    order = torch.randperm(len(labels), generator=make_generator("digits"))
    by_class = [order[labels[order] == c] for c in range(10)]
    share = DIGITS_TRAIN // 10
    train = torch.cat([members[:share] for members in by_class])
    test = torch.cat([members[share:] for members in by_class])
    return Source(
        make_array_split(pixels[train], labels[train], recipe),
        make_array_split(pixels[test], labels[test], recipe),
        [str(c) for c in range(10)],
    )


def make_cifar_opener(name: str) -> Callable[[str, "DataRecipe"], Source]:
    def open_cifar(place: str, recipe: "DataRecipe") -> Source:
        """CIFAR by its publisher's archive, downloaded into `data.folder` if it is not there."""
        from torchvision import datasets

        splits = []
        for train in (True, False):
            try:
                Path(recipe.folder).mkdir(parents=True, exist_ok=True)
                # Ranks that start together download once.
                with FileLock(Path(recipe.folder) / ".download.lock"):
                    dataset = getattr(datasets, name)(recipe.folder, train=train, download=True)
            except Exception as error:
                raise UserError(
                    f"{recipe.name}: neither found in '{recipe.folder}' (data.folder) nor "
                    f"downloaded: {str(error) or type(error).__name__}; you can use Parquet files "
                    "of it instead: data.name parquet:GLOB"
                ) from error
            pixels = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()
            splits.append(make_array_split(pixels, torch.tensor(dataset.targets), recipe))
        return Source(splits[0], splits[1], list(dataset.classes))

    return open_cifar


open_cifar10 = make_cifar_opener("CIFAR10")
open_cifar100 = make_cifar_opener("CIFAR100")
