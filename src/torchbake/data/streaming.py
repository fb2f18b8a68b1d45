"""Images that are decoded while training goes on, in worker processes, batch by batch."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as F

from .._shapes import Tensor, UInt8
from ..errors import UserError
from ..recipe import DataRecipe
from .decoding import decode, image_size
from .memory import NUMBERS, augmentation_numbers, augmented
from .sources import Split
from .workers import leave_signals

ATTEMPTS = 10
"""Boxes that are tried for a random part of an image, as torchvision's RandomResizedCrop does."""


class Key(NamedTuple):
    """A batch that is wanted: which images, which view of each, and in which epoch."""

    epoch: int
    images: list[int]
    views: list[int]


class Stream(Dataset[UInt8[Tensor, "n ch h w"] | str]):
    """Batches of a split, named by `Key`, decoded and brought to one size.

    Where the recipe wants random parts, a part is decoded at 1/2, 1/4 or 1/8 of the scale as long
    as it has as many pixels as are wanted. What is wrong with a file travels as text: an error
    that leaves a worker brings its traceback.

    Args:
        size: height and width of the images that are wanted.
        seed: of the augmentation; None for none, as for testing.
    """

    def __init__(
        self, split: Split, recipe: DataRecipe, channels: int, size: int, seed: int | None
    ) -> None:
        self.split = split
        self.recipe = recipe
        self.channels = channels
        self.size = size
        self.seed = seed

    def __getitem__(self, key: Key) -> UInt8[Tensor, "n ch h w"] | str:
        shape = (len(key.images), self.channels, self.size, self.size)
        batch = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
        random = None
        if self.seed is not None:
            images, views = torch.tensor(key.images), torch.tensor(key.views)
            count = NUMBERS + 2 * ATTEMPTS
            random = augmentation_numbers(images, views, self.seed, key.epoch, count)
        in_parts = random is not None and self.recipe.crop == "resized"
        try:
            for row, index in enumerate(key.images):
                if random is not None and in_parts:
                    batch[row] = self._random_part(index, random[row].tolist())
                else:
                    batch[row] = self._middle(self.split.load(index))
        except UserError as error:
            return str(error)
        return batch if random is None or in_parts else augmented(batch, self.recipe, random)

    def _middle(self, pixels: UInt8[Tensor, "ch h w"]) -> UInt8[Tensor, "ch size size"]:
        return middle(
            pixels, self.size, 1.0 if self.seed is not None else share_tested(self.recipe)
        )

    def _random_part(self, index: int, numbers: list[float]) -> UInt8[Tensor, "ch size size"]:
        size, encoded = self.size, self.split.encoded
        if encoded is None:
            pixels = self.split.load(index)
            box = random_box(pixels.shape[1], pixels.shape[2], numbers, self.recipe.min_scale)
        else:
            content, name = encoded(index)
            height, width = image_size(content, name)
            box = random_box(height, width, numbers, self.recipe.min_scale)
            reduction = next((r for r in (8, 4, 2) if min(box[2:]) >= r * size), 1)
            pixels = decode(content, self.channels, name, reduction)
            if pixels.shape[1:] != (height, width):
                box = _scaled(box, pixels.shape[1] / height, pixels.shape[2] / width)
        # Resizing is twice as fast where colours lie together.
        part = F.crop(pixels[None], *box).contiguous(memory_format=torch.channels_last)
        part = F.resize(part, [size, size], antialias=True)[0]
        return part.flip(2) if self.recipe.flip and numbers[2] < 0.5 else part


def share_tested(recipe: DataRecipe) -> float:
    """The share of a test image's shorter side that the model is given."""
    if recipe.crop_pct is not None:
        return recipe.crop_pct
    return 0.875 if recipe.crop == "resized" else 1.0


def middle(
    pixels: UInt8[Tensor, "*n ch h w"], size: int, share: float
) -> UInt8[Tensor, "*n ch size size"]:
    """The middle square of images, of which it has this share of the shorter side, resized."""
    return F.center_crop(F.resize(pixels, [round(size / share)], antialias=True), [size])


def random_box(
    height: int, width: int, numbers: list[float], min_scale: float
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part of an image.

    Its area is uniform between `min_scale` of the image's and all, the logarithm of its aspect
    ratio between those of 3/4 and 4/3; if no attempt fits, the middle with the nearest ratio
    (Szegedy et al., arXiv 1409.4842, section 6; torchvision's RandomResizedCrop).

    Args:
        numbers: in [0, 1): the first two are for its place, those from `NUMBERS` on, two an
            attempt, for area and ratio.
    """
    for attempt in range(ATTEMPTS):
        first, second = numbers[NUMBERS + 2 * attempt : NUMBERS + 2 * attempt + 2]
        area = height * width * (min_scale + (1 - min_scale) * first)
        ratio = math.exp((2 * second - 1) * math.log(4 / 3))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(numbers[0] * (height - h + 1)), int(numbers[1] * (width - w + 1))
            return top, left, h, w
    h = min(height, max(1, round(width * 4 / 3)))
    w = min(width, max(1, round(height * 4 / 3)))
    return (height - h) // 2, (width - w) // 2, h, w


def _scaled(
    box: tuple[int, int, int, int], vertical: float, horizontal: float
) -> tuple[int, int, int, int]:
    """A box of an image in the pixels of a smaller one."""
    top, left = round(box[0] * vertical), round(box[1] * horizontal)
    bottom = max(round((box[0] + box[2]) * vertical), top + 1)
    right = max(round((box[1] + box[3]) * horizontal), left + 1)
    return top, left, bottom - top, right - left


def stream_loader(
    stream: Stream,
    keys: Iterable[Key],
    workers: int,
    device: torch.device,
    *,
    persistent: bool = False,
) -> DataLoader[UInt8[Tensor, "n ch h w"] | str]:
    """A loader of the batches that `keys` names, by so many processes.

    Args:
        persistent: keep the processes for another round of `keys`.
    """
    return DataLoader(
        stream,
        sampler=keys,
        batch_size=None,
        num_workers=workers,
        persistent_workers=persistent and workers > 0,
        worker_init_fn=leave_signals,
        pin_memory=device.type == "cuda",
    )
