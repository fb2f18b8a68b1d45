"""How good a classifier is: accuracy, likelihood and calibration."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from ._shapes import Float, Int, Tensor
from .batch import Batch

BINS = 15


class Metrics:
    """Sums over batches, kept on the device until `result` reads them.

    * `top1`, `top5`: percent of images whose label is (among the five) most probable.
    * `nll`: mean negative log-likelihood of the labels, in nats.
    * `ece`: expected calibration error in percent, the mean gap between confidence and accuracy
      over 15 equally wide bins of confidence (Guo et al., arXiv 1706.04599, equation 3).
    """

    def __init__(self, device: torch.device) -> None:
        # Apple's GPUs have no float64.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(4, dtype=dtype, device=device)  # images, top-1, top-5, NLL
        self.bins = torch.zeros(2, BINS, dtype=dtype, device=device)  # Σ confidence, Σ correct

    @torch.no_grad()
    def add(self, logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> None:
        """Count a batch."""
        logits = logits.float()
        best = logits.topk(min(5, logits.shape[1]), dim=1).indices
        correct = best == labels[:, None]
        losses = F.cross_entropy(logits, labels, reduction="none")
        counts = (torch.ones_like(losses), correct[:, 0], correct.any(dim=1), losses)
        self.sums += torch.stack([value.to(self.sums.dtype).sum() for value in counts])
        confidence = logits.softmax(dim=1).amax(dim=1).to(self.bins.dtype)
        which = (confidence * BINS).long().clamp(0, BINS - 1)
        self.bins[0].index_add_(0, which, confidence)
        self.bins[1].index_add_(0, which, correct[:, 0].to(self.bins.dtype))

    def result(self) -> dict[str, float]:
        """The figures over everything counted, on all ranks if there are several."""
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(self.sums)
            dist.all_reduce(self.bins)
        images, top1, top5, nll = self.sums.tolist()
        gap = float((self.bins[0] - self.bins[1]).abs().sum())
        return {
            "top1": 100 * top1 / images,
            "top5": 100 * top5 / images,
            "nll": nll / images,
            "ece": 100 * gap / images,
        }


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    precision: torch.dtype | None = None,
) -> dict[str, float]:
    """The figures of `Metrics` for a model on batches.

    Args:
        model: images to (features, logits); it is in evaluation mode during the call.
        precision: of autocast; None for float32.
    """
    was_training = model.training
    model.eval()
    metrics = Metrics(device)
    for batch in batches:
        with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
            _, logits = model(batch.images)
        metrics.add(logits, batch.labels)
    model.train(was_training)
    return metrics.result()
