"""Mixup and CutMix: images of a batch blended or pasted into each other."""

import numpy as np
import torch
from torch.nn import functional as F

from ..._shapes import Float, Int, Tensor
from ...randomness import derive_seed
from ...recipe import DataRecipe
from ..transfer import copy_to


def mix_batch(
    images: Float[Tensor, "n ch h w"],
    labels: Int[Tensor, " n"],
    recipe: DataRecipe,
    num_classes: int,
    partners: int,
    *key: int,
) -> tuple[Float[Tensor, "n ch h w"], Float[Tensor, "n c"]]:
    """A batch mixed with itself, and the class probabilities of the mixed images.

    One share λ ~ Beta(α, α) a batch. Mixup (Zhang et al., arXiv 1710.09412) blends
    λ x_i + (1 − λ) x_j; CutMix (Yun et al., 1905.04899) pastes a rectangle of x_j of 1 − λ of the
    area (cut off at the border, λ made to fit) into x_i. Labels become λ y_i + (1 − λ) y_j. With
    both, one of them is chosen for each batch with even chances, as in timm. `mix_probability` is
    that of a batch being mixed at all: 0.5 in CutMix's code on CIFAR-100, else 1.

    Class groups are mixed as wholes: member m of a group with member m of another one, so that
    images that share a label still do when they are mixed, and can teach each other.

    Args:
        recipe: `mixup` and `cutmix` are the α's; 0 for none, not both 0.
        partners: images of a group beside its first one.
        key: numbers that the draw is a pure function of, such as seed, step and rank.
    """
    n, _, height, width = images.shape
    generator = torch.Generator().manual_seed(derive_seed("mix", *key))
    if float(torch.rand((), generator=generator)) >= recipe.mix_probability:
        return images, F.one_hot(labels, num_classes).to(images.dtype)
    alphas = {name: a for name, a in (("mixup", recipe.mixup), ("cutmix", recipe.cutmix)) if a}
    names = list(alphas)
    name = names[int(torch.randint(len(names), (), generator=generator))]
    share = float(
        np.random.default_rng(derive_seed("share", *key)).beta(alphas[name], alphas[name])
    )
    other = copy_to(_other_groups(n, partners + 1, generator), images.device)
    if name == "mixup":
        images = images.lerp(images[other], 1 - share)
    else:
        side = (1 - share) ** 0.5
        spans = []
        for size in (height, width):
            middle = int(torch.randint(size, (), generator=generator))
            half = round(size * side) // 2
            spans.append(slice(max(middle - half, 0), min(middle + half, size)))
        images = images.clone()
        images[:, :, spans[0], spans[1]] = images[other][:, :, spans[0], spans[1]]
        area = (spans[0].stop - spans[0].start) * (spans[1].stop - spans[1].start)
        share = 1 - area / (height * width)
    targets = F.one_hot(labels, num_classes).to(images.dtype)
    return images, targets.lerp(targets[other], 1 - share)


def _other_groups(n: int, size: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    """For each image the one it is mixed with; whole groups of `size` go together."""
    groups = n // size
    order = torch.randperm(groups, generator=generator)
    places = (order[:, None] * size + torch.arange(size)).flatten()
    return torch.cat([places, torch.arange(groups * size, n)])
