"""Tf-KD, teacher-free knowledge distillation (Yuan et al., arXiv 1909.11723)."""

from torch import nn
from torch.nn import functional as F

from .._shapes import Float, Tensor
from ..batch import Batch
from ..losses.distillation import distillation_loss
from ..ranges import Positive, PositiveShare, Share
from .base import Method, Step
from .kd import KD


class TfKDSelf(KD):
    """Tf-KD by self-training: the teacher is the same network, trained before with labels alone.

    (1 − α) cross-entropy + α T² KL(p_teacher ‖ p) (section 5). α and T are those of the published
    code for ResNet-18 on CIFAR-100, which averages the KL over classes, too, and multiplies it by
    50.

    Args:
        teacher: the run folder of a finished run of the same network.
        temperature: T, above zero.
        alpha: α in [0, 1].
    """

    def __init__(
        self, teacher: str | None = None, temperature: Positive = 6.0, alpha: Share = 0.95
    ) -> None:
        super().__init__(teacher, temperature, alpha)


class TfKDVirtual(Method):
    """Tf-KD with a virtual teacher, which is right by design.

    (1 − α) cross-entropy + α T² KL(p_d ‖ p) at temperature T, where p_d is a for the label and
    (1 − a) / (C − 1) for every other class, softened by the same temperature (section 5).

    Args:
        correct: a in (0, 1], the virtual teacher's probability of the label.
        temperature: T, above zero.
        alpha: α in [0, 1].
    """

    weighs_classes = True

    def __init__(
        self, correct: PositiveShare = 0.99, temperature: Positive = 20.0, alpha: Share = 0.1
    ) -> None:
        super().__init__()
        self.correct = correct
        self.temperature = temperature
        self.alpha = alpha

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        logits = model(batch.images).logits
        targets = self.compute_targets(batch.labels, logits.shape[1])
        soft = distillation_loss(logits, targets, self.temperature)
        terms = {
            "cross_entropy": (1 - self.alpha) * self.compute_cross_entropy(logits, batch.labels),
            "distillation": self.alpha * soft,
        }
        return Step(terms["cross_entropy"] + terms["distillation"], logits, terms)

    def compute_targets(self, labels: Tensor, num_classes: int) -> Float[Tensor, "n c"]:
        """The virtual teacher's prediction at temperature T."""
        others = (1 - self.correct) / max(num_classes - 1, 1)
        truth = F.one_hot(labels, num_classes).float()
        designed = others + (self.correct - others) * truth
        # At temperature T a distribution p becomes p^(1 / T), normalised.
        softened = designed ** (1 / self.temperature)
        return softened / softened.sum(dim=1, keepdim=True)
