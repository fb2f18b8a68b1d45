"""Loss terms that methods share, and `BAKELoss` for a training loop of one's own."""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from ._shapes import Float, Tensor
from .ensembling import _check_omega, _check_positive, bake_targets


def distillation_loss(
    logits: Float[Tensor, "n c"], soft_targets: Float[Tensor, "n c"], temperature: float = 4.0
) -> Float[Tensor, ""]:
    """T² KL(Q ‖ softmax(Z / T)), the mean over the batch (arXiv 2104.13298, section 3).

    T² keeps the gradient's size independent of the temperature (Hinton et al., 1503.02531).
    Computed in float32 or wider whatever the logits' type; Q may hold zeros.

    Args:
        logits: (n, c) class scores; the gradient flows here alone.
        soft_targets: (n, c), every row a distribution.
        temperature: T, above zero, that of the soft targets.
    """
    with torch.autocast(logits.device.type, enabled=False):
        log_probabilities = (_widened(logits) / temperature).log_softmax(dim=1)
        soft_targets = soft_targets.to(log_probabilities.dtype)
        divergence = F.kl_div(log_probabilities, soft_targets, reduction="batchmean")
    return divergence * temperature**2


def cross_entropy(
    logits: Float[Tensor, "n c"], target: Tensor, label_smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Cross-entropy with class numbers (n,) or class probabilities (n, c), in float32 or wider."""
    with torch.autocast(logits.device.type, enabled=False):
        return F.cross_entropy(_widened(logits), target, label_smoothing=label_smoothing)


def _widened(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(torch.float32, logits.dtype))


class BAKELoss(nn.Module):
    """Cross-entropy plus λ T² KL(Q ‖ softmax(Z / T)), Q the batch's ensembled predictions.

    The total objective of arXiv 2104.13298, section 3. Draw batches with
    `ClassGroupedBatchSampler`, so that each image finds others of its class in its batch.

    >>> criterion = BAKELoss()
    >>> loss = criterion(logits, labels, features)

    Args:
        temperature: T, above zero, for predictions and loss. The paper uses 4.
        omega: ω in [0, 1), the share of the other images in the target. 0.5 in the paper.
        weight: λ ≥ 0, of the distillation term. 1 in the paper.
        affinity_temperature: T_a, above zero. 1 is the paper's; smaller is more local.
        group: a process group whose ranks ensemble together (see `bake_targets`).
    """

    def __init__(
        self,
        temperature: float = 4.0,
        omega: float = 0.5,
        weight: float = 1.0,
        affinity_temperature: float = 1.0,
        group: "dist.ProcessGroup | None" = None,
    ) -> None:
        super().__init__()
        _check_positive("temperature", temperature)
        _check_positive("affinity_temperature", affinity_temperature)
        _check_omega(omega)
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight must be at least 0 and finite, got {weight}")
        self.temperature = temperature
        self.omega = omega
        self.weight = weight
        self.affinity_temperature = affinity_temperature
        self.group = group

    def terms(
        self, logits: Float[Tensor, "n c"], target: Tensor, features: Float[Tensor, "n d"]
    ) -> dict[str, Float[Tensor, ""]]:
        """The summands of the loss by name: `cross_entropy` and `distillation` (λ included)."""
        soft_targets = bake_targets(
            logits,
            features,
            temperature=self.temperature,
            omega=self.omega,
            affinity_temperature=self.affinity_temperature,
            group=self.group,
        )
        distillation = distillation_loss(logits, soft_targets, self.temperature)
        return {
            "cross_entropy": cross_entropy(logits, target),
            "distillation": self.weight * distillation,
        }

    def forward(
        self, logits: Float[Tensor, "n c"], target: Tensor, features: Float[Tensor, "n d"]
    ) -> Float[Tensor, ""]:
        """The loss, a scalar.

        Args:
            logits: (n, c) class scores.
            target: (n,) class numbers, or (n, c) class probabilities.
            features: (n, d) pooled features before the classifier.
        """
        terms = self.terms(logits, target, features)
        return terms["cross_entropy"] + terms["distillation"]

    def extra_repr(self) -> str:
        return (
            f"temperature={self.temperature}, omega={self.omega}, weight={self.weight}, "
            f"affinity_temperature={self.affinity_temperature}"
        )
