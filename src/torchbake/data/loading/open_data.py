"""Images on their way to the model: from memory, or streamed through worker processes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from rich.console import Console

from ..._shapes import Int, Tensor, UInt8
from ...batch import Batch
from ...errors import UserError
from ...recipe import DataRecipe
from ..augment.geometry import choose_crop_share
from ..augment.normalise import measure_channels, normalise
from ..preprocessing import Preprocessing
from ..sources.base import Source, Split
from ..sources.registry import open_source
from ..sources.subsets import apply_subset
from ..transfer import copy_to, pick_rows
from .ahead import prefetch
from .cache import find_cache_folder
from .in_memory import LIMIT, decode_all
from .readable import LeftOut, leave_out_unreadable
from .streaming import Stream, check_pixels, make_stream_loader
from .workers import count_workers

IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]


@dataclass(frozen=True, eq=False)
class Data:
    """A data set that is ready to be trained on.

    Attributes:
        image_size: height and width of what the model is given, in pixels.
        mean, std: of each channel, on the scale from 0 to 1.
        pixels: the training, the test and any validation images, where they are in memory.
        left_out: images that cannot be read, with `data.on_error: skip`.
    """

    recipe: DataRecipe
    source: Source
    image_size: int
    channels: int
    mean: list[float]
    std: list[float]
    pixels: tuple[UInt8[Tensor, "_ ch h w"], ...] | None
    left_out: tuple[LeftOut, ...] = ()

    @property
    def preprocessing(self) -> Preprocessing:
        """What is done to images in evaluation."""
        return Preprocessing(
            self.image_size,
            self.channels,
            tuple(self.mean),
            tuple(self.std),
            choose_crop_share(self.recipe),
            self.recipe.interpolation or "bilinear",
        )

    @property
    def workers(self) -> int:
        """Processes that decode."""
        return count_workers() if self.recipe.workers is None else self.recipe.workers

    def test_batches(
        self, batch_size: int, device: torch.device, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """This rank's share of the test images, in order, as they are."""
        yield from self.share_batches(self.source.test, batch_size, device, rank, world_size)

    def share_batches(
        self, split: Split, batch_size: int, device: torch.device, rank: int, world_size: int
    ) -> Iterator[Batch]:
        """This rank's share of the images of a split, in order, as they are."""
        own = torch.arange(len(split))[rank::world_size]
        yield from self.plain_batches(split, own, batch_size, device)

    def plain_batches(
        self, split: Split, indices: Int[Tensor, " k"], batch_size: int, device: torch.device
    ) -> Iterator[Batch]:
        """These images of a split, in this order, as they are: nothing random is done to them.

        Args:
            split: of this data set, or other images of as many channels.
        """
        batches = self._make_plain_batches(split, indices, batch_size, device)
        yield from prefetch(batches, device)

    def _make_plain_batches(
        self, split: Split, indices: Int[Tensor, " k"], batch_size: int, device: torch.device
    ) -> Iterator[Batch]:
        statistics = torch.tensor([self.mean, self.std], device=device)

        def make_batch(pixels: Tensor, part: Tensor) -> Batch:
            images = normalise(copy_to(pixels, device), statistics[0], statistics[1])
            labels, numbers = copy_to(torch.stack([split.labels[part], part]), device)
            return Batch(images, labels, numbers)

        parts = indices.split(batch_size) if len(indices) else ()
        own = (self.source.train, self.source.test, self.source.validation)
        if self.pixels is not None and split in own:
            pixels, preprocessing = self.pixels[own.index(split)], self.preprocessing
            for part in parts:
                yield make_batch(preprocessing.crop(pick_rows(pixels, part, device)), part)
            return
        stream = Stream(split, self.recipe, self.channels, self.image_size)
        wanted = [part.tolist() for part in parts]
        loader = make_stream_loader(stream, wanted, self.workers, device)
        for part, streamed in zip(parts, loader, strict=True):
            yield make_batch(check_pixels(streamed), part)


def open_data(recipe: DataRecipe, progress: Callable[[str, int, int], None]) -> Data:
    """Open a data set, and decode it into memory if it is to be kept there.

    Args:
        progress: called with a split's name, images decoded and their number.

    Raises:
        UserError: see `open_source` and `apply_subset`; images of different sizes without
            `image_size`, or of another one though `in_memory` is true; lighting of grey images.
    """
    source = apply_subset(open_source(recipe), recipe)
    left_out: tuple[LeftOut, ...] = ()
    if recipe.on_error == "skip":
        workers = count_workers() if recipe.workers is None else recipe.workers
        source, left_out = leave_out_unreadable(source, workers, recipe.cache, progress)
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
    if recipe.crop == "pad" and recipe.padding >= size:
        raise UserError(
            f"data.padding: {recipe.padding} would shift images of {size} pixels out of sight; "
            f"expected less than {size}"
        )
    pixels = _decode_splits(recipe, source, size, progress)
    if pixels is None and recipe.in_memory:
        raise UserError(
            f"data.in_memory: the images of '{recipe.name}' are not all of {size} × {size} pixels"
        )
    if pixels is None and recipe.image_size is None:
        raise UserError(f"data.image_size: give one: the images of '{recipe.name}' differ in size")
    mean, std = _choose_statistics(recipe, channels, None if pixels is None else pixels[0])
    return Data(recipe, source, size, channels, mean, std, pixels, left_out)


def _decode_splits(
    recipe: DataRecipe, source: Source, size: int, progress: Callable[[str, int, int], None]
) -> tuple[Tensor, ...] | None:
    """The images of each split, training first, if all are to be in memory and can be."""
    if recipe.in_memory is False or recipe.crop == "resized":
        return None
    limit = math.inf if recipe.in_memory else LIMIT
    workers = count_workers() if recipe.workers is None else recipe.workers
    cache = find_cache_folder() if recipe.cache else None

    def decode(name: str, split: Split) -> Tensor | None:
        def tell(done: int) -> None:
            progress(name, done, len(split))

        return decode_all(split, (size, size), limit, workers, tell, cache)

    splits = {"training": source.train, "test": source.test, "validation": source.validation}
    decoded = []
    for name, split in splits.items():
        if split is not None:
            pixels = decode(name, split)
            if pixels is None:
                return None
            decoded.append(pixels)
    return tuple(decoded)


def _choose_statistics(
    recipe: DataRecipe, channels: int, pixels: Tensor | None
) -> tuple[list[float], list[float]]:
    if recipe.mean is not None and recipe.std is not None:
        if len(recipe.mean) != channels or len(recipe.std) != channels:
            raise UserError(
                f"data.mean: expected {channels} value(s), one a channel, as in data.std"
            )
        return list(recipe.mean), list(recipe.std)
    if pixels is not None:
        mean, std = measure_channels(pixels)
        return mean, [max(s, 1e-3) for s in std]
    if channels == 1:
        return [sum(IMAGENET_MEAN) / 3], [sum(IMAGENET_STD) / 3]
    return IMAGENET_MEAN, IMAGENET_STD


def show_opening(recipe: DataRecipe, console: Console) -> Data:
    """Open and decode the recipe's data set, telling the console how far it is."""
    with console.status("opening the data set") as status:
        data = open_data(
            recipe,
            lambda split, done, total: status.update(
                f"decoding the {split} images: {done:,} of {total:,}"
            ),
        )
    for line in data.source.notes:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return data
