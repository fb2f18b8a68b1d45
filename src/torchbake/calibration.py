"""Temperature scaling: probabilities that say how often a classifier is right.

Logits are divided by one number, which leaves every prediction as it is (Guo et al., arXiv
1706.04599, section 4.2). It is fitted on images that the network was not trained on.
"""

import math
from collections.abc import Iterator

import torch
import torch.distributed as dist

from ._shapes import Bool, Float, Int, Tensor
from .randomness import make_generator

COLDEST, HOTTEST = 0.01, 100.0
"""The range of temperatures."""
PRIOR = 0.1
"""Chosen on digits, with and without BAKE: of 0, 0.1, 0.25, 0.5, 1 and 2, it gives the best NLL
with 10 and 30 images, and a level one with more. The label of a whole image is too much to spread:
the classes that images are mistaken for are more probable than a random one."""
AT_ONCE = 2**22
"""Logits that are looked at together, which bounds the memory that a fit needs beside them."""


@torch.no_grad()
def fit_temperature(
    logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"], prior: float = PRIOR
) -> float:
    """The T that makes softmax(logits / T) most likely for images with these labels.

    The likelihood alone has no best T where all images are predicted correctly, as a few images
    easily are: the smaller T, the higher it is. So a share of each image's label,
    prior / (n + prior), is spread over all classes, as Platt scaling does for two (Platt 1999,
    section 2.2). For thousands of images it means nothing.

    The negative log-likelihood is convex in 1 / T; its minimum is found by Newton's steps, halving
    the range where a step would leave it.

    Ranks of a process group must call this together, each with images of its own.

    Args:
        prior: number of images that the spread labels amount to; 0 for the likelihood alone.

    Returns:
        T from 0.01 to 100: 1 if there are no images or T does not matter, NaN for logits that are
        not finite.
    """
    count = float(_add_up(torch.tensor([float(len(labels))], device=logits.device))[0])
    if not count:
        return 1.0

    def differentiate(inverse: float) -> tuple[float, float]:
        """First and second derivative by 1 / T."""
        sums = torch.zeros(2, dtype=_wide(logits), device=logits.device)
        for some, own in _in_parts(logits, labels):
            some = some - some.mean(dim=1, keepdim=True)  # so that what is spread adds nothing
            p = (some * inverse).softmax(dim=1)
            mean = (p * some).sum(dim=1)
            given = some.gather(1, own[:, None])[:, 0] * (count / (count + prior))
            variance = (p * some.square()).sum(dim=1) - mean.square()
            sums += torch.stack([(mean - given).to(sums.dtype).sum(), variance.sum()])
        first, second = _add_up(sums).tolist()
        return first, second

    low, high, at = 1 / HOTTEST, 1 / COLDEST, 1.0
    slopes = [differentiate(end)[0] for end in (low, high)]
    if not all(math.isfinite(slope) for slope in slopes):
        return math.nan
    if slopes[0] >= 0 or slopes[1] <= 0:
        flat = slopes[0] == slopes[1] == 0
        return 1.0 if flat else HOTTEST if slopes[0] >= 0 else COLDEST
    for _ in range(100):
        slope, curvature = differentiate(at)
        if slope > 0:
            high = at
        else:
            low = at
        step = at - slope / curvature if curvature > 0 else math.nan
        before, at = at, step if low < step < high else math.sqrt(low * high)
        if abs(at - before) <= 1e-6 * at:
            break
    return 1 / at


def split_in_halves(labels: Int[Tensor, " n"], indices: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Whether each image is in the second of two halves, which have as many images of each class.

    The halves are random but always the same. An odd image of a class goes to either, in turns.
    Ranks of a process group must call this together, each with images of its own; the halves are
    of all of them.

    Args:
        indices: the numbers of the images, of which no two are the same.
    """
    numbers, every = _gather(torch.stack([indices, labels], dim=1).cpu()).unbind(dim=1)
    numbers, order = numbers.sort()
    every = every[order]
    shuffled = torch.randperm(len(every), generator=make_generator("halves"))
    by_class = shuffled[every[shuffled].argsort(stable=True)]
    second = torch.zeros(len(every), dtype=torch.bool)
    second[by_class[1::2]] = True
    return second[torch.searchsorted(numbers, indices.cpu())].to(labels.device)


def cross_fit(
    logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"], indices: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """The temperature of each image, fitted on the half that it is not in."""
    second = split_in_halves(labels, indices)
    of_first, of_second = (fit_temperature(logits[own], labels[own]) for own in (~second, second))
    return torch.where(second, of_first, of_second).to(logits.dtype)


def _in_parts(
    logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]
) -> Iterator[tuple[Tensor, Tensor]]:
    rows = max(1, AT_ONCE // logits.shape[1])
    return zip(logits.float().split(rows), labels.split(rows), strict=True)


def _wide(values: Tensor) -> torch.dtype:
    """The dtype of sums; Apple's GPUs have no float64."""
    return torch.float32 if values.device.type == "mps" else torch.float64


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()


def _add_up(sums: Tensor) -> Tensor:
    """Sums over all ranks."""
    if _grouped():
        dist.all_reduce(sums)
    return sums


def _gather(rows: Int[Tensor, "n k"]) -> Int[Tensor, "m k"]:
    """The rows of all ranks, which need not have as many of them."""
    if not _grouped():
        return rows
    parts: list[Tensor] = [rows] * dist.get_world_size()
    dist.all_gather_object(parts, rows)
    return torch.cat(parts)
