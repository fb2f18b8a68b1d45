"""Label smoothing (Szegedy et al., "Rethinking the Inception Architecture", arXiv 1512.00567)."""

from torch import nn

from ..batch import Batch
from ..ranges import Share
from .base import Method, Step


class LabelSmoothing(Method):
    """Cross-entropy with (1 − ε) y + ε / C in place of the label y (section 7).

    Args:
        smoothing: ε in [0, 1]; 0.1 in the paper.
    """

    mixes = True
    weighs_classes = True

    def __init__(self, smoothing: Share = 0.1) -> None:
        super().__init__()
        self.smoothing = smoothing

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        _, logits = model(batch.images)
        loss = self.compute_cross_entropy(logits, batch.targets, self.smoothing)
        return Step(loss, logits, {"cross_entropy": loss})
