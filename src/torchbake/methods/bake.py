"""BAKE, batch knowledge ensembling (Ge et al., arXiv 2104.13298)."""

from typing import Literal

import torch
import torch.distributed as dist
from torch import nn

from ..batch import Batch
from ..ensembling.plan import Solver
from ..losses.bake import BAKELoss
from ..ranges import NotNegative, NotNegativeInt, Positive, Rate, Share
from .base import Method, Step, Task


class BAKE(Method):
    """Cross-entropy, and the distance to what the images of the batch predict together.

    While the network trains, each image's label is complemented by a soft target: the ensemble of
    what the same network predicts for the other images of the batch, weighted by how similar they
    look to it (section 3). For N images with logits Z and pooled features F, both detached,

        P = softmax(Z / T)
        Â = softmax over each row of F̂ F̂ᵀ / T_a, the diagonal left out
        Q = (1 − ω) (I − ω Â)⁻¹ P
        loss = CE(Z, y) + λ T² KL(Q ‖ softmax(Z / T))

    F̂ being F with rows of length 1. The loss is `BAKELoss`, the target `bake_targets`. The sampler
    draws partners, so that an image meets others of its class. With several ranks, the images of
    all of them teach each other.

    Images of Mixup and CutMix teach each other like any others: affinities, predictions and
    targets are those of the mixed images, and whole class groups are mixed (see
    `data.augment.mixing`).

    Args:
        partners: M, how many others of its class are drawn with each image; 3 on CIFAR-100, 1 on
            ImageNet in the paper.
        omega: ω in [0, 1), the share of the other images in the target.
        temperature: T, above zero.
        weight: λ ≥ 0, of the distillation term.
        affinity_temperature: T_a, above zero. The paper has none, which is 1; a smaller one lets
            each image listen to fewer others.
        across_ranks: ensemble over the images of all ranks, as the paper does on ImageNet, not
            only over those of each rank.
        solver: how the targets are solved for (see `bake_targets`).
        gather_dtype: the type in which features and predictions travel between ranks; by default
            features in their own, predictions in float32.
        label_smoothing: ε in [0, 1], for which the labels become (1 − ε) y + ε / C in the term with
            them (Szegedy et al., arXiv 1512.00567); the soft targets stay as they are.
    """

    mixes = True
    weighs_classes = True

    def __init__(
        self,
        partners: NotNegativeInt = 3,
        omega: Rate = 0.5,
        temperature: Positive = 4.0,
        weight: NotNegative = 1.0,
        affinity_temperature: Positive = 1.0,
        across_ranks: bool = True,
        solver: Solver = "auto",
        gather_dtype: Literal["float16", "bfloat16"] | None = None,
        label_smoothing: Share = 0.0,
    ) -> None:
        super().__init__()
        self.partners = partners
        self.across_ranks = across_ranks
        self.objective = BAKELoss(
            temperature,
            omega,
            weight,
            affinity_temperature,
            label_smoothing=label_smoothing,
            solver=solver,
            gather_dtype=getattr(torch, gather_dtype) if gather_dtype else None,
            equal_counts=True,  # the trainer gives every rank as many images
        )

    def setup(self, task: Task) -> None:
        self.objective.class_weights = self.class_weights
        if self.across_ranks and dist.is_available() and dist.is_initialized():
            self.objective.group = dist.group.WORLD

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        features, logits = model(batch.images)
        terms = self.objective.terms(logits, batch.targets, features)
        return Step(terms["cross_entropy"] + terms["distillation"], logits, terms)
