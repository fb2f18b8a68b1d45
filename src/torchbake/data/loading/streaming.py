"""Images that are decoded while training goes on, in worker processes, batch by batch."""

from collections.abc import Iterable

import torch
from torch.utils.data import DataLoader, Dataset

from ..._shapes import Tensor, UInt8
from ...errors import UserError
from ...recipe import DataRecipe
from ..augment.geometry import (
    choose_crop_share,
    crop_middle,
    draw_box,
    draw_geometry,
    scale_box,
    shift_and_flip,
)
from ..augment.policies import apply_policy
from ..augment.views import Views
from ..sources.base import Split
from ..sources.decoding import decode, read_size
from .workers import note_memory, prepare_workers


class Stream(Dataset[UInt8[Tensor, "n ch h w"] | str]):
    """Batches of a split, decoded and brought to one size.

    A batch is asked for by `Views`, to be cropped, shifted and flipped, or by image numbers alone,
    for the middle of each image as it is.

    Where the recipe wants random parts, a part is decoded at 1/2, 1/4 or 1/8 of the scale as long
    as it has as many pixels as are wanted. What is wrong with a file travels as text: an error
    that leaves a worker brings its traceback.

    Args:
        size: height and width of the images that are wanted.
    """

    def __init__(self, split: Split, recipe: DataRecipe, channels: int, size: int) -> None:
        import torchvision.transforms.v2.functional  # noqa: F401 (once for all workers)

        self.split = split
        self.recipe = recipe
        self.channels = channels
        self.size = size

    def __getitem__(self, wanted: Views | list[int]) -> UInt8[Tensor, "n ch h w"] | str:
        if isinstance(wanted, Views):
            indices, share = wanted.indices.tolist(), 1.0
            random = draw_geometry(wanted, self.recipe)
        else:
            indices, share, random = wanted, choose_crop_share(self.recipe), None
        in_parts = random is not None and self.recipe.crop == "resized"
        shape = (len(indices), self.channels, self.size, self.size)
        batch = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
        try:
            for row, index in enumerate(indices):
                if random is not None and in_parts:
                    batch[row] = self._random_part(index, random[row].tolist())
                else:
                    pixels = self.split.load(index)
                    batch[row] = crop_middle(pixels, self.size, share, self.recipe.interpolation)
        except UserError as error:
            return str(error)
        note_memory()
        if random is None:
            return batch
        if not in_parts:
            batch = shift_and_flip(batch, self.recipe, random)
        assert isinstance(wanted, Views)
        return apply_policy(batch, self.recipe, wanted)

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
                box = scale_box(box, pixels.shape[1] / height, pixels.shape[2] / width)
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2 import functional as F

        # Resizing is twice as fast where colours lie together.
        part = F.crop(pixels[None], *box).contiguous(memory_format=torch.channels_last)
        mode = InterpolationMode(self.recipe.interpolation or "bilinear")
        part = F.resize(part, [size, size], interpolation=mode, antialias=True)[0]
        return part.flip(2) if self.recipe.flip and numbers[2] < 0.5 else part


def make_stream_loader(
    stream: Stream,
    wanted: Iterable[Views | list[int]],
    workers: int,
    device: torch.device,
    *,
    persistent: bool = False,
) -> DataLoader[UInt8[Tensor, "n ch h w"] | str]:
    """A loader of these batches of a stream, by so many processes.

    Args:
        persistent: keep the processes for another round of `wanted`.
    """
    return DataLoader(
        stream,
        sampler=wanted,
        batch_size=None,
        persistent_workers=persistent and workers > 0,
        **prepare_workers(workers),
        pin_memory=device.type == "cuda",
    )


def check_pixels(pixels: Tensor | str) -> Tensor:
    if isinstance(pixels, str):
        raise UserError(pixels)
    return pixels
