"""PS-KD, progressive self-knowledge distillation (Kim et al., arXiv 2006.12000)."""

import torch
from torch import nn

from .._shapes import Float, Int, Tensor
from ..batch import Batch
from ..losses.distillation import cross_entropy
from ..ranges import PositiveInt, Share
from .base import Method, Step, Task, gather_rows

LIMIT = 512 * 2**20
"""Bytes of past predictions up to which all classes are kept."""


class PSKD(Method):
    """Cross-entropy with (1 − α_t) y + α_t P_past in place of the label y (section 3).

    P_past is what the network predicted for the image when it last trained on it, an epoch ago; at
    first it is the label. α_t grows with the training's progress t from 0 to α, step by step; in
    the published code it grows epoch by epoch.

    Args:
        alpha: α in [0, 1], the share of past predictions at the end; 0.8 in the paper.
        kept_classes: how many of the most probable classes are kept of each prediction; what is
            left is spread evenly over the others. By default all, or as many as fit into 512 MiB.
    """

    weighs_classes = True

    past: Float[Tensor, "images k"]  # float16
    classes: Int[Tensor, "images k"]  # int16; none if all are kept
    known: Tensor  # (images,), whether there is a prediction

    def __init__(self, alpha: Share = 0.8, kept_classes: PositiveInt | None = None) -> None:
        super().__init__()
        self.alpha = alpha
        self.kept_classes = kept_classes

    def setup(self, task: Task) -> None:
        images, classes = task.num_images, task.num_classes
        number = torch.int16 if classes < 2**15 else torch.int32
        kept = self.kept_classes or classes
        if self.kept_classes is None and images * classes * 2 > LIMIT:
            kept = max(1, LIMIT // (images * (2 + number.itemsize)))
        self.partial = kept < classes
        kept = min(kept, classes)
        self.register_buffer("past", torch.zeros(images, kept, dtype=torch.float16))
        self.register_buffer("classes", torch.zeros(images, kept * self.partial, dtype=number))
        self.register_buffer("known", torch.zeros(images, dtype=torch.bool))

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        logits = model(batch.images).logits
        loss = cross_entropy(logits, self.compute_targets(batch, logits.shape[1]))
        self._remember(batch.indices, logits.detach().float().softmax(dim=1))
        return Step(loss, logits, {"cross_entropy": loss})

    def compute_targets(self, batch: Batch, num_classes: int) -> Float[Tensor, "n c"]:
        """The distributions towards which the images of the batch are trained now.

        With class weights, the label's part of each is multiplied by that of its class.
        """
        labels = nn.functional.one_hot(batch.labels, num_classes).float()
        if self.class_weights is not None:
            labels = labels * self.class_weights
        past = self.past[batch.indices].float()
        if self.partial:
            rest = (1 - past.sum(dim=1, keepdim=True)) / (num_classes - past.shape[1])
            spread = rest.clamp(min=0).expand(-1, num_classes)
            past = spread.scatter(1, self.classes[batch.indices].long(), past)
        share = self.alpha * batch.progress * self.known[batch.indices].float()
        return labels.lerp(past, share[:, None])

    def _remember(self, indices: Int[Tensor, " n"], predictions: Float[Tensor, "n c"]) -> None:
        classes = None
        if self.partial:
            predictions, classes = predictions.topk(self.past.shape[1], dim=1)
            classes = gather_rows(classes.int())  # Gloo sends no int16
        indices = gather_rows(indices)
        self.past[indices] = gather_rows(predictions.half())
        self.known.index_fill_(0, indices, True)
        if classes is not None:
            self.classes[indices] = classes.to(self.classes.dtype)
