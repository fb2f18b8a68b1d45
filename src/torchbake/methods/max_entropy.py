"""The confidence penalty, maximum entropy (Pereyra et al., arXiv 1701.06548)."""

from torch import nn

from ..batch import Batch
from ..ranges import NotNegative
from .base import Method, Step


class MaxEntropy(Method):
    """Cross-entropy minus β times the entropy of the prediction (section 3.1).

    Args:
        weight: β ≥ 0; chosen for each data set in the paper.
    """

    mixes = True
    weighs_classes = True

    def __init__(self, weight: NotNegative = 0.1) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        logits = model(batch.images).logits
        log_p = logits.float().log_softmax(dim=1)
        confidence = (log_p.exp() * log_p).sum(dim=1).mean()
        terms = {
            "cross_entropy": self.compute_cross_entropy(logits, batch.targets),
            "confidence": self.weight * confidence,
        }
        return Step(terms["cross_entropy"] + terms["confidence"], logits, terms)
