"""Loss terms that methods share."""

import torch
from torch.nn import functional as F

from .._shapes import Float, Tensor
from ..ensembling.precision import disable_autocast


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
    with disable_autocast(logits.device.type):
        log_probabilities = (_widen(logits) / temperature).log_softmax(dim=1)
        soft_targets = soft_targets.to(log_probabilities.dtype)
        divergence = F.kl_div(log_probabilities, soft_targets, reduction="batchmean")
    return divergence * temperature**2


def cross_entropy(
    logits: Float[Tensor, "n c"],
    target: Tensor,
    label_smoothing: float = 0.0,
    class_weights: Float[Tensor, " c"] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy with class numbers (n,) or class probabilities (n, c), in float32 or wider.

    Zero for no images, as a rank may have none. With class weights w it is the mean over the n
    images of Σ_c w_c y_c CE(c), where CE(c) is the cross-entropy with class c, smoothed if labels
    are. So a mixed label counts each of its classes by its weight, and label smoothing spreads an
    image's weight evenly over the classes, whatever theirs are.
    `torch.nn.functional.cross_entropy` gives rare classes more of what is spread, and divides by
    the weights that a batch happens to have.
    """
    with disable_autocast(logits.device.type):
        logits = _widen(logits)
        if logits.shape[0] == 0:
            return logits.sum()
        if class_weights is None:
            return F.cross_entropy(logits, target, label_smoothing=label_smoothing)
        class_weights = class_weights.to(logits.dtype)
        if target.ndim == 1:
            losses = F.cross_entropy(
                logits, target, reduction="none", label_smoothing=label_smoothing
            )
            return (class_weights[target] * losses).mean()
        target = class_weights * target
        if label_smoothing:
            target = target.lerp(target.mean(dim=1, keepdim=True), label_smoothing)
        return F.cross_entropy(logits, target)


def _widen(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(torch.float32, logits.dtype))
