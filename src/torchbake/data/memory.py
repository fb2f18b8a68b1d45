"""Data sets that fit in memory: decoded once, kept as uint8, augmented as whole batches."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from .._shapes import Float, Int, Tensor, UInt8
from ..errors import UserError
from ..randomness import uniform_for
from ..recipe import DataRecipe
from .cache import cached
from .sources import Split
from .workers import leave_signals

LIMIT = 4.0 * 2**30
"""Bytes of pixels up to which a split is kept in memory without being told to."""


def decoded(
    split: Split,
    size: tuple[int, int],
    limit: float = LIMIT,
    workers: int = 0,
    progress: Callable[[int], None] = lambda done: None,
    cache: Path | None = None,
) -> UInt8[Tensor, "n ch h w"] | None:
    """All images of a split, or None if they are not all of this size (h, w) or too many.

    Args:
        limit: bytes of pixels that are too many.
        workers: processes that decode; 0 for this one alone.
        progress: called now and then with the number of images done.
        cache: the folder where images from files are kept decoded, see `cache.cached`; one that
            cannot be written to is not used.
    """
    if split.pixels is not None:
        return split.pixels if split.pixels.shape[2:] == size else None
    first = split.load(0)
    if first.shape[1:] != size or len(split) * first.numel() > limit:
        return None
    shape = (len(split), *first.shape)

    def fill(pixels: Tensor) -> bool:
        done = 0
        loader = DataLoader(
            _Parts(split, first.shape),
            batch_size=None,
            num_workers=workers,
            worker_init_fn=leave_signals,
        )
        for part in loader:
            if isinstance(part, str):
                raise UserError(part)
            if part is None:
                return False
            pixels[done : done + len(part)] = part
            done += len(part)
            progress(done)
        return True

    if cache is not None and split.files:
        with suppress(OSError):
            return cached(cache, split, shape, fill)
    pixels = torch.empty(shape, dtype=torch.uint8)
    return pixels if fill(pixels) else None


class _Parts(Dataset[UInt8[Tensor, "part ch h w"] | str | None]):
    """A split in parts of equally sized images; None for a part that has others.

    What is wrong with a file travels as text: an error that leaves a worker brings its traceback.
    """

    size = 500

    def __init__(self, split: Split, shape: torch.Size) -> None:
        self.split = split
        self.shape = shape

    def __len__(self) -> int:
        return -(-len(self.split) // self.size)

    def __getitem__(self, part: int) -> UInt8[Tensor, "part ch h w"] | str | None:
        indices = range(part * self.size, min((part + 1) * self.size, len(self.split)))
        try:
            images = [self.split.load(index) for index in indices]
        except UserError as error:
            return str(error)
        return torch.stack(images) if all(i.shape == self.shape for i in images) else None


def channel_statistics(pixels: UInt8[Tensor, "n ch h w"]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel on the scale from 0 to 1, exact."""
    means, deviations = [], []
    values = torch.arange(256, dtype=torch.float64)
    for channel in range(pixels.shape[1]):
        counts = torch.zeros(256, dtype=torch.float64)
        for part in pixels[:, channel].split(1000):
            counts += torch.bincount(part.flatten(), minlength=256)
        share = counts / counts.sum()
        mean = (share * values).sum()
        means.append(float(mean) / 255)
        deviations.append(float((share * (values - mean) ** 2).sum().sqrt()) / 255)
    return means, deviations


def normalised(
    pixels: UInt8[Tensor, "n ch h w"] | Float[Tensor, "n ch h w"],
    mean: Sequence[float],
    std: Sequence[float],
) -> Float[Tensor, "n ch h w"]:
    """Pixels from 0 to 255 as floats: (pixel / 255 − mean) / std of each channel."""
    shift = torch.tensor(mean, device=pixels.device).view(-1, 1, 1) * 255
    scale = torch.tensor(std, device=pixels.device).view(-1, 1, 1) * 255
    return pixels.to(torch.float32, copy=True).sub_(shift).div_(scale)


def augmented(
    pixels: UInt8[Tensor, "n ch h w"], recipe: DataRecipe, random: Float[Tensor, "n numbers"]
) -> UInt8[Tensor, "n ch h w"]:
    """Shifted and flipped, each image by its own random numbers; what a shift uncovers is black.

    Args:
        random: in [0, 1), `NUMBERS` columns.
    """
    n, channels, height, width = pixels.shape
    rows = torch.arange(height, device=pixels.device).expand(n, -1)
    columns = torch.arange(width, device=pixels.device).expand(n, -1)
    if recipe.flip:
        columns = torch.where(random[:, 2:3] < 0.5, columns.flip(1), columns)
    if recipe.crop == "pad" and recipe.padding:
        pad = recipe.padding
        pixels = F.pad(pixels, (pad, pad, pad, pad))
        rows = rows + (random[:, 0:1] * (2 * pad + 1)).long()
        columns = columns + (random[:, 1:2] * (2 * pad + 1)).long()
    # Where each pixel comes from, as a place in its (padded) channel.
    places = (rows[:, :, None] * pixels.shape[3] + columns[:, None, :]).view(n, 1, height * width)
    moved = pixels.flatten(2).gather(2, places.expand(-1, channels, -1))
    return moved.view(n, channels, height, width)


def cut_out(
    images: Float[Tensor, "n ch h w"], side: int, random: Float[Tensor, "n numbers"]
) -> Float[Tensor, "n ch h w"]:
    """Zero (the mean, in normalised images) in a square whose centre is anywhere in the image.

    Cutout (DeVries and Taylor, arXiv 1708.04552); the square may reach beyond the border.
    """
    height, width = images.shape[2:]
    top = (random[:, 3:4] * height).long() - side // 2
    left = (random[:, 4:5] * width).long() - side // 2
    y = torch.arange(height, device=images.device)
    x = torch.arange(width, device=images.device)
    inside_y = (y >= top) & (y < top + side)
    inside_x = (x >= left) & (x < left + side)
    return images.masked_fill((inside_y[:, :, None] & inside_x[:, None, :])[:, None], 0)


NUMBERS = 5
"""Random numbers that an image needs: two for the shift, one for the flip, two for cutout."""


def augmentation_numbers(
    images: Int[Tensor, " n"],
    views: Int[Tensor, " n"],
    seed: int,
    epoch: int,
    count: int = NUMBERS,
) -> Float[Tensor, "n count"]:
    """Random numbers of each image's view in an epoch, a pure function of all of these."""
    return uniform_for(images, views, count, "augment", seed, epoch)
