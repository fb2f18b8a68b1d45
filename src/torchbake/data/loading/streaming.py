"""Images that are decoded while training goes on, in worker processes, batch by batch."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from ..._shapes import Tensor, UInt8
from ...errors import UserError
from ...recipe import DataRecipe
from ..augment.geometry import (
    ATTEMPTS,
    NUMBERS,
    _scale_box,
    choose_crop_share,
    crop_middle,
    draw_box,
    draw_numbers,
    shift_and_flip,
)
from ..sources.base import Split
from ..sources.decoding import decode, read_size
from .workers import leave_signals


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
        import torchvision.transforms.v2.functional  # noqa: F401 (once for all workers)

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
            random = draw_numbers(images, views, self.seed, key.epoch, count)
        in_parts = random is not None and self.recipe.crop == "resized"
        try:
            for row, index in enumerate(key.images):
                if random is not None and in_parts:
                    batch[row] = self._random_part(index, random[row].tolist())
                else:
                    batch[row] = self._middle(self.split.load(index))
        except UserError as error:
            return str(error)
        return batch if random is None or in_parts else shift_and_flip(batch, self.recipe, random)

    def _middle(self, pixels: UInt8[Tensor, "ch h w"]) -> UInt8[Tensor, "ch size size"]:
        return crop_middle(
            pixels, self.size, 1.0 if self.seed is not None else choose_crop_share(self.recipe)
        )

    def _random_part(self, index: int, numbers: list[float]) -> UInt8[Tensor, "ch size size"]:
        size, encoded = self.size, self.split.encoded
        if encoded is None:
            pixels = self.split.load(index)
            box = draw_box(pixels.shape[1], pixels.shape[2], numbers, self.recipe.min_scale)
        else:
            content, name = encoded(index)
            height, width = read_size(content, name)
            box = draw_box(height, width, numbers, self.recipe.min_scale)
            reduction = next((r for r in (8, 4, 2) if min(box[2:]) >= r * size), 1)
            pixels = decode(content, self.channels, name, reduction)
            if pixels.shape[1:] != (height, width):
                box = _scale_box(box, pixels.shape[1] / height, pixels.shape[2] / width)
        from torchvision.transforms.v2 import functional as F

        # Resizing is twice as fast where colours lie together.
        part = F.crop(pixels[None], *box).contiguous(memory_format=torch.channels_last)
        part = F.resize(part, [size, size], antialias=True)[0]
        return part.flip(2) if self.recipe.flip and numbers[2] < 0.5 else part


def make_stream_loader(
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


def check_pixels(pixels: Tensor | str) -> Tensor:
    if isinstance(pixels, str):
        raise UserError(pixels)
    return pixels
