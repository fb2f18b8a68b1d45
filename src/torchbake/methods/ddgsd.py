"""DDGSD, data-distortion guided self-distillation (Xu and Liu, AAAI 2019)."""

import torch
from torch import nn

from ..batch import Batch
from ..losses.distillation import distillation_loss
from ..ranges import NotNegative, Positive
from .base import Method, Step


class DDGSD(Method):
    """Two views of each image learn from each other, by predictions and by mean features.

    CE_a + CE_b + λ T² [KL(p_a ‖ p_b) + KL(p_b ‖ p_a)] + μ ‖mean F_a − mean F_b‖². The last term is
    the squared maximum mean discrepancy of pooled features over the batch. Targets of the KL have
    no gradient.

    Args:
        temperature: T, above zero.
        weight: λ ≥ 0, of the predictions' term.
        feature_weight: μ ≥ 0, of the features' term.
    """

    views = 2
    weighs_classes = True

    def __init__(
        self,
        temperature: Positive = 3.0,
        weight: NotNegative = 1.0,
        feature_weight: NotNegative = 0.0005,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.weight = weight
        self.feature_weight = feature_weight

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        features, logits = model(batch.images)
        first, second = logits.chunk(2)
        with torch.no_grad():
            predictions = (logits.float() / self.temperature).softmax(dim=1)
            swapped = torch.cat(predictions.chunk(2)[::-1])
        # The mean over both views is half of the sum of theirs.
        soft = 2 * distillation_loss(logits, swapped, self.temperature)
        one, other = (half.float().mean(dim=0) for half in features.chunk(2))
        hard = self.compute_cross_entropy(first, batch.labels) + self.compute_cross_entropy(
            second, batch.labels
        )
        terms = {
            "cross_entropy": hard,
            "distillation": self.weight * soft,
            "features": self.feature_weight * (one - other).square().sum(),
        }
        return Step(torch.stack(list(terms.values())).sum(), first, terms)
