"""Cross-entropy, the baseline."""

from torch import nn

from ..batch import Batch
from .base import Method, Step


class CrossEntropy(Method):
    """Cross-entropy with the labels alone."""

    mixes = True
    weighs_classes = True

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        _, logits = model(batch.images)
        loss = self.compute_cross_entropy(logits, batch.targets)
        return Step(loss, logits, {"cross_entropy": loss})
