"""How good a classifier is: accuracy, likelihood and calibration."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from ._shapes import Float, Int, Tensor
from .batch import Batch
from .calibration import cross_fit

BINS = 15
AT_ONCE = 256
"""Images whose figures are added up together."""


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


class LabelledLogits(NamedTuple):
    """What a network says of images, in float32 on the device, and their labels and numbers."""

    logits: Float[Tensor, "n c"]
    labels: Int[Tensor, " n"]
    indices: Int[Tensor, " n"]


@torch.no_grad()
def collect_logits(
    model: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    precision: torch.dtype | None = None,
) -> LabelledLogits:
    """The logits of all images of the batches, of this rank alone.

    They stay on the device: 4 bytes an image and class, 200 MB for the 50,000 test images and
    1,000 classes of ImageNet, shared by the ranks.

    Args:
        model: images to (features, logits); it is in evaluation mode during the call.
        precision: of autocast; None for float32.
    """
    was_training = model.training
    model.eval()
    parts = []
    for batch in batches:
        with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
            _, logits = model(batch.images)
        parts.append((logits.float(), batch.labels, batch.indices))
    model.train(was_training)
    if not parts:  # of a rank for which no image is left
        none = torch.empty(0, dtype=torch.int64, device=device)
        return LabelledLogits(torch.empty(0, 1, device=device), none, none)
    return LabelledLogits(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def measure(
    collected: LabelledLogits, temperature: Float[Tensor, " n"] | float = 1.0
) -> dict[str, float]:
    """The figures of `Metrics` over all ranks, of softmax(logits / temperature)."""
    logits, labels, _ = collected
    metrics = Metrics(logits.device)
    divisors = torch.as_tensor(temperature, device=logits.device).expand(len(labels))
    parts = (logits.split(AT_ONCE), labels.split(AT_ONCE), divisors.split(AT_ONCE))
    for some, own, divisor in zip(*parts, strict=True):
        metrics.add(some / divisor[:, None], own)
    return metrics.result()


def count_classes(
    predicted: Int[Tensor, " n"], labels: Int[Tensor, " n"], num_classes: int
) -> Int[Tensor, "3 c"]:
    """Of each class: its images, those predicted as it, and those of both."""
    right = labels[predicted == labels]
    return torch.stack([x.bincount(minlength=num_classes) for x in (labels, predicted, right)])


def average_classes(counts: Int[Tensor, "3 c"]) -> dict[str, float]:
    """Figures in percent for which classes of all sizes count alike, by `count_classes`.

    * `balanced_accuracy`: the mean recall of the classes that have images.
    * `macro_f1`: the mean F1 of these classes, the harmonic mean of precision and recall.
    """
    support, named, right = counts[:, counts[0] > 0].double()
    return {
        "balanced_accuracy": 100 * float((right / support).mean()),
        "macro_f1": 100 * float((2 * right / (support + named)).mean()),
    }


def measure_by_class(collected: LabelledLogits) -> dict[str, float]:
    """The figures of `average_classes` over all ranks."""
    logits, labels, _ = collected
    distributed = dist.is_available() and dist.is_initialized()
    num_classes = torch.tensor(logits.shape[1], device=logits.device)
    if distributed:  # a rank without images does not know
        dist.all_reduce(num_classes, dist.ReduceOp.MAX)
    counts = count_classes(logits.argmax(dim=1), labels, int(num_classes))
    if distributed:
        dist.all_reduce(counts)
    return average_classes(counts)


def measure_scaled(collected: LabelledLogits, temperature: float | None = None) -> dict[str, float]:
    """`nll_scaled` and `ece_scaled`: NLL and ECE after temperature scaling.

    Args:
        temperature: fitted on other images; None to fit one on each of two halves of these images
            and to scale the other half by it.
    """
    divisors = cross_fit(*collected) if temperature is None else temperature
    figures = measure(collected, divisors)
    return {f"{name}_scaled": figures[name] for name in ("nll", "ece")}


def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    precision: torch.dtype | None = None,
    *,
    temperature: float | None = None,
) -> dict[str, float]:
    """The figures of a model on batches of all ranks.

    They are those of `Metrics`, `average_classes` and `measure_scaled`.

    Args:
        model, precision: see `collect_logits`.
        temperature: see `measure_scaled`.
    """
    collected = collect_logits(model, batches, device, precision)
    return measure(collected) | measure_by_class(collected) | measure_scaled(collected, temperature)
