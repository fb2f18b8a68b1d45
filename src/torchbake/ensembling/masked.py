"""Soft targets where only some of the others teach, or more than those of the batch.

What the variants of BAKE need beyond `ensembling` (docs/variants.md): the taught images may have
teachers that are not taught themselves, and any image may be barred from teaching another.
"""

from typing import NamedTuple

import torch

from .._shapes import Bool, Float, Int, Tensor
from .affinity import normalise_rows
from .plan import count_doublings
from .precision import choose_inner_dtype, disable_autocast
from .solvers import sum_series


class Lesson(NamedTuple):
    """What images can teach, in float32 or wider."""

    features: Float[Tensor, "n d"]
    predictions: Float[Tensor, "n c"]  # P, rows are distributions
    labels: Float[Tensor, "n c"]  # class probabilities, one-hot where images are not mixed
    indices: Int[Tensor, " n"]  # the images' numbers in the training set


def mask_teachers(taught: Lesson, teachers: Lesson, neighbours: str = "all") -> Bool[Tensor, "n m"]:
    """Which of the teachers (columns) each image (row) may listen to.

    Never an earlier self, nor an empty place of a memory. Among mixed images, those that have any
    class in common are `same-class`.

    Args:
        neighbours: `all`, `same-class` or `other-class`.
    """
    allowed = (teachers.indices >= 0) & (taught.indices[:, None] != teachers.indices)
    if neighbours != "all":
        same = taught.labels @ teachers.labels.T > 0
        allowed = allowed & (same if neighbours == "same-class" else ~same)
    return allowed


@torch.no_grad()
def solve_masked(
    own: Lesson,
    others: Lesson | None,
    *,
    omega: float | Tensor,
    affinity_temperature: float | Tensor,
    neighbours: str = "all",
    omega_at_most: float = 0.99,
) -> Float[Tensor, "n c"]:
    """Q = ω (Â Q + B R) + (1 − ω) P (arXiv 2104.13298, section 3, with teachers besides).

    Â are the affinities among the n images, B those to the others, of which R are the
    predictions; a row of Â and B together is one softmax over all that may teach the image. An
    image that nobody may teach keeps its own prediction.

    Args:
        own: the images that are taught, and teach each other.
        others: images that only teach, or None.
        omega: ω in [0, 1), a number or a tensor without dimensions, whose value is not read.
        affinity_temperature: T_a, above zero, or a tensor likewise.
        neighbours: see `mask_teachers`.
        omega_at_most: no smaller than an ω that is a tensor.
    """
    kind = own.predictions.dtype
    device = own.predictions.device.type
    inner = choose_inner_dtype(kind, device, omega, affinity_temperature)
    n = len(own.indices)
    with disable_autocast(device):
        taught = normalise_rows(own.features.to(inner))
        allowed = mask_teachers(own, own, neighbours)
        allowed.fill_diagonal_(False)
        teachers, predictions = taught, own.predictions.to(inner)
        if others is not None:
            teachers = torch.cat([taught, normalise_rows(others.features.to(inner))])
            allowed = torch.cat([allowed, mask_teachers(own, others, neighbours)], dim=1)
        scores = (taught @ teachers.T / affinity_temperature).masked_fill(~allowed, -torch.inf)
        alone = ~allowed.any(dim=1, keepdim=True)
        affinity = scores.masked_fill(alone, 0.0).softmax(dim=1)
        share = omega * (~alone).to(inner)
        known = (1 - share) * predictions
        if others is not None:
            known += share * (affinity[:, n:] @ others.predictions.to(inner))
        system = share * affinity[:, :n]
        largest = omega_at_most if isinstance(omega, Tensor) else omega
        return _solve(system, known, largest).clamp_(min=0).to(kind)


def _solve(system: Tensor, known: Tensor, omega: float) -> Tensor:
    """X = A X + known, where the rows of A ≥ 0 sum to ω at most."""
    if factorises(system.device.type):
        identity = torch.eye(len(system), dtype=system.dtype, device=system.device)
        # The system is never singular, so the checks that would wait for the device are left out.
        return torch.linalg.solve_ex(identity - system, known)[0]
    return sum_series(system, count_doublings(omega)) @ known


def factorises(device_type: str) -> bool:
    """Whether to factorise: on the CPU alone, as CUDA graphs cannot record it."""
    return device_type == "cpu"
