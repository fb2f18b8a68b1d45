"""Random colours of training images: jitter, and lighting along ImageNet's principal colours.

Each image by its own random numbers, on whatever device the batch is; between 0 and 255 as floats.
"""

import math
from itertools import permutations
from typing import NamedTuple

import torch

from ..._shapes import Float, Int, Tensor
from ...recipe import DataRecipe
from .views import Views

NUMBERS = 8
"""Random numbers that an image needs: three factors, their order, and four for the lighting."""

GREY = (0.2989, 0.587, 0.114)
"""Shares of red, green and blue in an image's grey, torchvision's."""

EIGENVALUES = (0.2175, 0.0188, 0.0045)
"""Of the covariance of ImageNet's colours on the scale from 0 to 1, as fb.resnet.torch has them."""

EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
"""Red, green and blue of each: a row a channel, a column an eigenvalue."""

_BRIGHTNESS, _CONTRAST, _SATURATION = range(3)
_ORDERS = tuple(permutations((_BRIGHTNESS, _CONTRAST, _SATURATION)))


class Constants(NamedTuple):
    """What colours are computed with, on a device: to be made once, since each is a copy to it."""

    grey: Float[Tensor, " 3"]
    orders: Int[Tensor, "6 3"]
    eigenvectors: Float[Tensor, "3 3"]
    eigenvalues: Float[Tensor, " 3"]


def make_constants(device: torch.device) -> Constants:
    tables = (GREY, _ORDERS, EIGENVECTORS, EIGENVALUES)
    return Constants(*(torch.tensor(table, device=device) for table in tables))


def change_colours(
    pixels: Float[Tensor, "n ch h w"],
    recipe: DataRecipe,
    views: Views,
    constants: Constants | None = None,
) -> Float[Tensor, "n ch h w"]:
    """Images with the colours that the recipe's `color_jitter` and `lighting` give their views.

    Args:
        pixels: from 0 to 255.
        views: on the device of the pixels.
        constants: on that device; None makes them.
    """
    constants = constants or make_constants(pixels.device)
    random = views.draw("colour", NUMBERS)
    if recipe.color_jitter:
        pixels = jitter(pixels, recipe.color_jitter, random, constants)
    if recipe.lighting:
        pixels = add_lighting(pixels, recipe.lighting, random, constants)
    return pixels


def jitter(
    pixels: Float[Tensor, "n ch h w"],
    strength: float,
    random: Float[Tensor, "n numbers"],
    constants: Constants | None = None,
) -> Float[Tensor, "n ch h w"]:
    """Brightness, contrast and saturation, each times a factor from 1 − strength to 1 + strength.

    They follow each other in a random order, as in torchvision's ColorJitter, and each blends the
    image with black, with its mean grey, or with its greys: factor × image + (1 − factor) × those.
    """
    constants = constants or make_constants(pixels.device)
    factors = 1 + strength * (2 * random[:, :3] - 1)
    orders = constants.orders[(random[:, 3] * len(_ORDERS)).long()]
    for operation in orders.unbind(1):
        factor = factors.gather(1, operation[:, None])[:, :, None, None]
        operation = operation[:, None, None, None]
        grey = _grey(pixels, constants.grey)
        blended = torch.where(operation == _CONTRAST, grey.mean(dim=(2, 3), keepdim=True), grey)
        blended = blended.masked_fill(operation == _BRIGHTNESS, 0)
        pixels = (factor * pixels + (1 - factor) * blended).clamp(0, 255)
    return pixels


def _grey(
    pixels: Float[Tensor, "n ch h w"], shares: Float[Tensor, " 3"]
) -> Float[Tensor, "n 1 h w"]:
    if pixels.shape[1] == 1:
        return pixels
    return (pixels * shares.view(3, 1, 1)).sum(1, keepdim=True)


def add_lighting(
    pixels: Float[Tensor, "n 3 h w"],
    deviation: float,
    random: Float[Tensor, "n numbers"],
    constants: Constants | None = None,
) -> Float[Tensor, "n 3 h w"]:
    """One colour added to all of an image: a normal multiple of each principal component.

    Krizhevsky et al., NeurIPS 2012, section 4.1: eigenvectors × (eigenvalues × α), α normal with
    this standard deviation. What leaves 0 to 255 by this stays as it is.
    """
    constants = constants or make_constants(pixels.device)
    amounts = deviation * _normal(random[:, 4:8])[:, :3] * constants.eigenvalues
    colour = amounts @ constants.eigenvectors.T
    return pixels + 255 * colour[:, :, None, None]


def _normal(uniform: Float[Tensor, "n even"]) -> Float[Tensor, "n even"]:
    """Normal numbers from as many uniform ones in [0, 1), by Box and Muller."""
    radius, angle = (1 - uniform).chunk(2, dim=1)
    radius, angle = (-2 * radius.log()).sqrt(), 2 * math.pi * angle
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
