"""CS-KD, class-wise self-knowledge distillation (Yun et al., arXiv 2003.13964)."""

import torch
from torch import nn

from ..batch import Batch
from ..losses.distillation import distillation_loss
from ..ranges import NotNegative, Positive
from .base import Method, Step


class CSKD(Method):
    """Each image learns from the prediction for another image of its class.

    The loss is cross-entropy + λ T² KL of the prediction from that of the partner; every second
    image of a batch is the partner of the one before it. In the paper (section 2) partners only
    teach: they are predicted without gradient, and half of the images of a batch train the
    network. With `symmetric`, which is ours, both images of a pair train it and teach each other,
    so that it learns from as many images as it sees.

    Args:
        temperature: T, above zero; 4 in the paper on CIFAR-100.
        weight: λ ≥ 0, of the distillation term; 1 in the paper on CIFAR-100.
        symmetric: whether partners train the network, too.
    """

    partners = 1
    weighs_classes = True

    def __init__(
        self, temperature: Positive = 4.0, weight: NotNegative = 1.0, symmetric: bool = False
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.weight = weight
        self.symmetric = symmetric

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        if self.symmetric:
            logits = model(batch.images).logits
            partner = torch.arange(len(logits), device=logits.device) ^ 1
            partner = partner.clamp(max=len(logits) - 1)  # of an odd last image: itself
            labels, teachers = batch.labels, logits.detach()[partner]
            taught = batch.labels == batch.labels[partner]
        else:
            logits = model(batch.images[::2]).logits
            with torch.no_grad():
                teachers = model(batch.images[1::2]).logits
            labels = batch.labels[::2]
            taught = labels[: len(teachers)] == batch.labels[1::2]
        with torch.no_grad():
            # An image that found no classmate, in a class of odd size, is taught what it knows.
            own = logits[: len(teachers)]
            targets = torch.where(taught[:, None], teachers, own).float() / self.temperature
        hard = self.compute_cross_entropy(logits, labels)
        soft = distillation_loss(logits[: len(teachers)], targets.softmax(dim=1), self.temperature)
        terms = {"cross_entropy": hard, "distillation": self.weight * soft}
        return Step(hard + terms["distillation"], logits, terms, labels)
