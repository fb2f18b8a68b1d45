"""Distillation from trained networks (Hinton et al., arXiv 1503.02531)."""

import torch
from torch import nn

from .._shapes import Float, Tensor
from ..batch import Batch
from ..errors import UserError
from ..losses.distillation import distillation_loss
from ..ranges import Positive, Share
from .base import Method, Step, Task


class KD(Method):
    """(1 − α) cross-entropy + α T² KL from a trained teacher's prediction (section 2).

    Args:
        teacher: the run folder of a finished run on the same classes.
        temperature: T, above zero. 4, and α 0.9, are usual on CIFAR-100; the paper leaves both
            open.
        alpha: α in [0, 1].
    """

    weighs_classes = True

    def __init__(
        self, teacher: str | None = None, temperature: Positive = 4.0, alpha: Share = 0.9
    ) -> None:
        super().__init__()
        self.folders = [] if teacher is None else [teacher]
        self.temperature = temperature
        self.alpha = alpha
        self.teachers: list[nn.Module] = []

    def setup(self, task: Task) -> None:
        if not self.folders:
            raise UserError(
                "method.teacher: name the run folder of a trained network (of several: "
                "method.teachers)"
            )
        self.teachers = [task.load_network(folder) for folder in self.folders]

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        logits = model(batch.images).logits
        soft = distillation_loss(logits, self.compute_targets(batch), self.temperature)
        terms = {
            "cross_entropy": (1 - self.alpha) * self.compute_cross_entropy(logits, batch.labels),
            "distillation": self.alpha * soft,
        }
        return Step(terms["cross_entropy"] + terms["distillation"], logits, terms)

    @torch.no_grad()
    def compute_targets(self, batch: Batch) -> Float[Tensor, "n c"]:
        """The mean of the teachers' predictions at temperature T."""
        predictions = [
            (teacher(batch.images).logits.float() / self.temperature).softmax(dim=1)
            for teacher in self.teachers
        ]
        return torch.stack(predictions).mean(dim=0)


class KDEnsemble(KD):
    """Distillation from the mean prediction of several trained teachers (section 2).

    Args:
        teachers: the run folders of finished runs on the same classes.
        temperature, alpha: see `KD`.
    """

    def __init__(
        self, teachers: tuple[str, ...] = (), temperature: Positive = 4.0, alpha: Share = 0.9
    ) -> None:
        super().__init__(None, temperature, alpha)
        self.folders = list(teachers)
