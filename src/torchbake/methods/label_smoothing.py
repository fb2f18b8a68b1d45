"""Label smoothing (Szegedy et al., "Rethinking the Inception Architecture", arXiv 1512.00567)."""

from torch import nn

from ..losses import cross_entropy
from .base import Batch, Method, Step


class LabelSmoothing(Method):
    """Cross-entropy with (1 − ε) y + ε / C in place of the label y (section 7).

    Args:
        smoothing: ε in [0, 1]; 0.1 in the paper.
    """

    def __init__(self, smoothing: float = 0.1) -> None:
        super().__init__()
        if not 0 <= smoothing <= 1:
            raise ValueError(f"smoothing must be in [0, 1], got {smoothing}")
        self.smoothing = smoothing

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        _, logits = model(batch.images)
        loss = cross_entropy(logits, batch.labels, self.smoothing)
        return Step(loss, logits, {"cross_entropy": loss})
