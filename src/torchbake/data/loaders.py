"""Images on their way to the model: from memory, or streamed through worker processes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from .._shapes import Float, Int, Tensor, UInt8
from ..errors import UserError
from ..recipe import DataRecipe
from ..sampling import ClassGroupedBatchSampler
from .cache import cache_folder
from .colour import coloured
from .memory import (
    LIMIT,
    augmentation_numbers,
    augmented,
    channel_statistics,
    cut_out,
    decoded,
    normalised,
)
from .sources import Source, Split, open_source
from .streaming import Key, Stream, middle, share_tested, stream_loader
from .subsets import restricted
from .workers import usual_workers

IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]

AHEAD, AHEAD_VALUES = 32, 2**25
"""Batches, and pixels' values, that are made at once of images in an accelerator's memory."""


class Labelled(NamedTuple):
    """A batch on its device: normalised images, labels, and the images' numbers in their split."""

    images: Float[Tensor, "n_views ch h w"]
    labels: Int[Tensor, " n"]
    indices: Int[Tensor, " n"]


@dataclass(frozen=True, eq=False)
class Data:
    """A data set that is ready to be trained on.

    Attributes:
        image_size: height and width of what the model is given, in pixels.
        mean, std: of each channel, on the scale from 0 to 1.
        pixels: the training and the test images, where they are in memory.
    """

    recipe: DataRecipe
    source: Source
    image_size: int
    channels: int
    mean: list[float]
    std: list[float]
    pixels: tuple[UInt8[Tensor, "n ch h w"], UInt8[Tensor, "m ch h w"]] | None

    @property
    def workers(self) -> int:
        """Processes that decode."""
        return usual_workers() if self.recipe.workers is None else self.recipe.workers

    def test_batches(
        self, batch_size: int, device: torch.device, rank: int = 0, world_size: int = 1
    ) -> Iterator[Labelled]:
        """This rank's share of the test images, in order, as they are."""
        test = self.source.test
        own = torch.arange(len(test))[rank::world_size]
        yield from self.plain_batches(test, own, batch_size, device)

    def plain_batches(
        self, split: Split, indices: Int[Tensor, " k"], batch_size: int, device: torch.device
    ) -> Iterator[Labelled]:
        """These images of a split, in this order, as they are: nothing random is done to them.

        Args:
            split: of this data set, or other images of as many channels.
        """
        parts = indices.split(batch_size) if len(indices) else ()
        own = (self.source.train, self.source.test)
        if self.pixels is not None and split in own:
            pixels, share = self.pixels[own.index(split)], share_tested(self.recipe)
            for part in parts:
                seen = middle(pixels[part], self.image_size, share) if share < 1 else pixels[part]
                yield self._labelled(split, seen, part, device)
            return
        stream = Stream(split, self.recipe, self.channels, self.image_size, None)
        keys = [Key(0, part.tolist(), []) for part in parts]
        loader = stream_loader(stream, keys, self.workers, device)
        for part, streamed in zip(parts, loader, strict=True):
            yield self._labelled(split, _checked(streamed), part, device)

    def _labelled(
        self, split: Split, pixels: Tensor, indices: Tensor, device: torch.device
    ) -> Labelled:
        images = normalised(pixels.to(device, non_blocking=True), self.mean, self.std)
        labels = split.labels[indices]
        return Labelled(images, labels.to(device), indices.to(device))


def prepare(recipe: DataRecipe, progress: Callable[[str, int, int], None]) -> Data:
    """Open a data set, and decode it into memory if it is to be kept there.

    Args:
        progress: called with a split's name, images decoded and their number.

    Raises:
        UserError: see `open_source` and `restricted`; images of different sizes without
            `image_size`, or of another one though `in_memory` is true; lighting of grey images.
    """
    source = restricted(open_source(recipe), recipe)
    first = source.train.load(0)
    channels, height, width = first.shape
    size = recipe.image_size or height
    if recipe.image_size is None and height != width:
        raise UserError(
            f"data.image_size: give one: the images of '{recipe.name}' are not square, the first "
            f"has {height} × {width} pixels"
        )
    if recipe.lighting and channels != 3:
        raise UserError(f"data.lighting: needs images of 3 channels, these have {channels}")
    pixels = None
    if recipe.in_memory is not False and recipe.crop != "resized":
        limit = math.inf if recipe.in_memory else LIMIT

        def pixels_of(split: Split, name: str) -> Tensor | None:
            return decoded(
                split,
                (size, size),
                limit,
                usual_workers() if recipe.workers is None else recipe.workers,
                lambda n: progress(name, n, len(split)),
                cache_folder() if recipe.cache else None,
            )

        train = pixels_of(source.train, "training")
        test = None if train is None else pixels_of(source.test, "test")
        if train is not None and test is not None:
            pixels = train, test
    if pixels is None and recipe.in_memory:
        raise UserError(
            f"data.in_memory: the images of '{recipe.name}' are not all of {size} × {size} pixels"
        )
    if pixels is None and recipe.image_size is None:
        raise UserError(f"data.image_size: give one: the images of '{recipe.name}' differ in size")
    mean, std = _statistics(recipe, channels, None if pixels is None else pixels[0])
    return Data(recipe, source, size, channels, mean, std, pixels)


def _statistics(
    recipe: DataRecipe, channels: int, pixels: Tensor | None
) -> tuple[list[float], list[float]]:
    if recipe.mean is not None and recipe.std is not None:
        if len(recipe.mean) != channels or len(recipe.std) != channels:
            raise UserError(
                f"data.mean: expected {channels} value(s), one a channel, as in data.std"
            )
        return list(recipe.mean), list(recipe.std)
    if pixels is not None:
        mean, std = channel_statistics(pixels)
        return mean, [max(s, 1e-3) for s in std]
    if channels == 1:
        return [sum(IMAGENET_MEAN) / 3], [sum(IMAGENET_STD) / 3]
    return IMAGENET_MEAN, IMAGENET_STD


class TrainLoader:
    """Batches of a sampler, augmented: each a pure function of (seed, epoch, its number).

    How an image is augmented depends on the seed, the epoch, the image and its occurrence in the
    epoch alone, so that every method sees the same images.

    Args:
        views: differently augmented copies of each image, see `Labelled.images`.
        dtype, memory_format: of the images; None is float32.
    """

    def __init__(
        self,
        data: Data,
        sampler: ClassGroupedBatchSampler,
        device: torch.device,
        seed: int,
        views: int = 1,
        dtype: torch.dtype | None = None,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.data = data
        self.sampler = sampler
        self.device = device
        self.seed = seed
        self.views = views
        self.dtype = dtype or torch.float32
        self.memory_format = memory_format
        self.labels = data.source.train.labels.to(device)
        self.pixels = None if data.pixels is None else data.pixels[0].to(device)
        # On an accelerator a small batch costs hardly more than being asked for: many at a time.
        values = sampler.batch_size * views * data.channels * data.image_size**2
        self.ahead = 1 if device.type == "cpu" else max(1, min(AHEAD, AHEAD_VALUES // values))
        self._keys = _Keys()
        if self.pixels is None:
            stream = Stream(data.source.train, data.recipe, data.channels, data.image_size, seed)
            self._loader = stream_loader(stream, self._keys, data.workers, device, persistent=True)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Labelled]:
        """The batches of an epoch from number `start` on."""
        if self.pixels is not None:
            numbers = self._numbers(epoch)[start:]
            for first in range(0, len(numbers), self.ahead):
                yield from self._from_memory(numbers[first : first + self.ahead], epoch)
            return
        for indices, views, pixels in self.streamed(epoch, start):
            on_device = pixels.to(self.device, non_blocking=True)
            rows, views = indices.to(self.device), views.to(self.device)
            images = self._finished(on_device, rows.repeat(self.views), views, epoch)
            yield Labelled(images, self.labels[rows], rows)

    def streamed(
        self, epoch: int, start: int = 0
    ) -> Iterator[
        tuple[Int[Tensor, " n"], Int[Tensor, " n_views"], UInt8[Tensor, "n_views ch h w"]]
    ]:
        """Images' numbers, those of their views, and their pixels, as workers decode them."""
        numbers = self._numbers(epoch)[start:]
        self._keys.epoch = epoch
        self._keys.batches = [(indices.repeat(self.views), views) for indices, views in numbers]
        for (indices, views), pixels in zip(numbers, self._loader, strict=True):
            yield indices, views, _checked(pixels)

    def _numbers(self, epoch: int) -> list[tuple[Int[Tensor, " n"], Int[Tensor, " n_views"]]]:
        """Of each batch, the images, and all their first views' numbers, then the second, …"""
        return [
            (indices, torch.cat([before * self.views + view for view in range(self.views)]))
            for indices, before in self.sampler.numbered_batches(epoch)
        ]

    def _from_memory(
        self, numbers: list[tuple[Int[Tensor, " n"], Int[Tensor, " n_views"]]], epoch: int
    ) -> Iterator[Labelled]:
        """Batches that are gathered and augmented all at once."""
        assert self.pixels is not None
        sizes = [len(indices) for indices, _ in numbers]
        rows = torch.cat([indices for indices, _ in numbers]).to(self.device)
        repeated = torch.cat([indices.repeat(self.views) for indices, _ in numbers])
        repeated = repeated.to(self.device)
        views = torch.cat([views for _, views in numbers]).to(self.device)
        images = self._finished(self.pixels[repeated], repeated, views, epoch)
        yield from map(
            Labelled,
            images.split([size * self.views for size in sizes]),
            self.labels[rows].split(sizes),
            rows.split(sizes),
        )

    def _finished(
        self,
        pixels: UInt8[Tensor, "n ch h w"],
        indices: Int[Tensor, " n"],
        views: Int[Tensor, " n"],
        epoch: int,
    ) -> Float[Tensor, "n ch h w"]:
        """Augmented, as far as worker processes have not done it, and normalised."""
        recipe = self.data.recipe
        random = augmentation_numbers(indices, views, self.seed, epoch)
        if self.pixels is not None:
            pixels = augmented(pixels, recipe, random)
        if recipe.color_jitter or recipe.lighting:
            pixels = coloured(pixels.float(), recipe, indices, views, self.seed, epoch)
        images = normalised(pixels, self.data.mean, self.data.std)
        if recipe.cutout:
            images = cut_out(images, recipe.cutout, random)
        return images.to(self.dtype, memory_format=self.memory_format)


class _Keys:
    """The keys of the epoch at hand, as a sampler."""

    def __init__(self) -> None:
        self.epoch = 0
        self.batches: list[tuple[Tensor, Tensor]] = []  # images, views

    def __iter__(self) -> Iterator[Key]:
        for images, views in self.batches:
            yield Key(self.epoch, images.tolist(), views.tolist())

    def __len__(self) -> int:
        return len(self.batches)


def _checked(pixels: Tensor | str) -> Tensor:
    if isinstance(pixels, str):
        raise UserError(pixels)
    return pixels
