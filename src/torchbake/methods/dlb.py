"""DLB, self-distillation from the last mini-batch (Shen et al., arXiv 2203.16172)."""

import torch
from torch import nn

from .._shapes import Float, Int, Tensor
from ..batch import Batch
from ..losses.distillation import distillation_loss
from ..ranges import NotNegative, Positive
from .base import Method, Step, Task


class DLB(Method):
    """Each batch comes twice: its first prediction teaches it a step later.

    A step takes the last batch's images, augmented anew, together with this batch's: cross-entropy
    of both + λ T² KL of this prediction of the last batch from that of the step before (section
    3). So every image goes through the network twice, and counts as seen once. Both halves go
    through it as one batch, as in the paper; the published code does one after the other. With
    `training.accumulate`, a batch's parts take the place of batches.

    Args:
        temperature: T, above zero; 3 in the paper.
        weight: λ ≥ 0; 1 in the paper.
    """

    views = 2
    rank_rows = ("last_images", "last_labels", "last_predictions")
    weighs_classes = True

    last_images: Float[Tensor, "n ch h w"]
    last_labels: Int[Tensor, " n"]
    last_predictions: Float[Tensor, "n c"]
    begun: Tensor  # (), whether there was a last batch

    def __init__(self, temperature: Positive = 3.0, weight: NotNegative = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.weight = weight
        self._has_last = False

    def setup(self, task: Task) -> None:
        n = task.batch_size
        self.register_buffer("last_images", torch.zeros(n, *task.image_shape))
        self.register_buffer("last_labels", torch.zeros(n, dtype=torch.long))
        self.register_buffer("last_predictions", torch.zeros(n, task.num_classes))
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))
        self._is_set = torch.compiler.disable(_is_set)  # slow to import

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        n = len(batch.labels)
        now, later = batch.images.chunk(2)
        # Asked of the device once, since a checkpoint may have been loaded.
        self._has_last = self._has_last or self._is_set(self.begun)
        if not self._has_last:
            logits = model(now).logits
            hard = self.compute_cross_entropy(logits, batch.labels)
            soft = torch.zeros_like(hard)
        else:
            both = model(torch.cat([self.last_images, now])).logits
            logits = both[n:]
            hard = self.compute_cross_entropy(both, torch.cat([self.last_labels, batch.labels]))
            # The loss keeps its target until the backward pass.
            soft = distillation_loss(both[:n], self.last_predictions.clone(), self.temperature)
        # In place: what a recorded CUDA graph returns is not there any more at the next step.
        self.last_images.copy_(later)
        self.last_labels.copy_(batch.labels)
        self.last_predictions.copy_((logits.detach().float() / self.temperature).softmax(dim=1))
        self.begun.fill_(True)
        self._has_last = True
        terms = {"cross_entropy": hard, "distillation": self.weight * soft}
        return Step(hard + terms["distillation"], logits, terms)


def _is_set(flag: Tensor) -> bool:
    return bool(flag)
