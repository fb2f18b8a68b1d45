"""Distillation from trained networks (Hinton et al., arXiv 1503.02531)."""

import torch
from torch import nn

from .._checks import check_positive, check_share
from .._shapes import Float, Tensor
from ..batch import Batch
from ..errors import UserError
from ..losses.distillation import cross_entropy, distillation_loss
from .base import Method, Step, Task


class KD(Method):
    """(1 − α) cross-entropy + α T² KL of a trained teacher's prediction (section 2).

    Args:
        teacher: the run folder of a finished run on the same classes.
        temperature: T, above zero. 4, and α 0.9, are usual on CIFAR-100; the paper leaves both
            open.
        alpha: α in [0, 1].
    """

    def __init__(
        self, teacher: str | None = None, temperature: float = 4.0, alpha: float = 0.9
    ) -> None:
        super().__init__()
        check_positive("temperature", temperature)
        check_share("alpha", alpha)
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
        soft = distillation_loss(logits, self.targets(batch), self.temperature)
        terms = {
            "cross_entropy": (1 - self.alpha) * cross_entropy(logits, batch.labels),
            "distillation": self.alpha * soft,
        }
        return Step(terms["cross_entropy"] + terms["distillation"], logits, terms)

    @torch.no_grad()
    def targets(self, batch: Batch) -> Float[Tensor, "n c"]:
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
        self, teachers: tuple[str, ...] = (), temperature: float = 4.0, alpha: float = 0.9
    ) -> None:
        super().__init__(None, temperature, alpha)
        self.folders = list(teachers)
