"""Rotation, TrivialAugment, RandAugment and random erasing, by torchvision.

Each image by its own random numbers: torchvision draws from torch's generator, which is seeded for
each image from its view, and left as it was.
"""

from collections.abc import Callable
from functools import cache

import torch

from ..._shapes import Float, Int, Tensor, UInt8
from ...recipe import DataRecipe
from .views import Views

Transform = Callable[[Tensor], Tensor]


def apply_policy(
    pixels: UInt8[Tensor, "n ch h w"], recipe: DataRecipe, views: Views
) -> UInt8[Tensor, "n ch h w"]:
    """Images rotated by up to `data.rotation` degrees, then changed by `data.auto_augment`.

    What comes in from beyond the border is black. TrivialAugment (Müller and Hutter, arXiv
    2103.10158, its wide space) applies one operation of a random strength, RandAugment (Cubuk et
    al., 1909.13719) some of one strength.

    Args:
        views: of the images, a row each.
    """
    if recipe.rotation:
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2 import functional as F

        angles = (2 * views.draw("rotation", 1)[:, 0] - 1) * recipe.rotation
        bilinear = InterpolationMode.BILINEAR
        turned = [
            F.rotate(image, angle, interpolation=bilinear)
            for image, angle in zip(pixels, angles.tolist(), strict=True)
        ]
        pixels = torch.stack(turned)
    if recipe.auto_augment == "none":
        return pixels
    settings = (recipe.rand_augment_operations, recipe.rand_augment_magnitude)
    transform = _make_policy(recipe.auto_augment, *settings)
    seeds = _draw_seeds(views, "policy").tolist()
    return torch.stack(
        [_run_seeded(transform, image, seed) for image, seed in zip(pixels, seeds, strict=True)]
    )


def erase(
    images: Float[Tensor, "n ch h w"], probability: float, views: Views
) -> Float[Tensor, "n ch h w"]:
    """Zero (the mean, in normalised images) in a random rectangle of a share of the images.

    Random erasing (Zhong et al., arXiv 1708.04896) of 2 to 33 % of the area, as in torchvision.
    """
    from torchvision.transforms.v2 import RandomErasing

    chosen = views.draw("erasing", 1)[:, 0] < probability
    transform = RandomErasing(p=1.0)
    seeds = _draw_seeds(views, "erased").tolist()
    images = images.clone()
    for row in chosen.nonzero()[:, 0].tolist():
        images[row] = _run_seeded(transform, images[row], seeds[row])
    return images


@cache
def _make_policy(name: str, operations: int, magnitude: int) -> Transform:
    from torchvision.transforms import v2

    if name == "trivial":
        return v2.TrivialAugmentWide()
    return v2.RandAugment(num_ops=operations, magnitude=magnitude)


def _draw_seeds(views: Views, purpose: str) -> Int[Tensor, " n"]:
    """A seed of 48 bits for each view."""
    high, low = (views.draw(purpose, 2) * 2**24).long().unbind(1)
    return high * 2**24 + low


def _run_seeded(transform: Transform, image: Tensor, seed: int) -> Tensor:
    """What a transform makes of an image by a generator that is its own."""
    with torch.random.fork_rng(devices=[]):  # torchvision draws on the CPU
        torch.default_generator.manual_seed(seed)
        return transform(image)
