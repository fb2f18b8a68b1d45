"""Rotation, TrivialAugment, RandAugment and random erasing, by torchvision.

Each image by its own random numbers: a generator is seeded for each image from its view, and that
of torch is left as it was.
"""

from collections.abc import Callable

import torch

from ..._shapes import Float, Int, Tensor, UInt8
from ...recipe import DataRecipe
from .operations import apply_operations, draw_operations, make_policy
from .views import Views

Transform = Callable[[Tensor], Tensor]


def apply_policy(
    pixels: UInt8[Tensor, "n ch h w"], recipe: DataRecipe, views: Views
) -> UInt8[Tensor, "n ch h w"]:
    """Images rotated by up to `data.rotation` degrees, then changed by `data.auto_augment`.

    What comes in from beyond the border is black. TrivialAugment (Müller and Hutter, arXiv
    2103.10158, its wide space) applies one operation of a random strength, RandAugment (Cubuk et
    al., 1909.13719) some of one strength. Images that drew the same operation are changed together.

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
    policy = make_policy(
        recipe.auto_augment, recipe.rand_augment_operations, recipe.rand_augment_magnitude
    )
    seeds = _draw_seeds(views, "policy").tolist()
    for operations in draw_operations(policy, seeds, *pixels.shape[2:]):
        pixels = apply_operations(policy, operations, pixels)
    return pixels


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


def _draw_seeds(views: Views, purpose: str) -> Int[Tensor, " n"]:
    """A seed of 48 bits for each view."""
    high, low = (views.draw(purpose, 2) * 2**24).long().unbind(1)
    return high * 2**24 + low


def _run_seeded(transform: Transform, image: Tensor, seed: int) -> Tensor:
    """What a transform makes of an image by a generator that is its own."""
    with torch.random.fork_rng(devices=[]):  # torchvision draws on the CPU
        torch.default_generator.manual_seed(seed)
        return transform(image)
