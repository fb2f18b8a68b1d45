"""Cross-entropy, the baseline."""

from torch import nn

from ..batch import Batch
from ..losses.distillation import cross_entropy
from .base import Method, Step


class CrossEntropy(Method):
    """Cross-entropy with the labels alone."""

    mixes = True

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        _, logits = model(batch.images)
        loss = cross_entropy(logits, batch.targets)
        return Step(loss, logits, {"cross_entropy": loss})
