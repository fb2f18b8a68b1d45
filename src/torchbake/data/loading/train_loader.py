"""Augmented batches of a sampler, from memory or streamed through worker processes."""

from collections.abc import Iterator

import torch

from ..._shapes import Float, Int, Tensor, UInt8
from ...batch import Batch
from ...sampling.class_groups import ClassGroupedBatchSampler
from ..augment.colour import change_colours
from ..augment.geometry import cut_out, draw_numbers, shift_and_flip
from ..augment.normalise import normalise
from .open_data import Data
from .streaming import Key, Stream, check_pixels, make_stream_loader

AHEAD, AHEAD_VALUES = 32, 2**25
"""Batches, and pixels' values, that are made at once of images in an accelerator's memory."""


class TrainLoader:
    """Batches of a sampler, augmented: each a pure function of (seed, epoch, its number).

    How an image is augmented depends on the seed, the epoch, the image and its occurrence in the
    epoch alone, so that every method sees the same images.

    Args:
        views: differently augmented copies of each image, see `Batch.images`.
    """

    def __init__(
        self,
        data: Data,
        sampler: ClassGroupedBatchSampler,
        device: torch.device,
        seed: int,
        views: int = 1,
    ) -> None:
        self.data = data
        self.sampler = sampler
        self.device = device
        self.seed = seed
        self.views = views
        self.labels = data.source.train.labels.to(device)
        self.pixels = None if data.pixels is None else data.pixels[0].to(device)
        # On an accelerator a small batch costs hardly more than being asked for: many at a time.
        values = sampler.batch_size * views * data.channels * data.image_size**2
        self.ahead = 1 if device.type == "cpu" else max(1, min(AHEAD, AHEAD_VALUES // values))
        self._keys = _Keys()
        if self.pixels is None:
            stream = Stream(data.source.train, data.recipe, data.channels, data.image_size, seed)
            self._loader = make_stream_loader(
                stream, self._keys, data.workers, device, persistent=True
            )

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
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
            yield Batch(images, self.labels[rows], rows)

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
            yield indices, views, check_pixels(pixels)

    def _numbers(self, epoch: int) -> list[tuple[Int[Tensor, " n"], Int[Tensor, " n_views"]]]:
        """Of each batch, the images, and all their first views' numbers, then the second, …"""
        return [
            (indices, torch.cat([before * self.views + view for view in range(self.views)]))
            for indices, before in self.sampler.numbered_batches(epoch)
        ]

    def _from_memory(
        self, numbers: list[tuple[Int[Tensor, " n"], Int[Tensor, " n_views"]]], epoch: int
    ) -> Iterator[Batch]:
        """Batches that are gathered and augmented all at once."""
        assert self.pixels is not None
        sizes = [len(indices) for indices, _ in numbers]
        rows = torch.cat([indices for indices, _ in numbers]).to(self.device)
        repeated = torch.cat([indices.repeat(self.views) for indices, _ in numbers])
        repeated = repeated.to(self.device)
        views = torch.cat([views for _, views in numbers]).to(self.device)
        images = self._finished(self.pixels[repeated], repeated, views, epoch)
        yield from map(
            Batch,
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
        random = draw_numbers(indices, views, self.seed, epoch)
        if self.pixels is not None:
            pixels = shift_and_flip(pixels, recipe, random)
        if recipe.color_jitter or recipe.lighting:
            pixels = change_colours(pixels.float(), recipe, indices, views, self.seed, epoch)
        images = normalise(pixels, self.data.mean, self.data.std)
        return cut_out(images, recipe.cutout, random) if recipe.cutout else images


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
