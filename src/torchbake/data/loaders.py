"""Images on their way to the model: from memory, or streamed through worker processes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from .._shapes import Float, Int, Tensor, UInt8
from ..errors import UserError
from ..randomness import seed_for
from ..recipe import DataRecipe
from ..sampling import ClassGroupedBatchSampler
from .cache import cache_folder
from .memory import (
    LIMIT,
    augmentation_numbers,
    augmented,
    channel_statistics,
    cut_out,
    decoded,
    leave_signals,
    normalised,
)
from .sources import Source, Split, open_source
from .subsets import restricted

IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]


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

    def test_batches(
        self, batch_size: int, device: torch.device, rank: int = 0, world_size: int = 1
    ) -> Iterator[Labelled]:
        """This rank's share of the test images, in order, as they are."""
        labels = self.source.test.labels
        own = torch.arange(len(labels))[rank::world_size]
        parts = own.split(batch_size) if len(own) else ()
        if self.pixels is not None:
            for part in parts:
                yield self._labelled(self.pixels[1][part], part, device)
            return
        size = self.image_size
        larger = round(size / 0.875) if self.recipe.crop == "resized" else size
        transform = v2.Compose([v2.Resize(larger), v2.CenterCrop(size)])
        keys = [[(0, int(i), 0) for i in part] for part in parts]
        stream = _Stream(self.source.test, transform, seed=0)
        loader = DataLoader(
            stream,
            batch_sampler=keys,
            num_workers=self.recipe.workers,
            collate_fn=_stacked,
            worker_init_fn=leave_signals,
        )
        for part, pixels in zip(parts, loader, strict=True):
            yield self._labelled(_checked(pixels), part, device)

    def _labelled(self, pixels: Tensor, indices: Tensor, device: torch.device) -> Labelled:
        images = normalised(pixels.to(device, non_blocking=True), self.mean, self.std)
        labels = self.source.test.labels[indices]
        return Labelled(images, labels.to(device), indices.to(device))


def prepare(recipe: DataRecipe, progress: Callable[[str, int, int], None]) -> Data:
    """Open a data set, and decode it into memory if it is to be kept there.

    Args:
        progress: called with a split's name, images decoded and their number.

    Raises:
        UserError: see `open_source` and `restricted`; images of different sizes without
            `image_size`, or of another one though `in_memory` is true.
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
    pixels = None
    if recipe.in_memory is not False and recipe.crop != "resized":
        limit = math.inf if recipe.in_memory else LIMIT

        def pixels_of(split: Split, name: str) -> Tensor | None:
            return decoded(
                split,
                (size, size),
                limit,
                recipe.workers,
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
        self._keys = _Keys()
        recipe = data.recipe
        if self.pixels is None:
            self._loader: DataLoader[Tensor | str] = DataLoader(
                _Stream(data.source.train, _train_transform(recipe, data.image_size), seed),
                batch_sampler=self._keys,
                num_workers=recipe.workers,
                persistent_workers=recipe.workers > 0,
                collate_fn=_stacked,
                worker_init_fn=leave_signals,
                pin_memory=device.type == "cuda",
            )

    def batches(self, epoch: int, start: int = 0) -> Iterator[Labelled]:
        """The batches of an epoch from number `start` on."""
        numbers = list(zip(self.sampler.batches(epoch), self._views(epoch), strict=True))[start:]
        if self.pixels is not None:
            for indices, views in numbers:
                indices, views = indices.to(self.device), views.to(self.device)
                pixels = self.pixels[indices.repeat(self.views)]
                yield self._finished(pixels, indices, views, epoch)
            return
        self._keys.epoch = epoch
        self._keys.batches = [(indices.repeat(self.views), views) for indices, views in numbers]
        for (indices, views), pixels in zip(numbers, self._loader, strict=True):
            yield self._finished(
                _checked(pixels).to(self.device, non_blocking=True),
                indices.to(self.device),
                views.to(self.device),
                epoch,
            )

    def _views(self, epoch: int) -> list[Tensor]:
        """The number of each image's view within the epoch, all first views, then all second, …"""
        return [
            torch.cat([occurrence * self.views + view for view in range(self.views)])
            for occurrence in self.sampler.occurrences(epoch)
        ]

    def _finished(self, pixels: Tensor, indices: Tensor, views: Tensor, epoch: int) -> Labelled:
        recipe = self.data.recipe
        random = augmentation_numbers(indices.repeat(self.views), views, self.seed, epoch)
        if self.pixels is not None:
            pixels = augmented(pixels, recipe, random)
        images = normalised(pixels, self.data.mean, self.data.std)
        if recipe.cutout:
            images = cut_out(images, recipe.cutout, random)
        return Labelled(images, self.labels[indices], indices)


def _train_transform(recipe: DataRecipe, size: int) -> v2.Transform:
    if recipe.crop == "resized":
        steps: list[Any] = [v2.RandomResizedCrop(size, scale=(recipe.min_scale, 1.0))]
    else:
        steps = [v2.Resize(size), v2.CenterCrop(size)]
        if recipe.crop == "pad":
            steps.append(v2.RandomCrop(size, padding=recipe.padding))
    if recipe.flip:
        steps.append(v2.RandomHorizontalFlip())
    return v2.Compose(steps)


class _Keys:
    """The keys of the epoch at hand, as a batch sampler."""

    def __init__(self) -> None:
        self.epoch = 0
        self.batches: list[tuple[Tensor, Tensor]] = []  # images, views

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        for images, views in self.batches:
            pairs = zip(images.tolist(), views.tolist(), strict=True)
            yield [(self.epoch, image, view) for image, view in pairs]

    def __len__(self) -> int:
        return len(self.batches)


class _Stream(Dataset[UInt8[Tensor, "ch h w"] | str]):
    """A split whose items are named by (epoch, image, view), decoded and transformed.

    What is wrong with a file travels as text: an error that leaves a worker brings its traceback.
    """

    def __init__(self, split: Split, transform: v2.Transform, seed: int) -> None:
        self.split = split
        self.transform = transform
        self.seed = seed

    def __getitem__(self, key: tuple[int, int, int]) -> UInt8[Tensor, "ch h w"] | str:
        try:
            image = self.split.load(key[1])
        except UserError as error:
            return str(error)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for("augment", self.seed, *key))
            return self.transform(image)


def _stacked(images: list[Tensor | str]) -> Tensor | str:
    tensors = [image for image in images if isinstance(image, Tensor)]
    faults = [image for image in images if isinstance(image, str)]
    return faults[0] if faults else torch.stack(tensors)


def _checked(pixels: Tensor | str) -> Tensor:
    if isinstance(pixels, str):
        raise UserError(pixels)
    return pixels
