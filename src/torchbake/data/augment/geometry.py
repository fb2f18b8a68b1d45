"""Random crops, shifts, flips and Cutout, and the crop of test images."""

import math

import torch
from torch.nn.functional import pad

from ..._shapes import Float, Tensor, UInt8
from ...recipe import DataRecipe
from .views import Views

ATTEMPTS = 10
"""Boxes that are tried for a random part of an image, as torchvision's RandomResizedCrop does."""


def choose_crop_share(recipe: DataRecipe) -> float:
    """The share of a test image's shorter side that the model is given."""
    if recipe.crop_pct is not None:
        return recipe.crop_pct
    return 0.875 if recipe.crop == "resized" else 1.0


def crop_middle(
    pixels: UInt8[Tensor, "*n ch h w"],
    size: int,
    share: float,
    interpolation: str | None = None,
) -> UInt8[Tensor, "*n ch size size"]:
    """The central square of images, with this share of the shorter side, resized."""
    from torchvision.transforms.v2 import functional as F

    return F.center_crop(resize(pixels, round(size / share), interpolation), [size])


def resize(
    pixels: UInt8[Tensor, "*n ch h w"], shorter: int, interpolation: str | None = None
) -> UInt8[Tensor, "*n ch h2 w2"]:
    """Images resized with antialiasing to so many pixels on their shorter side.

    Pillow does it, one by one, whose pixels are those that timm and torchvision make of a picture;
    of a tensor, torchvision rounds some to the neighbouring level.

    Args:
        interpolation: `bilinear`, which None stands for, or `bicubic`.
    """
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    if min(pixels.shape[-2:]) == shorter:
        return pixels
    mode = InterpolationMode(interpolation or "bilinear")
    resized = [
        F.pil_to_tensor(F.resize(F.to_pil_image(image), [shorter], interpolation=mode))
        for image in pixels.reshape(-1, *pixels.shape[-3:])
    ]
    return torch.stack(resized).view(*pixels.shape[:-2], *resized[0].shape[1:])


def draw_box(
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


def scale_box(
    box: tuple[int, int, int, int], vertical: float, horizontal: float
) -> tuple[int, int, int, int]:
    """A box of an image in the pixels of a smaller one."""
    top, left = round(box[0] * vertical), round(box[1] * horizontal)
    bottom = max(round((box[0] + box[2]) * vertical), top + 1)
    right = max(round((box[1] + box[3]) * horizontal), left + 1)
    return top, left, bottom - top, right - left


def shift_and_flip(
    pixels: UInt8[Tensor, "n ch h w"], recipe: DataRecipe, random: Float[Tensor, "n numbers"]
) -> UInt8[Tensor, "n ch h w"]:
    """Shift and flip each image by its own random numbers; a shift fills the border with black.

    Args:
        random: see `draw_geometry`.
    """
    n, channels, height, width = pixels.shape
    rows = torch.arange(height, device=pixels.device).expand(n, -1)
    columns = torch.arange(width, device=pixels.device).expand(n, -1)
    if recipe.flip:
        columns = torch.where(random[:, 2:3] < 0.5, columns.flip(1), columns)
    if recipe.crop == "pad" and recipe.padding:
        pixels = pad(pixels, [recipe.padding] * 4)
        shifts = 2 * recipe.padding + 1
        rows = rows + (random[:, 0:1] * shifts).long()
        columns = columns + (random[:, 1:2] * shifts).long()
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


def draw_geometry(views: Views, recipe: DataRecipe) -> Float[Tensor, "n numbers"]:
    """What the other functions here call `random`: numbers in [0, 1), a row a view."""
    attempts = ATTEMPTS if recipe.crop == "resized" else 0
    return views.draw("augment", NUMBERS + 2 * attempts)
