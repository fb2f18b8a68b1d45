"""Batch knowledge ensembling (Ge et al., arXiv 2104.13298)."""

from typing import Literal

import torch
import torch.distributed as dist
from torch import nn

from ..losses import BAKELoss
from ..solvers import Solver
from .base import Batch, Method, Step, Task


class BAKE(Method):
    """Cross-entropy plus the distance to the batch's ensembled predictions (see `BAKELoss`).

    Args:
        partners: M, others of its class drawn beside each image; 3 on CIFAR-100, 1 on ImageNet
            in the paper.
        omega: ω in [0, 1), the share of the other images in the target.
        temperature: T, above zero.
        weight: λ ≥ 0, of the distillation term.
        affinity_temperature: T_a, above zero. 1 is the paper's.
        across_ranks: ensemble over the images of all ranks, as the paper does on ImageNet, not
            only over those of each rank.
        solver: how the soft targets are solved for (see `bake_targets`).
        gather_dtype: the type in which features and predictions travel between ranks; by default
            features in their own, predictions in float32.

    Images of Mixup and CutMix teach each other like any others: affinities, predictions and
    targets are those of the mixed images, and whole class groups are mixed (see `data.mixing`).
    """

    mixes = True

    def __init__(
        self,
        partners: int = 3,
        omega: float = 0.5,
        temperature: float = 4.0,
        weight: float = 1.0,
        affinity_temperature: float = 1.0,
        across_ranks: bool = True,
        solver: Solver = "auto",
        gather_dtype: Literal["float16", "bfloat16"] | None = None,
    ) -> None:
        super().__init__()
        if partners < 0:
            raise ValueError(f"partners must be at least 0, got {partners}")
        self.partners = partners
        self.across_ranks = across_ranks
        self.objective = BAKELoss(
            temperature,
            omega,
            weight,
            affinity_temperature,
            solver=solver,
            gather_dtype=getattr(torch, gather_dtype) if gather_dtype else None,
            equal_counts=True,  # the trainer gives every rank as many images
        )

    def setup(self, task: Task) -> None:
        if self.across_ranks and dist.is_available() and dist.is_initialized():
            self.objective.group = dist.group.WORLD

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        features, logits = model(batch.images)
        terms = self.objective.terms(logits, batch.targets, features)
        return Step(terms["cross_entropy"] + terms["distillation"], logits, terms)
