"""Augmented batches of a sampler, from memory or streamed through worker processes."""

from collections.abc import Iterator

import torch

from ..._shapes import Float, Tensor, UInt8
from ...batch import Batch
from ...sampling.class_groups import ClassGroupedBatchSampler
from ..augment.colour import change_colours, make_constants
from ..augment.geometry import cut_out, draw_geometry, shift_and_flip
from ..augment.normalise import normalise
from ..augment.policies import apply_policy, erase
from ..augment.views import Views, join_views
from ..transfer import copy_to, pick_rows, runs_beside_host
from .ahead import Ahead, prefetch
from .open_data import Data
from .placement import place_pixels
from .streaming import Stream, check_pixels, make_stream_loader

AHEAD, AHEAD_VALUES = 32, 2**25
"""Batches, and pixels' values, that are made at once of images in an accelerator's memory."""


class TrainLoader:
    """Batches of a sampler, augmented: each a pure function of (seed, epoch, its number).

    How an image is augmented depends on the seed, the epoch, the image and its occurrence in the
    epoch alone, so that every method sees the same images.

    Args:
        views: differently augmented copies of each image, see `Batch.images`.

    Attributes:
        pixels: the training images where they are in memory: on the device, or on the host if the
            device has too little memory.
        note: a line on the latter.
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
        self.pixels: Tensor | None = None
        self.note: str | None = None
        if data.pixels is not None:
            self.pixels, self.note = place_pixels(data.pixels[0], device)
        # Each is a copy that the device is waited for, so they are made once.
        self._mean, self._std = (torch.tensor(v, device=device) for v in (data.mean, data.std))
        self._colours = make_constants(device)
        # On an accelerator a small batch costs hardly more than being asked for: many at a time.
        values = sampler.batch_size * views * data.channels * data.image_size**2
        self.ahead = 1 if device.type == "cpu" else max(1, min(AHEAD, AHEAD_VALUES // values))
        self._views = Ahead[list[Views]]()
        self._wanted = _Wanted()
        if self.pixels is None:
            stream = Stream(data.source.train, data.recipe, data.channels, data.image_size)
            self._loader = make_stream_loader(
                stream, self._wanted, data.workers, device, persistent=True
            )

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on."""
        for number, batch in enumerate(prefetch(self._batches(epoch, start), self.device)):
            if not number and runs_beside_host(self.device):
                # Not before a batch is there: by then worker processes are forked.
                self._views.begin(self._list_views, epoch + 1)
            yield batch

    def _batches(self, epoch: int, start: int) -> Iterator[Batch]:
        if self.pixels is None:
            for views, pixels in self.stream_pixels(epoch, start):
                yield from self._make_batches([views], copy_to(pixels, self.device))
            return
        wanted = self._views.take(self._list_views, epoch)[start:]
        for first in range(0, len(wanted), self.ahead):
            yield from self._make_batches(wanted[first : first + self.ahead], None)

    def stream_pixels(
        self, epoch: int, start: int = 0
    ) -> Iterator[tuple[Views, UInt8[Tensor, "n_views ch h w"]]]:
        """The batches of an epoch as worker processes hand them over, cropped and flipped."""
        wanted = self._wanted.batches = self._views.take(self._list_views, epoch)[start:]
        for views, pixels in zip(wanted, self._loader, strict=True):
            yield views, check_pixels(pixels)

    def _list_views(self, epoch: int) -> list[Views]:
        """What each batch of an epoch shows: all its images' first views, then their second, …"""
        return [
            Views(
                indices.repeat(self.views),
                torch.cat([before * self.views + view for view in range(self.views)]),
                epoch,
                self.seed,
            )
            for indices, before in self.sampler.numbered_batches(epoch)
        ]

    def _make_batches(
        self, parts: list[Views], pixels: UInt8[Tensor, "n ch h w"] | None
    ) -> Iterator[Batch]:
        """Batches that are augmented all at once; `pixels` are None for those in memory."""
        sizes = [len(part.indices) for part in parts]
        joined = join_views(parts)
        views = joined.to(self.device)
        images = self._augment(joined, views, pixels)
        labels = self.labels[views.indices]
        rows = (images.split(sizes), labels.split(sizes), views.indices.split(sizes))
        for own_images, own_labels, indices in zip(*rows, strict=True):
            count = len(indices) // self.views  # the further views have the same labels
            yield Batch(own_images, own_labels[:count], indices[:count])

    def _augment(
        self, on_host: Views, views: Views, pixels: UInt8[Tensor, "n ch h w"] | None
    ) -> Float[Tensor, "n ch h w"]:
        """Augmented, as far as worker processes have not done it, and normalised.

        Args:
            on_host, views: the same, on the host and on the device.
        """
        recipe = self.data.recipe
        random = None  # not needed where a worker process has cropped and flipped
        if pixels is None or recipe.cutout:
            random = draw_geometry(views, recipe)
        if pixels is None:
            assert random is not None
            pixels = shift_and_flip(self._take_pixels(on_host, views), recipe, random)
            pixels = apply_policy(pixels, recipe, views)
        if recipe.color_jitter or recipe.lighting:
            pixels = change_colours(pixels.float(), recipe, views, self._colours)
        images = normalise(pixels, self._mean, self._std)
        if random is not None and recipe.cutout:
            images = cut_out(images, recipe.cutout, random)
        return erase(images, recipe.random_erasing, views) if recipe.random_erasing else images

    def _take_pixels(self, on_host: Views, views: Views) -> UInt8[Tensor, "n ch h w"]:
        """Images in memory, on the device."""
        assert self.pixels is not None
        if self.pixels.device == self.labels.device:
            return self.pixels[views.indices]
        return copy_to(pick_rows(self.pixels, on_host.indices, self.device), self.device)


class _Wanted:
    """The batches of the epoch at hand, as a sampler: worker processes outlive an epoch."""

    def __init__(self) -> None:
        self.batches: list[Views] = []

    def __iter__(self) -> Iterator[Views]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)
