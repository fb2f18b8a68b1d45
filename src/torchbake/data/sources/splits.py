"""Splits made of what a user has: arrays of pixels, image files, or a data set of torch's."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from ..._shapes import Int, Tensor, UInt8
from ...errors import UserError
from .base import Split, make_encoded_split, read_nth
from .decoding import check_depth, read_pixels, set_channels

if TYPE_CHECKING:
    from ...recipe import DataRecipe

Labels = Sequence[int] | np.ndarray | Tensor


def make_array_split(images: np.ndarray | Tensor, labels: Labels, recipe: "DataRecipe") -> Split:
    """A split of images in memory.

    Args:
        images: n images from 0 to 255 (uint8) as (n, h, w), (n, ch, h, w) or (n, h, w, ch), of one
            channel or three; made grey or coloured where `recipe.channels` wants it.
        labels: n class numbers, from 0.

    Raises:
        UserError: images or labels that are not so.
    """
    pixels = _read_pixels(images, 4, "images")
    pixels = set_channels(pixels, recipe.channels or pixels.shape[1])
    return Split(_read_labels(labels, len(pixels)), partial(_load_pixels, pixels), pixels)


def make_file_split(paths: Sequence[Any], labels: Labels, recipe: "DataRecipe") -> Split:
    """A split of image files, called by their paths as given.

    They are decoded in colour, or grey where `recipe.channels` is 1.

    Args:
        paths: n of them, as text or `pathlib.Path`.
        labels: n class numbers, from 0.

    Raises:
        UserError: labels that are not so.
    """
    files = [str(path) for path in paths]
    numbers = _read_labels(labels, len(files))
    split = make_encoded_split(numbers, partial(read_nth, files), recipe.channels or 3, files)
    return replace(split, names=partial(_name_file, files))


def make_dataset_split(dataset: Any, recipe: "DataRecipe", labels: Labels | None = None) -> Split:
    """A split of a map-style data set for PyTorch, of pairs (image, label), such as torchvision's.

    Args:
        dataset: its images are Pillow's, or arrays or tensors as for `make_array_split`, without
            what augments or normalises them. They become coloured, or grey where
            `recipe.channels` is 1.
        labels: class numbers, from 0; None for its `targets`, or, where it has none, those of its
            pairs, all of which are then read once.

    Raises:
        UserError: images (as they are read) or labels that are not so.
    """
    if labels is None:
        labels = getattr(dataset, "targets", None)
    if labels is None:
        labels = [int(dataset[index][1]) for index in range(len(dataset))]
    numbers = _read_labels(labels, len(dataset))
    return Split(numbers, partial(_load_item, dataset, recipe.channels or 3))


def _load_pixels(pixels: UInt8[Tensor, "n ch h w"], index: int) -> UInt8[Tensor, "ch h w"]:
    return pixels[index]


def _load_item(dataset: Any, channels: int, index: int) -> UInt8[Tensor, "ch h w"]:
    image = dataset[index][0]
    if isinstance(image, Image.Image):
        check_depth(image, f"image {index}")
        return read_pixels(image, channels)
    return set_channels(_read_pixels(image, 3, f"image {index}"), channels)


def _name_file(files: list[str], index: int) -> str:
    """Its path; all of it Unicode, as files' names need not be."""
    return os.fsencode(files[index]).decode(errors="replace")


def _read_pixels(images: Any, axes: int, what: str) -> UInt8[Tensor, "*n ch h w"]:
    """Pixels with the channels before height and width; `axes` with that of the channels."""
    kind, shape = getattr(images, "dtype", type(images).__name__), getattr(images, "shape", ())
    if str(kind).removeprefix("torch.") != "uint8":
        raise UserError(f"{what}: expected whole numbers from 0 to 255 (uint8), got {kind}")
    if isinstance(images, np.ndarray):
        # torch warns of arrays that cannot be written to.
        images = torch.from_numpy(images if images.flags.writeable else images.copy())
    if images.ndim == axes - 1:
        return images.unsqueeze(-3)
    if images.ndim == axes and images.shape[-3] in (1, 3):
        return images
    if images.ndim == axes and images.shape[-1] in (1, 3):
        return images.movedim(-1, -3).contiguous()
    n = "n, " * (axes - 3)
    raise UserError(
        f"{what}: expected ({n}h, w), ({n}ch, h, w) or ({n}h, w, ch) with 1 or 3 channels, got "
        f"{tuple(shape)}"
    )


def _read_labels(labels: Any, count: int) -> Int[Tensor, " n"]:
    try:
        numbers = torch.as_tensor(labels) if len(labels) else torch.zeros(0, dtype=torch.int64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"labels: expected class numbers: {error}") from None
    if numbers.ndim != 1 or numbers.is_floating_point() or numbers.dtype == torch.bool:
        raise UserError(
            f"labels: expected {count} class numbers, got {numbers.dtype} of shape "
            f"{tuple(numbers.shape)}"
        )
    if len(numbers) != count:
        raise UserError(f"labels: there are {len(numbers)} for {count} images")
    return numbers.long()
